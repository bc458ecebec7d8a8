//! The fixed addresses by which quinn knows its peers: none of them is ever on a wire (100::/64 is RFC 6666's discard
//! prefix).

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use hawser_edge_core::id::EdgeId;

/// Who is behind an address that quinn uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum VirtualPeer {
    /// `[100::<edge ID>]`: a peer, wherever it is.
    Edge(EdgeId),
    /// `[100:0:0:1::n]`: a real address that is not known to be a peer's.
    Provisional(u32),
}

const PROVISIONAL_SUBNET: u16 = 1;

impl VirtualPeer {
    /// As quinn sees it.
    pub(super) fn address(self, fabric_port: u16) -> SocketAddr {
        let (subnet, low) = match self {
            VirtualPeer::Edge(edge) => (0, edge.0),
            VirtualPeer::Provisional(n) => (PROVISIONAL_SUBNET, n),
        };
        let ip = Ipv6Addr::new(0x100, 0, 0, subnet, 0, 0, (low >> 16) as u16, low as u16);
        SocketAddr::V6(SocketAddrV6::new(ip, fabric_port, 0, 0))
    }

    /// Back again; `None` for an address that is not virtual.
    pub(super) fn from_address(address: SocketAddr) -> Option<VirtualPeer> {
        let IpAddr::V6(ip) = address.ip() else { return None };
        let [0x100, 0, 0, subnet, 0, 0, high, low] = ip.segments() else { return None };
        let low = u32::from(high) << 16 | u32::from(low);
        match subnet {
            0 => Some(VirtualPeer::Edge(EdgeId(low))),
            PROVISIONAL_SUBNET => Some(VirtualPeer::Provisional(low)),
            _ => None,
        }
    }
}
