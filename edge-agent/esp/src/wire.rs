//! Sizes on the wire.

/// SPI and sequence number (RFC 4303 section 2).
pub const ESP_HEADER_LEN: usize = 8;
/// Explicit IV (RFC 4106 section 3.1, RFC 7634 section 2).
pub const IV_LEN: usize = 8;
/// Integrity check value of every suite.
pub const ICV_LEN: usize = 16;
/// Where the payload of ESP starts in a datagram: the GRE header.
pub const PAYLOAD_OFFSET: usize = ESP_HEADER_LEN + IV_LEN;
/// GRE header with key (RFC 2890).
pub const GRE_LEN: usize = 8;
/// The same with a sequence number.
pub const GRE_SEQUENCED_LEN: usize = 12;
/// Where the inner IP packet starts in a datagram.
pub const INNER_OFFSET: usize = PAYLOAD_OFFSET + GRE_LEN;
/// Pad length and next header, one octet each.
pub const TRAILER_LEN: usize = 2;
/// Payload and trailer end on a multiple of this (RFC 4303 section 2.4).
pub const ALIGNMENT: usize = 4;
/// The shortest datagram that can be ESP of ours: an empty payload.
pub const MIN_DATAGRAM_LEN: usize = PAYLOAD_OFFSET + ALIGNMENT + ICV_LEN;
/// UDP header of the encapsulation (RFC 3948).
pub const UDP_LEN: usize = 8;

/// The protocol number of GRE: the next header of our ESP.
pub const NEXT_HEADER_GRE: u8 = 47;

/// Octets of the outer IP header, without options or extension headers.
pub const fn outer_ip_len(ipv6_outer: bool) -> usize {
    if ipv6_outer { 40 } else { 20 }
}

/// Length of the ESP datagram (the payload of the outer UDP) for a payload of ESP (GRE header and
/// inner packet) of `payload_len` octets.
pub const fn sealed_len(payload_len: usize) -> usize {
    PAYLOAD_OFFSET + (payload_len + TRAILER_LEN).next_multiple_of(ALIGNMENT) + ICV_LEN
}

/// What the tunnel adds to an inner packet of `inner_len` octets: outer IP, UDP, ESP, GRE, padding.
pub const fn overhead(inner_len: usize, ipv6_outer: bool) -> usize {
    outer_ip_len(ipv6_outer) + UDP_LEN + sealed_len(GRE_LEN + inner_len) - inner_len
}

/// The longest inner packet whose outer packet fits in `outer_mtu` octets; 0 if none does.
pub const fn inner_mtu(outer_mtu: usize, ipv6_outer: bool) -> usize {
    inner_mtu_of(outer_mtu, ipv6_outer, GRE_LEN)
}

/// The same for packets with a GRE sequence number.
pub const fn inner_mtu_sequenced(outer_mtu: usize, ipv6_outer: bool) -> usize {
    inner_mtu_of(outer_mtu, ipv6_outer, GRE_SEQUENCED_LEN)
}

const fn inner_mtu_of(outer_mtu: usize, ipv6_outer: bool, gre_len: usize) -> usize {
    let fixed = outer_ip_len(ipv6_outer) + UDP_LEN + PAYLOAD_OFFSET + ICV_LEN;
    let room = outer_mtu.saturating_sub(fixed);
    (room - room % ALIGNMENT).saturating_sub(TRAILER_LEN + gre_len)
}

/// The MSS of TCP inside packets of `inner_mtu` octets, at most 65,535; no options counted
/// (RFC 6691).
pub const fn tcp_mss(inner_mtu: usize, ipv6_inner: bool) -> u16 {
    let headers = if ipv6_inner { 60 } else { 40 };
    let mss = inner_mtu.saturating_sub(headers);
    if mss > u16::MAX as usize { u16::MAX } else { mss as u16 }
}

#[cfg(test)]
mod tests;
