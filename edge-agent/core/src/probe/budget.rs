//! Bytes that probes may take on an uplink.
//!
//! An exchange (a probe and its reply) is paid for by the end that begins it, when it begins it: so replies need no
//! permission, and both ends together stay within the uplink's budget without a word to each other. The uplink's own edge
//! begins exchanges for half of it; the other half is the peers', each as much as it has of the uplink's paths.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Cadence;
use crate::id::{TunnelId, UplinkId};
use crate::policy;
use crate::time::Micros;

/// What is paid from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// An own uplink's budget: our half.
    Own(UplinkId),
    /// A peer's uplink's budget: this tunnel's share.
    Peers(TunnelId, UplinkId),
    /// The allowance of paths that rest on an own uplink.
    OwnResting(UplinkId),
    /// Of paths that rest on a peer's uplink: this tunnel's share.
    PeersResting(TunnelId, UplinkId),
}

/// How an account is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountSpec {
    /// Bytes in a thousand seconds: a share of a standby's allowance is less than a byte a second.
    pub bytes_per_ks: u64,
    /// What may be spent at once, besides what is kept back.
    pub burst_bytes: u64,
    /// Kept back for the slowest cadence that each path must have: one exchange of each.
    pub kept_bytes: u64,
}

/// May a probe leave?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is paid for.
    Send,
    /// Not before this time.
    Wait(Micros),
}

/// What was put off or overdrawn since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BudgetCounters {
    /// Probes put off, by the cadence of their path.
    pub deferred_used: u64,
    pub deferred_standby: u64,
    pub deferred_idle: u64,
    pub deferred_resting: u64,
    /// Probes of paths in use that left although their budget was used up.
    pub overdrawn: u64,
}

/// The accounts of one edge.
#[derive(Debug, Default)]
pub struct Budgets {
    accounts: BTreeMap<Account, Bucket>,
    counters: BudgetCounters,
}

impl Budgets {
    /// Replaces the accounts; one whose terms stay keeps what is in it.
    pub fn configure(&mut self, specs: &BTreeMap<Account, AccountSpec>, now: Micros) {
        let mut old = std::mem::take(&mut self.accounts);
        for (account, spec) in specs {
            let kept = old.remove(account).filter(|bucket| bucket.spec == *spec);
            self.accounts.insert(*account, kept.unwrap_or_else(|| Bucket::new(*spec, now)));
        }
    }

    /// Pays for an exchange from all of `accounts` (those that exist), or from none.
    ///
    /// `fast`: one of a moment's burst. `waited`: since the path's last probe. What its cadence can't do without may take
    /// what is kept back; a path in use gets its probe a second whatever is left.
    pub fn admit(
        &mut self,
        accounts: &[Account],
        cadence: Cadence,
        bytes: u64,
        waited: Duration,
        now: Micros,
    ) -> Admission {
        let due = waited >= floor(cadence);
        let mut ready = now;
        for account in accounts {
            let Some(bucket) = self.accounts.get_mut(account) else { continue };
            bucket.fill(now);
            let least = if due { 0 } else { bucket.spec.reserve(cadence) };
            ready = ready.max(bucket.when(least + bytes, now));
        }
        if ready > now {
            if !(due && cadence == Cadence::Used) {
                self.count(cadence);
                let floor = now + floor(cadence).saturating_sub(waited);
                return Admission::Wait(if due { ready } else { ready.min(floor) });
            }
            self.counters.overdrawn += 1;
        }
        for account in accounts {
            if let Some(bucket) = self.accounts.get_mut(account) {
                bucket.level_nano -= i128::from(bytes) * NANO;
            }
        }
        Admission::Send
    }

    /// Since the start.
    pub fn counters(&self) -> BudgetCounters {
        self.counters
    }

    fn count(&mut self, cadence: Cadence) {
        *match cadence {
            Cadence::Used => &mut self.counters.deferred_used,
            Cadence::Standby => &mut self.counters.deferred_standby,
            Cadence::Idle => &mut self.counters.deferred_idle,
            Cadence::Resting => &mut self.counters.deferred_resting,
        } += 1;
    }
}

/// No budget makes a cadence slower than this.
pub(super) fn floor(cadence: Cadence) -> Duration {
    match cadence {
        Cadence::Used => policy::USED_INTERVAL_MAX,
        Cadence::Standby => policy::STANDBY_INTERVAL_MAX,
        Cadence::Idle => policy::MAX_INTERVAL,
        Cadence::Resting => policy::RESTING_INTERVAL_MAX,
    }
}

impl AccountSpec {
    /// What must be left after a payment: idle paths yield first, then standbys.
    fn reserve(&self, cadence: Cadence) -> u64 {
        self.kept_bytes
            + match cadence {
                Cadence::Used | Cadence::Resting => 0,
                Cadence::Standby => self.burst_bytes / 4,
                Cadence::Idle => self.burst_bytes / 2,
            }
    }
}

const NANO: i128 = 1_000_000_000;

#[derive(Debug)]
struct Bucket {
    spec: AccountSpec,
    /// Of 10^-9 bytes: nothing is lost to rounding.
    level_nano: i128,
    filled: Micros,
}

impl Bucket {
    fn new(spec: AccountSpec, now: Micros) -> Self {
        let level_nano = i128::from(spec.burst_bytes + spec.kept_bytes) * NANO;
        Bucket { spec, level_nano, filled: now }
    }

    fn fill(&mut self, now: Micros) {
        let full = i128::from(self.spec.burst_bytes + self.spec.kept_bytes) * NANO;
        let earned =
            now.since(self.filled).as_micros() as i128 * i128::from(self.spec.bytes_per_ks);
        self.level_nano = (self.level_nano + earned).min(full);
        self.filled = self.filled.max(now);
    }

    /// When there will be `bytes`; never later than an hour.
    fn when(&self, bytes: u64, now: Micros) -> Micros {
        let missing = i128::from(bytes) * NANO - self.level_nano;
        if missing <= 0 {
            return now;
        }
        let micros = missing / i128::from(self.spec.bytes_per_ks.max(1)) + 1;
        now + Duration::from_micros(micros.min(3_600_000_000) as u64)
    }
}
