//! Which prefixes share a choice. A group splits when its next hops offer different things for its prefixes, each part
//! with the record so far; after long peace the parts are one again.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::group::{Group, Key, Offer, Terms};
use super::machine::Reach;
use super::{FOLD_HOLDS, Prefix};
use crate::id::{EdgeId, TunnelId};
use crate::policy;
use crate::time::Micros;

/// How often parts are looked at that may be one again.
const FOLD_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

impl Reach {
    /// Puts every prefix where it belongs. `all`: the configuration changed, so groups that stay are told it.
    pub(super) fn regroup(&mut self, all: bool, now: Micros) {
        let drained: BTreeSet<EdgeId> = self
            .words
            .iter()
            .filter(|(_, words)| words.told.as_ref().is_some_and(|told| told.drained))
            .map(|(edge, _)| *edge)
            .collect();
        let mut moving: BTreeMap<(Option<u64>, Key), BTreeSet<IpNet>> = BTreeMap::new();
        for (prefix, next_hops) in &self.routes {
            let key = self.key(prefix, next_hops, &drained);
            let home = self.home.get(prefix).copied();
            let stays = home.and_then(|id| self.groups.get(&id)).is_some_and(|g| g.key == key);
            if all || !stays {
                moving.entry((home, key)).or_default().insert(prefix.1);
            }
        }
        self.forget_gone();
        for ((home, key), prefixes) in moving {
            self.resettle(home, key, prefixes, now);
        }
        self.groups.retain(|_, group| !group.prefixes.is_empty());
    }

    fn key(&self, prefix: &Prefix, next_hops: &[TunnelId], drained: &BTreeSet<EdgeId>) -> Key {
        let offers = next_hops.iter().map(|tunnel| self.offer(prefix, *tunnel, next_hops, drained));
        Key { segment: prefix.0, next_hops: next_hops.to_vec(), offers: offers.collect() }
    }

    /// What the next hop offers for the prefix, as one of `next_hops`.
    fn offer(
        &self,
        prefix: &Prefix,
        tunnel: TunnelId,
        next_hops: &[TunnelId],
        drained: &BTreeSet<EdgeId>,
    ) -> Offer {
        let Some(edge) = self.hops.get(&tunnel).map(|hop| hop.edge) else {
            return Offer::Withdrawn;
        };
        let words = self.words.get(&edge);
        if words.is_none_or(|words| words.told.is_none()) {
            // It has never said anything: it reaches what the generation says.
            return Offer::Open(Terms::default());
        }
        match words.and_then(|words| words.way(prefix)) {
            Some(way) if !way.via.contains(&self.me) => Offer::Open(Terms {
                violates: way.violates,
                detours: next_hops.iter().any(|other| {
                    let other = self.hops.get(other).filter(|_| *other != tunnel);
                    // Beyond one that has dropped its tunnel to us, the others are no longer ways round.
                    let other = other.filter(|hop| !self.leaving.contains(&hop.edge));
                    other.is_some_and(|hop| way.via.contains(&hop.edge))
                }),
                drained: self.leaving.contains(&edge)
                    || drained.contains(&edge)
                    || way.via.iter().any(|e| drained.contains(e)),
            }),
            _ => Offer::Withdrawn,
        }
    }

    fn forget_gone(&mut self) {
        let gone: Vec<Prefix> =
            self.home.keys().filter(|prefix| !self.routes.contains_key(prefix)).copied().collect();
        for prefix in gone {
            self.take_out(&prefix);
        }
    }

    fn take_out(&mut self, prefix: &Prefix) {
        if let Some(group) = self.home.remove(prefix).and_then(|id| self.groups.get_mut(&id)) {
            group.prefixes.remove(&prefix.1);
        }
    }

    fn resettle(&mut self, home: Option<u64>, key: Key, prefixes: BTreeSet<IpNet>, now: Micros) {
        let segment = key.segment;
        let whole = |group: &Group| group.prefixes.len() == prefixes.len();
        let old = home.and_then(|id| Some((id, self.groups.get(&id)?)));
        let id = match old {
            Some((id, group)) if whole(group) => {
                if let Some(group) = self.groups.get_mut(&id) {
                    group.set_key(key, self.policy.as_ref(), &self.hops, now);
                }
                return;
            }
            Some((_, group)) => {
                let mut part = Group { prefixes: BTreeSet::new(), ..group.clone() };
                part.set_key(key, self.policy.as_ref(), &self.hops, now);
                self.add(part)
            }
            None => {
                let same = self.groups.iter().find(|(_, group)| group.key == key);
                match same.map(|(id, _)| *id) {
                    Some(id) => id,
                    None => self.add(Group::new(key, self.policy.as_ref(), &self.hops, now)),
                }
            }
        };
        for prefix in prefixes {
            self.take_out(&(segment, prefix));
            self.home.insert((segment, prefix), id);
            if let Some(group) = self.groups.get_mut(&id) {
                group.prefixes.insert(prefix);
                group.dirty = true;
            }
        }
    }

    fn add(&mut self, group: Group) -> u64 {
        self.next_group += 1;
        self.groups.insert(self.next_group, group);
        self.next_group
    }

    /// Parts that have been of one mind for long become one group again.
    pub(super) fn fold(&mut self, now: Micros) {
        if now < self.fold_at {
            return;
        }
        self.fold_at = now + FOLD_EVERY;
        let hold = self.policy.as_ref().map_or(policy::FAILBACK_HOLD, |p| p.failback_hold);
        let peace = hold.max(std::time::Duration::from_secs(1)) * FOLD_HOLDS;
        let mut calm: BTreeMap<(Key, Option<TunnelId>), u64> = BTreeMap::new();
        let mut pairs = Vec::new();
        for (&id, group) in &self.groups {
            if now.since(group.changed) < peace || group.next_deadline().is_some() {
                continue;
            }
            match calm.get(&(group.key.clone(), group.carried)) {
                Some(&first) => pairs.push((id, first)),
                None => drop(calm.insert((group.key.clone(), group.carried), id)),
            }
        }
        for (id, first) in pairs {
            let Some(part) = self.groups.remove(&id) else { continue };
            for prefix in &part.prefixes {
                self.home.insert((part.key.segment, *prefix), first);
            }
            if let Some(group) = self.groups.get_mut(&first) {
                group.prefixes.extend(part.prefixes);
            }
        }
    }
}
