//! Observations in buckets, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::catalogue::{Kind, Metric};

/// Durations, counted by the bounds of a metric.
#[derive(Debug)]
pub struct Histogram {
    bounds_us: &'static [u64],
    /// One more than bounds: beyond the last.
    counts: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub bounds_s: Vec<f64>,
    /// Of each bucket alone, not cumulated.
    pub counts: Vec<u64>,
    pub sum_s: f64,
}

impl Reading {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl Histogram {
    /// # Panics
    /// The metric is no histogram.
    pub fn new(metric: &'static Metric) -> Self {
        let Kind::Histogram(bounds_us) = metric.kind else {
            panic!("{} is no histogram", metric.name)
        };
        let counts = (0..=bounds_us.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds_us, counts, sum_us: AtomicU64::new(0) }
    }

    pub fn observe(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.bounds_us.partition_point(|&bound| bound < us);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    pub fn read(&self) -> Reading {
        Reading {
            bounds_s: self.bounds_us.iter().map(|&us| us as f64 / 1e6).collect(),
            counts: self.counts.iter().map(|c| c.load(Ordering::Relaxed)).collect(),
            sum_s: self.sum_us.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::CONTROLLER_PUSH;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        let histogram = Histogram::new(&CONTROLLER_PUSH);
        for us in [0, 1_000, 1_001, 61_000_000] {
            histogram.observe(Duration::from_micros(us));
        }
        let reading = histogram.read();
        assert_eq!((reading.counts[0], reading.counts[1]), (2, 1));
        assert_eq!(reading.counts.last(), Some(&1));
        assert_eq!(reading.count(), 4);
        assert!((reading.sum_s - 61.002001).abs() < 1e-9);
    }
}
