//! The slow loop's shell: what agents tell goes into the pure [`Advisor`], its effects go to agents and to the events.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use hawser_controller_core::advice::{
    Advisor, EVALUATE_EVERY_MS, Effect, FleetMap, Millis, PathReport, Reach, Told,
};
use hawser_controller_core::{EdgeId, PathId};
use hawser_proto::agent::v1::controller_message::Message as ToAgent;
use hawser_proto::agent::v1::{self as agent, PathState};
use hawser_proto::operator::v1::{AdviceInForce, ListAdviceResponse, Trouble};

use super::Controller;
use super::events::event;
use super::state::FleetState;
use crate::clock::{ms, now_unix_ms};
use crate::store::Revision;

/// SLA classes that are told apart; the bits of a report.
const MAX_SLA_CLASSES: usize = 64;
/// Counters of agents that rise when a device is overloaded.
const TOO_SLOW: [&str; 4] =
    ["drop_socket_full", "drop_events_full", "drop_datagrams_full", "drop_tun_write"];
/// Causes of decisions that a path gave by a fault of its own.
const FAULTS: [&str; 2] = ["PATH_DOWN", "SLA_VIOLATED"];

/// What the slow loop may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum AdviceMode {
    /// Recognise troubles, and advise agents
    #[default]
    On,
    /// Recognise troubles and tell them as events; send nothing
    Watch,
    /// Nothing
    Off,
}

impl AdviceMode {
    fn name(self) -> &'static str {
        match self {
            AdviceMode::On => "on",
            AdviceMode::Watch => "watch",
            AdviceMode::Off => "off",
        }
    }
}

#[derive(Debug)]
pub struct SlowLoop {
    mode: AdviceMode,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    advisor: Advisor,
    /// The head of the fleet that its map was made of.
    map_of: Option<Revision>,
    /// A bit for each name, in the order of their first appearance.
    classes: BTreeMap<String, u32>,
}

impl SlowLoop {
    pub fn new(mode: AdviceMode) -> Self {
        // Two starts of a controller within a second give no advice that could be mixed up: nothing is proven yet.
        let tag = format!("{:x}", now_unix_ms() / 1_000);
        let advisor = Advisor::new(tag);
        let inner = Inner { advisor, map_of: None, classes: BTreeMap::new() };
        Self { mode, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Controller {
    /// Looks every few seconds until the controller stops.
    pub async fn run_slow_loop(self: std::sync::Arc<Self>) {
        if self.slow_loop.mode == AdviceMode::Off {
            return;
        }
        let mut looks = tokio::time::interval(Duration::from_millis(EVALUATE_EVERY_MS));
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = looks.tick() => self.look(self.loop_time()),
            }
        }
    }

    pub(super) fn hear_samples(&self, edge: &str, samples: &[agent::PathSample]) {
        self.hear_samples_at(edge, samples, self.loop_time());
    }

    /// What an edge has dropped because it was too slow.
    pub(super) fn hear_counters(&self, edge: &str, counters: &BTreeMap<String, u64>) {
        let Some(id) = self.listens_to(edge) else { return };
        let total = TOO_SLOW.iter().filter_map(|name| counters.get(*name)).sum();
        self.slow_loop.inner().advisor.handle_drops(id, total, self.loop_time());
    }

    fn hear_samples_at(&self, edge: &str, samples: &[agent::PathSample], now: Millis) {
        let Some(id) = self.listens_to(edge) else { return };
        let mut inner = self.slow_loop.inner();
        let reports: Vec<PathReport> = samples.iter().map(|s| inner.report(s)).collect();
        inner.advisor.handle_reports(id, &reports, now);
    }

    pub(super) fn hear_decision(&self, edge: &str, decision: &agent::Decision) {
        // A decision may be told long after it was made; one without paths is about a next hop.
        let old = now_unix_ms().saturating_sub(decision.unix_ms) > EVALUATE_EVERY_MS;
        if old || decision.from_path_id == 0 || !FAULTS.contains(&decision.cause.as_str()) {
            return;
        }
        let Some(id) = self.listens_to(edge) else { return };
        let path = PathId(decision.from_path_id);
        self.slow_loop.inner().advisor.handle_fault(id, path, self.loop_time());
    }

    pub(super) fn hear_connected(&self, edge: &str, connected: bool) {
        if let Some(id) = self.listens_to(edge) {
            let mut inner = self.slow_loop.inner();
            inner.refresh_map(&self.state());
            inner.advisor.handle_connected(id, connected);
        }
    }

    fn look(&self, now: Millis) {
        let state = self.state();
        let effects: Vec<Effect> = {
            let mut inner = self.slow_loop.inner();
            inner.refresh_map(&state);
            inner.advisor.evaluate(now);
            std::iter::from_fn(|| inner.advisor.poll()).collect()
        };
        for effect in effects {
            self.perform(&state, effect);
        }
    }

    fn perform(&self, state: &FleetState, effect: Effect) {
        match effect {
            Effect::Give { edge, advice } => {
                let advice = agent::Advice {
                    id: advice.id,
                    ttl_s: u32::try_from(advice.ttl_ms / 1_000).unwrap_or(u32::MAX),
                    avoid_path_ids: advice.avoid_paths.iter().map(|path| path.0).collect(),
                    reason: advice.reason,
                    avoid_edge_ids: advice.avoid_edges.iter().map(|edge| edge.0).collect(),
                };
                self.advise(state, edge, advice);
            }
            Effect::Withdraw { edge, id } => {
                self.advise(state, edge, agent::Advice { id, ..Default::default() });
            }
            Effect::Tell(told) => self.tell(state, told),
        }
    }

    fn advise(&self, state: &FleetState, edge: EdgeId, advice: agent::Advice) {
        if self.slow_loop.mode != AdviceMode::On {
            return;
        }
        let Some((name, _)) = state.edge_by_id(edge.0) else { return };
        // Lost advice is given again with the next refresh.
        let sent = self.index.command(name, ToAgent::Advice(advice));
        self.count(if sent { "advice_sent" } else { "advice_not_sent" });
    }

    fn tell(&self, state: &FleetState, told: Told) {
        let Told { code, edge, mut message } = told;
        if self.slow_loop.mode == AdviceMode::Watch && code.starts_with("ADVICE_") {
            message = format!("not sent: {message}");
        }
        tracing::info!(code, edge = edge.map(|edge| edge.0), "{message}");
        let mut told = event(code, "", "", message);
        if let Some((name, edge)) = edge.and_then(|edge| state.edge_by_id(edge.0)) {
            (told.site, told.edge) = (edge.config.site.clone(), name.clone());
        }
        // The loop bounds what it tells by itself.
        self.events.publish(told);
    }

    /// The edge, if the loop wants to hear of it.
    fn listens_to(&self, edge: &str) -> Option<EdgeId> {
        if self.slow_loop.mode == AdviceMode::Off {
            return None;
        }
        Some(EdgeId(self.state().edges.get(edge)?.config.edge_id))
    }

    fn loop_time(&self) -> Millis {
        Millis(ms(self.started.elapsed()))
    }

    /// What the loop sees, and what it has said.
    pub fn list_advice(&self) -> ListAdviceResponse {
        let state = self.state();
        let (now, now_unix_ms) = (self.loop_time(), now_unix_ms());
        let unix_ms = |at: Millis| now_unix_ms.saturating_sub(now.since(at));
        let inner = self.slow_loop.inner();
        let troubles = inner.advisor.troubles().into_iter().map(|trouble| Trouble {
            id: trouble.id,
            subject: trouble.subject,
            since_unix_ms: unix_ms(trouble.since),
            seen_by: trouble.seen_by,
            of: trouble.of,
            advised: trouble.advised,
            ending: trouble.ending,
        });
        let name = |edge: EdgeId| {
            let named = state.edge_by_id(edge.0);
            named.map(|(name, edge)| (edge.config.site.clone(), name.clone())).unwrap_or_default()
        };
        let advice = inner.advisor.in_force().into_iter().map(|given| {
            let (site, edge) = name(given.edge);
            AdviceInForce {
                site,
                edge,
                id: given.advice.id,
                reason: given.advice.reason,
                since_unix_ms: unix_ms(given.since),
                until_unix_ms: unix_ms(given.sent) + given.advice.ttl_ms,
                avoid_path_ids: given.advice.avoid_paths.iter().map(|path| path.0).collect(),
                avoid_edges: given.advice.avoid_edges.iter().map(|edge| name(*edge).1).collect(),
            }
        });
        let counters = inner.advisor.counters();
        let counters = [
            ("given", counters.given),
            ("refreshed", counters.refreshed),
            ("withdrawn", counters.withdrawn),
            ("deferred", counters.deferred),
            ("spared", counters.spared),
            ("troubles_dropped", counters.troubles_dropped),
        ];
        ListAdviceResponse {
            mode: self.slow_loop.mode.name().to_owned(),
            troubles: troubles.collect(),
            advice: advice.collect(),
            counters: counters.map(|(name, count)| (name.to_owned(), count)).into(),
        }
    }
}

impl Inner {
    fn refresh_map(&mut self, state: &FleetState) {
        if self.map_of != Some(state.head) {
            self.map_of = Some(state.head);
            self.advisor.set_map(FleetMap::new(state.edges.values().map(|edge| &edge.config)));
        }
    }

    fn report(&mut self, sample: &agent::PathSample) -> PathReport {
        let reach = match sample.state() {
            PathState::Up => Reach::Up,
            PathState::Down => Reach::Down,
            PathState::Connecting | PathState::Unspecified => Reach::Connecting,
        };
        let broken = sample.verdicts.iter().filter(|verdict| !verdict.meets);
        let violated = broken.fold(0, |bits, verdict| bits | self.bit(&verdict.sla_class));
        PathReport { path: PathId(sample.path_id), reach, violated }
    }

    /// 0 for a class beyond those that are told apart.
    fn bit(&mut self, class: &str) -> u64 {
        if let Some(index) = self.classes.get(class) {
            return 1 << index;
        }
        if self.classes.len() >= MAX_SLA_CLASSES {
            return 0;
        }
        let index = self.classes.len() as u32;
        self.classes.insert(class.to_owned(), index);
        1 << index
    }
}

#[cfg(test)]
mod tests;
