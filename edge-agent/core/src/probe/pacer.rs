//! How often each path of an edge is probed, and whether a probe may leave now.
//!
//! Fast on what carries and on what would carry next, slow elsewhere. Paths over a `standby` uplink of either end rest until
//! they are needed: just often enough for NAT and for the verdict that they are up. Paths over a `last_resort` uplink are
//! silent until no other path of the tunnel is up. An end that needs such a path says so in its digests, and the other
//! end probes it too. Where an uplink's budget is short, idle paths slow down first, then standbys, then those in use.

mod layout;
mod stretch;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::budget::{Account, Admission, BudgetCounters, Budgets};
use super::rest::LastResort;
use super::{Cadence, Intervals};
use crate::config::{EdgeState, UplinkUse};
use crate::id::{PathId, TunnelId, UplinkId};
use crate::policy;
use crate::time::Micros;
use layout::Layout;

/// What is known of a path now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathView {
    pub path: PathId,
    /// It answers.
    pub up: bool,
    /// A class is on it.
    pub carries: bool,
    /// It would be taken next.
    pub next: bool,
    /// Probes lost in a row.
    pub losses_in_row: u32,
    /// When it got its first keys.
    pub keyed: Option<Micros>,
}

/// How a path is to be probed from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    pub path: PathId,
    /// `None`: nothing at all is sent on it, and what is known of it is forgotten.
    pub pace: Option<(Cadence, Duration)>,
    /// The peer is to probe it too.
    pub wanted: bool,
}

/// The paces of all paths of an edge.
#[derive(Debug, Default)]
pub struct Pacer {
    layout: Layout,
    budgets: Budgets,
    tunnels: BTreeMap<TunnelId, TunnelState>,
    /// As ordered, and whether what rests is awake because it is in use.
    paces: BTreeMap<PathId, (Pace, bool)>,
    peer_wants: BTreeMap<PathId, Micros>,
}

type Pace = Option<(Cadence, Duration)>;

#[derive(Debug)]
struct TunnelState {
    last_resort: LastResort,
    trouble_until: Option<Micros>,
}

impl Pacer {
    /// A new generation. Plan every tunnel anew.
    pub fn configure(&mut self, edge: &EdgeState, now: Micros) {
        self.layout = Layout::new(edge);
        self.budgets.configure(&self.layout.accounts, now);
        let mut old = std::mem::take(&mut self.tunnels);
        for id in edge.tunnels.keys() {
            let new = || TunnelState { last_resort: LastResort::new(now), trouble_until: None };
            self.tunnels.insert(*id, old.remove(id).unwrap_or_else(new));
        }
        self.paces.retain(|path, _| self.layout.paths.contains_key(path));
        self.peer_wants.retain(|path, _| self.layout.paths.contains_key(path));
    }

    /// The orders for a tunnel's paths; `views` has all of them. Orders for other tunnels' paths come with them where
    /// a budget is shared.
    pub fn plan(&mut self, tunnel: TunnelId, views: &[PathView], now: Micros) -> Vec<Order> {
        let Some(state) = self.tunnels.get_mut(&tunnel) else { return Vec::new() };
        let usage = |path: PathId| self.layout.paths.get(&path).map(|p| p.usage);
        let last = |v: &&PathView| usage(v.path) == Some(UplinkUse::LastResort);
        let others: Vec<&PathView> = views.iter().filter(|v| !last(v)).collect();
        let needed = state.last_resort.update(
            !others.is_empty(),
            others.iter().any(|v| v.up),
            views.iter().filter(last).any(|v| v.carries),
            now,
        );
        let trouble = |v: &PathView| v.carries && (!v.up || v.losses_in_row >= policy::WAKE_RUN);
        if views.iter().any(trouble) {
            state.trouble_until = Some(now + policy::WAKE_TIME);
        }
        let tunnel = Situation {
            trouble: state.trouble_until.is_some_and(|until| now < until),
            needed,
            idle: views.iter().all(|v| !v.carries),
            now,
        };
        self.peer_wants.retain(|_, until| now < *until);
        let mut wanted = BTreeSet::new();
        for view in views {
            let Some(path) = self.layout.paths.get(&view.path) else { continue };
            let asked = self.peer_wants.contains_key(&view.path);
            let (cadence, own_need) = tunnel.cadence(path.usage, view, asked);
            if own_need && path.usage != UplinkUse::Normal {
                wanted.insert(view.path);
            }
            // Not what only the peer needs: its own probes tell it enough.
            let in_use = view.carries || tunnel.idle;
            let pace = cadence.map(|cadence| (cadence, path.intervals.of(cadence)));
            self.paces.insert(view.path, (pace, in_use));
        }
        let order =
            |(path, pace): (PathId, Pace)| Order { path, pace, wanted: wanted.contains(&path) };
        self.stretched(views).into_iter().map(order).collect()
    }

    /// The peer's digest says that it needs this path. True: that is news, plan its tunnel.
    pub fn peer_wants(&mut self, path: PathId, now: Micros) -> bool {
        let known = self.layout.paths.get(&path).is_some_and(|p| p.usage != UplinkUse::Normal);
        let until = now + policy::PEER_WANTS_TIME;
        known && self.peer_wants.insert(path, until).is_none_or(|before| before <= now)
    }

    /// When the tunnel must be planned again if nothing happens.
    pub fn next_deadline(&self, tunnel: TunnelId, now: Micros) -> Option<Micros> {
        let state = self.tunnels.get(&tunnel)?;
        let of_tunnel = |id: &PathId| self.layout.paths.get(id).filter(|p| p.tunnel == tunnel);
        let rests = |usage| {
            let mut paths = self.layout.paths.values();
            paths.any(|p| p.tunnel == tunnel && p.usage == usage)
        };
        let last_resort =
            state.last_resort.next_deadline().filter(|_| rests(UplinkUse::LastResort));
        let trouble = state.trouble_until.filter(|_| rests(UplinkUse::Standby));
        let wants = self.peer_wants.iter().filter(|(id, _)| of_tunnel(id).is_some());
        let deadlines = wants.map(|(_, until)| *until).chain(last_resort).chain(trouble);
        deadlines.filter(|at| *at > now).min()
    }

    /// May a probe of this path leave, `waited` after the last one?
    pub fn admit(&mut self, id: PathId, waited: Duration, now: Micros) -> Admission {
        let Some(path) = self.layout.paths.get(&id) else { return Admission::Send };
        let Some((Some((cadence, _)), in_use)) = self.paces.get(&id).copied() else {
            return Admission::Send;
        };
        let bytes = path.exchange_bytes(cadence);
        let charged: Vec<Account> = path.accounts(in_use).collect();
        self.budgets.admit(&charged, cadence, bytes, waited, now)
    }

    /// Between NAT keepalives of paths that rest on this own uplink; `None`: it needs none.
    pub fn keepalive(&self, uplink: UplinkId) -> Option<Duration> {
        self.layout.keepalives.get(&uplink).copied()
    }

    /// It rests, so that nothing but keepalives keeps its NAT mapping.
    pub fn rests(&self, path: PathId) -> bool {
        matches!(self.paces.get(&path), Some((Some((Cadence::Resting, _)), _)))
    }

    /// Paths of the worst use come last where there is a choice for the agents' own connections.
    pub fn usage(&self, path: PathId) -> UplinkUse {
        self.layout.paths.get(&path).map_or(UplinkUse::Normal, |p| p.usage)
    }

    /// Since the start.
    pub fn counters(&self) -> BudgetCounters {
        self.budgets.counters()
    }

    /// The paces of these paths, and of all that share a budget with them, slowed down to what the budgets allow.
    fn stretched(&self, views: &[PathView]) -> Vec<(PathId, Pace)> {
        let mut paths: BTreeSet<PathId> = views.iter().map(|v| v.path).collect();
        let accounts: BTreeSet<Account> = paths
            .iter()
            .filter_map(|id| self.layout.paths.get(id))
            .flat_map(|path| path.budgets.iter().copied())
            .collect();
        for account in &accounts {
            paths.extend(self.layout.payers.get(account).into_iter().flatten());
        }
        let demands = paths.iter().filter_map(|id| {
            let path = self.layout.paths.get(id)?;
            let (pace, _) = *self.paces.get(id)?;
            Some(stretch::Demand { path: *id, pace, layout: path })
        });
        stretch::stretch(&demands.collect::<Vec<_>>(), &self.layout.accounts)
    }
}

/// What a tunnel is in.
struct Situation {
    /// A path in use may be about to fail.
    trouble: bool,
    /// No other path than last resorts is up, or was not for long.
    needed: bool,
    /// Nothing carries anything yet.
    idle: bool,
    now: Micros,
}

impl Situation {
    /// And whether it is this end that needs more than rest.
    fn cadence(&self, usage: UplinkUse, view: &PathView, asked: bool) -> (Option<Cadence>, bool) {
        let awake = |cadence| (Some(cadence), true);
        if view.carries {
            return awake(Cadence::Used);
        }
        match usage {
            UplinkUse::Normal if self.idle => awake(Cadence::Used),
            UplinkUse::Normal if view.next => awake(Cadence::Standby),
            UplinkUse::Normal => awake(Cadence::Idle),
            UplinkUse::Standby if self.idle => awake(Cadence::Used),
            UplinkUse::Standby if view.next && self.trouble => awake(Cadence::Standby),
            UplinkUse::Standby if asked => (Some(Cadence::Standby), false),
            UplinkUse::Standby if self.is_new(view) => (Some(Cadence::Idle), false),
            UplinkUse::Standby => (Some(Cadence::Resting), false),
            UplinkUse::LastResort if self.needed => awake(Cadence::Used),
            UplinkUse::LastResort if asked => (Some(Cadence::Used), false),
            UplinkUse::LastResort => (None, false),
        }
    }

    fn is_new(&self, view: &PathView) -> bool {
        !view.up && view.keyed.is_some_and(|keyed| self.now.since(keyed) < policy::RESTING_AFTER)
    }
}

/// From the tunnel's profile, and what rest is for the path.
fn intervals(profile: &crate::config::Profile, resting: Duration) -> Intervals {
    Intervals::from_profile(profile.probe_interval_ms, profile.probe_idle_interval_ms)
        .with(Cadence::Resting, resting)
}
