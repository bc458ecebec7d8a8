//! Security associations: one direction of one path under one key.

mod inbound;
mod outbound;

pub use inbound::{InboundBatch, InboundSa, Opened, SequenceEvidence};
pub use outbound::{OutboundSa, SealError, SeqBlock, SeqExhausted};

use crate::replay::{MAX_WINDOW, MIN_WINDOW};

/// SPIs below this are reserved (RFC 4303 section 2.1), and tell ESP from the non-ESP marker.
pub const MIN_SPI: u32 = 256;

/// Why an SA can't be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaError {
    #[error("SPI {0} is reserved (RFC 4303 section 2.1); use {MIN_SPI} or more")]
    ReservedSpi(u32),
    #[error("anti-replay window of {0} packets; use {MIN_WINDOW} to {MAX_WINDOW}")]
    WindowSize(u32),
}

/// What went through an SA, for its lifetime (RFC 4301 section 4.4.2.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SaUsage {
    /// Packets sealed, or opened and accepted.
    pub packets: u64,
    /// Octets that the cipher processed: payload, padding and trailer.
    pub bytes: u64,
}

/// SPI and sequence number as authenticated: 8 octets, or 12 with the high half (RFC 4106
/// section 5, RFC 7634 section 2.1).
struct AuthenticatedHeader {
    bytes: [u8; 12],
    len: usize,
}

impl AuthenticatedHeader {
    fn new(spi: u32, seq: u64, esn: bool) -> Self {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&spi.to_be_bytes());
        if esn {
            bytes[4..].copy_from_slice(&seq.to_be_bytes());
        } else {
            bytes[4..8].copy_from_slice(&(seq as u32).to_be_bytes());
        }
        AuthenticatedHeader { bytes, len: if esn { 12 } else { 8 } }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn check_spi(spi: u32) -> Result<(), SaError> {
    if spi < MIN_SPI { Err(SaError::ReservedSpi(spi)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
