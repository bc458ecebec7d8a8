use super::bar::bar;
use super::outcome::Outcome;
use crate::fleet::ClearText;
use crate::report;

fn good() -> Outcome {
    Outcome {
        sites: 3,
        paths_expected: 8,
        paths_up: 8,
        time_to_all_up_ms: Some(2_345.678),
        blackholes_ms: vec![Some(300.0), Some(400.0), Some(350.0)],
        headless_ms: vec![Some(310.0)],
        brownout_move_ms: Some(1_200.0),
        failback_s: Some(31.0),
        rekeys: 15,
        rekey_lost: Some(0),
        restart_recovered: true,
        clear: ClearText { on_lan: 40_000, wan_frames: 90_000, ..ClearText::default() },
        ..Outcome::default()
    }
}

#[test]
fn what_went_well_makes_a_valid_report_and_nothing_is_wrong() {
    let outcome = good();
    assert_eq!(outcome.wrong(), Vec::<String>::new());
    let report = outcome.report();
    assert!(report.goals.values().all(|goal| goal.met), "{:?}", report.goals);
    report::check("demo", &serde_json::to_value(&report).unwrap()).unwrap();
}

#[test]
fn a_demo_that_got_nowhere_makes_a_valid_report_too_and_all_is_wrong() {
    let outcome = Outcome::default();
    assert!(outcome.wrong().len() >= 4, "{:?}", outcome.wrong());
    report::check("demo", &serde_json::to_value(outcome.report()).unwrap()).unwrap();
}

#[test]
fn a_missed_goal_of_time_is_not_wrong_but_each_of_these_is() {
    let mut slow = good();
    slow.blackholes_ms = vec![Some(9_000.0)];
    slow.failback_s = None;
    assert!(slow.wrong().is_empty());
    assert!(!slow.report().goals["blackhole_gap_max_ms"].met);

    type Spoil = fn(&mut Outcome);
    let spoils: [(&str, Spoil); 8] = [
        ("a run that never healed", |o| o.blackholes_ms.push(None)),
        ("a headless run that never healed", |o| o.headless_ms.push(None)),
        ("one packet in clear", |o| o.clear.on_wan = 1),
        ("a control that found too little", |o| o.clear.on_lan = 999),
        ("frames that were not searched", |o| o.clear.missed = 1),
        ("one packet lost at a rekey", |o| o.rekey_lost = Some(1)),
        ("too few rekeys", |o| o.rekeys = 4),
        ("an agent that did not come back", |o| o.restart_recovered = false),
    ];
    for (what, spoil) in spoils {
        let mut outcome = good();
        spoil(&mut outcome);
        assert_eq!(outcome.wrong().len(), 1, "{what}: {:?}", outcome.wrong());
    }
}

#[test]
fn bars_grow_with_their_value_and_end_at_their_width() {
    for (value, expected) in
        [(0.0, ""), (1.0, "▏"), (50.0, "██"), (75.0, "███"), (100.0, "████"), (900.0, "████")]
    {
        assert_eq!(bar(value, 100.0, 4), expected, "{value}");
    }
}
