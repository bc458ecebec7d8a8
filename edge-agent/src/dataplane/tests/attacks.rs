//! What must not pass, and that it is counted by its reason.

use std::time::{Duration, Instant};

use hawser_edge_core::id::{SegmentId, gre_key};
use hawser_esp::gre::{Gre, Protocol};
use hawser_esp::wire::INNER_OFFSET;
use nix::sys::socket::{setsockopt, sockopt};

use super::attacker::{Attacker, EPOCH, udp_packet};
use super::fixture::{PATHS, Pair, SEGMENT, UPLINKS, spi};
use crate::dataplane::{DataPlane, DropReason, Event, Family};

#[test]
fn what_must_not_pass_over_ipv4_is_counted_by_its_reason_and_not_delivered() {
    nothing_bad_is_delivered(Family::V4);
}

#[test]
fn what_must_not_pass_over_ipv6_is_counted_by_its_reason_and_not_delivered() {
    nothing_bad_is_delivered(Family::V6);
}

fn nothing_bad_is_delivered(family: Family) {
    let mut pair = Pair::new(family);
    let attacker = Attacker::new(&pair);
    let (_, victim) = pair.lan_sockets();
    let port = victim.local_addr().expect("address");
    let evil = |from| attacker.sealed_udp(from, port, b"evil");

    let known = spi(PATHS[0], 2, EPOCH).0.to_be_bytes();
    let good = attacker.sealed_udp("10.1.0.1", port, b"good");
    let mut flipped = evil("10.1.0.1");
    flipped[INNER_OFFSET + 3] ^= 1;
    let mut other_spi = evil("10.1.0.1");
    other_spi[0] ^= 0x80;
    let mut other_sequence = evil("10.1.0.1");
    other_sequence[7] ^= 0x10;
    let cut = evil("10.1.0.1");
    let inner = udp_packet("10.1.0.1", port, b"evil");
    let checksummed = [&[0xa0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &inner].concat();

    attacker.send(&good);
    let table: Vec<(&str, DropReason, Vec<u8>)> = vec![
        ("keepalive", DropReason::Keepalive, vec![0xff]),
        ("nothing", DropReason::Short, vec![]),
        ("three octets", DropReason::Short, vec![1, 2, 3]),
        ("marker alone", DropReason::Short, vec![0; 4]),
        ("reserved SPI", DropReason::BadSpi, vec![0, 0, 0, 255, 1, 2, 3, 4]),
        ("garbage", DropReason::UnknownSpi, vec![0xa5; 100]),
        ("unknown SPI", DropReason::UnknownSpi, other_spi),
        ("SPI alone", DropReason::Short, known.to_vec()),
        ("cut off", DropReason::BadIcv, cut[..cut.len() - 4].to_vec()),
        ("cut to a stub", DropReason::Short, cut[..24].to_vec()),
        ("garbage under a known SPI", DropReason::BadIcv, [&known[..], &[9; 60]].concat()),
        ("flipped bit", DropReason::BadIcv, flipped),
        ("another sequence number", DropReason::BadIcv, other_sequence),
        ("replay", DropReason::Replayed, good.clone()),
        ("other path", DropReason::WrongPath, attacker.seal(PATHS[1], SEGMENT, &inner)),
        ("no segment", DropReason::UnknownSegment, attacker.seal(PATHS[0], SegmentId(9), &inner)),
        ("foreign source", DropReason::SpoofedSource, evil("10.3.0.1")),
        ("the victim's own source", DropReason::SpoofedSource, evil("10.2.0.1")),
        ("GRE checksum", DropReason::BadInner, attacker.seal_payload(&checksummed)),
        ("GRE cut", DropReason::BadInner, attacker.seal_payload(&[0x20, 0, 8, 0])),
        ("no IP inside", DropReason::BadInner, attacker.seal(PATHS[0], SEGMENT, &[0x15; 40])),
        ("IP cut", DropReason::BadInner, attacker.seal(PATHS[0], SEGMENT, &inner[..19])),
        ("wrong family", DropReason::BadInner, {
            let key = gre_key(PATHS[0], SEGMENT);
            let gre = Gre { protocol: Protocol::Ipv6, key, sequence: None };
            attacker.seal_payload(&[&gre.encode()[..], &inner].concat())
        }),
    ];
    for (name, reason, datagram) in table {
        let before = pair.b.driver.counters();
        attacker.send(&datagram);
        pair.b.wait_for(name, |counters| counters.drops[&reason] == before.drops[&reason] + 1);
        let sum = |drops: &std::collections::BTreeMap<DropReason, u64>| drops.values().sum::<u64>();
        let after = pair.b.driver.counters();
        assert_eq!(sum(&after.drops), sum(&before.drops) + 1, "{name}: counted once");
    }
    attacker.send(&attacker.sealed_udp("10.1.0.1", port, b"last"));

    let mut buffer = [0; 100];
    for wanted in [b"good", b"last"] {
        let length = victim.recv(&mut buffer).expect("the good ones arrive");
        assert_eq!(&buffer[..length], wanted, "and nothing between them");
    }
    assert!(pair.b.receivers.datagrams.try_recv().is_err(), "nothing looked like QUIC");
}

#[test]
fn every_datagram_of_a_coalesced_run_is_sorted_by_itself() {
    let mut pair = Pair::new(Family::V4);
    let attacker = Attacker::new(&pair);
    let (_, receiver) = pair.lan_sockets();
    let port = receiver.local_addr().expect("address");
    let data = |payload: &[u8]| attacker.sealed_udp("10.1.0.1", port, payload);
    let (first, second) = (data(b"one1"), data(b"two2"));
    let marked = |octet: u8| {
        let mut datagram = vec![octet; first.len()];
        datagram[..4].fill(0);
        datagram
    };
    let run = [marked(7), first.clone(), vec![0xee; first.len()], marked(8), second].concat();
    setsockopt(&attacker.socket, sockopt::UdpGsoSegment, &(first.len() as i32)).expect("GSO");
    attacker.send(&run);

    let mut buffer = [0; 100];
    for wanted in [b"one1", b"two2"] {
        let length = receiver.recv(&mut buffer).expect("data");
        assert_eq!(&buffer[..length], wanted);
    }
    for octet in [7, 8] {
        let datagram = pair.b.receivers.datagrams.try_recv().expect("QUIC");
        assert_eq!(&datagram.payload[..], &vec![octet; first.len() - 4][..]);
        let from = attacker.socket.local_addr().expect("address");
        assert_eq!((datagram.uplink, datagram.from), (UPLINKS[0], from));
    }
    assert_eq!(pair.b.dropped(DropReason::UnknownSpi), 1);
}

/// The next event of B other than those of its uplinks, within a second.
fn next_event(pair: &mut Pair) -> Option<Event> {
    let deadline = Instant::now() + Duration::from_secs(1);
    while Instant::now() < deadline {
        match pair.b.receivers.events.try_recv() {
            Ok(Event::UplinkReady { .. }) => {}
            Ok(event) => return Some(event),
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
    None
}

#[test]
fn data_from_another_address_is_told_once_in_a_while() {
    let mut pair = Pair::new(Family::V4);
    let attacker = Attacker::new(&pair);
    let (_, receiver) = pair.lan_sockets();
    let port = receiver.local_addr().expect("address");
    pair.ping(false, 1);
    for _ in 0..20 {
        attacker.send(&attacker.sealed_udp("10.1.0.1", port, b"data"));
    }
    let from = attacker.socket.local_addr().expect("address");
    let seen = Event::SourceSeen { path: PATHS[0], from, newest: true };
    assert_eq!(next_event(&mut pair), Some(seen));
    pair.b
        .wait_for("data", |counters| counters.inbound_sas[&spi(PATHS[0], 2, EPOCH)].packets == 20);
    std::thread::sleep(Duration::from_millis(50));
    assert!(pair.b.receivers.events.try_recv().is_err(), "once is enough");
}

#[test]
fn probes_come_with_their_source_and_whether_they_are_the_newest() {
    let mut pair = Pair::new(Family::V6);
    let attacker = Attacker::new(&pair);
    let probe = |inner: &[u8]| attacker.seal(PATHS[0], SegmentId::INFRASTRUCTURE, inner);
    let (first, second) = (probe(b"first"), probe(b"second"));
    let before = Instant::now();
    attacker.send(&second);
    attacker.send(&first);
    let source = attacker.socket.local_addr().expect("address");
    for (wanted, is_newest) in [(&b"second"[..], true), (b"first", false)] {
        let Some(Event::Probe { path, inner, received, from, newest }) = next_event(&mut pair)
        else {
            panic!("no probe");
        };
        assert_eq!((path, &inner[..], newest), (PATHS[0], wanted, is_newest));
        assert_eq!(from, source);
        assert!(received >= before && received <= Instant::now());
    }
}

#[test]
fn a_flood_of_probes_fills_the_channel_and_no_more() {
    let pair = Pair::new(Family::V4);
    let attacker = Attacker::new(&pair);
    for _ in 0..6_000 {
        attacker.send(&attacker.seal(PATHS[0], SegmentId::INFRASTRUCTURE, &[0x60; 48]));
        std::thread::sleep(Duration::from_micros(10));
    }
    pair.b.wait_for("full channel", |counters| counters.drops[&DropReason::EventsFull] > 1_000);
    pair.ping(false, 3);
    assert!(pair.b.receivers.events.len() <= 4_096);
}
