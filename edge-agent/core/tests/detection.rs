//! How fast damage is found, and how seldom noise is taken for it: the real state machines on a virtual clock.

mod sim;

use hawser_edge_core::config::{Sensitivity, SlaLimits};
use hawser_edge_core::id::PathId;
use hawser_edge_core::select::Cause;
use hawser_edge_core::time::Micros;
use sim::{PathSpec, Random, World, ms, quantile};

const NO_LIMIT: SlaLimits = SlaLimits {
    max_rtt_us: 0,
    max_jitter_us: 0,
    max_loss_ppm: 0,
    sensitivity: Sensitivity {
        loss_confidence_ppm: 0,
        loss_mended_ms: 0,
        delay_damage_ms: 0,
        delay_mended_ms: 0,
    },
};
const LOSS_1_PERCENT: SlaLimits = SlaLimits { max_loss_ppm: 10_000, ..NO_LIMIT };

fn pair(rtt_ms: u64) -> [PathSpec; 2] {
    [PathSpec { rtt_ms, preference: 0 }, PathSpec { rtt_ms: rtt_ms + 15, preference: 1 }]
}

/// Time in ms from a fault to the first decision after it, over seeds; `None`: none within `limit_ms`.
fn times(
    limits: SlaLimits,
    rtt_ms: u64,
    runs: u64,
    limit_ms: u64,
    fault: impl Fn(&mut World),
) -> (Vec<u64>, Vec<Cause>) {
    let mut found = Vec::new();
    let mut causes = Vec::new();
    for seed in 0..runs {
        let mut world = World::new(&pair(rtt_ms), limits, ms(5_000), seed);
        let warm = Random(seed ^ 0xfa17).next() % 1_000_000;
        world.run_until(Micros(20_000_000 + warm), |_| false);
        assert_eq!(world.ends[0].selector.selected(), Some(PathId(1)), "seed {seed}");
        let (at, before) = (world.now, world.ends[0].decisions.len());
        fault(&mut world);
        let moved = |w: &World| w.ends[0].decisions.len() > before;
        assert!(world.run_until(at + ms(limit_ms), moved), "seed {seed}: nothing moved");
        let decision = &world.ends[0].decisions[before];
        assert_eq!(decision.to, Some(PathId(2)), "seed {seed}: {decision}");
        found.push(decision.at.since(at).as_millis() as u64);
        causes.push(decision.cause);
    }
    found.sort_unstable();
    (found, causes)
}

#[test]
fn a_blackhole_is_left_within_three_intervals_and_a_timeout() {
    for (rtt_ms, p50_goal) in [(20, 300), (35, 300), (40, 300), (100, 400), (200, 550)] {
        let (found, causes) = times(NO_LIMIT, rtt_ms, 200, 2_000, |world| world.fault(0, true));
        let [p50, p99] = [50, 99].map(|q| quantile(&found, q));
        let max = found[found.len() - 1];
        println!("blackhole, RTT {rtt_ms} ms: p50 {p50} ms, p99 {p99} ms, max {max} ms");
        assert!(causes.iter().all(|&c| c == Cause::PathDown));
        assert!(p50 <= p50_goal, "p50 {p50} ms at RTT {rtt_ms} ms");
        let timeout = (rtt_ms + 20).max(60);
        assert!(max <= 300 + timeout, "max {max} ms at RTT {rtt_ms} ms");
    }
}

#[test]
fn a_path_dead_one_way_is_left_as_fast() {
    let (found, _) = times(NO_LIMIT, 40, 100, 2_000, |world| world.links[0][0].blackhole = true);
    println!("dead forward: p50 {} ms, max {} ms", quantile(&found, 50), found[found.len() - 1]);
    assert!(found[found.len() - 1] <= 360);
}

#[test]
fn five_percent_loss_is_left_in_seconds_where_one_is_allowed() {
    let (found, causes) = times(LOSS_1_PERCENT, 40, 100, 60_000, |world| {
        world.links[0].iter_mut().for_each(|link| link.loss = 0.05);
    });
    let [p50, p99] = [50, 99].map(|q| quantile(&found, q));
    let down = causes.iter().filter(|&&c| c == Cause::PathDown).count();
    println!("5 % loss, limit 1 %: p50 {p50} ms, p99 {p99} ms; {down} of 100 taken for down");
    assert!(p50 <= 5_000, "p50 {p50} ms");
    assert!(p99 <= 20_000, "p99 {p99} ms");
    assert!(down <= 20);
}

#[test]
fn two_percent_loss_is_left_in_a_minute_where_one_is_allowed() {
    let (found, _) = times(LOSS_1_PERCENT, 40, 50, 600_000, |world| {
        world.links[0].iter_mut().for_each(|link| link.loss = 0.02);
    });
    let [p50, p90] = [50, 90].map(|q| quantile(&found, q));
    println!("2 % loss, limit 1 %: p50 {p50} ms, p90 {p90} ms");
    assert!(p50 <= 60_000, "p50 {p50} ms");
}

#[test]
fn jitter_is_left_in_seconds() {
    let limits = SlaLimits { max_jitter_us: 20_000, ..NO_LIMIT };
    let (found, causes) = times(limits, 40, 50, 30_000, |world| {
        world.links[0].iter_mut().for_each(|link| link.jitter = ms(80));
    });
    let p50 = quantile(&found, 50);
    println!("jitter: p50 {p50} ms, max {} ms", found[found.len() - 1]);
    let down = causes.iter().filter(|&&c| c == Cause::PathDown).count();
    println!("jitter taken for down: {down} of 50");
    assert!(p50 <= 3_000, "p50 {p50} ms");
}

#[test]
fn five_percent_loss_is_seldom_taken_for_down() {
    let hours = 2;
    let mut downs = 0;
    for seed in 0..hours {
        let mut world = World::new(&pair(40), NO_LIMIT, ms(30_000), seed);
        world.links[0].iter_mut().for_each(|link| link.loss = 0.05);
        world.run_for(ms(3_600_000));
        downs += world.ends[0].downs[0];
    }
    println!("5 % loss each way: {downs} times taken for down in {hours} h");
    assert!(downs <= 3 * hours as u32, "{downs} in {hours} h");
}

#[test]
fn a_tenth_of_a_percent_of_loss_moves_nothing_in_hours() {
    quiet(1);
}

#[test]
#[ignore = "long: three virtual days"]
fn a_tenth_of_a_percent_of_loss_moves_nothing_in_days() {
    quiet(72);
}

fn quiet(hours: u64) {
    let mut world = World::new(&pair(40), LOSS_1_PERCENT, ms(30_000), 7);
    for link in world.links.iter_mut().flatten() {
        link.loss = 0.001;
        link.jitter = ms(2);
    }
    world.run_for(ms(hours * 3_600_000));
    let moves: usize = world.ends.iter().map(|end| end.decisions.len() - 1).sum();
    let log: Vec<String> = world.ends[0].decisions.iter().map(|d| d.summary.clone()).collect();
    println!("0.1 % loss, 2 ms jitter: {moves} moves of two ends in {hours} h");
    assert!(moves == 0, "{log:#?}");
}

#[test]
fn it_comes_back_after_the_hold_and_only_once() {
    let mut world = World::new(&pair(20), LOSS_1_PERCENT, ms(30_000), 3);
    world.run_for(ms(20_000));
    world.fault(0, true);
    world.run_for(ms(10_000));
    assert_eq!(world.ends[0].selector.selected(), Some(PathId(2)));
    world.fault(0, false);
    let healed = world.now;
    world.run_for(ms(120_000));
    let last = world.ends[0].decisions.last().unwrap();
    assert_eq!((last.cause, last.to), (Cause::FailBack, Some(PathId(1))));
    let after = last.at.since(healed);
    println!("fail-back {} ms after the path healed, hold 30 s", after.as_millis());
    assert!(after >= ms(30_000) && after < ms(34_000), "{after:?}");
    assert_eq!(world.ends[0].decisions.len(), 3);
}

#[test]
fn a_flapping_path_is_left_alone_for_longer_and_longer() {
    let mut world = World::new(&pair(20), NO_LIMIT, ms(10_000), 5);
    world.run_for(ms(20_000));
    // Dead for 5 s of every 30 s, for an hour.
    for _ in 0..120 {
        world.fault(0, true);
        world.run_for(ms(5_000));
        world.fault(0, false);
        world.run_for(ms(25_000));
    }
    let moves = world.ends[0].decisions.len();
    println!("flapping for an hour: {moves} decisions");
    assert!(moves <= 14, "{moves} decisions");
    assert_eq!(world.ends[0].selector.selected(), Some(PathId(2)));
}

#[test]
fn when_every_path_dies_it_says_so_and_starts_again() {
    let mut world = World::new(&pair(20), NO_LIMIT, ms(30_000), 9);
    world.run_for(ms(10_000));
    world.fault(0, true);
    world.fault(1, true);
    world.run_for(ms(5_000));
    assert_eq!(world.ends[0].selector.selected(), None);
    assert_eq!(world.ends[0].decisions.last().unwrap().cause, Cause::NoneLeft);
    world.fault(1, false);
    let healed = world.now;
    assert!(world.run_until(healed + ms(2_000), |w| w.ends[0].selector.selected().is_some()));
    assert_eq!(world.ends[0].decisions.last().unwrap().cause, Cause::Start);
}

#[test]
fn a_delay_step_alone_ends_on_a_path_that_works() {
    for (seed, rtt) in [(1, 150), (2, 300), (3, 600)] {
        let mut world = World::new(&pair(40), NO_LIMIT, ms(30_000), seed);
        world.run_for(ms(20_000));
        world.links[0].iter_mut().for_each(|link| link.delay = ms(rtt / 2));
        world.run_for(ms(30_000));
        let end = &world.ends[0];
        println!("delay to {rtt} ms: {} moves", end.decisions.len() - 1);
        assert!(end.selector.selected().is_some());
        assert!(end.decisions.len() <= 3);
    }
}
