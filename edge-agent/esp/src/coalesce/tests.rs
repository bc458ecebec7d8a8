use proptest::prelude::*;

use super::*;
use crate::checksum::checksum;
use crate::ip::tests::{tcp, udp, v4, v6, with_checksum};
use crate::ip::{FlowKey, proto, put16, tcp_flags};
use crate::offload::{Gso, SuperPacket};

const ACK: u8 = tcp_flags::ACK;
const PSH: u8 = tcp_flags::ACK | tcp_flags::PSH;

fn coalescer(flows: usize) -> Coalescer {
    Coalescer::new(CoalesceConfig { flows, udp: true })
}

/// Everything a batch comes out as.
fn run(coalescer: &mut Coalescer, packets: &[Vec<u8>]) -> Vec<(VnetHdr, Vec<u8>)> {
    let mut out = Vec::new();
    let mut sink = |vnet: &VnetHdr, packet: &[u8]| out.push((*vnet, packet.to_vec()));
    for packet in packets {
        coalescer.push(packet, &mut sink);
    }
    coalescer.flush(&mut sink);
    out
}

fn split(vnet: &VnetHdr, packet: &[u8]) -> Vec<Vec<u8>> {
    let packet = SuperPacket::new(vnet, packet).unwrap();
    let mut out = vec![0; packet.segment_len()];
    (0..packet.segments())
        .map(|index| {
            let len = packet.write(index, &mut out).unwrap();
            out[..len].to_vec()
        })
        .collect()
}

/// TCP segments of one flow, in order, each with its payload length and flags.
fn stream(ipv6: bool, shapes: &[(usize, u8)]) -> Vec<Vec<u8>> {
    let (mut seq, mut packets) = (u32::MAX - 1000, Vec::new());
    for (id, (len, flags)) in shapes.iter().enumerate() {
        let payload: Vec<u8> = (0..*len).map(|i| (seq as usize + i) as u8).collect();
        let segment = tcp(seq, *flags, &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], &payload);
        let packet =
            if ipv6 { v6(proto::TCP, &segment) } else { v4(proto::TCP, id as u16, &segment) };
        packets.push(with_checksum(packet));
        seq = seq.wrapping_add(*len as u32);
    }
    packets
}

#[test]
fn segments_in_order_become_one_super_packet() {
    for (ipv6, gso, start) in [(false, Gso::TcpV4, 20), (true, Gso::TcpV6, 40)] {
        let packets = stream(ipv6, &[(1000, ACK), (1000, ACK), (1000, ACK), (400, PSH)]);
        let mut coalescer = coalescer(4);
        let out = run(&mut coalescer, &packets);
        assert_eq!(out.len(), 1);
        let (vnet, packet) = &out[0];
        assert!(vnet.needs_csum());
        assert_eq!(vnet.gso(), Some(gso));
        assert_eq!((vnet.gso_size, vnet.hdr_len), (1000, start + 32));
        assert_eq!((vnet.csum_start, vnet.csum_offset), (start, 16));
        assert_eq!(Packet::parse(packet).unwrap().bytes().len(), packet.len());
        assert_eq!(split(vnet, packet), packets);
        let stats = CoalesceStats { packets: 4, writes: 1, merged: 3, evicted: 0 };
        assert_eq!(coalescer.stats(), stats);
    }
}

/// How many writes a pair of 1000-octet segments gives after a change to the second.
fn writes_after(ipv6: bool, change: impl Fn(&mut Vec<u8>)) -> usize {
    let mut packets = stream(ipv6, &[(1000, ACK), (1000, ACK)]);
    change(&mut packets[1]);
    packets[1] = with_checksum(std::mem::take(&mut packets[1]));
    let out = run(&mut coalescer(4), &packets);
    let segments: Vec<_> = out.iter().flat_map(|(vnet, packet)| split(vnet, packet)).collect();
    assert_eq!(segments.len(), 2);
    assert_eq!(segments[0], packets[0]);
    out.len()
}

#[test]
fn only_what_the_kernel_would_merge_is_merged() {
    let set = |at: usize, value: u8| move |packet: &mut Vec<u8>| packet[at] = value;
    let flip = |at: usize, bits: u8| move |packet: &mut Vec<u8>| packet[at] ^= bits;
    assert_eq!(writes_after(false, |_| ()), 1);
    // The same identification again, with don't fragment, means nothing.
    assert_eq!(writes_after(false, set(5, 0)), 1);
    for (name, writes) in [
        ("ToS", writes_after(false, flip(1, 1))),
        ("identification", writes_after(false, set(5, 9))),
        ("don't fragment", writes_after(false, flip(6, 0x40))),
        ("TTL", writes_after(false, flip(8, 1))),
        ("source", writes_after(false, flip(15, 1))),
        ("destination port", writes_after(false, flip(23, 1))),
        ("sequence number", writes_after(false, flip(27, 1))),
        ("acknowledgement", writes_after(false, flip(31, 1))),
        ("accurate ECN", writes_after(false, flip(32, 1))),
        ("ECE", writes_after(false, flip(33, tcp_flags::ECE))),
        ("CWR", writes_after(false, flip(33, tcp_flags::CWR))),
        ("SYN", writes_after(false, flip(33, tcp_flags::SYN))),
        ("RST", writes_after(false, flip(33, tcp_flags::RST))),
        ("URG", writes_after(false, flip(33, tcp_flags::URG))),
        ("no ACK", writes_after(false, flip(33, ACK))),
        ("window", writes_after(false, flip(35, 1))),
        ("urgent pointer", writes_after(false, flip(39, 1))),
        ("timestamp", writes_after(false, flip(47, 1))),
        ("v6 traffic class", writes_after(true, flip(1, 0x10))),
        ("v6 flow label", writes_after(true, flip(3, 1))),
        ("v6 hop limit", writes_after(true, flip(7, 1))),
    ] {
        assert_eq!(writes, 2, "{name}");
    }
}

#[test]
fn a_shorter_segment_or_a_push_ends_a_super_packet() {
    for (shapes, writes) in [
        (&[(100, ACK), (100, ACK), (50, ACK), (100, ACK)][..], 2),
        (&[(100, ACK), (100, PSH), (100, ACK), (100, ACK)], 2),
        (&[(100, PSH), (100, ACK), (100, ACK | tcp_flags::FIN)], 2),
        (&[(100, ACK), (101, ACK), (101, ACK)], 2),
        (&[(100, ACK), (0, ACK), (100, ACK)], 3),
        (&[(0, ACK), (0, ACK)], 2),
        (&[(7, ACK), (7, ACK)], 2),
        (&[(8, ACK), (8, ACK), (1, ACK)], 1),
    ] {
        let packets = stream(false, shapes);
        let out = run(&mut coalescer(4), &packets);
        assert_eq!(out.len(), writes, "{shapes:?}");
        let segments: Vec<_> = out.iter().flat_map(|(vnet, packet)| split(vnet, packet)).collect();
        assert_eq!(segments, packets, "{shapes:?}");
    }
}

#[test]
fn a_damaged_packet_stays_damaged() {
    let mut packets = stream(false, &[(500, ACK), (500, ACK), (500, ACK)]);
    packets[1][300] ^= 1;
    let out = run(&mut coalescer(4), &packets);
    assert_eq!(out.len(), 3);
    assert_eq!(out[1], (VnetHdr::DONE, packets[1].clone()));
}

#[test]
fn equal_datagrams_merge_up_to_64_and_unsummed_ones_do_not() {
    let datagrams: Vec<_> =
        (0..70).map(|id| with_checksum(v4(proto::UDP, id, &udp(&[7; 300])))).collect();
    let out = run(&mut coalescer(4), &datagrams);
    assert_eq!(out.len(), 2);
    assert_eq!((out[0].0.gso(), out[0].0.gso_size), (Some(Gso::UdpL4), 300));
    let segments: Vec<_> = out.iter().flat_map(|(vnet, packet)| split(vnet, packet)).collect();
    assert_eq!(segments, datagrams);

    let mut unsummed = datagrams.clone();
    unsummed.iter_mut().for_each(|datagram| put16(datagram, 26, 0));
    assert_eq!(run(&mut coalescer(4), &unsummed).len(), 70);
    let mut no_udp = Coalescer::new(CoalesceConfig { flows: 4, udp: false });
    assert_eq!(run(&mut no_udp, &datagrams).len(), 70);
}

#[test]
fn a_super_packet_never_exceeds_what_an_ip_header_can_say() {
    for ipv6 in [false, true] {
        let packets = stream(ipv6, &[(1400, ACK); 100]);
        let out = run(&mut coalescer(1), &packets);
        assert!(out.iter().all(|(_, packet)| packet.len() <= 65_535));
        assert_eq!(out.len(), 3);
        let segments: Vec<_> = out.iter().flat_map(|(vnet, packet)| split(vnet, packet)).collect();
        assert_eq!(segments, packets);
    }
}

#[test]
fn a_fragment_waits_for_all_that_was_before_it() {
    let mut packets = stream(false, &[(100, ACK), (100, ACK)]);
    let mut fragment = v4(proto::UDP, 9, &[1; 64]);
    put16(&mut fragment, 6, 0x2008);
    packets.insert(1, fragment.clone());
    let out = run(&mut coalescer(4), &packets);
    assert_eq!(
        out.iter().map(|(_, packet)| packet).collect::<Vec<_>>(),
        [&packets[0], &fragment, &packets[2]]
    );
}

#[test]
fn more_flows_than_slots_push_the_oldest_out() {
    let packet = |port: u8| {
        let mut packet = stream(false, &[(100, ACK)]).remove(0);
        packet[21] = port;
        with_checksum(packet)
    };
    let packets: Vec<_> = (0..5).map(packet).collect();
    let mut coalescer = coalescer(2);
    let out = run(&mut coalescer, &packets);
    assert_eq!(out.iter().map(|(_, packet)| packet.clone()).collect::<Vec<_>>(), packets);
    assert_eq!(coalescer.stats().evicted, 3);
}

const LENGTHS: [usize; 8] = [0, 1, 99, 100, 100, 100, 100, 300];

/// A packet of one of five flows (three of TCP, one each of UDP and ICMP), with something wrong or
/// rare about it for the first few values of `oddity`.
fn odd_packet(flow: usize, id: u16, seq: u32, len: usize, oddity: u8) -> Vec<u8> {
    let payload = vec![oddity; len];
    let flags = match oddity {
        1 => PSH,
        2 => ACK | tcp_flags::FIN,
        3 => ACK | tcp_flags::CWR,
        _ => ACK,
    };
    let segment = tcp(seq, flags, &[], &payload);
    let mut packet = match flow {
        0 | 1 => v4(proto::TCP, id, &segment),
        2 => v6(proto::TCP, &segment),
        3 => v6(proto::UDP, &udp(&payload)),
        _ => return v4(proto::ICMP, id, &payload),
    };
    if oddity == 4 {
        packet[1] ^= 0x10;
    }
    if flow == 1 {
        packet[15] = 99;
    }
    if packet[0] == 0x45 {
        put16(&mut packet, 10, 0);
        let sum = checksum(&packet[..20]);
        put16(&mut packet, 10, sum);
    }
    with_checksum(packet)
}

/// Sorted by flow, each in its order.
fn by_flow(packets: &[Vec<u8>]) -> Vec<(FlowKey, Vec<u8>)> {
    let flow = |packet: &Vec<u8>| FlowKey { dscp: 0, ..FlowKey::parse(packet).unwrap() };
    let mut packets: Vec<_> = packets.iter().map(|packet| (flow(packet), packet.clone())).collect();
    packets.sort_by_key(|(flow, _)| *flow);
    packets
}

proptest! {
    #[test]
    fn splitting_and_coalescing_gives_the_super_packet_back(
        ipv6 in any::<bool>(),
        len in 1_usize..60_000,
        gso_size in 500_u16..2000,
        flags in prop::sample::select(&[ACK, PSH, PSH | tcp_flags::FIN][..]),
    ) {
        let whole = &stream(ipv6, &[(len, flags)])[0];
        let (gso, start) = if ipv6 { (Gso::TcpV6, 40) } else { (Gso::TcpV4, 20) };
        let vnet = VnetHdr::super_packet(gso, start + 32, gso_size, start);
        let segments = split(&vnet, whole);
        let out = run(&mut coalescer(4), &segments);
        prop_assert_eq!(out.len(), 1);
        let (got, packet) = &out[0];
        if segments.len() > 1 {
            prop_assert_eq!(*got, vnet);
        }
        // The kernel finishes the checksum of the merged packet over the whole of it.
        prop_assert_eq!(&with_checksum(packet.clone()), whole);
    }

    #[test]
    fn each_flow_keeps_its_packets_and_their_order(
        shapes in prop::collection::vec(
            (0_usize..5, prop::sample::select(&LENGTHS[..]), 0_u8..20),
            1..150,
        ),
        flows in 1_usize..5,
    ) {
        let mut made = [(0_u16, 1_000_u32); 5];
        let packets: Vec<_> = shapes
            .into_iter()
            .map(|(flow, len, oddity)| {
                let (id, seq) = &mut made[flow];
                let packet = odd_packet(flow, *id, *seq, len, oddity);
                (*id, *seq) = (*id + 1, seq.wrapping_add(len as u32));
                packet
            })
            .collect();
        let out = run(&mut coalescer(flows), &packets);
        let segments: Vec<_> = out.iter().flat_map(|(vnet, packet)| split(vnet, packet)).collect();
        prop_assert_eq!(by_flow(&segments), by_flow(&packets));
    }

    #[test]
    fn any_bytes_pass_as_they_are(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20),
    ) {
        let mut coalescer = coalescer(2);
        let out = run(&mut coalescer, &packets);
        prop_assert_eq!(out.len(), packets.len());
        prop_assert_eq!(coalescer.stats().writes, packets.len() as u64);
    }
}
