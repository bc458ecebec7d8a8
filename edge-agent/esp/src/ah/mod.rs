//! The Authentication Header (RFC 4302): IPv4 and IPv6, transport and tunnel mode.
//!
//! ```text
//! next header 1 | payload length 1 | reserved 2 | SPI 4 | sequence number 4 | ICV 12, 16 or 32 | padding
//! ```
//!
//! The ICV covers the IP header too, with what changes on the way taken as zero: [`covered`]. AH hides nothing and
//! does not pass a NAT; it is here for peers that ask for it.

mod covered;
mod inbound;
mod outbound;

use std::fmt;

use zeroize::Zeroizing;

pub use inbound::{AhDropCounters, AhMode, AhOpened, InboundAh};
pub use outbound::OutboundAh;

use crate::drops::DropReason;
use crate::ip::IpError;
use crate::sa::SeqExhausted;
use crate::suite::Integrity;
use crate::transform::{Header, Mac, mac_of};

/// The protocol number of AH.
pub const PROTOCOL_AH: u8 = 51;

/// Everything before the ICV.
const FIXED_LEN: usize = 12;

/// The longest ICV, and the longest padding behind it.
const LONGEST_ICV: usize = 32;

/// Octets of the whole header: a multiple of 4 in IPv4 and of 8 in IPv6 (RFC 4302 section 3.3.3.2.1).
pub const fn ah_len(integrity: Integrity, ipv6: bool) -> usize {
    let len = FIXED_LEN + integrity.icv_len();
    if ipv6 { len.next_multiple_of(8) } else { len.next_multiple_of(4) }
}

/// Key of one direction of one SA. Wiped on drop; `Debug` shows the algorithm only.
pub struct AhKey {
    integrity: Integrity,
    bytes: Zeroizing<Vec<u8>>,
}

/// A key of the wrong length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("AH with {name} takes a key of {expected_bytes} octets, not {got_bytes}", name = integrity.name())]
pub struct AhKeyError {
    pub integrity: Integrity,
    pub expected_bytes: usize,
    pub got_bytes: usize,
}

impl AhKey {
    /// Copies `bytes`. The caller wipes its own copy.
    pub fn new(integrity: Integrity, bytes: &[u8]) -> Result<Self, AhKeyError> {
        let (expected_bytes, got_bytes) = (integrity.key_len(), bytes.len());
        if got_bytes != expected_bytes {
            return Err(AhKeyError { integrity, expected_bytes, got_bytes });
        }
        Ok(AhKey { integrity, bytes: Zeroizing::new(bytes.to_vec()) })
    }

    fn mac(&self) -> Box<dyn Mac> {
        mac_of(self.integrity, &self.bytes).expect("AhKey has the length of its algorithm")
    }
}

impl fmt::Debug for AhKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AhKey({})", self.integrity.name())
    }
}

/// Why a packet was not protected, or not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AhError {
    #[error("no IP packet: {0}")]
    Ip(#[from] IpError),
    #[error("a fragment; AH covers whole packets (RFC 4302 section 3.4.1)")]
    Fragment,
    #[error("an IP option contradicts its length")]
    BadOption,
    #[error(
        "a routing header with segments left, of which only those of type 0 could be covered, and RFC 5095 forbids them"
    )]
    RoutingHeader,
    #[error("headers before AH are longer than {} octets", covered::MAX_HEAD)]
    HeadTooLong,
    #[error("the buffer lacks {0} octets before the packet")]
    NoRoom(usize),
    #[error("the packet would be longer than its header can say")]
    TooLong,
    #[error(transparent)]
    Exhausted(#[from] SeqExhausted),
    #[error("the packet has no AH")]
    NoAh,
    #[error("AH's length is not that of the algorithm (RFC 4302 section 2.2)")]
    BadLength,
    #[error("the SPI is not this SA's")]
    WrongSpi,
    #[error(transparent)]
    Sequence(DropReason),
    #[error("integrity check failed")]
    BadIcv,
    #[error("what is inside is not what the SA carries")]
    BadNextHeader,
}

impl AhError {
    /// A stable name for metrics and events.
    pub const fn code(self) -> &'static str {
        match self {
            AhError::Ip(error) => error.code(),
            AhError::Fragment => "ah_fragment",
            AhError::BadOption => "ah_bad_option",
            AhError::RoutingHeader => "ah_routing_header",
            AhError::HeadTooLong => "ah_head_too_long",
            AhError::NoRoom(_) => "ah_no_room",
            AhError::TooLong => "ah_too_long",
            AhError::Exhausted(_) => "ah_sequence_exhausted",
            AhError::NoAh => "ah_missing",
            AhError::BadLength => "ah_bad_length",
            AhError::WrongSpi => "wrong_spi",
            AhError::Sequence(reason) => reason.code(),
            AhError::BadIcv => "bad_icv",
            AhError::BadNextHeader => "bad_next_header",
        }
    }
}

/// What an ICV is made over.
struct Parts<'a> {
    /// The headers before AH, with what changes on the way taken as zero.
    head: &'a [u8],
    /// AH, whatever its ICV field holds.
    ah: &'a [u8],
    /// What follows AH.
    payload: &'a [u8],
}

impl Parts<'_> {
    /// RFC 4302 section 3.3.3: the ICV counts as zero, its padding as it is, and the high half of an extended
    /// sequence number comes last.
    fn with<T>(&self, header: &Header, icv_len: usize, f: impl FnOnce(&[&[u8]]) -> T) -> T {
        let zeros = [0; LONGEST_ICV];
        let padding = &self.ah[FIXED_LEN + icv_len..];
        f(&[
            self.head,
            &self.ah[..FIXED_LEN],
            &zeros[..icv_len],
            padding,
            self.payload,
            header.implicit_tail(),
        ])
    }
}

#[cfg(test)]
mod tests;
