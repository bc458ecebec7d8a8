//! Selection: health in, one atomic store in the data plane out, and the decision kept with its evidence.

use hawser_edge_core::config::EdgeState;
use hawser_edge_core::id::{ClassId, PathId, TunnelId};
use hawser_edge_core::probe::Cadence;
use hawser_edge_core::select::{
    Choice, ClassPolicy, Decision, DecisionContext, Selector, candidates,
};
use hawser_edge_core::sla::SlaClass;
use hawser_edge_core::time::Micros;
use hawser_proto::agent::v1 as wire;

use super::{Engine, MAX_DECISIONS_KEPT, Selection, Timer, clock};

/// The SLA classes that the traffic classes name.
pub(super) fn sla_classes(edge: &EdgeState) -> Vec<SlaClass> {
    let limits = edge.sla_classes.iter();
    limits.map(|(name, limits)| SlaClass { name: name.clone(), limits: *limits }).collect()
}

/// How the data plane does what was decided.
fn choice(decision: &Decision) -> Choice {
    decision.to.map_or(Choice::Nothing, Choice::Path)
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
        let tunnels: Vec<TunnelId> = edge.tunnels.keys().copied().collect();
        for tunnel in tunnels {
            self.select_tunnel(tunnel, None, now);
        }
    }

    /// Feeds health into a tunnel's selectors (of one path, or of all), and does what they decide.
    pub(super) fn select_tunnel(&mut self, tunnel: TunnelId, path: Option<PathId>, now: Micros) {
        let Some(edge) = self.edge.clone() else { return };
        let mut decisions = Vec::new();
        for class in &edge.traffic_classes {
            let key = (tunnel, class.id);
            let Some(selection) = self.selections.get_mut(&key) else { continue };
            let paths = self.paths.values().filter(|p| p.tunnel == tunnel);
            for p in paths.filter(|p| path.is_none_or(|id| id == p.config.id)) {
                let health = p.monitor.health(&class.sla_class, class.symmetric);
                let available = p.keyed && p.remote.is_some() && !p.peer_word.is_dead();
                selection.selector.handle_path_admin(p.config.id, available, now);
                selection.selector.handle_quality(p.config.id, &health, now);
            }
            while let Some(decision) = selection.selector.poll(now) {
                self.dataplane.select(tunnel, class.id, choice(&decision));
                selection.since_unix_ms = clock::unix_ms();
                decisions.push(decision);
            }
            let deadline = selection.selector.next_deadline();
            self.timers.set(Timer::Selection(tunnel, class.id), deadline);
        }
        if !decisions.is_empty() {
            self.report_soon = true;
            self.refresh_cadence(tunnel, now);
            for decision in decisions {
                self.record(&edge, &decision);
            }
        }
        self.feed_reach(tunnel, now);
    }

    pub(super) fn on_selection_timer(&mut self, tunnel: TunnelId) {
        self.select_tunnel(tunnel, None, self.clock.now());
    }

    /// Fast on what carries and on what would carry next, slow elsewhere.
    pub(super) fn refresh_cadence(&mut self, tunnel: TunnelId, now: Micros) {
        let of_tunnel = self.selections.range((tunnel, ClassId(0))..=(tunnel, ClassId(u32::MAX)));
        let mut used = Vec::new();
        let mut standby = Vec::new();
        for (_, selection) in of_tunnel {
            used.extend(selection.selector.selected());
            standby.extend(selection.selector.standby());
        }
        for (id, path) in self.paths.iter_mut().filter(|(_, p)| p.tunnel == tunnel) {
            let cadence = if used.contains(id) || used.is_empty() {
                Cadence::Used
            } else if standby.contains(id) {
                Cadence::Standby
            } else {
                Cadence::Idle
            };
            path.session.set_cadence(cadence, now);
            let deadline = path.next_deadline();
            self.timers.set(Timer::Path(*id), deadline);
        }
    }

    fn record(&mut self, edge: &EdgeState, decision: &Decision) {
        let peer_edge = edge.tunnels.get(&decision.tunnel).map(|t| t.peer_edge.clone());
        let record = decision.to_proto(&DecisionContext {
            sequence: 0,
            unix_ms: clock::unix_ms(),
            edge: &self.own.edge,
            peer_edge: peer_edge.as_deref().unwrap_or_default(),
            boot_id: self.control.boot_id(),
        });
        if decision.cause.voluntary() {
            let followed = self.advice.followed(decision.from, decision.to, self.clock.now());
            record.advice_id = followed.unwrap_or_default().to_owned();
        }
        self.told.moved(decision.tunnel, decision.class);
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
