//! Protecting.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::covered::{Covered, Head};
use super::{AhError, AhKey, FIXED_LEN, PROTOCOL_AH, Parts, ah_len};
use crate::checksum::checksum;
use crate::gre::Protocol;
use crate::sa::{NEXT_HEADER_IPV4, NEXT_HEADER_IPV6, SaError, SaUsage, SeqExhausted, check_spi};
use crate::suite::Integrity;
use crate::transform::{Header, Mac};

/// Protects packets under one key; shared by any number of threads. Sequence numbers start at 1 and are given out once.
pub struct OutboundAh {
    spi: u32,
    esn: bool,
    mac: Box<dyn Mac>,
    last_seq: AtomicU64,
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl OutboundAh {
    /// `spi` is the receiver's choice; `esn` selects 64-bit sequence numbers.
    pub fn new(spi: u32, key: &AhKey, esn: bool) -> Result<Self, SaError> {
        check_spi(spi)?;
        Ok(OutboundAh {
            spi,
            esn,
            mac: key.mac(),
            last_seq: AtomicU64::new(0),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    pub fn spi(&self) -> u32 {
        self.spi
    }

    pub fn integrity(&self) -> Integrity {
        self.mac.integrity()
    }

    /// Highest sequence number given out; 0 before the first.
    pub fn last_seq(&self) -> u64 {
        self.last_seq.load(Ordering::Relaxed)
    }

    /// Packets, and the octets that their ICVs cover.
    pub fn usage(&self) -> SaUsage {
        SaUsage {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Transport mode: puts AH into the IP packet that stands at `packet` in `buffer`, behind at least [`ah_len`]
    /// octets of room. Gives where the protected packet stands; it ends where the packet ended.
    pub fn protect(
        &self,
        buffer: &mut [u8],
        packet: Range<usize>,
    ) -> Result<Range<usize>, AhError> {
        let head = Head::to_protect(&buffer[packet.clone()])?;
        let end = packet.start + head.total_len;
        let ah_len = ah_len(self.integrity(), head.ipv6);
        let start = packet.start.checked_sub(ah_len).ok_or(AhError::NoRoom(ah_len))?;
        buffer.copy_within(packet.start..packet.start + head.len, start);
        let next_header = buffer[start + head.next_header_at];
        self.finish(&mut buffer[start..end], head, next_header)?;
        Ok(start..end)
    }

    /// Tunnel mode: puts `outer`, an IPv4 or IPv6 header with the extension headers of its own, and AH before the
    /// inner packet that stands at `packet` in `buffer`. Length, protocol and checksum of `outer` are filled in.
    pub fn protect_tunnelled(
        &self,
        buffer: &mut [u8],
        packet: Range<usize>,
        outer: &[u8],
    ) -> Result<Range<usize>, AhError> {
        let inner = Protocol::of_packet(&buffer[packet.clone()]);
        let next_header = match inner.ok_or(AhError::BadNextHeader)? {
            Protocol::Ipv4 => NEXT_HEADER_IPV4,
            Protocol::Ipv6 => NEXT_HEADER_IPV6,
        };
        let ipv6 = outer.first().is_some_and(|octet| octet >> 4 == 6);
        let room = outer.len() + ah_len(self.integrity(), ipv6);
        let start = packet.start.checked_sub(room).ok_or(AhError::NoRoom(room))?;
        buffer[start..start + outer.len()].copy_from_slice(outer);
        // By itself, so that whatever its last protocol field holds leads nowhere.
        let alone = &mut buffer[start..start + outer.len()];
        write_lengths(alone, ipv6)?;
        let head = Head::to_protect(alone)?;
        if head.len != outer.len() {
            return Err(AhError::BadLength);
        }
        let protected = &mut buffer[start..packet.end];
        self.finish(protected, head, next_header)?;
        Ok(start..packet.end)
    }

    /// Writes AH between the head, which stands at the start of `packet`, and the payload, which stands at its end.
    fn finish(&self, packet: &mut [u8], head: Head, next_header: u8) -> Result<(), AhError> {
        write_lengths(packet, head.ipv6)?;
        packet[head.next_header_at] = PROTOCOL_AH;
        let covered = Covered::new(&head, packet)?;
        let seq = self.next_seq()?;
        let ah_len = ah_len(self.integrity(), head.ipv6);
        let (_, rest) = packet.split_at_mut(head.len);
        let (ah, payload) = rest.split_at_mut(ah_len);
        ah.fill(0);
        ah[0] = next_header;
        // RFC 4302 section 2.2: in 4-octet units, minus 2.
        ah[1] = (ah_len / 4 - 2) as u8;
        ah[4..8].copy_from_slice(&self.spi.to_be_bytes());
        ah[8..FIXED_LEN].copy_from_slice(&(seq as u32).to_be_bytes());
        let icv_len = self.integrity().icv_len();
        let mut icv = [0; super::LONGEST_ICV];
        let header = Header::new(self.spi, seq, self.esn);
        Parts { head: covered.as_slice(), ah, payload }
            .with(&header, icv_len, |parts| self.mac.write_icv(parts, &mut icv[..icv_len]));
        ah[FIXED_LEN..][..icv_len].copy_from_slice(&icv[..icv_len]);
        if !head.ipv6 {
            write_checksum(&mut packet[..head.len]);
        }
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(packet.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn next_seq(&self) -> Result<u64, SeqExhausted> {
        let limit = if self.esn { u64::MAX } else { u64::from(u32::MAX) };
        let next = |last: u64| (last < limit).then(|| last + 1);
        match self.last_seq.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(last) => Ok(last + 1),
            Err(_) => Err(SeqExhausted { left: 0 }),
        }
    }

    #[cfg(test)]
    pub(super) fn set_last_seq(&self, seq: u64) {
        self.last_seq.store(seq, Ordering::Relaxed);
    }
}

/// Makes the header say how long the packet is.
pub(super) fn write_lengths(packet: &mut [u8], ipv6: bool) -> Result<(), AhError> {
    let (at, stated) = if ipv6 { (4, packet.len().saturating_sub(40)) } else { (2, packet.len()) };
    let stated = u16::try_from(stated).map_err(|_| AhError::TooLong)?;
    let field = packet.get_mut(at..at + 2).ok_or(AhError::BadLength)?;
    field.copy_from_slice(&stated.to_be_bytes());
    Ok(())
}

pub(super) fn write_checksum(header: &mut [u8]) {
    header[10..12].fill(0);
    let sum = checksum(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

impl fmt::Debug for OutboundAh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutboundAh")
            .field("spi", &self.spi)
            .field("integrity", &self.integrity())
            .field("esn", &self.esn)
            .field("last_seq", &self.last_seq())
            .finish_non_exhaustive()
    }
}
