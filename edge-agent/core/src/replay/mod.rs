//! Replay: what a policy would have done over recorded probes, by the very monitors and selectors of the agent.
//!
//! A recording has the round-trip time of one probe per uplink at every row of a fixed grid, or nothing where the probe was
//! lost. A packet is sent on the selected uplink at every row; it is hurt if its probe was. A policy sees a result only once
//! it is known: after its round-trip time, or when it is overdue by the agent's own timeout.

mod probes;
mod run;
#[cfg(test)]
mod tests;
mod trace;

use std::time::Duration;

use crate::config::{ClassMode, SlaLimits};
use crate::policy;

pub use run::{Replayed, run};
pub use trace::{Row, Trace, TraceError};

/// What is replayed: the part of a traffic class that selection looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayPolicy {
    /// For people.
    pub name: String,
    pub limits: SlaLimits,
    pub failback_hold: Duration,
    pub dwell: Duration,
    pub drop_when_none_meets: bool,
    pub mode: ClassMode,
    /// Uplink names, best first; those that are not named rank alike after them.
    pub prefer_uplinks: Vec<String>,
}

impl ReplayPolicy {
    /// What a class gets that says nothing: 200 ms, 5 % loss, no preference.
    pub fn built_in() -> Self {
        ReplayPolicy {
            name: "built-in".to_owned(),
            limits: policy::BUILT_IN_LIMITS,
            failback_hold: policy::FAILBACK_HOLD,
            dwell: policy::DWELL,
            drop_when_none_meets: false,
            mode: ClassMode::Best,
            prefer_uplinks: Vec::new(),
        }
    }
}

/// Over any number of runs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    pub runs: u64,
    /// Packets sent: one a row.
    pub ticks: u64,
    /// Lost, or slower than the threshold of the score.
    pub bad: u64,
    /// Packets lost, or beyond the delay that the class allows.
    pub out_of_sla: u64,
    /// Rows at which nothing was selected.
    pub unserved: u64,
    pub switches: u64,
    pub time: Duration,
}

impl Score {
    /// Adds one run.
    pub fn add(&mut self, run: &Replayed) {
        self.runs += 1;
        self.ticks += run.ticks;
        self.bad += run.bad;
        self.out_of_sla += run.out_of_sla;
        self.unserved += run.unserved;
        self.switches += run.switches;
        self.time += run.time;
    }

    /// In percent of all packets.
    pub fn bad_pct(&self) -> f64 {
        100.0 * self.bad as f64 / self.ticks.max(1) as f64
    }

    /// In percent of all rows.
    pub fn out_of_sla_pct(&self) -> f64 {
        100.0 * self.out_of_sla as f64 / self.ticks.max(1) as f64
    }

    /// Moves in an hour of recording.
    pub fn switches_per_hour(&self) -> f64 {
        self.switches as f64 * 3600.0 / self.time.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}
