//! What is measured, in which order: contenders in turns, so that a slow minute of the machine is everyone's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hawser_edge::dataplane::Lanes;
use hawser_esp::Suite;
use serde_json::Value;

use crate::hawser::{self, Hawser};
use crate::rig::{Rig, outside};
use crate::{Fault, cpu, peers, report, tcp, udp};

/// How much time is spent.
pub struct Effort {
    /// Of everything but suites.
    pub rounds: usize,
    pub seconds_per_run: u32,
    pub suite_rounds: usize,
    /// One rate of datagrams.
    pub trial: Duration,
    pub delays_per_round: usize,
}

impl Effort {
    pub const FULL: Effort = Effort {
        rounds: 5,
        seconds_per_run: 3,
        suite_rounds: 3,
        trial: Duration::from_millis(400),
        delays_per_round: 1_000,
    };
    pub const QUICK: Effort = Effort {
        rounds: 2,
        seconds_per_run: 1,
        suite_rounds: 1,
        trial: Duration::from_millis(200),
        delays_per_round: 200,
    };
}

pub const VETH: &str = "veth";
pub const HAWSER: &str = "hawser";
/// Of datagrams, without headers.
pub const PAYLOADS_BYTES: [usize; 2] = [64, 1_300];
pub const FLOWS: [usize; 3] = [1, 4, 16];

/// Every single figure, by what and whose.
pub type Figures = BTreeMap<String, Vec<f64>>;

#[derive(Default)]
pub struct Results {
    pub tcp_gbps: Figures,
    /// By payload.
    pub kpps: BTreeMap<usize, Figures>,
    /// Medians and 99th percentiles of each round.
    pub delay_p50_us: Figures,
    pub delay_p99_us: Figures,
    pub flows_gbps: BTreeMap<usize, Vec<f64>>,
    pub both_ways_gbps: [Vec<f64>; 2],
    pub suites_gbps: Figures,
    /// Of our threads while one stream ran, by kind: seconds in user mode and in the kernel a second.
    pub cpu: BTreeMap<String, [Vec<f64>; 2]>,
    pub features: hawser::Features,
    pub drops: [BTreeMap<&'static str, u64>; 2],
}

pub fn all(effort: &Effort, lanes: Lanes) -> Result<Value, Fault> {
    let begun = Instant::now();
    let hawser = Hawser::new(lanes)?;
    let veth = Rig::new(VETH, &hawser.nets, outside(), ())?;
    let tunnel = hawser.rig()?;
    let peers = peers::all();
    let contenders: Vec<&Rig> = [&veth, &tunnel].into_iter().chain(&peers).collect();
    let mut results = Results { features: hawser.features, ..Results::default() };
    for round in 1..=effort.rounds {
        eprintln!("round {round} of {}: {:.0?}", effort.rounds, begun.elapsed());
        for rig in &contenders {
            streams(rig, effort, &mut results)?;
        }
        for rig in &contenders {
            delays(rig, effort, &mut results)?;
        }
        for rig in contenders.iter().filter(|rig| rig.name != VETH) {
            rates(rig, effort, &mut results)?;
        }
        many_streams(&tunnel, effort, &mut results)?;
    }
    for round in 1..=effort.suite_rounds {
        eprintln!("suites, round {round} of {}: {:.0?}", effort.suite_rounds, begun.elapsed());
        for suite in Suite::ALL {
            hawser.rekey(suite)?;
            let gbps = tcp::gbps(&tunnel, 1, effort.seconds_per_run.min(2))?;
            results.suites_gbps.entry(suite.name().to_owned()).or_default().push(gbps);
        }
    }
    results.drops = hawser.drops();
    eprintln!("done in {:.0?}", begun.elapsed());
    Ok(report::json(&results, effort))
}

fn streams(rig: &Rig, effort: &Effort, results: &mut Results) -> Result<(), Fault> {
    let before = cpu::times();
    let gbps = tcp::gbps(rig, 1, effort.seconds_per_run)?;
    eprintln!("  {:16} {gbps:8.3} Gbit/s", rig.name);
    if rig.name == HAWSER {
        for (kind, spent) in cpu::since(&before) {
            let figures = results.cpu.entry(kind).or_default();
            for (figures, seconds) in figures.iter_mut().zip(spent) {
                figures.push(seconds / f64::from(effort.seconds_per_run));
            }
        }
    }
    results.tcp_gbps.entry(rig.name.to_owned()).or_default().push(gbps);
    Ok(())
}

fn delays(rig: &Rig, effort: &Effort, results: &mut Results) -> Result<(), Fault> {
    let sorted = udp::delays_us(rig, effort.delays_per_round)?;
    let [p50, p99] = [50, 99].map(|percent| report::nearest_rank(&sorted, percent));
    eprintln!("  {:16} {p50:8.1} us, 99 of 100 within {p99:.1}", rig.name);
    results.delay_p50_us.entry(rig.name.to_owned()).or_default().push(p50);
    results.delay_p99_us.entry(rig.name.to_owned()).or_default().push(p99);
    Ok(())
}

fn rates(rig: &Rig, effort: &Effort, results: &mut Results) -> Result<(), Fault> {
    for payload_bytes in PAYLOADS_BYTES {
        let figures = results.kpps.entry(payload_bytes).or_default();
        let figures = figures.entry(rig.name.to_owned()).or_default();
        let about = figures.last().map(|kpps| kpps * 1e3);
        let kpps = udp::highest_rate(rig, payload_bytes, effort.trial, about)? / 1e3;
        eprintln!("  {:16} {kpps:8.1} thousand datagrams of {payload_bytes} a second", rig.name);
        figures.push(kpps);
    }
    Ok(())
}

fn many_streams(tunnel: &Rig, effort: &Effort, results: &mut Results) -> Result<(), Fault> {
    for flows in FLOWS {
        let gbps = tcp::gbps(tunnel, flows, effort.seconds_per_run)?;
        eprintln!("  {flows:2} streams       {gbps:8.3} Gbit/s");
        results.flows_gbps.entry(flows).or_default().push(gbps);
    }
    let both = tcp::gbps_both_ways(tunnel, effort.seconds_per_run)?;
    eprintln!("  both ways        {:8.3} and {:.3} Gbit/s", both[0], both[1]);
    for (figures, gbps) in results.both_ways_gbps.iter_mut().zip(both) {
        figures.push(gbps);
    }
    Ok(())
}
