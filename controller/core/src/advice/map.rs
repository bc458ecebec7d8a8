//! Who is joined to whom, over what: the fleet as the slow loop needs it.

use std::collections::{BTreeMap, BTreeSet};

use hawser_proto::config::v1::EdgeConfig;

use super::Provider;
use crate::id::{EdgeId, PathId, TunnelId, UplinkId};

/// Sets of next hops of one edge that are kept; what is beyond gets no advice about hubs.
const MAX_CHOICES: usize = 64;

/// Made of what the edges are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetMap {
    pub(super) edges: BTreeMap<EdgeId, Node>,
    pub(super) uplinks: BTreeMap<UplinkId, Wan>,
    pub(super) tunnels: BTreeMap<TunnelId, Joint>,
    pub(super) paths: BTreeMap<PathId, Way>,
    /// Edges that somebody has a choice of as next hops.
    pub(super) hubs: BTreeSet<EdgeId>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub name: String,
    pub site: String,
    pub uplinks: Vec<UplinkId>,
    pub tunnels: Vec<TunnelId>,
    /// Each set of next hops among which a route of this edge has a choice.
    pub choices: BTreeSet<BTreeSet<EdgeId>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wan {
    pub edge: EdgeId,
    pub name: String,
    /// None: the intent names none.
    pub provider: Option<Provider>,
    pub paths: Vec<PathId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Joint {
    pub edges: [EdgeId; 2],
    pub paths: Vec<PathId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub tunnel: TunnelId,
    /// In the order of the tunnel's edges.
    pub ends: [(EdgeId, UplinkId); 2],
}

impl FleetMap {
    /// Of every edge of the fleet. A tunnel that only one end knows (a generation is on its way) is left out.
    pub fn new<'a>(configs: impl IntoIterator<Item = &'a EdgeConfig>) -> Self {
        let configs: Vec<&EdgeConfig> = configs.into_iter().collect();
        let mut map = Self::default();
        for config in &configs {
            map.add_edge(config);
        }
        for config in &configs {
            map.add_tunnels(config);
        }
        let choices = map.edges.values().flat_map(|node| node.choices.iter().flatten());
        map.hubs = choices.copied().collect();
        map
    }

    /// Edges that the map knows.
    pub fn edges(&self) -> impl Iterator<Item = EdgeId> + '_ {
        self.edges.keys().copied()
    }

    /// The edge's name and its site's.
    pub fn names(&self, edge: EdgeId) -> (&str, &str) {
        self.edges.get(&edge).map_or(("", ""), |node| (&node.name, &node.site))
    }

    /// It joins many others: a hub, or an edge with more than twice the usual number of tunnels.
    pub(super) fn is_centre(&self, edge: EdgeId) -> bool {
        let tunnels = self.edges.get(&edge).map_or(0, |node| node.tunnels.len());
        // Each tunnel has two ends: the mean is 2 * tunnels / edges.
        self.hubs.contains(&edge) || tunnels * self.edges.len() > 4 * self.tunnels.len()
    }

    fn add_edge(&mut self, config: &EdgeConfig) {
        let id = EdgeId(config.edge_id);
        let choices = config.routes.iter().filter(|route| route.next_hop_edge_ids.len() > 1);
        let choices = choices.map(|r| r.next_hop_edge_ids.iter().map(|&e| EdgeId(e)).collect());
        let mut node = Node {
            name: config.edge.clone(),
            site: config.site.clone(),
            choices: choices.collect::<BTreeSet<_>>().into_iter().take(MAX_CHOICES).collect(),
            ..Node::default()
        };
        for uplink in &config.uplinks {
            node.uplinks.push(UplinkId(uplink.id));
            let provider = (!uplink.provider.is_empty()).then(|| Provider {
                name: uplink.provider.clone(),
                transport: uplink.transport.clone(),
            });
            let wan = Wan { edge: id, name: uplink.name.clone(), provider, paths: Vec::new() };
            self.uplinks.insert(UplinkId(uplink.id), wan);
        }
        self.edges.insert(id, node);
    }

    fn add_tunnels(&mut self, config: &EdgeConfig) {
        let own = EdgeId(config.edge_id);
        for tunnel in &config.tunnels {
            let peer = EdgeId(tunnel.peer_edge_id);
            // Each tunnel stands in both configurations: the end with the lower ID adds it.
            if own >= peer || !self.edges.contains_key(&peer) {
                continue;
            }
            let id = TunnelId(tunnel.id);
            let mut joint = Joint { edges: [own, peer], paths: Vec::new() };
            for path in &tunnel.paths {
                let ends = [UplinkId(path.local_uplink_id), UplinkId(path.remote_uplink_id)];
                if ends.iter().any(|uplink| !self.uplinks.contains_key(uplink)) {
                    continue;
                }
                let way = Way { tunnel: id, ends: [(own, ends[0]), (peer, ends[1])] };
                joint.paths.push(PathId(path.id));
                self.paths.insert(PathId(path.id), way);
                for uplink in ends {
                    if let Some(wan) = self.uplinks.get_mut(&uplink) {
                        wan.paths.push(PathId(path.id));
                    }
                }
            }
            self.tunnels.insert(id, joint);
            for edge in [own, peer] {
                if let Some(node) = self.edges.get_mut(&edge) {
                    node.tunnels.push(id);
                }
            }
        }
    }
}

impl Joint {
    pub fn other(&self, edge: EdgeId) -> EdgeId {
        if self.edges[0] == edge { self.edges[1] } else { self.edges[0] }
    }
}

impl Way {
    /// Which end the edge is.
    pub fn side(&self, edge: EdgeId) -> Option<usize> {
        self.ends.iter().position(|end| end.0 == edge)
    }

    /// The end that is not this uplink.
    pub fn far_end(&self, uplink: UplinkId) -> (EdgeId, UplinkId) {
        if self.ends[0].1 == uplink { self.ends[1] } else { self.ends[0] }
    }
}
