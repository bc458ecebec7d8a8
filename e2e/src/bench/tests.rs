use super::outcome::Outcome;
use super::plan::{Order, What};
use super::pool::{News, Pool};
use super::report::Report;
use super::run::Run;
use super::simulation::Simulated;
use super::star::{self, Manner};
use super::stop::Stop;
use crate::fleet::ClearText;
use crate::report as reports;
use std::sync::mpsc::channel;

fn order() -> Order {
    Order::new(false, &[], 4, 1)
}

/// Every run took 10 of its unit.
fn good(order: &Order) -> Outcome {
    let mut outcome = Outcome {
        clear: ClearText { on_lan: 40_000, wan_frames: 90_000, ..ClearText::default() },
        searched: true,
        simulated: Some(Simulated {
            days: 30.0,
            false_moves_per_30_days: 0.0,
            detect_loss_2pct_s: 4.into(),
            detect_loss_5pct_s: 2.into(),
            update_ns: 900.0,
            paths_per_core: 110_000.0,
            probe_bytes_per_path_per_day_used: 1e8,
            probe_bytes_per_path_per_day_idle: 2e7,
        }),
        ..Outcome::default()
    };
    for (&what, &runs) in order.runs.iter().filter(|(what, _)| **what != What::Simulation) {
        let value = if what == What::FailBack { 0.0 } else { 10.0 };
        let run = Run { variant: "hub_dead", ..Run::new(Some(value), 0.0) };
        outcome.runs.insert(what, vec![run; runs]);
    }
    outcome
}

fn is_valid(outcome: &Outcome, order: &Order) -> Report {
    let report = Report::of(outcome, order);
    reports::check("selection", &serde_json::to_value(&report).unwrap()).unwrap();
    report
}

#[test]
fn what_went_well_makes_a_valid_report_that_meets_every_goal() {
    let order = order();
    let outcome = good(&order);
    assert_eq!(outcome.wrong(&order), Vec::<String>::new());
    let report = is_valid(&outcome, &order);
    assert!(report.complete);
    assert!(report.goals.values().all(|goal| goal.met), "{:?}", report.goals);
    assert_eq!(report.goals.len(), 16);
    assert_eq!(report.blackhole_gap_ms.p99, Some(10.0));
}

#[test]
fn a_benchmark_that_got_nowhere_makes_a_valid_report_too_and_all_is_wrong() {
    let order = order();
    let report = is_valid(&Outcome::default(), &order);
    assert!(!report.complete && report.goals.values().all(|goal| !goal.met));
    assert_eq!(Outcome::default().wrong(&order).len(), order.runs.len());
    // Who stops it has not found anything wrong.
    let stopped = Outcome { interrupted: true, ..Outcome::default() };
    assert_eq!(stopped.wrong(&order), Vec::<String>::new());
    assert!(!is_valid(&stopped, &order).complete);
}

#[test]
fn a_missed_goal_of_time_is_not_wrong_but_each_of_these_is() {
    let order = order();
    let mut slow = good(&order);
    for what in [What::Blackhole, What::Jitter, What::Hub, What::Duplicate] {
        slow.runs.entry(what).and_modify(|runs| runs[0].value = Some(9_999.0));
    }
    assert!(slow.wrong(&order).is_empty());
    assert!(!is_valid(&slow, &order).goals["hub_failover_gap_max_ms"].met);

    type Spoil = fn(&mut Outcome);
    let spoils: [(&str, Spoil); 8] = [
        ("a gap that never healed", |o| o.runs.entry(What::Blackhole).or_default()[0].value = None),
        ("a path that was never left", |o| o.runs.entry(What::Jitter).or_default()[0].value = None),
        ("too few runs", |o| drop(o.runs.entry(What::Hub).or_default().pop())),
        ("no simulation", |o| o.simulated = None),
        ("a packet lost at a fail-back", |o| {
            o.runs.entry(What::FailBack).or_default()[3].value = Some(1.0);
        }),
        ("more voluntary moves than the bucket gives", |o| {
            o.runs.entry(What::Flapping).or_default()[2].voluntary = 6;
        }),
        ("one packet in clear", |o| o.clear.on_wan = 1),
        ("frames that were not searched", |o| o.clear.missed = 1),
    ];
    for (what, spoil) in spoils {
        let mut outcome = good(&order);
        spoil(&mut outcome);
        assert_eq!(outcome.wrong(&order).len(), 1, "{what}: {:?}", outcome.wrong(&order));
        is_valid(&outcome, &order);
    }
}

#[test]
fn only_what_is_ordered_has_goals_and_is_missed() {
    let gaps = What::named("blackhole").unwrap();
    assert_eq!(gaps, [What::Blackhole]);
    assert_eq!(What::named("brownout").unwrap().len(), 2);
    assert!(What::named("weather").unwrap_err().contains("jitter_move_ms"));
    let order = Order::new(true, &gaps, 4, 1);
    let mut outcome = good(&order);
    outcome.simulated = None;
    assert_eq!(outcome.wrong(&order), Vec::<String>::new());
    let report = is_valid(&outcome, &order);
    assert!(report.complete && report.goals.contains_key("blackhole_gap_p99_ms"));
    assert!(!report.goals.contains_key("paths_per_core"));
    assert_eq!(report.blackhole_gap_ms.p99, None, "30 runs tell no p99");
}

/// What a pool makes of runs that stand still: the values of runs that count, how many are repeated, how many fail.
fn shared_out(wanted: usize, make: impl Fn(usize) -> Run) -> (Vec<Option<f64>>, usize, usize) {
    let stop = Stop::default();
    let pool = Pool::new(&[(What::Blackhole, wanted)], &stop);
    let (told, heard) = channel();
    let made = std::cell::Cell::new(0);
    pool.work(&told, |_| {
        made.set(made.get() + 1);
        Ok(make(made.get()))
    });
    drop(told);
    let (mut values, mut repeated, mut failed) = (Vec::new(), 0, 0);
    for news in heard {
        match news {
            News::Done(_, run) => values.push(run.value),
            News::Repeated(..) => repeated += 1,
            News::Failed(..) => failed += 1,
        }
    }
    (values, repeated, failed)
}

#[test]
fn a_run_on_a_machine_that_stood_still_is_repeated_at_most_one_in_five() {
    let still = |number: usize| Run::new(Some(number as f64), 80.0);
    let (values, repeated, failed) = shared_out(10, still);
    assert_eq!((values.len(), repeated, failed), (10, 2, 0));
    assert_eq!(values[0], Some(3.0), "the first two are made again");
    let (values, repeated, _) = shared_out(10, |_| Run::new(None, 1.0));
    assert_eq!((values.len(), repeated), (10, 0), "an unhealed run counts");
}

#[test]
fn a_run_that_hit_nothing_never_counts() {
    let void = |number: usize| Run { void: number > 5, ..Run::new(Some(1.0), 0.0) };
    let (values, repeated, failed) = shared_out(10, void);
    assert_eq!((values.len(), repeated, failed), (5, 2, 5));
}

#[test]
fn a_worker_that_fails_again_and_again_leaves_its_run_to_others() {
    let stop = Stop::default();
    let pool = Pool::new(&[(What::Jitter, 2)], &stop);
    let (told, heard) = channel();
    let broken = || crate::fleet::FleetError::NotRunning { what: "the agent".to_owned() };
    pool.work(&told, |_| Err(broken()));
    pool.work(&told, |_| Ok(Run::new(Some(1.0), 0.0)));
    drop(told);
    let news: Vec<News> = heard.iter().collect();
    let done = news.iter().filter(|news| matches!(news, News::Done(..))).count();
    assert_eq!((news.len(), done), (5, 2), "{news:?}");
}

#[test]
fn stars_of_every_size_are_sound() {
    let manner = Manner { failback_hold_s: 300, max_jitter_ms: Some(20), duplicate: true };
    for count in [1, 4, star::MAX_BRANCHES] {
        let spec = star::star(count, manner, 7).unwrap();
        assert_eq!(spec.edges.len(), count + 1);
        assert!(spec.document.contains("failback_hold_s: 300, mode: duplicate"));
        assert!(spec.document.contains("max_jitter_ms: 20, max_loss_pct: 1"));
        for branch in star::branches(count) {
            for uplink in star::UPLINKS {
                assert!(spec.topology.links.contains_key(&star::link(&branch, uplink)));
            }
        }
    }
}
