//! One policy over one recording.

use std::time::Duration;

use super::probes::Probes;
use super::{ReplayPolicy, Trace};
use crate::id::{ClassId, PathId, TunnelId, UplinkId};
use crate::select::{CandidateSpec, Choice, ClassPolicy, Decision, Selector};
use crate::sla::{PathMonitor, SlaClass};
use crate::time::Micros;

const CLASS: &str = "replayed";
/// The selection is that old when the recording begins: no dwell, no grace of a start is left.
const BEFORE: Duration = Duration::from_secs(3_600);

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Replayed {
    pub ticks: u64,
    pub bad: u64,
    pub out_of_sla: u64,
    pub unserved: u64,
    pub switches: u64,
    pub time: Duration,
    /// Every decision after the start.
    pub decisions: Vec<Decision>,
}

/// Runs the policy from one of the trace's uplinks. A packet is bad if it is lost or slower than `bad_above`.
///
/// # Panics
/// `start` is not an uplink of the trace.
pub fn run(trace: &Trace, start: usize, policy: &ReplayPolicy, bad_above: Duration) -> Replayed {
    assert!(start < trace.uplinks.len(), "no such uplink");
    let mut world = World::new(trace, start, policy);
    let max_us = policy.limits.max_rtt_us;
    let deadline = (max_us > 0).then(|| Duration::from_micros(max_us.into()));
    let mut replayed = Replayed { time: trace.time(), ..Replayed::default() };
    for row in &trace.rows {
        let now = Micros(0) + BEFORE + row.at;
        let mut decisions = world.advance(now);
        decisions.iter_mut().for_each(|decision| decision.at = decision.at - BEFORE);
        replayed.switches += decisions.len() as u64;
        replayed.decisions.extend(decisions);
        let carriers = world.carriers();
        let hurt = |&path: &usize| row.rtt[path].is_none_or(|rtt| rtt > bad_above);
        let late =
            |&path: &usize| row.rtt[path].is_none_or(|rtt| deadline.is_some_and(|d| rtt > d));
        replayed.ticks += 1;
        replayed.unserved += u64::from(carriers.is_empty());
        replayed.bad += u64::from(carriers.iter().all(hurt));
        replayed.out_of_sla += u64::from(carriers.iter().all(late));
        world.probes.iter_mut().zip(&row.rtt).for_each(|(probes, &rtt)| probes.send(rtt, now));
    }
    replayed
}

struct World {
    probes: Vec<Probes>,
    monitors: Vec<PathMonitor>,
    selector: Selector,
}

impl World {
    fn new(trace: &Trace, start: usize, policy: &ReplayPolicy) -> World {
        let now = Micros(0);
        let class = SlaClass { name: CLASS.to_owned(), limits: policy.limits };
        let monitor = |index: usize| {
            let mut monitor = PathMonitor::new(path(index), vec![class.clone()], now + BEFORE);
            // As an agent has it that has been running for a while.
            monitor.assume_up();
            monitor.set_interval(trace.interval(), now + BEFORE);
            monitor
        };
        let uplinks = trace.uplinks.iter().enumerate();
        let specs = uplinks.map(|(index, name)| spec(index, name, policy)).collect();
        // The uplink that the run starts on is taken as a running agent would have it: up and selected.
        let mut selector = Selector::new(class_policy(policy), specs, now);
        selector.start_on(path(start), now);
        (0..trace.uplinks.len()).for_each(|i| selector.handle_path_admin(path(i), true, now));
        World {
            probes: trace.uplinks.iter().map(|_| Probes::default()).collect(),
            monitors: (0..trace.uplinks.len()).map(monitor).collect(),
            selector,
        }
    }

    /// Takes in what is known by now; gives the decisions after the start.
    fn advance(&mut self, now: Micros) -> Vec<Decision> {
        for (index, monitor) in self.monitors.iter_mut().enumerate() {
            for sample in self.probes[index].poll(now) {
                monitor.handle_sample(&sample);
            }
            monitor.handle_time(now);
            let health = monitor.health(CLASS, false);
            self.selector.handle_quality(path(index), &health, now);
        }
        std::iter::from_fn(|| self.selector.poll(now)).collect()
    }

    /// The uplinks that carry a packet now.
    fn carriers(&self) -> Vec<usize> {
        let index = |path: PathId| path.0 as usize - 1;
        match self.selector.choice() {
            Choice::Nothing => Vec::new(),
            Choice::Path(path) => vec![index(path)],
            // A packet of some flow: the first path stands for all.
            Choice::Spread(paths) => {
                paths.first().map(|&(path, _)| index(path)).into_iter().collect()
            }
            Choice::Both(a, b) => vec![index(a), index(b)],
        }
    }
}

fn path(index: usize) -> PathId {
    PathId(index as u32 + 1)
}

fn spec(index: usize, name: &str, policy: &ReplayPolicy) -> CandidateSpec {
    let last = policy.prefer_uplinks.len();
    let rank = policy.prefer_uplinks.iter().position(|preferred| preferred == name);
    CandidateSpec {
        path: path(index),
        name: name.to_owned(),
        local_uplink: UplinkId(index as u32 + 1),
        // The far end has as many: nothing is shared.
        remote_uplink: UplinkId(1_000 + index as u32),
        preference: (rank.unwrap_or(last) as u16, 0),
        ..CandidateSpec::default()
    }
}

fn class_policy(policy: &ReplayPolicy) -> ClassPolicy {
    ClassPolicy {
        tunnel: TunnelId(1),
        class: ClassId(1),
        class_name: CLASS.to_owned(),
        failback_hold: policy.failback_hold,
        dwell: policy.dwell,
        drop_when_none_meets: policy.drop_when_none_meets,
        follows_peer: false,
        mode: policy.mode,
    }
}
