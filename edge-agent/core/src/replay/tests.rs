use std::time::Duration;

use super::*;
use crate::select::Cause;

const BAD_ABOVE: Duration = Duration::from_millis(300);

/// 5 Hz; each uplink's RTT in ms by row, 0 for lost.
fn trace(rows: usize, rtt_ms: impl Fn(usize) -> [u32; 2]) -> Trace {
    let mut text = "t_ms,a,b\n".to_owned();
    for row in 0..rows {
        let field = |ms: u32| if ms == 0 { String::new() } else { ms.to_string() };
        let [a, b] = rtt_ms(row).map(field);
        text.push_str(&format!("{},{a},{b}\n", row * 200));
    }
    Trace::parse(&text).expect("sound")
}

fn replay(trace: &Trace, start: usize) -> Replayed {
    run(trace, start, &ReplayPolicy::built_in(), BAD_ABOVE)
}

#[test]
fn a_recording_is_read_with_its_losses() {
    let trace = Trace::parse("t_ms,isp-a,isp-b\n0,20.5,\n200,,31\n").unwrap();
    assert_eq!(trace.uplinks, ["isp-a", "isp-b"]);
    assert_eq!(trace.rows[0].rtt, [Some(Duration::from_micros(20_500)), None]);
    assert_eq!(
        (trace.time(), trace.interval()),
        (Duration::from_millis(400), Duration::from_millis(200))
    );
}

#[test]
fn what_is_no_recording_is_refused_with_its_line() {
    for (text, code, place) in [
        ("", "TRACE_HEADER", "line 1"),
        ("time,a\n0,1\n", "TRACE_HEADER", "line 1"),
        ("t_ms\n0\n", "TRACE_HEADER", "line 1"),
        ("t_ms,a\n", "TRACE_EMPTY", "no row"),
        ("t_ms,a,b\n0,1\n", "TRACE_FIELDS", "line 2"),
        ("t_ms,a\n0,1\n200,x\n", "TRACE_NUMBER", "line 3"),
        ("t_ms,a\n0,-1\n", "TRACE_NUMBER", "line 2"),
        ("t_ms,a\n0,NaN\n", "TRACE_NUMBER", "line 2"),
        ("t_ms,a\n200,1\n200,1\n", "TRACE_ORDER", "line 3"),
    ] {
        let error = Trace::parse(text).unwrap_err();
        assert_eq!(error.code(), code, "{text:?}");
        assert!(error.to_string().contains(place), "{error}");
    }
}

#[test]
fn good_uplinks_are_left_alone() {
    let replayed = replay(&trace(500, |row| [40 + row as u32 % 7, 60]), 0);
    assert_eq!((replayed.ticks, replayed.bad, replayed.switches), (500, 0, 0));
}

#[test]
fn an_outage_is_left_after_two_overdue_probes_and_not_sooner() {
    let replayed = replay(&trace(200, |row| [if row >= 100 { 0 } else { 40 }, 60]), 0);
    assert_eq!((replayed.bad, replayed.switches), (2, 1));
    assert_eq!(replayed.decisions[0].cause, Cause::PathDown);
    assert_eq!(replayed.decisions[0].at.0, 102 * 200_000);
}

#[test]
fn on_a_slow_uplink_a_pause_is_longer() {
    let replayed = replay(&trace(200, |row| [if row >= 100 { 0 } else { 150 }, 160]), 0);
    assert_eq!((replayed.bad, replayed.switches), (3, 1));
    assert_eq!(replayed.decisions[0].cause, Cause::PathDown);
    assert_eq!(replayed.decisions[0].at.0, 103 * 200_000);
}

#[test]
fn one_lost_probe_moves_nothing() {
    let replayed = replay(&trace(500, |row| [if row % 100 == 50 { 0 } else { 40 }, 60]), 0);
    assert_eq!((replayed.bad, replayed.switches), (5, 0));
}

#[test]
fn an_uplink_that_is_dead_from_the_start_is_left() {
    let replayed = replay(&trace(100, |_| [0, 60]), 0);
    assert_eq!(replayed.switches, 1);
    assert!(replayed.bad <= 4, "{} bad", replayed.bad);
}

#[test]
fn spikes_count_as_losses_where_the_class_has_a_deadline() {
    let spiky = trace(400, |row| [if row % 4 == 0 && row > 100 { 650 } else { 40 }, 60]);
    let replayed = replay(&spiky, 0);
    assert_eq!((replayed.switches, replayed.decisions[0].cause), (1, Cause::SlaViolated));
    let mut patient = ReplayPolicy::built_in();
    patient.limits.max_rtt_us = 0;
    assert_eq!(
        run(&spiky, 0, &patient, BAD_ABOVE).switches,
        0,
        "without one a late answer is none"
    );
}

#[test]
fn a_duplicated_packet_is_hurt_only_where_both_copies_are() {
    let trace = trace(200, |row| [u32::from(row % 3 != 0) * 40, u32::from(row % 2 != 0) * 60]);
    let policy = ReplayPolicy { mode: ClassMode::Duplicate, ..ReplayPolicy::built_in() };
    let replayed = run(&trace, 0, &policy, BAD_ABOVE);
    assert!(replayed.bad >= 30, "{}", replayed.bad);
    let single = run(&trace, 0, &ReplayPolicy::built_in(), BAD_ABOVE);
    assert!(replayed.bad < single.bad, "{} {}", replayed.bad, single.bad);
}

#[test]
fn a_policy_sees_nothing_before_it_is_known() {
    // The same up to row 100: whatever comes after, every decision before it is the same.
    let common = |row: usize| [if row.is_multiple_of(9) { 0 } else { 40 }, 60];
    let calm = trace(200, |row| if row < 100 { common(row) } else { [40, 60] });
    let dead = trace(200, |row| if row < 100 { common(row) } else { [0, 0] });
    let before = |trace: &Trace| {
        let decisions = replay(trace, 0).decisions;
        let before = decisions.into_iter().filter(|d| d.at.0 <= 100 * 200_000);
        before.map(|d| d.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(before(&calm), before(&dead));
}
