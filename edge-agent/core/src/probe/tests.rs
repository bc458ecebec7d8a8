use proptest::prelude::*;

use super::ipdv::{AtReflector, Variation};
use super::window::{Match, Window};
use super::*;
use crate::stamp::{Kind, Timestamp, TimestampFormat, decapsulate};

fn ms(ms: u64) -> Micros {
    Micros::from_millis(ms)
}

fn config(local: u32, peer: u32, seed: u64) -> ProbeConfig {
    ProbeConfig {
        path: PathId(1),
        local: EdgeId(local),
        peer: EdgeId(peer),
        intervals: Intervals::from_profile(100, 500),
        cadence: Cadence::Used,
        seed,
        unix_at_zero: Duration::from_secs(1_700_000_000),
        least_bytes: 0,
    }
}

fn pair() -> (ProbeSession, ProbeSession) {
    (ProbeSession::new(config(1, 2, 0), ms(0)), ProbeSession::new(config(2, 1, 99), ms(0)))
}

/// Reflects at once; the clocks of both ends are the same here.
fn reflect(b: &mut ProbeSession, inner: &[u8], at: Micros) -> Vec<u8> {
    b.handle_request(&decapsulate(inner).unwrap(), at, at, &[]).unwrap().reply
}

fn reply(a: &mut ProbeSession, inner: &[u8], at: Micros) -> Result<ReplyKind, Refused> {
    a.handle_reply(&decapsulate(inner).unwrap(), at).map(|reply| reply.kind)
}

fn samples(session: &mut ProbeSession) -> Vec<Sample> {
    std::iter::from_fn(|| session.poll_sample()).collect()
}

/// Sends the probe that is due next.
fn next(session: &mut ProbeSession) -> (Probe, Micros) {
    for _ in 0..1_000 {
        let at = session.next_deadline();
        if let Some(probe) = session.poll_transmit(at, &[]) {
            return (probe, at);
        }
    }
    panic!("no probe within 1,000 deadlines");
}

/// `count` probes answered after `rtt`, so that the timeout is known.
fn warm(a: &mut ProbeSession, b: &mut ProbeSession, count: u64, rtt: Duration) -> Micros {
    let mut last = ms(0);
    for _ in 0..count {
        let (probe, at) = next(a);
        let back = reflect(b, &probe.inner, at + rtt / 2);
        reply(a, &back, at + rtt).unwrap();
        last = at;
    }
    samples(a);
    last
}

#[test]
fn a_probe_that_is_answered_gives_its_round_trip() {
    let (mut a, mut b) = pair();
    let (probe, at) = next(&mut a);
    let back = reflect(&mut b, &probe.inner, at + Duration::from_millis(30));
    let rtt = Duration::from_millis(40);
    assert_eq!(reply(&mut a, &back, at + rtt), Ok(ReplyKind::Answer { rtt }));
    let sample = a.poll_sample().unwrap();
    assert_eq!((sample.sequence, sample.outcome), (0, Outcome::Rtt { rtt }));
    assert_eq!((sample.sent, sample.known), (at, at + rtt));
}

#[test]
fn the_time_that_the_reflector_holds_a_probe_does_not_count() {
    let (mut a, mut b) = pair();
    let (probe, at) = next(&mut a);
    let received = at + Duration::from_millis(10);
    let left = received + Duration::from_millis(25);
    let packet = decapsulate(&probe.inner).unwrap();
    let back = b.handle_request(&packet, received, left, &[]).unwrap().reply;
    let Ok(ReplyKind::Answer { rtt }) = reply(&mut a, &back, at + Duration::from_millis(45)) else {
        panic!("not answered");
    };
    // NTP fractions are 233 ps: the difference is rounded.
    assert!(rtt.abs_diff(Duration::from_millis(20)) < Duration::from_micros(1), "{rtt:?}");
}

#[test]
fn a_step_of_the_reflectors_clock_can_not_make_a_round_trip_longer_or_negative() {
    for step in [-3_600_000i64, -1, 1, 3_600_000] {
        let (mut a, mut b) = pair();
        let (probe, at) = next(&mut a);
        let received = ms(10_000_000);
        let left = Micros((received.0 as i64 + step * 1_000) as u64);
        let packet = decapsulate(&probe.inner).unwrap();
        let back = b.handle_request(&packet, received, left, &[]).unwrap().reply;
        let whole = Duration::from_millis(40);
        let Ok(ReplyKind::Answer { rtt }) = reply(&mut a, &back, at + whole) else {
            panic!("not answered");
        };
        assert!(rtt <= whole && rtt >= Duration::from_millis(38), "{step} ms: {rtt:?}");
    }
}

#[test]
fn the_first_probe_has_the_phase_of_the_seed() {
    for (seed, phase_us) in [(0, 0), (42_000, 42_000), (100_001, 1)] {
        let mut session = ProbeSession::new(config(1, 2, seed), ms(7));
        assert_eq!(session.next_deadline(), ms(7) + Duration::from_micros(phase_us));
    }
}

#[test]
fn a_probe_without_reply_is_lost_after_its_timeout_and_raises_the_cadence() {
    let (mut a, mut b) = pair();
    warm(&mut a, &mut b, 50, Duration::from_millis(40));
    let timeout = a.timeout();
    assert_eq!(timeout, Duration::from_millis(60));
    let (probe, at) = next(&mut a);
    let due = at + timeout;
    assert_eq!(a.next_deadline(), due);
    let fast = a.poll_transmit(due, &[]).expect("suspicion sends at once");
    let lost = a.poll_sample().unwrap();
    assert_eq!((lost.sequence, lost.outcome), (probe.sequence, Outcome::Lost { way: None }));
    assert_eq!(fast.sequence, probe.sequence + 1);
    let (_, second) = next(&mut a);
    assert_eq!(second.since(due), policy::SUSPICION_INTERVAL);
}

#[test]
fn suspicion_is_bounded_by_its_bucket() {
    let (mut a, mut b) = pair();
    let start = warm(&mut a, &mut b, 20, Duration::from_millis(10));
    let until = start + Duration::from_secs(60);
    let (mut sent, mut random) = (0u32, 1u32);
    loop {
        let (probe, at) = next(&mut a);
        if at > until {
            break;
        }
        sent += 1;
        // Three of four probes are answered: suspicion would never end.
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if random >> 30 != 0 {
            let back = reflect(&mut b, &probe.inner, at + Duration::from_millis(5));
            reply(&mut a, &back, at + Duration::from_millis(10)).unwrap();
        }
    }
    let regular = 600;
    let extra = policy::SUSPICION_BUCKET_PROBES + 60 * policy::SUSPICION_REFILL_PER_S;
    assert!(sent > regular + 200, "{sent}");
    assert!(sent <= regular + extra, "{sent}");
}

#[test]
fn a_late_reply_takes_its_loss_back_and_a_duplicate_counts_once() {
    let (mut a, mut b) = pair();
    warm(&mut a, &mut b, 50, Duration::from_millis(40));
    let (probe, at) = next(&mut a);
    let back = reflect(&mut b, &probe.inner, at + Duration::from_millis(20));
    a.poll_transmit(at + Duration::from_millis(61), &[]);
    assert!(matches!(a.poll_sample().unwrap().outcome, Outcome::Lost { .. }));
    let rtt = Duration::from_millis(180);
    assert_eq!(reply(&mut a, &back, at + rtt), Ok(ReplyKind::Late { rtt }));
    assert_eq!(a.poll_sample().unwrap().outcome, Outcome::Late { rtt, was: None });
    assert_eq!(reply(&mut a, &back, at + rtt), Ok(ReplyKind::Duplicate));
    assert_eq!(a.poll_sample(), None);
    assert_eq!((a.counters().late, a.counters().duplicate), (1, 1));
}

#[test]
fn a_stall_of_this_host_counts_nothing_lost_that_waits_to_be_read() {
    let (mut a, mut b) = pair();
    warm(&mut a, &mut b, 50, Duration::from_millis(40));
    let (probe, at) = next(&mut a);
    let back = reflect(&mut b, &probe.inner, at + Duration::from_millis(20));
    let awake = at + Duration::from_millis(300);
    a.poll_transmit(awake, &[]);
    assert_eq!(samples(&mut a), []);
    let received = at + Duration::from_millis(40);
    assert!(matches!(reply(&mut a, &back, received), Ok(ReplyKind::Answer { .. })));
}

#[test]
fn losses_are_told_apart_by_way() {
    // (sender's number, reflector's number) of the replies that come; the others are lost.
    let cases = [
        // Two lost forward: the reflector counts on without them.
        (vec![(0, 0), (3, 1)], Settled { forward: 2, back: 0 }),
        // Two lost on the way back: it has counted them.
        (vec![(0, 0), (3, 3)], Settled { forward: 0, back: 2 }),
        (vec![(0, 0), (3, 2)], Settled { forward: 1, back: 1 }),
        // It started again in between.
        (vec![(0, 900), (3, 0)], Settled { forward: 2, back: 0 }),
        // A duplicated request was reflected twice: no more is known than that nothing else is missing.
        (vec![(0, 0), (3, 7)], Settled { forward: 0, back: 2 }),
    ];
    for (replies, expected) in cases {
        let mut window = Window::default();
        for n in 0..4u64 {
            window.push(ms(n), Timestamp(n));
        }
        let mut settled = Settled::default();
        for (index, &(n, m)) in replies.iter().enumerate() {
            if index == 1 {
                while window.expire(Duration::from_millis(1), ms(4)).is_some() {}
            }
            if let Match::Answer { settled: s, .. } | Match::Late { settled: s, .. } =
                window.answer(n, Timestamp(n.into()), m)
            {
                settled = s;
            }
        }
        assert_eq!(settled, expected, "{replies:?}");
    }
}

#[test]
fn reordered_replies_are_no_loss() {
    let mut window = Window::default();
    for n in 0..6u64 {
        window.push(ms(n), Timestamp(n));
    }
    // 2 overtakes 1 on the way forward, 4 overtakes 3 on the way back.
    for (n, m) in [(0, 0), (2, 1), (1, 2), (4, 4), (3, 3)] {
        assert!(matches!(window.answer(n, Timestamp(n.into()), m), Match::Answer { .. }));
    }
    assert!(matches!(window.answer(5, Timestamp(5), 5), Match::Answer { settled, .. }
        if settled == Settled::default()));
    assert_eq!(window.expire(Duration::ZERO, ms(100)), None);
}

#[test]
fn sequence_numbers_wrap_without_a_gap() {
    let (mut a, mut b) = pair();
    let start = u64::from(u32::MAX) - 3;
    a.start_at(start);
    for n in 0..8 {
        let (probe, at) = next(&mut a);
        assert_eq!(probe.sequence, start + n);
        let back = reflect(&mut b, &probe.inner, at);
        assert!(matches!(reply(&mut a, &back, at), Ok(ReplyKind::Answer { .. })), "probe {n}");
    }
    let heard = b.heard(ms(1_000));
    assert_eq!((heard.received, heard.loss_ppm), (8, 0));
    assert_eq!(heard.newest_sequence, (start + 7) as u32);
}

#[test]
fn the_digest_tells_what_is_heard_of_the_peer() {
    let (mut a, mut b) = pair();
    assert_eq!(b.heard(ms(0)).age_ms, u32::MAX, "nothing yet");
    let mut last = ms(0);
    for n in 0..20 {
        let (probe, at) = next(&mut a);
        if n % 4 != 1 {
            reflect(&mut b, &probe.inner, at);
            last = at;
        }
    }
    let heard = b.heard(last + Duration::from_millis(70));
    assert_eq!(heard.received, 15);
    assert_eq!(heard.loss_ppm, 250_000);
    assert_eq!((heard.newest_sequence, heard.age_ms), (19, 70));
    let later = b.heard(last + Duration::from_secs(60));
    assert_eq!((later.received, later.loss_ppm, later.age_ms), (0, 0, 60_000));
}

#[test]
fn a_peer_that_starts_again_is_heard_from_zero() {
    let (mut a, mut b) = pair();
    warm(&mut a, &mut b, 30, Duration::from_millis(10));
    let mut again = ProbeSession::new(config(1, 2, 7 << 48), ms(5_000));
    let (probe, at) = next(&mut again);
    let back = reflect(&mut b, &probe.inner, at);
    assert!(matches!(reply(&mut again, &back, at), Ok(ReplyKind::Answer { .. })));
    let heard = b.heard(at);
    assert_eq!((heard.received, heard.newest_sequence, heard.loss_ppm), (1, 0, 0));
}

#[test]
fn a_reflector_answers_its_peer_only_at_a_bounded_rate_and_each_request_once() {
    let (mut a, mut b) = pair();
    let (probe, at) = next(&mut a);
    reflect(&mut b, &probe.inner, at);
    let packet = decapsulate(&probe.inner).unwrap();
    assert_eq!(b.handle_request(&packet, at, at, &[]), Err(Refused::Duplicate));
    assert_eq!(a.handle_request(&packet, at, at, &[]), Err(Refused::WrongEdge(EdgeId(1))));
    assert_eq!(b.handle_reply(&packet, at), Err(Refused::WrongKind));
    let mut refused = 0;
    for n in 0..1_000u32 {
        let inner = a.challenge(n.to_be_bytes().repeat(2).try_into().unwrap(), at);
        let packet = decapsulate(&inner).unwrap();
        refused += u32::from(b.handle_request(&packet, at, at, &[]) == Err(Refused::RateLimited));
    }
    assert_eq!(refused, 1_000 - (policy::REFLECT_BURST - 1));
}

#[test]
fn a_challenge_is_echoed_and_leaves_the_statistics_alone() {
    let (mut a, mut b) = pair();
    warm(&mut a, &mut b, 5, Duration::from_millis(10));
    let heard = b.heard(ms(500));
    let inner = a.challenge(*b"question", ms(500));
    let packet = decapsulate(&inner).unwrap();
    let request = b.handle_request(&packet, ms(500), ms(500), &[]).unwrap();
    assert!(request.challenge);
    assert_eq!(
        reply(&mut a, &request.reply, ms(510)),
        Ok(ReplyKind::Challenge { octets: *b"question" })
    );
    assert_eq!(b.heard(ms(500)), heard);
    assert_eq!(samples(&mut a), []);
}

#[test]
fn a_changed_cadence_takes_effect_within_its_interval() {
    let (mut a, _) = pair();
    a.set_cadence(Cadence::Idle, ms(0));
    let (_, first) = next(&mut a);
    a.set_cadence(Cadence::Used, first);
    assert!(a.next_deadline() <= first + Duration::from_millis(100));
}

#[test]
fn an_idle_path_is_never_probed_fast() {
    let (mut a, _) = pair();
    a.set_cadence(Cadence::Idle, ms(0));
    let mut times = Vec::new();
    for _ in 0..10 {
        times.push(next(&mut a).1);
    }
    let gaps = times.windows(2).map(|t| t[1].since(t[0]));
    assert!(gaps.skip(1).all(|gap| gap >= Duration::from_millis(499)), "{times:?}");
}

proptest! {
    #[test]
    fn no_packet_makes_a_session_panic(
        stamps in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..120), 0u64..5_000_000),
            1..60,
        ),
    ) {
        let (mut a, _) = pair();
        for (is_request, stamp, at) in stamps {
            let kind = if is_request { Kind::Request } else { Kind::Reply };
            let inner = stamp::encapsulate(EdgeId(2), EdgeId(1), kind, &stamp);
            let packet = decapsulate(&inner).unwrap();
            let at = Micros(at);
            a.poll_transmit(at, &[]);
            let _ = a.handle_request(&packet, at, at, &[]);
            let _ = a.handle_reply(&packet, at);
            a.heard(at);
            a.next_deadline();
        }
    }

    /// The window against a model that knows each probe's true way: whatever is lost, delayed, reordered or
    /// duplicated, every probe ends as answered or lost once, and late replies undo exactly their loss.
    #[test]
    fn every_probe_is_accounted_for_once(
        fates in proptest::collection::vec((0u8..10, 0u64..400, 0u64..400), 20..200),
    ) {
        let (mut a, mut b) = pair();
        let mut flying: Vec<(Micros, bool, Vec<u8>)> = Vec::new();
        let mut fates = fates.into_iter();
        let (mut sent, mut net, mut now) = (0i64, 0i64, ms(0));
        let mut answered = 0i64;
        let count = |samples: Vec<Sample>, net: &mut i64, answered: &mut i64| {
            for sample in samples {
                match sample.outcome {
                    Outcome::Rtt { .. } => *answered += 1,
                    Outcome::Lost { .. } => *net += 1,
                    Outcome::Late { .. } => { *net -= 1; *answered += 1; }
                }
            }
        };
        for _ in 0..4_000 {
            flying.sort();
            let at = flying.first().map_or(a.next_deadline(), |f| f.0.min(a.next_deadline()));
            now = now.max(at);
            if flying.first().is_some_and(|f| f.0 <= now) {
                let (_, to_b, inner) = flying.remove(0);
                let packet = decapsulate(&inner).unwrap();
                if to_b {
                    if let Ok(request) = b.handle_request(&packet, now, now, &[]) {
                        let delay = Duration::from_millis((inner[inner.len() - 1] as u64) % 50);
                        flying.push((now + delay, false, request.reply));
                    }
                } else {
                    let _ = a.handle_reply(&packet, now);
                }
            } else if let Some(probe) = a.poll_transmit(now, &[]) {
                let Some((fate, first, second)) = fates.next() else { break };
                sent += 1;
                if fate > 1 {
                    flying.push((now + Duration::from_millis(first), true, probe.inner.clone()));
                }
                if fate == 9 {
                    flying.push((now + Duration::from_millis(second), true, probe.inner));
                }
            }
            count(samples(&mut a), &mut net, &mut answered);
            prop_assert!(net >= 0 && net + answered <= sent);
        }
        // All are told once their time is up; the last probe was sent after the fates ran out.
        a.poll_transmit(now + Duration::from_secs(30), &[]);
        a.poll_transmit(now + Duration::from_secs(31), &[]);
        count(samples(&mut a), &mut net, &mut answered);
        let c = a.counters();
        prop_assert_eq!(c.answered as i64 + c.lost as i64, net + answered);
        prop_assert!(net + answered >= sent);
    }
}

#[test]
fn delay_variation_is_told_way_by_way_though_clocks_differ() {
    let mut variation = Variation::default();
    let ahead = Duration::from_secs(1_000_000);
    let mut step = |sequence: u64, sent_ms: u64, out_ms: u64, back_ms: u64| {
        let at =
            |ms: u64| Timestamp::from_unix(ahead + Duration::from_millis(ms), TimestampFormat::Ntp);
        let arrived = sent_ms + out_ms;
        let at_reflector = AtReflector {
            received: at(arrived),
            sent: at(arrived + 1),
            format: TimestampFormat::Ntp,
        };
        let received = Micros::from_millis(arrived + 1 + back_ms);
        variation.step(sequence, Micros::from_millis(sent_ms), received, &at_reflector)
    };
    assert_eq!(step(1, 100, 20, 20), None, "nothing to compare with");
    let near = |us: u32, ms: u32| us.abs_diff(ms * 1_000) <= 2;
    let ipdv = step(2, 200, 50, 20).unwrap();
    assert!(near(ipdv.forward_us, 30) && near(ipdv.back_us, 0), "{ipdv:?}");
    let ipdv = step(3, 300, 50, 60).unwrap();
    assert!(near(ipdv.forward_us, 0) && near(ipdv.back_us, 40), "{ipdv:?}");
    assert_eq!(step(2, 200, 50, 20), None, "an older one");
    let ipdv = step(4, 400, 20, 20).unwrap();
    assert!(near(ipdv.forward_us, 30) && near(ipdv.back_us, 40), "{ipdv:?}");
}
