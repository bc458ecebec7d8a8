//! The GRE header with key: RFC 2784 section 2.1, RFC 2890 section 2.
//!
//! ```text
//! C R K S s Recur  A Flags   Ver      C, K, S as RFC 2890; the rest is 0
//! |----------- 16 ----------|-- protocol 16 --|---------- key 32 ----------|
//! ```

use crate::wire::GRE_LEN;

/// Key present, everything else absent, version 0.
const FLAGS: u16 = 0x2000;
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

/// The header: 8 octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gre {
    pub protocol: Protocol,
    /// Path ID (24 bits), segment ID (8 bits).
    pub key: u32,
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
    #[error("GRE with a sequence number")]
    Sequence,
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
            GreError::Sequence => "gre_sequence",
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
    pub fn encode(&self) -> [u8; GRE_LEN] {
        let mut header = [0; GRE_LEN];
        header[..2].copy_from_slice(&FLAGS.to_be_bytes());
        header[2..4].copy_from_slice(&self.protocol.ether_type().to_be_bytes());
        header[4..].copy_from_slice(&self.key.to_be_bytes());
        header
    }

    /// The header at the start of `payload`, and what follows it.
    pub fn decode(payload: &[u8]) -> Result<(Gre, &[u8]), GreError> {
        let (header, inner) = payload.split_first_chunk::<GRE_LEN>().ok_or(GreError::TooShort)?;
        check_flags(u16::from_be_bytes([header[0], header[1]]))?;
        let protocol = match u16::from_be_bytes([header[2], header[3]]) {
            0x0800 => Protocol::Ipv4,
            0x86dd => Protocol::Ipv6,
            other => return Err(GreError::Protocol(other)),
        };
        let key = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        Ok((Gre { protocol, key }, inner))
    }
}

fn check_flags(flags: u16) -> Result<(), GreError> {
    match flags {
        FLAGS => Ok(()),
        flags if flags & VERSION != 0 => Err(GreError::Version((flags & VERSION) as u8)),
        flags if flags & ROUTING != 0 => Err(GreError::Routing),
        flags if flags & CHECKSUM != 0 => Err(GreError::Checksum),
        flags if flags & SEQUENCE != 0 => Err(GreError::Sequence),
        flags if flags & KEY == 0 => Err(GreError::NoKey),
        flags => Err(GreError::Reserved(flags)),
    }
}

#[cfg(test)]
mod tests;
