use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// A UDP packet of that length, from 10.1.0.1 to 10.2.0.1 or fd00:1::1 to fd00:2::1.
fn udp(ipv6: bool, len: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; len];
    if ipv6 {
        packet[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, proto::UDP, 63]);
        put16(&mut packet, 4, (len - 40) as u16);
        packet[8..24].copy_from_slice(&"fd00:1::1".parse::<Ipv6Addr>().unwrap().octets());
        packet[24..40].copy_from_slice(&"fd00:2::1".parse::<Ipv6Addr>().unwrap().octets());
    } else {
        packet[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 9, 0x40, 0, 63, proto::UDP, 0, 0]);
        put16(&mut packet, 2, len as u16);
        packet[12..16].copy_from_slice(&[10, 1, 0, 1]);
        packet[16..20].copy_from_slice(&[10, 2, 0, 1]);
    }
    packet
}

fn error(packet: &[u8], mtu: usize) -> Option<Vec<u8>> {
    let mut out = [0xee; MAX_ERROR_BYTES];
    too_big(packet, mtu, &mut out).map(|len| out[..len].to_vec())
}

#[test]
fn rfc_1191_the_next_hops_mtu_and_the_packet_go_back_to_the_sender() {
    let packet = udp(false, 1_400);
    let error = error(&packet, 1_386).unwrap();
    assert_eq!(error.len(), 576);
    let parsed = Packet::parse(&error).unwrap();
    assert_eq!(parsed.dst(), IpAddr::from(Ipv4Addr::new(10, 1, 0, 1)));
    assert_eq!(parsed.proto(), proto::ICMP);
    assert_eq!(error[20..28], [3, 4, error[22], error[23], 0, 0, 0x05, 0x6a]);
    assert_eq!(checksum(&error[..20]), 0, "the header's checksum");
    assert_eq!(checksum(&error[20..]), 0, "ICMP's checksum");
    assert_eq!(error[28..], packet[..548]);
}

#[test]
fn rfc_4443_as_much_of_the_packet_as_fits_the_least_mtu() {
    let packet = udp(true, 1_500);
    let error = error(&packet, 1_386).unwrap();
    assert_eq!(error.len(), 1_280);
    let parsed = Packet::parse(&error).unwrap();
    assert_eq!(parsed.dst(), IpAddr::from("fd00:1::1".parse::<Ipv6Addr>().unwrap()));
    assert_eq!(error[40..42], [2, 0]);
    assert_eq!(error[44..48], 1_386_u32.to_be_bytes());
    assert_eq!(error[48..], packet[..1_232]);
    let (src, dst) = match (parsed.src(), parsed.dst()) {
        (IpAddr::V6(src), IpAddr::V6(dst)) => (src, dst),
        other => panic!("{other:?}"),
    };
    let sum = Sum::pseudo_v6(src, dst, proto::ICMPV6, 1_240).and(Sum::of(&error[40..]));
    assert_eq!(sum.finish(), 0);
}

#[test]
fn what_deserves_no_error_gets_none() {
    let changed = |ipv6: bool, change: fn(&mut Vec<u8>)| {
        let mut packet = udp(ipv6, 1_400);
        change(&mut packet);
        error(&packet, 1_300)
    };
    assert!(changed(false, |_| ()).is_some() && changed(true, |_| ()).is_some());
    for (what, none) in [
        ("may be fragmented", changed(false, |p| p[6] = 0)),
        ("a later fragment", changed(false, |p| p[7] = 9)),
        ("to all", changed(false, |p| p[16..20].fill(255))),
        ("to many", changed(false, |p| p[16] = 224)),
        ("from nobody", changed(false, |p| p[12..16].fill(0))),
        ("an ICMP error", changed(false, |p| (p[9], p[20]) = (proto::ICMP, 3))),
        ("an ICMPv6 error", changed(true, |p| (p[6], p[40]) = (proto::ICMPV6, 1))),
        ("to many, IPv6", changed(true, |p| p[24] = 0xff)),
    ] {
        assert_eq!(none, None, "{what}");
    }
    assert!(changed(false, |p| (p[9], p[20]) = (proto::ICMP, 8)).is_some(), "an echo request");
    assert!(changed(true, |p| (p[6], p[40]) = (proto::ICMPV6, 128)).is_some(), "an echo request");
}

proptest! {
    #[test]
    fn no_error_answers_an_error_and_any_bytes_are_safe(
        bytes in prop::collection::vec(any::<u8>(), 0..200), mtu in any::<usize>(),
    ) {
        if let Some(first) = error(&bytes, mtu) {
            prop_assert_eq!(error(&first, mtu), None);
        }
    }
}
