//! Ways to gateways that are not Hawser, and to what is beyond them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    GATEWAY_PRIORITY, GUARD_METRIC, HostState, KernelRoute, Link, Observed, RouteKind, Rule,
    SEGMENT_TABLE_BASE, TUN_METRIC, gateway,
};
use crate::config::{EdgeState, IkeTunnel, ManualTunnel, Uplink};
use crate::id::{SegmentId, UplinkId};
use crate::ike::{InterfaceKind, if_id, interface_name, lanes};

/// A tunnel with a device that is not Hawser, however it is keyed.
pub(super) struct Gateway<'e> {
    /// Those with devices that must be made: itself, or the links of a warm one, in their order.
    made: Vec<IkeTunnel>,
    /// Where routes lead to, of those.
    taken: usize,
    uplinks: &'e [UplinkId],
    peers: &'e [IpAddr],
    segment: SegmentId,
    beyond: &'e [IpNet],
    /// Of its own, that others make.
    device: Option<String>,
}

impl<'e> From<&'e IkeTunnel> for Gateway<'e> {
    fn from(tunnel: &'e IkeTunnel) -> Self {
        Gateway {
            made: interface_name(tunnel).map(|_| lanes(tunnel)).unwrap_or_default(),
            taken: tunnel.taken,
            uplinks: &tunnel.uplinks,
            peers: &tunnel.peer_addresses,
            segment: tunnel.segment,
            beyond: &tunnel.remote_prefixes,
            device: None,
        }
    }
}

impl<'e> From<&'e ManualTunnel> for Gateway<'e> {
    fn from(tunnel: &'e ManualTunnel) -> Self {
        Gateway {
            made: Vec::new(),
            taken: 0,
            uplinks: std::slice::from_ref(&tunnel.uplink),
            peers: std::slice::from_ref(&tunnel.peer_address),
            segment: tunnel.segment,
            beyond: &tunnel.remote_prefixes,
            device: Some(tunnel.link_name()),
        }
    }
}

pub(super) fn all(edge: &EdgeState) -> impl Iterator<Item = Gateway<'_>> {
    let manual = edge.manual_tunnels.iter().map(Gateway::from);
    edge.ike_tunnels.iter().map(Gateway::from).chain(manual)
}

/// The gateway is reached by the tunnel's uplinks only: from each one's address by that uplink, and else by the first. What
/// is beyond it is routed to these uplinks too, where the kernel's IPsec policies take it, whichever of them the tunnel
/// has; the guard drops what they do not. So nothing of this changes when a tunnel moves. A tunnel with a device of its own is
/// reached by that.
pub(super) fn add_tunnel(
    state: &mut HostState,
    uplink_table: u32,
    uplink: &Uplink,
    tunnel: &Gateway<'_>,
    seen: &Observed,
) {
    let Some(rank) = tunnel.uplinks.iter().position(|id| *id == uplink.id) else { return };
    let link = seen.links.get(&uplink.interface);
    for &peer in tunnel.peers {
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
    for lane in tunnel.made.iter().filter(|lane| lane.uplinks.contains(&uplink.id)) {
        if let (Some(name), Some(kind)) = (interface_name(lane), interface_kind(lane, link)) {
            state.interfaces.insert(name, kind);
        }
    }
    let taken = tunnel.made.get(tunnel.taken).or(tunnel.made.first());
    for &prefix in tunnel.beyond {
        let kind = RouteKind::Unreachable;
        state.routes.insert(KernelRoute { table, prefix, metric: GUARD_METRIC, kind });
        if let Some(interface) = taken.and_then(interface_name) {
            if seen.links.contains_key(&interface) {
                let kind = RouteKind::Device { interface, gateway: None };
                // Each link has a metric of its own, so that the new route is there before the old one goes.
                let metric = TUN_METRIC + tunnel.taken as u32;
                state.routes.insert(KernelRoute { table, prefix, metric, kind });
            }
            continue;
        }
        if link.is_none() {
            continue;
        }
        let own = tunnel.device.as_ref().filter(|device| seen.links.contains_key(*device));
        let kind = match own {
            Some(device) => RouteKind::Device { interface: device.clone(), gateway: None },
            None => {
                // Without a gateway the device alone will do: the packets leave inside others.
                let gateway = gateway(uplink, prefix.addr().is_ipv6(), seen);
                RouteKind::Device { interface: uplink.interface.clone(), gateway }
            }
        };
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
