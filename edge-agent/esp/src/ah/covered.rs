//! Where AH stands in a packet, and what of the headers before it is covered (RFC 4302 section 3.3.3.1 and
//! appendix A).
//!
//! | | taken as zero |
//! |---|---|
//! | IPv4 | DSCP, ECN, flags, fragment offset, TTL, header checksum; every option that is not known to stay (appendix A1) |
//! | IPv6 | DSCP, ECN, flow label, hop limit; the data of options whose type says that they may change |
//!
//! The destination is the final one: that of a source route's end where IPv4 has one.

use std::ops::Range;

use super::{AhError, PROTOCOL_AH};
use crate::ip::{Fragment, IpError, Ipv4, Ipv6, proto};

/// The longest headers before AH: an IPv6 header and 472 octets of extension headers.
pub(super) const MAX_HEAD: usize = 512;

/// The headers before AH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub ipv6: bool,
    /// Octets: AH stands, or is to stand, behind them.
    pub len: usize,
    /// Where the number of the header behind them stands.
    pub next_header_at: usize,
    /// Octets of the whole packet.
    pub total_len: usize,
}

impl Head {
    /// Of a packet that is to get an AH: behind what each hop and each router of a route reads (RFC 4302 section
    /// 3.1.1), before everything else.
    pub(super) fn to_protect(packet: &[u8]) -> Result<Head, AhError> {
        Head::walk(packet, |next_header, after| {
            matches!(next_header, proto::HOP_BY_HOP | proto::ROUTING)
                || next_header == proto::DESTINATION && after == proto::ROUTING
        })
    }

    /// Of a packet that has an AH.
    pub(super) fn of_protected(packet: &[u8]) -> Result<Head, AhError> {
        let head = Head::walk(packet, |next_header, _| {
            matches!(next_header, proto::HOP_BY_HOP | proto::ROUTING | proto::DESTINATION)
        })?;
        if packet[head.next_header_at] == PROTOCOL_AH { Ok(head) } else { Err(AhError::NoAh) }
    }

    /// `belongs` says of an extension header, by its number and that of the one behind, whether it stands before AH.
    fn walk(packet: &[u8], belongs: impl Fn(u8, u8) -> bool) -> Result<Head, AhError> {
        match packet.first().ok_or(IpError::Truncated)? >> 4 {
            4 => {
                let header = Ipv4::parse(packet)?;
                if header.fragment() != Fragment::Whole {
                    return Err(AhError::Fragment);
                }
                let (len, total_len) = (header.header_len(), header.total_len());
                Ok(Head { ipv6: false, len, next_header_at: 9, total_len })
            }
            6 => {
                let total_len = Ipv6::parse(packet)?.total_len();
                let mut head = Head { ipv6: true, len: Ipv6::LEN, next_header_at: 6, total_len };
                loop {
                    let next_header = packet[head.next_header_at];
                    if next_header == proto::FRAGMENT {
                        return Err(AhError::Fragment);
                    }
                    let extension = packet[head.len..total_len].first_chunk::<4>();
                    let Some([after, units, _, segments_left]) = extension.copied() else {
                        return Ok(head);
                    };
                    if !belongs(next_header, after) {
                        return Ok(head);
                    }
                    if next_header == proto::ROUTING && segments_left != 0 {
                        return Err(AhError::RoutingHeader);
                    }
                    (head.next_header_at, head.len) =
                        (head.len, head.len + (usize::from(units) + 1) * 8);
                    if head.len > total_len {
                        return Err(IpError::Truncated.into());
                    }
                    if head.len > MAX_HEAD {
                        return Err(AhError::HeadTooLong);
                    }
                }
            }
            _ => Err(IpError::Version.into()),
        }
    }
}

/// A copy of the headers before AH, as the ICV covers them.
pub(super) struct Covered {
    bytes: [u8; MAX_HEAD],
    len: usize,
}

impl Covered {
    /// `head` as it stands in the packet, with AH's number, the length of the protected packet, and its first octets.
    pub(super) fn new(head: &Head, packet: &[u8]) -> Result<Self, AhError> {
        let mut bytes = [0; MAX_HEAD];
        let covered = &mut bytes[..head.len];
        covered.copy_from_slice(&packet[..head.len]);
        if head.ipv6 {
            clear_v6(covered)?
        } else {
            clear_v4(covered)?
        }
        Ok(Covered { bytes, len: head.len })
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// RFC 4302 section 3.3.3.1.1.
fn clear_v4(header: &mut [u8]) -> Result<(), AhError> {
    header[1] = 0; // DSCP and ECN
    header[6..8].fill(0); // flags and fragment offset
    header[8] = 0; // TTL
    header[10..12].fill(0); // checksum
    let mut at = Ipv4::MIN_LEN;
    while at < header.len() {
        match header[at] {
            END_OF_OPTIONS => break,
            NO_OPERATION => at += 1,
            kind => {
                let option = option_range(header, at)?;
                if matches!(kind, LOOSE_ROUTE | STRICT_ROUTE) {
                    predict_destination(header, option.clone())?;
                }
                if !STAYS.contains(&kind) {
                    header[option.clone()].fill(0);
                }
                at = option.end;
            }
        }
    }
    Ok(())
}

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const LOOSE_ROUTE: u8 = 131;
const STRICT_ROUTE: u8 = 137;
/// Options that no router changes (appendix A1): security, extended security, commercial security, router alert, sender
/// directed multi-destination delivery.
const STAYS: [u8; 5] = [130, 133, 134, 148, 149];

fn option_range(header: &[u8], at: usize) -> Result<Range<usize>, AhError> {
    let len = usize::from(*header.get(at + 1).ok_or(AhError::BadOption)?);
    if len < 2 || at + len > header.len() { Err(AhError::BadOption) } else { Ok(at..at + len) }
}

/// While a source route has hops left, the last of them is the final destination (RFC 791 section 3.1).
fn predict_destination(header: &mut [u8], option: Range<usize>) -> Result<(), AhError> {
    let len = option.len();
    if len < 3 || !(len - 3).is_multiple_of(4) {
        return Err(AhError::BadOption);
    }
    let pointer = usize::from(header[option.start + 2]);
    if len > 3 && pointer <= len {
        header.copy_within(option.end - 4..option.end, 16);
    }
    Ok(())
}

/// RFC 4302 section 3.3.3.1.2.
fn clear_v6(headers: &mut [u8]) -> Result<(), AhError> {
    headers[0] &= 0xf0; // DSCP and ECN
    headers[1..4].fill(0); // and the flow label
    headers[7] = 0; // hop limit
    let (mut at, mut number) = (Ipv6::LEN, headers[6]);
    while at < headers.len() {
        let end = at + (usize::from(headers[at + 1]) + 1) * 8;
        if matches!(number, proto::HOP_BY_HOP | proto::DESTINATION) {
            clear_options_v6(&mut headers[at + 2..end])?;
        }
        (number, at) = (headers[at], end);
    }
    Ok(())
}

/// RFC 8200 section 4.2: the third-highest bit of an option's type says that its data may change on the way.
fn clear_options_v6(options: &mut [u8]) -> Result<(), AhError> {
    const PAD_ONE: u8 = 0;
    const MAY_CHANGE: u8 = 0x20;
    let mut at = 0;
    while at < options.len() {
        if options[at] == PAD_ONE {
            at += 1;
            continue;
        }
        let len = usize::from(*options.get(at + 1).ok_or(AhError::BadOption)?);
        let (data, end) = (at + 2, at + 2 + len);
        let may_change = options[at] & MAY_CHANGE != 0;
        let data = options.get_mut(data..end).ok_or(AhError::BadOption)?;
        if may_change {
            data.fill(0);
        }
        at = end;
    }
    Ok(())
}
