//! Verdicts: whether a path is down, and whether it meets the limits of an SLA class.
//!
//! Down is told by a run of losses that random loss at the path's usual rate hardly gives; loss by the weight of evidence
//! (a CUSUM test), so that a few probes can tell; delay and jitter by how long they stay beyond the limit. Mending takes
//! more proof than damage in all three.

mod burst;
mod evidence;
mod liveness;
mod monitor;
#[cfg(test)]
mod tests;
mod traffic;
mod trouble;

use std::fmt;

use crate::config::SlaLimits;
use crate::quality::Figures;

pub use monitor::PathMonitor;

/// How good a path is for a class. Best first: the order of selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SlaState {
    /// Up, and no limit is known to be crossed.
    Meets,
    /// Up, and a limit is crossed.
    Violates,
    /// Down, but answering again: not yet proven.
    Recovering,
    /// Nothing comes back.
    Down,
}

/// A class whose limits a path is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlaClass {
    /// As in the configuration.
    pub name: String,
    pub limits: SlaLimits,
}

/// What can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// Round-trip time, in microseconds.
    Rtt,
    /// RFC 3550 jitter towards the peer, in microseconds.
    JitterTx,
    /// Jitter from the peer. Counts for symmetric classes only.
    JitterRx,
    /// Loss towards the peer, in parts per million.
    LossTx,
    /// Loss from the peer, in parts per million. Counts for symmetric classes only.
    LossRx,
}

/// A crossed limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crossed {
    pub limit: Limit,
    /// What was measured, in the limit's unit. A crossing stays until mending is proven, so it may be below `allowed`.
    pub value: u32,
    /// What the class allows.
    pub allowed: u32,
    /// How sure it is that the limit is crossed, parts per million; 0: the value itself says so.
    pub confidence_ppm: u32,
}

/// The crossed limits of one verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crossings([Option<Crossed>; 5]);

impl Crossings {
    /// In the order of [`Limit`].
    pub fn iter(&self) -> impl Iterator<Item = Crossed> + '_ {
        self.0.iter().flatten().copied()
    }

    /// None is crossed.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    /// Adds one, in place of an earlier one of the same limit.
    pub fn insert(&mut self, crossed: Crossed) {
        self.0[crossed.limit as usize] = Some(crossed);
    }

    /// How far beyond: 0 for none, else 1 + the binary logarithm of the worst ratio of value to limit, at most 16.
    pub fn severity(&self) -> u32 {
        let worst = self.iter().map(|c| (c.value / c.allowed.max(1)).max(1)).max();
        worst.map_or(0, |ratio| 1 + ratio.ilog2().min(15))
    }
}

/// What selection must know of a path, for one class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathHealth {
    pub state: SlaState,
    /// No probe was ever answered.
    pub connecting: bool,
    pub crossed: Crossings,
    pub figures: Figures,
}

impl PathHealth {
    /// Of a path that has not answered yet.
    pub fn connecting() -> Self {
        PathHealth {
            state: SlaState::Down,
            connecting: true,
            crossed: Crossings::default(),
            figures: Figures::default(),
        }
    }
}

/// Whether a path carries anything at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// No probe was ever answered.
    Connecting,
    Up,
    /// Was up, and will be again after some answers.
    Down,
}

impl fmt::Display for SlaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SlaState::Meets => "meets its SLA",
            SlaState::Violates => "violates its SLA",
            SlaState::Recovering => "recovering",
            SlaState::Down => "down",
        })
    }
}

impl fmt::Display for Crossed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u32| format!("{}.{} ms", us / 1_000, us % 1_000 / 100);
        let percent = |ppm: u32| format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100);
        let (name, value, allowed) = match self.limit {
            Limit::Rtt => ("round trip", ms(self.value), ms(self.allowed)),
            Limit::JitterTx => ("jitter to peer", ms(self.value), ms(self.allowed)),
            Limit::JitterRx => ("jitter from peer", ms(self.value), ms(self.allowed)),
            Limit::LossTx => ("loss to peer", percent(self.value), percent(self.allowed)),
            Limit::LossRx => ("loss from peer", percent(self.value), percent(self.allowed)),
        };
        write!(f, "{name} {value} (limit {allowed}")?;
        if self.confidence_ppm > 0 {
            write!(
                f,
                ", {}.{} % sure",
                self.confidence_ppm / 10_000,
                self.confidence_ppm / 1_000 % 10
            )?;
        }
        f.write_str(")")
    }
}
