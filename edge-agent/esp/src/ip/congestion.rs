//! Marks of congestion across a tunnel: RFC 6040, normal mode. On the way in the outer header takes the inner one's
//! DSCP and ECN; here is the way out.

use super::{be16, put16};
use crate::checksum::update;

/// ECN (RFC 3168 section 5).
pub mod ecn {
    pub const MASK: u8 = 0b11;
    pub const NOT_ECT: u8 = 0b00;
    pub const ECT_1: u8 = 0b01;
    pub const ECT_0: u8 = 0b10;
    pub const CE: u8 = 0b11;
}

/// What the outer header asks of the inner packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decapsulated {
    Unchanged,
    /// The inner packet got the outer one's mark.
    Marked,
    /// Congestion was met by a packet whose sender can't be told: it is dropped, which tells (RFC 6040 section 4.2).
    Dropped,
}

/// Gives the inner packet the mark that its outer header came with. DSCP stays the inner one's. Any bytes are safe.
#[inline]
pub fn decapsulate_ecn(packet: &mut [u8], outer: u8) -> Decapsulated {
    // RFC 6040 figure 4: only these two marks of the outer header ever change the inner one.
    match outer & ecn::MASK {
        ecn::CE | ecn::ECT_1 => combine(packet, outer & ecn::MASK),
        _ => Decapsulated::Unchanged,
    }
}

fn combine(packet: &mut [u8], outer: u8) -> Decapsulated {
    let Some(inner) = inner_ecn(packet) else { return Decapsulated::Unchanged };
    let mark = match (inner, outer) {
        (ecn::NOT_ECT, ecn::CE) => return Decapsulated::Dropped,
        (ecn::NOT_ECT, _) | (ecn::CE, _) => inner,
        (_, ecn::CE) => ecn::CE,
        _ => ecn::ECT_1,
    };
    if mark == inner {
        return Decapsulated::Unchanged;
    }
    if packet[0] >> 4 == 4 {
        let before = be16(packet, 0);
        packet[1] = packet[1] & !ecn::MASK | mark;
        let sum = update(be16(packet, 10), before, be16(packet, 0));
        put16(packet, 10, sum);
    } else {
        // The traffic class lies across the first two octets.
        packet[1] = packet[1] & !(ecn::MASK << 4) | mark << 4;
    }
    Decapsulated::Marked
}

fn inner_ecn(packet: &[u8]) -> Option<u8> {
    match packet.first()? >> 4 {
        4 if packet.len() >= 20 => Some(packet[1] & ecn::MASK),
        6 if packet.len() >= 40 => Some(packet[1] >> 4 & ecn::MASK),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
