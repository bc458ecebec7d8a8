//! Several SAs of a path and direction, each on a thread of its own.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hawser_edge_core::keys::Lanes;
use hawser_esp::offload::VnetHdr;
use nix::sys::socket::{setsockopt, sockopt};

use super::attacker::{Attacker, EPOCH, udp_packet};
use super::fixture::{Edge, PATHS, Pair, lan};
use super::net::Net;
use crate::dataplane::sys::tun::Tun;
use crate::dataplane::{DataPlane, DropReason, Event, Family};

/// So many that no queue of four stays empty by chance.
const FLOWS: usize = 64;
const ROUNDS: u32 = 150;
/// Fewer than the queue of a device has room for.
const UNDER_WAY: usize = 192;
const PATIENCE: Duration = Duration::from_millis(200);

fn pair(a: usize, b: usize) -> Pair {
    Pair::with_lanes(Family::V4, [Lanes::clamped(a), Lanes::clamped(b)])
}

/// Sends numbered packets of many flows, `meanwhile` after each round; panics unless all arrive in the order of their flow.
fn all_in_order(from: &Edge, to: &Edge, meanwhile: impl Fn(u32)) {
    let open = |edge: &Edge| {
        let address: SocketAddr = (lan(edge.number, false), 0).into();
        edge.net.enter(|| UdpSocket::bind(address)).expect("bind to the LAN address")
    };
    let receiver = open(to);
    receiver.set_read_timeout(Some(Duration::from_secs(1))).expect("timeout");
    setsockopt(&receiver, sockopt::RcvBufForce, &(8 << 20)).expect("buffer");
    let address = receiver.local_addr().expect("address");
    let senders: Vec<UdpSocket> = (0..FLOWS).map(|_| open(from)).collect();
    let got = Arc::<AtomicUsize>::default();
    let counted = got.clone();
    let received = thread::spawn(move || {
        let (mut next, mut overtaken) = (vec![0_u32; FLOWS], Vec::new());
        let mut buffer = [0; 1_500];
        while let Ok(length) = receiver.recv(&mut buffer) {
            assert!(length >= 8);
            let word = |at: usize| u32::from_be_bytes(buffer[at..at + 4].try_into().expect("four"));
            let (flow, number) = (word(0) as usize, word(4));
            if next[flow] != number {
                overtaken.push((flow, next[flow], number));
            }
            next[flow] = number + 1;
            counted.fetch_add(1, Ordering::Relaxed);
        }
        (next, overtaken)
    });
    for number in 0..ROUNDS {
        for (flow, sender) in senders.iter().enumerate() {
            let mut payload = vec![0; 8 + (number as usize * 37 + flow * 11) % 1_200];
            payload[..4].copy_from_slice(&(flow as u32).to_be_bytes());
            payload[4..8].copy_from_slice(&number.to_be_bytes());
            sender.send_to(&payload, address).expect("send");
        }
        meanwhile(number);
        thread::sleep(Duration::from_micros(500));
        // A device drops what its reader is too late for: a busy machine is given time.
        let (sent, since) = ((number as usize + 1) * FLOWS, Instant::now());
        while got.load(Ordering::Relaxed) + UNDER_WAY < sent && since.elapsed() < PATIENCE {
            thread::sleep(Duration::from_micros(200));
        }
    }
    let (next, overtaken) = received.join().expect("receiver");
    assert!(overtaken.is_empty(), "(flow, wanted, got): {overtaken:?}");
    assert!(next.iter().all(|next| *next == ROUNDS), "lost: {next:?}");
}

/// What each lane of the first path has sealed.
fn sealed(edge: &Edge) -> Vec<u64> {
    edge.driver.counters().outbound_sas[&PATHS[0]].iter().map(|sa| sa.packets).collect()
}

#[test]
fn many_flows_use_every_lane_and_each_keeps_its_order() {
    let pair = pair(4, 4);
    all_in_order(&pair.a, &pair.b, |_| {});
    all_in_order(&pair.b, &pair.a, |_| {});
    for (edge, peer) in [(&pair.a, &pair.b), (&pair.b, &pair.a)] {
        let lanes = sealed(edge);
        assert!(lanes.len() == 4 && lanes.iter().all(|packets| *packets > 0), "{lanes:?}");
        let packets: u64 = lanes.iter().sum();
        let opened = peer.driver.counters();
        let carried = opened.inbound_sas.values().filter(|sa| sa.packets > 0).count();
        assert_eq!(carried, 4, "{:?}", opened.inbound_sas);
        // Each lane's numbers are judged by themselves, and their gaps are summed up.
        let esp = opened.paths[&PATHS[0]].esp;
        assert_eq!((u64::from(esp.expected), u64::from(esp.received)), (packets, packets));
        assert_eq!(peer.dropped(DropReason::LaneFull), 0);
    }
}

#[test]
fn fresh_keys_of_all_lanes_under_traffic_cost_nothing_and_let_nothing_overtake() {
    let pair = pair(4, 4);
    let rekey = |number: u32| {
        if number % 20 == 10 {
            pair.rekey(PATHS[0], 1 + (number / 20) as u8);
        }
    };
    all_in_order(&pair.a, &pair.b, rekey);
    for reason in [DropReason::UnknownSpi, DropReason::Replayed, DropReason::BadIcv] {
        assert_eq!(pair.b.dropped(reason), 0, "{reason:?}");
    }
    let before = pair.b.driver.counters().inbound_sas.len();
    pair.b.driver.remove_inbound(super::fixture::spi(PATHS[0], 2, 0));
    assert_eq!(pair.b.driver.counters().inbound_sas.len(), before - 4, "all lanes go together");
    pair.ping(false, 2);
}

#[test]
fn ends_of_different_lanes_use_what_both_have() {
    for (a, b, agreed) in [(1, 4, 1), (4, 1, 1), (4, 2, 2)] {
        let pair = pair(a, b);
        all_in_order(&pair.a, &pair.b, |_| {});
        all_in_order(&pair.b, &pair.a, |_| {});
        for edge in [&pair.a, &pair.b] {
            let lanes = sealed(edge);
            let used = lanes.len() == agreed && lanes.iter().all(|packets| *packets > 0);
            assert!(used, "{a} and {b}: {lanes:?}");
        }
    }
}

#[test]
fn a_replay_is_refused_on_each_lane() {
    let pair = pair(4, 4);
    let (_, victim) = pair.lan_sockets();
    let to = victim.local_addr().expect("address");
    pair.b.install_inbound(PATHS[0], EPOCH);
    for lane in 0..4 {
        let attacker = Attacker::of_lane(&pair, 0, EPOCH, lane);
        let packet = attacker.sealed_udp("10.1.0.1", to, &[b'a' + lane]);
        let mut forged = attacker.sealed_udp("10.1.0.1", to, b"evil");
        // The key of one lane opens nothing of another.
        forged[3] ^= 1;
        let counted = |reason| pair.b.dropped(reason);
        let before = (counted(DropReason::Replayed), counted(DropReason::BadIcv));
        attacker.send(&packet);
        attacker.send(&packet);
        attacker.send(&forged);
        pair.b.wait_for("both are dropped", |c| {
            let now = (c.drops[&DropReason::Replayed], c.drops[&DropReason::BadIcv]);
            now == (before.0 + 1, before.1 + 1)
        });
        let mut got = [0; 8];
        assert_eq!(victim.recv(&mut got).expect("the first one"), 1);
        assert_eq!(got[0], b'a' + lane);
    }
    victim.set_read_timeout(Some(Duration::from_millis(50))).expect("timeout");
    assert!(victim.recv(&mut [0; 8]).is_err(), "nothing else was delivered");
}

#[test]
fn a_device_that_vanishes_is_told_once_and_made_anew_with_all_its_queues() {
    let mut pair = pair(4, 4);
    let spec = pair.a.spec(Family::V4);
    pair.a.net.ip("link del hawser1");
    let (mut told, until) = (0, Instant::now() + Duration::from_secs(1));
    while Instant::now() < until {
        match pair.a.receivers.events.try_recv() {
            Ok(event) => told += u32::from(matches!(event, Event::SegmentFailed { .. })),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
    assert_eq!(told, 1);
    let mut smaller = spec;
    smaller.segments[0].mtu_bytes -= 100;
    pair.a.apply(smaller);
    let shown = pair.a.net.run("ip -o link show hawser1");
    let said = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(said.contains(&format!("mtu {}", pair.inner_mtu() - 100)), "{said}");
    pair.a.net.ip("route add 10.2.0.0/16 dev hawser1 src 10.1.0.1");
    all_in_order(&pair.a, &pair.b, |_| {});
    assert!(sealed(&pair.a).iter().all(|packets| *packets > 0));
}

#[test]
fn uplinks_go_and_come_under_traffic_and_every_thread_ends() {
    let pair = pair(4, 4);
    let (stop, (from, _to)) = (AtomicBool::new(false), pair.lan_sockets());
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = from.send(&[0; 1_000]);
                thread::sleep(Duration::from_micros(50));
            }
        });
        for _ in 0..5 {
            let [uplink, _] = super::fixture::UPLINKS;
            let interface = "wan0".to_owned();
            let port = super::fixture::PORT;
            let spec =
                crate::dataplane::UplinkSpec { id: uplink, interface, port, v4: true, v6: true };
            pair.b.driver.remove_uplink(uplink);
            pair.b.net.enter(|| pair.b.driver.add_uplink(spec)).expect("uplink");
            thread::sleep(Duration::from_millis(30));
        }
        stop.store(true, Ordering::Relaxed);
    });
    pair.ping(false, 5);
}

/// By itself the kernel would move the flow to the queue that the answer was written to.
#[test]
fn a_flow_keeps_its_queue_whichever_its_answers_come_by() {
    let net = Net::new();
    let tun = net.enter(|| Tun::create("hawser1", 1_400, 4)).expect("a device");
    assert_eq!(tun.queues(), 4, "the kernel takes the program");
    net.ip("address add 10.7.0.1/24 dev hawser1");
    net.ip("address add fd07::1/64 dev hawser1 nodad");
    // Whatever else the kernel says by a new device is not asked for.
    let queue_of_next = || {
        let mut buffer = [0; 2_000];
        let mut has_ours = |queue: &usize| {
            while let Ok(length) = tun.read(*queue, &mut buffer) {
                if buffer[..length].windows(3).any(|octets| octets == b"ask") {
                    return true;
                }
            }
            false
        };
        (0..4).find(|queue| has_ours(queue))
    };
    let mut used = std::collections::BTreeSet::new();
    for (local, peer) in [("10.7.0.1:0", "10.7.0.2:9999"), ("[fd07::1]:0", "[fd07::2]:9999")] {
        let sockets: Vec<UdpSocket> =
            (0..FLOWS).map(|_| net.enter(|| UdpSocket::bind(local)).expect("bind")).collect();
        for socket in &sockets {
            while queue_of_next().is_some() {}
            socket.connect(peer).expect("connect");
            socket.set_read_timeout(Some(Duration::from_secs(1))).expect("timeout");
            socket.send(b"ask").expect("send");
            let queue = queue_of_next().expect("it came");
            used.insert((local, queue));
            if let local @ SocketAddr::V4(_) = socket.local_addr().expect("address") {
                let answer = udp_packet("10.7.0.2", local, b"answer");
                let header = VnetHdr::DONE.encode();
                let pieces = [IoSlice::new(&header), IoSlice::new(&answer)];
                tun.write(queue + 1, &pieces).expect("written");
                let mut got = [0; 8];
                assert_eq!(socket.recv(&mut got).expect("the answer"), 6);
            }
            for _ in 0..3 {
                socket.send(b"ask again").expect("send");
                assert_eq!(queue_of_next(), Some(queue));
            }
        }
    }
    assert_eq!(used.len(), 8, "{used:?}");
}
