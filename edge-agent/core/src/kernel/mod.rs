//! What the kernel must hold so that it forwards by itself (the kernel driver), and the steps from what is there to it.
//!
//! Every path has two XFRM policies and, for each segment, a GRE interface whose key is the wire format's. A class of a
//! segment is a mark (set by nftables), a rule, and a table whose routes lead to next-hop groups: a selection replaces one
//! group. The shell observes, calls [`desired`] and [`plan`], applies every step, and observes again.
//!
//! Security associations are not planned into being: their keys are not here, and what was once flushed must never come
//! back under the same key. They are moved when a path's ends change, and removed.

mod desired;
mod plan;
mod script;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::config::Match;
use crate::id::{ClassId, PathId, SegmentId, Spi, TunnelId, from_gre_key};
use crate::select::Choice;

pub use desired::{choices_of, desired, groups};
pub use plan::{Step, plan};
pub use script::{TABLE as SCRIPT_TABLE, script};

/// Marks the driver's routes and next hops in the kernel. Not the host's own (119): each of the two cleans up after itself.
pub const ROUTE_PROTOCOL: u8 = 118;
/// Preference of the rules that lead a marked packet to its class's table.
pub const MARK_PREFERENCE: u32 = 7300;
/// Of the rule for what is not marked: packets of the host itself, before it is known where they go.
pub const UNMARKED_PREFERENCE: u32 = 7350;
/// First of the tables of classes: plus segment ID × 256 + the class's place.
pub const CLASS_TABLE_BASE: u32 = 7_100_000;
/// The bits of a packet's mark that are ours: segment ID (8), then the class's place from 1 (8).
pub const MARK_MASK: u32 = 0xffff_0000;
/// Classes that can be told apart by a mark. What is beyond them goes with the last one.
pub const MAX_CLASSES: usize = 255;
/// Request IDs of inbound states and templates: plus the path's ID.
pub const REQID_IN: u32 = 0x4800_0000;
/// Of outbound ones.
pub const REQID_OUT: u32 = 0x4900_0000;
/// First of our next hops' IDs, and how many there may be.
pub const NEXT_HOP_BASE: u32 = 0x4800_0000;
pub const NEXT_HOPS: u32 = 1 << 24;

/// Of the interfaces that carry probes only: longer than any link's, and no longer than a tunnel allows.
pub const PROBE_MTU_BYTES: u32 = 16_384;

const REQID_PATH: u32 = 0x00ff_ffff;

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    In,
    Out,
}

impl Direction {
    /// The request ID of a path's states of this direction.
    pub fn reqid(self, path: PathId) -> u32 {
        let base = if self == Direction::In { REQID_IN } else { REQID_OUT };
        base | path.0 & REQID_PATH
    }

    /// The other way round; `None`: not one of ours.
    pub fn of_reqid(reqid: u32) -> Option<(Direction, PathId)> {
        let path = PathId(reqid & REQID_PATH);
        match reqid & !REQID_PATH {
            REQID_IN => Some((Direction::In, path)),
            REQID_OUT => Some((Direction::Out, path)),
            _ => None,
        }
    }
}

/// Where a path begins and ends, outside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ends {
    /// The uplink's interface.
    pub interface: String,
    /// The fabric port's socket, on the address that packets to `remote` leave from.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
}

/// A path's GRE interface in one segment. Its name and segment follow from the key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GreLink {
    pub key: u32,
    pub local: IpAddr,
    pub remote: IpAddr,
    /// What it is bound to.
    pub underlay: String,
    pub mtu_bytes: u32,
    pub up: bool,
}

/// `hw<path>s<segment>`: at most 14 octets.
pub fn link_name(key: u32) -> String {
    let (path, segment) = from_gre_key(key);
    format!("hw{path}s{segment}")
}

/// The key of an interface of that name; `None`: not one of ours.
pub fn key_of_link(name: &str) -> Option<u32> {
    let (path, segment) = name.strip_prefix("hw")?.split_once('s')?;
    let key = path.parse::<u32>().ok().filter(|path| *path < 1 << 24)? << 8;
    let key = key | u32::from(segment.parse::<u8>().ok()?);
    // No second spelling (`hw01s1`) is ours.
    (link_name(key) == name).then_some(key)
}

/// Only through IPsec: packets of the path's GRE keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Policy {
    pub direction: Direction,
    pub path: PathId,
    pub local: IpAddr,
    /// `None`: from anywhere, so that a peer whose address changed is heard. Always given for IPv6.
    pub remote: Option<IpAddr>,
}

/// A security association in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateId {
    pub path: PathId,
    pub direction: Direction,
    pub spi: Spi,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum NextHop {
    Device {
        ipv6: bool,
        link: u32,
    },
    /// Packets vanish.
    Blackhole {
        ipv6: bool,
    },
    /// IDs of devices, or one of a blackhole; weights from 1 to 256.
    Group(Vec<(u32, u16)>),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub table: u32,
    pub prefix: IpNet,
    pub kind: RouteKind,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// The next rule decides.
    Throw,
    NextHop(u32),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    pub ipv6: bool,
    pub preference: u32,
    /// Value under [`MARK_MASK`].
    pub mark: Option<u32>,
    pub table: u32,
}

/// What the kernel holds, or must hold, of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelState {
    /// By GRE key.
    pub links: BTreeMap<u32, GreLink>,
    pub policies: BTreeSet<Policy>,
    /// With local and remote end; their interface is not part of them.
    pub states: BTreeMap<StateId, (SocketAddr, SocketAddr)>,
    pub next_hops: BTreeMap<u32, NextHop>,
    pub routes: BTreeSet<Route>,
    pub rules: BTreeSet<Rule>,
    /// nftables.
    pub script: Option<String>,
}

/// What the engine asked for, as far as the kernel must know of it.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    pub segments: BTreeMap<SegmentId, Segment>,
    pub tunnels: BTreeMap<TunnelId, Tunnel>,
    /// Prefix of a segment, and the tunnels that may carry it, best first.
    pub routes: Vec<(SegmentId, IpNet, Vec<TunnelId>)>,
    /// In order of match.
    pub classes: Vec<Class>,
    pub choices: BTreeMap<(TunnelId, ClassId), Choice>,
    /// Of the paths whose ends are known.
    pub ends: BTreeMap<PathId, Ends>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Segment {
    /// Interfaces of its LANs.
    pub lans: BTreeSet<String>,
    /// Prefixes of its LANs.
    pub own: BTreeSet<IpNet>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tunnel {
    pub paths: BTreeSet<PathId>,
    /// Inner sources that the peer may originate.
    pub sources: BTreeMap<SegmentId, BTreeSet<IpNet>>,
    pub inner_mtu_bytes: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    pub id: ClassId,
    pub segment: Option<SegmentId>,
    pub matches: Vec<Match>,
}

impl Inputs {
    /// The lowest segment is the host's own: what comes in by no LAN of another one belongs to it.
    pub fn main_segment(&self) -> Option<SegmentId> {
        self.segments.keys().next().copied()
    }

    /// Classes that get a mark, with their places from 1.
    fn marked_classes(&self) -> impl Iterator<Item = (u32, &Class)> {
        // Of too many the last one stays: it matches what no other does.
        let all = self.classes.len();
        let dropped = all.saturating_sub(MAX_CLASSES);
        let kept = move |i: &usize| *i < MAX_CLASSES - 1 || *i + 1 == all || dropped == 0;
        let classes = self.classes.iter().enumerate().filter(move |(i, _)| kept(i));
        classes.zip(1..).map(|((_, class), place)| (place, class))
    }
}

/// The table of a segment's class.
pub fn class_table(segment: SegmentId, place: u32) -> u32 {
    CLASS_TABLE_BASE + (u32::from(segment.0) << 8) + place
}

/// Its packets' mark.
pub fn class_mark(segment: SegmentId, place: u32) -> u32 {
    u32::from(segment.0) << 24 | place << 16
}
