//! From a generation to the data plane's table.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hawser_edge_core::config::{ClassMode, EdgeState, Match, Route, Tunnel};
use hawser_edge_core::id::{PathId, SegmentId, TunnelId, UplinkId};
use hawser_edge_core::reconcile::tun_name;

use crate::dataplane::{
    ClassMatch, ClassSpec, Family, ForwardingSpec, LanSpec, PathSpec, RouteSpec, SegmentSpec,
    TunnelSpec, UplinkSpec,
};

/// Outer MTUs by uplink, ours and our peers', in bytes. One that is not known counts as [`USUAL_MTU_BYTES`].
pub type UplinkMtus = BTreeMap<UplinkId, u32>;

/// Ethernet's (RFC 894).
pub const USUAL_MTU_BYTES: u32 = 1500;
/// What every IPv6 link must carry (RFC 8200 section 5): an inner MTU never falls below it.
const LEAST_INNER_MTU_BYTES: usize = 1280;

/// The inner MTU of one path, in bytes: with room for a sequence number, if any class may need it.
pub fn path_mtu(edge: &EdgeState, path: PathId, mtus: &UplinkMtus) -> u16 {
    let Some((_, path)) = edge.paths().find(|(_, p)| p.id == path) else {
        return LEAST_INNER_MTU_BYTES as u16;
    };
    let of = |uplink| mtus.get(&uplink).copied().unwrap_or(USUAL_MTU_BYTES);
    let outer = of(path.local_uplink).min(of(path.remote_uplink));
    let duplicates = edge.traffic_classes.iter().any(|class| class.mode == ClassMode::Duplicate);
    let inner = if duplicates {
        hawser_esp::wire::inner_mtu_sequenced(outer as usize, path.ipv6)
    } else {
        hawser_esp::wire::inner_mtu(outer as usize, path.ipv6)
    };
    inner.clamp(LEAST_INNER_MTU_BYTES, usize::from(u16::MAX)) as u16
}

/// The least over a tunnel's paths: a move stalls no flow.
fn tunnel_mtu(edge: &EdgeState, tunnel: &Tunnel, mtus: &UplinkMtus) -> u16 {
    let paths = tunnel.paths.keys().map(|&path| path_mtu(edge, path, mtus));
    paths.min().unwrap_or(LEAST_INNER_MTU_BYTES as u16)
}

/// The whole table. `next_hops` says which of a route's next hops may be used now, best first.
pub fn table(
    edge: &EdgeState,
    mtus: &UplinkMtus,
    next_hops: impl Fn(&Route) -> Vec<TunnelId>,
) -> ForwardingSpec {
    let tunnels: Vec<TunnelSpec> =
        edge.tunnels.values().map(|tunnel| tunnel_spec(edge, tunnel, mtus)).collect();
    let least = tunnels.iter().map(|t| t.inner_mtu_bytes).min();
    let mtu_bytes = least.unwrap_or(LEAST_INNER_MTU_BYTES as u16);
    ForwardingSpec {
        segments: edge
            .segments
            .keys()
            .map(|&id| SegmentSpec { id, tun_name: tun_name(id), mtu_bytes })
            .collect(),
        tunnels,
        routes: edge
            .routes
            .iter()
            .map(|route| RouteSpec {
                segment: route.segment,
                prefix: route.prefix,
                next_hops: next_hops(route),
            })
            .collect(),
        classes: edge
            .traffic_classes
            .iter()
            .map(|class| ClassSpec {
                id: class.id,
                segment: class.segment,
                matches: class.matches.iter().map(class_match).collect(),
            })
            .collect(),
        lans: edge
            .lans
            .iter()
            .map(|lan| LanSpec {
                segment: lan.segment,
                device: lan.device(),
                prefixes: lan.prefixes.clone(),
            })
            .collect(),
    }
}

fn tunnel_spec(edge: &EdgeState, tunnel: &Tunnel, mtus: &UplinkMtus) -> TunnelSpec {
    let mut peer_sources: BTreeMap<SegmentId, Vec<_>> = BTreeMap::new();
    for &(segment, prefix) in &tunnel.peer_sources {
        peer_sources.entry(segment).or_default().push(prefix);
    }
    TunnelSpec {
        id: tunnel.id,
        peer: tunnel.peer_edge_id,
        paths: tunnel
            .paths
            .values()
            .map(|path| PathSpec {
                id: path.id,
                uplink: path.local_uplink,
                family: if path.ipv6 { Family::V6 } else { Family::V4 },
            })
            .collect(),
        peer_sources,
        inner_mtu_bytes: tunnel_mtu(edge, tunnel, mtus),
    }
}

fn class_match(rule: &Match) -> ClassMatch {
    let ranges = |ports: &[(u16, u16)]| ports.iter().map(|&(a, b)| a..=b).collect();
    ClassMatch {
        sources: rule.sources.clone(),
        destinations: rule.destinations.clone(),
        protocols: rule.protocols.clone(),
        source_ports: ranges(&rule.source_ports),
        destination_ports: ranges(&rule.destination_ports),
        dscps: rule.dscps.clone(),
    }
}

/// The sockets that the generation's paths need.
pub fn uplinks(edge: &EdgeState) -> Vec<UplinkSpec> {
    let uses = |id, ipv6| edge.paths().any(|(_, p)| p.local_uplink == id && p.ipv6 == ipv6);
    edge.uplinks
        .values()
        .map(|uplink| UplinkSpec {
            id: uplink.id,
            interface: uplink.interface.clone(),
            port: edge.fabric_port,
            v4: uses(uplink.id, false),
            v6: uses(uplink.id, true),
        })
        .collect()
}
