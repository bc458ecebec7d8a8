//! What probes cost on an uplink, with every header up to IP.

use std::time::Duration;

use crate::stamp;

/// Around a probe's STAMP packet.
const INNER_IPV6_UDP_BYTES: u64 = 40 + 8;
/// With its key (RFC 2890).
const GRE_BYTES: u64 = 8;
/// ESP with AES-GCM (RFC 4106) or ChaCha20-Poly1305 (RFC 7634): SPI, sequence number, IV, ICV; the trailer is counted apart.
const ESP_BYTES: u64 = 8 + 8 + 16;
/// Pad length and next header (RFC 4303 section 2), which padding brings to a multiple of 4.
const TRAILER_BYTES: u64 = 2;
const UDP_BYTES: u64 = 8;

/// One probe, or its reply, which is as long. `digest_entries`: paths that it tells of.
pub fn probe_bytes(digest_entries: usize, ipv6_underlay: bool) -> u64 {
    packet_bytes(INNER_IPV6_UDP_BYTES + stamp::request_bytes(digest_entries) as u64, ipv6_underlay)
}

/// Any inner packet of segment 0.
pub fn packet_bytes(inner_bytes: u64, ipv6_underlay: bool) -> u64 {
    let sealed = (GRE_BYTES + inner_bytes + TRAILER_BYTES).next_multiple_of(4);
    ESP_BYTES + sealed + UDP_BYTES + ip_bytes(ipv6_underlay)
}

/// A probe and its reply.
pub fn exchange_bytes(digest_entries: usize, ipv6_underlay: bool) -> u64 {
    2 * probe_bytes(digest_entries, ipv6_underlay)
}

/// A NAT keepalive: one octet in UDP (RFC 3948 section 2.3).
pub fn keepalive_bytes(ipv6_underlay: bool) -> u64 {
    1 + UDP_BYTES + ip_bytes(ipv6_underlay)
}

/// Of one path of a tunnel of `paths` paths, both ends probing at `interval`, both ways.
pub fn probe_bytes_per_path_per_day(paths: usize, ipv6_underlay: bool, interval: Duration) -> u64 {
    const DAY_US: u128 = 86_400_000_000;
    let exchange = u128::from(exchange_bytes(paths, ipv6_underlay));
    (2 * exchange * DAY_US / interval.as_micros().max(1)) as u64
}

fn ip_bytes(ipv6: bool) -> u64 {
    if ipv6 { 40 } else { 20 }
}
