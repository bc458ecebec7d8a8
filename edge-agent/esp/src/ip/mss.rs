//! MSS clamp: TCP inside the tunnel never asks for segments that don't fit its inner MTU.

use super::{Fragment, Packet, Tcp, be16, proto, put16, tcp_flags};
use crate::checksum::update_at;
use crate::wire::tcp_mss;

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
const CHECKSUM_AT: usize = 16;

/// What the clamp did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MssClamp {
    /// No SYN, no MSS option, or an MSS that fits.
    Unchanged,
    Clamped {
        from: u16,
        to: u16,
    },
}

/// Lowers the MSS option of a SYN (with or without ACK) to what fits in `inner_mtu` octets without
/// options, and corrects the checksum. The checksum must be complete: finish what a TUN left
/// partial first. A SYN without the option is left alone: its default (RFC 9293 section 3.7.1)
/// of 536, or 1220 over IPv6, is the receiver's word for it. Any bytes are safe.
pub fn clamp_mss(packet: &mut [u8], inner_mtu: usize) -> MssClamp {
    let Some((tcp_at, mss_at, to)) = locate(packet, inner_mtu) else {
        return MssClamp::Unchanged;
    };
    let tcp = &mut packet[tcp_at..];
    let from = be16(tcp, mss_at);
    if from <= to {
        return MssClamp::Unchanged;
    }
    put16(tcp, mss_at, to);
    let checksum = update_at(be16(tcp, CHECKSUM_AT), mss_at, from, to);
    put16(tcp, CHECKSUM_AT, checksum);
    MssClamp::Clamped { from, to }
}

/// Where the TCP header starts, where in it the MSS stands, and the limit.
fn locate(packet: &[u8], inner_mtu: usize) -> Option<(usize, usize, u16)> {
    let packet = Packet::parse(packet).ok()?;
    if packet.proto() != proto::TCP || packet.fragment() == Fragment::Later {
        return None;
    }
    let tcp = packet.tcp()?;
    if tcp.flags() & tcp_flags::SYN == 0 {
        return None;
    }
    let mss_at = Tcp::MIN_LEN + mss_offset(tcp.options())?;
    Some((packet.transport_offset(), mss_at, tcp_mss(inner_mtu, packet.is_ipv6())))
}

/// The offset of the MSS value in the options (RFC 9293 section 3.1).
fn mss_offset(options: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *options.get(at)? {
            END_OF_OPTIONS => return None,
            NO_OPERATION => at += 1,
            kind => {
                let len = usize::from(*options.get(at + 1)?);
                if len < 2 || at + len > options.len() {
                    return None;
                }
                if kind == MAXIMUM_SEGMENT_SIZE && len == 4 {
                    return Some(at + 2);
                }
                at += len;
            }
        }
    }
}
