use std::time::Duration;

use hawser_proto::agent::v1 as wire;

use super::*;
use crate::config::ClassMode;
use crate::quality::Figures;
use crate::sla::{Crossed, Crossings, Limit, PathHealth, SlaState};

const A: PathId = PathId(1);
const B: PathId = PathId(2);
const C: PathId = PathId(3);

fn s(seconds: u64) -> Micros {
    Micros::from_millis(seconds * 1_000)
}

fn policy() -> ClassPolicy {
    ClassPolicy {
        tunnel: TunnelId(5),
        class: ClassId(1),
        class_name: "voice".into(),
        failback_hold: Duration::from_secs(30),
        dwell: Duration::from_secs(5),
        drop_when_none_meets: false,
        follows_peer: false,
        mode: ClassMode::Best,
    }
}

fn spec(path: PathId, preference: u16) -> CandidateSpec {
    CandidateSpec {
        path,
        name: format!("isp-{}", path.0),
        local_uplink: UplinkId(10 + path.0),
        remote_uplink: UplinkId(20),
        preference: (preference, 0),
        cost: 0,
        ..CandidateSpec::default()
    }
}

fn health(state: SlaState) -> PathHealth {
    let mut crossed = Crossings::default();
    if state == SlaState::Violates {
        crossed.insert(Crossed {
            limit: Limit::LossTx,
            value: 50_000,
            allowed: 10_000,
            confidence_ppm: 0,
        });
    }
    let figures = Figures { rtt_us: 20_000, probes: 100, ..Figures::default() };
    PathHealth { state, connecting: false, crossed, figures }
}

fn rtt(ms: u32) -> PathHealth {
    let mut health = health(SlaState::Meets);
    health.figures.rtt_us = ms * 1_000;
    health
}

/// A preferred over B over C, all available; nothing has answered.
fn selector_with(policy: ClassPolicy) -> Selector {
    let mut selector = Selector::new(policy, vec![spec(A, 0), spec(B, 1), spec(C, 2)], s(0));
    [A, B, C].iter().for_each(|&path| selector.handle_path_admin(path, true, s(0)));
    selector
}

/// All meet, A is selected, and 100 s have passed.
fn settled_with(policy: ClassPolicy) -> Selector {
    let mut selector = selector_with(policy);
    [A, B, C].iter().for_each(|&p| selector.handle_quality(p, &health(SlaState::Meets), s(0)));
    assert_eq!(moved(&mut selector, s(0)), Some((Cause::Start, Some(A))));
    assert_eq!(moved(&mut selector, s(100)), None);
    selector
}

fn settled() -> Selector {
    settled_with(policy())
}

fn moved(selector: &mut Selector, now: Micros) -> Option<(Cause, Option<PathId>)> {
    selector.poll(now).map(|decision| (decision.cause, decision.to))
}

fn set(selector: &mut Selector, path: PathId, state: SlaState, now: Micros) {
    selector.handle_quality(path, &health(state), now);
}

#[test]
fn nothing_is_selected_before_a_path_answers() {
    let mut selector = selector_with(policy());
    assert_eq!(selector.poll(s(1)), None);
    assert_eq!(selector.next_deadline(), None);
    assert_eq!(
        selector.explain(s(1)).candidates[0].refused_because,
        "no probe has been answered yet"
    );
}

#[test]
fn a_better_path_that_comes_up_at_the_start_is_taken_at_once() {
    let mut selector = selector_with(policy());
    set(&mut selector, C, SlaState::Meets, s(1));
    assert_eq!(moved(&mut selector, s(1)), Some((Cause::Start, Some(C))));
    set(&mut selector, A, SlaState::Meets, s(2));
    assert_eq!(moved(&mut selector, s(2)), Some((Cause::BetterPath, Some(A))));
}

#[test]
fn a_fault_ends_the_grace_of_the_start() {
    let mut selector = selector_with(policy());
    [A, B, C].iter().for_each(|&path| set(&mut selector, path, SlaState::Meets, s(1)));
    assert_eq!(moved(&mut selector, s(1)), Some((Cause::Start, Some(A))));
    [A, B].iter().for_each(|&path| set(&mut selector, path, SlaState::Down, s(2)));
    assert_eq!(moved(&mut selector, s(2)), Some((Cause::PathDown, Some(C))));
    set(&mut selector, B, SlaState::Meets, s(3));
    assert_eq!(selector.poll(s(3)), None, "it has only just failed");
}

#[test]
fn a_better_path_that_comes_up_later_must_prove_itself() {
    let mut selector = selector_with(policy());
    set(&mut selector, B, SlaState::Meets, s(1));
    assert_eq!(moved(&mut selector, s(1)), Some((Cause::Start, Some(B))));
    set(&mut selector, A, SlaState::Meets, s(60));
    assert_eq!(selector.poll(s(60)), None);
    assert_eq!(selector.next_deadline(), Some(s(90)));
    assert_eq!(moved(&mut selector, s(90)), Some((Cause::BetterPath, Some(A))));
}

#[test]
fn a_down_path_is_left_at_once_for_the_next_in_order() {
    let mut selector = settled();
    set(&mut selector, A, SlaState::Down, s(101));
    let decision = selector.poll(s(101)).unwrap();
    assert_eq!((decision.from, decision.to, decision.cause), (Some(A), Some(B), Cause::PathDown));
    let refusals: Vec<&str> =
        decision.candidates.iter().map(|c| c.refused_because.as_str()).collect();
    assert_eq!(
        refusals,
        ["it is down: probes are not answered", "", "its uplinks are less preferred"]
    );
    assert_eq!(decision.summary, "moves from isp-1 to isp-2: it is down: probes are not answered");
}

#[test]
fn lost_carrier_and_lost_keys_are_as_good_as_down() {
    let mut selector = settled();
    selector.handle_carrier(UplinkId(11), false, s(101));
    assert_eq!(moved(&mut selector, s(101)), Some((Cause::PathDown, Some(B))));
    selector.handle_path_admin(B, false, s(102));
    assert_eq!(moved(&mut selector, s(102)), Some((Cause::PathDown, Some(C))));
    selector.handle_carrier(UplinkId(11), true, s(103));
    assert_eq!(selector.poll(s(103)), None, "carrier again is no proof");
}

#[test]
fn fail_back_waits_for_the_hold_and_starts_it_again_after_each_fault() {
    let mut selector = settled();
    set(&mut selector, A, SlaState::Down, s(101));
    selector.poll(s(101)).unwrap();
    set(&mut selector, A, SlaState::Meets, s(110));
    assert_eq!(selector.poll(s(139)), None);
    set(&mut selector, A, SlaState::Violates, s(139));
    set(&mut selector, A, SlaState::Meets, s(140));
    assert_eq!(selector.poll(s(169)), None);
    let explanation = selector.explain(s(169));
    assert_eq!(explanation.held.len(), 1);
    assert_eq!(explanation.held[0].path, A);
    assert_eq!(explanation.held[0].remaining, Duration::from_secs(1));
    assert!(explanation.summary.contains("must meet the SLA for another 1 s"));
    assert_eq!(selector.next_deadline(), Some(s(170)));
    assert_eq!(moved(&mut selector, s(170)), Some((Cause::FailBack, Some(A))));
}

#[test]
fn the_hold_doubles_with_each_flap_and_is_bounded() {
    let mut selector = settled();
    let mut now = 101;
    let mut holds = Vec::new();
    for _ in 0..9 {
        set(&mut selector, A, SlaState::Down, s(now));
        assert_eq!(moved(&mut selector, s(now)), Some((Cause::PathDown, Some(B))));
        set(&mut selector, A, SlaState::Meets, s(now + 1));
        let mut waited = 0;
        while selector.poll(s(now + 1 + waited)).is_none() {
            waited += 1;
        }
        holds.push(waited);
        now += waited + 2;
    }
    let cap = 30 << policy::FAILBACK_DOUBLINGS_MAX;
    assert_eq!(holds[..5], [30, 30 * 2, 30 * 4, 30 * 8, 30 * 16][..], "{holds:?}");
    assert!(holds.iter().all(|&h| h <= cap), "{holds:?}");
}

#[test]
fn a_violated_sla_moves_to_a_path_that_meets_it_but_not_to_one_that_does_not() {
    let mut selector = settled();
    set(&mut selector, B, SlaState::Violates, s(101));
    set(&mut selector, A, SlaState::Violates, s(102));
    let decision = selector.poll(s(102)).unwrap();
    assert_eq!((decision.to, decision.cause), (Some(C), Cause::SlaViolated));
    assert!(decision.summary.contains("loss to peer 5.00 % (limit 1.00 %)"), "{decision}");
    set(&mut selector, C, SlaState::Violates, s(103));
    assert_eq!(selector.poll(s(200)), None, "all violate alike");
}

#[test]
fn the_least_bad_path_is_taken_when_none_meets() {
    let mut selector = settled();
    let severe = |value| {
        let mut health = health(SlaState::Violates);
        health.crossed.insert(Crossed {
            limit: Limit::LossTx,
            value,
            allowed: 10_000,
            confidence_ppm: 0,
        });
        health
    };
    selector.handle_quality(B, &severe(20_000), s(101));
    selector.handle_quality(C, &severe(30_000), s(101));
    selector.handle_quality(A, &severe(300_000), s(101));
    assert_eq!(moved(&mut selector, s(101)), Some((Cause::SlaViolated, Some(B))));
}

#[test]
fn a_class_that_is_dropped_when_none_meets_is_dropped_and_starts_again() {
    let mut selector = settled_with(ClassPolicy { drop_when_none_meets: true, ..policy() });
    [B, C, A].iter().for_each(|&p| set(&mut selector, p, SlaState::Violates, s(101)));
    assert_eq!(moved(&mut selector, s(101)), Some((Cause::NoneLeft, None)));
    assert_eq!((selector.selected(), selector.choice()), (None, Choice::Nothing));
    assert_eq!(selector.poll(s(150)), None);
    set(&mut selector, C, SlaState::Meets, s(151));
    assert_eq!(moved(&mut selector, s(151)), Some((Cause::Start, Some(C))));
}

#[test]
fn when_all_are_down_nothing_is_selected_and_the_first_that_answers_is_taken() {
    let mut selector = settled();
    [B, C, A].iter().for_each(|&p| set(&mut selector, p, SlaState::Down, s(101)));
    assert_eq!(moved(&mut selector, s(101)), Some((Cause::NoneLeft, None)));
    set(&mut selector, C, SlaState::Recovering, s(102));
    assert_eq!(moved(&mut selector, s(102)), Some((Cause::Start, Some(C))));
    set(&mut selector, B, SlaState::Meets, s(103));
    assert_eq!(moved(&mut selector, s(103)), Some((Cause::PathDown, Some(B))));
}

#[test]
fn when_all_fall_silent_packets_still_go_where_they_went_last() {
    let mut selector = settled();
    set(&mut selector, A, SlaState::Down, s(101));
    assert_eq!(moved(&mut selector, s(101)), Some((Cause::PathDown, Some(B))));
    [B, C].iter().for_each(|&p| set(&mut selector, p, SlaState::Down, s(102)));
    let decision = selector.poll(s(102)).unwrap();
    assert_eq!((decision.cause, decision.to), (Cause::NoneLeft, None));
    assert!(decision.summary.ends_with("packets still go by isp-2"), "{}", decision.summary);
    assert_eq!((selector.selected(), selector.choice()), (None, Choice::Path(B)));
    assert_eq!(selector.explain(s(103)).summary, "every path is down; packets still go by isp-2");
    assert_eq!((selector.poll(s(110)), selector.next_deadline()), (None, None));
    // More than silence speaks against it: another silent one, as long as there is one.
    selector.handle_carrier(UplinkId(12), false, s(111));
    assert_eq!(moved(&mut selector, s(111)), Some((Cause::Members, None)));
    assert_eq!(selector.choice(), Choice::Path(A));
    selector.handle_carrier(UplinkId(12), true, s(112));
    assert_eq!(selector.poll(s(112)), None, "it stays where it is");
    [A, B, C].iter().for_each(|&p| selector.handle_path_admin(p, false, s(113)));
    assert_eq!(moved(&mut selector, s(113)), Some((Cause::Members, None)));
    assert_eq!(selector.choice(), Choice::Nothing);
    // Fresh keys are enough to send again.
    selector.handle_path_admin(C, true, s(114));
    assert_eq!(moved(&mut selector, s(114)), Some((Cause::Members, None)));
    assert_eq!(selector.choice(), Choice::Path(C));
    set(&mut selector, B, SlaState::Meets, s(115));
    selector.handle_path_admin(B, true, s(115));
    assert_eq!(moved(&mut selector, s(115)), Some((Cause::Start, Some(B))));
}

#[test]
fn a_faster_path_of_equal_standing_is_taken_after_a_while_a_little_faster_one_is_not() {
    for (other_ms, taken) in [(80, false), (70, true)] {
        let mut selector = Selector::new(policy(), vec![spec(A, 0), spec(B, 0)], s(0));
        [A, B].iter().for_each(|&path| selector.handle_path_admin(path, true, s(0)));
        selector.handle_quality(A, &rtt(100), s(0));
        selector.handle_quality(B, &rtt(110), s(0));
        assert_eq!(moved(&mut selector, s(0)), Some((Cause::Start, Some(A))));
        selector.handle_quality(B, &rtt(other_ms), s(10));
        assert_eq!(selector.poll(s(10)), None);
        assert_eq!(selector.poll(s(69)), None);
        let after = moved(&mut selector, s(70));
        assert_eq!(after, taken.then_some((Cause::BetterPath, Some(B))), "{other_ms} ms");
    }
}

#[test]
fn advice_reorders_equally_good_paths_and_never_overrides_evidence() {
    let mut selector = settled();
    let advice = |until| {
        let avoid = [A].into();
        Some(Advice { avoid, until, reason: "provider trouble".into() })
    };
    selector.handle_advice(advice(s(400)), s(101));
    let decision = selector.poll(s(101)).unwrap();
    assert_eq!((decision.to, decision.cause), (Some(B), Cause::BetterPath));
    assert!(decision.candidates[0].refused_because.contains("provider trouble"));
    set(&mut selector, B, SlaState::Down, s(120));
    set(&mut selector, C, SlaState::Violates, s(120));
    assert_eq!(moved(&mut selector, s(120)), Some((Cause::PathDown, Some(A))));
    set(&mut selector, B, SlaState::Meets, s(121));
    assert_eq!(moved(&mut selector, s(160)), Some((Cause::FailBack, Some(B))));
    assert_eq!(selector.next_deadline(), Some(s(400)));
    assert_eq!(moved(&mut selector, s(400)), Some((Cause::FailBack, Some(A))), "it ran out");
}

#[test]
fn voluntary_moves_spend_tokens_and_come_back_slowly() {
    let mut selector = settled();
    let mut moves = 0;
    // Advice that changes its mind every 40 s for an hour.
    for n in 0..90u64 {
        let now = s(200 + n * 40);
        let path = selector.selected().unwrap();
        let (avoid, until) = ([path].into(), now + Duration::from_secs(3_600));
        selector.handle_advice(Some(Advice { avoid, until, reason: String::new() }), now);
        moves += u32::from(selector.poll(now).is_some());
    }
    assert_eq!(moves, policy::MOVE_TOKENS + 6 - 1);
}

#[test]
fn the_follower_of_a_symmetric_class_goes_where_the_peer_is() {
    let mut selector = settled_with(ClassPolicy { follows_peer: true, ..policy() });
    selector.handle_peer_choice(Some(C));
    assert_eq!(moved(&mut selector, s(101)), Some((Cause::BetterPath, Some(C))));
    set(&mut selector, C, SlaState::Violates, s(120));
    assert_eq!(moved(&mut selector, s(120)), Some((Cause::SlaViolated, Some(A))));
    assert_eq!(selector.poll(s(121)), None, "not into a violated SLA");
    for path in [A, B] {
        set(&mut selector, path, SlaState::Violates, s(130));
    }
    assert_eq!(moved(&mut selector, s(130)), Some((Cause::BetterPath, Some(C))), "as bad as ours");
}

#[test]
fn a_changed_configuration_moves_at_once_and_a_removed_path_is_left() {
    let mut selector = settled();
    selector.set_config(policy(), vec![spec(A, 0), spec(B, 1), spec(C, 2)]);
    assert_eq!(selector.poll(s(101)), None, "the same again is no change");
    selector.set_config(policy(), vec![spec(A, 3), spec(B, 1), spec(C, 2)]);
    assert_eq!(moved(&mut selector, s(102)), Some((Cause::Config, Some(B))));
    selector.set_config(policy(), vec![spec(A, 3), spec(C, 2)]);
    let decision = selector.poll(s(103)).unwrap();
    assert_eq!((decision.cause, decision.from, decision.to), (Cause::Config, Some(B), Some(C)));
    selector.set_config(policy(), vec![]);
    assert_eq!(moved(&mut selector, s(104)), Some((Cause::NoneLeft, None)));
    assert_eq!(selector.poll(s(105)), None);
}

#[test]
fn a_path_that_one_end_has_dropped_is_left_at_once_without_blame_also_for_a_worse_one() {
    let mut selector = settled();
    set(&mut selector, B, SlaState::Violates, s(100));
    set(&mut selector, C, SlaState::Down, s(100));
    assert_eq!(moved(&mut selector, s(100)), None);
    selector.handle_withdrawn(A, "the configuration has it no more", s(101));
    assert_eq!(selector.standby(), Some(B));
    assert_eq!(moved(&mut selector, s(101)), Some((Cause::Config, Some(B))));
    let why = selector.explain(s(101)).candidates;
    assert!(
        why.iter().any(|c| c.path == A && c.refused_because.contains("has it no more")),
        "{why:?}"
    );
    // Both have it again: it takes the traffic back after the hold, for it never failed.
    set(&mut selector, B, SlaState::Meets, s(101));
    selector.handle_path_admin(A, true, s(102));
    assert_eq!(moved(&mut selector, s(102)), None);
    assert_eq!(moved(&mut selector, s(131)), None);
    assert_eq!(moved(&mut selector, s(132)), Some((Cause::FailBack, Some(A))));
}

#[test]
fn the_standby_shares_no_uplink_if_it_can() {
    let mut far = spec(C, 2);
    far.remote_uplink = UplinkId(21);
    let mut selector = Selector::new(policy(), vec![spec(A, 0), spec(B, 1), far], s(0));
    for path in [A, B, C] {
        selector.handle_path_admin(path, true, s(0));
        set(&mut selector, path, SlaState::Meets, s(0));
    }
    selector.poll(s(0)).unwrap();
    assert_eq!(selector.standby(), Some(C));
    set(&mut selector, C, SlaState::Down, s(1));
    assert_eq!(selector.standby(), Some(B));
}

#[test]
fn an_unknown_path_changes_nothing() {
    let mut selector = settled();
    set(&mut selector, PathId(99), SlaState::Down, s(101));
    selector.handle_path_admin(PathId(99), false, s(101));
    selector.handle_carrier(UplinkId(99), false, s(101));
    assert_eq!(selector.poll(s(101)), None);
}

#[test]
fn a_decision_goes_to_the_controller_with_its_evidence() {
    let mut selector = settled();
    set(&mut selector, A, SlaState::Violates, s(101));
    let decision = selector.poll(s(101)).unwrap();
    let context = DecisionContext {
        sequence: 9,
        unix_ms: 1_700_000_000_000,
        edge: "b1-1",
        peer_edge: "hq-1",
        boot_id: "boot",
    };
    let sent = decision.to_proto(&context);
    assert_eq!((sent.sequence, sent.tunnel_id, sent.traffic_class.as_str()), (9, 5, "voice"));
    assert_eq!((sent.from_path_id, sent.to_path_id, sent.cause.as_str()), (1, 2, "SLA_VIOLATED"));
    assert_eq!(sent.candidates.len(), 3);
    let left = &sent.candidates[0];
    assert_eq!(left.limits_crossed, ["loss to peer 5.00 % (limit 1.00 %)"]);
    assert_eq!((left.state, left.chosen), (wire::PathState::Up.into(), false));
    assert!(sent.candidates[1].chosen && sent.candidates[1].refused_because.is_empty());
    assert!(sent.candidates.iter().all(|c| c.chosen == c.refused_because.is_empty()));
}

/// Two uplinks at each end, every pair a path: 11 is local 1 to remote 1, and so on. Lower numbers are preferred.
fn square() -> Selector {
    let candidates = [(1u32, 1u32), (1, 2), (2, 1), (2, 2)].map(|(local, remote)| CandidateSpec {
        path: PathId(local * 10 + remote),
        name: format!("{local}/{remote}"),
        local_uplink: UplinkId(local),
        remote_uplink: UplinkId(100 + remote),
        preference: (local as u16, remote as u16),
        cost: 0,
        ..CandidateSpec::default()
    });
    let mut selector = Selector::new(policy(), candidates.to_vec(), s(0));
    for path in [11, 12, 21, 22].map(PathId) {
        selector.handle_path_admin(path, true, s(0));
        selector.handle_quality(path, &health(SlaState::Meets), s(0));
    }
    assert_eq!(moved(&mut selector, s(0)), Some((Cause::Start, Some(PathId(11)))));
    assert_eq!(moved(&mut selector, s(100)), None);
    selector
}

#[test]
fn a_fault_is_left_for_a_path_that_shares_no_uplink_with_it() {
    for (state, cause) in
        [(SlaState::Down, Cause::PathDown), (SlaState::Violates, Cause::SlaViolated)]
    {
        let mut selector = square();
        set(&mut selector, PathId(11), state, s(101));
        let decision = selector.poll(s(101)).expect("it moves");
        assert_eq!((decision.cause, decision.to), (cause, Some(PathId(22))));
        let refused = &decision.candidates[1].refused_because;
        assert_eq!(refused, "it shares an uplink with the path that is left");
        // What shares an uplink begins its proof anew: 30 s, however long it was good before.
        assert_eq!(moved(&mut selector, s(130)), None);
        assert_eq!(moved(&mut selector, s(132)), Some((Cause::BetterPath, Some(PathId(12)))));
    }
}

#[test]
fn a_path_that_shares_an_uplink_is_taken_when_there_is_no_other() {
    let mut selector = square();
    for path in [21, 22].map(PathId) {
        set(&mut selector, path, SlaState::Down, s(101));
    }
    set(&mut selector, PathId(11), SlaState::Down, s(101));
    assert_eq!(moved(&mut selector, s(101)), Some((Cause::PathDown, Some(PathId(12)))));
}

#[test]
fn two_paths_that_violate_in_turn_are_left_without_tokens_too_once_the_other_has_met_the_sla_again()
{
    let mut selector =
        settled_with(ClassPolicy { failback_hold: Duration::from_secs(600), ..policy() });
    set(&mut selector, C, SlaState::Down, s(101));
    let mut moves = 0;
    // Every 40 s the path in use is damaged; the other one has met its SLA for 20 s by then.
    for turn in 0..30u64 {
        let at = s(200 + turn * 40);
        let used = selector.selected().unwrap();
        let other = if used == A { B } else { A };
        set(&mut selector, other, SlaState::Meets, at);
        let bad = at + Duration::from_secs(20);
        set(&mut selector, used, SlaState::Violates, bad);
        moves += u32::from(moved(&mut selector, bad) == Some((Cause::SlaViolated, Some(other))));
    }
    assert_eq!(moves, 30);
    // One that has only just met it again costs a token, and there are none left but those that came back.
    let tokens = selector.explain(s(1_400)).tokens_left;
    assert!(tokens > 0, "they were not needed");
}

#[test]
fn a_path_that_failed_and_meets_the_sla_for_a_moment_costs_a_token() {
    let mut selector = settled();
    set(&mut selector, C, SlaState::Down, s(101));
    let mut now = s(200);
    let mut taken = 0;
    // Two paths that meet their SLA for a second each.
    for _ in 0..40 {
        let used = selector.selected().unwrap();
        let other = if used == A { B } else { A };
        set(&mut selector, used, SlaState::Violates, now);
        set(&mut selector, other, SlaState::Meets, now);
        let _ = selector.poll(now);
        now = now + Duration::from_secs(6);
        set(&mut selector, other, SlaState::Violates, now - Duration::from_secs(5));
        set(&mut selector, other, SlaState::Meets, now - Duration::from_secs(1));
        taken += u32::from(moved(&mut selector, now).is_some());
    }
    assert!(taken <= policy::MOVE_TOKENS, "{taken}");
}
