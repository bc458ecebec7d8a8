//! Echo messages: RFC 792 and RFC 4443 sections 4.1 and 4.2.
//!
//! ```text
//!  0 type, code, checksum
//!  4 identifier, sequence number (the low 16 bits)
//!  8 sequence number (32 bits)
//! 12 timestamp
//! ```

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::probe::Refused;
use crate::probe::sender::Answer;
use crate::stamp::{Error, Timestamp};
use crate::time::Micros;

const BYTES: usize = 20;
const ICMPV6: u8 = 58;

/// `between`: source and destination, for ICMPv6.
pub(super) fn request(
    identifier: u16,
    sequence: u32,
    timestamp: Timestamp,
    between: Option<(Ipv6Addr, Ipv6Addr)>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(BYTES);
    out.extend([if between.is_some() { 128 } else { 8 }, 0, 0, 0]);
    out.extend(identifier.to_be_bytes());
    out.extend((sequence as u16).to_be_bytes());
    out.extend(sequence.to_be_bytes());
    out.extend(timestamp.0.to_be_bytes());
    let sum = checksum(&out, between);
    out[2..4].copy_from_slice(&sum.to_be_bytes());
    out
}

/// Of an echo reply. Anything else is not ours.
pub(super) fn answer(
    packet: &[u8],
    identifier: u16,
    between: Option<(Ipv6Addr, Ipv6Addr)>,
    received: Micros,
) -> Result<Answer, Refused> {
    if packet.len() < BYTES {
        let (layer, length_bytes, needed_bytes) = ("ICMP message", packet.len(), BYTES);
        return Err(Error::Short { layer, length_bytes, needed_bytes }.into());
    }
    if checksum(packet, between) != 0 {
        return Err(Error::Checksum.into());
    }
    let kind = if between.is_some() { 129 } else { 0 };
    let of_ours = packet[0] == kind && packet[1] == 0 && packet[4..6] == identifier.to_be_bytes();
    let mut number = [0; 4];
    number.copy_from_slice(&packet[8..12]);
    let sequence = u32::from_be_bytes(number);
    if !of_ours || packet[6..8] != (sequence as u16).to_be_bytes() {
        return Err(Refused::Foreign);
    }
    let mut timestamp = [0; 8];
    timestamp.copy_from_slice(&packet[12..20]);
    Ok(Answer {
        sequence,
        timestamp: Timestamp(u64::from_be_bytes(timestamp)),
        // It counts nothing.
        reflected: sequence,
        received,
        held: Duration::ZERO,
        at_reflector: None,
    })
}

/// RFC 1071; with the pseudo-header of RFC 8200 section 8.1 for ICMPv6. Zero over a message whose field is right.
pub(super) fn checksum(message: &[u8], between: Option<(Ipv6Addr, Ipv6Addr)>) -> u16 {
    let words = |octets: &[u8]| -> u64 {
        let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
        octets.chunks(2).map(word).sum()
    };
    let mut sum = words(message);
    if let Some((source, destination)) = between {
        sum += words(&source.octets()) + words(&destination.octets());
        sum += message.len() as u64 + u64::from(ICMPV6);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
