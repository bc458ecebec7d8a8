use proptest::prelude::*;

use super::*;
use crate::checksum::checksum;
use crate::drops::DropReason;
use crate::ip::IpError;
use crate::ip::{Packet, proto};
use crate::sa::{MIN_SPI, SaError, SeqExhausted};

const SPI: u32 = 0x5150_4f4e;
const ROOM: usize = 128;

fn key(integrity: Integrity) -> AhKey {
    let bytes: Vec<u8> = (0..integrity.key_len() as u8).map(|at| at ^ 0x6b).collect();
    AhKey::new(integrity, &bytes).unwrap()
}

fn ends(integrity: Integrity, esn: bool, mode: AhMode) -> (OutboundAh, InboundAh) {
    let key = key(integrity);
    let inbound = InboundAh::new(SPI, &key, esn, 64, mode).unwrap();
    (OutboundAh::new(SPI, &key, esn).unwrap(), inbound)
}

fn v4(options: &[u8], payload: &[u8]) -> Vec<u8> {
    let (header_len, len) = (20 + options.len(), 20 + options.len() + payload.len());
    let mut packet = vec![0x40 | (header_len / 4) as u8, 0xb8, 0, 0, 0x12, 0x34, 0x40, 0];
    packet.extend([61, proto::UDP, 0, 0, 10, 1, 0, 9, 10, 2, 0, 7]);
    packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    packet.extend(options);
    let sum = checksum(&packet).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    packet.extend(payload);
    packet
}

/// Extension headers as (number, octets after the next-header field).
fn v6(extensions: &[(u8, &[u8])], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x6b, 0x8a, 0xbc, 0xde, 0, 0, 0, 61];
    packet.extend([0x20; 16]);
    packet.extend([0x30; 16]);
    let mut next_header_at = 6;
    for (number, rest) in extensions {
        packet[next_header_at] = *number;
        next_header_at = packet.len();
        packet.push(0);
        packet.extend(*rest);
    }
    packet[next_header_at] = proto::UDP;
    packet.extend(payload);
    let len = packet.len() as u16 - 40;
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    packet
}

fn protected(outbound: &OutboundAh, packet: &[u8]) -> Result<Vec<u8>, AhError> {
    let mut buffer = [&[0xee; ROOM], packet].concat();
    let range = outbound.protect(&mut buffer, ROOM..ROOM + packet.len())?;
    Ok(buffer[range].to_vec())
}

/// Routers of the way: they lower the hop limit, mark, and count the checksum anew.
fn forwarded(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        packet[1] = 0x2b;
        packet[6] ^= 0x40;
        packet[8] -= 9;
        let header_len = usize::from(packet[0] & 0xf) * 4;
        outbound::write_checksum(&mut packet[..header_len]);
    } else {
        packet[..4].copy_from_slice(&[0x60, 0x11, 0x22, 0x33]);
        packet[7] -= 9;
    }
    packet
}

#[test]
fn a_packet_comes_out_as_it_was_but_for_what_changed_on_the_way() {
    for integrity in Integrity::ALL {
        for esn in [false, true] {
            for packet in [v4(&[], b"data"), v6(&[], b"data"), v4(&[], b""), v6(&[], &[7; 1400])] {
                let (outbound, inbound) = ends(integrity, esn, AhMode::Transport);
                let on_wire = protected(&outbound, &packet).unwrap();
                let ipv6 = packet[0] >> 4 == 6;
                assert_eq!(on_wire.len(), packet.len() + ah_len(integrity, ipv6));
                let view = Packet::parse(&on_wire).unwrap();
                assert_eq!(view.bytes().len(), on_wire.len());
                if !ipv6 {
                    assert_eq!((view.proto(), checksum(&on_wire[..20])), (PROTOCOL_AH, 0));
                }
                let mut received = forwarded(&on_wire);
                let opened = inbound.open(&mut received).unwrap();
                assert_eq!((opened.seq, opened.newest), (1, true));
                assert_eq!(received[opened.packet], forwarded(&packet), "{integrity:?}");
            }
        }
    }
}

#[test]
fn tunnel_mode_carries_any_version_in_any() {
    for integrity in Integrity::ALL {
        for inner in [v4(&[], &[1; 100]), v6(&[], &[2; 100])] {
            for outer in [v4(&[], &[]), v6(&[], &[])] {
                let (outbound, inbound) = ends(integrity, true, AhMode::Tunnel);
                let mut buffer = [&[0; ROOM], &inner[..], b"behind"].concat();
                let at = ROOM..ROOM + inner.len();
                let range = outbound.protect_tunnelled(&mut buffer, at, &outer).unwrap();
                let mut received = forwarded(&buffer[range]);
                let opened = inbound.open(&mut received).unwrap();
                assert_eq!(received[opened.packet], inner);
                assert!(buffer.ends_with(b"behind"));
            }
        }
    }
}

#[test]
fn the_header_is_that_of_rfc_4302_section_2() {
    let (outbound, _) = ends(Integrity::HmacSha256, true, AhMode::Transport);
    let packet = protected(&outbound, &v6(&[], b"data")).unwrap();
    // 12 + 16 octets, padded to 32 in IPv6: 8 units, minus 2.
    assert_eq!(packet[6], 51);
    assert_eq!(packet[40..52], [17, 6, 0, 0, 0x51, 0x50, 0x4f, 0x4e, 0, 0, 0, 1]);
    assert_eq!(packet[68..72], [0; 4]);
    let packet = protected(&outbound, &v4(&[], b"data")).unwrap();
    // 28 octets in IPv4: 7 units, minus 2.
    assert_eq!(packet[20..32], [17, 5, 0, 0, 0x51, 0x50, 0x4f, 0x4e, 0, 0, 0, 2]);
    for (integrity, v4, v6) in [
        (Integrity::HmacSha1, 24, 24),
        (Integrity::HmacMd5, 24, 24),
        (Integrity::HmacSha256, 28, 32),
        (Integrity::HmacSha512, 44, 48),
    ] {
        assert_eq!((ah_len(integrity, false), ah_len(integrity, true)), (v4, v6));
    }
}

#[test]
fn ipv4_options_are_covered_as_appendix_a1_has_them() {
    // Router alert stays; record route does not; no-operation and the end do.
    let options = [148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 1];
    let (outbound, inbound) = ends(Integrity::HmacSha1, true, AhMode::Transport);
    let on_wire = protected(&outbound, &v4(&options, b"data")).unwrap();
    let with = |at: usize, value: u8| {
        let mut packet = on_wire.clone();
        packet[at] = value;
        packet
    };
    for covered in [20, 22, 31] {
        let mut packet = with(covered, on_wire[covered] ^ 1);
        assert!(inbound.open(&mut packet).is_err(), "{covered}");
    }
    // A router writes its address down and moves the pointer on.
    let mut packet = on_wire.clone();
    packet[26..31].copy_from_slice(&[8, 192, 0, 2, 1]);
    inbound.open(&mut packet).unwrap();
}

#[test]
fn the_destination_of_a_source_route_is_its_end() {
    for kind in [131, 137] {
        let (outbound, inbound) = ends(Integrity::HmacSha256, true, AhMode::Transport);
        let options = [1, kind, 11, 4, 10, 9, 0, 1, 10, 9, 0, 2];
        let mut packet = protected(&outbound, &v4(&options, b"data")).unwrap();
        // At the end: both hops taken, the routers' own addresses in their places.
        packet[16..20].copy_from_slice(&[10, 9, 0, 2]);
        packet[23] = 12;
        packet[24..32].copy_from_slice(&[10, 2, 0, 7, 10, 9, 0, 1]);
        inbound.open(&mut packet.clone()).unwrap();
        packet[19] = 3;
        let error = inbound.open(&mut packet).unwrap_err();
        assert_eq!(error, AhError::Sequence(DropReason::Replayed));
    }
}

#[test]
fn ipv6_options_that_may_change_are_covered_as_zero_and_others_as_they_are() {
    // Hop by hop: an option that may change (0x3e), one that may not (0x1e), padding.
    let hop_by_hop: [u8; 15] = [1, 0x3e, 4, 1, 2, 3, 4, 0x1e, 2, 5, 6, 1, 1, 0, 0];
    let routing: [u8; 7] = [0, 0, 0, 0, 0, 0, 0];
    let destination: [u8; 7] = [0, 0x3e, 1, 9, 1, 1, 0];
    let extensions: [(u8, &[u8]); 4] = [
        (proto::HOP_BY_HOP, &hop_by_hop),
        (proto::DESTINATION, &destination),
        (proto::ROUTING, &routing),
        (proto::DESTINATION, &destination),
    ];
    let packet = v6(&extensions, b"data");
    let (outbound, inbound) = ends(Integrity::HmacSha256, true, AhMode::Transport);
    let on_wire = protected(&outbound, &packet).unwrap();
    // Behind the route's destination options and the route, before the last destination's options.
    let ah = 40 + 16 + 8 + 8;
    assert_eq!((on_wire[ah - 8], on_wire[ah]), (PROTOCOL_AH, proto::DESTINATION));
    let changed = |at: usize| {
        let mut packet = on_wire.clone();
        packet[at] ^= 1;
        packet
    };
    for covered in [42, 48, 50, 51, 58, 63, 66, 70, ah + 12, ah + 33, on_wire.len() - 1] {
        let (_, inbound) = ends(Integrity::HmacSha256, true, AhMode::Transport);
        assert_eq!(inbound.open(&mut changed(covered)).unwrap_err(), AhError::BadIcv, "{covered}");
    }
    for free in [44, 47, 60] {
        let (_, inbound) = ends(Integrity::HmacSha256, true, AhMode::Transport);
        let outcome = inbound.open(&mut changed(free));
        assert!(outcome.is_ok(), "{free}: {outcome:?}");
    }
    let mut received = on_wire;
    let opened = inbound.open(&mut received).unwrap();
    assert_eq!(received[opened.packet], packet);
}

#[test]
fn what_ah_cannot_cover_is_refused_by_its_name() {
    let (outbound, _) = ends(Integrity::HmacSha256, true, AhMode::Transport);
    let refused = |packet: &[u8]| protected(&outbound, packet).unwrap_err();
    let mut fragment = v4(&[], b"data");
    fragment[6] = 0x20;
    assert_eq!(refused(&fragment), AhError::Fragment);
    let fragment_v6 = v6(&[(proto::FRAGMENT, &[0, 0, 1, 0, 0, 0, 1])], b"data");
    assert_eq!(refused(&fragment_v6), AhError::Fragment);
    let route = v6(&[(proto::ROUTING, &[2, 0, 1, 0, 0, 0, 0])], b"data");
    assert_eq!(refused(&route), AhError::RoutingHeader);
    assert_eq!(refused(&v4(&[7, 1, 0, 0], b"")), AhError::BadOption);
    assert_eq!(refused(&v4(&[7, 9, 0, 0], b"")), AhError::BadOption);
    assert_eq!(refused(&v4(&[131, 6, 4, 0, 0, 0, 0, 0], b"")), AhError::BadOption);
    let overlong = v6(&[(proto::HOP_BY_HOP, &[0, 1, 9, 0, 0, 0, 0])], b"");
    assert_eq!(refused(&overlong), AhError::BadOption);
    let long = [&[63][..], &[0; 510]].concat();
    assert_eq!(refused(&v6(&[(proto::HOP_BY_HOP, &long)], b"")), AhError::HeadTooLong);
    assert_eq!(refused(&[]), AhError::Ip(IpError::Truncated));
    assert_eq!(refused(&[0x50; 40]), AhError::Ip(IpError::Version));
    assert_eq!(refused(&v4(&[], &vec![0; 65_500])), AhError::TooLong);
    let packet = v4(&[], b"data");
    let mut buffer = [&[0; 27], &packet[..]].concat();
    let outcome = outbound.protect(&mut buffer, 27..27 + packet.len());
    assert_eq!(outcome, Err(AhError::NoRoom(28)));
    assert_eq!(outbound.usage(), crate::SaUsage::default());
}

#[test]
fn every_fault_is_dropped_and_counted_by_its_code() {
    let (outbound, inbound) = ends(Integrity::HmacSha256, true, AhMode::Transport);
    let good = protected(&outbound, &v4(&[], b"data")).unwrap();
    let with = |at: usize, value: u8| {
        let mut packet = good.clone();
        packet[at] = value;
        packet
    };
    inbound.open(&mut good.clone()).unwrap();
    let (_, other) = ends(Integrity::HmacSha256, true, AhMode::Tunnel);
    assert_eq!(other.open(&mut good.clone()).unwrap_err(), AhError::BadNextHeader);
    assert_eq!(other.highest_seq(), 1);
    for (mut packet, error) in [
        (good.clone(), AhError::Sequence(DropReason::Replayed)),
        (with(31, 0), AhError::Sequence(DropReason::ZeroSequence)),
        (with(31, 9), AhError::BadIcv),
        (with(24, 0), AhError::WrongSpi),
        (with(21, 4), AhError::BadLength),
        (v4(&[], b"data"), AhError::NoAh),
        (with(6, 0x20), AhError::Fragment),
        (with(0, 0x35), AhError::Ip(IpError::Version)),
        (good[..30].to_vec(), AhError::Ip(IpError::Truncated)),
    ] {
        let (before, total) = (packet.clone(), inbound.drops().total());
        assert_eq!(inbound.open(&mut packet).unwrap_err(), error);
        assert_eq!((packet, inbound.drops().total()), (before, total + 1), "{error}");
        assert!(inbound.drops().iter().any(|(code, n)| code == error.code() && n > 0), "{error}");
    }
    assert_eq!(inbound.usage().packets, 1);
}

#[test]
fn the_high_half_of_the_number_is_authenticated_though_never_sent() {
    let (outbound, inbound) = ends(Integrity::HmacSha512, true, AhMode::Transport);
    let at = |last_seq| {
        outbound.set_last_seq(last_seq);
        protected(&outbound, &v4(&[], b"esn")).unwrap()
    };
    let high = at((1 << 32) + 6);
    assert_eq!(inbound.open(&mut high.clone()).unwrap_err(), AhError::BadIcv);
    inbound.open(&mut at((1 << 32) - 200)).unwrap();
    assert_eq!(inbound.open(&mut high.clone()).unwrap().seq, (1 << 32) + 7);
    let (short, _) = ends(Integrity::HmacSha512, false, AhMode::Transport);
    short.set_last_seq(u64::from(u32::MAX));
    let error = protected(&short, &v4(&[], b"")).unwrap_err();
    assert_eq!(error, AhError::Exhausted(SeqExhausted { left: 0 }));
}

#[test]
fn bad_parameters_are_refused_and_no_key_is_shown() {
    let key = key(Integrity::HmacMd5);
    assert_eq!(OutboundAh::new(255, &key, true).err(), Some(SaError::ReservedSpi(MIN_SPI - 1)));
    let window = InboundAh::new(256, &key, true, 4097, AhMode::Transport);
    assert_eq!(window.err(), Some(SaError::WindowSize(4097)));
    let error = AhKey::new(Integrity::HmacSha512, &[0; 32]).unwrap_err();
    assert_eq!((error.expected_bytes, error.got_bytes), (64, 32));
    let (outbound, inbound) = ends(Integrity::HmacMd5, true, AhMode::Transport);
    let shown = format!("{key:?} {outbound:?} {inbound:?}");
    assert!(shown.contains("md5-96") && !shown.contains("6b"), "{shown}");
}

proptest! {
    #[test]
    fn one_changed_bit_that_no_router_may_change_is_never_accepted(
        integrity in prop::sample::select(&Integrity::ALL[..]),
        ipv6 in any::<bool>(),
        payload in prop::collection::vec(any::<u8>(), 0..100),
        bit in any::<prop::sample::Index>(),
    ) {
        let packet = if ipv6 { v6(&[], &payload) } else { v4(&[], &payload) };
        let (outbound, inbound) = ends(integrity, true, AhMode::Transport);
        let mut received = protected(&outbound, &packet).unwrap();
        let free: &[usize] = if ipv6 { &[1, 2, 3, 7] } else { &[1, 6, 7, 8, 10, 11] };
        let bit = bit.index(received.len() * 8);
        let half_free = ipv6 && bit / 8 == 0 && bit % 8 < 4;
        received[bit / 8] ^= 1 << (bit % 8);
        let accepted = inbound.open(&mut received).is_ok();
        if !free.contains(&(bit / 8)) && !half_free {
            prop_assert!(!accepted, "bit {bit}");
            prop_assert_eq!(inbound.highest_seq(), 0);
        }
    }

    #[test]
    fn any_bytes_are_dropped_with_a_reason_and_left_as_they_are(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        ipv6 in any::<bool>(),
        ours in any::<bool>(),
        tunnel in any::<bool>(),
    ) {
        if ours && bytes.len() > 60 {
            let len = bytes.len() as u16;
            if ipv6 {
                (bytes[0], bytes[6]) = (0x60, PROTOCOL_AH);
                bytes[4..6].copy_from_slice(&(len - 40).to_be_bytes());
            } else {
                (bytes[0], bytes[9]) = (0x46, PROTOCOL_AH);
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
                bytes[6..8].fill(0);
            }
        }
        let mode = if tunnel { AhMode::Tunnel } else { AhMode::Transport };
        let (_, inbound) = ends(Integrity::HmacSha256, true, mode);
        let before = bytes.clone();
        let error = inbound.open(&mut bytes).unwrap_err();
        prop_assert_eq!(bytes, before);
        prop_assert_eq!(inbound.drops().total(), 1, "{}", error);
    }
}
