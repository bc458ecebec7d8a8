//! When to send: cadence, suspicion, and the timeout from the round-trip estimate.

use std::time::Duration;

use super::{Cadence, Intervals};
use crate::bucket::TokenBucket;
use crate::policy;
use crate::time::Micros;

/// SRTT and RTTVAR of RFC 6298, in microseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Estimator {
    srtt_us: u64,
    rttvar_us: u64,
    seeded: bool,
}

impl Estimator {
    /// As if it had seen this round-trip time.
    pub(crate) fn seeded(rtt: Duration) -> Self {
        let mut estimator = Estimator::default();
        estimator.update(rtt);
        estimator
    }

    pub(crate) fn update(&mut self, rtt: Duration) {
        let rtt_us = rtt.as_micros().min(60_000_000) as u64;
        if self.seeded {
            // RFC 6298 section 2.3: alpha 1/8, beta 1/4.
            self.rttvar_us = (3 * self.rttvar_us + self.srtt_us.abs_diff(rtt_us)) / 4;
            self.srtt_us = (7 * self.srtt_us + rtt_us) / 8;
        } else {
            self.srtt_us = rtt_us;
            self.rttvar_us = rtt_us / 2;
            self.seeded = true;
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        if !self.seeded {
            return policy::MAX_TIMEOUT;
        }
        let margin = Duration::from_micros(4 * self.rttvar_us).max(policy::MIN_TIMEOUT_MARGIN);
        (Duration::from_micros(self.srtt_us) + margin)
            .clamp(policy::MIN_TIMEOUT, policy::MAX_TIMEOUT)
    }
}

/// When the next probe is due.
#[derive(Debug)]
pub(super) struct Pace {
    intervals: Intervals,
    cadence: Cadence,
    next: Micros,
    /// Probes come fast until then.
    suspicious_until: Micros,
    extra: TokenBucket,
    checks: Checks,
    last: Option<Micros>,
}

/// On a path that rests: how many faster probes are left, and why they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checks {
    None,
    /// Is it down? None left: that is known.
    Lost(u32),
    /// Is it up again?
    Answered(u32),
}

impl Pace {
    pub(super) fn new(intervals: Intervals, cadence: Cadence, seed: u64, now: Micros) -> Self {
        // Many sessions start at once: their phases must not.
        let interval_us = intervals.of(cadence).as_micros() as u64;
        let phase = Duration::from_micros(seed % interval_us.max(1));
        Pace {
            intervals,
            cadence,
            next: now + phase,
            suspicious_until: Micros(0),
            extra: TokenBucket::per_second(
                policy::SUSPICION_BUCKET_PROBES,
                policy::SUSPICION_REFILL_PER_S,
                now,
            ),
            checks: Checks::None,
            last: None,
        }
    }

    pub(super) fn set(&mut self, intervals: Intervals, cadence: Cadence, now: Micros) {
        if cadence != self.cadence {
            self.checks = Checks::None;
        }
        self.intervals = intervals;
        self.cadence = cadence;
        self.next = self.next.min(now + self.intervals.of(cadence));
    }

    pub(super) fn cadence(&self) -> Cadence {
        self.cadence
    }

    pub(super) fn interval(&self) -> Duration {
        self.intervals.of(self.cadence)
    }

    pub(super) fn next(&self) -> Micros {
        self.next
    }

    /// A sign of trouble: probe fast for a moment, the first one now.
    pub(super) fn suspect(&mut self, now: Micros) {
        if self.cadence == Cadence::Resting {
            if !matches!(self.checks, Checks::Lost(_)) {
                self.checks = Checks::Lost(policy::RESTING_CHECKS_LOST);
                self.next = self.next.min(now + policy::RESTING_CHECK_INTERVAL);
            }
            return;
        }
        if self.cadence == Cadence::Idle || self.interval() <= policy::SUSPICION_INTERVAL {
            return;
        }
        let fresh = now >= self.suspicious_until;
        self.suspicious_until = now + policy::SUSPICION_TIME;
        if fresh && self.next > now && self.extra.take(now) {
            self.next = now;
        }
    }

    pub(super) fn hasten(&mut self, now: Micros) {
        self.next = self.next.min(now);
    }

    pub(super) fn calm(&mut self) {
        self.suspicious_until = Micros(0);
    }

    /// A probe was answered.
    pub(super) fn answered(&mut self, now: Micros) {
        if matches!(self.checks, Checks::Lost(_)) {
            self.checks = Checks::Answered(policy::RESTING_CHECKS_ANSWERED);
            self.next = self.next.min(now + policy::RESTING_CHECK_INTERVAL);
        }
    }

    /// Since the last probe, or for ever.
    pub(super) fn waited(&self, now: Micros) -> Duration {
        self.last.map_or(Duration::MAX, |last| now.since(last))
    }

    /// What is due is put off.
    pub(super) fn defer(&mut self, until: Micros) {
        self.next = self.next.max(until);
    }

    /// A probe is due and leaves now.
    pub(super) fn sent(&mut self, now: Micros) {
        let fast = now < self.suspicious_until && self.extra.take(now);
        let check = match &mut self.checks {
            Checks::Lost(left) | Checks::Answered(left) if *left > 0 => {
                *left -= 1;
                true
            }
            Checks::Answered(_) => {
                self.checks = Checks::None;
                false
            }
            _ => false,
        };
        self.last = Some(now);
        let interval = match (fast, check) {
            (true, _) => policy::SUSPICION_INTERVAL,
            (_, true) => policy::RESTING_CHECK_INTERVAL,
            _ => self.interval(),
        };
        // After a stall of the caller probes are not caught up on.
        self.next = (self.next + interval).max(now + interval / 2);
    }
}
