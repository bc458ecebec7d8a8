//! Ways to gateways that are not Hawser, and to what is beyond them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    GATEWAY_PRIORITY, GUARD_METRIC, HostState, KernelRoute, Link, Observed, RouteKind, Rule,
    SEGMENT_TABLE_BASE, TUN_METRIC, gateway,
};
use crate::config::{IkeTunnel, Uplink};
use crate::ike::{InterfaceKind, if_id, interface_name};

/// The gateway is reached by the tunnel's uplinks only: from each one's address by that uplink, and else by the first. What
/// is beyond it is routed to these uplinks too, where the kernel's IPsec policies take it, whichever of them the tunnel
/// has; the guard drops what they do not. So nothing of this changes when a tunnel moves.
/// A tunnel with an interface of its own is led to by that instead.
pub(super) fn add_tunnel(
    state: &mut HostState,
    uplink_table: u32,
    uplink: &Uplink,
    tunnel: &IkeTunnel,
    seen: &Observed,
) {
    let Some(rank) = tunnel.uplinks.iter().position(|id| *id == uplink.id) else { return };
    let link = seen.links.get(&uplink.interface);
    for &peer in &tunnel.peer_addresses {
        let mut rule = |source: Option<IpAddr>| {
            state.rules.insert(Rule {
                ipv6: peer.is_ipv6(),
                priority: GATEWAY_PRIORITY,
                table: uplink_table,
                mark: None,
                source: source.map(IpNet::from),
                destination: Some(IpNet::from(peer)),
                input_interface: None,
                output_interface: None,
            });
        };
        if tunnel.uplinks.len() > 1 {
            let own = link.iter().flat_map(|link| &link.addresses).map(IpNet::addr);
            own.filter(|own| own.is_ipv6() == peer.is_ipv6()).for_each(|own| rule(Some(own)));
        } else {
            rule(None);
        }
    }
    let table = SEGMENT_TABLE_BASE + u32::from(tunnel.segment.0);
    let own = interface_name(tunnel);
    if let (Some(name), Some(kind)) = (&own, interface_kind(tunnel, link)) {
        state.interfaces.insert(name.clone(), kind);
    }
    for &prefix in &tunnel.remote_prefixes {
        let kind = RouteKind::Unreachable;
        state.routes.insert(KernelRoute { table, prefix, metric: GUARD_METRIC, kind });
        if let Some(interface) = &own {
            if seen.links.contains_key(interface) {
                let kind = RouteKind::Device { interface: interface.clone(), gateway: None };
                state.routes.insert(KernelRoute { table, prefix, metric: TUN_METRIC, kind });
            }
            continue;
        }
        if link.is_none() {
            continue;
        }
        let gateway = gateway(uplink, prefix.addr().is_ipv6(), seen);
        // Without a gateway the device alone will do: the packets leave inside others.
        let kind = RouteKind::Device { interface: uplink.interface.clone(), gateway };
        let metric = TUN_METRIC + rank as u32;
        state.routes.insert(KernelRoute { table, prefix, metric, kind });
    }
}

/// `None`: it has none, or not yet its own address.
fn interface_kind(tunnel: &IkeTunnel, link: Option<&Link>) -> Option<InterfaceKind> {
    if let Some(if_id) = if_id(tunnel) {
        return Some(InterfaceKind::Xfrm { if_id });
    }
    let remote = *tunnel.peer_addresses.first()?;
    let is_far = |address: &IpAddr| match address {
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        IpAddr::V4(_) => true,
    };
    let mut own = link?.addresses.iter().map(IpNet::addr).filter(is_far);
    let local = own.find(|own| own.is_ipv6() == remote.is_ipv6())?;
    Some(InterfaceKind::Gre { local, remote })
}
