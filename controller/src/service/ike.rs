//! Tunnels with gateways that are not Hawser, as their edges tell of them.

use std::sync::Arc;

use hawser_proto::agent::v1::IkeSample;
use hawser_proto::config::v1 as config;
use hawser_proto::operator::v1::IkeTunnel;
use hawser_telemetry::{Snapshot, put_ike};

use super::state::{EdgeState, FleetState};
use super::{Controller, bounds};

impl Controller {
    /// Keeps what an edge says of the tunnels that its configuration has.
    pub(super) fn take_ike(&self, edge: &str, mut told: Vec<IkeSample>, now: u64) {
        let state = self.state();
        let offered = told.len() as u64;
        let config = state.edges.get(edge).map(|edge| &edge.config);
        let known = |sample: &IkeSample| {
            config.is_some_and(|config| names(config).any(|(name, ..)| name == sample.name))
        };
        told.retain(known);
        told.sort_by(|a, b| a.name.cmp(&b.name));
        told.dedup_by(|a, b| a.name == b.name);
        told.iter_mut().for_each(bounds::ike);
        self.counters.add("ike_samples_dropped", offered - told.len() as u64);
        self.index.with(edge, |live| {
            live.ike = told;
            live.ike_unix_ms = now;
        });
    }

    /// By site, edge and name. Empty `site`: of every one.
    pub(super) fn ike_tunnels(&self, state: &FleetState, site: &str) -> Vec<IkeTunnel> {
        let oldest = self.oldest_fresh();
        let wanted =
            state.edges.iter().filter(|(_, edge)| site.is_empty() || edge.config.site == site);
        let mut found: Vec<IkeTunnel> = self.index.with_all(|live| {
            let of_edge = |(name, edge): (&String, &Arc<EdgeState>)| {
                let live = live.get(name).filter(|live| live.ike_unix_ms >= oldest);
                let one = |(tunnel, uplink, manual): (&str, u32, bool)| {
                    let mut uplinks = edge.config.uplinks.iter();
                    let uplink = uplinks.find(|known| known.id == uplink);
                    let told = live.and_then(|l| l.ike.iter().find(|s| s.name == tunnel));
                    let used = told.and_then(|t| t.links.iter().find(|link| link.chosen));
                    let first = uplink.map(|uplink| uplink.name.clone()).unwrap_or_default();
                    IkeTunnel {
                        site: edge.config.site.clone(),
                        edge: name.clone(),
                        name: tunnel.to_owned(),
                        uplink: used.map_or(first, |link| link.uplink.clone()),
                        sample: told.cloned(),
                        sample_unix_ms: live.map_or(0, |live| live.ike_unix_ms),
                        manual,
                    }
                };
                names(&edge.config).map(one).collect::<Vec<_>>()
            };
            wanted.flat_map(of_edge).collect()
        });
        found.sort_by(|a, b| (&a.site, &a.edge, &a.name).cmp(&(&b.site, &b.edge, &b.name)));
        found
    }

    pub(super) fn put_ike_tunnels(&self, snapshot: &mut Snapshot, state: &FleetState) {
        for tunnel in self.ike_tunnels(state, "") {
            if let Some(sample) = &tunnel.sample {
                put_ike(snapshot, &tunnel.site, &tunnel.edge, sample);
            }
        }
    }
}

/// Tunnels with devices that are not Hawser, with the uplink of each, and whether people have keyed them.
fn names(config: &config::EdgeConfig) -> impl Iterator<Item = (&str, u32, bool)> {
    let ike = config.ike_tunnels.iter().map(|t| (t.name.as_str(), t.uplink_id, false));
    ike.chain(config.manual_tunnels.iter().map(|t| (t.name.as_str(), t.uplink_id, true)))
}
