//! The GRE header with key, and with a sequence number where packets are duplicated: RFC 2784 section 2.1, RFC 2890
//! section 2.
//!
//! ```text
//! C R K S s Recur  A Flags   Ver      C, K, S as RFC 2890; the rest is 0
//! |----------- 16 ----------|-- protocol 16 --|-------- key 32 --------|-- sequence 32, if S --|
//! ```

use std::ops::Deref;

use crate::wire::{GRE_LEN, GRE_SEQUENCED_LEN};
const CHECKSUM: u16 = 0x8000;
const ROUTING: u16 = 0x4000;
const KEY: u16 = 0x2000;
const SEQUENCE: u16 = 0x1000;
const VERSION: u16 = 0x0007;

/// What the tunnel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Ipv4,
    Ipv6,
}

/// The header: 8 octets, or 12.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gre {
    pub protocol: Protocol,
    /// Path ID (24 bits), segment ID (8 bits).
    pub key: u32,
    /// Of a packet of which another copy goes over another path: see [`crate::copies`].
    pub sequence: Option<u32>,
}

/// A header as it stands in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    octets: [u8; GRE_SEQUENCED_LEN],
    len: usize,
}

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

/// Why a GRE header was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum GreError {
    #[error("shorter than a GRE header with key")]
    TooShort,
    #[error("GRE version {0} is not 0")]
    Version(u8),
    #[error("GRE with source routing (RFC 1701)")]
    Routing,
    #[error("GRE with a checksum")]
    Checksum,
    #[error("GRE without a key")]
    NoKey,
    #[error("reserved GRE flags {0:#06x}")]
    Reserved(u16),
    #[error("protocol {0:#06x} is neither IPv4 nor IPv6")]
    Protocol(u16),
}

impl GreError {
    /// A stable name for metrics and events.
    pub const fn code(self) -> &'static str {
        match self {
            GreError::TooShort => "gre_too_short",
            GreError::Version(_) => "gre_version",
            GreError::Routing => "gre_routing",
            GreError::Checksum => "gre_checksum",
            GreError::NoKey => "gre_no_key",
            GreError::Reserved(_) => "gre_reserved",
            GreError::Protocol(_) => "gre_protocol",
        }
    }
}

impl Protocol {
    pub const fn ether_type(self) -> u16 {
        match self {
            Protocol::Ipv4 => 0x0800,
            Protocol::Ipv6 => 0x86dd,
        }
    }

    /// By the version nibble of an IP packet.
    pub fn of_packet(packet: &[u8]) -> Option<Protocol> {
        match packet.first()? >> 4 {
            4 => Some(Protocol::Ipv4),
            6 => Some(Protocol::Ipv6),
            _ => None,
        }
    }
}

impl Gre {
    pub fn encode(&self) -> Encoded {
        let mut octets = [0; GRE_SEQUENCED_LEN];
        let (flags, len) = match self.sequence {
            None => (KEY, GRE_LEN),
            Some(_) => (KEY | SEQUENCE, GRE_SEQUENCED_LEN),
        };
        octets[..2].copy_from_slice(&flags.to_be_bytes());
        octets[2..4].copy_from_slice(&self.protocol.ether_type().to_be_bytes());
        octets[4..8].copy_from_slice(&self.key.to_be_bytes());
        octets[8..].copy_from_slice(&self.sequence.unwrap_or_default().to_be_bytes());
        Encoded { octets, len }
    }

    /// The header at the start of `payload`, and what follows it.
    pub fn decode(payload: &[u8]) -> Result<(Gre, &[u8]), GreError> {
        let (header, inner) = payload.split_first_chunk::<GRE_LEN>().ok_or(GreError::TooShort)?;
        let sequenced = check_flags(u16::from_be_bytes([header[0], header[1]]))?;
        let protocol = match u16::from_be_bytes([header[2], header[3]]) {
            0x0800 => Protocol::Ipv4,
            0x86dd => Protocol::Ipv6,
            other => return Err(GreError::Protocol(other)),
        };
        let key = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        if !sequenced {
            return Ok((Gre { protocol, key, sequence: None }, inner));
        }
        let (number, inner) = inner.split_first_chunk::<4>().ok_or(GreError::TooShort)?;
        let sequence = Some(u32::from_be_bytes(*number));
        Ok((Gre { protocol, key, sequence }, inner))
    }
}

/// True with a sequence number.
fn check_flags(flags: u16) -> Result<bool, GreError> {
    const SEQUENCED: u16 = KEY | SEQUENCE;
    match flags {
        KEY => Ok(false),
        SEQUENCED => Ok(true),
        flags if flags & VERSION != 0 => Err(GreError::Version((flags & VERSION) as u8)),
        flags if flags & ROUTING != 0 => Err(GreError::Routing),
        flags if flags & CHECKSUM != 0 => Err(GreError::Checksum),
        flags if flags & KEY == 0 => Err(GreError::NoKey),
        flags => Err(GreError::Reserved(flags)),
    }
}

#[cfg(test)]
mod tests;
