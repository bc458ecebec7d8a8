//! Telemetry and facts for the controller; key usage for the peer connections.

use std::collections::BTreeMap;

use hawser_edge_core::id::{PathId, UplinkId};
use hawser_edge_core::keys::SaUsage;
use hawser_edge_core::sla::{Reach, SlaState};
use hawser_proto::agent::v1 as wire;

use super::{Engine, clock, endpoints};
use crate::dataplane::{Counters, SaCounters};

impl Engine {
    pub(super) fn report(&mut self) {
        let counters = self.dataplane.counters();
        let mut paths = self.path_samples(&counters);
        // The controller asks about its generation.
        paths.retain(|sample| !self.departures.has_path(PathId(sample.path_id)));
        let explanations = self.explanations();
        self.control.telemetry(wire::Telemetry {
            unix_ms: clock::unix_ms(),
            paths,
            uplinks: self.own_uplink_facts(),
            counters: self.all_counters(&counters),
            explanations,
            ike_tunnels: self.ike_samples(),
        });
    }

    /// How far each outbound SA is used: a limit near means fresh keys. Lanes are replaced together, so the busiest tells.
    pub(super) fn report_usage(&mut self) {
        for (path, lanes) in self.dataplane.counters().outbound_sas {
            let most = |of: fn(&SaCounters) -> u64| lanes.iter().map(of).max().unwrap_or(0);
            let usage = SaUsage { bytes: most(|sa| sa.bytes), packets: most(|sa| sa.packets) };
            if self.peers.report_usage(path, usage).is_err() {
                self.count("usage_report_dropped");
            }
        }
    }

    /// What is counted anywhere in the agent, by reason; only what is not zero.
    pub(super) fn all_counters(&self, counters: &Counters) -> BTreeMap<String, u64> {
        let mut all = self.counters.clone();
        all.extend(self.control.counters());
        all.extend(self.reach.counters().iter().map(|(name, n)| ((*name).to_owned(), *n)));
        all.extend(self.history.counters().map(|(name, n)| (name.to_owned(), n)));
        all.extend(counters.drops.iter().map(|(r, n)| (format!("drop_{}", r.label()), *n)));
        let mut endpoint = BTreeMap::<&str, u64>::new();
        for path in self.paths.values() {
            let c = path.tracker.counters();
            for (name, n) in [
                ("endpoint_not_newest", c.not_newest),
                ("endpoint_challenged", c.challenged),
                ("endpoint_moved", c.moved),
                ("endpoint_rate_limited", c.rate_limited),
            ] {
                *endpoint.entry(name).or_default() += n;
            }
        }
        let pace = self.pacer.counters();
        for (name, n) in [
            ("probe_deferred_used", pace.deferred_used),
            ("probe_deferred_standby", pace.deferred_standby),
            ("probe_deferred_idle", pace.deferred_idle),
            ("probe_deferred_resting", pace.deferred_resting),
            ("probe_budget_overdrawn", pace.overdrawn),
        ] {
            all.insert(name.to_owned(), n);
        }
        all.extend(endpoint.into_iter().map(|(name, n)| (name.to_owned(), n)));
        for name in self.waived_tunnels() {
            *all.entry(name.to_owned()).or_default() += 1;
        }
        all.retain(|_, n| *n > 0);
        all
    }

    pub(super) fn path_samples(&self, counters: &Counters) -> Vec<wire::PathSample> {
        let Some(edge) = self.edge.clone() else { return Vec::new() };
        let mtus = self.mtus(&edge);
        let now = self.clock.now();
        let ids: Vec<PathId> = self.paths.keys().copied().collect();
        let mut samples = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(path) = self.paths.get(&id) else { continue };
            let traffic = counters.paths.get(&id).copied().unwrap_or_default();
            let quality = path.monitor.quality(now);
            let figures = quality.figures;
            samples.push(wire::PathSample {
                path_id: id.0,
                state: path_state(path.reach).into(),
                rtt_us: figures.rtt_us,
                jitter_us: figures.jitter_us,
                loss_tx_ppm: figures.loss_tx_ppm,
                loss_rx_ppm: figures.loss_rx_ppm,
                tx_packets: traffic.tx_packets,
                tx_bytes: traffic.tx_bytes,
                rx_packets: traffic.rx_packets,
                rx_bytes: traffic.rx_bytes,
                selected_for: self.selected_for(id),
                verdicts: self.verdicts(id),
                rekeys: path.keyings.saturating_sub(1),
                inner_mtu_bytes: u32::from(self.inner_mtu(&edge, &mtus, id)),
                remote_endpoint: path.remote.map(|r| r.to_string()).unwrap_or_default(),
                rtt_p50_us: quality.rtt_p50_us,
                rtt_p95_us: quality.rtt_p95_us,
                rtt_p99_us: quality.rtt_p99_us,
                // Without probes there is nothing to judge by.
                mos_milli: if figures.rtt_us > 0 { quality.mos_milli } else { 0 },
                sa_age_ms: path.sa_since.map_or(0, |at| now.since(at).as_millis().max(1) as u64),
            });
        }
        samples
    }

    /// Names of the traffic classes that the path carries.
    pub(super) fn selected_for(&self, id: PathId) -> Vec<String> {
        let carried =
            self.selections.values().filter(|s| s.selector.choice().paths().contains(&id));
        carried.map(|s| s.selector.policy().class_name.clone()).collect()
    }

    fn verdicts(&self, id: PathId) -> Vec<wire::ClassVerdict> {
        let Some(edge) = &self.edge else { return Vec::new() };
        let Some(path) = self.paths.get(&id) else { return Vec::new() };
        edge.sla_classes
            .keys()
            .map(|name| {
                let health = path.monitor.health(name, false);
                let crossed: Vec<String> = health.crossed.iter().map(|c| c.to_string()).collect();
                wire::ClassVerdict {
                    sla_class: name.clone(),
                    meets: health.state == SlaState::Meets,
                    reason: if crossed.is_empty() {
                        health.state.to_string()
                    } else {
                        crossed.join(", ")
                    },
                }
            })
            .collect()
    }

    pub(super) fn uplink_facts(&self) -> Vec<wire::UplinkFact> {
        let Some(edge) = &self.edge else { return Vec::new() };
        edge.uplinks
            .values()
            .map(|uplink| {
                let link = self.seen.links.get(&uplink.interface);
                let addresses = link.map_or(&[][..], |l| l.addresses.as_slice());
                let endpoints = endpoints::own_endpoints(edge, addresses);
                wire::UplinkFact {
                    uplink_id: uplink.id.0,
                    interface: uplink.interface.clone(),
                    carrier: link.is_some_and(|l| l.running),
                    addresses: endpoints.iter().map(|e| e.ip().to_string()).collect(),
                    public_endpoints: Vec::new(),
                    mtu_bytes: link.map_or(0, |l| l.mtu_bytes),
                }
            })
            .collect()
    }

    /// Without those that depart.
    fn own_uplink_facts(&self) -> Vec<wire::UplinkFact> {
        let mut facts = self.uplink_facts();
        let Some(generation) = &self.generation else { return facts };
        facts.retain(|fact| generation.uplinks.contains_key(&UplinkId(fact.uplink_id)));
        facts
    }

    pub(super) fn report_local_facts(&self) {
        self.control.local_facts(wire::LocalFacts { uplinks: self.own_uplink_facts() });
    }
}

pub(super) fn path_state(reach: Reach) -> wire::PathState {
    match reach {
        Reach::Connecting => wire::PathState::Connecting,
        Reach::Up => wire::PathState::Up,
        Reach::Down => wire::PathState::Down,
    }
}
