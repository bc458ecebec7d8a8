//! Time as the caller tells it.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Microseconds of a monotonic clock of the caller's choice. Never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// From whole milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Micros(ms * 1_000)
    }

    /// Time since `earlier`, zero if that is later.
    pub fn since(self, earlier: Micros) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Micros {
    type Output = Micros;

    fn add(self, by: Duration) -> Micros {
        Micros(self.0.saturating_add(by.as_micros().min(u128::from(u64::MAX)) as u64))
    }
}

impl Sub<Duration> for Micros {
    type Output = Micros;

    fn sub(self, by: Duration) -> Micros {
        Micros(self.0.saturating_sub(by.as_micros().min(u128::from(u64::MAX)) as u64))
    }
}
