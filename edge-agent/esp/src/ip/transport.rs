//! The TCP (RFC 9293 section 3.1) and UDP (RFC 768) headers.

use super::{be16, be32};

/// Bits of the octet at offset 13.
pub mod tcp_flags {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;
}

/// A checked TCP header with what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp<'a>(&'a [u8]);

impl<'a> Tcp<'a> {
    pub const MIN_LEN: usize = 20;

    /// `None` if the header is not whole, or says a length below 20.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let tcp = Tcp(bytes);
        let whole = bytes.len() >= Self::MIN_LEN
            && (Self::MIN_LEN..=bytes.len()).contains(&tcp.header_len());
        whole.then_some(tcp)
    }

    pub fn src_port(&self) -> u16 {
        be16(self.0, 0)
    }

    pub fn dst_port(&self) -> u16 {
        be16(self.0, 2)
    }

    pub fn seq(&self) -> u32 {
        be32(self.0, 4)
    }

    pub fn ack(&self) -> u32 {
        be32(self.0, 8)
    }

    /// With options.
    pub fn header_len(&self) -> usize {
        usize::from(self.0[12] >> 4) * 4
    }

    /// See [`tcp_flags`].
    pub fn flags(&self) -> u8 {
        self.0[13]
    }

    pub fn window(&self) -> u16 {
        be16(self.0, 14)
    }

    pub fn checksum(&self) -> u16 {
        be16(self.0, 16)
    }

    pub fn options(&self) -> &'a [u8] {
        &self.0[Self::MIN_LEN..self.header_len()]
    }

    pub fn payload(&self) -> &'a [u8] {
        &self.0[self.header_len()..]
    }
}

/// A checked UDP header with what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp<'a>(&'a [u8]);

impl<'a> Udp<'a> {
    pub const LEN: usize = 8;

    /// `None` if the header is not whole. Its length field is the sender's and is not checked: a
    /// first fragment has less.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len() >= Self::LEN).then_some(Udp(bytes))
    }

    pub fn src_port(&self) -> u16 {
        be16(self.0, 0)
    }

    pub fn dst_port(&self) -> u16 {
        be16(self.0, 2)
    }

    /// Header and payload, as the sender says.
    pub fn len_field(&self) -> u16 {
        be16(self.0, 4)
    }

    /// 0: the sender made none.
    pub fn checksum(&self) -> u16 {
        be16(self.0, 6)
    }

    pub fn payload(&self) -> &'a [u8] {
        &self.0[Self::LEN..]
    }
}
