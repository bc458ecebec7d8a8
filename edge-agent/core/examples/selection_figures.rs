//! What selection costs and how it errs, from simulation: `selection_figures [DAYS] [RUNS]`, one JSON object on stdout.
//!
//! DAYS of virtual time on two links with 0.1 % random loss and 2 ms jitter count false moves; RUNS of 2 % and 5 % loss each
//! way against a limit of 1 % say how long detection takes without traffic. The ends are the real state machines.

#[path = "../tests/sim/mod.rs"]
mod sim;

use std::hint::black_box;
use std::time::Duration;

use hawser_edge_core::config::SlaLimits;
use hawser_edge_core::id::{ClassId, EdgeId, PathId, TunnelId, UplinkId};
use hawser_edge_core::probe::{
    Cadence, Intervals, Outcome, ProbeConfig, ProbeSession, Sample, Settled,
};
use hawser_edge_core::select::{CandidateSpec, ClassPolicy, Selector};
use hawser_edge_core::sla::{PathMonitor, SlaClass};
use hawser_edge_core::stamp::decapsulate;
use hawser_edge_core::time::Micros;
use nix::time::{ClockId, clock_gettime};
use sim::{PathSpec, Random, World, ms, quantile};

const LIMITS: fn() -> SlaLimits = || SlaLimits { max_loss_ppm: 10_000, ..SlaLimits::default() };
const PATHS: usize = 4;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut number = |default: u64| match arguments.next() {
        None => default,
        Some(Ok(number)) if number > 0 => number,
        Some(_) => {
            eprintln!("usage: selection_figures [DAYS] [RUNS]");
            std::process::exit(2);
        }
    };
    let (days, runs) = (number(30), number(50));
    let moves = false_moves(days);
    let [two, five] = [0.02, 0.05].map(|loss| detection_s(loss, runs));
    let update_ns = update_ns();
    let cycle_ns = cycle_ns();
    let [used, idle] = [Cadence::Used, Cadence::Idle].map(bytes_per_day);
    let spread = |s: &[f64]| {
        let sorted: Vec<u64> = s.iter().map(|s| (s * 1e3) as u64).collect();
        let at = |percent| quantile(&sorted, percent) as f64 / 1e3;
        let p99 = if s.len() >= 200 { at(99).to_string() } else { "null".to_owned() };
        format!(
            "{{\"runs\": {}, \"p50\": {}, \"p99\": {p99}, \"max\": {}}}",
            s.len(),
            at(50),
            at(100)
        )
    };
    println!(
        "{{\"days\": {days}, \"false_moves\": {moves}, \"false_moves_per_30_days\": {}, \
         \"detect_loss_2pct_s\": {}, \"detect_loss_5pct_s\": {}, \"update_ns\": {update_ns:.0}, \
         \"probe_cycle_ns\": {cycle_ns:.0}, \"paths_per_core\": {:.0}, \
         \"probe_bytes_per_path_per_day_used\": {used}, \"probe_bytes_per_path_per_day_idle\": {idle}}}",
        moves as f64 * 30.0 / days as f64,
        spread(&two),
        spread(&five),
        // Ten probes a second, each sent, answered and judged at this end, and one of the peer's reflected.
        1e9 / (10.0 * cycle_ns),
    );
}

fn pair() -> [PathSpec; 2] {
    [PathSpec { rtt_ms: 40, preference: 0 }, PathSpec { rtt_ms: 55, preference: 1 }]
}

/// Moves of both ends after the start; a day is a world of its own.
fn false_moves(days: u64) -> usize {
    let day = |seed| {
        let mut world = World::new(&pair(), LIMITS(), ms(30_000), seed);
        for link in world.links.iter_mut().flatten() {
            link.loss = 0.001;
            link.jitter = ms(2);
        }
        world.run_for(Duration::from_secs(86_400));
        let decisions = world.ends.iter().flat_map(|end| &end.decisions);
        // The first minute is the start: paths are taken as they come up.
        let moves: Vec<_> = decisions.filter(|d| d.at > Micros(60_000_000)).collect();
        moves.iter().for_each(|decision| eprint!("day {seed}: {decision}"));
        moves.len()
    };
    on_all_cores(days, day).into_iter().sum()
}

/// `job` for each number below `count`, in no particular order.
fn on_all_cores<T: Send>(count: u64, job: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    std::thread::scope(|scope| {
        let job = &job;
        let worker = |first| {
            scope.spawn(move || {
                (first..count).step_by(workers as usize).map(job).collect::<Vec<T>>()
            })
        };
        let started: Vec<_> = (0..workers).map(worker).collect();
        started.into_iter().flat_map(|w| w.join().expect("no worker panics")).collect()
    })
}

/// Seconds from the fault to the move, sorted.
fn detection_s(loss: f64, runs: u64) -> Vec<f64> {
    let run = |seed: u64| {
        let mut world = World::new(&pair(), LIMITS(), ms(30_000), 1_000 + seed);
        let warm = Random(seed).next() % 1_000_000;
        world.run_until(Micros(30_000_000 + warm), |_| false);
        let (at, before) = (world.now, world.ends[0].decisions.len());
        world.links[0].iter_mut().for_each(|link| link.loss = loss);
        world.run_until(at + Duration::from_secs(3_600), |w| w.ends[0].decisions.len() > before);
        world.now.since(at).as_secs_f64()
    };
    let mut times = on_all_cores(runs, run);
    times.sort_by(f64::total_cmp);
    times
}

/// What this thread has had of a processor: what else runs on the machine does not count.
fn cpu_ns() -> f64 {
    let spent = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has it");
    Duration::from(spent).as_nanos() as f64
}

/// Verdict and selection for one probe result, of four paths and one class.
fn update_ns() -> f64 {
    let now = Micros(0);
    let class =
        SlaClass { name: "c".into(), limits: SlaLimits { max_rtt_us: 150_000, ..LIMITS() } };
    let path = |index: usize| PathId(index as u32 + 1);
    let mut monitors: Vec<PathMonitor> =
        (0..PATHS).map(|i| PathMonitor::new(path(i), vec![class.clone()], now)).collect();
    let spec = |index: usize| CandidateSpec {
        path: path(index),
        local_uplink: UplinkId(index as u32 / 2),
        remote_uplink: UplinkId(10 + index as u32 % 2),
        ..CandidateSpec::default()
    };
    let policy = ClassPolicy {
        tunnel: TunnelId(1),
        class: ClassId(1),
        class_name: "c".into(),
        failback_hold: ms(10_000),
        dwell: ms(2_000),
        drop_when_none_meets: false,
        follows_peer: false,
        mode: Default::default(),
    };
    let mut selector = Selector::new(policy, (0..PATHS).map(spec).collect(), now);
    (0..PATHS).for_each(|index| selector.handle_path_admin(path(index), true, now));
    const ROUNDS: u64 = 400_000;
    let began = cpu_ns();
    for sequence in 0..ROUNDS {
        let now = Micros(sequence * 25_000);
        let index = sequence as usize % PATHS;
        let rtt = Duration::from_micros(40_000 + sequence % 977);
        let outcome = Outcome::Rtt { rtt };
        let sequence = sequence / PATHS as u64;
        let sample = Sample {
            sequence,
            sent: now,
            known: now,
            outcome,
            settled: Settled::default(),
            ipdv: None,
        };
        monitors[index].handle_sample(&sample);
        monitors[index].handle_time(now);
        let health = monitors[index].health("c", false);
        selector.handle_quality(path(index), &health, now);
        black_box(selector.poll(now));
    }
    (cpu_ns() - began) / ROUNDS as f64
}

fn session(side: u32) -> ProbeSession {
    let config = ProbeConfig {
        path: PathId(1),
        local: EdgeId(1 + side),
        peer: EdgeId(2 - side),
        intervals: Intervals::from_profile(100, 500),
        cadence: Cadence::Used,
        seed: 7 << 48,
        unix_at_zero: Duration::from_secs(1_700_000_000),
        least_bytes: 0,
    };
    ProbeSession::new(config, Micros(0))
}

/// All that one end does for one probe of its own and one of its peer's: half of what both ends do for two.
fn cycle_ns() -> f64 {
    let mut ends = [session(0), session(1)];
    let class = SlaClass { name: "c".into(), limits: LIMITS() };
    let mut monitor = PathMonitor::new(PathId(1), vec![class], Micros(0));
    const ROUNDS: u64 = 100_000;
    let began = cpu_ns();
    for round in 1..=ROUNDS {
        let now = Micros(round * 100_000);
        for side in 0..2 {
            let digest: Vec<_> = (0..PATHS).map(|_| ends[side].heard(now)).collect();
            let Some(probe) = ends[side].poll_transmit(now, &digest) else { continue };
            let packet = decapsulate(&probe.inner).expect("our own");
            let request = ends[1 - side].handle_request(&packet, now, now, &digest);
            let reply = request.expect("within the rate").reply;
            let packet = decapsulate(&reply).expect("our own");
            let later = now + ms(40);
            let reply = ends[side].handle_reply(&packet, later).expect("it waits");
            reply.peer_digest.iter().for_each(|entry| monitor.handle_peer_digest(entry, later));
            while let Some(sample) = ends[side].poll_sample() {
                monitor.handle_sample(&sample);
            }
            black_box(monitor.health("c", false));
        }
    }
    (cpu_ns() - began) / (2 * ROUNDS) as f64
}

/// Sent by one end on a path of a tunnel with four, outer headers included: its probes and its replies.
fn bytes_per_day(cadence: Cadence) -> u64 {
    let mut session = session(0);
    let digest: Vec<_> = (0..PATHS).map(|_| session.heard(Micros(0))).collect();
    let probe = session.poll_transmit(Micros(200_000), &digest).expect("due");
    let a_day_us = 86_400_000_000;
    let interval_us = Intervals::from_profile(100, 500).of(cadence).as_micros() as u64;
    2 * outer_bytes(probe.inner.len() as u64) * a_day_us / interval_us
}

/// IPv4, UDP, ESP header and IV, GRE with its key, trailer aligned to 4, ICV.
fn outer_bytes(inner: u64) -> u64 {
    20 + 8 + 8 + 8 + (8 + inner + 2).next_multiple_of(4) + 16
}
