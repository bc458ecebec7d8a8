//! The packet inside segment 0: STAMP in UDP in IPv6 between `fe80::<edge ID>` addresses.

use std::net::Ipv6Addr;

use super::{Error, array, u16_at};
use crate::id::EdgeId;

/// The reflector's port (RFC 8762 section 4.1).
pub const STAMP_PORT: u16 = 862;
/// The sender's port, of the dynamic range.
pub const SENDER_PORT: u16 = 49_862;

const IPV6_BYTES: usize = 40;
const UDP_BYTES: usize = 8;
/// What stands before STAMP in the inner packet.
pub const HEADERS_BYTES: usize = IPV6_BYTES + UDP_BYTES;
const NEXT_HEADER_UDP: u8 = 17;
/// Nothing routes a probe: what came farther is not ours (RFC 5082).
const HOP_LIMIT: u8 = 255;

/// Which way a probe goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// From a Session-Sender to a Session-Reflector.
    Request,
    /// Back.
    Reply,
}

/// A checked probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbePacket<'a> {
    pub source: EdgeId,
    pub destination: EdgeId,
    pub kind: Kind,
    pub hop_limit: u8,
    /// The UDP payload.
    pub stamp: &'a [u8],
}

/// `fe80::<edge ID>`.
pub fn address(edge: EdgeId) -> Ipv6Addr {
    let [a, b, c, d] = edge.0.to_be_bytes();
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d])
}

/// The whole inner packet. `stamp` is cut at what a UDP datagram can hold.
pub fn encapsulate(source: EdgeId, destination: EdgeId, kind: Kind, stamp: &[u8]) -> Vec<u8> {
    let stamp = &stamp[..stamp.len().min(usize::from(u16::MAX) - UDP_BYTES)];
    let length = ((UDP_BYTES + stamp.len()) as u16).to_be_bytes();
    let (source_port, destination_port) = match kind {
        Kind::Request => (SENDER_PORT, STAMP_PORT),
        Kind::Reply => (STAMP_PORT, SENDER_PORT),
    };
    let mut out = Vec::with_capacity(HEADERS_BYTES + stamp.len());
    out.extend([0x60, 0, 0, 0]);
    out.extend(length);
    out.extend([NEXT_HEADER_UDP, HOP_LIMIT]);
    out.extend(address(source).octets());
    out.extend(address(destination).octets());
    out.extend(source_port.to_be_bytes());
    out.extend(destination_port.to_be_bytes());
    out.extend(length);
    out.extend([0, 0]);
    out.extend(stamp);
    // RFC 8200 section 8.1: a sum of zero is sent as ones.
    let sum = match checksum(&out) {
        0 => 0xffff,
        sum => sum,
    };
    out[46..48].copy_from_slice(&sum.to_be_bytes());
    out
}

/// Checks and opens an inner packet of segment 0.
pub fn decapsulate(packet: &[u8]) -> Result<ProbePacket<'_>, Error> {
    let short =
        |layer, length_bytes, needed_bytes| Err(Error::Short { layer, length_bytes, needed_bytes });
    if packet.len() < HEADERS_BYTES {
        return short("inner packet", packet.len(), HEADERS_BYTES);
    }
    if packet[0] >> 4 != 6 || packet[6] != NEXT_HEADER_UDP {
        return Err(Error::NotUdp);
    }
    let payload = usize::from(u16_at(packet, 4));
    if payload < UDP_BYTES || packet.len() < IPV6_BYTES + payload {
        return short("inner packet", packet.len(), IPV6_BYTES + payload.max(UDP_BYTES));
    }
    let packet = &packet[..IPV6_BYTES + payload];
    if usize::from(u16_at(packet, 44)) != payload {
        return short("UDP datagram", payload, u16_at(packet, 44).into());
    }
    if packet[7] != HOP_LIMIT {
        return Err(Error::HopLimit(packet[7]));
    }
    let (Some(source), Some(destination)) = (edge(packet, 8), edge(packet, 24)) else {
        return Err(Error::Address);
    };
    // A zero checksum is not allowed (RFC 8200 section 8.1).
    if u16_at(packet, 46) == 0 || checksum(packet) != 0 {
        return Err(Error::Checksum);
    }
    let kind = match (u16_at(packet, 40), u16_at(packet, 42)) {
        (SENDER_PORT, STAMP_PORT) => Kind::Request,
        (STAMP_PORT, SENDER_PORT) => Kind::Reply,
        (source_port, destination_port) => {
            return Err(Error::Ports { source_port, destination_port });
        }
    };
    Ok(ProbePacket {
        source,
        destination,
        kind,
        hop_limit: packet[7],
        stamp: &packet[HEADERS_BYTES..],
    })
}

fn edge(packet: &[u8], at: usize) -> Option<EdgeId> {
    let edge = EdgeId(u32::from_be_bytes(array(packet, at + 12)));
    (packet[at..at + 16] == address(edge).octets()).then_some(edge)
}

/// Of the UDP datagram with the pseudo-header of RFC 8200 section 8.1; zero over a packet whose field is right.
fn checksum(packet: &[u8]) -> u16 {
    // Words of 32 bits: their sum folds to that of the 16-bit ones (RFC 1071 section 2).
    let words = |octets: &[u8]| -> u64 {
        let words = octets.chunks_exact(4);
        let mut last = [0; 4];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        let sum: u64 = words.map(|word| u64::from(u32::from_be_bytes(array(word, 0)))).sum();
        sum + u64::from(u32::from_be_bytes(last))
    };
    let mut sum = words(&packet[8..40])
        + words(&packet[IPV6_BYTES..])
        + (packet.len() - IPV6_BYTES) as u64
        + u64::from(NEXT_HEADER_UDP);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
