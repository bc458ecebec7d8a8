//! The model on a virtual clock: tables, then properties.

use super::model::{Arrival, Direction, Fate, Reason};
use super::trace::{Playback, Trace, TraceError};
use super::*;
use proptest::prelude::*;
use std::sync::Arc;

fn direction(change: Impairment) -> Direction {
    let mut direction = Direction::new(7);
    direction.set(Settings::default().with(&change).unwrap(), None);
    direction
}

fn at(fate: Fate) -> u64 {
    match fate {
        Fate::Deliver(arrival) | Fate::Duplicate(arrival, _) => arrival.at_us,
        Fate::Drop(reason) => panic!("dropped: {reason:?}"),
    }
}

/// Fates of frames sent one a ms.
fn fates(direction: &mut Direction, frames: u64) -> Vec<Fate> {
    (0..frames).map(|n| direction.admit(n * 1_000, 1_000)).collect()
}

fn dropped(fates: &[Fate], reason: Reason) -> usize {
    fates.iter().filter(|fate| **fate == Fate::Drop(reason)).count()
}

#[test]
fn a_clean_link_delivers_at_once_and_unharmed() {
    let arrival = Arrival { at_us: 5, flip_bit: None };
    assert_eq!(Direction::new(1).admit(5, 60), Fate::Deliver(arrival));
}

#[test]
fn fixed_faults_have_fixed_fates() {
    let base = Impairment::default;
    let deliver = |at_us| Fate::Deliver(Arrival { at_us, flip_bit: None });
    for (change, expected) in [
        (Impairment::delay(17.5), deliver(18_500)),
        (Impairment::blackhole(true), Fate::Drop(Reason::Blackhole)),
        (Impairment { carrier_down: Some(true), ..base() }, Fate::Drop(Reason::CarrierDown)),
        (Impairment::loss(100.0), Fate::Drop(Reason::Random)),
        // 1,000 octets at 8 Mbit/s are 1 ms on the wire.
        (Impairment { rate_kbit: Some(8_000), ..base() }, deliver(2_000)),
        (
            Impairment { reorder_pct: Some(100.0), reorder_hold_ms: Some(2.0), ..base() },
            deliver(3_000),
        ),
    ] {
        assert_eq!(direction(change.clone()).admit(1_000, 1_000), expected, "{change:?}");
    }
}

#[test]
fn a_bottleneck_spaces_frames_and_drops_what_its_queue_cannot_hold() {
    // 1 ms a frame, at most 3 ms of waiting: of ten frames at once, the first goes out and three wait.
    let queue = Impairment { rate_kbit: Some(8_000), queue_ms: Some(3.0), ..Impairment::default() };
    let mut link = direction(queue);
    let burst: Vec<Fate> = (0..10).map(|_| link.admit(0, 1_000)).collect();
    let sent: Vec<u64> =
        burst.iter().filter(|f| !matches!(f, Fate::Drop(_))).map(|f| at(*f)).collect();
    assert_eq!(sent, [1_000, 2_000, 3_000, 4_000]);
    assert_eq!(dropped(&burst, Reason::QueueFull), 6);
    // The queue drains with time.
    assert_eq!(at(link.admit(10_000, 1_000)), 11_000);
}

#[test]
fn a_queue_bound_in_bytes_holds() {
    let change = Impairment {
        rate_kbit: Some(8_000),
        queue_bytes: Some(2_500),
        queue_ms: Some(60_000.0),
        ..Impairment::default()
    };
    let mut link = direction(change);
    let burst: Vec<Fate> = (0..5).map(|_| link.admit(0, 1_000)).collect();
    assert_eq!(dropped(&burst, Reason::QueueFull), 3);
}

#[test]
fn random_loss_and_bursty_loss_have_their_shares_and_lengths() {
    let frames = 200_000;
    let share = |lost: usize| 100.0 * lost as f64 / frames as f64;
    let random = fates(&mut direction(Impairment::loss(5.0)), frames);
    assert!((share(dropped(&random, Reason::Random)) - 5.0).abs() < 0.3);

    for (pct, len) in [(1.0, 2.0), (5.0, 5.0), (20.0, 10.0), (10.0, 1.0)] {
        let change =
            Impairment { burst_loss_pct: Some(pct), burst_len: Some(len), ..Impairment::default() };
        let fates = fates(&mut direction(change), frames);
        let lost = dropped(&fates, Reason::Burst);
        let is_lost = |fate: &Fate| *fate == Fate::Drop(Reason::Burst);
        let bursts =
            fates.windows(2).filter(|pair| !is_lost(&pair[0]) && is_lost(&pair[1])).count();
        let mean = lost as f64 / bursts as f64;
        assert!((share(lost) - pct).abs() < pct * 0.15, "{pct}: {}", share(lost));
        assert!((mean - len).abs() < len * 0.1, "{len}: {mean}");
    }
}

#[test]
fn jitter_spreads_as_its_shape_says() {
    for (shape, deviation) in
        [(JitterShape::Uniform, 3.0 / 3_f64.sqrt()), (JitterShape::Normal, 3.0)]
    {
        let change = Impairment {
            delay_ms: Some(50.0),
            jitter_ms: Some(3.0),
            jitter: Some(shape),
            jitter_reorders: Some(true),
            ..Impairment::default()
        };
        let fates = fates(&mut direction(change), 50_000);
        let delays: Vec<f64> =
            fates.iter().enumerate().map(|(n, fate)| at(*fate) as f64 / 1e3 - n as f64).collect();
        let mean = delays.iter().sum::<f64>() / delays.len() as f64;
        let variance =
            delays.iter().map(|delay| (delay - mean).powi(2)).sum::<f64>() / delays.len() as f64;
        assert!((mean - 50.0).abs() < 0.1, "{shape:?}: mean {mean}");
        assert!((variance.sqrt() - deviation).abs() < 0.1, "{shape:?}: {}", variance.sqrt());
    }
}

#[test]
fn duplicates_and_corruption_have_their_shares() {
    let change =
        Impairment { duplicate_pct: Some(10.0), corrupt_pct: Some(5.0), ..Impairment::default() };
    let fates = fates(&mut direction(change), 50_000);
    let twice = fates.iter().filter(|fate| matches!(fate, Fate::Duplicate(..))).count();
    assert!((4_700..5_300).contains(&twice), "{twice}");
    let flips: Vec<u32> = fates
        .iter()
        .filter_map(|fate| match fate {
            Fate::Deliver(arrival) | Fate::Duplicate(arrival, _) => arrival.flip_bit,
            Fate::Drop(_) => None,
        })
        .collect();
    assert!((2_200..2_800).contains(&flips.len()), "{}", flips.len());
    assert!(flips.iter().all(|bit| (112..8_000).contains(bit)));
}

#[test]
fn a_held_back_frame_is_overtaken() {
    let change = Impairment { reorder_pct: Some(10.0), ..Impairment::default() };
    let times: Vec<u64> = fates(&mut direction(change), 1_000).into_iter().map(at).collect();
    assert!(times.windows(2).any(|pair| pair[0] > pair[1]));
}

#[test]
fn a_shorter_delay_holds_for_the_next_frame() {
    let mut link = direction(Impairment::delay(1_000.0));
    assert_eq!(at(link.admit(0, 100)), 1_000_000);
    let settings = link.settings().with(&Impairment::delay(1.0)).unwrap();
    link.set(settings, None);
    assert_eq!(at(link.admit(10, 100)), 1_010);
}

const TRACE: &str = "t_ms,atnt,tmobile\n0,177.0,130\n200,,67.8\n400,59.3,\n";

#[test]
fn a_trace_plays_half_its_round_trips_and_its_losses() {
    let trace = |column| Arc::new(Trace::parse(TRACE, column).unwrap());
    let play = |column, end| Playback { trace: trace(column), start_us: 1_000_000, end };
    for (column, end, elapsed_ms, delay_us) in [
        ("atnt", TraceEnd::Loop, 0, Some(88_500)),
        ("1", TraceEnd::Loop, 199, Some(88_500)),
        ("atnt", TraceEnd::Loop, 200, None),
        ("atnt", TraceEnd::Loop, 599, Some(29_650)),
        ("atnt", TraceEnd::Loop, 600, Some(88_500)),
        ("atnt", TraceEnd::Hold, 6_000, Some(29_650)),
        ("tmobile", TraceEnd::Hold, 6_000, None),
        ("2", TraceEnd::Loop, 200, Some(33_900)),
    ] {
        let now_us = 1_000_000 + elapsed_ms * 1_000;
        let played = play(column, end).delay_us(now_us);
        assert_eq!(played, delay_us, "{column} {end:?} {elapsed_ms}");
    }
    let mut link = Direction::new(1);
    let settings = Settings::default().with(&Impairment::delay(500.0)).unwrap();
    link.set(settings, Some(play("atnt", TraceEnd::Loop)));
    assert_eq!(at(link.admit(1_000_000, 100)), 1_088_500);
    assert_eq!(link.admit(1_250_000, 100), Fate::Drop(Reason::Trace));
}

#[test]
fn faulty_traces_are_refused_with_the_line() {
    for (text, column, line) in [
        ("", "1", None),
        ("t_ms,a\n", "1", None),
        ("time,a\n0,1\n", "1", Some(1)),
        ("t_ms,a\n0,1\n0,2\n", "1", Some(3)),
        ("t_ms,a\n0,x\n", "1", Some(2)),
        ("t_ms,a,b\n0,1\n", "b", Some(2)),
        ("t_ms,a\n-5,1\n", "a", Some(2)),
        ("t_ms,a\n0,1\n", "z", None),
        ("t_ms,a\n0,1\n", "2", None),
        ("t_ms,a\n0,1\n", "0", None),
    ] {
        let error = Trace::parse(text, column).unwrap_err();
        let found = match error {
            TraceError::Line { line, .. } => Some(line),
            _ => None,
        };
        assert_eq!(found, line, "{text:?} {column}");
    }
}

#[test]
fn words_become_changes_and_nonsense_is_refused() {
    let change =
        Impairment::from_words(&["loss_pct=5", "dir=a-b", "blackhole=true", "trace_column=2"]);
    let expected = Impairment {
        loss_pct: Some(5.0),
        dir: Dir::AToB,
        blackhole: Some(true),
        trace_column: Some("2".to_owned()),
        ..Impairment::default()
    };
    assert_eq!(change.unwrap(), expected);
    for words in [
        &["loss_pct"][..],
        &["los_pct=5"],
        &["loss_pct=5", "loss_pct=6"],
        &["loss_pct=much"],
        &["blackhole=1"],
        &["dir=up"],
        &["rate_kbit=-1"],
    ] {
        assert!(Impairment::from_words(words).is_err(), "{words:?}");
    }
}

#[test]
fn values_out_of_range_change_nothing() {
    let base = Impairment::default;
    for change in [
        Impairment::loss(100.1),
        Impairment::loss(-1.0),
        Impairment::loss(f64::NAN),
        Impairment::delay(60_001.0),
        Impairment { burst_len: Some(0.5), ..base() },
        // Bursts of one frame that take 80 % of all frames leave no gaps.
        Impairment { burst_len: Some(1.0), burst_loss_pct: Some(80.0), ..base() },
        Impairment { queue_bytes: Some(u64::MAX), ..base() },
    ] {
        assert!(Settings::default().with(&change).is_err(), "{change:?}");
    }
}

fn any_change() -> impl Strategy<Value = Impairment> {
    let shares = (0.0..30.0, 0.0..30.0, 0.0..30.0, 0.0..30.0, 0.0..30.0);
    let rest = (0.0..200.0, 0.0..50.0, prop::bool::ANY, prop::bool::ANY, 0_u64..20_000);
    (shares, rest).prop_map(|((loss, burst, reorder, twice, corrupt), rest)| {
        let (delay, jitter, normal, overtake, rate) = rest;
        Impairment {
            loss_pct: Some(loss),
            burst_loss_pct: Some(burst),
            reorder_pct: Some(reorder),
            duplicate_pct: Some(twice),
            corrupt_pct: Some(corrupt),
            delay_ms: Some(delay),
            jitter_ms: Some(jitter),
            jitter: Some(if normal { JitterShape::Normal } else { JitterShape::Uniform }),
            jitter_reorders: Some(overtake),
            rate_kbit: Some(rate),
            ..Impairment::default()
        }
    })
}

proptest! {
    #[test]
    fn the_same_seed_and_frames_have_the_same_fates(
        change in any_change(),
        seed in any::<u64>(),
        frames in prop::collection::vec((0_u64..5_000, 60_usize..1_514), 1..200),
    ) {
        let run = || {
            let mut link = Direction::new(seed);
            link.set(Settings::default().with(&change).unwrap(), None);
            let mut now_us = 0;
            let admit = |&(gap_us, len): &(u64, usize)| {
                now_us += gap_us;
                link.admit(now_us, len)
            };
            frames.iter().map(admit).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }

    #[test]
    fn no_frame_arrives_before_it_was_sent_nor_later_than_its_faults_allow(
        change in any_change(),
        gaps_us in prop::collection::vec(0_u64..5_000, 1..200),
    ) {
        let mut link = direction(change.clone());
        let mut now_us = 0;
        for gap_us in gaps_us {
            now_us += gap_us;
            let fate = link.admit(now_us, 1_000);
            if matches!(fate, Fate::Drop(_)) {
                continue;
            }
            let jitter_us = change.jitter_ms.unwrap() * 4_000.0;
            // Waiting for the queue, and then this frame itself at the lowest rate: 8 s at 1 kbit/s.
            let queue_us = if change.rate_kbit == Some(0) { 0.0 } else { 100_000.0 + 8e6 };
            let longest_us = change.delay_ms.unwrap() * 1_000.0 + jitter_us + queue_us + 5_002.0;
            // Order-keeping frames may wait for one before them, which came in earlier.
            prop_assert!(at(fate) >= now_us);
            prop_assert!(((at(fate) - now_us) as f64) <= longest_us);
        }
    }

    #[test]
    fn without_overtaking_faults_order_is_kept(
        delay_ms in 0.0..100.0,
        jitter_ms in 0.0..100.0,
        rate_kbit in 0_u64..5_000,
        gaps_us in prop::collection::vec(0_u64..3_000, 2..200),
    ) {
        let mut link = direction(Impairment {
            delay_ms: Some(delay_ms),
            jitter_ms: Some(jitter_ms),
            rate_kbit: Some(rate_kbit),
            ..Impairment::default()
        });
        let (mut now_us, mut last_us) = (0, 0);
        for gap_us in gaps_us {
            now_us += gap_us;
            if let Fate::Deliver(arrival) = link.admit(now_us, 500) {
                prop_assert!(arrival.at_us >= last_us);
                last_us = arrival.at_us;
            }
        }
    }

    #[test]
    fn a_bottleneck_never_exceeds_its_rate(
        rate_kbit in 100_u64..100_000,
        frames in prop::collection::vec((0_u64..500, 60_usize..1_514), 2..300),
    ) {
        let mut link = direction(Impairment { rate_kbit: Some(rate_kbit), ..Impairment::default() });
        let (mut now_us, mut bits, mut last_us, mut first_us) = (0, 0, 0, None);
        for (gap_us, len) in frames {
            now_us += gap_us;
            if let Fate::Deliver(arrival) = link.admit(now_us, len) {
                first_us.get_or_insert(now_us);
                bits += len as u64 * 8;
                last_us = arrival.at_us;
            }
        }
        let busy_us = last_us - first_us.unwrap_or(0);
        // Times are whole µs, and each frame's share is rounded down to a ns.
        prop_assert!(bits as f64 <= (busy_us + 1) as f64 * rate_kbit as f64 / 1_000.0 + 1.0);
    }

    #[test]
    fn any_text_as_a_trace_is_read_or_refused(text in "(t_ms,a,b\n)?([0-9.,\n-]|[a-z])*") {
        if let Ok(trace) = Trace::parse(&text, "1") {
            prop_assert!(trace.length_us() > 0);
        }
    }
}
