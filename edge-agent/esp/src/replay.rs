//! The anti-replay window (RFC 4303 section 3.4.3) as a ring of blocks (RFC 6479), with the
//! inference of the high half of extended sequence numbers (RFC 4303 appendix A2).
//!
//! `check` before authentication, `commit` after: nothing unauthenticated changes the window.

use crate::DropReason;

/// The smallest window (RFC 4303 section 3.4.3 asks for 64 by default).
pub const MIN_WINDOW: u32 = 64;
/// The largest window.
pub const MAX_WINDOW: u32 = 4096;

const BLOCK_BITS: u64 = 64;

/// Which sequence numbers of an SA were received.
#[derive(Debug, Clone)]
pub struct ReplayWindow {
    esn: bool,
    size: u64,
    /// Highest number committed; 0 before the first.
    highest: u64,
    /// The first number committed; 0 before.
    first: u64,
    /// A power of two, so that a block's place is a mask away; one block more than the window
    /// covers, so that the block being filled never overlaps the oldest.
    blocks: Box<[u64]>,
}

impl ReplayWindow {
    /// `size` in packets; `None` unless [`MIN_WINDOW`] ≤ `size` ≤ [`MAX_WINDOW`]. 0: everything may be new, as under a
    /// manual key, whose sender starts again at 1 whenever it likes (RFC 4303 section 3.4.3); not with ESN.
    pub fn new(size: u32, esn: bool) -> Option<Self> {
        if size == 0 && !esn {
            return Some(ReplayWindow { esn, size: 0, highest: 0, first: 0, blocks: Box::new([]) });
        }
        if !(MIN_WINDOW..=MAX_WINDOW).contains(&size) {
            return None;
        }
        let size = u64::from(size);
        let blocks = (size.div_ceil(BLOCK_BITS) + 1).next_power_of_two();
        let blocks = vec![0; blocks as usize].into_boxed_slice();
        Some(ReplayWindow { esn, size, highest: 0, first: 0, blocks })
    }

    /// The largest one.
    pub fn largest(esn: bool) -> Self {
        let blocks = (u64::from(MAX_WINDOW).div_ceil(BLOCK_BITS) + 1).next_power_of_two();
        let blocks = vec![0; blocks as usize].into_boxed_slice();
        ReplayWindow { esn, size: u64::from(MAX_WINDOW), highest: 0, first: 0, blocks }
    }

    /// Forgets every number.
    pub fn restart(&mut self) {
        (self.highest, self.first) = (0, 0);
        self.blocks.fill(0);
    }

    /// Highest number committed; 0 before the first.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// The number committed first, whatever came after it; 0 before.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The full sequence number of a packet that carries `low` on the wire, if it may be new.
    pub fn check(&self, low: u32) -> Result<u64, DropReason> {
        let seq = if self.esn { self.infer(low)? } else { u64::from(low) };
        self.admit(seq)?;
        Ok(seq)
    }

    /// Takes an authenticated number in; true if it is the highest so far. Fails if another packet
    /// with that number was committed since `check`.
    pub fn commit(&mut self, seq: u64) -> Result<bool, DropReason> {
        self.admit(seq)?;
        let newest = seq > self.highest;
        if self.size == 0 {
            self.highest = self.highest.max(seq);
            return Ok(newest);
        }
        if newest {
            self.advance(seq);
        }
        if self.first == 0 {
            self.first = seq;
        }
        let (place, bit) = self.place(seq);
        self.blocks[place] |= bit;
        Ok(newest)
    }

    fn admit(&self, seq: u64) -> Result<(), DropReason> {
        if self.size == 0 {
            return Ok(());
        }
        if seq == 0 {
            return Err(DropReason::ZeroSequence);
        }
        if seq > self.highest {
            return Ok(());
        }
        if self.highest - seq >= self.size {
            return Err(DropReason::TooOld);
        }
        let (place, bit) = self.place(seq);
        if self.blocks[place] & bit != 0 { Err(DropReason::Replayed) } else { Ok(()) }
    }

    /// RFC 4303 appendix A2.2: the high half that puts `low` into the window or right of it.
    fn infer(&self, low: u32) -> Result<u64, DropReason> {
        let high = self.highest >> 32;
        let top = self.highest as u32;
        let window = self.size as u32;
        let bottom = top.wrapping_sub(window - 1);
        let high = if top >= window - 1 {
            // Case A: the window lies within one subspace.
            if low >= bottom { Some(high) } else { high.checked_add(1) }
        } else {
            // Case B: the window spans two subspaces.
            if low >= bottom { high.checked_sub(1) } else { Some(high) }
        };
        // Before the first subspace, or after the last: no sender may use it.
        let high = high.filter(|high| *high <= u64::from(u32::MAX)).ok_or(DropReason::TooOld)?;
        Ok(high << 32 | u64::from(low))
    }

    /// Clears the blocks between the old highest number and `seq`.
    fn advance(&mut self, seq: u64) {
        let (old, new) = (self.highest / BLOCK_BITS, seq / BLOCK_BITS);
        let mask = self.blocks.len() as u64 - 1;
        let cleared = (new - old).min(self.blocks.len() as u64);
        for block in (new - cleared..new).map(|block| block + 1) {
            self.blocks[(block & mask) as usize] = 0;
        }
        self.highest = seq;
    }

    fn place(&self, seq: u64) -> (usize, u64) {
        let mask = self.blocks.len() as u64 - 1;
        (((seq / BLOCK_BITS) & mask) as usize, 1 << (seq % BLOCK_BITS))
    }
}

#[cfg(test)]
mod tests;
