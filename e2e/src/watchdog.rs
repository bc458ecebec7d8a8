//! A stall watchdog: how late does this machine run a thread that sleeps 1 ms at a time?
//!
//! A gap in a measurement means something only when the machine itself did not stand still meanwhile.

use crate::clock;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

const STEP_NS: u64 = 1_000_000;
/// Shorter oversleeps are ordinary scheduling, and only count for the maximum of all.
const NOTED_NS: u64 = 2_000_000;
/// Stalls kept; the oldest go first.
const MAX_STALLS: usize = 100_000;

/// A running watchdog. Dropping it stops it.
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    stalls: Mutex<Stalls>,
}

#[derive(Default)]
struct Stalls {
    /// (end, length), ascending.
    noted: VecDeque<(u64, u64)>,
    worst_ns: u64,
    forgotten: u64,
}

impl Watchdog {
    /// Starts the thread, at ordinary priority: it must suffer what the measured programs suffer.
    #[must_use]
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || for_thread.run());
        Self { shared, thread: Some(thread) }
    }

    /// The worst oversleep since the start, in ms.
    #[must_use]
    pub fn host_stall_max_ms(&self) -> f64 {
        self.stalls(|stalls| ms(stalls.worst_ns))
    }

    /// The worst oversleep that overlaps a window of CLOCK_MONOTONIC, in ms; 0 when none was of 2 ms or more.
    #[must_use]
    pub fn worst_between_ms(&self, from_ns: u64, to_ns: u64) -> f64 {
        self.stalls(|stalls| {
            let after = stalls.noted.partition_point(|&(end_ns, _)| end_ns < from_ns);
            let overlapping = stalls
                .noted
                .range(after..)
                .filter(|&&(end_ns, length_ns)| end_ns - length_ns <= to_ns);
            ms(overlapping.map(|&(_, length_ns)| length_ns).max().unwrap_or(0))
        })
    }

    /// The worst oversleep since `from_ns`, in ms.
    #[must_use]
    pub fn worst_since_ms(&self, from_ns: u64) -> f64 {
        self.worst_between_ms(from_ns, u64::MAX)
    }

    /// Stalls dropped from the record because there were too many.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.stalls(|stalls| stalls.forgotten)
    }

    fn stalls<T>(&self, read: impl FnOnce(&Stalls) -> T) -> T {
        read(&self.shared.stalls.lock().expect("no thread panics while it holds the stalls"))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        clock::use_precise_timers();
        let mut before_ns = clock::mono_ns();
        while !self.stop.load(Ordering::Acquire) {
            clock::sleep_until_ns(before_ns + STEP_NS);
            let now_ns = clock::mono_ns();
            let Ok(mut stalls) = self.stalls.lock() else { return };
            stalls.note(now_ns, now_ns.saturating_sub(before_ns + STEP_NS));
            drop(stalls);
            before_ns = now_ns;
        }
    }
}

impl Stalls {
    fn note(&mut self, end_ns: u64, length_ns: u64) {
        self.worst_ns = self.worst_ns.max(length_ns);
        if length_ns < NOTED_NS {
            return;
        }
        if self.noted.len() == MAX_STALLS {
            self.noted.pop_front();
            self.forgotten += 1;
        }
        self.noted.push_back((end_ns, length_ns));
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_sees_the_stalls_that_overlap_it_and_no_others() {
        let mut stalls = Stalls::default();
        for (end_ms, length_ms) in [(100, 1), (200, 5), (300, 80), (400, 3)] {
            stalls.note(end_ms * 1_000_000, length_ms * 1_000_000);
        }
        let shared = Arc::new(Shared { stop: AtomicBool::new(true), stalls: Mutex::new(stalls) });
        let watchdog = Watchdog { shared, thread: None };
        let worst = |from_ms: u64, to_ms: u64| {
            watchdog.worst_between_ms(from_ms * 1_000_000, to_ms * 1_000_000)
        };
        for (from_ms, to_ms, expected) in [
            (0, 150, 0.0),
            (0, 210, 5.0),
            (0, 219, 5.0),
            (0, 230, 80.0),
            (301, 1_000, 3.0),
            (500, 600, 0.0),
        ] {
            assert_eq!(worst(from_ms, to_ms), expected, "{from_ms} to {to_ms}");
        }
        assert_eq!(watchdog.host_stall_max_ms(), 80.0);
    }

    #[test]
    fn it_measures_this_machine_and_stops() {
        let watchdog = Watchdog::start();
        std::thread::sleep(std::time::Duration::from_millis(30));
        assert!(watchdog.host_stall_max_ms() > 0.0);
        drop(watchdog);
    }
}
