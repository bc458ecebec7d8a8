use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// The window as RFC 4303 says it, without any ring or bit.
struct Naive {
    size: u64,
    highest: u64,
    seen: BTreeSet<u64>,
}

impl Naive {
    fn verdict(&self, seq: u64) -> Result<bool, DropReason> {
        match seq {
            0 => Err(DropReason::ZeroSequence),
            seq if seq + self.size <= self.highest => Err(DropReason::TooOld),
            seq if self.seen.contains(&seq) => Err(DropReason::Replayed),
            seq => Ok(seq > self.highest),
        }
    }

    fn commit(&mut self, seq: u64) {
        self.seen.insert(seq);
        self.highest = self.highest.max(seq);
    }
}

fn committed(size: u32, seqs: &[u64]) -> ReplayWindow {
    let mut window = ReplayWindow::new(size, true).unwrap();
    for seq in seqs {
        window.commit(*seq).unwrap();
    }
    window
}

#[test]
fn only_sizes_from_64_to_4096_make_a_window() {
    for (size, ok) in [(0, false), (63, false), (64, true), (100, true), (4096, true)] {
        assert_eq!(ReplayWindow::new(size, true).is_some(), ok, "{size}");
    }
    assert!(ReplayWindow::new(4097, false).is_none());
}

#[test]
fn both_ends_of_the_window_are_exact() {
    let window = committed(64, &[1000]);
    assert_eq!(window.check(937), Ok(937));
    assert_eq!(window.clone().commit(936), Err(DropReason::TooOld));
    assert_eq!(window.check(1000), Err(DropReason::Replayed));
    assert_eq!(window.check(1001), Ok(1001));
}

#[test]
fn without_esn_an_old_number_is_too_old_and_nothing_is_inferred() {
    let mut window = ReplayWindow::new(64, false).unwrap();
    window.commit(u64::from(u32::MAX)).unwrap();
    assert_eq!(window.check(1), Err(DropReason::TooOld));
    assert_eq!(window.check(u32::MAX - 63), Ok(u64::from(u32::MAX) - 63));
    assert_eq!(window.check(0), Err(DropReason::ZeroSequence));
}

#[test]
fn esn_inference_follows_the_cases_of_rfc_4303_appendix_a2() {
    let two32 = 1_u64 << 32;
    for (highest, low, expected) in [
        // Case A: the window lies within one subspace.
        (two32 + 1000, 937, Ok(two32 + 937)),
        (two32 + 1000, 936, Ok(2 * two32 + 936)),
        (two32 + 1000, u32::MAX, Ok(2 * two32 - 1)),
        (two32 - 1, 0, Ok(two32)),
        (two32 - 1, u32::MAX, Err(DropReason::Replayed)),
        // Case B: the window spans two subspaces.
        (two32 + 10, u32::MAX, Ok(two32 - 1)),
        (two32 + 10, u32::MAX - 52, Ok(two32 - 53)),
        (two32 + 10, u32::MAX - 53, Ok(2 * two32 - 54)),
        (two32 + 10, 9, Ok(two32 + 9)),
        // There is nothing before the first subspace, nor after the last.
        (10, u32::MAX, Err(DropReason::TooOld)),
        (u64::MAX - 5, 3, Err(DropReason::TooOld)),
        (u64::MAX - 5, u32::MAX, Ok(u64::MAX)),
    ] {
        assert_eq!(committed(64, &[highest]).check(low), expected, "{highest:#x} {low:#x}");
    }
}

#[test]
fn a_jump_over_the_whole_ring_forgets_everything() {
    let mut window = committed(64, &[1, 2, 3, 64, 65]);
    assert_eq!(window.commit(1 << 40), Ok(true));
    for low in 1..64 {
        assert_eq!(window.commit((1 << 40) - low), Ok(false));
    }
}

#[test]
fn a_number_committed_between_check_and_commit_is_a_replay() {
    let mut window = ReplayWindow::new(64, true).unwrap();
    let seq = window.check(7).unwrap();
    assert_eq!(window.commit(seq), Ok(true));
    assert_eq!(window.commit(seq), Err(DropReason::Replayed));
}

proptest! {
    #[test]
    fn the_ring_agrees_with_a_set(
        size in MIN_WINDOW..=MAX_WINDOW,
        start in prop_oneof![
            Just(1_u64),
            (1_u64 << 32) - 6000..(1 << 32) + 6000,
            any::<u32>().prop_map(|seq| u64::from(seq) + 1),
        ],
        steps in prop::collection::vec((-5000_i64..5000, any::<bool>()), 1..300),
    ) {
        let mut window = ReplayWindow::new(size, true).unwrap();
        let mut naive = Naive { size: u64::from(size), highest: 0, seen: BTreeSet::new() };
        window.commit(start).unwrap();
        naive.commit(start);
        for (step, far) in steps {
            let step = if far { step } else { step % 80 };
            let seq = naive.highest.saturating_add_signed(step);
            let expected = naive.verdict(seq);
            prop_assert_eq!(window.commit(seq), expected);
            if expected.is_ok() {
                naive.commit(seq);
            }
            prop_assert_eq!(window.highest(), naive.highest);
        }
    }

    #[test]
    fn esn_inference_finds_every_number_near_the_window(
        size in MIN_WINDOW..=MAX_WINDOW,
        highest in prop_oneof![
            1_u64..20_000,
            (1_u64 << 32) - 10_000..(1 << 32) + 10_000,
            1..u64::MAX / 2,
        ],
        ahead in 1_u64..1 << 31,
        behind in 0_u64..4096,
    ) {
        let mut window = ReplayWindow::new(size, true).unwrap();
        window.commit(highest).unwrap();
        prop_assert_eq!(window.check((highest + ahead) as u32), Ok(highest + ahead));
        let old = highest.saturating_sub(behind % u64::from(size));
        if old > 0 && old != highest {
            prop_assert_eq!(window.check(old as u32), Ok(old));
        }
    }

    #[test]
    fn a_receiver_of_low_halves_agrees_with_a_set_of_whole_numbers(
        size in prop_oneof![Just(64_u32), Just(65), Just(127), Just(4096), MIN_WINDOW..=MAX_WINDOW],
        esn in any::<bool>(),
        start in prop_oneof![1_u64..200, (1_u64 << 32) - 5000..(1 << 32) - 1],
        steps in prop::collection::vec((0_u64..6000, any::<bool>(), any::<bool>()), 1..300),
    ) {
        let mut window = ReplayWindow::new(size, esn).unwrap();
        let mut naive = Naive { size: u64::from(size), highest: 0, seen: BTreeSet::new() };
        // With ESN the window must be led near 2^32, as traffic leads it: by less than 2^32 - size.
        for lead in [start.min(1 << 31), start] {
            if naive.verdict(lead).is_ok() {
                prop_assert_eq!(window.check(lead as u32), Ok(lead));
                window.commit(lead).unwrap();
                naive.commit(lead);
            }
        }
        for (step, back, near) in steps {
            let step = if near { step % 70 } else { step };
            let seq = if back { naive.highest.saturating_sub(step) } else { naive.highest + step };
            if !esn && seq > u64::from(u32::MAX) {
                continue;
            }
            let expected = naive.verdict(seq);
            // Left of the window there is nothing to tell an old number from one of the next subspace.
            let unknown = matches!(expected, Err(DropReason::TooOld | DropReason::ZeroSequence));
            if esn && unknown {
                prop_assert_ne!(window.check(seq as u32), Ok(seq));
                continue;
            }
            prop_assert_eq!(window.check(seq as u32), expected.map(|_| seq));
            if expected.is_ok() {
                prop_assert_eq!(window.commit(seq), expected);
                naive.commit(seq);
            }
        }
    }
}

#[test]
fn without_a_window_a_number_may_come_again_as_after_a_senders_restart() {
    assert!(ReplayWindow::new(0, true).is_none(), "the high half can't be inferred");
    let mut none = ReplayWindow::new(0, false).unwrap();
    for seq in [1, 2, u32::MAX, 0, 1, 1] {
        assert_eq!(none.check(seq), Ok(u64::from(seq)));
        none.commit(u64::from(seq)).unwrap();
    }
    assert_eq!(none.highest(), u64::from(u32::MAX));
}
