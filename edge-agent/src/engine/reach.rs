//! Reachability at run time: how tunnels do and what peers say, in; the order of next hops, advertisements and decisions,
//! out.

use hawser_edge_core::config::{EdgeState, Route};
use hawser_edge_core::id::{EdgeId, PathId, TunnelId};
use hawser_edge_core::reach::{HopCause, NextHopDecision, Output};
use hawser_edge_core::select::DecisionContext;
use hawser_edge_core::sla::{PathHealth, Reach as PathReach, SlaState};
use hawser_edge_core::time::Micros;
use hawser_proto::peer::v1::Reachability;

use super::{Engine, Timer, clock};

impl Engine {
    /// A generation is about to be in force: its order of next hops must be known before its table is built.
    pub(super) fn reach_generation(&mut self, edge: &EdgeState) {
        let now = self.clock.now();
        self.reach.set_generation(edge, now);
        self.carry_out_reach(now);
        // The table that follows has it.
        self.reach.take_orders_changed();
    }

    pub(super) fn on_reachability(&mut self, edge: EdgeId, message: &Reachability) {
        let now = self.clock.now();
        self.reach.handle_message(edge, message, now);
        self.drive_reach(now);
    }

    /// Tells how a tunnel does, and does what follows from it.
    pub(super) fn feed_reach(&mut self, tunnel: TunnelId, now: Micros) {
        let Some(health) = self.tunnel_health(tunnel) else { return };
        self.reach.handle_tunnel(tunnel, &health);
        self.drive_reach(now);
    }

    pub(super) fn drive_reach(&mut self, now: Micros) {
        self.carry_out_reach(now);
        if self.reach.take_orders_changed() {
            self.refresh_table();
        }
    }

    fn carry_out_reach(&mut self, now: Micros) {
        while let Some(output) = self.reach.poll(now) {
            match output {
                Output::Advertise { edge, messages } => {
                    if self.peers.advertise(edge, messages).is_err() {
                        self.reach.not_sent(edge, now);
                    }
                }
                Output::Decision(decision) => self.record_next_hop(&decision),
                Output::Event(event) => self.event(event.code, &event.subject, &event.message),
            }
        }
        self.timers.set(Timer::Reach, self.reach.next_deadline());
    }

    /// The next hops of a route that may be used now, best first.
    pub(super) fn usable_next_hops(&self, route: &Route) -> Vec<TunnelId> {
        self.reach.next_hops(&(route.segment, route.prefix.trunc()))
    }

    /// The worst over the traffic classes of the path that carries each. Without any path the tunnel is down.
    fn tunnel_health(&self, tunnel: TunnelId) -> Option<PathHealth> {
        let edge = self.edge.as_ref()?;
        let (mut worst, mut uncarried): (Option<PathHealth>, bool) = (None, false);
        for class in &edge.traffic_classes {
            let selection = self.selections.get(&(tunnel, class.id))?;
            let selected = selection.selector.selected().and_then(|id| self.paths.get(&id));
            let Some(path) = selected else {
                uncarried = true;
                continue;
            };
            let health = path.monitor.health(&class.sla_class, class.symmetric);
            let badness = |h: &PathHealth| (h.state, h.crossed.severity());
            if worst.as_ref().is_none_or(|worst| badness(&health) > badness(worst)) {
                worst = Some(health);
            }
        }
        let Some(mut health) = worst else {
            let answered = |p: &super::PathRuntime| p.reach != PathReach::Connecting;
            let mut paths = self.paths.values().filter(|path| path.tunnel == tunnel);
            let connecting = !paths.any(answered);
            return Some(PathHealth { connecting, ..PathHealth::connecting() });
        };
        if uncarried {
            health.state = health.state.max(SlaState::Violates);
        }
        Some(health)
    }

    /// One path of a tunnel went down: the others, which may have died with it, are asked at once.
    pub(super) fn suspect_siblings(&mut self, tunnel: TunnelId, down: PathId, now: Micros) {
        let siblings = self.paths.iter_mut().filter(|(id, p)| p.tunnel == tunnel && **id != down);
        for (id, path) in siblings.filter(|(_, path)| path.reach == PathReach::Up) {
            path.session.suspect(now);
            let deadline = path.next_deadline();
            self.timers.set(Timer::Path(*id), deadline);
        }
    }

    fn record_next_hop(&mut self, decision: &NextHopDecision) {
        let mut record = decision.to_proto(&DecisionContext {
            sequence: 0,
            unix_ms: clock::unix_ms(),
            edge: &self.own.edge,
            peer_edge: "",
            boot_id: self.control.boot_id(),
        });
        if decision.cause == HopCause::Advice {
            record.advice_id = self.advice.id().to_owned();
        }
        self.report_soon = true;
        self.keep_decision(record);
    }
}
