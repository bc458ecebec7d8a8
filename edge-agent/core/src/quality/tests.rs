use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy;
use crate::probe::{Outcome, Sample, Settled, Way};

fn sample(sequence: u64, outcome: Outcome) -> Sample {
    let sent = Micros::from_millis(sequence * 100);
    Sample { sequence, sent, known: sent, outcome, settled: Settled::default(), ipdv: None }
}

fn rtt(ms: u64) -> Outcome {
    Outcome::Rtt { rtt: Duration::from_millis(ms) }
}

const LOST: Outcome = Outcome::Lost { way: None };

#[test]
fn quantiles_are_nearest_rank_over_the_long_window() {
    let mut window = QualityWindow::default();
    (0..100).for_each(|n| window.handle(&sample(n, rtt(n + 1))));
    let quality = window.snapshot();
    assert_eq!(quality.rtt_min_us, 1_000);
    assert_eq!(quality.rtt_p50_us, 50_000);
    assert_eq!(quality.rtt_p95_us, 95_000);
    assert_eq!(quality.rtt_p99_us, 99_000);
    assert_eq!(quality.ipdv_mean_us, 1_000);
    // The short window is 2 s, both ends included: the last 21.
    assert_eq!((quality.probes_short, quality.rtt_mean_us), (21, 90_000));
}

#[test]
fn windows_forget_by_time() {
    let mut window = QualityWindow::default();
    window.handle(&sample(0, LOST));
    (1..50).for_each(|n| window.handle(&sample(n, rtt(20))));
    assert_eq!(window.snapshot().figures.loss_round_trip_ppm, 20_000);
    assert_eq!(window.snapshot().loss_short_round_trip_ppm, 0);
    window.advance(Micros::from_millis(30_001));
    assert_eq!(window.figures().loss_round_trip_ppm, 0);
    window.advance(Micros::from_millis(60_000));
    assert_eq!(window.figures().probes, 0);
    assert_eq!(window.snapshot().rtt_p50_us, 0);
}

#[test]
fn losses_settle_on_their_way_and_late_replies_take_them_back() {
    let mut window = QualityWindow::default();
    (0..8).for_each(|n| window.handle(&sample(n, rtt(20))));
    window.handle(&sample(8, LOST));
    window.handle(&sample(9, LOST));
    let figures = window.figures();
    assert_eq!((figures.loss_tx_ppm, figures.loss_rx_ppm), (200_000, 200_000), "not known yet");
    let mut told = sample(10, rtt(20));
    told.settled = Settled { forward: 1, back: 1 };
    window.handle(&told);
    let figures = window.figures();
    assert_eq!((figures.loss_tx_ppm, figures.loss_rx_ppm), (90_909, 90_909));
    let late = Outcome::Late { rtt: Duration::from_millis(300), was: Some(Way::Back) };
    window.handle(&sample(9, late));
    let late = Outcome::Late { rtt: Duration::from_millis(300), was: Some(Way::Forward) };
    window.handle(&sample(8, late));
    assert_eq!(window.figures().loss_round_trip_ppm, 0);
}

#[test]
fn jitter_converges_to_the_mean_difference() {
    let mut window = QualityWindow::default();
    (0..400).for_each(|n| window.handle(&sample(n, rtt(40 + 10 * (n % 2)))));
    let jitter_us = window.figures().jitter_us;
    assert!((9_900..=10_000).contains(&jitter_us), "{jitter_us}");
}

#[test]
fn mos_is_what_the_e_model_gives() {
    // (one-way ms, jitter ms, loss ppm), lowest and highest MOS
    let table = [
        ((10, 0, 0), 4_380, 4_420),
        ((100, 10, 0), 4_250, 4_350),
        ((20, 2, 10_000), 4_200, 4_340),
        ((20, 2, 50_000), 3_600, 3_900),
        ((400, 50, 0), 2_000, 2_500),
        ((50, 5, 300_000), 1_500, 2_600),
        ((10_000, 1_000, 1_000_000), 1_000, 1_000),
    ];
    for ((delay, jitter, loss), low, high) in table {
        let mos = mos_milli(delay * 1_000, jitter * 1_000, loss);
        assert!((low..=high).contains(&mos), "{delay} ms {jitter} ms {loss} ppm: {mos}");
    }
}

proptest! {
    /// The running sums against a count over what should still be there.
    #[test]
    fn the_sums_are_those_of_a_recount(
        fates in proptest::collection::vec((0u8..4, 0u64..500, 0u64..400), 1..600),
    ) {
        let mut window = QualityWindow::default();
        let mut model: Vec<(Micros, bool)> = Vec::new();
        let mut now = Micros(0);
        for (sequence, (fate, rtt_ms, step)) in fates.into_iter().enumerate() {
            now = now + Duration::from_millis(step);
            let outcome = match fate {
                0 => Outcome::Lost { way: None },
                1 => Outcome::Lost { way: Some(Way::Forward) },
                _ => rtt(rtt_ms),
            };
            let sequence = sequence as u64;
            window.handle(&Sample { sequence, sent: now, known: now, outcome, settled: Settled::default(), ipdv: None });
            model.push((now, fate < 2));
            model.retain(|&(sent, _)| now.since(sent) <= policy::LONG_WINDOW);
            let lost = model.iter().filter(|m| m.1).count() as u64;
            let figures = window.figures();
            prop_assert_eq!(u64::from(figures.probes), model.len() as u64);
            prop_assert_eq!(u64::from(figures.loss_round_trip_ppm), lost * 1_000_000 / model.len() as u64);
        }
    }
}
