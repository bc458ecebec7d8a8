//! What carries a class, beyond its first path: the spread of a balanced class, the second copy of a duplicated one.

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
        let Some(current) = self.current_candidate() else { return Choice::Nothing };
        match self.policy.mode {
            ClassMode::Best => Choice::Path(current.spec.path),
            ClassMode::Balance(_) => self.spread(current, now),
            ClassMode::Duplicate => match self.second(current, now) {
                Some(second) => Choice::Both(current.spec.path, second),
                None => Choice::Path(current.spec.path),
            },
        }
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
