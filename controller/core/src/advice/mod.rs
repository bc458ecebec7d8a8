//! The slow loop: what only somebody who sees every site can see, as advice with a time to live.
//!
//! Agents decide in milliseconds by their own evidence. An [`Advisor`] looks at what all of them report, and recognises
//! the trouble of a provider, of a hub, and of an uplink that many share. Its advice re-orders what agents find equally
//! good; it never overrides what they measure, ends by itself, and is lost with the process. So it is harmless when it is
//! wrong, late or lost.
//!
//! Time is the caller's monotonic clock. Reports go in, [`Effect`]s come out.

mod advisor;
mod chance;
mod compose;
mod constants;
mod evidence;
mod giving;
mod map;
mod track;
mod trouble;

use std::collections::BTreeSet;
use std::fmt;

use crate::id::{EdgeId, PathId, UplinkId};

pub use advisor::Advisor;
pub use constants::{EVALUATE_EVERY_MS, TTL_MS};
pub use map::FleetMap;

/// Milliseconds of the caller's monotonic clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// Zero if `earlier` is later.
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What one end of a path says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathReport {
    pub path: PathId,
    pub reach: Reach,
    /// A bit for each SLA class that it violates, in any numbering that stays the same.
    pub violated: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It never carried anything.
    Connecting,
    Up,
    Down,
}

/// What is in trouble.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A hub, on all of its uplinks.
    Hub(EdgeId),
    /// One uplink that many edges reach.
    Uplink(UplinkId),
    Provider(Provider),
}

/// A provider on one transport.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Provider {
    pub name: String,
    pub transport: String,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.transport == self.name || self.transport.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{} ({})", self.name, self.transport)
        }
    }
}

/// Advice for one edge; replaces what it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The same as long as it follows from the same troubles.
    pub id: String,
    pub ttl_ms: u64,
    pub avoid_paths: BTreeSet<PathId>,
    /// As next hops.
    pub avoid_edges: BTreeSet<EdgeId>,
    /// Plain words.
    pub reason: String,
}

/// What the shell must do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send it.
    Give {
        edge: EdgeId,
        advice: Advice,
    },
    /// Send an empty one of this ID.
    Withdraw {
        edge: EdgeId,
        id: String,
    },
    Tell(Told),
}

/// Something for `hawser events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// `TROUBLE_FOUND`, `TROUBLE_OVER`, `ADVICE_GIVEN`, `ADVICE_ENDED`, `ADVICE_HELD`.
    pub code: &'static str,
    /// None: it is about the fleet.
    pub edge: Option<EdgeId>,
    pub message: String,
}

/// Advice that an edge has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    pub edge: EdgeId,
    pub advice: Advice,
    /// When it was first given, and when it was sent last.
    pub since: Millis,
    pub sent: Millis,
}

/// A recognised trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TroubleView {
    pub id: String,
    pub subject: String,
    pub since: Millis,
    /// Sites that see it, of those that could, when last looked at.
    pub seen_by: u32,
    pub of: u32,
    /// Edges that are advised because of it.
    pub advised: u32,
    /// It is over, and its advice is being withdrawn.
    pub ending: bool,
}

/// Since the advisor's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AdviceCounters {
    pub given: u64,
    pub refreshed: u64,
    pub withdrawn: u64,
    /// Put off because of the rate limit.
    pub deferred: u64,
    /// Tunnels and routes left alone because nothing good would remain.
    pub spared: u64,
    /// Troubles not looked at because there were too many.
    pub troubles_dropped: u64,
}

#[cfg(test)]
mod tests;
