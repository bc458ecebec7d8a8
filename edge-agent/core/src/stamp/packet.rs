//! The base packets, RFC 8762 sections 4.2.1 and 4.3.1, with the session identifier (SSID) of RFC 8972 section 3.
//!
//! ```text
//! sender                                 reflector
//!  0 sequence number                      0 sequence number (its own: stateful)
//!  4 timestamp                            4 timestamp
//! 12 error estimate | SSID               12 error estimate | SSID
//! 16 zero                                16 receive timestamp
//!                                        24 sender's sequence number
//!                                        28 sender's timestamp
//!                                        36 sender's error estimate | zero
//!                                        40 sender's TTL | zero
//! 44 TLVs                                44 TLVs
//! ```

use super::tlv::{self, DigestEntry};
use super::{Error, ErrorEstimate, Timestamp, u16_at, u32_at, u64_at};

/// Both base packets.
pub const BASE_BYTES: usize = 44;

/// Octets of a request that tells of so many paths, and of its reply.
pub fn request_bytes(digest_entries: usize) -> usize {
    BASE_BYTES + tlv::digest_bytes(digest_entries)
}

/// A Session-Sender's test packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderPacket {
    pub sequence: u32,
    pub timestamp: Timestamp,
    pub error: ErrorEstimate,
    pub ssid: u16,
    /// What the sender receives; empty: no TLV.
    pub digest: Vec<DigestEntry>,
    pub challenge: Option<[u8; 8]>,
}

/// A Session-Reflector's reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReflectorPacket {
    pub sequence: u32,
    pub timestamp: Timestamp,
    pub error: ErrorEstimate,
    pub ssid: u16,
    pub received: Timestamp,
    pub sender_sequence: u32,
    pub sender_timestamp: Timestamp,
    pub sender_error: ErrorEstimate,
    pub sender_ttl: u8,
    /// What the reflector receives.
    pub digest: Vec<DigestEntry>,
    /// As it was sent.
    pub challenge: Option<[u8; 8]>,
}

/// What the reflector adds to a request.
#[derive(Debug, Clone, Copy)]
pub struct Reflected<'a> {
    /// The reflector's own count (RFC 8762 section 4.3, stateful); `None` copies the sender's (stateless).
    pub sequence: Option<u32>,
    pub received: Timestamp,
    pub timestamp: Timestamp,
    pub error: ErrorEstimate,
    /// Replaces the sender's in place, as far as it fits.
    pub digest: &'a [DigestEntry],
}

impl SenderPacket {
    /// At least `least_bytes` long, filled with an Extra Padding TLV if there is room for one.
    pub fn encode(&self, least_bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(least_bytes.max(BASE_BYTES + 128));
        out.extend(self.sequence.to_be_bytes());
        out.extend(self.timestamp.0.to_be_bytes());
        out.extend(self.error.0.to_be_bytes());
        out.extend(self.ssid.to_be_bytes());
        out.resize(BASE_BYTES, 0);
        if !self.digest.is_empty() {
            tlv::put_digest(&mut out, &self.digest);
        }
        if let Some(octets) = self.challenge {
            tlv::put_challenge(&mut out, octets);
        }
        let missing = least_bytes.saturating_sub(out.len());
        tlv::put_padding(&mut out, missing);
        out
    }

    /// From the UDP payload.
    pub fn decode(octets: &[u8]) -> Result<Self, Error> {
        check_length(octets)?;
        let (digest, challenge) = tlv::ours(&octets[BASE_BYTES..], false);
        Ok(SenderPacket {
            sequence: u32_at(octets, 0),
            timestamp: Timestamp(u64_at(octets, 4)),
            error: ErrorEstimate(u16_at(octets, 12)),
            ssid: u16_at(octets, 14),
            digest,
            challenge,
        })
    }
}

impl ReflectorPacket {
    /// From the UDP payload. TLVs that the reflector did not understand say nothing.
    pub fn decode(octets: &[u8]) -> Result<Self, Error> {
        check_length(octets)?;
        let (digest, challenge) = tlv::ours(&octets[BASE_BYTES..], true);
        Ok(ReflectorPacket {
            sequence: u32_at(octets, 0),
            timestamp: Timestamp(u64_at(octets, 4)),
            error: ErrorEstimate(u16_at(octets, 12)),
            ssid: u16_at(octets, 14),
            received: Timestamp(u64_at(octets, 16)),
            sender_sequence: u32_at(octets, 24),
            sender_timestamp: Timestamp(u64_at(octets, 28)),
            sender_error: ErrorEstimate(u16_at(octets, 36)),
            sender_ttl: octets[40],
            digest,
            challenge,
        })
    }
}

/// Makes the reply from the request: as long as it, never longer (RFC 8762 section 4.3).
pub fn reflect(request: &[u8], ttl: u8, ours: &Reflected<'_>) -> Result<Vec<u8>, Error> {
    check_length(request)?;
    let mut out = request.to_vec();
    out[0..4].copy_from_slice(&ours.sequence.unwrap_or(u32_at(request, 0)).to_be_bytes());
    out[4..12].copy_from_slice(&ours.timestamp.0.to_be_bytes());
    out[12..14].copy_from_slice(&ours.error.0.to_be_bytes());
    // The SSID at 14 is copied (RFC 8972 section 3).
    out[16..24].copy_from_slice(&ours.received.0.to_be_bytes());
    out[24..36].copy_from_slice(&request[0..12]);
    out[36..38].copy_from_slice(&request[12..14]);
    out[38..44].copy_from_slice(&[0, 0, ttl, 0, 0, 0]);
    tlv::reflect(&mut out[BASE_BYTES..], ours.digest);
    Ok(out)
}

fn check_length(octets: &[u8]) -> Result<(), Error> {
    if octets.len() < BASE_BYTES {
        return Err(Error::Short {
            layer: "STAMP packet",
            length_bytes: octets.len(),
            needed_bytes: BASE_BYTES,
        });
    }
    Ok(())
}
