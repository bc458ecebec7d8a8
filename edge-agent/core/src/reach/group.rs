//! Prefixes that share their next hops and what these offer: one choice for all of them.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use crate::id::{EdgeId, PathId, SegmentId, TunnelId, UplinkId};
use crate::select::{Advice, CandidateSpec, ClassPolicy, Decision, Selector};
use crate::sla::{Crossed, Crossings, Limit, PathHealth, SlaState};
use crate::time::Micros;

/// A neighbour, and how its tunnel does.
#[derive(Debug, Clone)]
pub(super) struct Hop {
    pub(super) edge: EdgeId,
    /// For people.
    pub(super) name: String,
    pub(super) health: PathHealth,
}

/// By tunnel.
pub(super) type Hops = BTreeMap<TunnelId, Hop>;

/// What a next hop offers for a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Offer {
    /// It can't get there, or only through this edge.
    Withdrawn,
    Open(Terms),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Terms {
    /// An SLA is violated beyond it.
    pub(super) violates: bool,
    /// It goes through another one of the next hops.
    pub(super) detours: bool,
    /// It, or one on its way, is drained.
    pub(super) drained: bool,
}

/// What the prefixes of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) segment: SegmentId,
    /// As in the generation, best first.
    pub(super) next_hops: Vec<TunnelId>,
    /// One for each next hop.
    pub(super) offers: Vec<Offer>,
}

#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) key: Key,
    pub(super) prefixes: BTreeSet<IpNet>,
    /// None: there is nothing to choose from.
    pub(super) selector: Option<Selector>,
    /// Where the prefixes go now.
    pub(super) carried: Option<TunnelId>,
    /// Where they went last.
    pub(super) last: Option<TunnelId>,
    pub(super) carried_since: Micros,
    /// When the choice or an offer last changed.
    pub(super) changed: Micros,
    /// The order as it was last looked at.
    pub(super) shown: Vec<TunnelId>,
    pub(super) dirty: bool,
}

impl Group {
    pub(super) fn new(key: Key, policy: Option<&ClassPolicy>, hops: &Hops, now: Micros) -> Group {
        let policy = policy.filter(|_| key.next_hops.len() > 1);
        let selector = policy.map(|p| Selector::new(p.clone(), specs(&key, hops), now));
        Group {
            key,
            prefixes: BTreeSet::new(),
            selector,
            carried: None,
            last: None,
            carried_since: now,
            changed: now,
            shown: Vec::new(),
            dirty: true,
        }
    }

    /// Other next hops or offers for the same prefixes: those that stay keep their record.
    pub(super) fn set_key(
        &mut self,
        key: Key,
        policy: Option<&ClassPolicy>,
        hops: &Hops,
        now: Micros,
    ) {
        if self.key != key {
            self.changed = now;
        }
        match (policy.filter(|_| key.next_hops.len() > 1), &mut self.selector) {
            (Some(policy), Some(selector)) => {
                selector.set_config(policy.clone(), specs(&key, hops));
            }
            (Some(policy), selector) => {
                *selector = Some(Selector::new(policy.clone(), specs(&key, hops), now));
            }
            (None, selector) => *selector = None,
        }
        self.key = key;
        self.dirty = true;
    }

    /// Looks at its next hops anew. `decided` gets each move of a choice.
    pub(super) fn evaluate(
        &mut self,
        hops: &Hops,
        advice: Option<&Advice>,
        now: Micros,
        mut decided: impl FnMut(&Group, Decision),
    ) {
        self.dirty = false;
        let before = self.carried;
        let Some(mut selector) = self.selector.take() else {
            let first = self.key.next_hops.first().copied();
            self.carried = first.filter(|_| {
                self.effective(0, hops).is_some_and(|health| health.state < SlaState::Down)
            });
            return self.note_carried(before, now);
        };
        selector.handle_advice(advice.cloned(), now);
        for (index, &tunnel) in self.key.next_hops.iter().enumerate() {
            let health = self.effective(index, hops);
            selector.handle_path_admin(candidate(tunnel), health.is_some(), now);
            let health = health.unwrap_or_else(PathHealth::connecting);
            selector.handle_quality(candidate(tunnel), &health, now);
        }
        let mut decisions = Vec::new();
        while let Some(decision) = selector.poll(now) {
            decisions.push(decision);
        }
        self.carried = selector.selected().map(|path| TunnelId(path.0));
        self.selector = Some(selector);
        self.note_carried(before, now);
        for decision in decisions {
            decided(self, decision);
        }
    }

    fn note_carried(&mut self, before: Option<TunnelId>, now: Micros) {
        self.last = self.carried.or(self.last);
        if self.carried != before {
            (self.carried_since, self.changed) = (now, now);
        }
    }

    /// When to evaluate though nothing comes in.
    pub(super) fn next_deadline(&self) -> Option<Micros> {
        self.selector.as_ref().and_then(Selector::next_deadline)
    }

    /// For the data plane: the chosen next hop, or while there is none the last one; then whichever else may be used, in
    /// the generation's order.
    pub(super) fn order(&self) -> Vec<TunnelId> {
        let usable = self.key.next_hops.iter().zip(&self.key.offers);
        let usable = usable.filter(|(_, offer)| **offer != Offer::Withdrawn).map(|(hop, _)| *hop);
        let usable: Vec<TunnelId> = usable.collect();
        let last = || self.last.filter(|last| usable.contains(last));
        let first = self.carried.or_else(last);
        let others = usable.iter().copied().filter(|hop| Some(*hop) != first);
        first.into_iter().chain(others).collect()
    }

    /// Whether an SLA is violated on the way that is used.
    pub(super) fn violates(&self, hops: &Hops) -> bool {
        let index = self.key.next_hops.iter().position(|t| Some(*t) == self.carried);
        let (Some(index), Some(hop)) = (index, self.carried.and_then(|t| hops.get(&t))) else {
            return false;
        };
        let beyond = matches!(self.key.offers[index], Offer::Open(Terms { violates: true, .. }));
        beyond || hop.health.state != SlaState::Meets
    }

    pub(super) fn offer(&self, tunnel: TunnelId) -> Offer {
        let index = self.key.next_hops.iter().position(|t| *t == tunnel);
        index.map_or(Offer::Withdrawn, |index| self.key.offers[index])
    }

    /// What a next hop is worth: its tunnel's health, made worse by what it offers. None: it can't be used at all.
    pub(super) fn effective(&self, index: usize, hops: &Hops) -> Option<PathHealth> {
        let Offer::Open(terms) = self.key.offers.get(index)? else { return None };
        let hop = hops.get(self.key.next_hops.get(index)?)?;
        let mut health = hop.health;
        if terms.drained || terms.violates {
            health.state = health.state.max(SlaState::Violates);
        }
        if terms.drained {
            health.crossed = last_of_all();
        }
        Some(health)
    }
}

/// Among those that violate, a drained one is left for any other.
fn last_of_all() -> Crossings {
    let mut crossed = Crossings::default();
    crossed.insert(Crossed { limit: Limit::Rtt, value: u32::MAX, allowed: 1, confidence_ppm: 0 });
    crossed
}

/// A next hop in the selector's words.
pub(super) fn candidate(tunnel: TunnelId) -> PathId {
    PathId(tunnel.0)
}

fn specs(key: &Key, hops: &Hops) -> Vec<CandidateSpec> {
    let spec = |(index, tunnel): (usize, &TunnelId)| {
        let detours = matches!(key.offers[index], Offer::Open(Terms { detours: true, .. }));
        CandidateSpec {
            path: candidate(*tunnel),
            name: hops.get(tunnel).map(|hop| hop.name.clone()).unwrap_or_default(),
            // They share nothing that this edge knows of.
            local_uplink: UplinkId(tunnel.0),
            remote_uplink: UplinkId(tunnel.0),
            preference: (u16::from(detours), index.min(usize::from(u16::MAX)) as u16),
            ..CandidateSpec::default()
        }
    };
    key.next_hops.iter().enumerate().map(spec).collect()
}
