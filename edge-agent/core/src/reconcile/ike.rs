//! Ways to gateways that are not Hawser, and to what is beyond them.

use ipnet::IpNet;

use super::{
    GUARD_METRIC, HostState, KernelRoute, Observed, RouteKind, Rule, SEGMENT_TABLE_BASE,
    TUN_METRIC, UPLINK_TABLE_BASE, gateway,
};
use crate::config::{IkeTunnel, Uplink};

/// The gateway is reached by the tunnel's uplink only. What is beyond it is routed to that uplink too, where the kernel's
/// IPsec policies take it; the guard drops what they do not.
pub(super) fn add_tunnel(
    state: &mut HostState,
    uplink_table: u32,
    uplink: &Uplink,
    tunnel: &IkeTunnel,
    seen: &Observed,
) {
    for &peer in &tunnel.peer_addresses {
        state.rules.insert(Rule {
            ipv6: peer.is_ipv6(),
            priority: UPLINK_TABLE_BASE,
            table: uplink_table,
            destination: Some(IpNet::from(peer)),
            input_interface: None,
            output_interface: None,
        });
    }
    let table = SEGMENT_TABLE_BASE + u32::from(tunnel.segment.0);
    for &prefix in &tunnel.remote_prefixes {
        let kind = RouteKind::Unreachable;
        state.routes.insert(KernelRoute { table, prefix, metric: GUARD_METRIC, kind });
        if !seen.links.contains_key(&uplink.interface) {
            continue;
        }
        let gateway = gateway(uplink, prefix.addr().is_ipv6(), seen);
        // Without a gateway the device alone will do: the packets leave inside others.
        let kind = RouteKind::Device { interface: uplink.interface.clone(), gateway };
        state.routes.insert(KernelRoute { table, prefix, metric: TUN_METRIC, kind });
    }
}
