use std::time::Duration;

use super::liveness::needed_run;
use super::*;
use crate::id::PathId;
use crate::probe::{Outcome, Sample, Settled, Way};
use crate::stamp::DigestEntry;
use crate::time::Micros;

const CLASS: &str = "voice";

fn limits() -> SlaLimits {
    SlaLimits {
        max_rtt_us: 150_000,
        max_jitter_us: 30_000,
        max_loss_ppm: 10_000,
        ..SlaLimits::default()
    }
}

struct Path {
    monitor: PathMonitor,
    sequence: u64,
    now: Micros,
}

impl Path {
    fn up() -> Self {
        let class = SlaClass { name: CLASS.into(), limits: limits() };
        let monitor = PathMonitor::new(PathId(1), vec![class], Micros(0));
        let mut path = Path { monitor, sequence: 0, now: Micros(0) };
        path.answers(50, 40);
        assert_eq!(path.state(), SlaState::Meets);
        path
    }

    /// Every 100 ms one.
    fn feed(&mut self, outcome: Outcome) {
        self.now = self.now + Duration::from_millis(100);
        let (sent, known) = (self.now, self.now);
        let settled = Settled::default();
        self.monitor.handle_sample(&Sample {
            sequence: self.sequence,
            sent,
            known,
            outcome,
            settled,
            ipdv: None,
        });
        self.sequence += 1;
    }

    fn answers(&mut self, count: u32, rtt_ms: u64) {
        (0..count).for_each(|_| self.feed(Outcome::Rtt { rtt: Duration::from_millis(rtt_ms) }));
    }

    fn losses(&mut self, count: u32) {
        (0..count).for_each(|_| self.feed(Outcome::Lost { way: None }));
    }

    fn state(&self) -> SlaState {
        self.monitor.health(CLASS, false).state
    }

    fn crossed(&self) -> Vec<Limit> {
        self.monitor.health(CLASS, false).crossed.iter().map(|c| c.limit).collect()
    }
}

#[test]
fn states_are_ordered_best_first() {
    let order = [SlaState::Meets, SlaState::Violates, SlaState::Recovering, SlaState::Down];
    assert!(order.is_sorted());
}

#[test]
fn the_run_that_says_down_grows_with_the_usual_loss() {
    for (loss, run) in [(0.0, 4), (0.01, 4), (0.05, 6), (0.0975, 7), (0.2, 8), (0.9, 8)] {
        assert_eq!(needed_run(loss), run, "at {loss}");
    }
}

#[test]
fn a_path_that_never_answered_is_connecting_and_the_first_answer_brings_it_up() {
    let mut monitor = PathMonitor::new(PathId(1), vec![], Micros(0));
    let health = monitor.health("", false);
    assert_eq!((health.state, health.connecting), (SlaState::Down, true));
    let outcome = Outcome::Rtt { rtt: Duration::from_millis(5) };
    let (sent, known, settled) = (Micros(1), Micros(2), Settled::default());
    monitor.handle_sample(&Sample { sequence: 0, sent, known, outcome, settled, ipdv: None });
    assert_eq!(monitor.health("", false).state, SlaState::Meets);
}

#[test]
fn four_losses_in_a_row_are_down_on_a_clean_path_three_are_not() {
    let mut path = Path::up();
    path.losses(3);
    assert_eq!(path.monitor.reach(), Reach::Up);
    path.losses(1);
    assert_eq!(path.state(), SlaState::Down);
}

#[test]
fn down_ends_after_answers_that_span_a_second() {
    let mut path = Path::up();
    path.losses(10);
    path.answers(1, 40);
    assert_eq!(path.state(), SlaState::Recovering);
    path.answers(9, 40);
    assert_eq!(path.state(), SlaState::Recovering, "ten answers span 0.9 s");
    path.answers(1, 40);
    assert_eq!(path.state(), SlaState::Meets, "what was lost while down is no loss");
}

#[test]
fn a_loss_while_recovering_starts_the_proof_again() {
    let mut path = Path::up();
    path.losses(10);
    path.answers(8, 40);
    path.losses(1);
    assert_eq!(path.state(), SlaState::Down);
    path.answers(10, 40);
    assert_eq!(path.state(), SlaState::Recovering);
}

#[test]
fn late_replies_break_a_run_of_losses() {
    let mut path = Path::up();
    path.losses(2);
    let (sent, known) = (path.now, path.now);
    let outcome = Outcome::Late { rtt: Duration::from_millis(200), was: None };
    let sequence = path.sequence - 1;
    let settled = Settled::default();
    path.monitor.handle_sample(&Sample { sequence, sent, known, outcome, settled, ipdv: None });
    path.losses(4);
    assert_eq!(path.monitor.reach(), Reach::Up, "one loss in 53 probes before: five are needed");
    path.losses(1);
    assert_eq!(path.monitor.reach(), Reach::Down);
}

#[test]
fn silence_after_a_loss_is_down_however_slow_the_probes() {
    let mut path = Path::up();
    path.monitor.set_interval(Duration::from_secs(5), path.now);
    path.losses(1);
    let deadline = path.monitor.next_deadline().unwrap();
    path.monitor.handle_time(deadline - Duration::from_micros(1));
    assert_eq!(path.monitor.reach(), Reach::Up);
    path.monitor.handle_time(deadline);
    assert_eq!(path.monitor.reach(), Reach::Down);
    assert!(deadline.since(path.now) <= Duration::from_secs(17));
    assert_eq!(path.monitor.next_deadline(), None);
}

#[test]
fn what_the_peer_hears_keeps_a_path_up_whose_way_back_is_dead() {
    let mut path = Path::up();
    for _ in 0..20 {
        path.losses(1);
        let entry = DigestEntry {
            path: PathId(1),
            newest_sequence: (path.sequence - 1) as u32,
            received: 100,
            loss_ppm: 0,
            age_ms: 30,
            ..DigestEntry::default()
        };
        path.monitor.handle_peer_digest(&entry, path.now);
    }
    assert_eq!(path.state(), SlaState::Meets, "its own direction works");
    assert_eq!(path.monitor.health(CLASS, true).state, SlaState::Down, "both ways do not");
    let quality = path.monitor.quality(path.now).figures;
    assert_eq!(quality.loss_tx_ppm, 0);
    path.losses(4);
    assert_eq!(path.state(), SlaState::Down);
}

#[test]
fn a_path_is_never_down_before_as_many_losses_as_the_profile_asks_for() {
    let mut path = Path::up();
    path.monitor.set_down_after(6);
    path.losses(5);
    assert_eq!(path.monitor.reach(), Reach::Up);
    path.losses(1);
    assert_eq!(path.monitor.reach(), Reach::Down);
}

#[test]
fn a_path_that_forgets_what_was_measured_keeps_its_classes_and_what_the_profile_asks_for() {
    let mut path = Path::up();
    path.monitor.set_down_after(6);
    path.monitor.forget(path.now);
    assert_eq!(path.monitor.reach(), Reach::Connecting);
    path.answers(50, 400);
    assert_eq!(path.crossed(), [Limit::Rtt]);
    path.losses(5);
    assert_eq!(path.monitor.reach(), Reach::Up);
    path.losses(1);
    assert_eq!(path.monitor.reach(), Reach::Down);
}

#[test]
fn a_peer_whose_uplink_is_dead_says_so_and_the_path_is_left_at_once() {
    let mut path = Path::up();
    let told = |dead| DigestEntry { path: PathId(1), age_ms: 10, dead, ..DigestEntry::default() };
    path.monitor.handle_peer_digest(&told(true), path.now);
    assert_eq!(path.state(), SlaState::Down);
    path.monitor.handle_peer_digest(&told(false), path.now);
    assert_eq!(path.state(), SlaState::Meets);
}

#[test]
fn gaps_in_real_traffic_are_evidence_of_loss_and_late_packets_take_it_back() {
    let mut path = Path::up();
    let (mut expected, mut received) = (u32::MAX - 50, u32::MAX - 90);
    let mut tell = |path: &mut Path, sent: u32, came: u32| {
        (expected, received) = (expected.wrapping_add(sent), received.wrapping_add(came));
        let entry = DigestEntry {
            path: PathId(1),
            age_ms: 10,
            esp_expected: expected,
            esp_received: received,
            ..DigestEntry::default()
        };
        path.monitor.handle_peer_digest(&entry, path.now);
    };
    tell(&mut path, 0, 0);
    // Reordered: what is missing in one digest comes in the next.
    for _ in 0..50 {
        tell(&mut path, 20, 19);
        tell(&mut path, 20, 21);
    }
    assert_eq!(path.state(), SlaState::Meets, "1 in 40 is missing for a moment, none for good");
    for _ in 0..10 {
        tell(&mut path, 20, 18);
    }
    assert_eq!(path.state(), SlaState::Violates);
}

#[test]
fn a_peer_can_not_vouch_for_probes_that_were_not_sent() {
    let mut path = Path::up();
    let (received, loss_ppm, age_ms) = (100, 0, 0);
    let newest_sequence = path.sequence as u32 + 100_000;
    let entry = DigestEntry {
        path: PathId(1),
        newest_sequence,
        received,
        loss_ppm,
        age_ms,
        ..DigestEntry::default()
    };
    path.monitor.handle_peer_digest(&entry, path.now);
    path.losses(4);
    assert_eq!(path.state(), SlaState::Down);
}

#[test]
fn a_few_losses_among_many_probes_violate_the_limit_and_one_does_not() {
    let mut path = Path::up();
    let lost = Outcome::Lost { way: Some(Way::Forward) };
    path.feed(lost);
    path.answers(5, 40);
    assert_eq!(path.state(), SlaState::Meets);
    for _ in 0..4 {
        path.feed(lost);
        path.answers(5, 40);
    }
    assert_eq!(path.crossed(), [Limit::LossTx]);
    let crossed = path.monitor.health(CLASS, false).crossed.iter().next().unwrap();
    assert!(crossed.value > 50_000 && crossed.allowed == 10_000, "{crossed}");
}

#[test]
fn mended_loss_takes_two_hundred_clean_probes() {
    let mut path = Path::up();
    for _ in 0..5 {
        path.feed(Outcome::Lost { way: Some(Way::Forward) });
        path.answers(5, 40);
    }
    assert_eq!(path.crossed(), [Limit::LossTx]);
    path.answers(150, 40);
    assert_eq!(path.crossed(), [Limit::LossTx]);
    path.answers(60, 40);
    assert!(path.crossed().is_empty());
}

#[test]
fn loss_on_the_way_back_counts_for_symmetric_classes_only() {
    let mut path = Path::up();
    for _ in 0..5 {
        path.feed(Outcome::Lost { way: Some(Way::Back) });
        path.answers(5, 40);
    }
    assert_eq!(path.state(), SlaState::Meets);
    let health = path.monitor.health(CLASS, true);
    assert_eq!(health.state, SlaState::Violates);
    assert_eq!(health.crossed.iter().map(|c| c.limit).collect::<Vec<_>>(), [Limit::LossRx]);
}

#[test]
fn late_replies_take_their_evidence_back() {
    let mut path = Path::up();
    for _ in 0..10 {
        path.feed(Outcome::Lost { way: Some(Way::Forward) });
        let (sent, known) = (path.now, path.now);
        let rtt = Duration::from_millis(90);
        let outcome = Outcome::Late { rtt, was: Some(Way::Forward) };
        let (sequence, settled) = (path.sequence - 1, Settled::default());
        path.monitor.handle_sample(&Sample { sequence, sent, known, outcome, settled, ipdv: None });
    }
    assert_eq!(path.state(), SlaState::Meets);
}

#[test]
fn delay_must_stay_above_its_limit_and_stay_well_below_it() {
    let mut path = Path::up();
    path.answers(1, 400);
    path.answers(5, 40);
    assert_eq!(path.state(), SlaState::Meets, "one spike is no damage");
    path.answers(20, 300);
    assert!(path.crossed().contains(&Limit::Rtt), "{:?}", path.crossed());
    path.answers(50, 40);
    assert!(path.crossed().contains(&Limit::Rtt), "mending takes 10 s");
    path.answers(120, 40);
    assert!(path.crossed().is_empty());
}

#[test]
fn severity_grows_with_the_worst_ratio() {
    let mut crossed = Crossings::default();
    assert_eq!(crossed.severity(), 0);
    let table = [(9, 10, 1), (10, 10, 1), (19, 10, 1), (20, 10, 2), (45, 10, 3), (u32::MAX, 1, 16)];
    for (value, allowed, severity) in table {
        crossed.insert(Crossed { limit: Limit::Rtt, value, allowed, confidence_ppm: 0 });
        assert_eq!(crossed.severity(), severity, "{value} of {allowed}");
    }
}

#[test]
fn changed_limits_start_afresh_and_unchanged_ones_keep_their_evidence() {
    let mut path = Path::up();
    path.answers(30, 300);
    assert!(!path.crossed().is_empty());
    let same = SlaClass { name: CLASS.into(), limits: limits() };
    path.monitor.set_classes(vec![same]);
    assert!(!path.crossed().is_empty());
    let loose = SlaLimits { max_rtt_us: 900_000, ..SlaLimits::default() };
    path.monitor.set_classes(vec![SlaClass { name: CLASS.into(), limits: loose }]);
    assert!(path.crossed().is_empty());
}
