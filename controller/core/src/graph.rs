//! Which sites the topologies join, and how far a hub is from every site.
//!
//! Only hubs carry what is neither from nor for their own LANs, so distances are counted through hubs alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::intent::{Edge, Family, Fleet, Members, SiteName, TopologyKind, TransportPairs};

/// No way to get there.
const FAR: u16 = u16::MAX;

/// Indices are those of `Fleet::sites`; names that no site has are left out.
#[derive(Debug)]
pub(crate) struct Graph {
    /// Pairs of sites, the lower index first, to the topology that asked for them first.
    pub links: BTreeMap<(usize, usize), usize>,
    /// Hubs that a site has a tunnel with, the preferred one first.
    pub hub_neighbours: Vec<Vec<usize>>,
    /// A hub's rank in the fleet, in the order of the document; none: no hub.
    pub rank: Vec<Option<usize>>,
    neighbours: Vec<Vec<usize>>,
    /// By rank of the hub, then by site.
    distance: Vec<Vec<u16>>,
}

impl Graph {
    pub fn new(fleet: &Fleet) -> Self {
        let count = fleet.sites.len();
        let mut links = BTreeMap::new();
        // For each site: (topology, position in its list of hubs, neighbour).
        let mut seen: Vec<Vec<(usize, usize, usize)>> = vec![Vec::new(); count];
        each_link(fleet, |link| {
            let (a, b) = (link.a.site.min(link.b.site), link.a.site.max(link.b.site));
            links.entry((a, b)).or_insert(link.topology);
            seen[link.a.site].push((link.topology, link.b.position, link.b.site));
            seen[link.b.site].push((link.topology, link.a.position, link.a.site));
        });
        let hubs = hubs(fleet);
        let mut rank = vec![None; count];
        for (index, hub) in hubs.iter().enumerate() {
            rank[*hub] = Some(index);
        }
        let mut neighbours = vec![Vec::new(); count];
        let mut hub_neighbours = vec![Vec::new(); count];
        for (site, mut seen) in seen.into_iter().enumerate() {
            seen.sort_by_key(|&(topology, position, other)| {
                (topology, position, rank[other].unwrap_or(usize::MAX))
            });
            let mut met = BTreeSet::new();
            for (_, _, other) in seen {
                if met.insert(other) {
                    neighbours[site].push(other);
                    if rank[other].is_some() {
                        hub_neighbours[site].push(other);
                    }
                }
            }
        }
        let distance = hubs.iter().map(|hub| distances(*hub, &neighbours, &rank)).collect();
        Self { links, hub_neighbours, rank, neighbours, distance }
    }

    pub fn neighbours(&self, site: usize) -> &[usize] {
        &self.neighbours[site]
    }

    /// Tunnels from a hub to a site, through hubs; none: it does not get there, or it is no hub.
    pub fn distance(&self, hub: usize, site: usize) -> Option<u16> {
        let distance = self.distance[self.rank[hub]?][site];
        (distance != FAR).then_some(distance)
    }
}

/// Breadth first; only hubs pass anything on.
fn distances(hub: usize, neighbours: &[Vec<usize>], rank: &[Option<usize>]) -> Vec<u16> {
    let mut distance = vec![FAR; neighbours.len()];
    distance[hub] = 0;
    let mut edge_of_known = vec![hub];
    let mut steps = 0;
    while !edge_of_known.is_empty() {
        steps += 1;
        let mut next = Vec::new();
        for site in edge_of_known {
            for &other in &neighbours[site] {
                if distance[other] == FAR {
                    distance[other] = steps;
                    if rank[other].is_some() {
                        next.push(other);
                    }
                }
            }
        }
        edge_of_known = next;
    }
    distance
}

/// One end of a link that a topology asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub site: usize,
    /// In the list of hubs; the last possible for others.
    pub position: usize,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct WantedLink {
    pub topology: usize,
    pub a: End,
    pub b: End,
}

/// Visits every pair of sites that a topology joins; a pair comes once for each topology that asks for it.
pub(crate) fn each_link(fleet: &Fleet, mut visit: impl FnMut(WantedLink)) {
    let sites = Indices::new(fleet);
    for (topology, wanted) in fleet.topologies.iter().enumerate() {
        let mut join = |a: End, b: End| {
            if a.site != b.site {
                visit(WantedLink { topology, a, b });
            }
        };
        let plain = |site| End { site, position: usize::MAX };
        match &wanted.kind {
            TopologyKind::HubSpoke { hubs, spokes } => {
                let hubs = sites.of(hubs);
                let spokes = sites.members(spokes, &hubs);
                for (position, &site) in hubs.iter().enumerate() {
                    let hub = End { site, position };
                    for (later, &other) in hubs.iter().enumerate().skip(position + 1) {
                        join(hub, End { site: other, position: later });
                    }
                    spokes.iter().for_each(|&spoke| join(hub, plain(spoke)));
                }
            }
            TopologyKind::FullMesh { sites: members } => {
                let members = sites.members(members, &[]);
                for (index, &a) in members.iter().enumerate() {
                    members[index + 1..].iter().for_each(|&b| join(plain(a), plain(b)));
                }
            }
            TopologyKind::Partial { pairs } => {
                for (a, b) in pairs {
                    if let (Some(a), Some(b)) = (sites.get(a), sites.get(b)) {
                        join(plain(a), plain(b));
                    }
                }
            }
        }
    }
}

/// At least as many tunnels as the topologies ask for, without listing them.
pub(crate) fn tunnels_at_most(fleet: &Fleet) -> u64 {
    let sites = Indices::new(fleet);
    let edges = |list: &[usize]| list.iter().map(|&s| fleet.sites[s].edges.len() as u64).sum();
    let among = |edges: u64| edges * edges.saturating_sub(1) / 2;
    let of_topology = |kind: &TopologyKind| match kind {
        TopologyKind::HubSpoke { hubs, spokes } => {
            let hubs = sites.of(hubs);
            let hub_edges: u64 = edges(&hubs);
            let spoke_edges: u64 = edges(&sites.members(spokes, &hubs));
            among(hub_edges) + hub_edges * spoke_edges
        }
        TopologyKind::FullMesh { sites: members } => among(edges(&sites.members(members, &[]))),
        TopologyKind::Partial { pairs } => pairs
            .iter()
            .filter_map(|(a, b)| sites.get(a).zip(sites.get(b)))
            .map(|(a, b)| {
                let (a, b): (u64, u64) = (edges(&[a]), edges(&[b]));
                a * b
            })
            .sum(),
    };
    fleet.topologies.iter().map(|topology| of_topology(&topology.kind)).sum()
}

/// How many different sites a topology joins.
pub(crate) fn members_of(fleet: &Fleet, kind: &TopologyKind) -> usize {
    let sites = Indices::new(fleet);
    let mut all = BTreeSet::new();
    match kind {
        TopologyKind::HubSpoke { hubs, spokes } => {
            let hubs = sites.of(hubs);
            all.extend(sites.members(spokes, &hubs));
            all.extend(hubs);
        }
        TopologyKind::FullMesh { sites: members } => all.extend(sites.members(members, &[])),
        TopologyKind::Partial { pairs } => {
            all.extend(pairs.iter().flat_map(|(a, b)| [sites.get(a), sites.get(b)]).flatten());
        }
    }
    all.len()
}

/// The hubs of all topologies, each once, in the document's order.
pub(crate) fn hubs(fleet: &Fleet) -> Vec<usize> {
    let sites = Indices::new(fleet);
    let mut met = BTreeSet::new();
    let mut found = Vec::new();
    for topology in &fleet.topologies {
        if let TopologyKind::HubSpoke { hubs, .. } = &topology.kind {
            found.extend(sites.of(hubs).into_iter().filter(|hub| met.insert(*hub)));
        }
    }
    found
}

/// The paths of two edges' tunnel: each pair of uplinks whose transports pair, for each family that both have.
pub(crate) fn paths<'a>(
    pairs: &'a TransportPairs,
    a: &'a Edge,
    b: &'a Edge,
) -> impl Iterator<Item = (usize, usize, Family)> + 'a {
    a.uplinks.iter().enumerate().flat_map(move |(i, of_a)| {
        let fitting = b.uplinks.iter().enumerate();
        let fitting = fitting.filter(|(_, of_b)| pairs.allow(&of_a.transport, &of_b.transport));
        fitting.flat_map(move |(j, of_b)| {
            of_a.families.intersection(&of_b.families).map(move |family| (i, j, *family))
        })
    })
}

/// Names of sites to their indices.
struct Indices<'a> {
    by_name: BTreeMap<&'a SiteName, usize>,
}

impl<'a> Indices<'a> {
    fn new(fleet: &'a Fleet) -> Self {
        let mut by_name = BTreeMap::new();
        for (index, site) in fleet.sites.iter().enumerate() {
            by_name.entry(&site.name).or_insert(index);
        }
        Self { by_name }
    }

    fn get(&self, name: &SiteName) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Each once, in the order of the list.
    fn of(&self, names: &[SiteName]) -> Vec<usize> {
        let mut met = BTreeSet::new();
        names.iter().filter_map(|name| self.get(name)).filter(|index| met.insert(*index)).collect()
    }

    fn members(&self, members: &Members, except: &[usize]) -> Vec<usize> {
        let mut found = match members {
            Members::All => self.by_name.values().copied().collect(),
            Members::Listed(names) => self.of(names),
        };
        let except: BTreeSet<usize> = except.iter().copied().collect();
        found.retain(|index| !except.contains(index));
        found
    }
}
