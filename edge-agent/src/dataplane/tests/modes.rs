//! Flows that are spread over paths, and packets that go over two at once.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use hawser_edge_core::id::PathId;
use hawser_esp::copies::CopyNumber;
use hawser_esp::wire::inner_mtu_sequenced;
use nix::sys::socket::{setsockopt, sockopt};

use super::attacker::{Attacker, EPOCH};
use super::fixture::{Edge, PATHS, Pair, UPLINKS, lan};
use crate::dataplane::{Choice, DataPlane, DropReason, Family, ForwardingSpec, UplinkSpec};

const BOTH: Choice = Choice::Both(PATHS[0], PATHS[1]);

/// Sends numbered packets, `meanwhile` on the way; gives how often each arrived.
fn arrivals(pair: &Pair, packets: u32, meanwhile: impl Fn(u32)) -> Vec<u32> {
    let (from, to) = pair.lan_sockets();
    let received = thread::spawn(move || {
        let mut times = vec![0; packets as usize];
        let mut buffer = [0; 4];
        // Until nothing came for a second: a copy too many is wanted to be seen.
        while to.recv(&mut buffer).is_ok() {
            times[u32::from_be_bytes(buffer) as usize] += 1;
        }
        times
    });
    for number in 0..packets {
        from.send(&number.to_be_bytes()).expect("send");
        thread::sleep(Duration::from_micros(100));
        meanwhile(number);
    }
    received.join().expect("receiver")
}

fn all_once(times: &[u32]) {
    let wrong: Vec<_> = times.iter().enumerate().filter(|(_, times)| **times != 1).collect();
    assert!(wrong.is_empty(), "(packet, arrivals): {wrong:?}");
}

#[test]
fn a_duplicated_packet_goes_over_both_paths_and_arrives_once() {
    let pair = Pair::new(Family::V4);
    pair.choose(BOTH);
    all_once(&arrivals(&pair, 1_000, |_| {}));
    let paths = pair.a.driver.counters().paths;
    assert!(PATHS.iter().all(|path| paths[path].tx_packets == 1_000), "{paths:?}");
    pair.b.wait_for("second copies", |c| c.drops[&DropReason::SecondCopy] == 1_000);
    assert_eq!(pair.b.dropped(DropReason::LateCopy), 0);
    for ipv6 in [false, true] {
        pair.ping(ipv6, 5);
    }
}

#[test]
fn what_is_lost_on_one_path_costs_nothing_and_what_is_lost_on_both_is_lost() {
    let pair = Pair::new(Family::V6);
    pair.choose(BOTH);
    // Every fifth on the first path; then nothing comes by the second one; then both lose.
    pair.b.filter("iifname wan0 udp dport 4510 numgen inc mod 5 0 drop");
    all_once(&arrivals(&pair, 500, |_| {}));
    pair.b.unfilter();
    pair.b.filter("iifname wan1 udp dport 4510 drop");
    all_once(&arrivals(&pair, 500, |_| {}));
    pair.b.filter("iifname wan0 udp dport 4510 numgen inc mod 4 0 drop");
    let times = arrivals(&pair, 400, |_| {});
    let lost = times.iter().filter(|times| **times == 0).count();
    // A quarter, more or less: other packets of the link are counted too.
    assert!((50..=150).contains(&lost) && times.iter().all(|times| *times <= 1), "{lost}");
}

#[test]
fn if_one_path_can_not_send_the_other_carries_alone() {
    let pair = Pair::new(Family::V4);
    pair.choose(BOTH);
    let times = arrivals(&pair, 1_200, |number| match number {
        200 => pair.a.driver.remove_outbound(PATHS[0]),
        400 => pair.rekey(PATHS[0], 1),
        600 => pair.a.driver.remove_uplink(UPLINKS[1]),
        800 => {
            let id = UPLINKS[1];
            let spec = UplinkSpec { id, interface: "wan1".into(), port: 4510, v4: true, v6: true };
            pair.a.net.enter(|| pair.a.driver.add_uplink(spec)).expect("uplink");
        }
        1_000 => pair.choose(Choice::Both(PATHS[1], PathId(0xbad))),
        _ => {}
    });
    all_once(&times);
}

#[test]
fn rekeys_and_changes_of_mode_lose_and_double_nothing() {
    let pair = Pair::new(Family::V4);
    let times = arrivals(&pair, 1_400, |number| match number {
        100 => pair.choose(BOTH),
        300 => pair.rekey(PATHS[1], 1),
        500 => pair.rekey(PATHS[0], 1),
        700 => pair.choose(Choice::Path(PATHS[1])),
        900 => pair.choose(BOTH),
        1_100 => pair.choose(Choice::Spread(vec![(PATHS[0], 1), (PATHS[1], 1)])),
        1_300 => pair.choose(BOTH),
        _ => {}
    });
    all_once(&times);
}

/// A table without a tunnel: what the sender counted is forgotten, and its keys with it.
fn restart(edge: &Edge, pair: &Pair) {
    let spec = edge.spec(pair.family);
    edge.apply(ForwardingSpec { tunnels: vec![], routes: vec![], ..spec.clone() });
    edge.apply(spec);
}

#[test]
fn a_sender_that_starts_again_is_heard_at_once() {
    let pair = Pair::new(Family::V4);
    pair.choose(BOTH);
    // Its numbers end behind, within and far beyond where the next start begins.
    for (epoch, packets) in [(1, 50), (2, 20), (3, 300)] {
        all_once(&arrivals(&pair, packets, |_| {}));
        restart(&pair.a, &pair);
        for (veth, path) in PATHS.into_iter().enumerate() {
            pair.rekey(path, epoch);
            let to = (super::fixture::wan(pair.family, veth, 2), 4510).into();
            pair.a.driver.set_remote(path, Some(to));
        }
        pair.choose(BOTH);
        all_once(&arrivals(&pair, packets, |_| {}));
    }
}

#[test]
fn copies_that_overtake_each_other_are_told_apart() {
    let pair = Pair::new(Family::V4);
    let slow = Attacker::on(&pair, 0, EPOCH);
    let fast = Attacker::on(&pair, 1, EPOCH);
    let (_, receiver) = pair.lan_sockets();
    let to = receiver.local_addr().expect("address");
    let copy = |of: &Attacker, label, count: u32| {
        let sequence = CopyNumber::new(label, count).to_wire();
        of.send(&of.sealed_copy(sequence, to, &[label, count as u8]));
    };
    let mut buffer = [0; 8];
    let mut next = || {
        let length = receiver.recv(&mut buffer).expect("a packet");
        buffer[..length].to_vec()
    };
    for count in [0, 1, 3, 2] {
        copy(&fast, 1, count);
        assert_eq!(next(), [1, count as u8]);
    }
    // Another class counts for itself, from anywhere.
    copy(&slow, 2, 3);
    assert_eq!(next(), [2, 3]);
    for count in [3, 0, 2] {
        copy(&slow, 1, count);
    }
    pair.b.wait_for("copies", |c| c.drops[&DropReason::SecondCopy] == 3);
    // Lost on the fast path; then the copies of both classes that are left.
    copy(&slow, 1, 4);
    assert_eq!(next(), [1, 4]);
    copy(&slow, 1, 1);
    copy(&fast, 2, 3);
    // Another thread reads the other path: what is sent on it next must not overtake these.
    pair.b.wait_for("copies", |c| c.drops[&DropReason::SecondCopy] == 5);
    copy(&fast, 1, 5);
    assert_eq!(next(), [1, 5]);
    // The window has moved on.
    copy(&fast, 1, 6_000);
    assert_eq!(next(), [1, (6_000 % 256) as u8]);
    copy(&slow, 1, 5);
    pair.b.wait_for("late", |c| c.drops[&DropReason::LateCopy] == 1);
}

#[test]
fn super_packets_and_the_longest_packets_are_duplicated_too() {
    for family in [Family::V4, Family::V6] {
        let pair = Pair::new(family);
        let mtu_bytes = inner_mtu_sequenced(1500, family == Family::V6) as u16;
        for edge in [&pair.a, &pair.b] {
            let mut spec = edge.spec(family);
            spec.tunnels[0].inner_mtu_bytes = mtu_bytes;
            spec.segments[0].mtu_bytes = mtu_bytes;
            edge.apply(spec);
        }
        pair.choose(BOTH);
        let (from, to) = pair.lan_sockets();
        let datagram_bytes = usize::from(mtu_bytes) - 28;
        let burst: Vec<u8> = (0..20 * datagram_bytes).map(|at| (at / 7) as u8).collect();
        setsockopt(&from, sockopt::UdpGsoSegment, &(datagram_bytes as i32)).expect("GSO");
        from.send(&burst).expect("send");
        // The first copy of each wins, whichever socket's thread has it: their order is not kept across paths.
        let mut wanted: Vec<&[u8]> = burst.chunks(datagram_bytes).collect();
        for index in 0..wanted.len() {
            let mut got = vec![0; 2_000];
            let length = to.recv(&mut got).unwrap_or_else(|e| panic!("datagram {index}: {e}"));
            let found = wanted.iter().position(|piece| *piece == &got[..length]);
            wanted.swap_remove(found.unwrap_or_else(|| panic!("datagram {index} is not ours")));
        }
        pair.b.wait_for("copies", |c| c.drops[&DropReason::SecondCopy] == 20);
        assert_eq!(pair.a.dropped(DropReason::SendFailed), 0);
    }
}

/// Sends ten packets of each of these flows; gives the path of each, if it was one alone.
fn paths_of(pair: &Pair, flows: &[UdpSocket]) -> Vec<Option<PathId>> {
    let sent = || PATHS.map(|path| pair.a.driver.counters().paths[&path].tx_packets);
    let path_of = |flow: &UdpSocket| {
        let before = sent();
        for _ in 0..10 {
            flow.send(b"data").expect("send");
        }
        pair.a.wait_for("ten packets", |counters| {
            let after = PATHS.map(|path| counters.paths[&path].tx_packets);
            after[0] + after[1] >= before[0] + before[1] + 10
        });
        let after = sent();
        match [after[0] - before[0], after[1] - before[1]] {
            [10, 0] => Some(PATHS[0]),
            [0, 10] => Some(PATHS[1]),
            _ => None,
        }
    };
    flows.iter().map(path_of).collect()
}

#[test]
fn flows_are_spread_and_each_stays_on_its_path_while_that_can_send() {
    let pair = Pair::new(Family::V4);
    let (_, to) = pair.lan_sockets();
    let to = to.local_addr().expect("address");
    let flows: Vec<UdpSocket> = (0..40)
        .map(|_| pair.a.net.enter(|| UdpSocket::bind((lan(1, false), 0))).expect("bind"))
        .inspect(|flow| flow.connect(to).expect("connect"))
        .collect();
    let spread = |weights: [u32; 2]| Choice::Spread(PATHS.into_iter().zip(weights).collect());
    pair.choose(spread([1, 1]));
    let first = paths_of(&pair, &flows);
    let on = |paths: &[Option<PathId>], path| paths.iter().filter(|p| **p == Some(path)).count();
    assert_eq!(on(&first, PATHS[0]) + on(&first, PATHS[1]), 40, "a flow is on one path");
    // One in a hundred million draws of ports is as lopsided as this.
    assert!((4..=36).contains(&on(&first, PATHS[0])), "{first:?}");
    assert_eq!(paths_of(&pair, &flows), first, "and stays there");

    pair.choose(spread([1, 3]));
    let heavier = paths_of(&pair, &flows);
    let moved = first.iter().zip(&heavier).filter(|(before, after)| before != after);
    assert!(moved.clone().all(|(_, after)| *after == Some(PATHS[1])), "only to the heavier path");

    pair.choose(spread([1, 1]));
    pair.a.driver.remove_outbound(PATHS[0]);
    assert_eq!(on(&paths_of(&pair, &flows), PATHS[1]), 40, "the other path carries all");
    pair.rekey(PATHS[0], 1);
    assert_eq!(paths_of(&pair, &flows), first, "and each flow comes back");
    pair.choose(Choice::Spread(vec![(PATHS[1], 5)]));
    assert_eq!(on(&paths_of(&pair, &flows), PATHS[1]), 40);
}
