//! AH, by scapy, which has mutable fields and options of its own.

use hawser_esp::Integrity;
use hawser_esp::ah::{AhKey, OutboundAh, ah_len};

use super::tools::{SPI, hex, inner, ip, scapy};

/// scapy's name of an integrity algorithm; `None` for SM3.
pub fn scapy_name(integrity: Integrity) -> Option<&'static str> {
    match integrity {
        Integrity::HmacSha256 => Some("SHA2-256-128"),
        Integrity::HmacSha512 => Some("SHA2-512-256"),
        Integrity::HmacSha1 => Some("HMAC-SHA1-96"),
        Integrity::HmacMd5 => Some("HMAC-MD5-96"),
        Integrity::HmacSm3Half | Integrity::HmacSm3Full => None,
    }
}

/// Octets of room before a packet: more than any outer header and AH take.
const ROOM: usize = 128;

fn key(integrity: Integrity) -> Vec<u8> {
    (0..integrity.key_len()).map(|at| (at * 29 + 5) as u8).collect()
}

fn case(integrity: Integrity, name: &str, esn: bool, packet: &[u8], expected: &[u8]) -> String {
    let high = if esn { "0" } else { "-" };
    let key = hex(&key(integrity));
    format!("AH {SPI:08x} - - {name} {key} {high} {} {}", hex(packet), hex(expected))
}

/// IPv4 with router alert, which stays, and record route, which may change.
fn with_options(packet: &[u8]) -> Vec<u8> {
    let options = [148, 4, 0, 0, 7, 7, 4, 10, 9, 8, 7, 1];
    let mut longer = [&packet[..20], &options, &packet[20..]].concat();
    longer[0] = 0x48;
    let len = longer.len() as u16;
    longer[2..4].copy_from_slice(&len.to_be_bytes());
    longer[10..12].fill(0);
    let sum = hawser_esp::checksum::checksum(&longer[..32]).to_be_bytes();
    longer[10..12].copy_from_slice(&sum);
    longer
}

/// IPv6 with a hop-by-hop header: router alert (RFC 2711), which stays, and an option that may change.
fn with_hop_by_hop(packet: &[u8]) -> Vec<u8> {
    let options = [packet[6], 1, 5, 2, 0, 0, 0x3e, 4, 1, 2, 3, 4, 1, 2, 0, 0];
    let mut longer = [&packet[..40], &options, &packet[40..]].concat();
    longer[6] = 0;
    let len = longer.len() as u16 - 40;
    longer[4..6].copy_from_slice(&len.to_be_bytes());
    longer
}

#[test]
fn scapy_verifies_ah_in_both_modes_both_families_and_with_options() {
    let udp = &inner(b"covered, not hidden")[20..];
    let plain = [
        ip(false, 17, udp),
        ip(true, 17, udp),
        with_options(&ip(false, 17, udp)),
        with_hop_by_hop(&ip(true, 17, udp)),
    ];
    let mut cases = Vec::new();
    for integrity in Integrity::ALL {
        let Some(name) = scapy_name(integrity) else { continue };
        for esn in [false, true] {
            let ah_key = AhKey::new(integrity, &key(integrity)).expect("the algorithm's length");
            let sa = OutboundAh::new(SPI, &ah_key, esn).expect("good parameters");
            for packet in &plain {
                let mut buffer = [&[0; ROOM], &packet[..]].concat();
                let end = buffer.len();
                let range = sa.protect(&mut buffer, ROOM..end).expect("it can be covered");
                let ipv6 = packet[0] >> 4 == 6;
                assert_eq!(range.len(), packet.len() + ah_len(integrity, ipv6));
                cases.push(case(integrity, name, esn, &buffer[range], packet));
            }
            for ipv6_outer in [false, true] {
                let mut outer = ip(ipv6_outer, 0, &[]);
                // scapy tells tunnel mode by the outer addresses.
                let last = outer.len() - 1;
                outer[last] = 99;
                let inner = inner(b"tunnelled");
                let mut buffer = [&[0; ROOM], &inner[..]].concat();
                let end = buffer.len();
                let range = sa.protect_tunnelled(&mut buffer, ROOM..end, &outer);
                let range = range.expect("it can be covered");
                cases.push(case(integrity, name, esn, &buffer[range], &inner));
            }
        }
    }
    assert_eq!(cases.len(), 4 * 2 * 6);
    scapy(&cases);
}
