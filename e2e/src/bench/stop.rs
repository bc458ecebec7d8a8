//! Ctrl-C: what has been measured is kept.

use crate::cli::wait;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether to stop. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Stops at SIGINT, SIGTERM or SIGHUP; the second one ends the process. To be called before any thread starts.
    #[must_use]
    pub fn at_signals() -> Self {
        wait::block_signals();
        let stop = Self::default();
        let set = stop.clone();
        std::thread::spawn(move || {
            loop {
                if wait::signal_within_ms(60_000) {
                    if set.0.swap(true, Ordering::AcqRel) {
                        std::process::exit(130);
                    }
                    eprintln!("Stopping; once more ends it at once.");
                }
            }
        });
        stop
    }

    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
