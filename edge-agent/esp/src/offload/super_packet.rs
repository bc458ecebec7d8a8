//! Splitting a super-packet (TSO, USO) into segments, each written where it will be sealed.

use std::ops::Range;

use super::{Gso, VnetHdr};
use crate::checksum::{Sum, checksum};
use crate::ip::{Fragment, Header, IpError, Ipv6, Packet, Udp, be16, be32, put16, tcp_flags};

/// The smallest payload of a segment; Linux has the same (`TCP_MIN_GSO_SIZE`). It bounds the
/// segments of one super-packet to 8,192.
pub const MIN_GSO_SIZE: u16 = 8;

const TCP_CHECKSUM_AT: usize = 16;
const UDP_CHECKSUM_AT: usize = 6;

/// Why a packet from the device can't be made ready to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum OffloadError {
    #[error("virtio GSO type {0:#04x} was not asked of the device")]
    UnknownGso(u8),
    #[error("super-packet is no IP packet")]
    Ip(#[source] IpError),
    #[error("super-packet has no whole transport header of its GSO type")]
    Mismatch,
    #[error("super-packet is longer or shorter than its IP header says")]
    BadLength,
    #[error("segments of {0} octets; at least {MIN_GSO_SIZE}")]
    SegmentTooSmall(u16),
    #[error("checksum field lies outside the packet")]
    ChecksumOutside,
}

impl OffloadError {
    /// A stable name for metrics and events.
    pub const fn code(self) -> &'static str {
        match self {
            OffloadError::UnknownGso(_) => "offload_unknown_gso",
            OffloadError::Ip(_) => "offload_not_ip",
            OffloadError::Mismatch => "offload_mismatch",
            OffloadError::BadLength => "offload_bad_length",
            OffloadError::SegmentTooSmall(_) => "offload_segment_too_small",
            OffloadError::ChecksumOutside => "offload_checksum_outside",
        }
    }
}

/// Where segments go in one output buffer: segment *n* starts at `n * stride + offset`.
///
/// With `stride` = [`sealed_len`](crate::wire::sealed_len) of GRE header and longest segment, and
/// `offset` = [`INNER_OFFSET`](crate::wire::INNER_OFFSET), the sealed datagrams lie end to end, as
/// UDP segmentation offload wants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strides {
    pub stride: usize,
    pub offset: usize,
}

/// A packet read from the device, as one or more segments. A packet without GSO is one segment.
#[derive(Debug, Clone, Copy)]
pub struct SuperPacket<'a> {
    bytes: &'a [u8],
    vnet: VnetHdr,
    /// Set for TCP and UDP super-packets.
    split: Option<Split>,
}

#[derive(Debug, Clone, Copy)]
struct Split {
    tcp: bool,
    ipv6: bool,
    /// Where the transport header starts.
    transport: usize,
    /// IP and transport header.
    headers: usize,
    gso_size: usize,
    segments: usize,
    /// Pseudo-header, without protocol and length.
    addresses: Sum,
}

impl<'a> SuperPacket<'a> {
    /// Checks what the header says against the packet.
    pub fn new(vnet: &VnetHdr, bytes: &'a [u8]) -> Result<Self, OffloadError> {
        let gso = vnet.gso().ok_or(OffloadError::UnknownGso(vnet.gso_type))?;
        let split = match gso {
            Gso::None => {
                if vnet.needs_csum() {
                    checksum_place(vnet, bytes.len())?;
                }
                None
            }
            gso => Some(Split::new(gso, vnet.gso_size, bytes)?),
        };
        Ok(SuperPacket { bytes, vnet: *vnet, split })
    }

    /// How many, at least 1.
    pub fn segments(&self) -> usize {
        self.split.map_or(1, |split| split.segments)
    }

    /// Octets of every segment but the last, which has no more.
    pub fn segment_len(&self) -> usize {
        match self.split {
            Some(split) => self.bytes.len().min(split.headers + split.gso_size),
            None => self.bytes.len(),
        }
    }

    /// Octets of segment `index`; 0 if there is none.
    pub fn len_of(&self, index: usize) -> usize {
        match self.split {
            Some(split) if index < split.segments => {
                split.headers + split.payload(self.bytes, index).len()
            }
            None if index == 0 => self.bytes.len(),
            _ => 0,
        }
    }

    /// Writes segment `index`, ready to send, to the start of `out`; gives its length. `None` if
    /// there is no such segment, or `out` is shorter.
    pub fn write(&self, index: usize, out: &mut [u8]) -> Option<usize> {
        if index >= self.segments() {
            return None;
        }
        let out = out.get_mut(..self.len_of(index))?;
        match self.split {
            Some(split) => split.write(self.bytes, index, out),
            None => {
                out.copy_from_slice(self.bytes);
                if self.vnet.needs_csum() {
                    complete_checksum(&self.vnet, out).ok()?;
                }
            }
        }
        Some(out.len())
    }

    /// Writes the segments of `range` to `out`, the first of them at place 0 of the strides. `None`
    /// if the range has more than there are, or `out` or the stride is too short.
    pub fn write_range(&self, range: Range<usize>, strides: Strides, out: &mut [u8]) -> Option<()> {
        if strides.offset + self.segment_len() > strides.stride && range.len() > 1 {
            return None;
        }
        for (place, index) in range.enumerate() {
            self.write(index, out.get_mut(place * strides.stride + strides.offset..)?)?;
        }
        Some(())
    }
}

impl Split {
    fn new(gso: Gso, gso_size: u16, bytes: &[u8]) -> Result<Split, OffloadError> {
        if gso_size < MIN_GSO_SIZE {
            return Err(OffloadError::SegmentTooSmall(gso_size));
        }
        let packet = Packet::parse(bytes).map_err(OffloadError::Ip)?;
        if packet.bytes().len() != bytes.len() {
            return Err(OffloadError::BadLength);
        }
        if packet.fragment() != Fragment::Whole {
            return Err(OffloadError::Mismatch);
        }
        let transport_len = match (gso, packet.is_ipv6()) {
            (Gso::TcpV4, false) | (Gso::TcpV6, true) => packet.tcp().map(|tcp| tcp.header_len()),
            (Gso::UdpL4, _) => packet.udp().map(|_| Udp::LEN),
            _ => None,
        };
        let transport = packet.transport_offset();
        let headers = transport + transport_len.ok_or(OffloadError::Mismatch)?;
        let gso_size = usize::from(gso_size);
        let addresses = match packet.header() {
            Header::V4(header) => {
                Sum::of(&header.src().octets()).and(Sum::of(&header.dst().octets()))
            }
            Header::V6(header) => {
                Sum::of(&header.src().octets()).and(Sum::of(&header.dst().octets()))
            }
        };
        Ok(Split {
            tcp: gso != Gso::UdpL4,
            ipv6: packet.is_ipv6(),
            transport,
            headers,
            gso_size,
            segments: (bytes.len() - headers).div_ceil(gso_size).max(1),
            addresses,
        })
    }

    fn payload<'a>(&self, bytes: &'a [u8], index: usize) -> &'a [u8] {
        let start = self.headers + index * self.gso_size;
        &bytes[start..bytes.len().min(start + self.gso_size)]
    }

    /// `out` is exactly as long as the segment.
    fn write(&self, bytes: &[u8], index: usize, out: &mut [u8]) {
        out[..self.headers].copy_from_slice(&bytes[..self.headers]);
        out[self.headers..].copy_from_slice(self.payload(bytes, index));
        self.fix_ip(index, out);
        let transport = &mut out[self.transport..];
        let (proto, field) = if self.tcp {
            self.fix_tcp(index, transport);
            (crate::ip::proto::TCP, TCP_CHECKSUM_AT)
        } else {
            put16(transport, 4, transport.len() as u16);
            (crate::ip::proto::UDP, UDP_CHECKSUM_AT)
        };
        put16(transport, field, 0);
        let sum = self.addresses.and_protocol(proto, transport.len()).and(Sum::of(transport));
        put16(transport, field, never_zero(sum.finish()));
    }

    fn fix_ip(&self, index: usize, out: &mut [u8]) {
        if self.ipv6 {
            put16(out, 4, (out.len() - Ipv6::LEN) as u16);
            return;
        }
        put16(out, 2, out.len() as u16);
        let id = be16(out, 4).wrapping_add(index as u16);
        put16(out, 4, id);
        put16(out, 10, 0);
        let sum = checksum(&out[..self.ip_header_len()]);
        put16(out, 10, sum);
    }

    /// IPv4 has no headers between its own and the transport's.
    fn ip_header_len(&self) -> usize {
        self.transport
    }

    /// FIN and PSH belong to the last segment, CWR to the first (RFC 3168 section 6.1.2).
    fn fix_tcp(&self, index: usize, tcp: &mut [u8]) {
        let seq = be32(tcp, 4).wrapping_add((index * self.gso_size) as u32);
        tcp[4..8].copy_from_slice(&seq.to_be_bytes());
        if index + 1 < self.segments {
            tcp[13] &= !(tcp_flags::FIN | tcp_flags::PSH);
        }
        if index > 0 {
            tcp[13] &= !tcp_flags::CWR;
        }
    }
}

/// Finishes the checksum of a packet without GSO, in place: the field holds the pseudo-header's
/// sum. Does nothing unless the header asks for it.
pub fn complete_checksum(vnet: &VnetHdr, packet: &mut [u8]) -> Result<(), OffloadError> {
    if !vnet.needs_csum() {
        return Ok(());
    }
    let (start, field) = checksum_place(vnet, packet.len())?;
    let sum = never_zero(checksum(&packet[start..]));
    put16(packet, field, sum);
    Ok(())
}

fn checksum_place(vnet: &VnetHdr, len: usize) -> Result<(usize, usize), OffloadError> {
    let start = usize::from(vnet.csum_start);
    let field = start + usize::from(vnet.csum_offset);
    if field + 2 > len { Err(OffloadError::ChecksumOutside) } else { Ok((start, field)) }
}

/// In UDP zero says that there is no checksum (RFC 768); elsewhere both mean the same.
fn never_zero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}
