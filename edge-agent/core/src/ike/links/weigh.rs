//! What is known of each link, by all witnesses, for the selector.

use super::Links;
use super::candidate::Candidate;
use super::warm::Warm;
use crate::ike::State;
use crate::sla::{PathHealth, SlaState};
use crate::time::Micros;

impl Links {
    /// Hands the selector what is known of each link.
    pub(super) fn feed(&mut self, now: Micros) {
        if self.adopted_until.is_some_and(|until| now >= until || self.ike != State::Connecting) {
            self.adopted_until = None;
        }
        let standby = self.selector.standby();
        for candidate in &mut self.candidates {
            let in_use = Some(candidate.id) == self.held;
            let next = Some(candidate.id) == standby;
            if candidate.advance(in_use, next, now) {
                self.trial.absolve(candidate.id);
            }
        }
        self.inside.advance(now);
        if let Some(held) = self.held {
            let others = self.candidates.iter().filter(|c| c.local.is_some()).map(|c| c.id);
            self.trial.judge(held, others, now);
        }
        self.choose_spare(now);
        let waits = self.waits_for_spares();
        for candidate in &self.candidates {
            let is_ready = |warm: &Warm| warm.ike(candidate.id) == State::Up;
            let why_not = match candidate.local {
                None => "its uplink has no address of the gateway's family",
                Some(_) if self.trial.failed(candidate.id, now) => "IKE did not come up over it",
                Some(_)
                    if waits
                        && self.held != Some(candidate.id)
                        && !self.warm.as_ref().is_some_and(is_ready) =>
                {
                    "its association is not up"
                }
                Some(_) => "",
            };
            if why_not.is_empty() {
                self.selector.handle_path_admin(candidate.id, true, now);
            } else {
                self.selector.handle_unavailable(candidate.id, why_not, now);
            }
            let health = self.health(candidate);
            self.selector.handle_quality(candidate.id, &health, now);
        }
    }

    /// While a warm tunnel is well where it is, it is not moved to where it would have to be negotiated.
    fn waits_for_spares(&self) -> bool {
        let held = self.candidates.iter().find(|c| Some(c.id) == self.held);
        self.warm.is_some()
            && self.ike == State::Up
            && held.is_some_and(|held| self.health(held).state == SlaState::Meets)
    }

    fn choose_spare(&mut self, now: Micros) {
        let (Some(held), true, true) = (self.held, self.settled, self.warm.is_some()) else {
            return;
        };
        let shared = |c: &Candidate| {
            self.candidates.iter().any(|other| other.id == held && other.uplink == c.uplink)
        };
        let others = self.candidates.iter().filter(|c| c.id != held && c.local.is_some());
        let others = others.filter(|c| !self.trial.failed(c.id, now));
        let ranked: Vec<_> = others
            .map(|c| ((!c.is_heard(), c.health().state >= SlaState::Recovering, shared(c)), c.id))
            .map(|(rank, id)| ((rank, id), id))
            .collect();
        if let Some(warm) = &mut self.warm {
            warm.choose(ranked.into_iter(), now);
        }
    }

    pub(super) fn health(&self, candidate: &Candidate) -> PathHealth {
        let in_use = self.held == Some(candidate.id);
        let outside = candidate.health();
        let inside = if in_use { self.inside.health() } else { None };
        if !candidate.is_heard() && self.settled {
            if let Some(inside) = inside {
                return inside;
            }
            // It may be good for all that is known. But nothing that works is left for it.
            let proven = self.ike == State::Up || in_use && self.adopted_until.is_some();
            let answers = self.candidates.iter().any(|c| c.health().state <= SlaState::Recovering);
            if in_use && proven || !answers && !proven {
                return PathHealth { state: SlaState::Meets, connecting: !proven, ..outside };
            }
        }
        match inside {
            // What traffic sees says more than what is on its way.
            Some(inside) if inside.state >= outside.state => inside,
            _ => outside,
        }
    }
}
