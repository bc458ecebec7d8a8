//! The data plane: one trait, and the userspace driver behind it. The kernel driver is in `crate::kernel`.
//!
//! The engine says what must be forwarded ([`ForwardingSpec`]), installs security associations, and stores one path per
//! tunnel and class; packets never wait for it. What the data plane learns comes back as [`Event`]s.

mod classify;
mod copies;
mod counters;
mod deliver;
mod driver;
mod egress;
mod error;
mod event;
mod handoff;
mod ingress;
mod linger;
mod lpm;
mod outbox;
mod path;
mod receiver;
pub(crate) mod relay;
mod route;
mod shared;
mod spec;
mod spread;
mod sys;
mod table;
mod too_long;
mod unreachable;
mod uplink;

pub use counters::{Counters, DropReason, EspEvidence, PathCounters, SaCounters};
pub use driver::UserspaceDataPlane;
pub use error::DataPlaneError;
pub use event::{Event, EventReceivers, FabricDatagram};
pub(crate) use shared::OpenSockets;
pub use spec::{
    AdoptedPath, Choice, ClassMatch, ClassSpec, Family, ForwardingSpec, InboundSaSpec, KeyMaterial,
    LanSpec, OutboundSaSpec, PathSpec, RouteSpec, SegmentSpec, Suite, TunnelSpec, UplinkSpec,
};
pub(crate) use sys::udp::{SOCKET_BUFFER_BYTES, open as open_socket};
pub(crate) use table::check as check_forwarding;

use std::io;
use std::net::SocketAddr;

use hawser_edge_core::id::{ClassId, PathId, Spi, TunnelId, UplinkId};
pub use hawser_edge_core::keys::Lanes;

/// What a driver of the data plane does. Every call is synchronous, short and safe from any thread; none waits for the
/// network for longer than a few milliseconds.
///
/// A driver opens its devices and sockets in the network namespace of the thread that calls `apply` and `add_uplink`.
pub trait DataPlane: Send + Sync {
    /// Replaces the whole forwarding table at once. Paths that stay keep their remote, SAs, counters and selections;
    /// paths that go lose theirs. On an error the old table stays.
    fn apply(&self, spec: ForwardingSpec) -> Result<(), DataPlaneError>;

    /// What a former run of this agent left working, as far as the first table names it; told once. Such paths need no keys,
    /// and carry what they carried. Drivers whose associations end with their process have none.
    fn adopted(&self) -> Vec<AdoptedPath> {
        Vec::new()
    }

    /// How many SAs of one path and direction it works with at once, each on a core of its own.
    fn lanes(&self) -> Lanes {
        Lanes::ONE
    }

    /// Accepts `sa.spi`, and the SPIs of its further lanes, from now on, beside older SAs of the same path.
    fn install_inbound(&self, sa: InboundSaSpec) -> Result<(), DataPlaneError>;

    /// Seals with this SA from now on; the path's former outbound SA is gone with its key.
    fn install_outbound(&self, sa: OutboundSaSpec) -> Result<(), DataPlaneError>;

    /// Forgets an inbound SA with all its lanes; `spi` is the first. Unknown: nothing happens.
    fn remove_inbound(&self, spi: Spi);

    /// Forgets the path's outbound SA: it sends nothing from then on.
    fn remove_outbound(&self, path: PathId);

    /// Says how a tunnel carries a class, by one atomic store. [`Choice::Nothing`]: not at all, and the next hop after it
    /// in a route's order gets the packet; without one the packet is dropped. A tunnel or class that is not in the table
    /// is ignored, and so is a path of the choice that is not the tunnel's.
    ///
    /// [`Choice::Spread`]: a flow stays on its path for as long as that one can send. [`Choice::Both`]: if one of the two
    /// can't send, the other carries the packet alone; the receiver drops the second copy.
    fn select(&self, tunnel: TunnelId, class: ClassId, choice: Choice);

    /// Where the path's packets go. `None`: not known, nothing is sent. A path that is not in the table is ignored.
    fn set_remote(&self, path: PathId, remote: Option<SocketAddr>);

    /// Sends one inner IPv6 packet in segment 0 of the path. `to` stands in for the path's remote, this once.
    fn send_on_path(
        &self,
        path: PathId,
        to: Option<SocketAddr>,
        inner: &[u8],
    ) -> Result<(), DataPlaneError>;

    /// Sends datagrams of the peer connection, each behind the non-ESP marker (RFC 3948 section 2.2). `payload` is
    /// cut every `segment_bytes` (`None`: one datagram), only the last may be shorter. `WouldBlock` when the socket is full.
    fn send_datagram(
        &self,
        uplink: UplinkId,
        to: SocketAddr,
        payload: &[u8],
        segment_bytes: Option<usize>,
    ) -> io::Result<()>;

    /// Sends a NAT keepalive (RFC 3948 section 2.3), which the other end drops.
    fn send_keepalive(&self, uplink: UplinkId, to: SocketAddr) -> io::Result<()>;

    /// Opens the uplink's sockets, or notes that they can't be opened yet (an event tells; it is tried again). An
    /// uplink of the same ID is replaced. The uplink's addresses may change at any time.
    fn add_uplink(&self, uplink: UplinkSpec) -> Result<(), DataPlaneError>;

    /// Closes the uplink's sockets.
    fn remove_uplink(&self, uplink: UplinkId);

    /// What traffic tells of the way here, on one path: cheap enough for every probe. A path that is not in the table
    /// tells nothing.
    fn evidence(&self, path: PathId) -> EspEvidence;

    /// What has been counted since the start.
    fn counters(&self) -> Counters;
}

#[cfg(test)]
pub(crate) mod tests;
