//! Fragmentation of IPv4 packets that may be (RFC 791 section 3.2), before they are sealed.

use super::{Ipv4, be16, put16};
use crate::checksum::checksum;

const MORE_FRAGMENTS: u16 = 0x2000;
const DONT_FRAGMENT: u16 = 0x4000;
const OFFSET: u16 = 0x1fff;
/// An option with this bit is in every fragment, the others in the first alone (RFC 791 section 3.1).
const COPIED: u8 = 0x80;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAX_HEADER_BYTES: usize = 60;

/// A packet that is cut. It may be a fragment itself.
#[derive(Debug, Clone)]
pub struct Fragments<'a> {
    header: &'a [u8],
    data: &'a [u8],
    /// The header of all fragments but the first.
    later: [u8; MAX_HEADER_BYTES],
    later_len: usize,
    /// Octets of data in each fragment but the last; a multiple of 8.
    first_data: usize,
    later_data: usize,
}

impl<'a> Fragments<'a> {
    /// Cuts the packet into pieces of at most `mtu_bytes`; `None` if it is not IPv4, must not be fragmented, or the
    /// MTU holds no header and eight octets. The packet's checksums must be complete.
    pub fn new(packet: &'a [u8], mtu_bytes: usize) -> Option<Fragments<'a>> {
        let ipv4 = Ipv4::parse(packet).ok()?;
        if ipv4.dont_fragment() {
            return None;
        }
        let (header, data) = packet[..ipv4.total_len()].split_at(ipv4.header_len());
        let (later, later_len) = later_header(header);
        let room = |header_len: usize| mtu_bytes.saturating_sub(header_len) / 8 * 8;
        let (first_data, later_data) = (room(header.len()), room(later_len));
        let fits = first_data >= 8 && later_data >= 8;
        fits.then_some(Fragments { header, data, later, later_len, first_data, later_data })
    }

    pub fn count(&self) -> usize {
        let after_first = self.data.len().saturating_sub(self.first_data);
        1 + after_first.div_ceil(self.later_data)
    }

    /// Octets of fragment `index`; 0 if there is none.
    pub fn len_of(&self, index: usize) -> usize {
        self.part(index).map_or(0, |(header, _, data)| header.len() + data.len())
    }

    /// Writes fragment `index` to the start of `out`; gives its length. `None` if there is none, or `out` is shorter.
    pub fn write(&self, index: usize, out: &mut [u8]) -> Option<usize> {
        let (header, offset, data) = self.part(index)?;
        let total = header.len() + data.len();
        let out = out.get_mut(..total)?;
        out[..header.len()].copy_from_slice(header);
        out[header.len()..].copy_from_slice(data);
        // Of the packet itself: it may be a fragment that is not the first or not the last.
        let word = be16(self.header, 6);
        let more = index + 1 < self.count() || word & MORE_FRAGMENTS != 0;
        let place = (word & OFFSET).wrapping_add((offset / 8) as u16) & OFFSET;
        let word = place | if more { MORE_FRAGMENTS } else { 0 };
        out[0] = 0x40 | (header.len() / 4) as u8;
        put16(out, 2, total as u16);
        put16(out, 6, word & !DONT_FRAGMENT);
        put16(out, 10, 0);
        let sum = checksum(&out[..header.len()]);
        put16(out, 10, sum);
        Some(total)
    }

    /// Header, offset of the data, data.
    fn part(&self, index: usize) -> Option<(&[u8], usize, &'a [u8])> {
        let (header, start, room) = match index {
            0 => (self.header, 0, self.first_data),
            _ => {
                let start = self.first_data + (index - 1).checked_mul(self.later_data)?;
                (&self.later[..self.later_len], start, self.later_data)
            }
        };
        let exists = start < self.data.len() || index == 0;
        let end = self.data.len().min(start + room);
        exists.then(|| (header, start, &self.data[start..end]))
    }
}

/// The header without the options that stand in the first fragment alone.
fn later_header(header: &[u8]) -> ([u8; MAX_HEADER_BYTES], usize) {
    let mut later = [0; MAX_HEADER_BYTES];
    later[..Ipv4::MIN_LEN].copy_from_slice(&header[..Ipv4::MIN_LEN]);
    let (mut at, mut len) = (Ipv4::MIN_LEN, Ipv4::MIN_LEN);
    while let Some(&kind) = header.get(at) {
        let option_len = match kind {
            END_OF_OPTIONS => break,
            NO_OPERATION => 1,
            _ => match header.get(at + 1) {
                Some(&stated) if stated >= 2 => usize::from(stated),
                _ => break,
            },
        };
        let Some(option) = header.get(at..at + option_len) else { break };
        if kind & COPIED != 0 {
            later[len..len + option_len].copy_from_slice(option);
            len += option_len;
        }
        at += option_len;
    }
    // What is left of the last word is zero: the end of options.
    (later, len.next_multiple_of(4))
}

#[cfg(test)]
mod tests;
