//! Packets that go over two paths at once: their GRE sequence numbers (RFC 2890), and the window that tells which copy came
//! first.
//!
//! ```text
//! |- label 8 -|----------- count 24 -----------|
//! ```
//!
//! The label keeps apart what must not push each other out of the window: one for each traffic class. Which class it is
//! does not matter to the receiver. Counts go on for as long as their sender lives, whatever happens to its keys, and wrap.

use crate::DropReason;
use crate::replay::{MAX_WINDOW, ReplayWindow};

/// Bits of the count.
pub const COUNT_BITS: u32 = 24;
/// A copy may be overtaken by so many packets of its label less one.
pub const WINDOW_PACKETS: u32 = MAX_WINDOW;
/// After so long without a first copy, one from left of the window is no late one: the sender has gone on meanwhile, by
/// more than half of what the count can tell.
const QUIET_US: u64 = 1_000_000;

const COUNT_MASK: u32 = (1 << COUNT_BITS) - 1;
/// Full numbers begin here, so that none is ever below 1.
const BASE: u64 = 1 << 32;

/// A sequence number taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyNumber {
    pub label: u8,
    /// Below 2^24.
    pub count: u32,
}

impl CopyNumber {
    pub fn new(label: u8, count: u32) -> Self {
        CopyNumber { label, count: count & COUNT_MASK }
    }

    pub fn to_wire(self) -> u32 {
        u32::from(self.label) << COUNT_BITS | self.count
    }

    pub fn from_wire(sequence: u32) -> Self {
        CopyNumber::new((sequence >> COUNT_BITS) as u8, sequence)
    }
}

/// What an authenticated packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copy {
    /// The other copy has not come, and will be a `Second`.
    First,
    Second,
    /// Too late to know: the window has moved on.
    Late,
}

/// The window of one label of one sender.
#[derive(Debug)]
pub struct CopyWindow {
    window: ReplayWindow,
    /// When the last first copy came.
    taken_us: u64,
}

impl Default for CopyWindow {
    fn default() -> Self {
        CopyWindow { window: ReplayWindow::largest(true), taken_us: 0 }
    }
}

impl CopyWindow {
    /// Takes an authenticated packet in. `sa_since_us`: when its SA was installed here; `now_us`: when the packet was read.
    ///
    /// A sender that starts again counts from the beginning, and does so under new keys. Two copies leave at the same
    /// time, so neither comes before the SA of the other was installed here. If no packet was taken since this one's SA
    /// was installed, its copy was not, whatever number it has: the count has begun anew.
    pub fn take(&mut self, count: u32, sa_since_us: u64, now_us: u64) -> Copy {
        let ahead = self.ahead(count);
        let begins_anew = ahead <= 0
            && (self.taken_us < sa_since_us
                || (ahead <= -i64::from(WINDOW_PACKETS)
                    && now_us.saturating_sub(self.taken_us) >= QUIET_US));
        if begins_anew {
            self.window.restart();
        }
        let number = match self.window.highest() {
            0 => BASE + u64::from(count & COUNT_MASK),
            highest => highest.saturating_add_signed(ahead),
        };
        match self.window.commit(number) {
            Ok(_) => {
                self.taken_us = self.taken_us.max(now_us);
                Copy::First
            }
            Err(DropReason::TooOld | DropReason::ZeroSequence) => Copy::Late,
            Err(_) => Copy::Second,
        }
    }

    /// How far right of the highest number, by the half of the circle that it is on.
    fn ahead(&self, count: u32) -> i64 {
        let unused = 32 - COUNT_BITS;
        let difference = count.wrapping_sub(self.window.highest() as u32);
        i64::from((difference << unused) as i32 >> unused)
    }
}

#[cfg(test)]
mod tests;
