//! Since when each SLA class is watched on each tunnel, and when a path met it last: kept as long as the process lives.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hawser_controller_core::lint::Watched;
use hawser_proto::agent::v1::{PathSample, PathState};

use super::state::FleetState;

#[derive(Debug, Clone, Copy)]
struct Met {
    since_unix_ms: u64,
    last_unix_ms: Option<u64>,
}

/// By edge, tunnel and class. Both come from the edges' own configurations, so that the table is bounded by them.
#[derive(Debug, Default)]
pub struct SlaWatch(Mutex<BTreeMap<(String, u32, String), Met>>);

impl SlaWatch {
    /// What an edge has just told of its own paths.
    pub fn hear(&self, state: &FleetState, edge: &str, samples: &[PathSample], now: u64) {
        let Some(config) = state.edges.get(edge).map(|e| &e.config) else { return };
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        for sample in samples {
            let Some(tunnel) = state.paths.get(&sample.path_id).map(|p| p.tunnel_id) else {
                continue;
            };
            for verdict in &sample.verdicts {
                if !config.sla_classes.iter().any(|class| class.name == verdict.sla_class) {
                    continue;
                }
                let key = (edge.to_owned(), tunnel, verdict.sla_class.clone());
                let met = all.entry(key).or_insert(Met { since_unix_ms: now, last_unix_ms: None });
                if verdict.meets && sample.state() == PathState::Up {
                    met.last_unix_ms = Some(now);
                }
            }
        }
    }

    /// Everything that is still part of the fleet; the rest is forgotten.
    pub fn watched(&self, state: &FleetState) -> Vec<Watched> {
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let peer = |edge: &str, tunnel: u32| {
            let config = &state.edges.get(edge)?.config;
            config.tunnels.iter().find(|t| t.id == tunnel).map(|t| t.peer_edge.clone())
        };
        all.retain(|(edge, tunnel, _), _| peer(edge, *tunnel).is_some());
        let watched = |((edge, tunnel, sla), met): (&(String, u32, String), &Met)| Watched {
            edge: edge.clone(),
            peer_edge: peer(edge, *tunnel).unwrap_or_default(),
            sla: sla.clone(),
            since_unix_ms: met.since_unix_ms,
            last_met_unix_ms: met.last_unix_ms,
        };
        all.iter().map(watched).collect()
    }
}
