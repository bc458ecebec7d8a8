//! A super-packet under construction.

use std::fmt;

use super::segment::{Flow, Segment};
use crate::checksum::checksum;
use crate::ip::{Ipv6, put16, tcp_flags};
use crate::offload::VnetHdr;

/// The longest IP packet: its length field has 16 bits. IPv6 could have 40 octets more; the device
/// takes no more than this.
const MAX_LEN: usize = 65_535;
/// The most datagrams in a UDP super-packet (Linux: `UDP_MAX_SEGMENTS`, 64 before 6.7).
const MAX_UDP_SEGMENTS: u16 = 64;

/// One flow's packets so far; free before `start` and after `finish`.
pub(super) struct Slot {
    flow: Flow,
    buffer: Box<[u8]>,
    len: usize,
    transport: usize,
    headers: usize,
    /// Payload of the first packet: that of every other but the last.
    gso_size: usize,
    segments: u16,
    next_seq: u32,
    closed: bool,
}

impl Default for Slot {
    fn default() -> Self {
        Slot {
            flow: Flow::default(),
            buffer: vec![0; MAX_LEN].into_boxed_slice(),
            len: 0,
            transport: 0,
            headers: 0,
            gso_size: 0,
            segments: 0,
            next_seq: 0,
            closed: false,
        }
    }
}

impl Slot {
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// Nothing more may be appended.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Begins with a segment that is mergeable.
    pub fn start(&mut self, segment: &Segment<'_>) {
        self.flow = segment.flow;
        self.len = segment.bytes.len();
        self.buffer[..self.len].copy_from_slice(segment.bytes);
        self.transport = segment.transport;
        self.headers = segment.headers;
        self.gso_size = segment.payload().len();
        self.segments = 1;
        self.closed = false;
        if self.flow.is_tcp() {
            self.next_seq = segment.tcp_seq().wrapping_add(self.gso_size as u32);
        }
    }

    /// Adds a mergeable segment of the same flow; false, and nothing changed, if it does not
    /// continue what is here.
    pub fn append(&mut self, segment: &Segment<'_>) -> bool {
        let payload = segment.payload();
        let continues = !self.closed
            && segment.headers == self.headers
            && payload.len() <= self.gso_size
            && self.len + payload.len() <= MAX_LEN
            && segment.continues_ip(&self.buffer[..self.headers], self.segments)
            && self.continues_transport(segment);
        if !continues {
            return false;
        }
        self.buffer[self.len..][..payload.len()].copy_from_slice(payload);
        self.len += payload.len();
        self.segments += 1;
        self.closed = payload.len() < self.gso_size || segment.ends_flow();
        if self.flow.is_tcp() {
            self.next_seq = self.next_seq.wrapping_add(payload.len() as u32);
            self.buffer[self.transport + 13] |=
                segment.tcp_flags() & (tcp_flags::FIN | tcp_flags::PSH);
        } else {
            self.closed |= self.segments == MAX_UDP_SEGMENTS;
        }
        true
    }

    /// The packet and its header for the device.
    pub fn finish(&mut self) -> (VnetHdr, &[u8]) {
        let packet = &mut self.buffer[..self.len];
        if self.segments == 1 {
            return (VnetHdr::DONE, packet);
        }
        if self.flow.ipv6 {
            put16(packet, 4, (self.len - Ipv6::LEN) as u16);
        } else {
            put16(packet, 2, self.len as u16);
            put16(packet, 10, 0);
            let sum = checksum(&packet[..self.transport]);
            put16(packet, 10, sum);
        }
        let covered = self.len - self.transport;
        let checksum_at = if self.flow.is_tcp() {
            16
        } else {
            put16(packet, self.transport + 4, covered as u16);
            6
        };
        put16(packet, self.transport + checksum_at, self.flow.pseudo(covered).partial());
        let vnet = VnetHdr::super_packet(
            self.flow.gso(),
            self.headers as u16,
            self.gso_size as u16,
            self.transport as u16,
        );
        (vnet, packet)
    }

    fn continues_transport(&self, segment: &Segment<'_>) -> bool {
        if !self.flow.is_tcp() {
            return true;
        }
        segment.tcp_seq() == self.next_seq && segment.continues_tcp(&self.buffer[..self.headers])
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("len", &self.len)
            .field("segments", &self.segments)
            .finish_non_exhaustive()
    }
}
