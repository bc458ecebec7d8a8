//! Security associations: one direction of one path under one key.
//!
//! [`OutboundSa`] and [`InboundSa`] are generic over the suite's [`Transform`](crate::transform::Transform); without
//! a parameter they are those of the AEADs. [`sealer`] and [`opener`] make an SA of any suite, to be called once a
//! batch.

mod any;
mod inbound;
mod lifetime;
mod outbound;
mod packet;

pub use any::{Opener, Sealer, opener, sealer};
pub use inbound::{InboundBatch, InboundSa, Mode, Opened, Received, SequenceEvidence};
pub use lifetime::{Expiry, Lifetime, LifetimeError, Limit, Limits};
pub use outbound::{BatchError, OutboundSa, SealError, SeqBlock, SeqExhausted};
pub use packet::{NEXT_HEADER_IPV4, NEXT_HEADER_IPV6, NEXT_HEADER_NONE, Packet};

use crate::replay::{MAX_WINDOW, MIN_WINDOW};
use crate::suite::Suite;

/// SPIs below this are reserved (RFC 4303 section 2.1), and tell ESP from the non-ESP marker.
pub const MIN_SPI: u32 = 256;

/// Why an SA can't be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaError {
    #[error("SPI {0} is reserved (RFC 4303 section 2.1); use {MIN_SPI} or more")]
    ReservedSpi(u32),
    #[error("anti-replay window of {0} packets; use {MIN_WINDOW} to {MAX_WINDOW}")]
    WindowSize(u32),
    #[error("this kind of SA does not take {0}")]
    OtherTransform(Suite),
}

/// What went through an SA, for its lifetime (RFC 4301 section 4.4.2.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SaUsage {
    /// Packets sealed, or opened and accepted.
    pub packets: u64,
    /// Octets that the cipher processed: payload, padding and trailer.
    pub bytes: u64,
}

pub(crate) fn check_spi(spi: u32) -> Result<(), SaError> {
    if spi < MIN_SPI { Err(SaError::ReservedSpi(spi)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
