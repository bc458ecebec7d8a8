//! Sealing.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::packet::Packet;
use super::{SaError, SaUsage, check_spi};
use crate::layout::Layout;
use crate::suite::{KeyMaterial, Suite};
use crate::transform::{Aead, Counter, IvSeed, IvSource, Transform};

/// Seals packets under one key; shared by any number of threads.
///
/// Sequence numbers start at 1 and are given out once, in blocks that can't be copied: no number
/// repeats under a key. There is no way to resume an SA.
pub struct OutboundSa<T: Transform = Aead> {
    spi: u32,
    esn: bool,
    transform: T,
    ivs: T::Ivs,
    last_seq: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// The SA has fewer sequence numbers left than were asked for: a new key is due (RFC 4303
/// section 3.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sequence numbers are exhausted: {left} left; rekey")]
pub struct SeqExhausted {
    pub left: u64,
}

/// Why a packet was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("the block of sequence numbers is used up")]
    BlockUsedUp,
    #[error("sealing takes {need_bytes} octets, the buffer has {have_bytes}")]
    BufferTooShort { need_bytes: usize, have_bytes: usize },
    #[error("the payload is longer than the cipher takes")]
    PayloadTooLong,
}

/// Why a batch was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error(transparent)]
    Exhausted(#[from] SeqExhausted),
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl OutboundSa {
    /// An SA of one of [`Suite::AEADS`], whose IVs need no randomness. `spi` is the receiver's choice; `esn` selects
    /// 64-bit sequence numbers.
    pub fn new(spi: u32, material: &KeyMaterial, esn: bool) -> Result<Self, SaError> {
        OutboundSa::with_ivs(spi, material, esn, Counter)
    }
}

impl<T: Transform> OutboundSa<T> {
    /// An SA of any suite of the transform. `seed` is fresh randomness for this SA alone.
    pub fn seeded(
        spi: u32,
        material: &KeyMaterial,
        esn: bool,
        seed: &IvSeed,
    ) -> Result<Self, SaError> {
        OutboundSa::with_ivs(spi, material, esn, T::Ivs::new(material, seed))
    }

    fn with_ivs(spi: u32, material: &KeyMaterial, esn: bool, ivs: T::Ivs) -> Result<Self, SaError> {
        check_spi(spi)?;
        Ok(OutboundSa {
            spi,
            esn,
            transform: T::new(material).ok_or(SaError::OtherTransform(material.suite()))?,
            ivs,
            last_seq: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    pub fn spi(&self) -> u32 {
        self.spi
    }

    pub fn suite(&self) -> Suite {
        self.transform.suite()
    }

    pub fn esn(&self) -> bool {
        self.esn
    }

    /// The sizes on the wire.
    pub fn layout(&self) -> Layout {
        T::LAYOUT
    }

    /// Takes `count` sequence numbers, all or none.
    pub fn reserve(&self, count: u32) -> Result<SeqBlock<'_, T>, SeqExhausted> {
        let limit = if self.esn { u64::MAX } else { u64::from(u32::MAX) };
        let count = u64::from(count);
        let mut last = self.last_seq.load(Ordering::Relaxed);
        loop {
            let left = limit - last;
            if left < count {
                return Err(SeqExhausted { left });
            }
            // Relaxed: the number itself is all that the threads share through it.
            match self.last_seq.compare_exchange_weak(
                last,
                last + count,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    return Ok(SeqBlock { sa: self, last, left: count, used: SaUsage::default() });
                }
                Err(now) => last = now,
            }
        }
    }

    /// Highest sequence number given out; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.last_seq.load(Ordering::Relaxed)
    }

    /// What the SA sealed, without blocks that are still in use.
    pub fn usage(&self) -> SaUsage {
        SaUsage {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Protects framed packets whose IVs are written.
    #[inline]
    pub(super) fn protect(&self, packets: &mut [Packet<'_>]) -> Result<(), SealError> {
        if self.transform.protect(self.esn, packets) {
            Ok(())
        } else {
            Err(SealError::PayloadTooLong)
        }
    }

    #[cfg(test)]
    pub(super) fn set_last_seq(&self, seq: u64) {
        self.last_seq.store(seq, Ordering::Relaxed);
    }
}

impl<T: Transform> fmt::Debug for OutboundSa<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundSa")
            .field("spi", &self.spi)
            .field("suite", &self.suite())
            .field("esn", &self.esn)
            .field("last_seq", &self.last_seq())
            .finish_non_exhaustive()
    }
}

/// Sequence numbers taken from an SA, each used for one packet at most. What is left when the block
/// is dropped is never sent.
#[derive(Debug)]
pub struct SeqBlock<'sa, T: Transform = Aead> {
    sa: &'sa OutboundSa<T>,
    last: u64,
    left: u64,
    used: SaUsage,
}

impl<T: Transform> SeqBlock<'_, T> {
    /// Numbers left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Seals one packet of GRE in place, under the block's next number. The payload of ESP (GRE header, inner
    /// packet) stands in `buffer` at [`Layout::payload_offset`] and is `payload_len` octets long. Gives the length
    /// of the datagram, [`Layout::sealed_len`] of the payload; what follows in `buffer` is left alone.
    #[inline]
    pub fn seal(&mut self, buffer: &mut [u8], payload_len: usize) -> Result<usize, SealError> {
        let mut packet = Packet::gre(buffer, payload_len);
        self.seal_batch(std::slice::from_mut(&mut packet))?;
        Ok(packet.sealed_len())
    }

    /// Seals packets in place, in order, under the block's next numbers: all or, where one does not fit its buffer
    /// or numbers are short, none. The suites that chain blocks work on many packets at once, so batches are what
    /// makes them fast.
    #[inline]
    pub fn seal_batch(&mut self, packets: &mut [Packet<'_>]) -> Result<(), SealError> {
        let mut text_len = 0;
        for packet in &*packets {
            text_len += packet.check(T::LAYOUT)? - T::LAYOUT.payload_offset() - T::LAYOUT.icv_len;
        }
        if self.left < packets.len() as u64 {
            return Err(SealError::BlockUsedUp);
        }
        for packet in &mut *packets {
            self.left -= 1;
            self.last += 1;
            packet.frame(T::LAYOUT, self.sa.spi, self.last);
        }
        self.sa.ivs.write(packets);
        self.sa.protect(packets)?;
        self.used.packets += packets.len() as u64;
        self.used.bytes += text_len as u64;
        Ok(())
    }
}

impl<T: Transform> Drop for SeqBlock<'_, T> {
    fn drop(&mut self) {
        self.sa.packets.fetch_add(self.used.packets, Ordering::Relaxed);
        self.sa.bytes.fetch_add(self.used.bytes, Ordering::Relaxed);
    }
}
