//! The state machine: reports in, effects out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::compose;
use super::constants::*;
use super::evidence::{Look, Signs};
use super::giving::Giving;
use super::map::FleetMap;
use super::track::{Health, Track};
use super::trouble::{self, Background, News, Trouble};
use super::{AdviceCounters, Effect, InForce, Millis, PathReport, Subject, Told, TroubleView};
use crate::id::{EdgeId, PathId};

/// The slow loop of one fleet.
#[derive(Debug)]
pub struct Advisor {
    /// Begins every ID: two controllers' advice must not be taken for one another's.
    tag: String,
    map: FleetMap,
    connected: BTreeSet<EdgeId>,
    /// In the order of the path's ends.
    tracks: BTreeMap<PathId, [Track; 2]>,
    /// What edges drop because they are too slow.
    drops: BTreeMap<EdgeId, Drops>,
    background: Background,
    troubles: BTreeMap<Subject, Trouble>,
    next_id: u64,
    given: Giving,
    effects: VecDeque<Effect>,
    troubles_dropped: u64,
}

impl Advisor {
    /// It knows nothing, and advises nothing. `tag` is different at each start.
    pub fn new(tag: impl Into<String>) -> Self {
        Advisor {
            tag: tag.into(),
            map: FleetMap::default(),
            connected: BTreeSet::new(),
            tracks: BTreeMap::new(),
            drops: BTreeMap::new(),
            background: Background::default(),
            troubles: BTreeMap::new(),
            next_id: 1,
            given: Giving::default(),
            effects: VecDeque::new(),
            troubles_dropped: 0,
        }
    }

    /// The fleet, at the start and whenever it changes. What stays keeps its record.
    pub fn set_map(&mut self, map: FleetMap) {
        self.tracks.retain(|path, _| {
            map.paths.get(path).is_some_and(|way| self.map.paths.get(path) == Some(way))
        });
        self.connected.retain(|edge| map.edges.contains_key(edge));
        self.drops.retain(|edge, _| map.edges.contains_key(edge));
        self.map = map;
    }

    /// What an edge reports of its paths; those that are not its own are ignored.
    pub fn handle_reports(&mut self, edge: EdgeId, reports: &[PathReport], now: Millis) {
        for report in reports {
            if let Some(track) = self.track(edge, report.path) {
                track.handle(report, now);
            }
        }
    }

    /// An edge left a path for a fault, which may be over by its next report.
    pub fn handle_fault(&mut self, edge: EdgeId, path: PathId, now: Millis) {
        if let Some(track) = self.track(edge, path) {
            track.handle_fault(now);
        }
    }

    /// Packets that an edge has dropped since its start because it was too slow: full queues and sockets.
    pub fn handle_drops(&mut self, edge: EdgeId, total: u64, now: Millis) {
        if self.map.edges.contains_key(&edge) {
            self.drops.entry(edge).or_default().handle(total, now);
        }
    }

    /// A session began or ended. Advice in force is given again to whoever comes back.
    pub fn handle_connected(&mut self, edge: EdgeId, connected: bool) {
        if connected {
            self.connected.insert(edge);
            self.given.repeat(edge);
            return;
        }
        self.connected.remove(&edge);
        let tunnels = self.map.edges.get(&edge).map(|node| node.tunnels.iter());
        let paths = tunnels.into_iter().flatten().flat_map(|id| &self.map.tunnels[id].paths);
        for path in paths {
            let side = self.map.paths[path].side(edge);
            if let Some((side, tracks)) = side.zip(self.tracks.get_mut(path)) {
                tracks[side].forget_report();
            }
        }
    }

    /// Looks at everything. Call it every [`EVALUATE_EVERY_MS`], then take the effects.
    pub fn evaluate(&mut self, now: Millis) {
        let health = self.health(now);
        let map = std::mem::take(&mut self.map);
        let look = Look::new(&map, &health);
        self.recognise(&map, &look, now);
        for (subject, trouble) in self.troubles.iter_mut().filter(|(_, trouble)| trouble.found) {
            let held = trouble.held;
            trouble.advance(&compose::eligible(&map, subject), now);
            if trouble.held && !held {
                let what = compose::describe(&map, subject);
                let message =
                    format!("no more sites are led away from {what}: the alternative suffers");
                self.effects.push_back(tell("ADVICE_HELD", None, message));
            }
        }
        let found = self.troubles.iter().filter(|(_, trouble)| trouble.found);
        let composed = compose::compose(&map, &look, found, |id| format!("{}-{id}", self.tag));
        self.map = map;
        self.given.give(composed, &self.map, &self.connected, now, &mut self.effects);
    }

    /// What the shell must do, in order.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// By edge.
    pub fn in_force(&self) -> Vec<InForce> {
        self.given.in_force()
    }

    /// Recognised troubles; suspicions are not among them.
    pub fn troubles(&self) -> Vec<TroubleView> {
        let found = self.troubles.iter().filter(|(_, trouble)| trouble.found);
        let view = |(subject, trouble): (&Subject, &Trouble)| TroubleView {
            id: format!("{}-{}", self.tag, trouble.id),
            subject: compose::describe(&self.map, subject),
            since: trouble.since,
            seen_by: trouble.signs.bad,
            of: trouble.signs.of,
            advised: trouble.advised().count() as u32,
            ending: trouble.over,
        };
        found.map(view).collect()
    }

    pub fn counters(&self) -> AdviceCounters {
        AdviceCounters { troubles_dropped: self.troubles_dropped, ..self.given.counters() }
    }

    fn track(&mut self, edge: EdgeId, path: PathId) -> Option<&mut Track> {
        let side = self.map.paths.get(&path)?.side(edge)?;
        Some(&mut self.tracks.entry(path).or_default()[side])
    }

    fn health(&self, now: Millis) -> BTreeMap<PathId, Health> {
        let of = |(&path, [a, b]): (&PathId, &[Track; 2])| {
            (path, Health::of_both(a.health(now), b.health(now)))
        };
        self.tracks.iter().map(of).collect()
    }

    /// Hubs first, then shared uplinks, then providers: what one explains is no sign for the next.
    fn recognise(&mut self, map: &FleetMap, look: &Look<'_>, now: Millis) {
        let mut signs = look.hubs();
        self.judge(&signs, now);
        let is_hub = |subject: &Subject| matches!(subject, Subject::Hub(_));
        let uplinks = look.shared_uplinks(&self.explained(map, is_hub));
        self.judge(&uplinks, now);
        signs.extend(uplinks);
        let providers = look.providers(&self.explained(map, |_| true));
        self.judge(&providers, now);
        signs.extend(providers);
        self.settle(map, &signs, now);
        let in_doubt = self.troubles.keys().cloned().collect();
        self.background.learn(&signs, &in_doubt, now);
    }

    /// Begins suspicions.
    fn judge(&mut self, signs: &BTreeMap<Subject, Signs>, now: Millis) {
        for (subject, signs) in signs {
            let background = self.background.of(subject, signs);
            if self.troubles.contains_key(subject) || !trouble::alarming(signs, background) {
                continue;
            }
            if self.troubles.len() >= MAX_TROUBLES {
                self.troubles_dropped += 1;
                continue;
            }
            let trouble = Trouble::suspect(self.next_id, signs.clone(), background, now);
            self.next_id += 1;
            self.troubles.insert(subject.clone(), trouble);
        }
    }

    /// Moves every trouble on.
    fn settle(&mut self, map: &FleetMap, signs: &BTreeMap<Subject, Signs>, now: Millis) {
        let mut gone = Vec::new();
        for (subject, trouble) in &mut self.troubles {
            // Nothing is heard of it, or all of it is explained otherwise: no sign.
            let signs = signs.get(subject).cloned().unwrap_or_default();
            let alarming = trouble::alarming(&signs, self.background.of(subject, &signs));
            let seen = format!("{} of {} sites see it", signs.bad, signs.of);
            let reason = compose::reason(map, subject);
            let told = match trouble.look(signs, alarming, now) {
                News::None => continue,
                News::Found => {
                    let itself = dropped(subject, &self.drops);
                    ("TROUBLE_FOUND", format!("{reason}: {seen}{itself}"))
                }
                News::Back => ("TROUBLE_FOUND", format!("{reason}, again: {seen}")),
                News::Over => {
                    let what = compose::describe(map, subject);
                    ("TROUBLE_OVER", format!("{what} is well again: {seen}"))
                }
                News::Gone => {
                    gone.push(subject.clone());
                    continue;
                }
            };
            self.effects.push_back(tell(told.0, None, told.1));
        }
        for subject in gone {
            self.troubles.remove(&subject);
        }
    }

    /// Paths whose trouble has its explanation by such a subject.
    fn explained(&self, map: &FleetMap, by: impl Fn(&Subject) -> bool) -> BTreeSet<PathId> {
        let mut paths = BTreeSet::new();
        for subject in self.troubles.keys().filter(|subject| by(subject)) {
            match subject {
                Subject::Hub(edge) => {
                    let tunnels = map.edges.get(edge).map(|node| node.tunnels.iter());
                    let tunnels = tunnels.into_iter().flatten();
                    paths.extend(tunnels.flat_map(|id| map.tunnels[id].paths.iter().copied()));
                }
                Subject::Uplink(uplink) => {
                    paths.extend(map.uplinks.get(uplink).iter().flat_map(|wan| &wan.paths));
                }
                Subject::Provider(_) => {}
            }
        }
        paths
    }
}

/// A counter's way.
#[derive(Debug, Default)]
struct Drops {
    last: Option<(u64, Millis)>,
    per_s: u64,
}

impl Drops {
    fn handle(&mut self, total: u64, now: Millis) {
        let Some((before, at)) = self.last else {
            self.last = Some((total, now));
            return;
        };
        let elapsed_ms = now.since(at);
        if elapsed_ms >= 1_000 {
            // A new start of the agent counts from nothing.
            self.per_s = total.saturating_sub(before) * 1_000 / elapsed_ms;
            self.last = Some((total, now));
        }
    }
}

/// What a hub says of itself.
fn dropped(subject: &Subject, drops: &BTreeMap<EdgeId, Drops>) -> String {
    let Subject::Hub(hub) = subject else { return String::new() };
    match drops.get(hub).map_or(0, |drops| drops.per_s) {
        0 => String::new(),
        per_s => format!("; it drops {per_s} packets a second because it is too slow"),
    }
}

pub(super) fn tell(code: &'static str, edge: Option<EdgeId>, message: String) -> Effect {
    Effect::Tell(Told { code, edge, message })
}
