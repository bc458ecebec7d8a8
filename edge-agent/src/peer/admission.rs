//! Which handshakes are begun: so many for each source, and only of proven sources under load.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::lru::Lru;

/// What becomes of a first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Begin the handshake.
    Accept,
    /// Let it prove its address first (RFC 9000 section 8.1.2): costs us no state.
    Retry,
    /// Say nothing.
    Ignore,
}

/// Handshakes of one source in a row.
const BURST: u32 = 10;
/// Then one in each such interval.
const INTERVAL: Duration = Duration::from_millis(500);
/// Unfinished handshakes above which sources must be proven.
pub(super) const LOADED: usize = 8;
/// Unfinished handshakes at most.
pub(super) const FULL: usize = 64;
/// Sources remembered.
const MAX_SOURCES: usize = 1024;

/// A token bucket for each source. An address is forged at will until it is proven: a source that is over its limit gets
/// a Retry, so that nobody can use its share up for it; only proven handshakes are ignored.
#[derive(Debug)]
pub(super) struct AdmissionControl {
    sources: Lru<IpAddr, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    unproven: Tokens,
    proven: Tokens,
}

#[derive(Debug, Clone, Copy)]
struct Tokens {
    left: u32,
    filled: Instant,
}

impl Tokens {
    fn take(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.filled);
        let gained = (since.as_millis() / INTERVAL.as_millis()).min(u128::from(BURST)) as u32;
        if gained > 0 {
            self.left = (self.left + gained).min(BURST);
            self.filled += INTERVAL * gained;
            if self.left == BURST {
                self.filled = now;
            }
        }
        let taken = self.left > 0;
        self.left -= u32::from(taken);
        taken
    }
}

impl AdmissionControl {
    /// Nobody is known.
    pub(super) fn new() -> Self {
        AdmissionControl { sources: Lru::new(MAX_SOURCES) }
    }

    /// Judges a first packet. `proven`: it carries the token of our Retry. `unfinished`: handshakes now under way.
    pub(super) fn judge(
        &mut self,
        source: IpAddr,
        proven: bool,
        unfinished: usize,
        now: Instant,
    ) -> Admission {
        if unfinished >= FULL {
            return Admission::Ignore;
        }
        if !proven && unfinished >= LOADED {
            return Admission::Retry;
        }
        let key = prefix(source);
        let full = Tokens { left: BURST, filled: now };
        let mut bucket = self.sources.get(&key).unwrap_or(Bucket { unproven: full, proven: full });
        let tokens = if proven { &mut bucket.proven } else { &mut bucket.unproven };
        let taken = tokens.take(now);
        self.sources.insert(key, bucket);
        match (taken, proven) {
            (true, _) => Admission::Accept,
            (false, false) => Admission::Retry,
            (false, true) => Admission::Ignore,
        }
    }
}

/// One host has a whole IPv6 /64.
fn prefix(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
    }
}
