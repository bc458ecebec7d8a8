//! When keys must be replaced, by time, bytes and packets.

use std::time::Duration;

use super::KeySuite;
use crate::time::Micros;

/// When a tunnel's keys are replaced. Time opens a fresh connection, bytes and packets raise the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RekeyLimits {
    /// A connection keys no longer than this.
    pub after: Duration,
    /// Sent under one SA; 0: no limit.
    pub after_bytes: u64,
    /// Extended sequence numbers: 64 bits instead of 32.
    pub esn: bool,
    /// The cipher sets a limit too.
    pub suite: KeySuite,
}

/// What has been sent under one outbound SA.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SaUsage {
    /// ESP octets.
    pub bytes: u64,
    /// The sequence number in use.
    pub packets: u64,
}

/// What an SA's use asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageVerdict {
    /// Nothing yet.
    Fine,
    /// A new epoch on the same connection.
    NewEpoch,
    /// A new epoch, and nothing more may be sent under this SA.
    Exhausted,
}

/// Without ESN a sequence number has 32 bits and must not wrap (RFC 4303 section 3.3.3).
const LAST_SEQUENCE_32: u64 = u32::MAX as u64;
/// With ESN the cipher is the limit: far below 2^64 blocks under one AES-GCM key (RFC 4106 section 2).
const LAST_SEQUENCE_64: u64 = 1 << 40;

impl RekeyLimits {
    /// The last sequence number that may be used under one key.
    pub fn last_sequence(&self) -> u64 {
        if self.esn { LAST_SEQUENCE_64 } else { LAST_SEQUENCE_32 }
    }

    /// What `usage` asks for. Three quarters of the sequence numbers is the time for new ones: what is left carries
    /// minutes of the fastest traffic. Of a cipher's bytes it is a quarter: DES and 3DES have 8 MiB, a second's traffic.
    pub fn judge(&self, usage: SaUsage) -> UsageVerdict {
        let last = self.last_sequence();
        // A limit, or none.
        let beyond =
            |share| self.suite.byte_limit().is_some_and(|last| usage.bytes >= last / share);
        if usage.packets >= last || beyond(1) {
            UsageVerdict::Exhausted
        } else if usage.packets >= last / 4 * 3
            || beyond(4)
            || (self.after_bytes > 0 && usage.bytes >= self.after_bytes)
        {
            UsageVerdict::NewEpoch
        } else {
            UsageVerdict::Fine
        }
    }

    /// When the opener of a connection opens the next: up to a tenth earlier than `after`, so that the tunnels of a hub
    /// do not move in step. `random` is spread evenly over its range.
    pub fn next_connection(&self, opened: Micros, random: u16) -> Micros {
        let early = self.after.mul_f64(0.1 * f64::from(random) / f64::from(u16::MAX));
        opened + self.after.saturating_sub(early)
    }
}
