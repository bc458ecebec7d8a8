//! Classes whose every packet goes over two paths: the sender's numbers, and the receiver's windows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hawser_edge_core::id::ClassId;
use hawser_esp::copies::{Copy, CopyNumber, CopyWindow};

const LABELS: usize = 1 << 8;

/// A tunnel's counts, by label. They live as long as the tunnel does in this process, so that a count never goes back under
/// a key.
pub(super) struct Numbers([AtomicU32; LABELS]);

impl Default for Numbers {
    fn default() -> Self {
        Numbers(std::array::from_fn(|_| AtomicU32::new(0)))
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Numbers(..)")
    }
}

impl Numbers {
    /// `count` numbers for packets of a class. Classes that share a label share its counts.
    pub(super) fn take(&self, class: ClassId, count: u32) -> NumberBlock {
        let label = class.0 as u8;
        let first = self.0[usize::from(label)].fetch_add(count, Ordering::Relaxed);
        NumberBlock { label, first }
    }
}

/// Numbers of packets in a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberBlock {
    label: u8,
    first: u32,
}

impl NumberBlock {
    /// The sequence number of the `index`th packet, as it goes on the wire.
    pub(super) fn at(&self, index: usize) -> u32 {
        CopyNumber::new(self.label, self.first.wrapping_add(index as u32)).to_wire()
    }
}

/// A tunnel's windows, by label: at most 256, each made when its first packet comes. Only duplicated traffic locks.
#[derive(Debug, Default)]
pub(super) struct Copies(Mutex<BTreeMap<u8, CopyWindow>>);

impl Copies {
    /// Takes an authenticated packet in; times are since the start of the data plane.
    pub(super) fn take(&self, sequence: u32, sa_since: Duration, now: Duration) -> Copy {
        let CopyNumber { label, count } = CopyNumber::from_wire(sequence);
        // Nothing in here panics half way.
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(label).or_default();
        window.take(count, sa_since.as_micros() as u64, now.as_micros() as u64)
    }
}
