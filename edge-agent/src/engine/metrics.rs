//! Metrics of this edge: what must be counted as it happens, and a snapshot of the rest when somebody asks.

mod tally;

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_edge_core::config::EdgeState;
use hawser_proto::agent::v1::PathSample;
use hawser_telemetry::catalogue as c;
use hawser_telemetry::catalogue::Scope;
use hawser_telemetry::{PathNames, PathRow, SetId, Snapshot, Source, put_ike, put_paths};
use tokio::sync::{mpsc, oneshot};

use super::Engine;
use crate::dataplane::Counters;
pub(super) use tally::Metrics;

/// Collections that wait for the engine: a scrape and a push.
pub(super) const ASKS: usize = 2;

/// A collection that wants a snapshot.
pub(super) type Ask = oneshot::Sender<Snapshot>;

/// Asks the engine.
pub(super) fn source(asks: mpsc::Sender<Ask>) -> Source {
    Arc::new(move || {
        let asks = asks.clone();
        Box::pin(async move {
            let (ask, answer) = oneshot::channel();
            asks.send(ask).await.ok()?;
            answer.await.ok()
        })
    })
}

impl Engine {
    pub(super) fn on_metrics(&mut self, ask: Ask) {
        // Who asked may have given up.
        let _ = ask.send(self.snapshot());
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::of_fleet(&self.own.fleet);
        let counters = self.dataplane.counters();
        let edge = self.edge.clone();
        let site = edge.as_ref().map(|e| e.site.as_str()).unwrap_or_default();
        let own = snapshot.set(Scope::Site, &[site, &self.own.edge]);
        self.put_edge(&mut snapshot, own);
        self.put_counts(&mut snapshot, own, &counters);
        if let Some(edge) = &edge {
            self.put_uplinks(&mut snapshot, edge);
            self.put_selections(&mut snapshot, edge);
            for sample in &self.ike_samples() {
                put_ike(&mut snapshot, site, &self.own.edge, sample);
            }
        }
        let samples = self.path_samples(&counters);
        let rows = edge.as_deref().map(|e| self.path_rows(e, &samples)).unwrap_or_default();
        put_paths(&mut snapshot, &rows, self.metrics.max_series());
        snapshot
    }

    fn put_edge(&self, snapshot: &mut Snapshot, own: SetId) {
        let now = self.clock.now();
        let connected = self.control.link_status().connected.is_some();
        snapshot.put(&c::EDGE_CONNECTED, own, &[], f64::from(u8::from(connected)));
        snapshot.put(&c::EDGE_HEADLESS, own, &[], self.metrics.headless(now).as_secs_f64());
        snapshot.put(&c::EDGE_UPTIME, own, &[], now.0 as f64 / 1e6);
        let generations = self.control.generations();
        for (state, id) in [
            ("seen", generations.highest_seen.as_ref().map(|s| s.id)),
            ("applied", generations.applied_id()),
            ("confirmed", generations.confirmed_id()),
        ] {
            if let Some(id) = id {
                snapshot.put(&c::EDGE_GENERATION, own, &[state], id.number as f64);
            }
        }
    }

    fn put_counts(&self, snapshot: &mut Snapshot, own: SetId, counters: &Counters) {
        for (reason, count) in counters.drops.iter().filter(|(_, count)| **count > 0) {
            snapshot.put(&c::EDGE_DROPS, own, &[reason.label()], *count as f64);
        }
        for (name, count) in self.all_counters(counters) {
            if !name.starts_with("drop_") {
                snapshot.put(&c::EDGE_COUNTS, own, &[&name], count as f64);
            }
        }
    }

    fn put_uplinks(&self, snapshot: &mut Snapshot, edge: &EdgeState) {
        for (uplink, fact) in edge.uplinks.values().zip(self.uplink_facts()) {
            let labels = [edge.site.as_str(), &self.own.edge, &uplink.name];
            let set = snapshot.set(Scope::Uplink, &labels);
            snapshot.put(&c::UPLINK_CARRIER, set, &[], f64::from(u8::from(fact.carrier)));
            if uplink.bandwidth_up_kbps > 0 {
                let bytes_per_s = uplink.bandwidth_up_kbps as f64 * 125.0;
                snapshot.put(&c::UPLINK_BANDWIDTH, set, &["tx"], bytes_per_s);
            }
        }
    }

    fn put_selections(&self, snapshot: &mut Snapshot, edge: &EdgeState) {
        let now = self.clock.now();
        for (key, selection) in &self.selections {
            let Some(tunnel) = edge.tunnels.get(&key.0) else { continue };
            let selector = &selection.selector;
            let labels = [
                edge.site.as_str(),
                &self.own.edge,
                &tunnel.peer_site,
                &tunnel.peer_edge,
                &selector.policy().class_name,
            ];
            let set = snapshot.set(Scope::Class, &labels);
            for (cause, count) in self.metrics.moves(*key) {
                snapshot.put(&c::SELECTION_MOVES, set, &[cause], count as f64);
            }
            let out = self.metrics.out_of_sla(*key, now).as_secs_f64();
            snapshot.put(&c::SELECTION_OUT_OF_SLA, set, &[], out);
            snapshot.put(&c::SELECTION_HELD, set, &[], selector.held_paths(now) as f64);
            snapshot.put(&c::SELECTION_TOKENS, set, &[], f64::from(selector.tokens_left(now)));
        }
    }

    fn path_rows<'a>(&'a self, edge: &'a EdgeState, samples: &'a [PathSample]) -> Vec<PathRow<'a>> {
        let paths = edge.paths().map(|(tunnel, path)| (path.id.0, (tunnel, path)));
        let by_id: BTreeMap<_, _> = paths.collect();
        let mut rows = Vec::with_capacity(samples.len());
        for sample in samples {
            let Some((tunnel, path)) = by_id.get(&sample.path_id) else { continue };
            let local = edge.uplinks.get(&path.local_uplink);
            let remote = tunnel.peer_uplinks.get(&path.remote_uplink);
            let names = PathNames {
                site: &edge.site,
                edge: &self.own.edge,
                uplink: local.map(|u| u.name.as_str()).unwrap_or_default(),
                peer_site: &tunnel.peer_site,
                peer_uplink: remote.map(|u| u.name.as_str()).unwrap_or_default(),
            };
            rows.push(PathRow { names, sample });
        }
        rows
    }
}
