//! The second association of a warm tunnel: which link has it, and what IKE says of each link's.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::PathId;
use crate::ike::State;
use crate::time::Micros;

/// A spare link costs a negotiation too: it stays for so long, though a better one may be there.
const SPARE_HOLD: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Warm {
    spare: Option<PathId>,
    since: Micros,
    ike: BTreeMap<PathId, State>,
}

impl Warm {
    pub(super) fn spare(&self) -> Option<PathId> {
        self.spare
    }

    /// What IKE says of this link's association; [`State::Connecting`], if it has none.
    pub(super) fn ike(&self, link: PathId) -> State {
        self.ike.get(&link).copied().unwrap_or_default()
    }

    pub(super) fn handle_ike(&mut self, link: PathId, state: State) {
        self.ike.insert(link, state);
    }

    /// What charon has already, from an agent before this one.
    pub(super) fn start_on(&mut self, link: PathId, now: Micros) {
        (self.spare, self.since) = (Some(link), now);
    }

    /// The link that was left has the spare association from now on: the way back is ready as soon as it works again.
    pub(super) fn moved(&mut self, left: Option<PathId>, taken: PathId, now: Micros) {
        if left.is_some() {
            (self.spare, self.since) = (left, now);
        } else if self.spare == Some(taken) {
            self.spare = None;
        }
    }

    /// `ranked`: the other links that may be used, each with its rank, the least the best.
    pub(super) fn choose<R: Ord>(
        &mut self,
        ranked: impl Iterator<Item = (R, PathId)>,
        now: Micros,
    ) {
        let ranked: Vec<(R, PathId)> = ranked.collect();
        let is_there = |link| ranked.iter().any(|(_, other)| *other == link);
        if self.spare.is_some_and(is_there) && now < self.since + SPARE_HOLD {
            return;
        }
        let best = ranked.iter().min().map(|(_, link)| *link);
        if best.is_some() && best != self.spare {
            (self.spare, self.since) = (best, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PathId = PathId(1);
    const B: PathId = PathId(2);
    const C: PathId = PathId(3);

    #[test]
    fn the_best_of_the_others_is_kept_warm_and_is_not_changed_within_half_a_minute() {
        let mut warm = Warm::default();
        let at = |s: u64| Micros(s * 1_000_000);
        warm.choose([(2, B), (1, C)].into_iter(), at(1));
        assert_eq!(warm.spare(), Some(C));
        warm.choose([(0, B), (1, C)].into_iter(), at(30));
        assert_eq!(warm.spare(), Some(C), "half a minute is not over");
        warm.choose([(0, B), (1, C)].into_iter(), at(31));
        assert_eq!(warm.spare(), Some(B));
        warm.choose([(1, C)].into_iter(), at(32));
        assert_eq!(warm.spare(), Some(C), "the other can't be used any more");
        warm.choose(std::iter::empty::<(u8, PathId)>(), at(90));
        assert_eq!(warm.spare(), Some(C), "nothing better is known");
    }

    #[test]
    fn a_link_that_was_left_is_the_next_spare() {
        let mut warm = Warm::default();
        warm.start_on(B, Micros(0));
        warm.handle_ike(B, State::Up);
        warm.moved(Some(A), B, Micros(5));
        assert_eq!(
            (warm.spare(), warm.ike(B), warm.ike(A)),
            (Some(A), State::Up, State::Connecting)
        );
        let mut fresh = Warm::default();
        fresh.start_on(A, Micros(0));
        fresh.moved(None, A, Micros(1));
        assert_eq!(fresh.spare(), None, "it is not its own spare");
    }
}
