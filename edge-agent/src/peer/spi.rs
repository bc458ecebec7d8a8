//! The SPIs of this edge's inbound SAs.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use hawser_edge_core::id::Spi;

/// Random and unique on this edge. Bounded by the paths: each holds a bounded number.
#[derive(Debug, Default)]
pub(super) struct SpiPool {
    used: Mutex<BTreeSet<Spi>>,
}

/// RFC 4303 section 2.1: 0 to 255 are not to be used.
const FIRST: u32 = 256;

impl SpiPool {
    /// One that is not in use.
    pub(super) fn reserve(&self) -> Spi {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let spi = Spi(rand::random_range(FIRST..=u32::MAX));
            if used.insert(spi) {
                return spi;
            }
        }
    }

    /// It is in use already.
    pub(super) fn keep(&self, spi: Spi) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(spi);
    }

    /// Its SA is gone.
    pub(super) fn free(&self, spi: Spi) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).remove(&spi);
    }
}
