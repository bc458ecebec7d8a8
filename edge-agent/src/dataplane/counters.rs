//! What the data plane counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hawser_edge_core::id::{PathId, Spi};

/// A reading of all counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Of every path in the table.
    pub paths: BTreeMap<PathId, PathCounters>,
    /// Of every inbound SA, for byte lifetimes and for draining.
    pub inbound_sas: BTreeMap<Spi, SaCounters>,
    /// Of every path's outbound SA, each lane in their order.
    pub outbound_sas: BTreeMap<PathId, Vec<SaCounters>>,
    /// What was dropped, by reason; every reason is listed.
    pub drops: BTreeMap<DropReason, u64>,
}

/// Inner packets, of all segments (probes too).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PathCounters {
    /// Sealed and handed to the kernel.
    pub tx_packets: u64,
    /// Inner octets of those.
    pub tx_bytes: u64,
    /// Authenticated and accepted.
    pub rx_packets: u64,
    /// Inner octets of those.
    pub rx_bytes: u64,
    /// What sequence numbers tell of the way here.
    pub esp: EspEvidence,
}

/// ESP packets of a path, over all of its inbound SAs. Both count on and wrap: two readings together tell what was lost
/// between them. A packet that is overtaken is missing for a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EspEvidence {
    /// That the sequence numbers of those received tell of, each SA's from its first packet on.
    pub expected: u32,
    /// That were received: authenticated, and new to the anti-replay window.
    pub received: u32,
}

/// What an SA has carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SaCounters {
    /// The SA's SPI.
    pub spi: u32,
    /// ESP packets.
    pub packets: u64,
    /// Their octets from the SPI to the ICV.
    pub bytes: u64,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal),+ $(,)?) => {
        /// Why something was dropped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason { $($(#[$doc])* $name),+ }

        impl DropReason {
            /// Every reason.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name),+];

            /// The label in metrics.
            pub fn label(self) -> &'static str {
                match self { $(DropReason::$name => $label),+ }
            }
        }
    };
}

reasons! {
    /// From a WAN: one octet FF, a NAT keepalive (RFC 3948 section 2.3).
    Keepalive = "keepalive",
    /// From a WAN: too short for any of ours.
    Short = "short",
    /// From a WAN: the reserved SPIs 1 to 255.
    BadSpi = "bad_spi",
    /// From a WAN: no inbound SA of that SPI.
    UnknownSpi = "unknown_spi",
    /// From a WAN: seen before, or left of the window.
    Replayed = "replayed",
    /// From a WAN: the integrity check failed.
    BadIcv = "bad_icv",
    /// From a WAN: authentic, but its padding, next header or GRE header is wrong.
    BadInner = "bad_inner",
    /// From a WAN: authentic, but the GRE key is another path's.
    WrongPath = "wrong_path",
    /// From a WAN: authentic, of a segment that is not here.
    UnknownSegment = "unknown_segment",
    /// From a WAN: authentic, its inner source is not one that the peer may originate.
    SpoofedSource = "spoofed_source",
    /// From a WAN: the other copy of a duplicated packet came before (as it should be; nothing is lost).
    SecondCopy = "second_copy",
    /// From a WAN: a copy of a duplicated packet so late that its window has moved on.
    LateCopy = "late_copy",
    /// From a WAN: authentic, met congestion, and its sender can't be told but by a loss (RFC 6040).
    CongestionUntold = "congestion_untold",
    /// From a WAN: the datagram is longer than the receive buffer.
    Truncated = "truncated",
    /// From a WAN: the thread of its lane is too far behind.
    LaneFull = "lane_full",
    /// A receive call failed, mostly for an ICMP error, and was made again (not a packet; informational).
    SocketError = "socket_error",
    /// ICMP says that what was sent does not arrive (not a packet of ours; informational).
    IcmpUnreachable = "icmp_unreachable",
    /// ICMP, or this host, says that what was sent is too long (informational).
    IcmpTooBig = "icmp_too_big",
    /// To the engine: ICMP errors that were not told, of a destination told just before, or too many at once.
    IcmpUntold = "icmp_untold",
    /// From a TUN: not an IPv4 or IPv6 packet that can be parsed.
    BadPacket = "bad_packet",
    /// From a TUN: no route in its segment.
    NoRoute = "no_route",
    /// From a TUN: no next hop has a path for its class.
    NoPath = "no_path",
    /// From a TUN: no class matches.
    NoClass = "no_class",
    /// From a TUN: longer than the tunnel's inner MTU, and not to be fragmented.
    TooBig = "too_big",
    /// To a TUN: ICMP errors for packets that were too long (not dropped; informational).
    TooBigTold = "too_big_told",
    /// Packets that were too long and got no ICMP error: too many at once, or of a kind that deserves none (informational).
    TooBigUntold = "too_big_untold",
    /// From a TUN: too long, and sent in fragments (nothing is lost; informational).
    Fragmented = "fragmented",
    /// To a WAN: the path has no outbound SA.
    NoSa = "no_sa",
    /// To a WAN: the path has no remote endpoint.
    NoRemote = "no_remote",
    /// To a WAN: the uplink's socket is not open.
    UplinkDown = "uplink_down",
    /// To a WAN: the SA has used up its sequence numbers.
    SequenceExhausted = "sequence_exhausted",
    /// To a WAN: the socket stayed full.
    SocketFull = "socket_full",
    /// To a WAN: the kernel refused (no route, too long, ...).
    SendFailed = "send_failed",
    /// To a TUN: the kernel refused (device down, ...).
    TunWrite = "tun_write",
    /// To the engine: its event channel is full.
    EventsFull = "events_full",
    /// To the engine: its datagram channel is full.
    DatagramsFull = "datagrams_full",
}

/// One counter for each reason.
#[derive(Debug)]
pub(super) struct Drops([AtomicU64; DropReason::ALL.len()]);

impl Drops {
    pub(super) fn new() -> Self {
        Drops(std::array::from_fn(|_| AtomicU64::new(0)))
    }

    pub(super) fn add(&self, reason: DropReason, packets: u64) {
        self.0[reason as usize].fetch_add(packets, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> BTreeMap<DropReason, u64> {
        DropReason::ALL
            .iter()
            .map(|&reason| (reason, self.0[reason as usize].load(Ordering::Relaxed)))
            .collect()
    }
}
