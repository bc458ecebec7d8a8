//! Probe sessions: one per path and end, each both Session-Sender and Session-Reflector.
//!
//! The caller sends what [`ProbeSession::poll_transmit`] gives, hands in what comes, and reads [`Sample`]s. All round-trip
//! times come from the caller's monotonic clock, so that steps of wall clocks change nothing.

mod budget;
mod cost;
mod heard;
mod ipdv;
mod pace;
mod pacer;
mod plain;
mod rest;
mod sender;
mod session;
#[cfg(test)]
mod tests;
mod window;

use std::time::Duration;

use crate::id::{EdgeId, PathId};
use crate::policy;
use crate::stamp::{self, DigestEntry};
use crate::time::Micros;

pub use budget::{Account, AccountSpec, Admission, BudgetCounters, Budgets};
pub use cost::{
    exchange_bytes, keepalive_bytes, packet_bytes, probe_bytes, probe_bytes_per_path_per_day,
};
pub(crate) use pace::Estimator;
pub use pacer::{Order, Pacer, PathView};
pub use plain::{PlainConfig, PlainProber, PlainProtocol};
pub use rest::{Allowance, LastResort};
pub use session::ProbeSession;

/// What a session must know at its start.
#[derive(Debug, Clone)]
pub struct ProbeConfig {
    /// The path that it measures.
    pub path: PathId,
    /// This edge.
    pub local: EdgeId,
    /// The other end of the tunnel.
    pub peer: EdgeId,
    /// Time between probes.
    pub intervals: Intervals,
    /// The cadence to start with.
    pub cadence: Cadence,
    /// Random: the phase of the first probe, and the session identifier.
    pub seed: u64,
    /// Wall-clock time since the Unix epoch at `Micros(0)`, for the timestamps; only differences are ever used.
    pub unix_at_zero: Duration,
    /// UDP payload of a request is padded to this; 0: no padding.
    pub least_bytes: usize,
}

/// Time between probes, by cadence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    pub used: Duration,
    pub standby: Duration,
    pub idle: Duration,
    pub resting: Duration,
}

impl Intervals {
    /// From a tunnel's profile; 0 takes the default. The best standby is probed as fast as a path in use.
    pub fn from_profile(probe_interval_ms: u32, probe_idle_interval_ms: u32) -> Self {
        let or = |ms: u32, default| match ms {
            0 => default,
            ms => {
                Duration::from_millis(ms.into()).clamp(policy::MIN_INTERVAL, policy::MAX_INTERVAL)
            }
        };
        let used = or(probe_interval_ms, policy::USED_INTERVAL);
        let idle = or(probe_idle_interval_ms, policy::IDLE_INTERVAL).max(used);
        Intervals { used, standby: used, idle, resting: policy::MAX_INTERVAL }
    }

    /// Of one cadence.
    pub fn of(&self, cadence: Cadence) -> Duration {
        let (interval, max) = match cadence {
            Cadence::Used => (self.used, policy::MAX_INTERVAL),
            Cadence::Standby => (self.standby, policy::MAX_INTERVAL),
            Cadence::Idle => (self.idle, policy::MAX_INTERVAL),
            Cadence::Resting => (self.resting, policy::RESTING_INTERVAL_MAX),
        };
        interval.clamp(policy::MIN_INTERVAL, max)
    }

    /// The same, but for one cadence.
    pub fn with(mut self, cadence: Cadence, interval: Duration) -> Self {
        *match cadence {
            Cadence::Used => &mut self.used,
            Cadence::Standby => &mut self.standby,
            Cadence::Idle => &mut self.idle,
            Cadence::Resting => &mut self.resting,
        } = interval;
        self
    }
}

impl Default for Intervals {
    fn default() -> Self {
        Intervals::from_profile(0, 0)
    }
}

/// How often a path is probed. On the first two, a loss raises the rate for a moment (suspicion).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cadence {
    /// Carries a class.
    Used,
    /// Would carry one next.
    Standby,
    /// Neither.
    Idle,
    /// Kept from being forgotten, at the least cost; a loss or a recovery is checked by a few faster probes.
    Resting,
}

/// An inner packet to send on the path now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Counted from 0, never wraps.
    pub sequence: u64,
    /// IPv6, for segment 0.
    pub inner: Vec<u8>,
}

/// What became of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// As in [`Probe`].
    pub sequence: u64,
    /// When it was sent.
    pub sent: Micros,
    /// When its fate was known.
    pub known: Micros,
    /// Its fate.
    pub outcome: Outcome,
    /// Earlier losses of unknown way whose way this sample tells.
    pub settled: Settled,
    /// Against the answer before, if the reflector's timestamps tell.
    pub ipdv: Option<Ipdv>,
}

/// How much longer or shorter a probe took than the one before, way by way (RFC 3393): clocks need not agree for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ipdv {
    /// To the peer, absolute.
    pub forward_us: u32,
    /// From the peer, absolute.
    pub back_us: u32,
}

/// A probe's fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered in time. Without the time that the reflector held it.
    Rtt { rtt: Duration },
    /// Not answered within the timeout; where it was lost, if the replies around it tell.
    Lost { way: Option<Way> },
    /// Answered after it was counted lost (as `was`): that loss did not happen.
    Late { rtt: Duration, was: Option<Way> },
}

/// A direction, seen from this end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// To the peer.
    Forward,
    /// From the peer.
    Back,
}

/// Losses by way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    pub forward: u32,
    pub back: u32,
}

/// What a request gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The inner packet to send back on the same path.
    pub reply: Vec<u8>,
    /// What the peer receives, path by path.
    pub peer_digest: Vec<DigestEntry>,
    /// It challenged our address; it is no part of the peer's statistics.
    pub challenge: bool,
}

/// What a reply gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub kind: ReplyKind,
    /// What the peer receives, path by path.
    pub peer_digest: Vec<DigestEntry>,
}

/// What a reply was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// In time; a sample waits.
    Answer { rtt: Duration },
    /// After its timeout; a correcting sample waits.
    Late { rtt: Duration },
    /// Of a probe that is already answered.
    Duplicate,
    /// The peer echoed a challenge: for the path's endpoint tracker, with the packet's outer source.
    Challenge { octets: [u8; 8] },
}

/// Why a probe packet was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Malformed(#[from] stamp::Error),
    #[error("probe from edge {0}, which is not this path's peer")]
    WrongEdge(EdgeId),
    #[error("a request where a reply is needed, or the reverse")]
    WrongKind,
    #[error("more requests than this reflector answers")]
    RateLimited,
    #[error("a request that was reflected already")]
    Duplicate,
    #[error("reply to a probe that was never sent, or is forgotten")]
    Unknown,
    #[error("reply to another session's probe")]
    Foreign,
}

impl Refused {
    /// Stable, for counters.
    pub fn code(&self) -> &'static str {
        match self {
            Refused::Malformed(error) => error.code(),
            Refused::WrongEdge(_) => "probe_wrong_edge",
            Refused::WrongKind => "probe_wrong_kind",
            Refused::RateLimited => "probe_rate_limited",
            Refused::Duplicate => "probe_duplicate",
            Refused::Unknown => "probe_unknown",
            Refused::Foreign => "probe_foreign",
        }
    }
}

/// Since the session's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProbeCounters {
    pub sent: u64,
    pub sent_bytes: u64,
    pub answered: u64,
    pub lost: u64,
    pub late: u64,
    pub duplicate: u64,
    pub reflected: u64,
    pub refused: u64,
    /// Samples that the caller did not read in time.
    pub samples_dropped: u64,
}
