//! Figures of many runs, by nearest rank.

#[derive(Debug, Default)]
pub struct Runs(Vec<f64>);

/// Fewer runs have no 99th percentile.
const LEAST_FOR_P99: usize = 200;

impl Runs {
    pub fn extend(&mut self, ms: Vec<f64>) {
        self.0.extend(ms);
        self.0.sort_by(f64::total_cmp);
    }

    pub fn mean(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.iter().sum::<f64>() / self.0.len() as f64)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    fn rank(&self, share: f64) -> Option<f64> {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied()
    }

    pub fn p50(&self) -> Option<f64> {
        self.rank(0.5)
    }

    pub fn p99(&self) -> Option<f64> {
        (self.0.len() >= LEAST_FOR_P99).then(|| self.rank(0.99)).flatten()
    }

    pub fn max(&self) -> Option<f64> {
        self.0.last().copied()
    }
}
