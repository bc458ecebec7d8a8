//! Two ends on a virtual clock: the real pacers, sessions and monitors; every octet on an uplink is counted.

mod world;

use std::time::Duration;

use proptest::prelude::*;

use self::world::{FIBRE, LTE, Setup, World};
use super::*;
use crate::probe::{Allowance, exchange_bytes, keepalive_bytes, probe_bytes};
use crate::sla::Reach;

const S: Duration = Duration::from_secs(1);
const MONTH: Duration = policy::RESTING_PERIOD;

fn standby() -> Setup {
    Setup { lte: UplinkUse::Standby, used_ms: 1_000, ..Setup::default() }
}

/// What an uplink would carry in the longest month at the pace of `time`.
fn a_month(world: &World, uplink: u32, time: Duration) -> u64 {
    (u128::from(world.bytes(uplink)) * MONTH.as_micros() / time.as_micros()) as u64
}

#[test]
fn a_probe_costs_what_its_headers_say() {
    // Inner IPv6 40, UDP 8, STAMP 44, GRE 8, trailer 2, padded to 104; ESP 32, UDP 8, IPv4 20.
    assert_eq!(probe_bytes(0, false), 164);
    assert_eq!(probe_bytes(4, false), 280);
    assert_eq!(probe_bytes(4, true), 300);
    assert_eq!(exchange_bytes(4, false), 560);
    assert_eq!(keepalive_bytes(false), 29);
    let day = |ms| super::super::probe_bytes_per_path_per_day(4, false, Duration::from_millis(ms));
    assert_eq!((day(100), day(500)), (967_680_000, 193_536_000));
}

#[test]
fn an_allowance_is_kept_by_its_own_arithmetic() {
    for paths in [1, 2, 3, 4, 10, 64, 500] {
        for ipv6 in [false, true] {
            let allowance = Allowance::new(paths, ipv6);
            let month_s = MONTH.as_secs_f64();
            let endpoints = f64::from(paths) * month_s / allowance.keepalive.as_secs_f64();
            let probes = 2.0 * f64::from(paths) * month_s / allowance.interval.as_secs_f64();
            let steady =
                endpoints * keepalive_bytes(ipv6) as f64 + probes * exchange_bytes(0, ipv6) as f64;
            assert!(steady <= 50e6, "{paths}: {steady}");
            let most = endpoints * keepalive_bytes(ipv6) as f64
                + 2.0 * month_s * allowance.bytes_per_ks as f64 / 1e3;
            assert!((30e6..=45.1e6).contains(&most), "{paths}: {most}");
        }
    }
}

#[test]
fn a_month_of_standby_stays_below_fifty_megabytes_and_is_up_at_both_ends() {
    let mut world = World::new(standby());
    world.run_for(120 * S);
    world.forget_bytes();
    let time = 4 * 3600 * S;
    world.run_for(time);
    let month = a_month(&world, LTE, time);
    assert!((5_000_000..50_000_000).contains(&month), "{month} bytes a month");
    for end in 0..2 {
        for path in [3, 4] {
            assert_eq!(world.reach(end, path), Reach::Up, "end {end}, path {path}");
        }
    }
}

#[test]
fn a_standby_that_dies_and_comes_back_while_it_rests_is_noticed() {
    let mut world = World::new(standby());
    world.run_for(600 * S);
    world.blackhole(&[3, 4], true);
    let interval = Allowance::new(2, false).interval;
    world.run_for(interval + 10 * S);
    assert!((0..2).all(|end| world.reach(end, 4) == Reach::Down));
    world.blackhole(&[3, 4], false);
    world.run_for(interval + 15 * S);
    assert!((0..2).all(|end| world.reach(end, 4) == Reach::Up));
}

#[test]
fn trouble_on_the_path_in_use_wakes_the_standby_at_both_ends_until_it_is_over() {
    let mut world = World::new(Setup { used_ms: 100, ..standby() });
    world.run_for(60 * S);
    assert!((0..2).all(|end| world.cadence(end, 4) == Some(Cadence::Resting)));
    world.lose_next(0, 1, 12);
    world.run_for(Duration::from_millis(600));
    assert_eq!(world.cadence(0, 4), Some(Cadence::Standby));
    assert_eq!(world.cadence(1, 4), Some(Cadence::Standby), "the peer was told");
    assert_eq!(world.cadence(0, 3), Some(Cadence::Resting), "would not be taken next");
    world.run_for(15 * S);
    assert!((0..2).all(|end| world.cadence(end, 4) == Some(Cadence::Resting)));
}

#[test]
fn a_standby_in_use_is_probed_as_any_path_and_pays_from_no_allowance() {
    let mut world = World::new(Setup { used_ms: 100, ..standby() });
    world.run_for(30 * S);
    world.carry(&[4]);
    world.forget_bytes();
    let before = world.deferred();
    world.run_for(60 * S);
    let per_s = world.bytes(LTE) / 60;
    // Both ends, ten a second, four paths in each digest.
    assert!((10_000..12_500).contains(&per_s), "{per_s} bytes a second");
    assert_eq!(world.deferred(), before);
}

#[test]
fn nothing_is_sent_over_a_last_resort_while_another_path_is_up() {
    let mut world = World::new(Setup { lte: UplinkUse::LastResort, ..Setup::default() });
    world.run_for(120 * S);
    assert_eq!(world.bytes(LTE), 0);
}

#[test]
fn a_last_resort_is_up_soon_after_the_others_died_and_is_given_up_once_one_is_proven() {
    let mut world = World::new(Setup { lte: UplinkUse::LastResort, ..Setup::default() });
    world.run_for(60 * S);
    world.blackhole(&[1, 2], true);
    world.run_for(3 * S);
    assert!((0..2).all(|end| world.reach(end, 4) == Reach::Up));
    world.carry(&[4]);
    world.run_for(60 * S);
    world.blackhole(&[1, 2], false);
    world.run_for(60 * S);
    assert_eq!(world.cadence(0, 4), Some(Cadence::Used), "it carries still");
    world.carry(&[1]);
    world.run_for(policy::PEER_WANTS_TIME + 5 * S);
    assert!((0..2).all(|end| world.cadence(end, 4).is_none()));
    world.forget_bytes();
    world.run_for(60 * S);
    assert_eq!(world.bytes(LTE), 0);
}

#[test]
fn an_end_that_needs_the_last_resort_alone_gets_it_probed_by_the_other() {
    let mut world = World::new(Setup { lte: UplinkUse::LastResort, ..Setup::default() });
    world.run_for(60 * S);
    // End 0 sees no other path up; end 1 is told on the last resort itself.
    world.blackhole_way(&[1, 2], 0);
    world.pretend_down(0, &[1, 2]);
    world.run_for(3 * S);
    assert!((0..2).all(|end| world.cadence(end, 3) == Some(Cadence::Used)));
    assert!((0..2).all(|end| world.reach(end, 3) == Reach::Up));
}

#[test]
fn without_any_other_path_a_last_resort_is_used_at_once() {
    let mut resort = LastResort::new(Micros(0));
    assert!(resort.update(false, false, false, Micros(0)));
}

#[test]
fn idle_paths_slow_down_first_then_standbys_then_those_in_use() {
    // Own half of the budget, and what each path is then probed at: used, standby, idle and idle.
    let cases: [(u64, [f64; 3]); 5] = [
        // 560 octets an exchange: 5,600 used, 5,600 standby, 1,120 idle each.
        (27_000, [0.1, 0.1, 0.5]),
        (24_400, [0.1, 0.1, 1.12]),
        (20_000, [0.1, 0.130, 15.0]),
        (11_000, [0.104, 5.0, 15.0]),
        (1_800, [0.816, 5.0, 15.0]),
    ];
    for (budget, expected) in cases {
        let setup = Setup { fibre_budget: budget, all_on_fibre: true, ..Setup::default() };
        let world = World::new(setup);
        let intervals = [1, 2, 3].map(|path| world.interval(0, path).unwrap().as_secs_f64());
        for (interval, expected) in intervals.iter().zip(expected) {
            assert!((interval / expected - 1.0).abs() < 0.05, "{budget}: {intervals:?}");
        }
    }
}

#[test]
fn a_budget_that_is_large_enough_delays_nothing() {
    let times = [0, 40_000].map(|fibre_budget| {
        let setup = Setup { fibre_budget, all_on_fibre: true, ..Setup::default() };
        let mut world = World::new(setup);
        world.run_for(60 * S);
        world.blackhole(&[1], true);
        let begun = world.now;
        while world.reach(0, 1) == Reach::Up {
            world.run_for(Duration::from_millis(1));
        }
        world.now.since(begun)
    });
    assert_eq!(times[0], times[1], "with and without a budget");
    assert!(times[0] < Duration::from_millis(600), "{times:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Within any ten seconds the uplink carries no more than its budget for them, and what may have gathered before.
    #[test]
    fn a_budget_is_never_exceeded_beyond_its_burst(
        budget in 3_000u64..30_000,
        loss in 0.0f64..0.4,
        seed in any::<u64>(),
    ) {
        let setup = Setup { fibre_budget: budget, all_on_fibre: true, loss, seed, ..Setup::default() };
        let mut world = World::new(setup);
        world.run_for(120 * S);
        let kept = 2 * 4 * exchange_bytes(4, false);
        let burst = budget * policy::BUDGET_BURST_S + kept;
        let most = world.most_in(FIBRE, 10 * S);
        prop_assert!(most <= 10 * budget + burst, "{most} of {}", 10 * budget + burst);
        prop_assert_eq!(world.overdrawn(), 0);
    }

    /// However often trouble wakes it, a standby that carries nothing stays within its month.
    #[test]
    fn waking_stays_within_the_allowance(loss in 0.0f64..0.3, seed in any::<u64>()) {
        let mut world = World::new(Setup { used_ms: 250, loss, seed, ..standby() });
        world.run_for(60 * S);
        world.forget_bytes();
        let time = 900 * S;
        world.run_for(time);
        let gathered = 2 * (policy::RESTING_BURST_BYTES + 2 * exchange_bytes(4, false));
        let allowed = u128::from(policy::RESTING_BYTES) * time.as_micros() / MONTH.as_micros();
        let bytes = u128::from(world.bytes(LTE));
        prop_assert!(bytes <= allowed + u128::from(gathered), "{bytes} of {allowed} + {gathered}");
    }
}
