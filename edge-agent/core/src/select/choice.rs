//! What carries a class, beyond its first path: the spread of a balanced class, the second copy of a duplicated one; and
//! what carries it when no path is known to work.

use super::candidate::Candidate;
use super::{Choice, Selector};
use crate::config::{ClassMode, UplinkUse};
use crate::id::PathId;
use crate::sla::SlaState;
use crate::time::Micros;

impl Selector {
    /// How the data plane carries the class, as of the last [`poll`](Self::poll).
    pub fn choice(&self) -> Choice {
        self.choice.clone()
    }

    /// What the mode makes of the selected path.
    pub(super) fn choose(&self, now: Micros) -> Choice {
        let Some(current) = self.current_candidate() else {
            return self.last_way(now).map_or(Choice::Nothing, |c| Choice::Path(c.spec.path));
        };
        match self.policy.mode {
            ClassMode::Best => Choice::Path(current.spec.path),
            ClassMode::Balance(_) => self.spread(current, now),
            ClassMode::Duplicate => match self.second(current, now) {
                Some(second) => Choice::Both(current.spec.path, second),
                None => Choice::Path(current.spec.path),
            },
        }
    }

    /// Silence on every path at once may be the peer's agent that is gone, while its kernel goes on forwarding; and where
    /// nothing works, sending costs nothing. So what carried the class last goes on, as long as nothing but silence speaks
    /// against it. It is not selected: the tunnel is down, and another origin of a prefix is taken if there is one.
    pub(super) fn last_way(&self, now: Micros) -> Option<&Candidate> {
        if self.policy.drop_when_none_meets {
            return None;
        }
        let silent = |c: &&Candidate| c.available && c.carrier && !c.health.connecting;
        let last = self.current.or_else(|| self.choice.paths().first().copied());
        let stays = self.candidates.iter().filter(silent).find(|c| Some(c.spec.path) == last);
        stays.or_else(|| self.candidates.iter().filter(silent).min_by_key(|c| self.rank(c, now)))
    }

    /// Every path that does as well as the selected one. One that failed comes back when it has proven itself.
    fn spread(&self, current: &Candidate, now: Micros) -> Choice {
        let member = |c: &&Candidate| {
            c.spec.path == current.spec.path
                || c.state() == SlaState::Meets
                    && current.state() == SlaState::Meets
                    && !c.unproven(&self.policy, now)
                    && !c.advised_against
                    && !c.spec.drained
                    && (c.spec.usage == UplinkUse::Normal || c.spec.usage == current.spec.usage)
        };
        let members = self.candidates.iter().filter(member);
        let weighted: Vec<(PathId, u32)> =
            members.map(|c| (c.spec.path, c.spec.weight.max(1))).collect();
        match weighted.as_slice() {
            [only] => Choice::Path(only.0),
            _ => Choice::Spread(weighted),
        }
    }

    /// The best path that shares no uplink with the selected one. It stays while it is as good as any, so that the
    /// second copy does not wander.
    fn second(&self, current: &Candidate, now: Micros) -> Option<PathId> {
        let able =
            |c: &&Candidate| c.shares_with(&current.spec) == 0 && c.state() <= SlaState::Violates;
        let best = self.candidates.iter().filter(able).min_by_key(|c| self.rank(c, now))?;
        let before = match self.choice {
            Choice::Both(_, second) => {
                self.candidates.iter().filter(able).find(|c| c.spec.path == second)
            }
            _ => None,
        };
        let stays = before.filter(|c| c.state() <= best.state());
        Some(stays.unwrap_or(best).spec.path)
    }
}
