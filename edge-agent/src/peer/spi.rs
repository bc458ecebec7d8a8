//! The SPIs of this edge's inbound SAs.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hawser_edge_core::id::Spi;
use hawser_edge_core::keys::Lanes;

/// Random and unique on this edge, a block of as many as the edge has lanes at a time. Bounded by the paths: each holds a
/// bounded number.
#[derive(Debug)]
pub(super) struct SpiPool {
    lanes: Lanes,
    /// Each block's first, and how many they are.
    used: Mutex<BTreeMap<Spi, Lanes>>,
}

/// RFC 4303 section 2.1: 0 to 255 are not to be used.
const FIRST: u32 = 256;

impl SpiPool {
    pub(super) fn new(lanes: Lanes) -> Self {
        SpiPool { lanes, used: Mutex::default() }
    }

    /// The first of a block that is not in use. It begins where its length divides its numbers, so that a person sees the
    /// lane in the last digit.
    pub(super) fn reserve(&self) -> Spi {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let length = self.lanes.count().next_power_of_two() as u32;
        loop {
            let first = rand::random_range(FIRST / length..=u32::MAX / length) * length;
            let below = used.range(..=Spi(first + (length - 1))).next_back();
            let free = below.is_none_or(|(spi, lanes)| spi.0 + (lanes.count() as u32 - 1) < first);
            if free {
                used.insert(Spi(first), self.lanes);
                return Spi(first);
            }
        }
    }

    /// It is in use already, without others.
    pub(super) fn keep(&self, spi: Spi) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(spi, Lanes::ONE);
    }

    /// The SAs of its block are gone.
    pub(super) fn free(&self, spi: Spi) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).remove(&spi);
    }
}
