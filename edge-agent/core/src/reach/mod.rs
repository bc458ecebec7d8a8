//! Reachability: which prefix is reached through which next hop, as peers say and paths show.
//!
//! The generation lists each prefix's next hops in an order that can't form a loop, whichever of them are used (see
//! `docs/decisions/0002-reachability.md`). [`Reach`] only takes away from that list and re-orders it: by what the peers
//! advertise over their sessions, by the health of the tunnels to them, by drain and by advice. What it uses it advertises
//! in turn, so that an edge that lost its way stops attracting traffic. It needs no controller.
//!
//! Choices follow the rules of [`crate::select`]: the very [`crate::select::Selector`] runs with next hops for paths.

mod advert;
mod base;
mod decision;
mod group;
mod machine;
mod regroup;
mod report;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use ipnet::IpNet;

use crate::id::SegmentId;

pub use decision::{HopCause, HopEvidence, HopExplanation, NextHopDecision};
pub use machine::{Output, Reach, ReachEvent};

/// A prefix of a segment.
pub type Prefix = (SegmentId, IpNet);

/// Prefixes that one peer may tell; what is beyond is not taken.
pub const PREFIXES_MAX: usize = 16_384;
/// Edges on the way of one prefix.
pub const VIA_MAX: usize = 16;
/// Parts of one advertisement.
pub const PARTS_MAX: u32 = 128;
/// Of one part, in bytes, with room for what is around it (a message takes 16 KiB).
pub const PART_MAX_BYTES: usize = 12 * 1024;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What gets better may wait this long, so that what comes in a burst is told at once. What gets worse does not wait.
pub const GATHER: Duration = ms(30);
/// Two advertisements to one neighbour are at least so far apart.
pub const ADVERT_GAP: Duration = ms(30);
/// Advertisements that may follow each other so closely, per neighbour.
pub const ADVERT_TOKENS: u32 = 16;
/// Their refill: four a second in the long run, however much flaps.
pub const ADVERT_REFILL: Duration = ms(250);
/// A message that the peer session had no room for is offered again after this.
pub const ADVERT_RETRY: Duration = ms(100);
/// Events that may follow each other; one a second comes back. A peer that flaps must not fill the log.
pub const EVENT_TOKENS: u32 = 32;
/// Groups of prefixes that chose apart are one again after this many holds of peace, as long as one flap is remembered.
pub const FOLD_HOLDS: u32 = crate::policy::FLAP_DECAY_HOLDS;
