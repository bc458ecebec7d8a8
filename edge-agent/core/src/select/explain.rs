//! Plain words: why it moved, why it stays.

use std::time::Duration;

use super::candidate::Candidate;
use super::selector::Wish;
use super::{CandidateEvidence, Cause, Choice, Decision, Selector};
use crate::id::PathId;
use crate::policy;
use crate::sla::SlaState;
use crate::time::Micros;

/// Why a class is where it is, and why nothing moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub selected: Option<PathId>,
    /// How long it has been there.
    pub since: Duration,
    /// Of the last move.
    pub cause: Option<Cause>,
    /// One sentence.
    pub summary: String,
    pub candidates: Vec<CandidateEvidence>,
    /// Better paths that must wait.
    pub held: Vec<Held>,
    /// Voluntary moves that may be made now.
    pub tokens_left: u32,
    /// Until there is one; zero if there is.
    pub next_token_in: Duration,
    /// Until a voluntary move may follow the last move.
    pub dwell_left: Duration,
}

/// A better path that is not taken yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub path: PathId,
    pub remaining: Duration,
    /// Plain words.
    pub because: String,
}

impl Selector {
    /// As of now.
    pub fn explain(&self, now: Micros) -> Explanation {
        let held = self.held(now);
        let name = |path| self.name(path);
        let summary = match (self.current, held.first()) {
            (None, _) => match self.last_way(now) {
                Some(last) => format!("every path is down; packets still go by {}", last.spec.name),
                None => "no path may carry this class".to_owned(),
            },
            (Some(path), Some(held)) => {
                let better = name(held.path);
                format!("on {}; {better} is better but waits: {}", name(path), held.because)
            }
            (Some(path), None) => format!("on {}: no path is better", name(path)),
        };
        Explanation {
            selected: self.current,
            since: now.since(self.last_move),
            cause: self.last_cause,
            summary,
            candidates: self.evidence(self.current, now),
            held,
            tokens_left: self.tokens.left(now),
            next_token_in: self.tokens.next_token(now).since(now),
            dwell_left: (self.last_move + self.policy.dwell).since(now),
        }
    }

    /// Voluntary moves that may be made now.
    pub fn tokens_left(&self, now: Micros) -> u32 {
        self.tokens.left(now)
    }

    /// Better paths that must wait.
    pub fn held_paths(&self, now: Micros) -> usize {
        self.held(now).len()
    }

    pub(super) fn decision(&self, wish: Wish, now: Micros) -> Decision {
        Decision {
            at: now,
            tunnel: self.policy.tunnel,
            class: self.policy.class,
            class_name: self.policy.class_name.clone(),
            from: self.current,
            to: wish.to,
            cause: wish.cause,
            summary: self.summary(wish, now),
            candidates: self.evidence(wish.to, now),
        }
    }

    pub(super) fn members_decision(&self, choice: &Choice, now: Micros) -> Decision {
        let (to, cause) = (self.current, Cause::Members);
        let wish = Wish { to, cause, not_before: now, needs_token: false, free_from: now };
        let named = |paths: &[PathId]| -> Vec<String> {
            paths.iter().map(|&path| self.name(path)).collect()
        };
        let (before, after) = (self.choice.paths(), choice.paths());
        let left: Vec<String> = before
            .iter()
            .filter(|path| !after.contains(path))
            .filter_map(|path| self.candidates.iter().find(|c| c.spec.path == *path))
            .map(|c| format!("{} is left: {}", c.spec.name, trouble(c)))
            .collect();
        let mut summary = match self.current {
            None if after.is_empty() => "carries on nothing: every path is down".to_owned(),
            None => format!("every path is down; packets still go by {}", named(&after).join(", ")),
            Some(_) => format!("carries on {}", named(&after).join(", ")),
        };
        if !left.is_empty() {
            summary = format!("{summary}; {}", left.join("; "));
        }
        Decision { summary, ..self.decision(wish, now) }
    }

    fn summary(&self, wish: Wish, now: Micros) -> String {
        let to = wish.to.map_or_else(|| "nothing".to_owned(), |path| self.name(path));
        let from = self.current.map_or_else(|| "nothing".to_owned(), |path| self.name(path));
        let why = match wish.cause {
            Cause::Start => "nothing was selected".to_owned(),
            Cause::PathDown => self.current_candidate().map(trouble).unwrap_or_default(),
            Cause::SlaViolated => self.current_candidate().map(trouble).unwrap_or_default(),
            Cause::FailBack | Cause::BetterPath => self.advantage(wish.to, now),
            Cause::Config => "the configuration changed".to_owned(),
            Cause::NoneLeft if self.policy.drop_when_none_meets => {
                "no path meets the SLA, and the class is dropped then".to_owned()
            }
            Cause::NoneLeft => match self.last_way(now) {
                Some(last) => format!("every path is down; packets still go by {}", last.spec.name),
                None => "every path is down".to_owned(),
            },
            Cause::Members => String::new(),
        };
        match self.current {
            None => format!("starts on {to}: {why}"),
            Some(_) => format!("moves from {from} to {to}: {why}"),
        }
    }

    /// What speaks for a voluntary move.
    fn advantage(&self, to: Option<PathId>, now: Micros) -> String {
        let target = self.candidates.iter().find(|c| Some(c.spec.path) == to);
        let (Some(to), Some(current)) = (target, self.current_candidate()) else {
            return String::new();
        };
        let met = to.meets_since.map_or(0, |since| now.since(since).as_secs());
        let (ours, theirs) = (to.standing(&self.policy), current.standing(&self.policy));
        if theirs.drained && !ours.drained {
            "an uplink of the present path is drained".to_owned()
        } else if ours.usage < theirs.usage {
            format!("the present path is for need only, and it has met the SLA for {met} s")
        } else if theirs.advised_against && !ours.advised_against {
            let reason = self.advice.as_ref().map_or("", |a| a.reason.as_str());
            format!("the controller advises against the present path ({reason})")
        } else if theirs.not_peers_choice && !ours.not_peers_choice {
            "the peer has chosen it".to_owned()
        } else if ours.preference < theirs.preference {
            format!("its uplinks are preferred, and it has met the SLA for {met} s")
        } else if ours.cost < theirs.cost {
            format!("it costs less, and it has met the SLA for {met} s")
        } else {
            format!("it is faster: {} against {}", rtt(to), rtt(current))
        }
    }

    pub(super) fn evidence(&self, chosen: Option<PathId>, now: Micros) -> Vec<CandidateEvidence> {
        let winner = self.candidates.iter().find(|c| Some(c.spec.path) == chosen);
        let evidence = |c: &Candidate| CandidateEvidence {
            path: c.spec.path,
            name: c.spec.name.clone(),
            chosen: Some(c.spec.path) == chosen,
            state: c.state(),
            connecting: c.health.connecting,
            refused_because: match winner {
                Some(winner) if winner.spec.path == c.spec.path => String::new(),
                _ => self.refusal(c, winner, now),
            },
            figures: c.health.figures,
            crossed: c.health.crossed,
        };
        self.candidates.iter().map(evidence).collect()
    }

    fn refusal(&self, c: &Candidate, winner: Option<&Candidate>, now: Micros) -> String {
        if c.state() != SlaState::Meets {
            return trouble(c);
        }
        let Some(winner) = winner else { return "it may not carry this class".to_owned() };
        if let Some(left) = self.current_candidate()
            && left.state() != SlaState::Meets
            && c.shares_with(&left.spec) > winner.shares_with(&left.spec)
        {
            return "it shares an uplink with the path that is left".to_owned();
        }
        let (ours, theirs) = (c.standing(&self.policy), winner.standing(&self.policy));
        if c.unproven(&self.policy, now) || ours < theirs {
            let left = c.proven_at(&self.policy).map_or(0, |at| at.since(now).as_millis());
            let left = left.div_ceil(1_000);
            if left > 0 {
                let flaps = match c.flaps() {
                    0 => String::new(),
                    n => format!(", doubled {n} times for flapping"),
                };
                return format!("must meet the SLA for another {left} s{flaps}");
            }
            if ours < theirs {
                return "it is better, but voluntary moves must wait".to_owned();
            }
        }
        if ours.drained && !theirs.drained {
            return "an uplink of it is drained".to_owned();
        }
        if ours.usage > theirs.usage {
            return "its uplink is for need only".to_owned();
        }
        if ours.advised_against && !theirs.advised_against {
            let reason = self.advice.as_ref().map_or("", |a| a.reason.as_str());
            return format!("the controller advises against it ({reason})");
        }
        if ours.not_peers_choice && !theirs.not_peers_choice {
            return "the peer has chosen the other".to_owned();
        }
        if ours.preference > theirs.preference {
            return "its uplinks are less preferred".to_owned();
        }
        if ours.cost > theirs.cost {
            return format!("it costs more ({} against {})", c.spec.cost, winner.spec.cost);
        }
        if winner.faster_than(c) {
            return format!("it is slower: {} against {}", rtt(c), rtt(winner));
        }
        format!("it is no better: {} against {}", rtt(c), rtt(winner))
    }

    fn held(&self, now: Micros) -> Vec<Held> {
        let wishes = self.wishes(now);
        let held = wishes.into_iter().filter_map(|wish| {
            let path = wish.to?;
            let until = wish.at(&self.tokens, now);
            let remaining = until.since(now);
            if remaining.is_zero() {
                return None;
            }
            let candidate = self.candidates.iter().find(|c| c.spec.path == path)?;
            let seconds = remaining.as_millis().div_ceil(1_000);
            let proven = candidate.proven_at(&self.policy).unwrap_or(now);
            let because = if until > wish.not_before && until == wish.free_from {
                format!("it failed lately, and must meet the SLA for another {seconds} s")
            } else if until > wish.not_before {
                format!("the budget of voluntary moves is spent for another {seconds} s")
            } else if proven >= until {
                format!("it must meet the SLA for another {seconds} s")
            } else if self.last_move + self.policy.dwell >= until {
                format!("the last move was too recent, for another {seconds} s")
            } else {
                let hold = policy::BETTER_HOLD.as_secs();
                format!("it must stay faster for {hold} s, for another {seconds} s")
            };
            Some(Held { path, remaining, because })
        });
        held.collect()
    }

    fn name(&self, path: PathId) -> String {
        let found = self.candidates.iter().find(|c| c.spec.path == path);
        found.map_or_else(|| format!("path {path}"), |c| c.spec.name.clone())
    }
}

/// What is wrong with it; "meets its SLA" if nothing is.
fn trouble(c: &Candidate) -> String {
    if !c.carrier {
        return "its uplink has no carrier".to_owned();
    }
    if !c.available && !c.why_not.is_empty() {
        return c.why_not.to_owned();
    }
    if !c.available {
        return "not available: it has no keys or no endpoint, or is drained".to_owned();
    }
    if c.health.connecting {
        return "no probe has been answered yet".to_owned();
    }
    match c.state() {
        SlaState::Down => "it is down: probes are not answered".to_owned(),
        SlaState::Recovering => "it answers again, but has not proven itself yet".to_owned(),
        SlaState::Violates => {
            let limits: Vec<String> = c.health.crossed.iter().map(|l| l.to_string()).collect();
            format!("it violates its SLA: {}", limits.join(", "))
        }
        SlaState::Meets => "it meets its SLA".to_owned(),
    }
}

fn rtt(c: &Candidate) -> String {
    let us = c.health.figures.rtt_us;
    format!("{}.{} ms", us / 1_000, us % 1_000 / 100)
}
