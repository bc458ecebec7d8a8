use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::checksum::{Sum, checksum};

pub(crate) const V4_SRC: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 7);
pub(crate) const V4_DST: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 9);
pub(crate) const V6_SRC: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 7);
pub(crate) const V6_DST: Ipv6Addr = Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 9);

/// An IPv4 packet without options: DSCP 46, TTL 64, don't fragment.
pub(crate) fn v4(proto: u8, id: u16, transport: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 46 << 2, 0, 0, 0, 0, 0x40, 0, 64, proto, 0, 0];
    packet.extend(V4_SRC.octets());
    packet.extend(V4_DST.octets());
    packet.extend(transport);
    let len = packet.len() as u16;
    put16(&mut packet, 2, len);
    put16(&mut packet, 4, id);
    let sum = checksum(&packet[..20]);
    put16(&mut packet, 10, sum);
    packet
}

/// An IPv6 packet without extension headers: DSCP 46, hop limit 64.
pub(crate) fn v6(proto: u8, transport: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x6b, 0x80, 0x12, 0x34, 0, 0, proto, 64];
    packet.extend(V6_SRC.octets());
    packet.extend(V6_DST.octets());
    packet.extend(transport);
    put16(&mut packet, 4, transport.len() as u16);
    packet
}

/// A TCP header (ports 1000 to 2000, ACK 77) with options and payload, checksum 0.
pub(crate) fn tcp(seq: u32, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x03, 0xe8, 0x07, 0xd0];
    header.extend(seq.to_be_bytes());
    header.extend(77_u32.to_be_bytes());
    header.extend([(5 + options.len() as u8 / 4) << 4, flags, 0x40, 0, 0, 0, 0, 0]);
    header.extend(options);
    header.extend(payload);
    header
}

/// A UDP header (ports 1000 to 2000) with payload, checksum 0.
pub(crate) fn udp(payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x03, 0xe8, 0x07, 0xd0, 0, 0, 0, 0];
    header.extend(payload);
    put16(&mut header, 4, (8 + payload.len()) as u16);
    header
}

/// The sum over pseudo-header and transport: 0xffff folded if the checksum in it is right.
pub(crate) fn transport_sum(packet: &[u8]) -> u16 {
    let parsed = Packet::parse(packet).unwrap();
    let (proto, len) = (parsed.proto(), parsed.transport().len());
    let pseudo = match parsed.header() {
        Header::V4(h) => Sum::pseudo_v4(h.src(), h.dst(), proto, len),
        Header::V6(h) => Sum::pseudo_v6(h.src(), h.dst(), proto, len),
    };
    pseudo.and(Sum::of(parsed.transport())).partial()
}

/// Fills in the transport checksum.
pub(crate) fn with_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    let parsed = Packet::parse(&packet).unwrap();
    let field = if parsed.proto() == proto::TCP { 16 } else { 6 };
    let at = parsed.transport_offset() + field;
    put16(&mut packet, at, 0);
    let sum = match !transport_sum(&packet) {
        0 => 0xffff,
        sum => sum,
    };
    put16(&mut packet, at, sum);
    packet
}

#[test]
fn a_v4_packet_gives_its_fields_and_flow() {
    let mut bytes = v4(proto::TCP, 0xbeef, &tcp(5, tcp_flags::ACK, &[1, 1, 1, 0], b"hello"));
    let len = bytes.len();
    bytes.extend([0; 6]);
    let packet = Packet::parse(&bytes).unwrap();
    let Header::V4(header) = packet.header() else { panic!("not IPv4") };
    assert_eq!((header.id(), header.ttl(), header.dont_fragment()), (0xbeef, 64, true));
    assert_eq!(packet.bytes().len(), len);
    let tcp = packet.tcp().unwrap();
    assert_eq!((tcp.seq(), tcp.ack(), tcp.payload()), (5, 77, &b"hello"[..]));
    assert_eq!(
        FlowKey::of(&packet),
        Ok(FlowKey {
            src: V4_SRC.into(),
            dst: V4_DST.into(),
            proto: 6,
            src_port: 1000,
            dst_port: 2000,
            dscp: 46,
            fragment: Fragment::Whole,
        })
    );
}

#[test]
fn v4_lengths_that_contradict_are_refused() {
    let good = v4(proto::UDP, 1, &udp(b"x"));
    for (at, value, error) in [
        (0, 0x44, IpError::BadLength),
        (0, 0x55, IpError::Version),
        (0, 0x4f, IpError::BadLength),
        (3, 19, IpError::BadLength),
        (3, 200, IpError::Truncated),
    ] {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(Packet::parse(&bad), Err(error), "{at} {value:#x}");
    }
    assert_eq!(Packet::parse(&good[..19]), Err(IpError::Truncated));
    assert_eq!(Packet::parse(&[]), Err(IpError::Truncated));
}

#[test]
fn fragments_are_told_apart_in_both_versions() {
    for (field, expected, ports) in [
        (0x4000, Fragment::Whole, (1000, 2000)),
        (0x2000, Fragment::First, (1000, 2000)),
        (0x2010, Fragment::Later, (0, 0)),
        (0x0010, Fragment::Later, (0, 0)),
    ] {
        let mut packet = v4(proto::UDP, 1, &udp(b"payload!"));
        put16(&mut packet, 6, field);
        let flow = FlowKey::parse(&packet).unwrap();
        assert_eq!((flow.fragment, (flow.src_port, flow.dst_port)), (expected, ports));
    }
    for (field, expected, ports) in [
        (0x0000_u16, Fragment::Whole, (1000, 2000)),
        (0x0001, Fragment::First, (1000, 2000)),
        (0x0009, Fragment::Later, (0, 0)),
    ] {
        let [a, b] = field.to_be_bytes();
        let payload = [&[proto::UDP, 0, a, b, 0, 0, 0, 1][..], &udp(b"payload!")].concat();
        let flow = FlowKey::parse(&v6(proto::FRAGMENT, &payload)).unwrap();
        assert_eq!((flow.fragment, (flow.src_port, flow.dst_port)), (expected, ports));
    }
}

#[test]
fn fragments_of_one_datagram_are_pinned_together() {
    let key = |fragment, src_port| FlowKey {
        src: V6_SRC.into(),
        dst: V6_DST.into(),
        proto: 17,
        src_port,
        dst_port: 0,
        dscp: 0,
        fragment,
    };
    let (first, later) = (key(Fragment::First, 53), key(Fragment::Later, 0));
    assert_eq!(first.pin_hash(), later.pin_hash());
    assert_ne!(key(Fragment::Whole, 53).pin_hash(), key(Fragment::Whole, 54).pin_hash());
}

#[test]
fn extension_headers_are_walked_up_to_the_limit() {
    let chain = |count: usize| {
        let mut payload = Vec::new();
        for i in 0..count {
            let next = if i + 1 == count { proto::UDP } else { proto::DESTINATION };
            payload.extend([next, 0, 1, 4, 0, 0, 0, 0]);
        }
        payload.extend(udp(b"x"));
        v6(proto::DESTINATION, &payload)
    };
    assert_eq!(FlowKey::parse(&chain(8)).unwrap().src_port, 1000);
    assert_eq!(FlowKey::parse(&chain(9)), Err(IpError::TooManyExtensions));
    let mut cut = chain(1);
    cut[41] = 200;
    assert_eq!(FlowKey::parse(&cut), Err(IpError::Truncated));
    let ah = [&[proto::UDP, 4, 0, 0][..], &[0; 20], &udp(b"x")].concat();
    assert_eq!(FlowKey::parse(&v6(proto::AH, &ah)).unwrap().dst_port, 2000);
}

#[test]
fn the_clamp_follows_this_table() {
    const SYN: u8 = tcp_flags::SYN;
    let mss = |value: u16| [&[2, 4][..], &value.to_be_bytes()].concat();
    let odd = |value: u16| [&[1, 2, 4][..], &value.to_be_bytes(), &[1, 1, 0]].concat();
    let clamped = |from, to| MssClamp::Clamped { from, to };
    for (flags, options, on_v4, on_v6) in [
        (SYN, mss(1460), clamped(1460, 1390), clamped(1460, 1370)),
        (SYN | tcp_flags::ACK, mss(1460), clamped(1460, 1390), clamped(1460, 1370)),
        (SYN, odd(9000), clamped(9000, 1390), clamped(9000, 1370)),
        (SYN, mss(1390), MssClamp::Unchanged, clamped(1390, 1370)),
        (SYN, mss(536), MssClamp::Unchanged, MssClamp::Unchanged),
        (SYN, vec![], MssClamp::Unchanged, MssClamp::Unchanged),
        (SYN, vec![0, 2, 4, 255], MssClamp::Unchanged, MssClamp::Unchanged),
        (SYN, vec![2, 3, 255, 255], MssClamp::Unchanged, MssClamp::Unchanged),
        (SYN, vec![8, 0, 2, 4], MssClamp::Unchanged, MssClamp::Unchanged),
        (SYN, vec![1, 1, 2, 4], MssClamp::Unchanged, MssClamp::Unchanged),
        (tcp_flags::ACK, mss(1460), MssClamp::Unchanged, MssClamp::Unchanged),
    ] {
        let segment = tcp(1, flags, &options, b"");
        for (packet, expected) in
            [(v4(proto::TCP, 1, &segment), on_v4), (v6(proto::TCP, &segment), on_v6)]
        {
            let mut packet = with_checksum(packet);
            let before = packet.clone();
            assert_eq!(clamp_mss(&mut packet, 1430), expected, "{options:?}");
            assert_eq!(transport_sum(&packet), 0xffff, "{options:?}");
            assert_eq!(packet == before, expected == MssClamp::Unchanged);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_give_a_packet_or_a_reason(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        version in prop_oneof![Just(0x45_u8), Just(0x46), Just(0x60), any::<u8>()],
        next in prop_oneof![Just(6_u8), Just(17), Just(44), Just(60), Just(0), any::<u8>()],
        lengths in any::<bool>(),
    ) {
        if bytes.len() >= 10 {
            bytes[0] = version;
            let len = bytes.len();
            if lengths && version >> 4 == 6 {
                bytes[6] = next;
                put16(&mut bytes, 4, (len as u16).saturating_sub(40));
            } else if lengths {
                bytes[9] = next;
                put16(&mut bytes, 2, len as u16);
            }
        }
        if let Ok(packet) = Packet::parse(&bytes) {
            prop_assert!(packet.bytes().len() <= bytes.len());
            let _ = (packet.transport(), packet.src(), packet.dst(), packet.dscp());
            let _ = packet.tcp().map(|tcp| (tcp.options().len(), tcp.payload().len()));
            let _ = packet.udp().map(|udp| udp.payload().len());
            let _ = FlowKey::of(&packet).map(|key| key.pin_hash());
        }
        let _ = clamp_mss(&mut bytes, 1430);
    }
}
