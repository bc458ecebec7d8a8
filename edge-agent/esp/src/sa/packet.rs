//! One packet to seal.

use super::SealError;
use crate::gre::Protocol;
use crate::layout::Layout;
use crate::transform::Header;
use crate::wire::{ESP_HEADER_LEN, NEXT_HEADER_GRE, TRAILER_LEN};

/// "No next header" marks a dummy packet (RFC 4303 section 2.6).
pub const NEXT_HEADER_NONE: u8 = 59;
/// IPv4 in ESP: tunnel mode.
pub const NEXT_HEADER_IPV4: u8 = 4;
/// IPv6 in ESP: tunnel mode.
pub const NEXT_HEADER_IPV6: u8 = 41;

/// A payload in a buffer that has room around it. The payload stands at the suite's
/// [`Layout::payload_offset`]; after sealing the datagram starts at the buffer's first octet.
#[derive(Debug)]
pub struct Packet<'b> {
    buffer: &'b mut [u8],
    payload_len: usize,
    tfc_len: usize,
    next_header: u8,
    spi: u32,
    seq: u64,
    /// Octets of the datagram; 0 until it is framed.
    total: usize,
}

impl<'b> Packet<'b> {
    /// Transport mode: `next_header` is the payload's protocol.
    #[inline]
    pub fn new(buffer: &'b mut [u8], payload_len: usize, next_header: u8) -> Self {
        Packet { buffer, payload_len, tfc_len: 0, next_header, spi: 0, seq: 0, total: 0 }
    }

    /// GRE in transport mode: the payload is a GRE header and an inner packet.
    #[inline]
    pub fn gre(buffer: &'b mut [u8], payload_len: usize) -> Self {
        Packet::new(buffer, payload_len, NEXT_HEADER_GRE)
    }

    /// Tunnel mode: the payload is an inner IP packet.
    pub fn tunnelled(buffer: &'b mut [u8], payload_len: usize, protocol: Protocol) -> Self {
        let next_header = match protocol {
            Protocol::Ipv4 => NEXT_HEADER_IPV4,
            Protocol::Ipv6 => NEXT_HEADER_IPV6,
        };
        Packet::new(buffer, payload_len, next_header)
    }

    /// A dummy packet (RFC 4303 section 2.6), which the receiver drops. Its payload is whatever the buffer holds.
    pub fn dummy(buffer: &'b mut [u8], payload_len: usize) -> Self {
        Packet::new(buffer, payload_len, NEXT_HEADER_NONE)
    }

    /// Zeros behind the payload that hide its length (RFC 4303 section 2.7); none by default. Only for payloads
    /// that tell their own length, as IP packets do.
    pub fn with_tfc_padding(mut self, tfc_len: usize) -> Self {
        self.tfc_len = tfc_len;
        self
    }

    /// The sequence number that the packet was sealed under; 0 before.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Octets of the sealed datagram; 0 before.
    #[inline]
    pub fn sealed_len(&self) -> usize {
        self.total
    }

    /// The sealed datagram; empty before.
    pub fn sealed(&self) -> &[u8] {
        &self.buffer[..self.total]
    }

    /// A datagram that somebody else framed: published texts have trailers of their own.
    #[cfg(test)]
    pub(crate) fn framed_elsewhere(buffer: &'b mut [u8]) -> Self {
        let mut packet = Packet::new(buffer, 0, 0);
        packet.total = packet.buffer.len();
        packet
    }

    /// Whether the buffer has room for the datagram, whose length it gives.
    #[inline]
    pub(super) fn check(&self, layout: Layout) -> Result<usize, SealError> {
        let have_bytes = self.buffer.len();
        let short = |need_bytes| SealError::BufferTooShort { need_bytes, have_bytes };
        let payload_len = self.payload_len.saturating_add(self.tfc_len);
        if payload_len > have_bytes {
            return Err(short(payload_len));
        }
        let need_bytes = layout.sealed_len(payload_len);
        if need_bytes > have_bytes { Err(short(need_bytes)) } else { Ok(need_bytes) }
    }

    /// Writes header, padding and trailer around the payload.
    #[inline]
    pub(super) fn frame(&mut self, layout: Layout, spi: u32, seq: u64) {
        let total = layout.sealed_len(self.payload_len + self.tfc_len);
        (self.spi, self.seq, self.total) = (spi, seq, total);
        self.buffer[..4].copy_from_slice(&spi.to_be_bytes());
        self.buffer[4..ESP_HEADER_LEN].copy_from_slice(&(seq as u32).to_be_bytes());
        let text = &mut self.buffer[layout.payload_offset()..total - layout.icv_len];
        let trailer = text.len() - TRAILER_LEN;
        let (payload, end) = text.split_at_mut(trailer);
        let (tfc, padding) = payload[self.payload_len..].split_at_mut(self.tfc_len);
        tfc.fill(0);
        let pad_len = padding.len() as u8;
        for (octet, value) in padding.iter_mut().zip(1..=pad_len) {
            *octet = value;
        }
        end.copy_from_slice(&[pad_len, self.next_header]);
    }

    #[inline]
    pub(crate) fn header(&self, esn: bool) -> Header {
        Header::new(self.spi, self.seq, esn)
    }

    /// The framed datagram.
    #[inline]
    pub(crate) fn datagram_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.total]
    }
}
