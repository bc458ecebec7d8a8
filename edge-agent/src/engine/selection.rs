//! Selection: health in, one atomic store in the data plane out, and the decision kept with its evidence.

use hawser_edge_core::config::EdgeState;
use hawser_edge_core::id::{PathId, TunnelId};
use hawser_edge_core::select::{ClassPolicy, Decision, DecisionContext, Selector, candidates};
use hawser_edge_core::sla::{SlaClass, SlaState};
use hawser_edge_core::time::Micros;
use hawser_proto::agent::v1 as wire;

use super::path::PathRuntime;
use super::{Engine, MAX_DECISIONS_KEPT, Selection, Timer, clock};

/// The SLA classes that the traffic classes name.
pub(super) fn sla_classes(edge: &EdgeState) -> Vec<SlaClass> {
    let limits = edge.sla_classes.iter();
    limits.map(|(name, limits)| SlaClass { name: name.clone(), limits: *limits }).collect()
}

impl Engine {
    /// One selector for each class of each tunnel; those that stay keep their record.
    pub(super) fn refresh_selectors(&mut self, edge: &EdgeState) {
        let now = self.clock.now();
        let mut old = std::mem::take(&mut self.selections);
        for tunnel in edge.tunnels.values() {
            for class in &edge.traffic_classes {
                let key = (tunnel.id, class.id);
                let policy = ClassPolicy::new(edge, tunnel, class);
                let specs = candidates(edge, tunnel, class);
                let selection = match old.remove(&key) {
                    Some(mut kept) => {
                        kept.selector.set_config(policy, specs);
                        kept
                    }
                    None => {
                        let mut selector = Selector::new(policy, specs, now);
                        selector.handle_advice(self.advice.of_paths(now), now);
                        Selection { selector, since_unix_ms: clock::unix_ms() }
                    }
                };
                self.selections.insert(key, selection);
            }
        }
        for (tunnel, class) in old.into_keys() {
            self.timers.set(Timer::Selection(tunnel, class), None);
        }
        self.metrics.retain(|key| self.selections.contains_key(key));
        self.told_peers.retain(|tunnel, _| edge.tunnels.contains_key(tunnel));
        let tunnels: Vec<TunnelId> = edge.tunnels.keys().copied().collect();
        for tunnel in tunnels {
            self.select_tunnel(tunnel, None, now);
        }
    }

    /// Feeds health into a tunnel's selectors (of one path, or of all), and does what they decide.
    pub(super) fn select_tunnel(&mut self, tunnel: TunnelId, path: Option<PathId>, now: Micros) {
        let Some(edge) = self.edge.clone() else { return };
        let mut decisions = Vec::new();
        // What another path does for them changes with that one: they are always looked at.
        let standing_back = self.standing_back(tunnel);
        for class in &edge.traffic_classes {
            let key = (tunnel, class.id);
            let Some(selection) = self.selections.get_mut(&key) else { continue };
            let paths = self.paths.values().filter(|p| p.tunnel == tunnel);
            let wanted =
                |p: &&PathRuntime| path.is_none_or(|id| id == p.config.id) || p.leaving.is_some();
            for p in paths.filter(wanted) {
                let (id, selector) = (p.config.id, &mut selection.selector);
                let health = p.monitor.health(&class.sla_class, class.symmetric);
                match standing_back.get(&id).copied().flatten() {
                    Some(why_not) => selector.handle_withdrawn(id, why_not, now),
                    None => selector.handle_path_admin(id, p.is_available(), now),
                }
                selector.handle_quality(id, &health, now);
            }
            while let Some(decision) = selection.selector.poll(now) {
                self.dataplane.select(tunnel, class.id, selection.selector.choice());
                selection.since_unix_ms = clock::unix_ms();
                decisions.push((decision, self.clock.now()));
            }
            let selected = selection.selector.selected().and_then(|id| self.paths.get(&id));
            let meets = selected.is_some_and(|path| {
                let health = path.monitor.health(&class.sla_class, class.symmetric);
                health.state == SlaState::Meets
            });
            self.metrics.judged(key, meets, now);
            let deadline = selection.selector.next_deadline();
            self.timers.set(Timer::Selection(tunnel, class.id), deadline);
        }
        if !decisions.is_empty() {
            self.report_soon = true;
            self.refresh_cadence(tunnel, now);
            for (decision, swapped) in decisions {
                self.record(&edge, &decision, swapped);
            }
        }
        self.tell_peer(&edge, tunnel);
        self.feed_reach(tunnel, now);
    }

    pub(super) fn on_selection_timer(&mut self, tunnel: TunnelId) {
        self.select_tunnel(tunnel, None, self.clock.now());
    }

    /// `swapped`: when the data plane had the choice.
    fn record(&mut self, edge: &EdgeState, decision: &Decision, swapped: Micros) {
        let peer_edge = edge.tunnels.get(&decision.tunnel).map(|t| t.peer_edge.clone());
        let mut record = decision.to_proto(&DecisionContext {
            sequence: 0,
            unix_ms: clock::unix_ms(),
            edge: &self.own.edge,
            peer_edge: peer_edge.as_deref().unwrap_or_default(),
            boot_id: self.control.boot_id(),
        });
        record.trace_id = self.trace_reselection(decision, swapped, &record.peer_edge);
        if decision.cause.voluntary() {
            let followed = self.advice.followed(decision.from, decision.to, self.clock.now());
            record.advice_id = followed.unwrap_or_default().to_owned();
        }
        self.told.moved(decision.tunnel, decision.class);
        self.metrics.moved((decision.tunnel, decision.class), decision.cause.code());
        self.keep_decision(record);
    }

    /// For `hawser-edge why`, and for the controller.
    pub(super) fn keep_decision(&mut self, mut record: wire::Decision) {
        tracing::info!(
            peer = record.peer_edge,
            class = record.traffic_class,
            cause = record.cause,
            "{}",
            record.summary
        );
        record.sequence = self.control.decision(record.clone());
        if self.decisions.len() == MAX_DECISIONS_KEPT {
            self.decisions.pop_front();
        }
        self.decisions.push_back(record);
    }
}
