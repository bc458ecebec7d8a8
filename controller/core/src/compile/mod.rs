//! An intent and its numbers to what each edge must make true. The same input gives the same octets.

mod affected;
mod config;
mod ike;
mod manual;
mod overlay;

use std::collections::BTreeMap;

use hawser_proto::config::v1::EdgeConfig;

use crate::allocate::{Allocations, EdgePair, NotAllocated, PathKey};
use crate::graph::{Graph, paths};
use crate::id::{EdgeId, PathId, TunnelId, UplinkId};
use crate::intent::{Edge, EdgeName, Family, Fleet, ProfileName, Site, SiteName, UplinkName};
pub use affected::{Affected, affected};
use overlay::Overlay;

/// One configuration for each edge of the fleet.
///
/// # Errors
/// If [`crate::allocate`] was not called for this fleet.
pub fn compile(
    fleet: &Fleet,
    allocations: &Allocations,
) -> Result<BTreeMap<EdgeName, EdgeConfig>, NotAllocated> {
    let plan = Plan::new(fleet, allocations)?;
    plan.edges().map(|(_, edge)| Ok((edge.name.clone(), plan.config_of(&edge.name)?))).collect()
}

/// What a site is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Hub,
    /// Has a hub.
    Spoke,
    /// Of a mesh or of pairs.
    Peer,
    /// In no topology.
    Alone,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Hub => "hub",
            Role::Spoke => "spoke",
            Role::Peer => "peer",
            Role::Alone => "alone",
        }
    }
}

/// Two edges that a topology joins. `a` has the lower ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelPlan {
    pub id: TunnelId,
    pub a: TunnelEnd,
    pub b: TunnelEnd,
    pub profile: ProfileName,
    /// By ID.
    pub paths: Vec<PathPlan>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelEnd {
    pub site: SiteName,
    pub edge: EdgeName,
    pub edge_id: EdgeId,
    place: EdgeAt,
}

/// One uplink of `a` to one of `b`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPlan {
    pub id: PathId,
    pub a_uplink: UplinkName,
    pub a_uplink_id: UplinkId,
    pub b_uplink: UplinkName,
    pub b_uplink_id: UplinkId,
    pub family: Family,
}

/// Indices of a site and of one of its edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EdgeAt {
    site: usize,
    edge: usize,
}

/// A fleet with its tunnels and paths; compiles edges one at a time.
#[derive(Debug)]
pub struct Plan<'a> {
    fleet: &'a Fleet,
    allocations: &'a Allocations,
    graph: Graph,
    overlay: Overlay,
    tunnels: Vec<TunnelPlan>,
    edges: BTreeMap<&'a EdgeName, PlannedEdge>,
    /// How many paths each uplink has.
    paths: BTreeMap<UplinkId, u32>,
}

#[derive(Debug)]
struct PlannedEdge {
    id: EdgeId,
    at: EdgeAt,
    /// Indices into `tunnels`.
    tunnels: Vec<usize>,
}

impl<'a> Plan<'a> {
    /// # Errors
    /// If [`crate::allocate`] was not called for this fleet.
    pub fn new(fleet: &'a Fleet, allocations: &'a Allocations) -> Result<Self, NotAllocated> {
        let graph = Graph::new(fleet);
        let mut edges = BTreeMap::new();
        for (site, of_site) in fleet.sites.iter().enumerate() {
            for (edge, of_edge) in of_site.edges.iter().enumerate() {
                let id = allocations.edge(&of_edge.name)?;
                let at = EdgeAt { site, edge };
                edges.insert(&of_edge.name, PlannedEdge { id, at, tunnels: Vec::new() });
            }
        }
        let overlay = Overlay::new(fleet, allocations, &graph)?;
        let (tunnels, paths) = (Vec::new(), BTreeMap::new());
        let mut plan = Self { fleet, allocations, graph, overlay, tunnels, edges, paths };
        plan.tunnels = plan.plan_tunnels()?;
        for path in plan.tunnels.iter().flat_map(|tunnel| &tunnel.paths) {
            for uplink in [path.a_uplink_id, path.b_uplink_id] {
                *plan.paths.entry(uplink).or_default() += 1;
            }
        }
        for (index, tunnel) in plan.tunnels.iter().enumerate() {
            for end in [&tunnel.a, &tunnel.b] {
                if let Some(edge) = plan.edges.get_mut(&end.edge) {
                    edge.tunnels.push(index);
                }
            }
        }
        Ok(plan)
    }

    /// By ID.
    pub fn tunnels(&self) -> &[TunnelPlan] {
        &self.tunnels
    }

    /// Every edge with its site, sorted by the edge's name.
    pub fn edges(&self) -> impl Iterator<Item = (&'a Site, &'a Edge)> + '_ {
        self.edges.values().map(|planned| {
            let site = &self.fleet.sites[planned.at.site];
            (site, &site.edges[planned.at.edge])
        })
    }

    /// None: there is no such site.
    pub fn role(&self, name: &SiteName) -> Option<Role> {
        let site = self.fleet.sites.iter().position(|site| site.name == *name)?;
        Some(if self.graph.rank[site].is_some() {
            Role::Hub
        } else if !self.graph.hub_neighbours[site].is_empty() {
            Role::Spoke
        } else if !self.graph.neighbours(site).is_empty() {
            Role::Peer
        } else {
            Role::Alone
        })
    }

    /// The configuration of one edge.
    ///
    /// # Errors
    /// If there is no such edge.
    pub fn config_of(&self, name: &EdgeName) -> Result<EdgeConfig, NotAllocated> {
        let missing = || NotAllocated { kind: "edge", name: name.to_string() };
        config::compile(self, self.edges.get(name).ok_or_else(missing)?)
    }

    /// Over all tunnels of its edge.
    fn paths_over(&self, uplink: UplinkId) -> u32 {
        self.paths.get(&uplink).copied().unwrap_or(0)
    }

    fn plan_tunnels(&self) -> Result<Vec<TunnelPlan>, NotAllocated> {
        let mut tunnels = Vec::new();
        for (&(a, b), &topology) in &self.graph.links {
            let profile = &self.fleet.topologies[topology].profile;
            for of_a in self.ends(a)? {
                for of_b in self.ends(b)? {
                    let ordered = of_a.edge_id < of_b.edge_id;
                    let (low, high) = if ordered { (&of_a, &of_b) } else { (&of_b, &of_a) };
                    tunnels.push(self.plan_tunnel(low, high, profile)?);
                }
            }
        }
        tunnels.sort_by_key(|tunnel| tunnel.id);
        Ok(tunnels)
    }

    fn ends(&self, site: usize) -> Result<Vec<TunnelEnd>, NotAllocated> {
        let of_site = &self.fleet.sites[site];
        let ends = of_site.edges.iter().enumerate().map(|(edge, of_edge)| {
            Ok(TunnelEnd {
                site: of_site.name.clone(),
                edge: of_edge.name.clone(),
                edge_id: self.allocations.edge(&of_edge.name)?,
                place: EdgeAt { site, edge },
            })
        });
        ends.collect()
    }

    fn plan_tunnel(
        &self,
        a: &TunnelEnd,
        b: &TunnelEnd,
        profile: &ProfileName,
    ) -> Result<TunnelPlan, NotAllocated> {
        let (of_a, of_b) = (self.edge_at(a.place), self.edge_at(b.place));
        let numbers = self.allocations;
        let planned = paths(&self.fleet.transport_pairs, of_a, of_b).map(|(i, j, family)| {
            let (a_uplink, b_uplink) = (&of_a.uplinks[i].name, &of_b.uplinks[j].name);
            let a_uplink_id = numbers.uplink(&of_a.name, a_uplink)?;
            let b_uplink_id = numbers.uplink(&of_b.name, b_uplink)?;
            Ok(PathPlan {
                id: numbers.path(PathKey::new(a_uplink_id, b_uplink_id, family))?,
                a_uplink: a_uplink.clone(),
                a_uplink_id,
                b_uplink: b_uplink.clone(),
                b_uplink_id,
                family,
            })
        });
        let mut planned: Vec<PathPlan> = planned.collect::<Result<_, _>>()?;
        planned.sort_by_key(|path| path.id);
        Ok(TunnelPlan {
            id: numbers.tunnel(EdgePair::new(a.edge_id, b.edge_id))?,
            a: a.clone(),
            b: b.clone(),
            profile: profile.clone(),
            paths: planned,
        })
    }

    fn edge_at(&self, at: EdgeAt) -> &'a Edge {
        &self.fleet.sites[at.site].edges[at.edge]
    }
}

#[cfg(test)]
mod tests;
