use super::record::{Arrival, Record};
use super::*;
use proptest::prelude::*;

const MS: u64 = 1_000_000;

/// Arrivals as (sequence number, time in ms), each 20 ms under way.
fn record(arrivals: &[(u64, u64)]) -> Record {
    let mut record = Record::default();
    for &(seq, at_ms) in arrivals {
        let arrived_ns = (1_000 + at_ms) * MS;
        record.push(Arrival { seq, sent_ns: arrived_ns - 20 * MS, arrived_ns });
    }
    record
}

#[test]
fn the_longest_silence_that_ends_in_a_window_is_found() {
    let record = record(&[(0, 0), (1, 5), (2, 10), (60, 300), (61, 305), (62, 310)]);
    for (from_ms, to_ms, arrivals, silence_ms, start_ms, open) in [
        (0, 310, 6, 290, 10, false),
        (0, 10, 3, 5, 0, false),
        // A silence that began before the window counts in whole.
        (200, 310, 3, 290, 10, false),
        // One that goes on beyond the window counts as far as the window sees, and is open.
        (0, 200, 3, 190, 10, true),
        (100, 200, 0, 190, 10, true),
        (301, 400, 2, 90, 310, true),
    ] {
        let window = record.window((1_000 + from_ms) * MS, (1_000 + to_ms) * MS);
        let found = (window.arrivals, window.silence_ns / MS, window.silence_open);
        assert_eq!(found, (arrivals, silence_ms, open), "{from_ms} to {to_ms}");
        assert_eq!(window.silence_from_ns / MS, 1_000 + start_ms, "{from_ms} to {to_ms}");
    }
}

#[test]
fn a_receiver_that_heard_nothing_is_silent_from_the_window_on() {
    let window = Record::default().window(5 * MS, 25 * MS);
    assert_eq!((window.silence_ns, window.silence_open), (20 * MS, true));
    assert_eq!(window.delay_p50_us, None);
}

#[test]
fn delays_are_those_of_the_window() {
    let mut record = Record::default();
    for n in 1..=100 {
        record.push(Arrival { seq: n, sent_ns: 1_000 * MS, arrived_ns: (1_000 + n) * MS });
    }
    let window = record.window(0, u64::MAX);
    let delays = (window.delay_p50_us, window.delay_p99_us, window.delay_max_us);
    assert_eq!(delays, (Some(50_000), Some(99_000), Some(100_000)));
}

#[test]
fn losses_duplicates_and_reordering_are_told_apart() {
    let all = record(&[(0, 0), (1, 1), (1, 2), (5, 3), (3, 4), (8, 5), (5, 6)]);
    for (from_seq, to_seq, expected) in [
        (
            0,
            9,
            Loss {
                expected: 9,
                lost: 4,
                duplicates: 2,
                reordered: 1,
                longest_run: 2,
                first_lost: Some(2),
            },
        ),
        (0, 2, Loss { expected: 2, duplicates: 1, ..Loss::default() }),
        (
            6,
            12,
            Loss { expected: 6, lost: 5, longest_run: 3, first_lost: Some(6), ..Loss::default() },
        ),
        (
            9,
            12,
            Loss { expected: 3, lost: 3, longest_run: 3, first_lost: Some(9), ..Loss::default() },
        ),
        (4, 4, Loss::default()),
        (5, 4, Loss::default()),
    ] {
        assert_eq!(all.loss(from_seq, to_seq), expected, "{from_seq} to {to_seq}");
    }
}

#[test]
fn a_payload_is_recognised_only_whole_and_with_its_marker() {
    let mut packet = vec![0; 24];
    packet[..6].copy_from_slice(b"marker");
    payload::stamp(&mut packet, 6, 42, 4_711);
    assert_eq!(payload::read(&packet, b"marker"), Some((42, 4_711)));
    assert_eq!(payload::read(&packet[..21], b"marker"), None);
    assert_eq!(payload::read(&packet, b"market"), None);
}

proptest! {
    #[test]
    fn loss_agrees_with_counting_one_by_one(
        arrivals in prop::collection::vec(0_u64..40, 0..60),
        from_seq in 0_u64..40,
        len in 0_u64..40,
    ) {
        let timed: Vec<(u64, u64)> = arrivals.iter().copied().zip(0..).collect();
        let loss = record(&timed).loss(from_seq, from_seq + len);
        let wanted = from_seq..from_seq + len;
        let got = |seq: &u64| arrivals.contains(seq);
        let inside = arrivals.iter().filter(|seq| wanted.contains(seq)).count() as u64;
        prop_assert_eq!(loss.expected, len);
        prop_assert_eq!(loss.lost, wanted.clone().filter(|seq| !got(seq)).count() as u64);
        prop_assert_eq!(loss.duplicates, inside - wanted.filter(got).count() as u64);
    }

    #[test]
    fn no_silence_is_longer_than_the_record_and_its_window(
        times_ms in prop::collection::vec(0_u64..1_000, 1..50),
        from_ms in 0_u64..1_000,
        len_ms in 0_u64..1_000,
    ) {
        let mut times_ms = times_ms;
        times_ms.sort_unstable();
        let timed: Vec<(u64, u64)> = times_ms.iter().enumerate().map(|(n, t)| (n as u64, *t)).collect();
        let window = record(&timed).window((1_000 + from_ms) * MS, (1_000 + from_ms + len_ms) * MS);
        prop_assert!(window.silence_ns <= (from_ms.max(times_ms[0]) + len_ms + 1_000) * MS);
        prop_assert!(window.arrivals <= times_ms.len() as u64);
    }
}
