//! A packet as a candidate for merging.

use crate::checksum::Sum;
use crate::ip::{Header, Ipv4, Ipv6, Packet, Tcp, Udp, be16, be32, proto, tcp_flags};
use crate::offload::{Gso, MIN_GSO_SIZE};

/// Which flow a packet belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flow {
    ports: u32,
    src: u128,
    dst: u128,
    tcp: bool,
    pub ipv6: bool,
}

impl Flow {
    pub fn gso(&self) -> Gso {
        match (self.tcp, self.ipv6) {
            (true, false) => Gso::TcpV4,
            (true, true) => Gso::TcpV6,
            (false, _) => Gso::UdpL4,
        }
    }

    pub fn is_tcp(&self) -> bool {
        self.tcp
    }

    /// The pseudo-header with `len` octets of transport header and payload.
    pub fn pseudo(&self, len: usize) -> Sum {
        let addresses = Sum::of(&self.src.to_be_bytes()).and(Sum::of(&self.dst.to_be_bytes()));
        addresses.and_protocol(if self.tcp { proto::TCP } else { proto::UDP }, len)
    }
}

/// A whole TCP segment or UDP datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    pub flow: Flow,
    pub bytes: &'a [u8],
    /// Where the transport header starts.
    pub transport: usize,
    /// IP and transport header.
    pub headers: usize,
}

impl<'a> Segment<'a> {
    /// `None` for other protocols and for headers that are cut off.
    pub fn of(packet: &Packet<'a>) -> Option<Self> {
        let transport_len = match packet.proto() {
            proto::TCP => packet.tcp()?.header_len(),
            proto::UDP => packet.udp().map(|_| Udp::LEN)?,
            _ => return None,
        };
        let (src, dst) = match packet.header() {
            Header::V4(ip) => (ip.src().to_bits().into(), ip.dst().to_bits().into()),
            Header::V6(ip) => (ip.src().to_bits(), ip.dst().to_bits()),
        };
        let flow = Flow {
            ports: be32(packet.transport(), 0),
            src,
            dst,
            tcp: packet.proto() == proto::TCP,
            ipv6: packet.is_ipv6(),
        };
        let transport = packet.transport_offset();
        let headers = transport + transport_len;
        Some(Segment { flow, bytes: packet.bytes(), transport, headers })
    }

    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.headers..]
    }

    pub fn tcp_flags(&self) -> u8 {
        self.bytes[self.transport + 13]
    }

    pub fn tcp_seq(&self) -> u32 {
        be32(self.bytes, self.transport + 4)
    }

    /// Whether it may be part of a super-packet at all: payload, no IP options or extension
    /// headers, nothing but ACK, PSH, FIN and ECE set, and a checksum that is there and right.
    pub fn mergeable(&self, udp: bool) -> bool {
        let plain = if self.flow.ipv6 { Ipv6::LEN } else { Ipv4::MIN_LEN };
        if self.transport != plain || self.payload().is_empty() {
            return false;
        }
        let fits = if self.flow.tcp { self.tcp_flags_allow() } else { udp && self.udp_is_sound() };
        fits && self.checksum_is_right()
    }

    /// Whether others may be merged after it: its payload sets the length of theirs.
    pub fn may_lead(&self) -> bool {
        self.payload().len() >= usize::from(MIN_GSO_SIZE) && !self.ends_flow()
    }

    /// Nothing may be merged after it (tcp_gro_receive: PSH and FIN flush).
    pub fn ends_flow(&self) -> bool {
        self.flow.tcp && self.tcp_flags() & (tcp_flags::PSH | tcp_flags::FIN) != 0
    }

    fn tcp_flags_allow(&self) -> bool {
        use tcp_flags::{ACK, ECE, FIN, PSH};
        let flags = self.tcp_flags();
        flags & ACK != 0 && flags & !(ACK | PSH | FIN | ECE) == 0
    }

    /// A UDP length that is the packet's, and a checksum: without one there is nothing to check.
    fn udp_is_sound(&self) -> bool {
        let len = usize::from(be16(self.bytes, self.transport + 4));
        len == self.bytes.len() - self.transport && be16(self.bytes, self.transport + 6) != 0
    }

    fn checksum_is_right(&self) -> bool {
        let covered = &self.bytes[self.transport..];
        self.flow.pseudo(covered.len()).and(Sum::of(covered)).partial() == 0xffff
    }

    /// The IP headers agree but for length, checksum and an identification that counts on:
    /// `merged` packets after `first`. As inet_gro_receive and ipv6_gro_receive have it.
    pub fn continues_ip(&self, first: &[u8], merged: u16) -> bool {
        let next = self.bytes;
        if self.flow.ipv6 {
            return first[..4] == next[..4] && first[7] == next[7];
        }
        let dont_fragment = next[6] & 0x40 != 0;
        let (first_id, id) = (be16(first, 4), be16(next, 4));
        // An atomic datagram's identification means nothing (RFC 6864): it may also stand still.
        let id_fits = id == first_id.wrapping_add(merged) || dont_fragment && id == first_id;
        first[1] == next[1] && first[6..9] == next[6..9] && id_fits
    }

    /// The TCP headers agree but for sequence number, FIN, PSH and checksum: acknowledgement,
    /// window, urgent pointer and every option are equal. As tcp_gro_receive has it.
    pub fn continues_tcp(&self, first: &[u8]) -> bool {
        let (a, b) = (&first[self.transport..], &self.bytes[self.transport..self.headers]);
        let mask = !(tcp_flags::FIN | tcp_flags::PSH);
        a[8..13] == b[8..13]
            && a[13] & mask == b[13] & mask
            && a[14..16] == b[14..16]
            && a[18..Tcp::MIN_LEN] == b[18..Tcp::MIN_LEN]
            && a[Tcp::MIN_LEN..b.len()] == b[Tcp::MIN_LEN..]
    }
}
