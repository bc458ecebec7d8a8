//! What the engine asks of the data plane.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use hawser_edge_core::id::{ClassId, EdgeId, PathId, SegmentId, Spi, TunnelId, UplinkId};
pub use hawser_edge_core::select::Choice;
pub use hawser_esp::Suite;
use ipnet::IpNet;
use zeroize::Zeroizing;

/// The whole forwarding table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForwardingSpec {
    /// The segments that have a TUN device here; never segment 0.
    pub segments: Vec<SegmentSpec>,
    /// The tunnels and their paths.
    pub tunnels: Vec<TunnelSpec>,
    /// Where prefixes are reached. Longest prefix wins within a segment.
    pub routes: Vec<RouteSpec>,
    /// In order of match. What none matches is dropped, so the last one should match everything.
    pub classes: Vec<ClassSpec>,
    /// The site's own LANs: a driver that forwards by the kernel's routes must tell them from the overlay.
    pub lans: Vec<LanSpec>,
}

/// A LAN of this site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanSpec {
    /// It belongs to this segment.
    pub segment: SegmentId,
    /// The network interface.
    pub device: String,
    /// Its own prefixes.
    pub prefixes: Vec<IpNet>,
}

/// A segment's TUN device. The data plane makes it, sets its MTU and brings it up; addresses and routes are not its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentSpec {
    /// 1 to 255.
    pub id: SegmentId,
    /// `hawser<segment ID>`, at most 15 octets.
    pub tun_name: String,
    /// The least inner MTU of the tunnels that may carry it, in bytes.
    pub mtu_bytes: u16,
}

/// A tunnel to a peer edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelSpec {
    /// Unique on this edge.
    pub id: TunnelId,
    /// Who is at the other end.
    pub peer: EdgeId,
    /// One to 64.
    pub paths: Vec<PathSpec>,
    /// Inner sources that the peer may originate, by segment.
    pub peer_sources: BTreeMap<SegmentId, Vec<IpNet>>,
    /// Inner packets above this are dropped and counted, in bytes. Where a class is duplicated it must leave room for the
    /// GRE sequence number: [`hawser_esp::wire::inner_mtu_sequenced`].
    pub inner_mtu_bytes: u16,
}

/// A path of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSpec {
    /// The same at both ends; below 2^24.
    pub id: PathId,
    /// The local uplink whose socket it uses.
    pub uplink: UplinkId,
    /// Of the outer packets.
    pub family: Family,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: std::net::IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// Where a prefix of a segment is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSpec {
    /// The prefix belongs to this segment.
    pub segment: SegmentId,
    /// Inner destinations.
    pub prefix: IpNet,
    /// Best first: the first tunnel that has a path for the packet's class carries it.
    pub next_hops: Vec<TunnelId>,
}

/// A traffic class: what fits any of its matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassSpec {
    /// What `select` names.
    pub id: ClassId,
    /// `None`: of any segment.
    pub segment: Option<SegmentId>,
    /// Empty: everything fits.
    pub matches: Vec<ClassMatch>,
    /// The DSCP of its outer headers, 0 to 63; `None`: the inner packet's own.
    pub wan_dscp: Option<u8>,
}

/// All non-empty fields must fit; within one field, any entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassMatch {
    /// Inner source prefixes.
    pub sources: Vec<IpNet>,
    /// Inner destination prefixes.
    pub destinations: Vec<IpNet>,
    /// IP protocol numbers.
    pub protocols: Vec<u8>,
    /// Of protocols with ports (TCP, UDP, SCTP, DCCP); of a fragmented packet only the first fragment shows them.
    pub source_ports: Vec<RangeInclusive<u16>>,
    /// As `source_ports`.
    pub destination_ports: Vec<RangeInclusive<u16>>,
    /// 0 to 63.
    pub dscps: Vec<u8>,
}

/// Key, then salt (4 octets). Erased when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyMaterial(Zeroizing<Vec<u8>>);

impl KeyMaterial {
    /// Takes the octets over.
    pub fn new(octets: Vec<u8>) -> Self {
        KeyMaterial(Zeroizing::new(octets))
    }

    /// The octets, for the cipher's eyes.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaterial(..)")
    }
}

/// An SA that this edge receives with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundSaSpec {
    /// Picked by this edge, unique on it, 256 or more.
    pub spi: Spi,
    /// Its packets must carry this path's GRE key.
    pub path: PathId,
    /// The cipher.
    pub suite: Suite,
    /// The peer's sending key.
    pub key_material: KeyMaterial,
    /// Of lane 1 and those after it: SAs at the SPIs that follow `spi`, alike but for their keys. At most as many as the
    /// driver's [`lanes`](super::DataPlane::lanes) say.
    pub further_lanes: Vec<KeyMaterial>,
    /// Extended sequence numbers (RFC 4303 section 2.2.1).
    pub esn: bool,
    /// Anti-replay window, 64 to 4096 packets.
    pub replay_window_packets: u32,
}

/// An SA that this edge sends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundSaSpec {
    /// The path that it protects.
    pub path: PathId,
    /// Picked by the peer, 256 or more.
    pub spi: Spi,
    /// The cipher.
    pub suite: Suite,
    /// This edge's sending key.
    pub key_material: KeyMaterial,
    /// As of an inbound SA.
    pub further_lanes: Vec<KeyMaterial>,
    /// Extended sequence numbers.
    pub esn: bool,
}

/// A path whose associations outlived the agent that installed them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdoptedPath {
    /// The path.
    pub path: PathId,
    /// Where its packets go.
    pub remote: SocketAddr,
    /// Of its newest inbound SA.
    pub inbound: Spi,
    /// Of its outbound SA.
    pub outbound: Spi,
}

/// An uplink's sockets: one per address family, bound to the interface, not to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkSpec {
    /// What paths and datagrams name.
    pub id: UplinkId,
    /// The network interface, at most 15 octets.
    pub interface: String,
    /// The fabric port; 0 lets the kernel pick (tests).
    pub port: u16,
    /// Open an IPv4 socket.
    pub v4: bool,
    /// Open an IPv6 socket.
    pub v6: bool,
}
