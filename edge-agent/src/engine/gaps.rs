//! Gaps in the sequence numbers of traffic, told to the peer once they have lasted.
//!
//! A probe may overtake packets that were sealed before it and wait to be sent, and packets may be reordered on the way: for
//! a moment they look lost, and a peer that heard of it could take a good path for a bad one. So a gap is told when it is
//! still there some time later.

use std::time::Duration;

use hawser_edge_core::time::Micros;

use crate::dataplane::EspEvidence;

/// Longer than a sealed packet waits in this host or the peer's, and than most reordering.
const SETTLE: Duration = Duration::from_millis(20);

/// One path's gaps.
#[derive(Debug, Clone, Default)]
pub struct Gaps {
    /// Missing packets as told; both count on and wrap.
    told: u32,
    /// The least that were missing since then: what may be told next.
    pending: Option<(u32, Micros)>,
}

impl Gaps {
    /// What may be told of the path now. Call it for each digest.
    pub fn settle(&mut self, seen: EspEvidence, now: Micros) -> EspEvidence {
        let missing = seen.expected.wrapping_sub(seen.received);
        if !is_above(missing, self.told) {
            // What had been told as missing came after all, or nothing is new.
            (self.told, self.pending) = (missing, None);
        } else {
            let (least, since) = self.pending.unwrap_or((missing, now));
            let least = if is_above(least, missing) { missing } else { least };
            self.pending = Some((least, since));
            if now.since(since) >= SETTLE {
                self.told = least;
                self.pending = is_above(missing, least).then_some((missing, now));
            }
        }
        EspEvidence { expected: seen.expected, received: seen.expected.wrapping_sub(self.told) }
    }
}

/// Of numbers that wrap.
fn is_above(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at (time in ms, expected, received) in turn; gives what was told as missing.
    fn told(looks: &[(u64, u32, u32)]) -> Vec<u32> {
        let mut gaps = Gaps::default();
        let missing = |&(ms, expected, received): &(u64, u32, u32)| {
            let told = gaps.settle(EspEvidence { expected, received }, Micros(ms * 1_000));
            assert_eq!(told.expected, expected);
            told.expected.wrapping_sub(told.received)
        };
        looks.iter().map(missing).collect()
    }

    #[test]
    fn a_gap_that_fills_is_never_told() {
        assert_eq!(told(&[(0, 100, 90), (5, 101, 101), (200, 150, 150)]), [0, 0, 0]);
        assert_eq!(told(&[(0, 100, 90), (30, 140, 140)]), [0, 0]);
    }

    #[test]
    fn a_gap_that_stays_is_told_at_the_next_look() {
        assert_eq!(
            told(&[(0, 100, 90), (5, 101, 91), (30, 140, 130), (99, 140, 130)]),
            [0, 0, 10, 10]
        );
    }

    #[test]
    fn steady_loss_is_told_one_look_late_and_nothing_of_it_twice() {
        let looks: Vec<_> = (0..6).map(|n| (n * 100, n as u32 * 20, n as u32 * 19)).collect();
        assert_eq!(told(&looks), [0, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_comes_later_than_told_is_taken_back() {
        assert_eq!(told(&[(0, 10, 8), (30, 20, 18), (60, 30, 29)]), [0, 2, 1]);
    }

    #[test]
    fn part_of_a_gap_may_fill() {
        assert_eq!(told(&[(0, 100, 90), (10, 110, 107), (30, 120, 112)]), [0, 0, 3]);
    }

    #[test]
    fn counts_wrap() {
        let near = u32::MAX - 1;
        let mut gaps = Gaps { told: near, pending: None };
        let seen = |received: u32| EspEvidence { expected: 5, received };
        // Missing: MAX - 1, then 1.
        assert_eq!(gaps.settle(seen(7), Micros(0)).received, 7);
        assert_eq!(gaps.settle(seen(4), Micros(1_000)).received, 7);
        assert_eq!(gaps.settle(seen(4), Micros(30_000)).received, 4);
    }
}
