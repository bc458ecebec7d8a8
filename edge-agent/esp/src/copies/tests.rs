use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// An SA that is older than every packet.
const OLD_SA: u64 = 1;

#[test]
fn a_number_is_a_label_and_a_count() {
    let number = CopyNumber::new(0xab, 0x0102_0304);
    assert_eq!(number, CopyNumber { label: 0xab, count: 0x0002_0304 });
    assert_eq!(number.to_wire(), 0xab02_0304);
    assert_eq!(CopyNumber::from_wire(0xab02_0304), number);
}

#[test]
fn the_first_copy_wins_and_the_other_is_told_apart() {
    let mut window = CopyWindow::default();
    let mut take = |count| window.take(count, OLD_SA, 10);
    assert_eq!([take(0), take(0)], [Copy::First, Copy::Second]);
    assert_eq!(
        [take(2), take(1), take(1), take(2)],
        [Copy::First, Copy::First, Copy::Second, Copy::Second]
    );
    // Lost on both paths.
    assert_eq!([take(5_000), take(5_000)], [Copy::First, Copy::Second]);
    assert_eq!([take(5_000 - 4_095), take(5_000 - 4_096)], [Copy::First, Copy::Late]);
    assert_eq!(take(3), Copy::Late);
}

#[test]
fn the_count_wraps() {
    let mut window = CopyWindow::default();
    let last = (1 << COUNT_BITS) - 1;
    for count in [last - 1, last, 0, 1] {
        assert_eq!(window.take(count, OLD_SA, 10), Copy::First, "{count}");
    }
    for count in [last - 1, last, 0, 1] {
        assert_eq!(window.take(count, OLD_SA, 10), Copy::Second, "{count}");
    }
    assert_eq!(window.take(last - 5_000, OLD_SA, 10), Copy::Late);
}

#[test]
fn a_sender_that_starts_again_under_new_keys_is_heard_wherever_it_begins() {
    for begin in [0_u32, 1, 999, 999_000, 999_999, 1_000_000, 1_000_001, 1 << 23, (1 << 24) - 1] {
        let mut window = CopyWindow::default();
        for count in 999_000..=1_000_000 {
            assert_eq!(window.take(count, OLD_SA, 1_000), Copy::First);
        }
        // Its two paths are keyed one after the other, 20 ms later.
        let (first_sa, second_sa) = (21_000, 25_000);
        for step in 0..5_000_u32 {
            let (count, now) = (begin.wrapping_add(step), 22_000 + u64::from(step) * 10);
            assert_eq!(window.take(count, first_sa, now), Copy::First, "{begin} {step}");
            if now > second_sa {
                assert_eq!(window.take(count, second_sa, now + 5), Copy::Second, "{begin} {step}");
            }
        }
    }
}

#[test]
fn a_rekey_begins_nothing_anew() {
    let mut window = CopyWindow::default();
    for count in 0..100 {
        assert_eq!(window.take(count, OLD_SA, 1_000), Copy::First);
    }
    // The slow path is keyed anew first; its copies come after those of the fast one under the old key.
    assert_eq!(window.take(100, OLD_SA, 2_500), Copy::First);
    assert_eq!(window.take(100, 2_000, 2_600), Copy::Second);
    assert_eq!(window.take(99, OLD_SA, 2_700), Copy::Second);
    // Lost on the fast path.
    assert_eq!(window.take(101, 2_000, 2_800), Copy::First);
}

#[test]
fn numbers_that_went_on_unheard_for_long_are_heard_again() {
    let mut window = CopyWindow::default();
    assert_eq!(window.take(5_000, OLD_SA, 1_000), Copy::First);
    // Half the circle and more was lost on both paths.
    let far = 5_000 + (1 << 23) + 10;
    assert_eq!(window.take(far, OLD_SA, 900_000), Copy::Late);
    assert_eq!(window.take(far, OLD_SA, 1_001_000), Copy::First);
    assert_eq!(window.take(far, OLD_SA, 1_001_000), Copy::Second);
    // A quiet class's copy that comes late is still known.
    assert_eq!(window.take(far, OLD_SA, 9_000_000), Copy::Second);
}

proptest! {
    /// Both copies of every packet, each path with loss, a delay of its own and reordering less than the window.
    #[test]
    fn what_comes_by_any_path_is_delivered_exactly_once(
        begin in 0_u32..1 << 24,
        fates in prop::collection::vec((0_u32..3_000, prop::bool::weighted(0.8), 0_u32..3_000, prop::bool::weighted(0.8)), 1..400),
    ) {
        let mut arrivals = Vec::new();
        for (index, &(delay_a, comes_a, delay_b, comes_b)) in fates.iter().enumerate() {
            let index = index as u32;
            arrivals.extend(comes_a.then_some((index + delay_a, index)));
            arrivals.extend(comes_b.then_some((index + delay_b, index)));
        }
        arrivals.sort_unstable();
        let mut window = CopyWindow::default();
        let mut delivered = Vec::new();
        for &(at, index) in &arrivals {
            if window.take(begin.wrapping_add(index), OLD_SA, 1_000 + u64::from(at)) == Copy::First {
                delivered.push(index);
            }
        }
        let once: BTreeSet<u32> = delivered.iter().copied().collect();
        prop_assert_eq!(delivered.len(), once.len());
        prop_assert_eq!(once, arrivals.iter().map(|&(_, index)| index).collect::<BTreeSet<_>>());
    }

    #[test]
    fn any_numbers_at_any_time_are_taken(
        packets in prop::collection::vec((any::<u32>(), any::<u64>(), any::<u64>()), 0..50),
    ) {
        let mut window = CopyWindow::default();
        for (count, since, now) in packets {
            let first = window.take(count, since, now) == Copy::First;
            let again = window.take(count, 0, now);
            prop_assert!(!first || again == Copy::Second);
        }
    }
}
