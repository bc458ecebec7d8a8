//! Which site originates which prefix, and by whom it is reached.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::allocate::{Allocations, NotAllocated};
use crate::graph::Graph;
use crate::id::{EdgeId, SegmentId};
use crate::intent::Fleet;

/// Prefixes of all segments with the sites that originate them.
#[derive(Debug)]
pub(super) struct Overlay {
    origins: BTreeMap<SegmentId, BTreeMap<IpNet, Origins>>,
    /// Segments of each site: those of its LANs; at a hub also those that it carries for others.
    segments: Vec<BTreeSet<SegmentId>>,
    /// What each site's LANs have, sorted.
    own: Vec<Vec<(SegmentId, IpNet)>>,
    /// IDs of each site's edges, in the document's order.
    edges: Vec<Vec<EdgeId>>,
}

/// Who originates a prefix.
#[derive(Debug)]
struct Origins {
    /// In ascending order.
    sites: Vec<usize>,
    /// The prefix as it is written: every edge of a fleet has it in its configuration.
    text: String,
}

/// A prefix and the edges that a packet to it may go to, best first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reached<'a> {
    pub segment: SegmentId,
    pub prefix: &'a str,
    pub next_hops: Vec<EdgeId>,
}

impl Overlay {
    pub fn new(fleet: &Fleet, numbers: &Allocations, graph: &Graph) -> Result<Self, NotAllocated> {
        let mut origins: BTreeMap<SegmentId, BTreeMap<IpNet, Origins>> = BTreeMap::new();
        let mut own = Vec::new();
        let mut edges = Vec::new();
        for (index, site) in fleet.sites.iter().enumerate() {
            let mut found = BTreeSet::new();
            for lan in &site.lans {
                let segment = numbers.segment(&lan.segment)?;
                found.extend(lan.prefixes.iter().map(|prefix| (segment, *prefix)));
            }
            for (segment, prefix) in &found {
                let of_segment = origins.entry(*segment).or_default();
                let of_prefix = of_segment
                    .entry(*prefix)
                    .or_insert_with(|| Origins { sites: Vec::new(), text: prefix.to_string() });
                of_prefix.sites.push(index);
            }
            own.push(found.into_iter().collect());
            let ids = site.edges.iter().map(|edge| numbers.edge(&edge.name));
            edges.push(ids.collect::<Result<_, _>>()?);
        }
        let segments = segments(fleet, numbers, graph)?;
        Ok(Self { origins, segments, own, edges })
    }

    pub fn segments(&self, site: usize) -> &BTreeSet<SegmentId> {
        &self.segments[site]
    }

    /// Every prefix of the site's segments that is not its own, in order of (segment, prefix). Without next hops: the
    /// prefix is only guarded.
    pub fn reached(&self, graph: &Graph, site: usize) -> Vec<Reached<'_>> {
        let mut direct = vec![false; self.own.len()];
        graph.neighbours(site).iter().for_each(|other| direct[*other] = true);
        let mut found = Vec::new();
        for segment in &self.segments[site] {
            for origins in self.origins.get(segment).into_iter().flat_map(BTreeMap::values) {
                if origins.sites.binary_search(&site).is_err() {
                    let next_hops = self.next_hops(graph, site, &direct, &origins.sites);
                    found.push(Reached { segment: *segment, prefix: &origins.text, next_hops });
                }
            }
        }
        found
    }

    /// First origins that there is a tunnel with: hubs in order, then others by ID. Then hubs that get there, the
    /// nearer before the farther, else in order.
    fn next_hops(
        &self,
        graph: &Graph,
        site: usize,
        direct: &[bool],
        origins: &[usize],
    ) -> Vec<EdgeId> {
        let hubs = &graph.hub_neighbours[site];
        let order = |other: usize| hubs.iter().position(|hub| *hub == other).unwrap_or(usize::MAX);
        let mut near: Vec<usize> = origins.iter().copied().filter(|o| direct[*o]).collect();
        near.sort_by_key(|other| (order(*other), self.edges[*other].iter().min()));
        let mut via: Vec<(u16, usize)> = Vec::new();
        for &hub in hubs.iter().filter(|hub| origins.binary_search(hub).is_err()) {
            if let Some(distance) = usable_distance(graph, site, hub, origins) {
                via.push((distance, hub));
            }
        }
        via.sort_by_key(|(distance, hub)| (*distance, order(*hub)));
        let sites = near.into_iter().chain(via.into_iter().map(|(_, hub)| hub));
        sites.flat_map(|site| self.edges[site].iter().copied()).collect()
    }

    /// What a packet from the peer may have as its source: the peer's LANs, and at a hub all that it reaches. Never
    /// what overlaps the site's own LANs.
    pub fn peer_sources(
        &self,
        graph: &Graph,
        site: usize,
        peer: usize,
    ) -> Vec<(SegmentId, String)> {
        let mine = |(segment, prefix): &(SegmentId, IpNet)| {
            self.own[site]
                .iter()
                .any(|(of, own)| of == segment && (own.contains(prefix) || prefix.contains(own)))
        };
        let segments = &self.segments[site];
        let wanted = |found: &(SegmentId, IpNet)| segments.contains(&found.0) && !mine(found);
        if graph.rank[peer].is_none() {
            let own = self.own[peer].iter().filter(|found| wanted(found));
            return own.map(|(segment, prefix)| (*segment, prefix.to_string())).collect();
        }
        let mut found = Vec::new();
        for segment in segments {
            for (prefix, origins) in self.origins.get(segment).into_iter().flatten() {
                let from =
                    |origin: &usize| *origin != site && graph.distance(peer, *origin).is_some();
                if origins.sites.iter().any(from) && wanted(&(*segment, *prefix)) {
                    found.push((*segment, origins.text.clone()));
                }
            }
        }
        found
    }
}

/// How far a hub is from the nearest origin, if a site may send through it. A site that carries nothing for others may
/// use any hub. A hub may only use one that is nearer, or as near and of a later rank: so packets can't go round.
fn usable_distance(graph: &Graph, site: usize, hub: usize, origins: &[usize]) -> Option<u16> {
    let nearest = |from: usize| origins.iter().filter_map(|o| graph.distance(from, *o)).min();
    let distance = nearest(hub)?;
    let Some(rank) = graph.rank[site] else { return Some(distance) };
    let mine = nearest(site)?;
    let nearer = distance < mine || (distance == mine && graph.rank[hub] > Some(rank));
    nearer.then_some(distance)
}

fn segments(
    fleet: &Fleet,
    numbers: &Allocations,
    graph: &Graph,
) -> Result<Vec<BTreeSet<SegmentId>>, NotAllocated> {
    let mut own = Vec::new();
    for site in &fleet.sites {
        let ike = site.edges.iter().flat_map(|edge| &edge.ike_tunnels).map(|t| &t.segment);
        let manual = site.edges.iter().flat_map(|edge| &edge.manual_tunnels).map(|t| &t.segment);
        let named = site.lans.iter().map(|lan| &lan.segment).chain(ike).chain(manual);
        let ids = named.map(|segment| numbers.segment(segment));
        own.push(ids.collect::<Result<BTreeSet<_>, _>>()?);
    }
    let mut all = own.clone();
    for (site, segments) in all.iter_mut().enumerate() {
        if graph.rank[site].is_some() {
            let reached = (0..own.len()).filter(|other| graph.distance(site, *other).is_some());
            reached.for_each(|other| segments.extend(&own[other]));
        }
    }
    Ok(all)
}
