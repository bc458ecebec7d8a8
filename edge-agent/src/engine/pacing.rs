//! How often paths are probed: what the pacer hears, and what it orders. Keepalives for paths that rest.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use hawser_edge_core::config::EdgeState;
use hawser_edge_core::id::{ClassId, PathId, TunnelId, UplinkId};
use hawser_edge_core::policy;
use hawser_edge_core::probe::{Admission, Order, PathView};
use hawser_edge_core::sla::Reach;
use hawser_edge_core::time::Micros;

use super::path::PathRuntime;
use super::{Engine, Timer};

impl Engine {
    /// A new generation.
    pub(super) fn configure_pacer(&mut self, edge: &EdgeState) {
        let now = self.clock.now();
        self.pacer.configure(edge, now);
        for tunnel in edge.tunnels.keys() {
            self.refresh_cadence(*tunnel, now);
        }
        for uplink in edge.uplinks.keys() {
            let first = self.pacer.keepalive(*uplink).map(|interval| now + interval);
            self.timers.set(Timer::Keepalive(*uplink), first);
        }
    }

    /// Something changed that paces depend on.
    pub(super) fn refresh_cadence(&mut self, tunnel: TunnelId, now: Micros) {
        let of_tunnel = self.selections.range((tunnel, ClassId(0))..=(tunnel, ClassId(u32::MAX)));
        let (mut used, mut standby) = (BTreeSet::new(), BTreeSet::new());
        for (_, selection) in of_tunnel {
            used.extend(selection.selector.choice().paths());
            standby.extend(selection.selector.standby());
        }
        let of_tunnel = self.paths.iter().filter(|(_, p)| p.tunnel == tunnel);
        let views: Vec<PathView> = of_tunnel
            .map(|(id, path)| PathView {
                path: *id,
                up: path.reach == Reach::Up,
                carries: used.contains(id),
                next: standby.contains(id),
                losses_in_row: path.session.losses_in_row(),
                keyed: path.keyed_at,
            })
            .collect();
        for order in self.pacer.plan(tunnel, &views, now) {
            self.obey(order, now);
        }
        let deadline = self.pacer.next_deadline(tunnel, now);
        self.timers.set(Timer::Pace(tunnel), deadline);
    }

    fn obey(&mut self, order: Order, now: Micros) {
        let Some(path) = self.paths.get_mut(&order.path) else { return };
        path.wanted = order.wanted;
        let was_silent = path.silent;
        match order.pace {
            Some((cadence, interval)) => {
                path.silent = false;
                path.session.set_pace(cadence, interval, now);
            }
            None if !was_silent => path.fall_silent(&self.clock),
            None => {}
        }
        let (deadline, is_silent, peer) = (path.next_deadline(), path.silent, path.peer);
        if was_silent == is_silent {
            self.timers.set(Timer::Path(order.path), deadline);
        } else {
            // Selection must hear of it.
            self.timers.set(Timer::Path(order.path), Some(now));
            let (code, message) = if is_silent {
                ("LAST_RESORT_RELEASED", "nothing is sent on it until no other path works")
            } else {
                ("LAST_RESORT_NEEDED", "no other path works here or at the peer")
            };
            self.event(code, &self.path_name(order.path), message);
            self.refresh_endpoints(peer);
            self.refresh_best(peer);
        }
    }

    /// A sign of trouble on a path in use, or its end, may wake or rest others.
    pub(super) fn note_trouble(&mut self, id: PathId, now: Micros) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        let losing = path.session.losses_in_row() >= policy::WAKE_RUN;
        let tunnel = path.tunnel;
        if std::mem::replace(&mut path.losing, losing) != losing {
            self.refresh_cadence(tunnel, now);
        }
    }

    /// The peer's digests say that it needs a path that rests.
    pub(super) fn on_peer_wants(&mut self, id: PathId, now: Micros) {
        let Some(tunnel) = self.paths.get(&id).map(|p| p.tunnel) else { return };
        if self.pacer.peer_wants(id, now) {
            self.refresh_cadence(tunnel, now);
        }
    }

    /// Puts a due probe off if the budget of an uplink is used up.
    pub(super) fn admit_probe(&mut self, id: PathId, now: Micros) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        if path.remote.is_none() || !path.session.is_due(now) {
            return;
        }
        if let Admission::Wait(until) = self.pacer.admit(id, path.session.waited(now), now) {
            path.session.defer(until);
        }
    }

    pub(super) fn on_keepalive_timer(&mut self, uplink: UplinkId) {
        let Some(interval) = self.pacer.keepalive(uplink) else { return };
        let resting = |p: &&PathRuntime| {
            p.config.local_uplink == uplink && p.keyed && self.pacer.rests(p.config.id)
        };
        let remotes: BTreeSet<SocketAddr> =
            self.paths.values().filter(resting).filter_map(|p| p.remote).collect();
        for remote in remotes {
            if self.dataplane.send_keepalive(uplink, remote).is_err() {
                self.count("keepalive_send_failed");
            }
        }
        self.timers.set(Timer::Keepalive(uplink), Some(self.clock.now() + interval));
    }
}
