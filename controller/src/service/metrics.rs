//! Metrics of one fleet: what must be counted as it happens, and all that is live when somebody asks.

mod tally;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::RandomState;
use hawser_proto::config::v1::{GenerationId, Uplink};
use hawser_telemetry::catalogue as c;
use hawser_telemetry::catalogue::Scope;
use hawser_telemetry::{PathNames, PathRow, SetId, Snapshot, put_paths};

use super::Controller;
use super::index::EdgeLive;
use super::state::{EdgeState, FleetState, PathEndInfo};
use crate::clock::now_unix_ms;
pub(super) use tally::Metrics;

type Live = BTreeMap<String, EdgeLive>;

impl Controller {
    /// Puts all that is told of the fleet, which is the snapshot's present one. The series of its paths are at most `max_series`, or there are none.
    pub fn put_metrics(&self, snapshot: &mut Snapshot, max_series: usize) {
        let state = self.state();
        let oldest = self.oldest_fresh();
        self.metrics.retain(|edge| state.edges.contains_key(edge));
        self.index.with_all(|live| {
            self.put_fleet(snapshot, &state, live);
            for (name, edge) in &state.edges {
                let own = snapshot.set(Scope::Site, &[&edge.config.site, name]);
                self.put_edge(snapshot, own, name, edge, live.get(name));
                let heard = live.get(name).filter(|live| live.last_seen_unix_ms >= oldest);
                put_uplinks(snapshot, name, edge, heard);
            }
            put_paths(snapshot, &path_rows(&state, live, oldest), max_series);
        });
        self.put_moves(snapshot, &state);
        self.put_ike_tunnels(snapshot, &state);
        self.put_own(snapshot);
    }

    fn put_fleet(&self, snapshot: &mut Snapshot, state: &FleetState, live: &Live) {
        let fleet = snapshot.fleet();
        snapshot.put(&c::FLEET_REVISION, fleet, &[], state.revision as f64);
        let of_fleet = || state.edges.iter().map(|(name, edge)| (edge, live.get(name)));
        let count = |is: fn(&EdgeState, &EdgeLive) -> bool| {
            of_fleet().filter(|(edge, live)| live.is_some_and(|live| is(edge, live))).count()
        };
        for (name, count) in [
            ("known", state.edges.len()),
            ("enrolled", count(|_, live| live.enrolment.is_some())),
            ("connected", count(|_, live| live.connected())),
            ("converged", count(|edge, live| live.applied() == edge.desired.id)),
        ] {
            snapshot.put(&c::CONTROLLER_EDGES, fleet, &[name], count as f64);
        }
        let streams = live.values().filter(|live| live.connected()).count();
        snapshot.put(&c::CONTROLLER_STREAMS, fleet, &[], streams as f64);
    }

    fn put_edge(
        &self,
        snapshot: &mut Snapshot,
        own: SetId,
        name: &str,
        edge: &EdgeState,
        live: Option<&EdgeLive>,
    ) {
        let flag = |yes: bool| f64::from(u8::from(yes));
        let connected = live.is_some_and(EdgeLive::connected);
        snapshot.put(&c::EDGE_CONNECTED, own, &[], flag(connected));
        let applied = live.map(EdgeLive::applied).unwrap_or_default();
        let lag = self.metrics.lag(name, edge.desired.id, applied, Instant::now());
        snapshot.put(&c::EDGE_GENERATION_LAG, own, &[], lag.as_secs_f64());
        let desired = Some(GenerationId::from(edge.desired.id));
        let told = live.map(|live| live.generations.clone()).unwrap_or_default();
        for (state, id) in [
            ("desired", desired),
            ("seen", told.highest_seen),
            ("applied", told.applied),
            ("confirmed", told.confirmed),
        ] {
            if let Some(id) = id {
                snapshot.put(&c::EDGE_GENERATION, own, &[state], id.number as f64);
            }
        }
        let Some(live) = live else { return };
        if live.last_seen_unix_ms > 0 {
            let silence_ms = now_unix_ms().saturating_sub(live.last_seen_unix_ms);
            snapshot.put(&c::EDGE_SILENCE, own, &[], silence_ms as f64 / 1e3);
        }
        for (name, count) in &live.counters {
            let (metric, label) = match name.strip_prefix("drop_") {
                Some(reason) => (&c::EDGE_DROPS, reason),
                None => (&c::EDGE_COUNTS, name.as_str()),
            };
            snapshot.put(metric, own, &[label], *count as f64);
        }
    }

    fn put_moves(&self, snapshot: &mut Snapshot, state: &FleetState) {
        let site = |edge: &str| state.edges.get(edge).map(|edge| edge.config.site.as_str());
        for (moved, causes) in self.metrics.moves() {
            let (Some(own), Some(peer)) = (site(&moved.edge), site(&moved.peer_edge)) else {
                continue;
            };
            let labels = [own, &moved.edge, peer, &moved.peer_edge, &moved.class];
            let set = snapshot.set(Scope::Class, &labels);
            for (cause, count) in causes {
                snapshot.put(&c::SELECTION_MOVES, set, &[cause], count as f64);
            }
        }
    }

    fn put_own(&self, snapshot: &mut Snapshot) {
        let fleet = snapshot.fleet();
        let times = self.metrics.store_times();
        for (name, histogram) in [("get", &times.get), ("range", &times.range), ("txn", &times.txn)]
        {
            snapshot.put_histogram(&c::CONTROLLER_STORE, fleet, &[name], histogram.read());
        }
        for (name, histogram) in self.metrics.pushes() {
            snapshot.put_histogram(&c::CONTROLLER_PUSH, fleet, &[name], histogram.read());
        }
        for (name, count) in self.counters.snapshot() {
            snapshot.put(&c::CONTROLLER_COUNTS, fleet, &[&name], count as f64);
        }
    }
}

/// Both ends of every path, as far as they were heard lately.
fn path_rows<'a>(state: &'a FleetState, live: &'a Live, oldest: u64) -> Vec<PathRow<'a>> {
    let uplinks = state.edges.values().flat_map(|edge| &edge.config.uplinks);
    let uplinks: BTreeMap<u32, &Uplink> = uplinks.map(|uplink| (uplink.id, uplink)).collect();
    let uplink = |end: &PathEndInfo| uplinks.get(&end.uplink_id).map_or("", |u| u.name.as_str());
    let edges = edges(state, live);
    let mut rows = Vec::with_capacity(2 * state.paths.len());
    for path in state.paths.values() {
        let ends = [&path.a, &path.b].map(|end| (end, edges.get(end.edge.as_str()).copied()));
        for ((here, edge), (there, peer)) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            let sample = edge.and_then(|(_, live)| live?.samples.get(&path.id));
            let Some(sample) = sample.filter(|s| s.received_unix_ms >= oldest) else {
                continue;
            };
            let names = PathNames {
                site: edge.map_or("", |(site, _)| site),
                edge: &here.edge,
                uplink: uplink(here),
                peer_site: peer.map_or("", |(site, _)| site),
                peer_uplink: uplink(there),
            };
            rows.push(PathRow { names, sample: &sample.sample });
        }
    }
    rows
}

/// Site and live state of each edge, which is looked up for each end of each path.
fn edges<'a>(
    state: &'a FleetState,
    live: &'a Live,
) -> HashMap<&'a str, (&'a str, Option<&'a EdgeLive>), RandomState> {
    let edge = |(name, edge): (&'a String, &'a Arc<EdgeState>)| {
        (name.as_str(), (edge.config.site.as_str(), live.get(name)))
    };
    state.edges.iter().map(edge).collect()
}

fn put_uplinks(snapshot: &mut Snapshot, name: &str, edge: &EdgeState, live: Option<&EdgeLive>) {
    for uplink in &edge.config.uplinks {
        let set = snapshot.set(Scope::Uplink, &[&edge.config.site, name, &uplink.name]);
        let mut facts = live.into_iter().flat_map(|live| &live.uplinks);
        if let Some(fact) = facts.find(|fact| fact.uplink_id == uplink.id) {
            snapshot.put(&c::UPLINK_CARRIER, set, &[], f64::from(u8::from(fact.carrier)));
        }
        for (direction, kbps) in
            [("tx", uplink.bandwidth_up_kbps), ("rx", uplink.bandwidth_down_kbps)]
        {
            if kbps > 0 {
                let bytes_per_s = kbps as f64 * 125.0;
                snapshot.put(&c::UPLINK_BANDWIDTH, set, &[direction], bytes_per_s);
            }
        }
    }
}
