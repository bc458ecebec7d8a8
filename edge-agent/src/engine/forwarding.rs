//! From a generation to the data plane's table.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hawser_edge_core::config::{ClassMode, EdgeState, Match, Path, Route, Tunnel};
use hawser_edge_core::id::{PathId, SegmentId, TunnelId, UplinkId};
use hawser_edge_core::reconcile::tun_name;
use hawser_esp::wire::{GRE_LEN, GRE_SEQUENCED_LEN};
use hawser_esp::{Carrier, Suite};

use crate::dataplane::{
    ClassMatch, ClassSpec, Family, ForwardingSpec, LanSpec, PathSpec, RouteSpec, SegmentSpec,
    TunnelSpec, UplinkSpec,
};

/// Outer MTUs by uplink, ours and our peers', in bytes. One that is not known counts as [`USUAL_MTU_BYTES`].
pub type UplinkMtus = BTreeMap<UplinkId, u32>;

/// Ethernet's (RFC 894).
pub const USUAL_MTU_BYTES: u32 = 1500;
/// What every IPv6 link must carry (RFC 8200 section 5): an inner MTU never falls below it.
pub const LEAST_INNER_MTU_BYTES: u16 = 1280;

/// The inner MTU that the links at both ends of a path allow under the suite of its profile, in bytes. `sealing` is the
/// suite of the keys in use, which may still be another: the narrower of the two holds.
pub fn path_mtu(edge: &EdgeState, path: PathId, mtus: &UplinkMtus, sealing: Option<Suite>) -> u16 {
    let Some((tunnel, path)) = edge.paths().find(|(_, p)| p.id == path) else {
        return LEAST_INNER_MTU_BYTES;
    };
    let of = |uplink| mtus.get(&uplink).copied().unwrap_or(USUAL_MTU_BYTES);
    let outer = of(path.local_uplink).min(of(path.remote_uplink));
    let suites = [Some(tunnel.profile.suite), sealing];
    let allowed =
        suites.into_iter().flatten().map(|suite| inner_mtu_within(edge, suite, path, outer));
    allowed.min().unwrap_or_default().max(LEAST_INNER_MTU_BYTES)
}

/// The longest inner packet whose outer packet is not longer than `outer_bytes`; 0 if none is.
pub fn inner_mtu_within(edge: &EdgeState, suite: Suite, path: &Path, outer_bytes: u32) -> u16 {
    let outer = outer_bytes as usize;
    let inner = suite.layout().inner_mtu(outer, path.ipv6, Carrier::Udp, gre_bytes(edge));
    u16::try_from(inner).unwrap_or(u16::MAX)
}

/// With room for a sequence number, if any class may need it.
pub fn gre_bytes(edge: &EdgeState) -> usize {
    let duplicates = edge.traffic_classes.iter().any(|class| class.mode == ClassMode::Duplicate);
    if duplicates { GRE_SEQUENCED_LEN } else { GRE_LEN }
}

/// The least over a tunnel's paths: a move stalls no flow.
fn tunnel_mtu(tunnel: &Tunnel, mtu_of: &impl Fn(PathId) -> u16) -> u16 {
    tunnel.paths.keys().map(|&path| mtu_of(path)).min().unwrap_or(LEAST_INNER_MTU_BYTES)
}

/// The whole table. `mtu_of` is each path's inner MTU, `next_hops` says which of a route's next hops may be used now, best first.
pub fn table(
    edge: &EdgeState,
    mtu_of: impl Fn(PathId) -> u16,
    next_hops: impl Fn(&Route) -> Vec<TunnelId>,
) -> ForwardingSpec {
    let tunnels: Vec<TunnelSpec> =
        edge.tunnels.values().map(|tunnel| tunnel_spec(tunnel, &mtu_of)).collect();
    // What is too long for a narrower tunnel is fragmented or told of by the data plane.
    let most = tunnels.iter().map(|t| t.inner_mtu_bytes).max();
    let mtu_bytes = most.unwrap_or(LEAST_INNER_MTU_BYTES);
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
                wan_dscp: class.wan_dscp,
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

fn tunnel_spec(tunnel: &Tunnel, mtu_of: &impl Fn(PathId) -> u16) -> TunnelSpec {
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
        inner_mtu_bytes: tunnel_mtu(tunnel, mtu_of),
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
