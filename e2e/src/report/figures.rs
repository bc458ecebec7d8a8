//! Repeated figures.

use serde::{Deserialize, Serialize};

/// So many runs are needed before a p99 says anything.
const RUNS_FOR_P99: usize = 200;

/// `{runs, p50, p99, max}`, by nearest rank. A run that never healed is worse than any number: where it falls on the
/// rank that is asked for, the figure is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub runs: usize,
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
}

impl Figures {
    /// One value for each run; `None` for one that never healed.
    #[must_use]
    pub fn of(runs: &[Option<f64>]) -> Self {
        let mut sorted: Vec<f64> =
            runs.iter().map(|run| run.unwrap_or(f64::INFINITY)).map(one_decimal).collect();
        sorted.sort_by(f64::total_cmp);
        let ranked = |pct: usize| {
            let rank = (sorted.len() * pct).div_ceil(100);
            sorted.get(rank.checked_sub(1)?).copied().filter(|value| value.is_finite())
        };
        let enough = runs.len() >= RUNS_FOR_P99;
        Self {
            runs: runs.len(),
            p50: ranked(50),
            p99: ranked(99).filter(|_| enough),
            max: ranked(100),
        }
    }
}

/// Rounded to what a clock of a busy machine can tell.
#[must_use]
pub fn one_decimal(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
