//! What each edge was given: refreshed, changed and withdrawn, no faster than agents and operators can bear.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::advisor::tell;
use super::compose::Composed;
use super::constants::{CHANGES_PER_MINUTE, REFRESH_MS};
use super::map::FleetMap;
use super::{Advice, AdviceCounters, Effect, InForce, Millis};
use crate::id::EdgeId;

#[derive(Debug, Default)]
pub(super) struct Giving {
    given: BTreeMap<EdgeId, Given>,
    /// Changes that may be made, and since when that is known.
    allowance: f64,
    allowed_at: Option<Millis>,
    counters: AdviceCounters,
}

#[derive(Debug)]
struct Given {
    advice: Advice,
    since: Millis,
    /// None: it must be sent again.
    sent: Option<Millis>,
}

impl Giving {
    /// The edge may have lost what it was given.
    pub fn repeat(&mut self, edge: EdgeId) {
        if let Some(given) = self.given.get_mut(&edge) {
            given.sent = None;
        }
    }

    pub fn in_force(&self) -> Vec<InForce> {
        let given = self.given.iter().map(|(&edge, given)| InForce {
            edge,
            advice: given.advice.clone(),
            since: given.since,
            sent: given.sent.unwrap_or(given.since),
        });
        given.collect()
    }

    pub fn counters(&self) -> AdviceCounters {
        self.counters
    }

    /// From what should be in force to what must be sent.
    pub fn give(
        &mut self,
        composed: Composed,
        map: &FleetMap,
        connected: &BTreeSet<EdgeId>,
        now: Millis,
        effects: &mut VecDeque<Effect>,
    ) {
        self.counters.spared += composed.spared;
        self.allow(map.edges.len(), now);
        let mut wanted = composed.advice;
        let edges: BTreeSet<EdgeId> = self.given.keys().chain(wanted.keys()).copied().collect();
        for edge in edges {
            let wanted = wanted.remove(&edge);
            if !connected.contains(&edge) {
                self.expire(edge, now, effects);
                continue;
            }
            match wanted {
                None => self.withdraw(edge, effects),
                Some(advice) => self.give_one(edge, advice, map, now, effects),
            }
        }
    }

    fn give_one(
        &mut self,
        edge: EdgeId,
        advice: Advice,
        map: &FleetMap,
        now: Millis,
        effects: &mut VecDeque<Effect>,
    ) {
        let before = self.given.get(&edge);
        let same = before.is_some_and(|given| given.advice == advice);
        let told = before.is_some_and(|given| given.advice.reason == advice.reason);
        let fresh =
            before.and_then(|given| given.sent).is_some_and(|sent| now.since(sent) < REFRESH_MS);
        let since = before.map_or(now, |given| given.since);
        if same {
            if fresh {
                return;
            }
            self.counters.refreshed += 1;
        } else {
            if !self.change() {
                return;
            }
            self.counters.given += 1;
        }
        if !told {
            let message = format!("{}: avoid {}", advice.reason, named(map, edge, &advice));
            effects.push_back(tell("ADVICE_GIVEN", Some(edge), message));
        }
        self.given.insert(edge, Given { advice: advice.clone(), since, sent: Some(now) });
        effects.push_back(Effect::Give { edge, advice });
    }

    fn withdraw(&mut self, edge: EdgeId, effects: &mut VecDeque<Effect>) {
        if !self.given.contains_key(&edge) || !self.change() {
            return;
        }
        if let Some(given) = self.given.remove(&edge) {
            self.counters.withdrawn += 1;
            let message = format!("no longer: {}", given.advice.reason);
            effects.push_back(tell("ADVICE_ENDED", Some(edge), message));
            effects.push_back(Effect::Withdraw { edge, id: given.advice.id });
        }
    }

    /// What an edge that is away still has ends by itself.
    fn expire(&mut self, edge: EdgeId, now: Millis, effects: &mut VecDeque<Effect>) {
        let ended = self.given.get(&edge).is_some_and(|given| {
            now.since(given.sent.unwrap_or(given.since)) >= given.advice.ttl_ms
        });
        if ended && let Some(given) = self.given.remove(&edge) {
            let message = format!("it ran out while the edge was away: {}", given.advice.reason);
            effects.push_back(tell("ADVICE_ENDED", Some(edge), message));
        }
    }

    fn allow(&mut self, edges: usize, now: Millis) {
        let most = (CHANGES_PER_MINUTE as f64).max(edges as f64 / 10.0);
        let gained = match self.allowed_at {
            None => most,
            Some(at) => now.since(at) as f64 / 60_000.0 * most,
        };
        self.allowed_at = Some(now);
        self.allowance = (self.allowance + gained).min(most);
    }

    /// False: too many changes already; the next look tries again.
    fn change(&mut self) -> bool {
        let may = self.allowance >= 1.0;
        if may {
            self.allowance -= 1.0;
        } else {
            self.counters.deferred += 1;
        }
        may
    }
}

/// What is avoided, for people.
fn named(map: &FleetMap, edge: EdgeId, advice: &Advice) -> String {
    let hubs = advice.avoid_edges.iter().map(|hub| map.names(*hub).0.to_owned());
    let own = advice.avoid_paths.iter().filter_map(|path| {
        let way = map.paths.get(path)?;
        let wan = map.uplinks.get(&way.ends[way.side(edge)?].1)?;
        Some(wan.name.clone())
    });
    let own: BTreeSet<String> = own.collect();
    let paths = match advice.avoid_paths.len() {
        0 => None,
        count => {
            let over: Vec<String> = own.into_iter().collect();
            let s = if count == 1 { "" } else { "s" };
            Some(format!("{count} path{s} over {}", over.join(", ")))
        }
    };
    let hubs: Vec<String> = hubs.collect();
    let hubs = (!hubs.is_empty()).then(|| format!("{} as next hop", hubs.join(", ")));
    paths.into_iter().chain(hubs).collect::<Vec<_>>().join(" and ")
}
