//! Where the parts of an ESP datagram stand, by suite and by carrier.
//!
//! ```text
//! [SPI 4][seq 4][IV 0, 8 or 16][payload][TFC][padding 1,2,3..][pad length 1][next header 1][ICV 12, 16 or 32]
//! ```

use crate::wire::{ESP_HEADER_LEN, TRAILER_LEN, UDP_LEN, outer_ip_len};

/// The sizes that a suite fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Octets of the explicit IV.
    pub iv_len: usize,
    /// Octets of the integrity check value.
    pub icv_len: usize,
    /// Payload, padding and trailer together are a multiple of this: the cipher's block, at least 4 (RFC 4303
    /// section 2.4).
    pub alignment: usize,
}

/// What stands between the outer IP header and ESP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// UDP (RFC 3948).
    Udp,
    /// Nothing: ESP is the IP protocol, 50.
    Raw,
}

impl Carrier {
    pub const fn header_len(self) -> usize {
        match self {
            Carrier::Udp => UDP_LEN,
            Carrier::Raw => 0,
        }
    }
}

impl Layout {
    /// Where the payload starts in a datagram.
    pub const fn payload_offset(self) -> usize {
        ESP_HEADER_LEN + self.iv_len
    }

    /// What the cipher processes for a payload: payload, padding, trailer.
    pub const fn text_len(self, payload_len: usize) -> usize {
        (payload_len + TRAILER_LEN).next_multiple_of(self.alignment)
    }

    /// Length of the ESP datagram of a payload.
    pub const fn sealed_len(self, payload_len: usize) -> usize {
        self.payload_offset() + self.text_len(payload_len) + self.icv_len
    }

    /// The shortest datagram: an empty payload.
    pub const fn min_datagram_len(self) -> usize {
        self.sealed_len(0)
    }

    /// The longest payload whose datagram fits in `room` octets; 0 if none does.
    pub const fn max_payload(self, room: usize) -> usize {
        let text = room.saturating_sub(self.payload_offset() + self.icv_len);
        (text - text % self.alignment).saturating_sub(TRAILER_LEN)
    }

    /// The longest inner packet whose outer packet fits in `outer_mtu`; 0 if none does. `shim_len` is what
    /// stands between ESP and the inner packet: a GRE header, or nothing in tunnel mode.
    pub const fn inner_mtu(
        self,
        outer_mtu: usize,
        ipv6_outer: bool,
        carrier: Carrier,
        shim_len: usize,
    ) -> usize {
        let room = outer_mtu.saturating_sub(outer_ip_len(ipv6_outer) + carrier.header_len());
        self.max_payload(room).saturating_sub(shim_len)
    }
}

#[cfg(test)]
mod tests;
