//! The internet checksum: RFC 1071, incremental updates by RFC 1624.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A sum of 16-bit big-endian words, not yet folded or complemented. A `Sum` of at most 2^16
/// pieces never overflows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Sums octets; an odd one at the end counts as the high half of a word.
    pub fn of(bytes: &[u8]) -> Sum {
        // The sum is the same in any byte order (RFC 1071 section 2 B), so native 32-bit words are
        // added into 64 bits: no carry to bring around, and eight lanes that vectorise.
        let mut lanes = [0_u64; 8];
        let mut chunks = bytes.chunks_exact(32);
        for chunk in &mut chunks {
            for (lane, word) in lanes.iter_mut().zip(chunk.chunks_exact(4)) {
                *lane += u64::from(native_u32(word));
            }
        }
        let mut acc: u64 = lanes.iter().sum();
        let mut words = chunks.remainder().chunks_exact(4);
        for word in &mut words {
            acc += u64::from(native_u32(word));
        }
        let rest = words.remainder();
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        acc += u64::from(u32::from_ne_bytes(last));
        Sum(u64::from(u16::from_be(fold(acc))))
    }

    /// The pseudo-header of IPv4 (RFC 9293 section 3.1).
    pub fn pseudo_v4(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, len: usize) -> Sum {
        Sum::of(&src.octets()).and(Sum::of(&dst.octets())).and_protocol(proto, len)
    }

    /// The pseudo-header of IPv6 (RFC 8200 section 8.1).
    pub fn pseudo_v6(src: Ipv6Addr, dst: Ipv6Addr, proto: u8, len: usize) -> Sum {
        Sum::of(&src.octets()).and(Sum::of(&dst.octets())).and_protocol(proto, len)
    }

    /// Both together. What `other` was summed from starts at an even octet.
    pub fn and(self, other: Sum) -> Sum {
        Sum(self.0 + other.0)
    }

    /// The part of a pseudo-header after the addresses.
    pub(crate) fn and_protocol(self, proto: u8, len: usize) -> Sum {
        Sum(self.0 + u64::from(proto) + (len as u64 & 0xffff) + (len as u64 >> 16 & 0xffff))
    }

    /// Folded, not complemented: what a checksum field holds when someone else finishes it.
    pub fn partial(self) -> u16 {
        fold(self.0)
    }

    /// Folded and complemented: the checksum.
    pub fn finish(self) -> u16 {
        !fold(self.0)
    }
}

/// The checksum of `bytes` alone.
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::of(bytes).finish()
}

/// The checksum after a word that it covers changed (RFC 1624 equation 3).
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

/// Two octets changed at `offset` from the start of what the checksum covers: at an odd offset each
/// counts in the other half of a word.
pub(crate) fn update_at(checksum: u16, offset: usize, old: u16, new: u16) -> u16 {
    if offset.is_multiple_of(2) {
        update(checksum, old, new)
    } else {
        update(checksum, old.swap_bytes(), new.swap_bytes())
    }
}

fn native_u32(word: &[u8]) -> u32 {
    u32::from_ne_bytes([word[0], word[1], word[2], word[3]])
}

fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests;
