//! The one clock of the engine: microseconds since the agent's start.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hawser_edge_core::time::Micros;

/// Monotonic, and tied once to the wall clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    unix_at_start: Duration,
}

impl Clock {
    /// Starts now.
    pub fn start() -> Clock {
        let unix_at_start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { start: Instant::now(), unix_at_start }
    }

    pub fn now(&self) -> Micros {
        self.at(Instant::now())
    }

    /// Before the start: zero.
    pub fn at(&self, instant: Instant) -> Micros {
        Micros(instant.saturating_duration_since(self.start).as_micros() as u64)
    }

    pub fn instant(&self, micros: Micros) -> Instant {
        self.start + Duration::from_micros(micros.0)
    }

    /// Wall-clock time at zero.
    pub fn unix_at_start(&self) -> Duration {
        self.unix_at_start
    }
}

/// Milliseconds since the Unix epoch, as the wall clock has it now.
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}
