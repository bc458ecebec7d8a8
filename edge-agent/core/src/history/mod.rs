//! What became of every probe, in two or three octets each: kept on disk by the agent, exported as traces.
//!
//! A history is a sequence of blocks, and a block that is damaged or cut off hides only itself:
//!
//! ```text
//! "HWH1"  kind (1 octet)  length of the body (4, little endian)  body  CRC-32 of kind, length and body (4, little endian)
//!
//! kind 1, names     edge, site, then for each path: ID, tunnel, peer's edge and site, both uplinks, family
//! kind 2, probes    path ID, first and last time sent, count, then for each probe:
//!                     zigzag(time since the one before - the time before that)
//!                     0 if it was lost, else 1 + zigzag(RTT - the RTT before)
//! ```
//! Numbers are LEB128 varints, times are in ticks of 100 µs since 1970, texts have their length before them. A probe that
//! was counted lost and then answered stands there twice; the later entry counts.

mod codec;
mod collect;
mod grid;
#[cfg(test)]
mod tests;

use crate::id::{PathId, TunnelId};

pub use codec::{Block, Blocks, encode_names, encode_probes, is_within};
pub use collect::Collector;
pub use grid::Trace;

/// Ticks in a millisecond.
pub const TICKS_PER_MS: u64 = 10;
/// Probes in one block.
pub const MAX_PROBES: usize = 4_096;
/// Octets of a block's body.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// 100 µs since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    pub fn from_unix_us(us: u64) -> Tick {
        Tick(us / 100)
    }

    pub fn from_unix_ms(ms: u64) -> Tick {
        Tick(ms.saturating_mul(TICKS_PER_MS))
    }

    pub fn unix_ms(self) -> u64 {
        self.0 / TICKS_PER_MS
    }
}

/// What became of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub sent: Tick,
    /// In ticks; `None`: lost.
    pub rtt: Option<u32>,
}

/// Whose history it is, and what its paths are called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    pub edge: String,
    pub site: String,
    pub paths: Vec<PathName>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathName {
    pub path: PathId,
    pub tunnel: TunnelId,
    pub peer_edge: String,
    pub peer_site: String,
    pub local_uplink: String,
    pub remote_uplink: String,
    pub ipv6: bool,
}
