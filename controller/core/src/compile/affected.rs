//! Whose configuration a change of the fleet can change.
//!
//! The answer may name too many, never too few. What is compared is listed field by field, so that a new field of a
//! fleet does not compile before somebody has said who sees it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::config::tells_paths;
use crate::graph::Graph;
use crate::intent::{
    Edge, EdgeName, Family, Fleet, Lan, SegmentName, Site, TransportName, Uplink, UplinkName,
    UplinkUse,
};

/// Edges whose configurations must be compiled anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Affected {
    All,
    Only(BTreeSet<EdgeName>),
}

impl Affected {
    pub fn has(&self, edge: &EdgeName) -> bool {
        match self {
            Affected::All => true,
            Affected::Only(edges) => edges.contains(edge),
        }
    }
}

/// Between two fleets that are compiled with the same numbers, given once for `old` and then for `new`.
pub fn affected(old: &Fleet, new: &Fleet) -> Affected {
    if !same_frame(old, new) {
        return Affected::All;
    }
    let pairs = || old.sites.iter().zip(&new.sites).enumerate();
    let changed = || pairs().filter(|(_, (before, after))| before != after);
    if changed().any(|(_, (before, after))| overlay_of(before) != overlay_of(after)) {
        return Affected::All;
    }
    let mut sites: BTreeSet<usize> = changed().map(|(site, _)| site).collect();
    if changed().any(|(_, (before, after))| peers_see(before) != peers_see(after)) {
        let graph = Graph::new(new);
        for (site, (before, after)) in changed() {
            if peers_see(before) != peers_see(after) {
                sites.extend(graph.neighbours(site));
            }
            if makes_paths(before) != makes_paths(after) {
                // A peer's uplink has more or fewer paths, and tells its own peers how many.
                let peers = graph.neighbours(site).iter().filter(|peer| tells(&new.sites[**peer]));
                peers.for_each(|peer| sites.extend(graph.neighbours(*peer)));
            }
        }
    }
    let edges = sites.into_iter().flat_map(|site| &new.sites[site].edges);
    Affected::Only(edges.map(|edge| edge.name.clone()).collect())
}

/// Whether peers of the site are told how many paths its uplinks have.
fn tells(site: &Site) -> bool {
    site.edges.iter().flat_map(|edge| &edge.uplinks).any(tells_paths)
}

/// All that is not of one site is the same, and the same sites are there in the same order: so are links, ranks of hubs
/// and distances.
fn same_frame(old: &Fleet, new: &Fleet) -> bool {
    let Fleet {
        name,
        segments,
        transport_pairs,
        controllers,
        fabric_port,
        sla_classes,
        tunnel_profiles,
        traffic_classes,
        sites,
        topologies,
    } = old;
    *name == new.name
        && *segments == new.segments
        && *transport_pairs == new.transport_pairs
        && *controllers == new.controllers
        && *fabric_port == new.fabric_port
        && *sla_classes == new.sla_classes
        && *tunnel_profiles == new.tunnel_profiles
        && *traffic_classes == new.traffic_classes
        && *topologies == new.topologies
        && sites.len() == new.sites.len()
        && sites.iter().zip(&new.sites).all(|(before, after)| before.name == after.name)
}

/// What may be in anybody's routes, guards and lists of sources.
#[derive(Debug, PartialEq, Eq)]
struct OverlayPart<'a> {
    edges: Vec<&'a EdgeName>,
    prefixes: BTreeSet<(&'a SegmentName, &'a IpNet)>,
    segments: BTreeSet<&'a SegmentName>,
}

fn overlay_of(site: &Site) -> OverlayPart<'_> {
    let Site { name: _, lans, edges, drained: _ } = site;
    let mut found = OverlayPart {
        edges: edges.iter().map(|edge| &edge.name).collect(),
        prefixes: BTreeSet::new(),
        segments: BTreeSet::new(),
    };
    for Lan { interface: _, segment, prefixes, vlan: _, shared_origin: _ } in lans {
        found.segments.insert(segment);
        found.prefixes.extend(prefixes.iter().map(|prefix| (segment, prefix)));
    }
    for edge in edges {
        found.segments.extend(edge.ike_tunnels.iter().map(|tunnel| &tunnel.segment));
        found.segments.extend(edge.manual_tunnels.iter().map(|tunnel| &tunnel.segment));
    }
    found
}

/// What an edge's peers are told of one of its uplinks.
#[derive(Debug, PartialEq, Eq)]
struct PeerPart<'a> {
    provider: &'a str,
    addresses: &'a [IpAddr],
    usage: UplinkUse,
    drained: bool,
    bandwidth_down_kbps: u64,
    probe_budget_bytes_per_s: u64,
}

/// What decides which paths there are.
#[derive(Debug, PartialEq, Eq)]
struct PathPart<'a> {
    edge: &'a EdgeName,
    name: &'a UplinkName,
    transport: &'a TransportName,
    families: &'a BTreeSet<Family>,
}

fn parts<'a>(edge: &'a Edge, uplink: &'a Uplink) -> (PathPart<'a>, PeerPart<'a>) {
    let Uplink {
        name,
        interface: _,
        transport,
        provider,
        addresses,
        families,
        gateways: _,
        cost: _,
        metered: _,
        usage,
        drained,
        bandwidth_up_kbps: _,
        bandwidth_down_kbps,
        probe_budget_bytes_per_s,
    } = uplink;
    let paths = PathPart { edge: &edge.name, name, transport, families };
    let peers = PeerPart {
        provider,
        addresses,
        usage: *usage,
        drained: *drained,
        bandwidth_down_kbps: *bandwidth_down_kbps,
        probe_budget_bytes_per_s: *probe_budget_bytes_per_s,
    };
    (paths, peers)
}

fn peers_see(site: &Site) -> Vec<(PathPart<'_>, PeerPart<'_>)> {
    let Site { name: _, lans: _, edges, drained: _ } = site;
    let uplinks = edges.iter().flat_map(|edge| edge.uplinks.iter().map(move |up| (edge, up)));
    uplinks.map(|(edge, uplink)| parts(edge, uplink)).collect()
}

fn makes_paths(site: &Site) -> Vec<PathPart<'_>> {
    peers_see(site).into_iter().map(|(paths, _)| paths).collect()
}

#[cfg(test)]
mod tests;
