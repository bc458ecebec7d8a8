//! Sealing.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{AuthenticatedHeader, SaError, SaUsage, check_spi};
use crate::suite::{Cipher, KeyMaterial, Suite};
use crate::wire::{
    ESP_HEADER_LEN, ICV_LEN, NEXT_HEADER_GRE, PAYLOAD_OFFSET, TRAILER_LEN, sealed_len,
};

/// Seals packets under one key; shared by any number of threads.
///
/// Sequence numbers start at 1 and are given out once, in blocks that can't be copied: no number
/// repeats under a key. There is no way to resume an SA.
pub struct OutboundSa {
    spi: u32,
    esn: bool,
    cipher: Cipher,
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

impl OutboundSa {
    /// `spi` is the receiver's choice; `esn` selects 64-bit sequence numbers.
    pub fn new(spi: u32, material: &KeyMaterial, esn: bool) -> Result<Self, SaError> {
        check_spi(spi)?;
        Ok(OutboundSa {
            spi,
            esn,
            cipher: Cipher::new(material),
            last_seq: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    pub fn spi(&self) -> u32 {
        self.spi
    }

    pub fn suite(&self) -> Suite {
        self.cipher.suite()
    }

    pub fn esn(&self) -> bool {
        self.esn
    }

    /// Takes `count` sequence numbers, all or none.
    pub fn reserve(&self, count: u32) -> Result<SeqBlock<'_>, SeqExhausted> {
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

    /// Writes header, trailer and ICV around the payload and encrypts it; gives the total length.
    pub(super) fn seal(
        &self,
        seq: u64,
        iv: [u8; 8],
        next_header: u8,
        datagram: &mut [u8],
        payload_len: usize,
    ) -> Option<()> {
        let (head, rest) = datagram.split_at_mut(PAYLOAD_OFFSET);
        head[..4].copy_from_slice(&self.spi.to_be_bytes());
        head[4..ESP_HEADER_LEN].copy_from_slice(&(seq as u32).to_be_bytes());
        head[ESP_HEADER_LEN..].copy_from_slice(&iv);

        let (text, icv) = rest.split_at_mut(rest.len() - ICV_LEN);
        let pad_len = text.len() - TRAILER_LEN - payload_len;
        for (octet, value) in text[payload_len..].iter_mut().zip(1..=pad_len as u8) {
            *octet = value;
        }
        let trailer = text.len() - TRAILER_LEN;
        text[trailer..].copy_from_slice(&[pad_len as u8, next_header]);

        let aad = AuthenticatedHeader::new(self.spi, seq, self.esn);
        icv.copy_from_slice(&self.cipher.seal(iv, aad.as_slice(), text)?);
        Some(())
    }

    #[cfg(test)]
    pub(super) fn set_last_seq(&self, seq: u64) {
        self.last_seq.store(seq, Ordering::Relaxed);
    }
}

impl fmt::Debug for OutboundSa {
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
pub struct SeqBlock<'sa> {
    sa: &'sa OutboundSa,
    last: u64,
    left: u64,
    used: SaUsage,
}

impl SeqBlock<'_> {
    /// Numbers left.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Seals in place, under the block's next number. The payload of ESP (GRE header, inner packet)
    /// stands in `buffer` at [`PAYLOAD_OFFSET`] and is `payload_len` octets long. Gives the length
    /// of the datagram, [`sealed_len`] of the payload; what follows in `buffer` is left alone.
    pub fn seal(&mut self, buffer: &mut [u8], payload_len: usize) -> Result<usize, SealError> {
        let total = sealed_len(payload_len);
        let have_bytes = buffer.len();
        let datagram = buffer
            .get_mut(..total)
            .ok_or(SealError::BufferTooShort { need_bytes: total, have_bytes })?;
        if self.left == 0 {
            return Err(SealError::BlockUsedUp);
        }
        self.left -= 1;
        self.last += 1;
        self.sa
            .seal(self.last, self.last.to_be_bytes(), NEXT_HEADER_GRE, datagram, payload_len)
            .ok_or(SealError::PayloadTooLong)?;
        self.used.packets += 1;
        self.used.bytes += (total - PAYLOAD_OFFSET - ICV_LEN) as u64;
        Ok(total)
    }
}

impl Drop for SeqBlock<'_> {
    fn drop(&mut self) {
        self.sa.packets.fetch_add(self.used.packets, Ordering::Relaxed);
        self.sa.bytes.fetch_add(self.used.bytes, Ordering::Relaxed);
    }
}
