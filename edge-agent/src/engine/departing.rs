//! Paths and segments that a generation drops: traffic leaves them first, the peer is told, and they end when it has left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hawser_edge_core::config::EdgeState;
use hawser_edge_core::departures::{Departures, LINGER};
use hawser_edge_core::id::{EdgeId, PathId, TunnelId};
use hawser_edge_core::sla::Reach;

use super::path::{Leaving, PathRuntime};
use super::{Engine, Timer};

/// What is due while an order is being carried out waits for it.
const BUSY_RETRY: Duration = Duration::from_millis(500);

impl Engine {
    /// What the host holds when this generation takes the place of the present one.
    pub(super) fn with_departing(&self, generation: &Arc<EdgeState>) -> Arc<EdgeState> {
        self.as_taken(&Arc::new(self.after(generation).0.overlay(generation)))
    }

    /// What departs then, and which paths go at once.
    pub(super) fn after(&self, generation: &EdgeState) -> (Departures, BTreeSet<PathId>) {
        let mut departures = self.departures.clone();
        let before = self.edge.as_deref();
        let now = self.clock.now();
        let at_once = before.map(|before| departures.turn_over(before, generation, now));
        // A peer that had the generation first has told already what it has no more.
        for (peer, paths) in &self.pairings {
            departures.peer_has(*peer, paths, now);
        }
        (departures, at_once.unwrap_or_default())
    }

    /// The generation in force is another one, or what departs beside it.
    pub(super) fn tell_departing(&mut self, before: &Departures, at_once: &BTreeSet<PathId>) {
        for _ in at_once {
            self.count("paths_dropped_at_once");
        }
        let wait = LINGER.as_secs();
        for id in self.departures.paths().filter(|id| !before.has_path(*id)).collect::<Vec<_>>() {
            let message = format!(
                "the generation has it no more: it receives until its peer has dropped it too, for {wait} s at most"
            );
            self.event("PATH_DEPARTS", &self.path_name(id), &message);
        }
        for id in self.departures.segments().filter(|id| !before.has_segment(*id)) {
            let message = format!("the generation has it no more: it receives for {wait} s");
            self.event("SEGMENT_DEPARTS", &format!("segment {id}"), &message);
        }
    }

    /// Tunnels of which paths depart.
    pub(super) fn departing_tunnels(&self) -> impl Iterator<Item = TunnelId> {
        self.departures.paths().filter_map(|id| Some(self.paths.get(&id)?.tunnel))
    }

    /// Marks the paths that not both ends have.
    pub(super) fn refresh_leaving(&mut self) {
        for (id, path) in &mut self.paths {
            let lacks = self.pairings.get(&path.peer).is_some_and(|paths| !paths.contains(id));
            path.leaving = match (self.departures.has_path(*id), lacks) {
                (true, _) => Some(Leaving::Here),
                (false, true) => Some(Leaving::There),
                (false, false) => None,
            };
            path.drained = self.departures.is_drained(*id);
        }
        let leaving = self.paths.values().filter(|path| path.leaving.is_some());
        self.leaving_of = leaving.map(|path| path.tunnel).collect();
    }

    /// A peer's word: the paths that its generation has.
    pub(super) fn on_pairing(&mut self, peer: EdgeId, paths: BTreeSet<PathId>) {
        if self.pairings.get(&peer) == Some(&paths) {
            return;
        }
        let now = self.clock.now();
        self.departures.peer_has(peer, &paths, now);
        self.timers.set(Timer::Departures, self.departures.next_deadline());
        self.pairings.insert(peer, paths);
        self.refresh_leaving();
        self.feed_leaving(peer);
        self.refresh_best(peer);
        let of_peer = self.paths.values().filter(|path| path.peer == peer);
        for tunnel in of_peer.map(|path| path.tunnel).collect::<BTreeSet<TunnelId>>() {
            self.select_tunnel(tunnel, None, now);
        }
    }

    /// A peer that has none of our paths to it any more is the last next hop.
    pub(super) fn feed_leaving(&mut self, peer: EdgeId) {
        let of_peer = self.paths.values().filter(|path| path.peer == peer);
        let mut ours = of_peer.filter(|path| path.leaving != Some(Leaving::Here)).peekable();
        let any = ours.peek().is_some();
        let all = ours.all(|path| path.leaving == Some(Leaving::There));
        self.reach.handle_leaving(peer, any && all);
    }

    /// The paths of a tunnel that not both ends have, and why each is not to be used: another one works. Without one they go
    /// on, for as long as they do.
    pub(super) fn standing_back(&self, tunnel: TunnelId) -> BTreeMap<PathId, Option<&'static str>> {
        if !self.leaving_of.contains(&tunnel) {
            return BTreeMap::new();
        }
        let of_tunnel = || self.paths.values().filter(|path| path.tunnel == tunnel);
        let others = of_tunnel().any(|path| {
            path.leaving.is_none()
                && path.is_available()
                && path.reach == Reach::Up
                && self.has_carrier(path.config.local_uplink)
        });
        let uplinks = self.edge.as_ref().map(|edge| &edge.uplinks);
        let can_send = |path: &PathRuntime| {
            uplinks.is_some_and(|uplinks| uplinks.contains_key(&path.config.local_uplink))
        };
        let leaving = of_tunnel().filter_map(|path| {
            let leaving = path.leaving?;
            let why = (others || !can_send(path)).then(|| leaving.why());
            Some((path.config.id, why))
        });
        leaving.collect()
    }

    /// What has departed for long enough is gone now.
    pub(super) fn on_departures_timer(&mut self) {
        let now = self.clock.now();
        let Some(generation) = self.generation.clone() else { return };
        if self.applies_under_way > 0 {
            return self.timers.set(Timer::Departures, Some(now + BUSY_RETRY));
        }
        let mut departures = self.departures.clone();
        if !departures.handle_timeout(now) {
            return self.timers.set(Timer::Departures, departures.next_deadline());
        }
        let gone: Vec<String> = self
            .departures
            .paths()
            .filter(|id| !departures.has_path(*id))
            .map(|id| self.path_name(id))
            .collect();
        if let Err(fault) = self.enact_with(generation, departures) {
            tracing::warn!(code = fault.code, "what departed is still there: {}", fault.message);
            return self.timers.set(Timer::Departures, Some(now + BUSY_RETRY));
        }
        for name in gone {
            self.event("PATH_GONE", &name, "nothing is received on it any more");
        }
        let Some(edge) = self.edge.clone() else { return };
        let (host, edge) = (self.host.clone(), self.as_taken(&edge));
        tokio::spawn(async move {
            // The host task tries again by itself.
            for fault in host.hold(edge).await.err().unwrap_or_default() {
                tracing::warn!(code = fault.code, "{}", fault.message);
            }
        });
    }
}
