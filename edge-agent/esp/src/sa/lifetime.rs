//! Lifetimes (RFC 4301 section 4.4.2.1): by packets, octets and time, each with a soft end, where a new SA is due,
//! and a hard one, where this SA ends.

use std::time::Duration;

use super::SaUsage;
use crate::suite::Suite;

/// What ends an SA, or asks for a new one. `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub packets: Option<u64>,
    /// Octets that the cipher processes.
    pub bytes: Option<u64>,
    pub age: Option<Duration>,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Packets,
    Bytes,
    Age,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Go on.
    None,
    /// Negotiate a new SA, keep using this one.
    Soft(Limit),
    /// Send and accept nothing more.
    Hard(Limit),
}

/// A soft limit would never be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the soft limit of {limit:?} lies beyond the hard one; set it below")]
pub struct LifetimeError {
    pub limit: Limit,
}

/// Both sets of limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lifetime {
    soft: Limits,
    hard: Limits,
}

impl Lifetime {
    /// Each soft limit must be below its hard one, where both are set.
    pub fn new(soft: Limits, hard: Limits) -> Result<Self, LifetimeError> {
        fn beyond<T: PartialOrd>(soft: Option<T>, hard: Option<T>) -> bool {
            matches!((soft, hard), (Some(soft), Some(hard)) if soft >= hard)
        }
        let wrong = [
            (beyond(soft.packets, hard.packets), Limit::Packets),
            (beyond(soft.bytes, hard.bytes), Limit::Bytes),
            (beyond(soft.age, hard.age), Limit::Age),
        ];
        match wrong.into_iter().find(|(beyond, _)| *beyond) {
            Some((_, limit)) => Err(LifetimeError { limit }),
            None => Ok(Lifetime { soft, hard }),
        }
    }

    /// Never longer than the suite bears: the hard end by octets comes down to [`Suite::byte_limit`], a soft one
    /// beyond it to seven eighths of it.
    pub fn within(mut self, suite: Suite) -> Self {
        if let Some(limit) = suite.byte_limit() {
            let hard = self.hard.bytes.map_or(limit, |bytes| bytes.min(limit));
            let soft = hard - hard / 8;
            self.hard.bytes = Some(hard);
            self.soft.bytes = Some(self.soft.bytes.map_or(soft, |bytes| bytes.min(soft)));
        }
        self
    }

    /// Where an SA stands that was made `age` ago.
    pub fn expiry(&self, usage: SaUsage, age: Duration) -> Expiry {
        match (self.hard.reached(usage, age), self.soft.reached(usage, age)) {
            (Some(limit), _) => Expiry::Hard(limit),
            (None, Some(limit)) => Expiry::Soft(limit),
            (None, None) => Expiry::None,
        }
    }
}

impl Limits {
    fn reached(&self, usage: SaUsage, age: Duration) -> Option<Limit> {
        let reached = [
            (self.packets.is_some_and(|limit| usage.packets >= limit), Limit::Packets),
            (self.bytes.is_some_and(|limit| usage.bytes >= limit), Limit::Bytes),
            (self.age.is_some_and(|limit| age >= limit), Limit::Age),
        ];
        reached.into_iter().find(|(reached, _)| *reached).map(|(_, limit)| limit)
    }
}

#[cfg(test)]
mod tests;
