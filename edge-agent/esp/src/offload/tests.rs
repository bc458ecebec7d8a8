use proptest::prelude::*;

use super::*;
use crate::checksum::checksum;
use crate::ip::tests::{tcp, transport_sum, udp, v4, v6, with_checksum};
use crate::ip::{FlowKey, Packet, be16, proto, put16, tcp_flags};
use crate::wire::{INNER_OFFSET, sealed_len};

const ALL_FLAGS: u8 = tcp_flags::ACK | tcp_flags::PSH | tcp_flags::FIN | tcp_flags::CWR;

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

fn tso(gso: Gso, gso_size: u16) -> VnetHdr {
    let start = if gso == Gso::TcpV6 { 40 } else { 20 };
    VnetHdr::super_packet(gso, start + 20, gso_size, start)
}

fn segments(vnet: &VnetHdr, packet: &[u8]) -> Vec<Vec<u8>> {
    let packet = SuperPacket::new(vnet, packet).unwrap();
    (0..packet.segments())
        .map(|index| {
            let mut out = vec![0xee; packet.len_of(index) + 3];
            let len = packet.write(index, &mut out).unwrap();
            assert!(len <= packet.segment_len() && out[len..] == [0xee; 3]);
            out.truncate(len);
            out
        })
        .collect()
}

#[test]
fn the_header_is_ten_octets_of_the_host() {
    let vnet = VnetHdr {
        flags: 1,
        gso_type: 0x81,
        hdr_len: 54,
        gso_size: 1390,
        csum_start: 20,
        csum_offset: 16,
    };
    let bytes = [&vnet.encode()[..], b"rest"].concat();
    assert_eq!(VnetHdr::parse(&bytes), Some((vnet, &b"rest"[..])));
    assert_eq!(bytes[2..4], 54_u16.to_ne_bytes());
    assert_eq!(vnet.gso(), Some(Gso::TcpV4));
    assert_eq!(VnetHdr::parse(&bytes[..9]), None);
}

#[test]
fn a_tcp_super_packet_becomes_segments_that_a_host_could_have_sent() {
    let data = payload(3000);
    let options = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    let segment = tcp(u32::MAX - 100, ALL_FLAGS, &options, &data);
    for (gso, packet) in
        [(Gso::TcpV4, v4(proto::TCP, 0xffff, &segment)), (Gso::TcpV6, v6(proto::TCP, &segment))]
    {
        let out = segments(&tso(gso, 1388), &packet);
        assert_eq!(out.len(), 3);
        let parsed: Vec<_> = out.iter().map(|bytes| Packet::parse(bytes).unwrap()).collect();
        let tcp: Vec<_> = parsed.iter().map(|packet| packet.tcp().unwrap()).collect();
        let flags: Vec<u8> = tcp.iter().map(|tcp| tcp.flags()).collect();
        assert_eq!(flags, [0x90, 0x10, 0x19]);
        let seqs: Vec<u32> = tcp.iter().map(|tcp| tcp.seq()).collect();
        assert_eq!(seqs, [u32::MAX - 100, 1287, 2675]);
        assert_eq!(tcp.iter().map(|tcp| tcp.payload()).collect::<Vec<_>>().concat(), data);
        assert!(tcp.iter().all(|tcp| tcp.options() == options && tcp.ack() == 77));
        for (bytes, packet) in out.iter().zip(&parsed) {
            assert_eq!((transport_sum(bytes), packet.bytes().len()), (0xffff, bytes.len()));
        }
        if gso == Gso::TcpV4 {
            let ids: Vec<u16> = out.iter().map(|bytes| be16(bytes, 4)).collect();
            assert_eq!(ids, [0xffff, 0, 1]);
            assert!(out.iter().all(|bytes| checksum(&bytes[..20]) == 0));
        }
    }
}

#[test]
fn a_udp_super_packet_becomes_datagrams() {
    let data = payload(2500);
    for packet in [v4(proto::UDP, 7, &udp(&data)), v6(proto::UDP, &udp(&data))] {
        let start = if packet[0] == 0x45 { 20 } else { 40 };
        let out = segments(&VnetHdr::super_packet(Gso::UdpL4, start + 8, 1000, start), &packet);
        let lens: Vec<_> = out
            .iter()
            .map(|bytes| {
                assert_eq!(transport_sum(bytes), 0xffff);
                let udp = Packet::parse(bytes).unwrap().udp().unwrap();
                (usize::from(udp.len_field()), udp.payload().len())
            })
            .collect();
        assert_eq!(lens, [(1008, 1000), (1008, 1000), (508, 500)]);
    }
}

#[test]
fn a_packet_without_gso_gets_its_checksum_finished() {
    for (packet, start, offset) in [
        (v4(proto::TCP, 1, &tcp(1, tcp_flags::SYN, &[2, 4, 5, 0xb4], b"")), 20, 16),
        (v6(proto::UDP, &udp(b"odd")), 40, 6),
    ] {
        let finished = with_checksum(packet.clone());
        let mut partial = packet;
        let parsed = Packet::parse(&partial).unwrap();
        let len = parsed.transport().len();
        let pseudo = match parsed.header() {
            crate::ip::Header::V4(h) => {
                crate::checksum::Sum::pseudo_v4(h.src(), h.dst(), parsed.proto(), len)
            }
            crate::ip::Header::V6(h) => {
                crate::checksum::Sum::pseudo_v6(h.src(), h.dst(), parsed.proto(), len)
            }
        };
        put16(&mut partial, start + offset, pseudo.partial());
        let vnet = VnetHdr {
            flags: 1,
            csum_start: start as u16,
            csum_offset: offset as u16,
            ..VnetHdr::DONE
        };
        assert_eq!(segments(&vnet, &partial), [finished]);
        assert_eq!(segments(&VnetHdr::DONE, &partial), [partial.clone()]);
        let outside = VnetHdr { csum_start: 60_000, ..vnet };
        let error = SuperPacket::new(&outside, &partial).unwrap_err();
        assert_eq!(error, OffloadError::ChecksumOutside);
        assert_eq!(complete_checksum(&outside, &mut partial), Err(error));
    }
}

#[test]
fn a_header_that_contradicts_the_packet_is_refused() {
    let tcp4 = v4(proto::TCP, 1, &tcp(1, 0x10, &[], &payload(100)));
    let udp6 = v6(proto::UDP, &udp(&payload(100)));
    let mut fragment = tcp4.clone();
    fragment[6] = 0x20;
    let longer = [&tcp4[..], b"xx"].concat();
    let ufo = VnetHdr { gso_type: 3, ..tso(Gso::TcpV4, 50) };
    for (vnet, packet, error) in [
        (ufo, &tcp4, OffloadError::UnknownGso(3)),
        (tso(Gso::TcpV4, 7), &tcp4, OffloadError::SegmentTooSmall(7)),
        (tso(Gso::TcpV6, 50), &tcp4, OffloadError::Mismatch),
        (tso(Gso::UdpL4, 50), &tcp4, OffloadError::Mismatch),
        (tso(Gso::TcpV6, 50), &udp6, OffloadError::Mismatch),
        (tso(Gso::TcpV4, 50), &fragment, OffloadError::Mismatch),
        (tso(Gso::TcpV4, 50), &longer, OffloadError::BadLength),
    ] {
        assert_eq!(SuperPacket::new(&vnet, packet).unwrap_err(), error);
    }
}

#[test]
fn strides_make_sealed_datagrams_lie_end_to_end() {
    let packet = v4(proto::TCP, 1, &tcp(1, 0x10, &[], &payload(4000)));
    let packet = SuperPacket::new(&tso(Gso::TcpV4, 1390), &packet).unwrap();
    let strides = Strides { stride: sealed_len(8 + packet.segment_len()), offset: INNER_OFFSET };
    let mut out = vec![0; 2 * strides.stride];
    assert_eq!(packet.write_range(1..3, strides, &mut out), Some(()));
    for (place, len) in [(0, 1430), (1, 1260)] {
        let at = place * strides.stride + INNER_OFFSET;
        assert_eq!(FlowKey::parse(&out[at..]).unwrap().src_port, 1000);
        assert_eq!(Packet::parse(&out[at..]).unwrap().bytes().len(), len);
    }
    assert_eq!(packet.write_range(0..3, strides, &mut out), None);
    assert_eq!(packet.write_range(2..4, strides, &mut out), None);
    let narrow = Strides { stride: 1430, offset: INNER_OFFSET };
    assert_eq!(packet.write_range(0..2, narrow, &mut out), None);
}

proptest! {
    #[test]
    fn any_header_and_packet_give_segments_or_a_reason(
        header in any::<[u8; 10]>(),
        known in prop::sample::select(&[0_u8, 1, 4, 5, 0x81][..]),
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        shape in 0_usize..5,
    ) {
        let mut vnet = VnetHdr::parse(&header).unwrap().0;
        vnet.gso_type = known;
        let len = bytes.len();
        bytes = match shape {
            0 => v4(proto::TCP, 1, &bytes),
            1 => v6(proto::TCP, &bytes),
            2 => v4(proto::UDP, 1, &bytes),
            3 => v4(proto::TCP, 1, &tcp(1, 0xff, &[], &bytes)),
            _ => bytes,
        };
        vnet.gso_size %= 100;
        vnet.csum_start %= 2 * len as u16 + 1;
        vnet.csum_offset %= 40;
        if let Ok(packet) = SuperPacket::new(&vnet, &bytes) {
            let mut out = vec![0; packet.segment_len()];
            for index in 0..packet.segments() {
                prop_assert_eq!(packet.write(index, &mut out), Some(packet.len_of(index)));
            }
            prop_assert_eq!(packet.write(packet.segments(), &mut out), None);
            if packet.segment_len() > 0 {
                let short = packet.len_of(0) - 1;
                prop_assert_eq!(packet.write(0, &mut out[..short]), None);
            }
        }
    }
}
