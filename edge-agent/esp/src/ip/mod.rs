//! Views of IPv4, IPv6, TCP and UDP headers, and what an edge reads and changes in them.
//!
//! A view is made by a check of lengths; after that its accessors can't fail.

mod congestion;
mod flow;
mod fragment;
mod mss;
mod too_big;
mod transport;
mod v4;
mod v6;

use std::net::IpAddr;

pub use congestion::{Decapsulated, decapsulate_ecn, ecn};
pub use flow::FlowKey;
pub use fragment::Fragments;
pub use mss::{MssClamp, clamp_mss};
pub use too_big::{MAX_ERROR_BYTES, too_big};
pub use transport::{Tcp, Udp, tcp_flags};
pub use v4::Ipv4;
pub use v6::Ipv6;

/// Protocol numbers (IANA).
pub mod proto {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const ESP: u8 = 50;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const NO_NEXT: u8 = 59;
    pub const DESTINATION: u8 = 60;
    pub const DCCP: u8 = 33;
    pub const SCTP: u8 = 132;
    pub const MOBILITY: u8 = 135;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;
    pub const UDP_LITE: u8 = 136;
}

/// Whether a packet is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fragment {
    /// Not fragmented (also an atomic fragment, RFC 6946).
    Whole,
    /// The first of several: the transport header is there, the rest of the payload is not.
    First,
    /// Not the first: there is no transport header.
    Later,
}

/// Why bytes are no IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum IpError {
    #[error("IP version is neither 4 nor 6")]
    Version,
    #[error("packet ends within a header, or before the length it states")]
    Truncated,
    #[error("a length in the IP header contradicts itself")]
    BadLength,
    #[error("more than {} IPv6 extension headers", v6::MAX_EXTENSIONS)]
    TooManyExtensions,
}

impl IpError {
    /// A stable name for metrics and events.
    pub const fn code(self) -> &'static str {
        match self {
            IpError::Version => "ip_version",
            IpError::Truncated => "ip_truncated",
            IpError::BadLength => "ip_bad_length",
            IpError::TooManyExtensions => "ip_too_many_extensions",
        }
    }
}

/// An IP packet whose headers, down to the transport header, were walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    header: Header<'a>,
    bytes: &'a [u8],
    proto: u8,
    transport: usize,
    fragment: Fragment,
}

/// The IP header of either version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header<'a> {
    V4(Ipv4<'a>),
    V6(Ipv6<'a>),
}

impl<'a> Packet<'a> {
    /// Reads the packet at the start of `bytes`; what follows it (padding) is left out of the view.
    pub fn parse(bytes: &'a [u8]) -> Result<Packet<'a>, IpError> {
        match bytes.first().ok_or(IpError::Truncated)? >> 4 {
            4 => {
                let header = Ipv4::parse(bytes)?;
                Ok(Packet {
                    header: Header::V4(header),
                    bytes: &bytes[..header.total_len()],
                    proto: header.protocol(),
                    transport: header.header_len(),
                    fragment: header.fragment(),
                })
            }
            6 => {
                let header = Ipv6::parse(bytes)?;
                let bytes = &bytes[..header.total_len()];
                let upper = header.walk(bytes)?;
                Ok(Packet {
                    header: Header::V6(header),
                    bytes,
                    proto: upper.proto,
                    transport: upper.offset,
                    fragment: upper.fragment,
                })
            }
            _ => Err(IpError::Version),
        }
    }

    pub fn header(&self) -> Header<'a> {
        self.header
    }

    pub fn src(&self) -> IpAddr {
        match self.header {
            Header::V4(header) => IpAddr::V4(header.src()),
            Header::V6(header) => IpAddr::V6(header.src()),
        }
    }

    pub fn dst(&self) -> IpAddr {
        match self.header {
            Header::V4(header) => IpAddr::V4(header.dst()),
            Header::V6(header) => IpAddr::V6(header.dst()),
        }
    }

    pub fn is_ipv6(&self) -> bool {
        matches!(self.header, Header::V6(_))
    }

    /// DSCP (6 bits) and ECN (2 bits).
    pub fn traffic_class(&self) -> u8 {
        match self.header {
            Header::V4(header) => header.tos(),
            Header::V6(header) => header.traffic_class(),
        }
    }

    /// DSCP, 0 to 63.
    pub fn dscp(&self) -> u8 {
        self.traffic_class() >> 2
    }

    /// TTL or hop limit.
    pub fn hop_limit(&self) -> u8 {
        match self.header {
            Header::V4(header) => header.ttl(),
            Header::V6(header) => header.hop_limit(),
        }
    }

    /// Protocol of the transport header; of a later fragment, that of the first one's payload.
    pub fn proto(&self) -> u8 {
        self.proto
    }

    pub fn fragment(&self) -> Fragment {
        self.fragment
    }

    /// The whole packet, as long as its header says.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the transport header (of a later fragment: the payload) starts.
    pub fn transport_offset(&self) -> usize {
        self.transport
    }

    /// Transport header and payload.
    pub fn transport(&self) -> &'a [u8] {
        &self.bytes[self.transport..]
    }

    /// The TCP header, if the packet has one that is whole.
    pub fn tcp(&self) -> Option<Tcp<'a>> {
        let here = self.proto == proto::TCP && self.fragment != Fragment::Later;
        here.then(|| Tcp::parse(self.transport())).flatten()
    }

    /// The UDP header, if the packet has one that is whole.
    pub fn udp(&self) -> Option<Udp<'a>> {
        let here = self.proto == proto::UDP && self.fragment != Fragment::Later;
        here.then(|| Udp::parse(self.transport())).flatten()
    }
}

pub(crate) fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(crate) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
pub(crate) mod tests;
