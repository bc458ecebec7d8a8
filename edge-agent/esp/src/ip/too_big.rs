//! The ICMP error that tells a sender of a packet that does not fit: RFC 1191 section 4, RFC 4443 section 3.2.

use std::net::IpAddr;

use super::{Fragment, Header, Ipv4, Ipv6, Packet, proto, put16};
use crate::checksum::{Sum, checksum};

/// The most that an error may be long: RFC 1812 section 4.3.2.3, RFC 4443 section 2.4 (c).
const MAX_V4_BYTES: usize = 576;
const MAX_V6_BYTES: usize = 1_280;
/// Room for the longest error.
pub const MAX_ERROR_BYTES: usize = MAX_V6_BYTES;

/// Type, code, checksum, and four octets that end in the MTU.
const ICMP_BYTES: usize = 8;
const HOP_LIMIT: u8 = 64;

const DESTINATION_UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const PACKET_TOO_BIG: u8 = 2;

/// Writes to `out` the error that `packet`, longer than `mtu_bytes`, deserves; gives its length. `None` if it deserves
/// none (RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 (e)): an ICMP error itself, a later fragment, from or to no
/// single host, or one that routers may fragment.
///
/// The error comes from the packet's own destination. A router would give an address of its own, but the edge may have
/// none that is valid in the segment, and an address of its own coming in by the TUN would be a martian to its kernel.
/// Hosts look at the quoted packet, not at who sends the error.
pub fn too_big(packet: &[u8], mtu_bytes: usize, out: &mut [u8; MAX_ERROR_BYTES]) -> Option<usize> {
    let parsed = Packet::parse(packet).ok()?;
    let (src, dst) = (parsed.src(), parsed.dst());
    if parsed.fragment() == Fragment::Later
        || !is_one_host(src)
        || !is_one_host(dst)
        || is_icmp_error(&parsed)
    {
        return None;
    }
    match (parsed.header(), src, dst) {
        (Header::V4(header), IpAddr::V4(src), IpAddr::V4(dst)) => {
            if !header.dont_fragment() {
                return None;
            }
            let quoted = parsed.bytes().len().min(MAX_V4_BYTES - Ipv4::MIN_LEN - ICMP_BYTES);
            let total = Ipv4::MIN_LEN + ICMP_BYTES + quoted;
            let (ip, icmp) = out[..total].split_at_mut(Ipv4::MIN_LEN);
            write_icmp(
                icmp,
                DESTINATION_UNREACHABLE,
                FRAGMENTATION_NEEDED,
                mtu_bytes,
                parsed.bytes(),
            );
            let sum = checksum(icmp);
            put16(icmp, 2, sum);
            ip.copy_from_slice(&[0; Ipv4::MIN_LEN]);
            ip[0] = 0x45;
            // RFC 1812 section 4.3.2.5: internetwork control.
            ip[1] = 0xc0;
            put16(ip, 2, total as u16);
            (ip[8], ip[9]) = (HOP_LIMIT, proto::ICMP);
            ip[12..16].copy_from_slice(&dst.octets());
            ip[16..20].copy_from_slice(&src.octets());
            let sum = checksum(ip);
            put16(ip, 10, sum);
            Some(total)
        }
        (Header::V6(_), IpAddr::V6(src), IpAddr::V6(dst)) => {
            let quoted = parsed.bytes().len().min(MAX_V6_BYTES - Ipv6::LEN - ICMP_BYTES);
            let total = Ipv6::LEN + ICMP_BYTES + quoted;
            let (ip, icmp) = out[..total].split_at_mut(Ipv6::LEN);
            write_icmp(icmp, PACKET_TOO_BIG, 0, mtu_bytes, parsed.bytes());
            let pseudo = Sum::pseudo_v6(dst, src, proto::ICMPV6, icmp.len());
            let sum = pseudo.and(Sum::of(icmp)).finish();
            put16(icmp, 2, sum);
            ip[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, proto::ICMPV6, HOP_LIMIT]);
            put16(ip, 4, icmp.len() as u16);
            ip[8..24].copy_from_slice(&dst.octets());
            ip[24..40].copy_from_slice(&src.octets());
            Some(total)
        }
        _ => None,
    }
}

fn write_icmp(icmp: &mut [u8], kind: u8, code: u8, mtu_bytes: usize, packet: &[u8]) {
    // Of both families the MTU ends the second word; IPv4's has 16 bits.
    let mtu = u32::try_from(mtu_bytes).unwrap_or(u32::MAX).min(u32::from(u16::MAX));
    icmp[..4].copy_from_slice(&[kind, code, 0, 0]);
    icmp[4..ICMP_BYTES].copy_from_slice(&mtu.to_be_bytes());
    let quoted = icmp.len() - ICMP_BYTES;
    icmp[ICMP_BYTES..].copy_from_slice(&packet[..quoted]);
}

fn is_one_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() && !broadcast
}

/// What can't be told from an error is taken for one.
fn is_icmp_error(packet: &Packet<'_>) -> bool {
    let kind = packet.transport().first().copied();
    match packet.proto() {
        // Echo, router solicitation, timestamp, information and address mask are questions and answers.
        proto::ICMP => !matches!(kind, Some(0 | 8 | 9 | 10 | 13..=18)),
        proto::ICMPV6 => kind.is_none_or(|kind| kind < 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
