//! The state machine of one edge.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hawser_proto::peer::v1 as wire;

use super::advert::Adverts;
use super::base::{Base, Entry};
use super::decision::{decision, explain, listed};
use super::group::{Group, Hop, Hops, candidate};
use super::words::{Refusal, Words};
use super::{EVENT_TOKENS, HopExplanation, NextHopDecision, Prefix, VIA_MAX};
use crate::bucket::TokenBucket;
use crate::config::{EdgeState, Lan};
use crate::id::{EdgeId, TunnelId};
use crate::policy;
use crate::select::{Advice, ClassPolicy};
use crate::sla::PathHealth;
use crate::time::Micros;

/// What the shell must do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Tell a peer, all of it and in this order.
    Advertise {
        edge: EdgeId,
        messages: Vec<wire::Reachability>,
    },
    /// Keep it, and send it to the controller.
    Decision(Box<NextHopDecision>),
    Event(ReachEvent),
}

/// Something that an operator may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReachEvent {
    /// Stable, upper case.
    pub code: &'static str,
    pub subject: String,
    pub message: String,
}

/// Which next hops of an edge's prefixes are used, in which order, and what its peers are told. See the module.
#[derive(Debug)]
pub struct Reach {
    pub(super) me: EdgeId,
    drained: bool,
    leaf: bool,
    /// Own prefixes, each with the device of its LAN.
    pub(super) lans: BTreeSet<(String, Prefix)>,
    /// Devices of LANs without a link.
    pub(super) dark: BTreeSet<String>,
    /// Of the class that matches everything: hold and dwell.
    pub(super) policy: Option<ClassPolicy>,
    pub(super) hops: Hops,
    pub(super) routes: BTreeMap<Prefix, Vec<TunnelId>>,
    pub(super) words: BTreeMap<EdgeId, Words>,
    /// Peers whose generation has dropped the tunnel to this edge.
    pub(super) leaving: BTreeSet<EdgeId>,
    pub(super) groups: BTreeMap<u64, Group>,
    /// Which group each prefix of the routes is in.
    pub(super) home: BTreeMap<Prefix, u64>,
    pub(super) next_group: u64,
    pub(super) fold_at: Micros,
    advice: Option<HopAdvice>,
    adverts: Adverts,
    /// Drained by `poll`, so never longer than what one input gives.
    pub(super) outputs: VecDeque<Output>,
    pub(super) events: TokenBucket,
    pub(super) counters: BTreeMap<&'static str, u64>,
    /// Something came in since the last evaluation.
    dirty: bool,
    /// Next hops or offers may have changed.
    regroup: bool,
    new_generation: bool,
    orders_changed: bool,
    /// When a group must be looked at though nothing comes in.
    due: Option<Micros>,
}

#[derive(Debug)]
struct HopAdvice {
    avoid: BTreeSet<EdgeId>,
    until: Micros,
    reason: String,
}

impl Reach {
    /// Knows nothing until there is a generation.
    pub fn new(now: Micros) -> Reach {
        Reach {
            me: EdgeId(0),
            drained: false,
            leaf: true,
            lans: BTreeSet::new(),
            dark: BTreeSet::new(),
            policy: None,
            hops: Hops::new(),
            routes: BTreeMap::new(),
            words: BTreeMap::new(),
            leaving: BTreeSet::new(),
            groups: BTreeMap::new(),
            home: BTreeMap::new(),
            next_group: 0,
            fold_at: now,
            advice: None,
            adverts: Adverts::default(),
            outputs: VecDeque::new(),
            events: TokenBucket::per_second(EVENT_TOKENS, 1, now),
            counters: BTreeMap::new(),
            dirty: false,
            regroup: false,
            new_generation: false,
            orders_changed: false,
            due: None,
        }
    }

    /// A generation. What stays keeps its record: tunnels their health, peers their word, choices their holds.
    pub fn set_generation(&mut self, state: &EdgeState, now: Micros) {
        self.me = state.edge_id;
        (self.drained, self.leaf) = (state.drained, state.leaf);
        let lans = state.lans.iter();
        let of = |lan: &Lan| {
            let (device, segment) = (lan.device(), lan.segment);
            lan.prefixes.clone().into_iter().map(move |p| (device.clone(), (segment, p.trunc())))
        };
        self.lans = lans.flat_map(of).collect();
        self.policy = state.tunnels.values().next().zip(state.traffic_classes.last()).map(
            |(tunnel, class)| ClassPolicy {
                class_name: "next hop".to_owned(),
                drop_when_none_meets: false,
                follows_peer: false,
                ..ClassPolicy::new(state, tunnel, class)
            },
        );
        let mut old = std::mem::take(&mut self.hops);
        for tunnel in state.tunnels.values() {
            let edge = tunnel.peer_edge_id;
            let kept = old.remove(&tunnel.id).filter(|hop| hop.edge == edge);
            let health = kept.map_or_else(PathHealth::connecting, |hop| hop.health);
            self.hops.insert(tunnel.id, Hop { edge, name: tunnel.peer_edge.clone(), health });
        }
        let peers: BTreeSet<EdgeId> = self.hops.values().map(|hop| hop.edge).collect();
        self.words.retain(|edge, _| peers.contains(edge));
        self.leaving.retain(|edge| peers.contains(edge));
        let routes = state.routes.iter();
        self.routes =
            routes.map(|r| ((r.segment, r.prefix.trunc()), r.next_hops.clone())).collect();
        self.adverts.set_neighbours(self.hops.iter().map(|(t, hop)| (*t, hop.edge)), now);
        (self.dirty, self.regroup, self.new_generation) = (true, true, true);
    }

    /// There is no generation any more. Sequence numbers go on: peers remember them for the life of this agent.
    pub fn clear(&mut self, now: Micros) {
        self.adverts.set_neighbours(std::iter::empty(), now);
        let adverts = std::mem::take(&mut self.adverts);
        let counters = std::mem::take(&mut self.counters);
        *self = Reach { adverts, counters, ..Reach::new(now) };
    }

    /// How a tunnel does: the worst over the traffic classes of what carries each.
    pub fn handle_tunnel(&mut self, tunnel: TunnelId, health: &PathHealth) {
        let Some(hop) = self.hops.get_mut(&tunnel) else { return };
        let rank = |h: &PathHealth| (h.state, h.crossed.severity(), h.connecting);
        let same = rank(&hop.health) == rank(health);
        hop.health = *health;
        if same {
            return;
        }
        for group in self.groups.values_mut() {
            group.dirty |= group.key.next_hops.contains(&tunnel);
        }
        self.dirty = true;
    }

    /// Whether the peer's generation has dropped the whole tunnel: as a next hop it is taken last, like one that is drained.
    pub fn handle_leaving(&mut self, edge: EdgeId, leaving: bool) {
        let changed = if leaving {
            self.hops.values().any(|hop| hop.edge == edge) && self.leaving.insert(edge)
        } else {
            self.leaving.remove(&edge)
        };
        self.dirty |= changed;
        self.regroup |= changed;
    }

    /// The devices of LANs that have no link: what is reached through them alone is withdrawn, so that another origin of
    /// it is taken.
    pub fn handle_dark_lans(&mut self, dark: BTreeSet<String>, now: Micros) {
        if dark != self.dark {
            let before = std::mem::replace(&mut self.dark, dark);
            self.report_lans(&before, now);
            self.dirty = true;
        }
    }

    /// A session with a peer began. Without one its last word holds.
    pub fn handle_session(&mut self, edge: EdgeId, boot_id: &str) {
        if self.hops.values().any(|hop| hop.edge == edge) {
            self.words.entry(edge).or_default().handle_session(boot_id);
        }
    }

    /// A peer's message.
    pub fn handle_message(&mut self, edge: EdgeId, message: &wire::Reachability, now: Micros) {
        let Some((&tunnel, _)) = self.hops.iter().find(|(_, hop)| hop.edge == edge) else {
            return self.count(Refusal::UnknownPeer.counter());
        };
        let counters = &mut self.counters;
        let refuse = |refusal: Refusal| *counters.entry(refusal.counter()).or_default() += 1;
        let words = self.words.entry(edge).or_default();
        let Some(before) = words.handle_message(message, refuse) else { return };
        if before == words.told {
            return;
        }
        (self.dirty, self.regroup) = (true, true);
        if let Some(before) = before {
            self.report_word(tunnel, &before, now);
        }
    }

    /// What the controller advises against. It replaces what it said before.
    pub fn handle_advice(
        &mut self,
        avoid: BTreeSet<EdgeId>,
        until: Micros,
        reason: String,
        now: Micros,
    ) {
        let until = until.min(now + policy::ADVICE_MAX);
        self.advice = (!avoid.is_empty()).then_some(HopAdvice { avoid, until, reason });
        self.touch_all();
    }

    /// The session had no room for the advertisement: it comes again.
    pub fn not_sent(&mut self, edge: EdgeId, now: Micros) {
        self.count("reachability_not_sent");
        self.adverts.not_sent(edge, now);
    }

    /// What is to be done. Call it after each input and at the deadline, until it gives nothing.
    pub fn poll(&mut self, now: Micros) -> Option<Output> {
        let run_out = self.advice.as_ref().is_some_and(|advice| now >= advice.until);
        if run_out {
            self.advice = None;
            self.touch_all();
        }
        if self.dirty || self.due.is_some_and(|due| due <= now) {
            self.evaluate(now);
        }
        self.outputs.pop_front().or_else(|| {
            let (edge, messages) = self.adverts.poll(now)?;
            Some(Output::Advertise { edge, messages })
        })
    }

    /// When to poll next if nothing comes in.
    pub fn next_deadline(&self) -> Option<Micros> {
        let advice = self.advice.as_ref().map(|advice| advice.until);
        [self.due, advice, self.adverts.next_deadline()].into_iter().flatten().min()
    }

    /// The next hops that a prefix may use, best first.
    pub fn next_hops(&self, prefix: &Prefix) -> Vec<TunnelId> {
        let group = self.home.get(prefix).and_then(|id| self.groups.get(id));
        group.map(Group::order).unwrap_or_default()
    }

    /// Whether `next_hops` of any prefix changed since the last call.
    pub fn take_orders_changed(&mut self) -> bool {
        std::mem::take(&mut self.orders_changed)
    }

    /// Every choice, and every prefix that can't be reached.
    pub fn explain(&self, now: Micros) -> Vec<HopExplanation> {
        let advice = self.advice_as_paths();
        let told = self.groups.values().filter(|g| g.selector.is_some() || g.carried.is_none());
        told.map(|group| explain(group, &self.hops, advice.as_ref(), now)).collect()
    }

    /// What was refused or dropped, by stable names.
    pub fn counters(&self) -> &BTreeMap<&'static str, u64> {
        &self.counters
    }

    fn evaluate(&mut self, now: Micros) {
        if std::mem::take(&mut self.regroup) {
            let all = self.new_generation;
            self.orders_changed |= all;
            self.regroup(all, now);
        }
        let new_generation = std::mem::take(&mut self.new_generation);
        self.dirty = false;
        let advice = self.advice_as_paths();
        let (mut decisions, mut moved) = (Vec::new(), Vec::new());
        for group in self.groups.values_mut() {
            let due = group.next_deadline().is_some_and(|at| at <= now);
            if !group.dirty && !due {
                continue;
            }
            let before = group.carried;
            let hops = &self.hops;
            group.evaluate(hops, advice.as_ref(), now, |group, decided| {
                decisions.push(decision(group, hops, advice.as_ref(), new_generation, &decided));
            });
            let order = group.order();
            self.orders_changed |= order != group.shown;
            group.shown = order;
            if before.is_none() != group.carried.is_none() && !group.key.next_hops.is_empty() {
                moved.push((group.carried.is_some(), listed(group.prefixes.iter())));
            }
        }
        for decision in decisions {
            self.report_decision(decision, now);
        }
        for (reached, prefixes) in moved {
            let (code, message) = match reached {
                true => ("PREFIX_REACHED", "there is a next hop that can be used"),
                false => ("PREFIX_UNREACHABLE", "no next hop can be used"),
            };
            self.event(code, prefixes, message.to_owned(), now);
        }
        self.fold(now);
        self.due = self.groups.values().filter_map(Group::next_deadline).min();
        let base = self.base();
        self.adverts.update(base, now);
    }

    /// What can be told: the own LANs, and what is reached for others.
    fn base(&mut self) -> Base {
        let lit = self.lans.iter().filter(|(device, _)| !self.dark.contains(device));
        let own = lit.map(|(_, prefix)| Entry {
            prefix: *prefix,
            next_hop: None,
            via: vec![self.me],
            violates: false,
        });
        let mut entries: BTreeMap<Prefix, Entry> = BTreeMap::new();
        let mut too_long = 0;
        for group in self.groups.values().filter(|_| !self.leaf) {
            let Some(tunnel) = group.carried else { continue };
            let Some(edge) = self.hops.get(&tunnel).map(|hop| hop.edge) else { continue };
            let (violates, words) = (group.violates(&self.hops), self.words.get(&edge));
            for prefix in group.prefixes.iter().map(|prefix| (group.key.segment, *prefix)) {
                let way = words.and_then(|words| words.way(&prefix));
                let mut via = way.map_or_else(|| vec![edge], |way| way.via.clone());
                via.push(self.me);
                if via.len() > VIA_MAX {
                    too_long += 1;
                    continue;
                }
                let next_hop = Some(tunnel);
                entries.insert(prefix, Entry { prefix, next_hop, via, violates });
            }
        }
        entries.extend(own.map(|entry| (entry.prefix, entry)));
        if too_long > 0 {
            *self.counters.entry("reachability_way_too_long").or_default() += too_long;
        }
        Base { entries: entries.into_values().collect(), drained: self.drained }
    }

    fn advice_as_paths(&self) -> Option<Advice> {
        let advice = self.advice.as_ref()?;
        let avoided = self.hops.iter().filter(|(_, hop)| advice.avoid.contains(&hop.edge));
        Some(Advice {
            avoid: avoided.map(|(tunnel, _)| candidate(*tunnel)).collect(),
            until: advice.until,
            reason: advice.reason.clone(),
        })
    }

    fn touch_all(&mut self) {
        self.groups.values_mut().for_each(|group| group.dirty = true);
        self.dirty = true;
    }
}
