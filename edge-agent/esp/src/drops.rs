//! Why a received datagram was dropped, and how often.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why an ESP datagram was not opened. The order is that of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[repr(usize)]
pub enum DropReason {
    #[error("shorter than an empty ESP datagram")]
    TooShort,
    #[error("the SPI is not this SA's")]
    WrongSpi,
    #[error(
        "ciphertext is no multiple of the cipher's block, at least 4 octets (RFC 4303 section 2.4)"
    )]
    Misaligned,
    #[error("sequence number 0 is never sent (RFC 4303 section 3.3.3)")]
    ZeroSequence,
    #[error("sequence number was received before")]
    Replayed,
    #[error("sequence number is left of the anti-replay window")]
    TooOld,
    #[error("integrity check failed")]
    BadIcv,
    #[error("padding is not 1, 2, 3.. or longer than the payload (RFC 4303 section 2.4)")]
    BadPadding,
    #[error("dummy packet for traffic flow confidentiality (RFC 4303 section 2.6)")]
    Dummy,
    #[error("next header is not what the SA carries")]
    BadNextHeader,
}

impl DropReason {
    /// Every reason, in order.
    pub const ALL: [DropReason; 10] = [
        DropReason::TooShort,
        DropReason::WrongSpi,
        DropReason::Misaligned,
        DropReason::ZeroSequence,
        DropReason::Replayed,
        DropReason::TooOld,
        DropReason::BadIcv,
        DropReason::BadPadding,
        DropReason::Dummy,
        DropReason::BadNextHeader,
    ];

    /// A stable name for metrics and events.
    pub const fn code(self) -> &'static str {
        match self {
            DropReason::TooShort => "too_short",
            DropReason::WrongSpi => "wrong_spi",
            DropReason::Misaligned => "misaligned",
            DropReason::ZeroSequence => "zero_sequence",
            DropReason::Replayed => "replayed",
            DropReason::TooOld => "too_old",
            DropReason::BadIcv => "bad_icv",
            DropReason::BadPadding => "bad_padding",
            DropReason::Dummy => "dummy",
            DropReason::BadNextHeader => "bad_next_header",
        }
    }
}

/// One counter a reason, counted through a shared reference.
#[derive(Default)]
pub struct DropCounters([AtomicU64; DropReason::ALL.len()]);

impl DropCounters {
    /// Counts one datagram.
    pub fn count(&self, reason: DropReason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }

    /// Every reason with its count, zeros too.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().map(|reason| (reason, self.get(reason)))
    }

    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }
}

impl fmt::Debug for DropCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.iter().filter(|(_, count)| *count > 0);
        f.debug_map().entries(seen.map(|(reason, count)| (reason.code(), count))).finish()
    }
}
