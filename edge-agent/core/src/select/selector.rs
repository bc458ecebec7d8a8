//! The state machine.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::candidate::{Candidate, Rank};
use super::{Advice, CandidateSpec, Cause, Choice, ClassPolicy, Decision};
use crate::bucket::TokenBucket;
use crate::config::ClassMode;
use crate::id::{PathId, UplinkId};
use crate::policy;
use crate::sla::{PathHealth, SlaState};
use crate::time::Micros;

/// Chooses the path of one class of one tunnel.
#[derive(Debug, Clone)]
pub struct Selector {
    pub(super) policy: ClassPolicy,
    /// In the order of their path IDs.
    pub(super) candidates: Vec<Candidate>,
    pub(super) current: Option<PathId>,
    pub(super) last_cause: Option<Cause>,
    pub(super) last_move: Micros,
    /// Until then a better path needs no proof. Set by the first selection.
    grace_until: Option<Micros>,
    pub(super) tokens: TokenBucket,
    pub(super) advice: Option<Advice>,
    /// Uplinks without carrier.
    down_uplinks: BTreeSet<UplinkId>,
    peer_choice: Option<PathId>,
    config_changed: bool,
    polled: Micros,
    pub(super) choice: Choice,
}

/// A move that should be made, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) to: Option<PathId>,
    pub(super) cause: Cause,
    pub(super) not_before: Micros,
    pub(super) needs_token: bool,
    /// A move that needs a token needs none from then on.
    pub(super) free_from: Micros,
}

impl Wish {
    /// When it can be carried out, as things stand.
    pub(super) fn at(&self, tokens: &TokenBucket, now: Micros) -> Micros {
        let paid = if self.needs_token { tokens.next_token(now).min(self.free_from) } else { now };
        self.not_before.max(paid)
    }
}

impl Selector {
    /// Nothing is selected, and no path is available, until the inputs say so.
    pub fn new(policy: ClassPolicy, candidates: Vec<CandidateSpec>, now: Micros) -> Self {
        let mut selector = Selector {
            policy,
            candidates: Vec::new(),
            current: None,
            last_cause: None,
            last_move: now,
            grace_until: None,
            tokens: TokenBucket::new(policy::MOVE_TOKENS, policy::MOVE_TOKEN_REFILL, now),
            advice: None,
            down_uplinks: BTreeSet::new(),
            peer_choice: None,
            config_changed: false,
            polled: now,
            choice: Choice::Nothing,
        };
        selector.replace(candidates);
        selector
    }

    /// Takes over a selection that was made elsewhere: nothing is decided.
    pub fn start_on(&mut self, path: PathId, now: Micros) {
        if let Some(candidate) = self.candidates.iter_mut().find(|c| c.spec.path == path) {
            candidate.take(now);
            (self.current, self.last_cause, self.last_move) = (Some(path), Some(Cause::Start), now);
            // It has stood for a while: what is better must prove itself.
            self.grace_until.get_or_insert(now);
            self.choice = self.choose(now);
        }
    }

    /// The path that carries the class.
    pub fn selected(&self) -> Option<PathId> {
        self.current
    }

    /// What it was told to do.
    pub fn policy(&self) -> &ClassPolicy {
        &self.policy
    }

    /// A new configuration. Candidates that stay keep their record.
    pub fn set_config(&mut self, policy: ClassPolicy, candidates: Vec<CandidateSpec>) {
        let specs: Vec<&CandidateSpec> = self.candidates.iter().map(|c| &c.spec).collect();
        let mut sorted: Vec<&CandidateSpec> = candidates.iter().collect();
        sorted.sort_by_key(|spec| spec.path);
        self.config_changed |= policy != self.policy || specs != sorted;
        self.policy = policy;
        self.replace(candidates);
    }

    /// The path's health for this class.
    pub fn handle_quality(&mut self, path: PathId, health: &PathHealth, now: Micros) {
        self.update(path, now, |candidate| candidate.health = *health);
    }

    /// Whether the path may be used at all: it has keys and an endpoint, and is not drained.
    pub fn handle_path_admin(&mut self, path: PathId, available: bool, now: Micros) {
        self.update(path, now, |candidate| {
            (candidate.available, candidate.why_not) = (available, "");
            candidate.withdrawn = false;
        });
    }

    /// The path may not be used. `why_not`: for people.
    pub fn handle_unavailable(&mut self, path: PathId, why_not: &'static str, now: Micros) {
        self.update(path, now, |candidate| {
            (candidate.available, candidate.why_not) = (false, why_not);
            candidate.withdrawn = false;
        });
    }

    /// Not both ends want the path any more, though it works: leaving it is no fault.
    pub fn handle_withdrawn(&mut self, path: PathId, why_not: &'static str, now: Micros) {
        self.update(path, now, |candidate| {
            (candidate.available, candidate.why_not) = (false, why_not);
            candidate.withdrawn = true;
        });
    }

    /// The uplink's carrier. It is taken to be there until said otherwise.
    pub fn handle_carrier(&mut self, uplink: UplinkId, up: bool, now: Micros) {
        if up {
            self.down_uplinks.remove(&uplink);
        } else if self.candidates.iter().any(|c| c.spec.local_uplink == uplink) {
            self.down_uplinks.insert(uplink);
        }
        for candidate in self.candidates.iter_mut().filter(|c| c.spec.local_uplink == uplink) {
            candidate.carrier = up;
            candidate.refresh(&self.policy, now);
        }
    }

    /// Replaces the advice. `None`, or once it has run out: there is none.
    pub fn handle_advice(&mut self, advice: Option<Advice>, now: Micros) {
        self.advice = advice.map(|mut advice| {
            advice.until = advice.until.min(now + policy::ADVICE_MAX);
            while advice.avoid.len() > policy::ADVICE_PATHS_MAX {
                advice.avoid.pop_last();
            }
            advice
        });
    }

    /// What the peer sends this class on; followed only if the policy says so.
    pub fn handle_peer_choice(&mut self, path: Option<PathId>) {
        self.peer_choice = path;
    }

    /// The next decision, if one is due. Call it after each input and at the deadline, until it gives none.
    pub fn poll(&mut self, now: Micros) -> Option<Decision> {
        self.refresh(now);
        let wish = self.wish(now).filter(|wish| wish.not_before <= now);
        self.config_changed = false;
        let free = |wish: &Wish| !wish.needs_token || wish.free_from <= now;
        match wish.filter(|wish| free(wish) || self.tokens.take(now)) {
            Some(wish) => Some(self.carry_out(wish, now)),
            None => self.change_members(now),
        }
    }

    /// The path stays, but what carries beside it changed.
    fn change_members(&mut self, now: Micros) -> Option<Decision> {
        let choice = self.choose(now);
        if choice == self.choice {
            return None;
        }
        let decision = self.members_decision(&choice, now);
        self.choice = choice;
        Some(decision)
    }

    /// When to poll next if nothing comes in: always after the last poll.
    pub fn next_deadline(&self) -> Option<Micros> {
        let now = self.polled;
        let advice = self.advice.as_ref().map(|a| a.until);
        // A balanced class takes a path back when it has proven itself.
        let balanced = matches!(self.policy.mode, ClassMode::Balance(_));
        let proven = self.candidates.iter().filter(|_| balanced);
        let proven = proven.filter_map(|c| c.proven_at(&self.policy));
        let wishes = self.wishes(now).into_iter().map(|wish| wish.at(&self.tokens, now));
        wishes.chain(advice).chain(proven).filter(|&at| at > now).min()
    }

    /// The path that would be taken next: it should be probed as fast as the present one. The best that shares neither
    /// uplink with it, or else one, or else both.
    pub fn standby(&self) -> Option<PathId> {
        let current = self.current_candidate();
        let shared = |c: &Candidate| current.map_or(0, |cur| c.shares_with(&cur.spec));
        self.candidates
            .iter()
            .filter(|c| Some(c.spec.path) != self.current && c.available && c.carrier)
            .min_by_key(|c| {
                (c.state() >= SlaState::Recovering, shared(c), self.rank(c, self.polled))
            })
            .map(|c| c.spec.path)
    }

    pub(super) fn rank(&self, candidate: &Candidate, now: Micros) -> Rank {
        let shares = match self.current_candidate() {
            Some(current) if current.state() != SlaState::Meets => {
                candidate.shares_with(&current.spec)
            }
            _ => 0,
        };
        candidate.rank(&self.policy, shares, now)
    }

    pub(super) fn current_candidate(&self) -> Option<&Candidate> {
        let current = self.current?;
        self.candidates.iter().find(|c| c.spec.path == current)
    }

    /// The moves that should be made, now or later, the most urgent first.
    pub(super) fn wishes(&self, now: Micros) -> Vec<Wish> {
        let best = self.best(now);
        let Some(current) = self.current_candidate() else {
            let cause = if self.current.is_some() { Cause::Config } else { Cause::Start };
            return match best {
                Some(best) => vec![at_once(Some(best.spec.path), cause)],
                None if self.current.is_some() => vec![at_once(None, Cause::NoneLeft)],
                None => Vec::new(),
            };
        };
        let Some(best) = best else {
            return vec![at_once(None, Cause::NoneLeft)];
        };
        let to = Some(best.spec.path);
        if current.withdrawn {
            return vec![at_once(to, Cause::Config)];
        }
        match current.state() {
            SlaState::Down | SlaState::Recovering if best.state() < current.state() => {
                vec![at_once(to, Cause::PathDown)]
            }
            SlaState::Violates if best.state() < SlaState::Violates => {
                vec![Wish {
                    to,
                    cause: Cause::SlaViolated,
                    not_before: self.last_move + self.policy.dwell.min(policy::SLA_DWELL_MAX),
                    // Two paths that fail in turn must not make a flap of each turn, nor must traffic stay where it suffers
                    // for as long as a hold may take.
                    needs_token: best.unproven(&self.policy, now),
                    free_from: best.meets_since.unwrap_or(now) + policy::SLA_PROOF,
                }]
            }
            _ => self.voluntary(current, now),
        }
    }

    fn wish(&self, now: Micros) -> Option<Wish> {
        let wishes = self.wishes(now);
        wishes.iter().find(|wish| wish.not_before <= now).or(wishes.first()).copied()
    }

    /// The best candidate that may carry the class.
    fn best(&self, now: Micros) -> Option<&Candidate> {
        let least =
            if self.policy.drop_when_none_meets { SlaState::Meets } else { SlaState::Recovering };
        self.candidates.iter().filter(|c| c.state() <= least).min_by_key(|c| self.rank(c, now))
    }

    /// Moves from a path with which nothing is wrong, or no more than with the others.
    fn voluntary(&self, current: &Candidate, now: Micros) -> Vec<Wish> {
        let mut better: Vec<&Candidate> = self
            .candidates
            .iter()
            .filter(|c| c.spec.path != current.spec.path && c.state() == current.state())
            .collect();
        better.sort_by_key(|c| self.rank(c, now));
        better.into_iter().filter_map(|c| self.voluntary_to(c, current, now)).collect()
    }

    fn voluntary_to(&self, to: &Candidate, current: &Candidate, now: Micros) -> Option<Wish> {
        let wish = |cause, not_before, needs_token| {
            let free_from = Micros(u64::MAX);
            Some(Wish { to: Some(to.spec.path), cause, not_before, needs_token, free_from })
        };
        let dwelt = self.last_move + self.policy.dwell;
        let (ours, theirs) = (to.standing(&self.policy), current.standing(&self.policy));
        let follows = ours.advised_against == theirs.advised_against
            && theirs.not_peers_choice
            && !ours.not_peers_choice;
        if current.state() != SlaState::Meets {
            let severity = |c: &Candidate| c.health.crossed.severity();
            return match severity(to).cmp(&severity(current)) {
                _ if to.state() != SlaState::Violates => None,
                Ordering::Less => wish(Cause::SlaViolated, dwelt, true),
                Ordering::Equal if follows => wish(Cause::BetterPath, now, false),
                _ => None,
            };
        }
        if ours < theirs {
            let free = !to.unproven(&self.policy, now);
            if free && self.config_changed {
                return wish(Cause::Config, now, false);
            }
            // The peer's own bucket bounds its moves; following it costs none of ours.
            if free && (follows || self.in_start_grace(now)) {
                return wish(Cause::BetterPath, now, false);
            }
            let cause = if to.taken { Cause::FailBack } else { Cause::BetterPath };
            return wish(cause, dwelt.max(to.proven_at(&self.policy)?), true);
        }
        if ours == theirs {
            let lasted = to.faster_since? + policy::BETTER_HOLD.max(to.hold(&self.policy));
            return wish(Cause::BetterPath, dwelt.max(lasted), true);
        }
        None
    }

    fn in_start_grace(&self, now: Micros) -> bool {
        // A fault ends it: from then on a path must prove itself.
        let faultless = matches!(self.last_cause, Some(Cause::Start | Cause::BetterPath));
        faultless && self.grace_until.is_some_and(|until| now < until)
    }

    fn carry_out(&mut self, wish: Wish, now: Micros) -> Decision {
        let decision = self.decision(wish, now);
        let fault = matches!(wish.cause, Cause::PathDown | Cause::SlaViolated | Cause::NoneLeft);
        let left = self.current_candidate().filter(|_| fault).map(|c| c.spec.clone());
        for candidate in &mut self.candidates {
            let path = Some(candidate.spec.path);
            if path == self.current && fault {
                candidate.left_for_fault(&self.policy, now);
            }
            if left.as_ref().is_some_and(|left| candidate.shares_with(left) > 0) {
                candidate.doubt(now);
            }
            if path == wish.to {
                candidate.take(now);
            }
            candidate.faster_since = None;
        }
        if wish.to.is_some() {
            self.grace_until.get_or_insert(now + policy::START_GRACE);
        }
        self.current = wish.to;
        self.last_cause = Some(wish.cause);
        self.last_move = now;
        self.choice = self.choose(now);
        decision
    }

    fn refresh(&mut self, now: Micros) {
        self.polled = self.polled.max(now);
        if self.advice.as_ref().is_some_and(|a| now >= a.until) {
            self.advice = None;
        }
        let current = self.current_candidate().cloned();
        for candidate in &mut self.candidates {
            let path = candidate.spec.path;
            candidate.advised_against =
                self.advice.as_ref().is_some_and(|a| a.avoid.contains(&path));
            candidate.peers_choice = self.peer_choice == Some(path);
            candidate.refresh(&self.policy, now);
            let faster = candidate.state() == SlaState::Meets
                && current.as_ref().is_some_and(|current| candidate.faster_than(current));
            if faster {
                candidate.faster_since.get_or_insert(now);
            } else {
                candidate.faster_since = None;
            }
        }
    }

    fn replace(&mut self, specs: Vec<CandidateSpec>) {
        let mut old = std::mem::take(&mut self.candidates);
        let mut specs = specs;
        specs.sort_by_key(|spec| spec.path);
        specs.dedup_by_key(|spec| spec.path);
        specs.truncate(policy::CANDIDATES_MAX);
        for spec in specs {
            let kept = old.iter().position(|c| c.spec.path == spec.path);
            let carrier = !self.down_uplinks.contains(&spec.local_uplink);
            self.candidates.push(match kept {
                Some(index) => old.swap_remove(index).with_spec(spec, carrier),
                None => Candidate::new(spec, carrier),
            });
        }
        let uplinks: BTreeSet<UplinkId> =
            self.candidates.iter().map(|c| c.spec.local_uplink).collect();
        self.down_uplinks.retain(|uplink| uplinks.contains(uplink));
    }

    fn update(&mut self, path: PathId, now: Micros, change: impl FnOnce(&mut Candidate)) {
        if let Some(candidate) = self.candidates.iter_mut().find(|c| c.spec.path == path) {
            change(candidate);
            candidate.refresh(&self.policy, now);
        }
    }
}

fn at_once(to: Option<PathId>, cause: Cause) -> Wish {
    Wish { to, cause, not_before: Micros(0), needs_token: false, free_from: Micros(0) }
}
