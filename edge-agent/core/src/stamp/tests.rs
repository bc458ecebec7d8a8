use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::id::{EdgeId, PathId};

fn entry(path: u32) -> DigestEntry {
    DigestEntry {
        path: PathId(path),
        newest_sequence: 0x0102_0304,
        received: 99,
        loss_ppm: 12_345,
        age_ms: 40,
        dead: path.is_multiple_of(2),
        wanted: path.is_multiple_of(3),
        esp_expected: 0xffff_fff0,
        esp_received: 0x0a0b_0c0d,
    }
}

fn request(digest: Vec<DigestEntry>, challenge: Option<[u8; 8]>) -> SenderPacket {
    SenderPacket {
        sequence: 7,
        timestamp: Timestamp(0x1111_2222_3333_4444),
        error: ErrorEstimate::unsynchronised(TimestampFormat::Ntp),
        ssid: 0x0abc,
        digest,
        challenge,
    }
}

fn reflected(digest: &[DigestEntry]) -> Reflected<'_> {
    Reflected {
        sequence: Some(3),
        received: Timestamp(5),
        timestamp: Timestamp(6),
        error: ErrorEstimate(0x0001),
        digest,
    }
}

#[test]
fn a_bare_sender_packet_is_the_44_octets_of_rfc_8762() {
    let octets = request(vec![], None).encode(0);
    let mut expected = vec![0, 0, 0, 7, 0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44];
    expected.extend([22, 1, 0x0a, 0xbc]);
    expected.resize(44, 0);
    assert_eq!(octets, expected);
}

#[test]
fn a_reply_has_each_field_where_rfc_8762_puts_it() {
    let octets = request(vec![], None).encode(0);
    let reply = reflect(&octets, 255, &reflected(&[])).unwrap();
    assert_eq!(reply.len(), octets.len());
    assert_eq!(reply[0..4], [0, 0, 0, 3]);
    assert_eq!(reply[4..12], [0, 0, 0, 0, 0, 0, 0, 6]);
    assert_eq!(reply[12..16], [0, 1, 0x0a, 0xbc]);
    assert_eq!(reply[16..24], [0, 0, 0, 0, 0, 0, 0, 5]);
    assert_eq!(reply[24..36], octets[0..12]);
    assert_eq!(reply[36..44], [22, 1, 0, 0, 255, 0, 0, 0]);
    let decoded = ReflectorPacket::decode(&reply).unwrap();
    assert_eq!((decoded.sequence, decoded.sender_sequence, decoded.sender_ttl), (3, 7, 255));
}

#[test]
fn a_stateless_reply_copies_the_senders_number() {
    let octets = request(vec![], None).encode(0);
    let ours = Reflected { sequence: None, ..reflected(&[]) };
    assert_eq!(
        ReflectorPacket::decode(&reflect(&octets, 255, &ours).unwrap()).unwrap().sequence,
        7
    );
}

#[test]
fn digest_and_challenge_travel_and_the_challenge_comes_back() {
    let sent = request(vec![entry(1), entry(2)], Some(*b"8 octets"));
    let octets = sent.encode(0);
    assert_eq!(octets.len(), 44 + 4 + 2 * 28 + 4 + 8);
    assert_eq!(octets[44], flag::U, "a sender sets U (RFC 8972 section 4)");
    assert_eq!(SenderPacket::decode(&octets).unwrap(), sent);
    let ours = [entry(9), entry(8), entry(7)];
    let reply = reflect(&octets, 255, &reflected(&ours)).unwrap();
    assert_eq!(reply.len(), octets.len(), "symmetrical, though the digest is longer");
    assert_eq!(reply[44], 0, "a reflector that understands clears U");
    let decoded = ReflectorPacket::decode(&reply).unwrap();
    assert_eq!(decoded.digest, ours[..2]);
    assert_eq!(decoded.challenge, Some(*b"8 octets"));
}

#[test]
fn a_shorter_digest_of_the_reflector_leaves_no_entry_of_the_sender() {
    let octets = request(vec![entry(1), entry(2)], None).encode(0);
    let reply = reflect(&octets, 255, &reflected(&[entry(9)])).unwrap();
    assert_eq!(ReflectorPacket::decode(&reply).unwrap().digest, [entry(9)]);
}

#[test]
fn padding_fills_up_to_the_size_asked_for() {
    for (least, expected) in [(0, 44), (44, 44), (46, 44), (48, 48), (100, 100), (1200, 1200)] {
        assert_eq!(request(vec![], None).encode(least).len(), expected, "at least {least}");
    }
}

#[test]
fn unknown_and_malformed_tlvs_are_flagged_not_dropped() {
    // (TLVs, flags of the first TLV in the reply)
    let table: [(&[u8], u8); 7] = [
        (&[flag::U, tlv_type::EXTRA_PADDING, 0, 2, 1, 2], 0),
        (&[flag::U, 200, 0, 1, 9], flag::U),
        (&[flag::U, tlv_type::CHALLENGE, 0, 3, 1, 2, 3], flag::M),
        (&[flag::U, tlv_type::DIGEST, 0, 3, 1, 2, 3], flag::M),
        (&[flag::U, tlv_type::EXTRA_PADDING, 0, 9, 1], flag::M),
        (&[flag::U, tlv_type::EXTRA_PADDING], flag::M),
        (&[flag::U], flag::M),
    ];
    for (tlvs, flags) in table {
        let mut octets = request(vec![], None).encode(0);
        octets.extend(tlvs);
        let reply = reflect(&octets, 255, &reflected(&[entry(1)])).unwrap();
        assert_eq!(reply.len(), octets.len());
        assert_eq!(reply[44], flags, "{tlvs:?}");
        assert_eq!(reply[45..], octets[45..], "{tlvs:?}");
    }
}

#[test]
fn the_walk_is_bounded() {
    let tlvs = [flag::U, 200, 0, 0].repeat(1_000);
    assert_eq!(Tlvs::new(&tlvs).count(), MAX_TLVS);
}

#[test]
fn ntp_and_ptp_timestamps_are_those_of_their_standards() {
    let unix = Duration::new(1, 500_000_000);
    let ntp = Timestamp::from_unix(unix, TimestampFormat::Ntp);
    assert_eq!(ntp.0, (2_208_988_801u64 << 32) | 0x8000_0000);
    let ptp = Timestamp::from_unix(unix, TimestampFormat::Ptp);
    assert_eq!(ptp.0, (1u64 << 32) | 500_000_000);
    for format in [TimestampFormat::Ntp, TimestampFormat::Ptp] {
        let at = |ms| Timestamp::from_unix(Duration::from_millis(ms), format);
        let difference = at(5_250).since(at(4_750), format).unwrap();
        assert!(difference.abs_diff(Duration::from_millis(500)) < Duration::from_nanos(2));
        assert_eq!(at(4_750).since(at(5_250), format), None);
        assert_eq!(ErrorEstimate::unsynchronised(format).format(), format);
    }
}

#[test]
fn an_inner_packet_is_udp_in_ipv6_between_edges() {
    let packet = encapsulate(EdgeId(0x0a0b), EdgeId(2), Kind::Request, &[1, 2, 3]);
    assert_eq!(packet[..8], [0x60, 0, 0, 0, 0, 11, 17, 255]);
    assert_eq!(packet[8..24], "fe80::a0b".parse::<std::net::Ipv6Addr>().unwrap().octets());
    assert_eq!(packet[40..46], [0xc2, 0xc6, 0x03, 0x5e, 0, 11]);
    // 2·fe80 + a0b + 2 + 17 + 2·11 + c2c6 + 35e + 0102 + 0300, folded, inverted.
    let sum: u32 = 2 * 0xfe80 + 0xa0b + 2 + 17 + 22 + 0xc2c6 + 0x35e + 0x102 + 0x300;
    let folded = (sum & 0xffff) + (sum >> 16);
    assert_eq!(packet[46..48], (!(folded as u16)).to_be_bytes());
    let probe = decapsulate(&packet).unwrap();
    assert_eq!((probe.source, probe.destination), (EdgeId(0x0a0b), EdgeId(2)));
    assert_eq!((probe.kind, probe.stamp), (Kind::Request, &[1, 2, 3][..]));
}

#[test]
fn what_is_no_probe_is_refused_with_its_code() {
    let good = encapsulate(EdgeId(1), EdgeId(2), Kind::Reply, &[0; 44]);
    let bent = |at: usize, to: u8| {
        let mut packet = good.clone();
        packet[at] = to;
        packet
    };
    let table = [
        (good[..47].to_vec(), "probe_short"),
        (good[..60].to_vec(), "probe_short"),
        (bent(0, 0x40), "probe_not_udp"),
        (bent(6, 6), "probe_not_udp"),
        (bent(45, 9), "probe_short"),
        (bent(7, 64), "probe_hop_limit"),
        (bent(8, 0x20), "probe_address"),
        (bent(60, 1), "probe_checksum"),
    ];
    for (packet, code) in table {
        assert_eq!(decapsulate(&packet).unwrap_err().code(), code);
    }
}

proptest! {
    #[test]
    fn no_octets_make_the_codec_panic(octets in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decapsulate(&octets);
        let _ = SenderPacket::decode(&octets);
        let _ = ReflectorPacket::decode(&octets);
        if let Ok(reply) = reflect(&octets, 1, &reflected(&[entry(1), entry(2)])) {
            prop_assert_eq!(reply.len(), octets.len());
        }
    }

    #[test]
    fn one_changed_octet_is_always_noticed(
        payload in proptest::collection::vec(any::<u8>(), 44..120),
        at in any::<prop::sample::Index>(),
        change in 1u8..,
    ) {
        let mut packet = encapsulate(EdgeId(1), EdgeId(2), Kind::Request, &payload);
        let at = at.index(packet.len());
        packet[at] ^= change;
        // Traffic class and flow label are outside the checksum, and mean nothing here.
        let unchecked = at == 0 && change < 0x10 || (1..4).contains(&at);
        prop_assert_eq!(decapsulate(&packet).is_ok(), unchecked);
    }

    #[test]
    fn what_is_encapsulated_comes_out(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        source in any::<u32>(),
        destination in any::<u32>(),
    ) {
        let packet = encapsulate(EdgeId(source), EdgeId(destination), Kind::Reply, &payload);
        let probe = decapsulate(&packet).unwrap();
        prop_assert_eq!(probe.stamp, &payload[..]);
        prop_assert_eq!((probe.source.0, probe.destination.0), (source, destination));
    }
}
