//! What traffic and ICMP tell of a path.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hawser_edge_core::id::PathId;

use super::attacker::{Attacker, EPOCH};
use super::fixture::{Edge, PATHS, PORT, Pair, UPLINKS, spi, wan};
use crate::dataplane::{DataPlane, DropReason, EspEvidence, Event, Family};

fn evidence(edge: &Edge) -> EspEvidence {
    edge.driver.evidence(PATHS[0])
}

/// Waits until the edge has counted these on the first path.
fn wait_for(edge: &Edge, what: &str, expected: u32, received: u32) {
    let wanted = EspEvidence { expected, received };
    edge.wait_for(what, |counters| counters.paths[&PATHS[0]].esp == wanted);
    assert_eq!(evidence(edge), wanted);
}

#[test]
fn sequence_numbers_are_counted_over_all_keys_of_a_path() {
    let pair = Pair::new(Family::V4);
    let first = Attacker::new(&pair);
    let (_, receiver) = pair.lan_sockets();
    let to = receiver.local_addr().expect("address");
    let seal = |attacker: &Attacker| attacker.sealed_udp("10.1.0.1", to, b"data");
    let packets: Vec<_> = (0..10).map(|_| seal(&first)).collect();
    let send = |numbers: &[usize]| numbers.iter().for_each(|&n| first.send(&packets[n]));

    assert_eq!(evidence(&pair.b), EspEvidence::default());
    send(&[0, 1, 2]);
    wait_for(&pair.b, "in order", 3, 3);
    send(&[5]);
    wait_for(&pair.b, "a gap", 6, 4);
    send(&[4]);
    wait_for(&pair.b, "part of it late", 6, 5);
    let replays = pair.b.dropped(DropReason::Replayed);
    send(&[4, 5, 0]);
    pair.b.wait_for("replays", |c| c.drops[&DropReason::Replayed] == replays + 3);
    let mut forged = packets[9].clone();
    forged[30] ^= 1;
    first.send(&forged);
    pair.b.wait_for("a forgery", |c| c.drops[&DropReason::BadIcv] == 1);
    assert_eq!(evidence(&pair.b), EspEvidence { expected: 6, received: 5 });

    // New keys: nothing is known of what was lost before their first packet.
    let second = Attacker::on(&pair, 0, EPOCH + 1);
    let of_second: Vec<_> = (0..10).map(|_| seal(&second)).collect();
    second.send(&of_second[4]);
    wait_for(&pair.b, "new keys", 7, 6);
    send(&[6]);
    wait_for(&pair.b, "the old ones drain", 8, 7);
    pair.b.driver.remove_inbound(spi(PATHS[0], 2, EPOCH));
    second.send(&of_second[9]);
    wait_for(&pair.b, "and are gone", 13, 8);
    assert_eq!(pair.b.driver.evidence(PATHS[1]), EspEvidence::default());
    assert_eq!(pair.b.driver.evidence(PathId(0xbad)), EspEvidence::default());
}

#[test]
fn evidence_tells_exactly_what_was_lost_on_the_way() {
    let pair = Pair::new(Family::V4);
    let (from, to) = pair.lan_sockets();
    pair.ping(false, 1);
    let arrived = std::thread::spawn(move || {
        std::iter::repeat_with(|| to.recv(&mut [0; 8])).take_while(Result::is_ok).count() as u32
    });
    let before = evidence(&pair.b);
    pair.b.filter("iifname wan0 udp dport 4510 numgen inc mod 10 0 drop");
    for _ in 0..500 {
        from.send(b"data").expect("send");
        std::thread::sleep(Duration::from_micros(100));
    }
    pair.b.unfilter();
    // What is lost at the end is told by what comes after it.
    pair.ping(false, 1);
    let arrived = arrived.join().expect("receiver");
    let after = evidence(&pair.b);
    assert_eq!(after.expected - before.expected, 501);
    assert_eq!(after.received - before.received, arrived + 1);
    assert!((1..500).contains(&arrived), "{arrived}");
}

/// The next event that fits, within two seconds.
fn event(edge: &mut Edge, fits: impl Fn(&Event) -> bool) -> Event {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        match edge.receivers.events.try_recv() {
            Ok(event) if fits(&event) => return event,
            Ok(_) => {}
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
        assert!(Instant::now() < deadline, "no such event");
    }
}

#[test]
fn icmp_unreachable_names_the_uplink_and_the_endpoint() {
    // RFC 792 and RFC 4443: port unreachable.
    for (family, icmp) in [(Family::V4, (3, 3)), (Family::V6, (1, 4))] {
        let mut pair = Pair::new(family);
        pair.b.filter("iifname wan1 udp dport 4510 reject");
        pair.select(1);
        drop(pair.a.net.run("ping -c 1 -W 0.1 -I 10.1.0.1 10.2.0.1"));
        let (kind, code) = icmp;
        let to = SocketAddr::from((wan(family, 1, 2), PORT));
        let wanted = Event::Unreachable { uplink: UPLINKS[1], to, kind, code };
        let told = event(&mut pair.a, |event| matches!(event, Event::Unreachable { .. }));
        assert_eq!(told, wanted);
        pair.a.wait_for("counted", |c| c.drops[&DropReason::IcmpUnreachable] > 0);
        pair.select(0);
        pair.ping(false, 2);
    }
}

#[test]
fn icmp_errors_lose_no_packet_of_the_same_socket() {
    for family in [Family::V4, Family::V6] {
        let pair = Pair::new(family);
        for limit in ["net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0"] {
            assert!(pair.b.net.run(&format!("sysctl -q -w {limit}")).status.success());
        }
        // Nobody listens there.
        let closed = SocketAddr::from((wan(family, 0, 2), 9));
        let (from, to) = pair.lan_sockets();
        let arrived = std::thread::spawn(move || {
            (0..2_000).take_while(|_| to.recv(&mut [0; 8]).is_ok()).count()
        });
        for number in 0..2_000 {
            if number % 10 == 0 {
                pair.a.driver.send_datagram(UPLINKS[0], closed, b"knock", None).expect("sent");
            }
            from.send(b"data").expect("send");
            std::thread::sleep(Duration::from_micros(50));
        }
        assert_eq!(arrived.join().expect("receiver"), 2_000, "{family:?}");
        let errors = |c: &crate::dataplane::Counters| c.drops[&DropReason::IcmpUnreachable];
        pair.a.wait_for("errors", |counters| errors(counters) > 20);
        let untold = pair.a.dropped(DropReason::IcmpUntold);
        assert!(untold > 0, "one destination is told once in a while");
        assert_eq!(pair.a.dropped(DropReason::SendFailed), 0);
    }
}

#[test]
fn a_datagram_above_the_uplinks_mtu_is_told_with_the_mtu() {
    let mut pair = Pair::new(Family::V4);
    pair.ping(false, 1);
    pair.a.net.ip("link set wan0 mtu 1400");
    let (from, _to) = pair.lan_sockets();
    from.send(&[0; 1390]).expect("send");
    let told = event(&mut pair.a, |event| matches!(event, Event::TooBig { .. }));
    let Event::TooBig { uplink, to, mtu_bytes } = told else { unreachable!("it fits") };
    assert_eq!((uplink, to.ip(), mtu_bytes), (UPLINKS[0], wan(Family::V4, 0, 2), 1400));
    assert!(pair.a.dropped(DropReason::IcmpTooBig) > 0);
}
