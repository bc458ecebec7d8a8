//! What the data plane tells the engine. Both channels are bounded; what does not fit is dropped and counted.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use hawser_edge_core::id::{PathId, SegmentId, UplinkId};
use tokio::sync::mpsc;

use super::spec::Family;

/// The engine's end of the channels.
#[derive(Debug)]
pub struct EventReceivers {
    /// Probes, sources, uplinks.
    pub events: mpsc::Receiver<Event>,
    /// Datagrams of the peer connections.
    pub datagrams: mpsc::Receiver<FabricDatagram>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An authenticated packet of segment 0.
    Probe {
        /// The path whose SA opened it.
        path: PathId,
        /// The inner IPv6 packet.
        inner: Bytes,
        /// Taken right after the packet was read from the socket.
        received: Instant,
        /// The outer source.
        from: SocketAddr,
        /// Its sequence number is above all that were accepted before on its SA.
        newest: bool,
    },
    /// An authenticated data packet of lane 0 came from another address than the path's remote. At most one per path
    /// and 100 ms.
    SourceSeen {
        /// The path whose SA opened it.
        path: PathId,
        /// The outer source.
        from: SocketAddr,
        /// As in `Probe`.
        newest: bool,
    },
    /// A socket of the uplink can't be opened, or its interface went away; it is tried again by itself.
    UplinkFailed {
        /// Which uplink.
        uplink: UplinkId,
        /// Which of its sockets.
        family: Family,
        /// What the kernel said.
        reason: String,
    },
    /// A segment's TUN device went away (someone deleted it); the next `apply` makes it anew.
    SegmentFailed {
        /// Which segment.
        segment: SegmentId,
        /// What the kernel said.
        reason: String,
    },
    /// ICMP says that what was sent there does not arrive. Forged by whoever likes: a hint. At most one per uplink,
    /// family, destination and 100 ms.
    Unreachable {
        /// Whose socket.
        uplink: UplinkId,
        /// Where the packet was sent.
        to: SocketAddr,
        /// ICMP's type, of the destination's family (RFC 792, RFC 4443).
        kind: u8,
        /// ICMP's code.
        code: u8,
    },
    /// ICMP, or this host's kernel, says that a datagram was too long. As `Unreachable`.
    TooBig {
        /// Whose socket.
        uplink: UplinkId,
        /// Where the packet was sent; port 0 where the kernel does not say.
        to: SocketAddr,
        /// The outer MTU that it names, in bytes; 0: none.
        mtu_bytes: u32,
    },
    /// Somebody else removed associations of the path from the kernel. They never come back: their numbers would begin
    /// anew. The path needs fresh keys.
    KeysLost {
        /// Whose keys.
        path: PathId,
    },
    /// A socket of the uplink is open.
    UplinkReady {
        /// Which uplink.
        uplink: UplinkId,
        /// Which of its sockets.
        family: Family,
        /// The local UDP port.
        port: u16,
    },
}

/// A datagram of a peer connection, without the non-ESP marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FabricDatagram {
    /// Where it came in.
    pub uplink: UplinkId,
    /// The outer source.
    pub from: SocketAddr,
    /// A QUIC packet, or what claims to be one.
    pub payload: Bytes,
}
