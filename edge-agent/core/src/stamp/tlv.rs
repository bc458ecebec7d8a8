//! TLVs of RFC 8972 section 4, and two of ours from its private-use range.
//!
//! ```text
//!  0                   1                   2                   3
//! |U|M|I|reserved |     Type      |            Length             |  then Length octets of value
//! ```

use super::{u16_at, u32_at};
use crate::id::PathId;

/// TLV types (RFC 8972 section 5.1: 252 to 254 are for private use).
pub mod tlv_type {
    /// RFC 8972 section 4.1.
    pub const EXTRA_PADDING: u8 = 1;
    /// Ours: what the TLV's sender receives on every path of the tunnel.
    pub const DIGEST: u8 = 252;
    /// Ours: 8 octets that the reflector echoes.
    pub const CHALLENGE: u8 = 253;
}

/// Flags (RFC 8972 section 4).
pub mod flag {
    /// Unrecognised: set by the sender, cleared by a reflector that understands the TLV.
    pub const U: u8 = 0x80;
    /// Malformed: set by a reflector whose walk failed here.
    pub const M: u8 = 0x40;
    /// Integrity: set by a reflector that could not verify an HMAC.
    pub const I: u8 = 0x20;
}

/// TLVs of one packet that are looked at; the rest is copied, not read.
pub const MAX_TLVS: usize = 16;
/// Entries of one digest: it must fit the smallest MTU with all other headers.
pub const MAX_DIGEST_ENTRIES: usize = 32;

const HEADER_BYTES: usize = 4;
const ENTRY_BYTES: usize = 28;
const CHALLENGE_BYTES: usize = 8;

/// What the sender of the TLV receives on one path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DigestEntry {
    /// Below 2^24. 0 fills an entry that says nothing.
    pub path: PathId,
    /// Newest sequence number of the other end's probes.
    pub newest_sequence: u32,
    /// Probes of the other end that came in the last window, saturating.
    pub received: u16,
    /// Probes of the other end lost in the last window, parts per million.
    pub loss_ppm: u32,
    /// Since the newest came, saturating; `u32::MAX`: none ever did.
    pub age_ms: u32,
    /// The sender's uplink of this path has no carrier, or is about to go: nothing sent on it arrives.
    pub dead: bool,
    /// The sender needs this path, which rests otherwise: its peer probes it too.
    pub wanted: bool,
    /// ESP packets of this path (all of its SAs) that the sequence numbers of those received tell of, and those that
    /// were received. Both count on and wrap: two digests together tell what was lost between them.
    pub esp_expected: u32,
    pub esp_received: u32,
}

/// In an entry's flags.
const DEAD: u16 = 1;
const WANTED: u16 = 2;

/// One TLV as it stands in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// See [`flag`].
    pub flags: u8,
    /// See [`tlv_type`].
    pub kind: u8,
    /// Without its header.
    pub value: &'a [u8],
    /// Offset of the header within the TLVs.
    pub offset: usize,
}

/// A TLV that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlvKind {
    /// RFC 8972 section 4.1.
    ExtraPadding,
    /// At most [`MAX_DIGEST_ENTRIES`].
    Digest(Vec<DigestEntry>),
    /// Eight octets.
    Challenge([u8; CHALLENGE_BYTES]),
}

/// Walks the TLVs: at most [`MAX_TLVS`], ends at the first that does not fit.
#[derive(Debug, Clone)]
pub struct Tlvs<'a> {
    octets: &'a [u8],
    at: usize,
    seen: usize,
    malformed_at: Option<usize>,
}

impl<'a> Tlvs<'a> {
    /// What follows the 44 octets of the base packet.
    pub fn new(octets: &'a [u8]) -> Self {
        Tlvs { octets, at: 0, seen: 0, malformed_at: None }
    }

    /// After the walk: where it failed.
    pub fn malformed_at(&self) -> Option<usize> {
        self.malformed_at
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = Tlv<'a>;

    fn next(&mut self) -> Option<Tlv<'a>> {
        let left = self.octets.len() - self.at;
        if left == 0 || self.seen == MAX_TLVS || self.malformed_at.is_some() {
            return None;
        }
        if left < HEADER_BYTES || left - HEADER_BYTES < u16_at(self.octets, self.at + 2).into() {
            self.malformed_at = Some(self.at);
            return None;
        }
        let length = usize::from(u16_at(self.octets, self.at + 2));
        let offset = self.at;
        let start = offset + HEADER_BYTES;
        self.at = start + length;
        self.seen += 1;
        Some(Tlv {
            flags: self.octets[offset],
            kind: self.octets[offset + 1],
            value: &self.octets[start..start + length],
            offset,
        })
    }
}

impl Tlv<'_> {
    /// What it means; `Err(true)` if its length does not fit its type, `Err(false)` if the type is not known.
    pub(super) fn decode(&self) -> Result<TlvKind, bool> {
        self.check()?;
        match self.kind {
            tlv_type::EXTRA_PADDING => Ok(TlvKind::ExtraPadding),
            tlv_type::CHALLENGE => self.value.try_into().map(TlvKind::Challenge).map_err(|_| true),
            _ => {
                let entries = self.value.chunks_exact(ENTRY_BYTES).map(decode_entry);
                Ok(TlvKind::Digest(entries.filter(|e| e.path.0 != 0).collect()))
            }
        }
    }

    /// As `decode`, which costs more.
    fn check(&self) -> Result<(), bool> {
        let length = self.value.len();
        let fits = match self.kind {
            tlv_type::EXTRA_PADDING => true,
            tlv_type::CHALLENGE => length == CHALLENGE_BYTES,
            tlv_type::DIGEST => {
                length.is_multiple_of(ENTRY_BYTES) && length / ENTRY_BYTES <= MAX_DIGEST_ENTRIES
            }
            _ => return Err(false),
        };
        if fits { Ok(()) } else { Err(true) }
    }
}

/// The digest in the TLVs of a packet, if it has one, and the challenge; of a reply only what its reflector understood.
pub(super) fn ours(
    octets: &[u8],
    reply: bool,
) -> (Vec<DigestEntry>, Option<[u8; CHALLENGE_BYTES]>) {
    let mut digest = Vec::new();
    let mut challenge = None;
    // A sender sets U, and whoever understands the TLV clears it (RFC 8972 section 4).
    for tlv in Tlvs::new(octets).filter(|tlv| !reply || tlv.flags & flag::U == 0) {
        match tlv.decode() {
            Ok(TlvKind::Digest(entries)) => digest = entries,
            Ok(TlvKind::Challenge(octets)) => challenge = Some(octets),
            Ok(TlvKind::ExtraPadding) | Err(_) => {}
        }
    }
    (digest, challenge)
}

/// Octets of a digest with its header; none for none.
pub(super) fn digest_bytes(entries: usize) -> usize {
    match entries.min(MAX_DIGEST_ENTRIES) {
        0 => 0,
        entries => HEADER_BYTES + entries * ENTRY_BYTES,
    }
}

// A sender sets U and clears M and I (RFC 8972 section 4).

pub(super) fn put_challenge(out: &mut Vec<u8>, octets: [u8; CHALLENGE_BYTES]) {
    out.extend([flag::U, tlv_type::CHALLENGE, 0, CHALLENGE_BYTES as u8]);
    out.extend(octets);
}

/// As far as it fits.
pub(super) fn put_digest(out: &mut Vec<u8>, entries: &[DigestEntry]) {
    let entries = &entries[..entries.len().min(MAX_DIGEST_ENTRIES)];
    out.extend([flag::U, tlv_type::DIGEST]);
    out.extend(((entries.len() * ENTRY_BYTES) as u16).to_be_bytes());
    entries.iter().for_each(|e| out.extend(encode_entry(e)));
}

/// Extra Padding of exactly `bytes` with its header; nothing below the header's four.
pub(super) fn put_padding(out: &mut Vec<u8>, bytes: usize) {
    let Some(value) = bytes.checked_sub(HEADER_BYTES) else { return };
    let value = value.min(usize::from(u16::MAX));
    out.extend([flag::U, tlv_type::EXTRA_PADDING]);
    out.extend((value as u16).to_be_bytes());
    out.resize(out.len() + value, 0);
}

/// The reflector's turn: sets the flags of every TLV, and puts its own digest in place of the sender's, as far as it fits.
pub(super) fn reflect(tlvs: &mut [u8], digest: &[DigestEntry]) {
    let received = tlvs.to_vec();
    let mut walk = Tlvs::new(&received);
    for tlv in walk.by_ref() {
        let flags = &mut tlvs[tlv.offset];
        match tlv.check() {
            Ok(()) if tlv.kind != tlv_type::DIGEST => *flags = 0,
            Ok(()) => {
                *flags = 0;
                let start = tlv.offset + HEADER_BYTES;
                let value = &mut tlvs[start..start + tlv.value.len()];
                value.fill(0);
                for (slot, entry) in value.chunks_exact_mut(ENTRY_BYTES).zip(digest) {
                    slot.copy_from_slice(&encode_entry(entry));
                }
            }
            Err(true) => *flags = flag::M,
            Err(false) => *flags = flag::U,
        }
    }
    if let Some(at) = walk.malformed_at() {
        // RFC 8972 section 4: marked, and nothing after it is read.
        tlvs[at] = flag::M;
    }
}

fn encode_entry(entry: &DigestEntry) -> [u8; ENTRY_BYTES] {
    let mut out = [0; ENTRY_BYTES];
    out[..4].copy_from_slice(&entry.path.0.to_be_bytes());
    out[4..8].copy_from_slice(&entry.newest_sequence.to_be_bytes());
    out[8..10].copy_from_slice(&entry.received.to_be_bytes());
    out[12..16].copy_from_slice(&entry.loss_ppm.to_be_bytes());
    let flags = if entry.dead { DEAD } else { 0 } | if entry.wanted { WANTED } else { 0 };
    out[10..12].copy_from_slice(&flags.to_be_bytes());
    out[16..20].copy_from_slice(&entry.age_ms.to_be_bytes());
    out[20..24].copy_from_slice(&entry.esp_expected.to_be_bytes());
    out[24..].copy_from_slice(&entry.esp_received.to_be_bytes());
    out
}

fn decode_entry(octets: &[u8]) -> DigestEntry {
    DigestEntry {
        path: PathId(u32_at(octets, 0) & 0x00ff_ffff),
        newest_sequence: u32_at(octets, 4),
        received: u16_at(octets, 8),
        loss_ppm: u32_at(octets, 12).min(1_000_000),
        age_ms: u32_at(octets, 16),
        dead: u16_at(octets, 10) & DEAD != 0,
        wanted: u16_at(octets, 10) & WANTED != 0,
        esp_expected: u32_at(octets, 20),
        esp_received: u32_at(octets, 24),
    }
}
