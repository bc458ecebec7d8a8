//! What one direction of a link has done so far.

use super::model::Reason;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Frames read from the sending end.
    pub frames_in: u64,
    pub bytes_in: u64,
    /// Frames written to the receiving end, duplicates included.
    pub frames_out: u64,
    pub bytes_out: u64,
    pub duplicated: u64,
    pub corrupted: u64,
    pub drops: Drops,
    /// Frames and bytes on their way now.
    pub in_flight: u64,
    pub in_flight_bytes: u64,
    /// How late the emulator itself wrote a frame at worst, and how often by more than 0.3 ms.
    pub late_max_us: u64,
    pub late_over_300_us: u64,
}

/// Dropped frames by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    pub blackhole: u64,
    pub carrier_down: u64,
    pub trace: u64,
    pub random: u64,
    pub burst: u64,
    pub queue_full: u64,
    /// The emulator's own bound of frames in flight.
    pub overflow: u64,
    /// The receiving device refused the frame (it is down, or its memory is full).
    pub refused: u64,
}

impl Drops {
    pub(crate) fn add(&mut self, reason: Reason) {
        match reason {
            Reason::Blackhole => self.blackhole += 1,
            Reason::CarrierDown => self.carrier_down += 1,
            Reason::Trace => self.trace += 1,
            Reason::Random => self.random += 1,
            Reason::Burst => self.burst += 1,
            Reason::QueueFull => self.queue_full += 1,
        }
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { blackhole, carrier_down, trace, random, burst, queue_full, overflow, refused } =
            self;
        blackhole + carrier_down + trace + random + burst + queue_full + overflow + refused
    }
}
