//! Paths that rest: over an uplink whose volume is paid for, or that is a last resort.

use std::time::Duration;

use super::cost;
use crate::policy;
use crate::time::Micros;

/// What a standby uplink may take while it rests, and how its paths live on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// For the exchanges that its own edge begins; as much again for those of all its peers together.
    pub bytes_per_ks: u64,
    /// Between probes of each of its paths, at either end.
    pub interval: Duration,
    /// Between NAT keepalives (RFC 3948 section 4) to each remote endpoint, from its own edge.
    pub keepalive: Duration,
}

impl Allowance {
    /// Of an uplink with so many paths. Both ends come to the same.
    pub fn new(paths: u32, ipv6_underlay: bool) -> Self {
        let paths = u64::from(paths.max(1));
        let month_s = policy::RESTING_PERIOD.as_secs();
        let total = policy::RESTING_BYTES * policy::RESTING_USED_PERCENT / 100;
        // In bytes a month: a byte a second is too coarse.
        let ping = cost::keepalive_bytes(ipv6_underlay);
        let keepalives = (paths * ping * month_s / policy::NAT_KEEPALIVE.as_secs()).min(total / 3);
        let keepalive = Duration::from_secs((paths * ping * month_s).div_ceil(keepalives.max(1)));
        let begun = (total - keepalives) / 2;
        let exchange = cost::exchange_bytes(0, ipv6_underlay);
        let steady = begun * policy::RESTING_STEADY_PERCENT / 100;
        let interval_ms = paths * exchange * month_s * 1_000 / steady.max(1) + 1;
        Allowance {
            bytes_per_ks: begun * 1_000 / month_s,
            interval: Duration::from_millis(interval_ms)
                .clamp(policy::MAX_INTERVAL, policy::RESTING_INTERVAL_MAX),
            keepalive: keepalive.max(policy::NAT_KEEPALIVE),
        }
    }
}

/// Whether the last resort of a tunnel is needed at this end.
#[derive(Debug, Clone)]
pub struct LastResort {
    since: Micros,
    /// Others have been up at some time.
    others_known: bool,
    others_up_since: Option<Micros>,
    needed: bool,
}

impl LastResort {
    /// Not needed yet: the other paths get time to come up.
    pub fn new(now: Micros) -> Self {
        LastResort { since: now, others_known: false, others_up_since: None, needed: false }
    }

    /// `others`: the tunnel has other paths. `others_up`: one of them is. `carries`: a last resort carries a class here.
    pub fn update(&mut self, others: bool, others_up: bool, carries: bool, now: Micros) -> bool {
        self.others_known |= others_up;
        if others_up {
            let since = *self.others_up_since.get_or_insert(now);
            let proven = now.since(since) >= policy::LAST_RESORT_HOLD;
            self.needed &= carries || !proven;
        } else {
            self.others_up_since = None;
            let waited = now.since(self.since) >= policy::LAST_RESORT_PATIENCE;
            self.needed |= !others || self.others_known || waited;
        }
        self.needed
    }

    /// When [`update`](Self::update) may say something else by itself.
    pub fn next_deadline(&self) -> Option<Micros> {
        match (self.needed, self.others_up_since) {
            (true, Some(since)) => Some(since + policy::LAST_RESORT_HOLD),
            (false, None) => Some(self.since + policy::LAST_RESORT_PATIENCE),
            _ => None,
        }
    }
}
