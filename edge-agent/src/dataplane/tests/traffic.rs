//! What passes, and that it passes whole.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use hawser_edge_core::keys::Lanes;
use nix::sys::socket::{getsockopt, sockopt};
use ring::digest::{Context, SHA256};

use super::fixture::{PATHS, Pair, lan};
use crate::dataplane::{DataPlane, DropReason, Family};

const TRANSFER_BYTES: usize = 24 << 20;

#[test]
fn ping_and_tcp_pass_whole_over_ipv4() {
    everything_passes(Pair::new(Family::V4));
}

#[test]
fn ping_and_tcp_pass_whole_over_ipv6() {
    everything_passes(Pair::new(Family::V6));
}

#[test]
fn ping_and_tcp_pass_whole_over_four_lanes() {
    everything_passes(Pair::with_lanes(Family::V4, [Lanes::clamped(4); 2]));
}

#[test]
fn devices_without_segmentation_carry_the_same() {
    let pair = Pair::new(Family::V4);
    for edge in [&pair.a, &pair.b] {
        for socket in edge.driver.shared.sockets.load().values() {
            socket.segmentation.store(false, Ordering::Relaxed);
        }
    }
    tcp_arrives_intact(&pair, false);
    udp_bursts_arrive_intact(&pair, true);
}

#[test]
fn segments_above_the_uplinks_mtu_are_dropped_and_segmentation_stays() {
    let pair = Pair::new(Family::V4);
    pair.ping(false, 1);
    pair.a.net.ip("link set wan0 mtu 1400");
    let (from, _to) = pair.lan_sockets();
    nix::sys::socket::setsockopt(&from, sockopt::UdpGsoSegment, &1390).expect("GSO");
    from.send(&[0; 4 * 1390]).expect("send");
    pair.a.wait_for("too long", |counters| counters.drops[&DropReason::SendFailed] == 4);
    let sockets = pair.a.driver.shared.sockets.load();
    assert!(sockets.values().all(|socket| socket.segmentation.load(Ordering::Relaxed)));
    pair.a.net.ip("link set wan0 mtu 1500");
    tcp_arrives_intact(&pair, false);
}

fn everything_passes(pair: Pair) {
    for ipv6 in [false, true] {
        pair.ping(ipv6, 5);
        tcp_arrives_intact(&pair, ipv6);
        udp_bursts_arrive_intact(&pair, ipv6);
    }
    // The last of TCP (its goodbyes, a late retransmission) may still be on its way, and no two counters are read at once.
    pair.a.wait_for("as many packets sealed as sent", |counters| {
        let lanes = counters.outbound_sas[&PATHS[0]].iter();
        lanes.map(|sa| sa.packets).sum::<u64>() == counters.paths[&PATHS[0]].tx_packets
    });
    let (a, b) = (pair.a.driver.counters(), pair.b.driver.counters());
    let (sent, received) = (a.paths[&PATHS[0]], b.paths[&PATHS[0]]);
    assert!(sent.tx_bytes > 2 * TRANSFER_BYTES as u64, "{sent:?}");
    assert!(received.rx_bytes > 2 * TRANSFER_BYTES as u64, "{received:?}");
    assert_eq!(a.paths[&PATHS[1]].tx_packets, 0, "the path that is not selected");
    let sas = &a.outbound_sas[&PATHS[0]];
    assert!(sas.iter().map(|sa| sa.bytes).sum::<u64>() > sent.tx_bytes, "{sas:?} {sent:?}");
    for reason in [DropReason::BadIcv, DropReason::BadInner, DropReason::BadPacket] {
        assert_eq!((a.drops[&reason], b.drops[&reason]), (0, 0), "{reason:?}");
    }
}

fn tcp_arrives_intact(pair: &Pair, ipv6: bool) {
    let listen: SocketAddr = (lan(2, ipv6), 0).into();
    let listener = pair.b.net.enter(|| TcpListener::bind(listen)).expect("listen");
    let to = listener.local_addr().expect("address");
    let sender = pair.a.net.enter(|| TcpStream::connect(to)).expect("connect");
    let (receiver, _) = listener.accept().expect("accept");

    // RFC 6691: the option leaves out TCP's options, the kernel's figure counts the 12 octets of timestamps.
    let headers = if ipv6 { 60 } else { 40 };
    let mss = u32::from(pair.inner_mtu()) - headers - 12;
    for socket in [&sender, &receiver] {
        let socket = OwnedFd::from(socket.try_clone().expect("clone"));
        assert_eq!(getsockopt(&socket.as_fd(), sockopt::TcpMaxSeg).expect("MSS"), mss);
    }
    // Both ways at once.
    let from_a = exchange(sender);
    let from_b = exchange(receiver);
    let [from_a, from_b] = [from_a, from_b].map(|thread| thread.join().expect("transfer"));
    assert_eq!(from_a.0.as_ref(), from_b.1.as_ref(), "A to B");
    assert_eq!(from_b.0.as_ref(), from_a.1.as_ref(), "B to A");
}

type Digests = (ring::digest::Digest, ring::digest::Digest);

/// Sends `TRANSFER_BYTES` and receives as many; gives the digests of both.
fn exchange(stream: TcpStream) -> thread::JoinHandle<Digests> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    stream.set_write_timeout(Some(Duration::from_secs(20))).expect("timeout");
    thread::spawn(move || {
        let mut writer = stream.try_clone().expect("clone");
        let port = u64::from(stream.local_addr().expect("address").port());
        let sending = thread::spawn(move || {
            let (mut digest, mut state, mut sent) = (Context::new(&SHA256), port + 1, 0);
            while sent < TRANSFER_BYTES {
                // Pieces of odd lengths, so that segments end anywhere.
                let piece: Vec<u8> = (0..10_007).map(|_| random_octet(&mut state)).collect();
                let piece = &piece[..piece.len().min(TRANSFER_BYTES - sent)];
                writer.write_all(piece).expect("write");
                digest.update(piece);
                sent += piece.len();
            }
            digest.finish()
        });
        let (mut digest, mut received) = (Context::new(&SHA256), 0);
        let mut buffer = vec![0; 1 << 16];
        let mut reader = &stream;
        while received < TRANSFER_BYTES {
            let count = reader.read(&mut buffer).expect("read");
            assert!(count > 0, "the stream ended after {received} octets");
            digest.update(&buffer[..count]);
            received += count;
        }
        (sending.join().expect("sender"), digest.finish())
    })
}

/// xorshift64*: pseudo-random is enough to tell octets apart.
fn random_octet(state: &mut u64) -> u8 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
}

pub(super) fn udp_bursts_arrive_intact(pair: &Pair, ipv6: bool) {
    use std::net::UdpSocket;
    let bind = |net: &super::net::Net, edge| {
        net.enter(|| UdpSocket::bind((lan(edge, ipv6), 0))).expect("bind")
    };
    let (from, to) = (bind(&pair.a.net, 1), bind(&pair.b.net, 2));
    to.set_read_timeout(Some(Duration::from_secs(1))).expect("timeout");
    from.connect(to.local_addr().expect("address")).expect("connect");
    // With segmentation the kernel hands the TUN one packet of many datagrams.
    for segmented in [false, true] {
        if segmented {
            nix::sys::socket::setsockopt(&from, sockopt::UdpGsoSegment, &1000).expect("GSO");
        }
        let burst: Vec<u8> = (0..10_500u32).map(|place| (place / 7) as u8).collect();
        let pieces: Vec<&[u8]> = if segmented {
            from.send(&burst).expect("send");
            burst.chunks(1000).collect()
        } else {
            burst.chunks(1000).inspect(|piece| assert!(from.send(piece).is_ok())).collect()
        };
        for (index, piece) in pieces.into_iter().enumerate() {
            let mut got = vec![0; 2000];
            let length = loop {
                match to.recv(&mut got) {
                    Ok(length) => break length,
                    // With a timeout a wait is not taken up again by itself.
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        panic!("datagram {index} (ipv6 {ipv6}, segmented {segmented}): {error}")
                    }
                }
            };
            assert_eq!(&got[..length], piece, "datagram {index}");
        }
    }
}

#[test]
fn a_syn_that_asks_for_more_than_fits_is_clamped_where_it_enters_and_where_it_leaves() {
    let pair = Pair::new(Family::V4);
    pair.a.net.ip("route change 10.2.0.0/16 dev hawser1 src 10.1.0.1 advmss 1460");
    let listener = pair.b.net.enter(|| TcpListener::bind((lan(2, false), 0))).expect("listen");
    let to = listener.local_addr().expect("address");
    // The lower of the two ends' ideas holds; beyond both the SYN stays as it is.
    for (at_a, at_b, mss) in [(1300, 1500, 1260), (1500, 1350, 1310), (1500, 1500, 1460)] {
        for (edge, inner_mtu_bytes) in [(&pair.a, at_a), (&pair.b, at_b)] {
            let mut spec = edge.spec(Family::V4);
            spec.tunnels[0].inner_mtu_bytes = inner_mtu_bytes;
            edge.apply(spec);
        }
        let sniffer = pair.b.net.enter(Sniffer::open);
        let _stream = pair.a.net.enter(|| TcpStream::connect(to)).expect("connect");
        assert_eq!(sniffer.mss_of_first_syn(), mss, "{at_a} at A, {at_b} at B");
    }
}

/// Reads packets as they pass; TCP is in clear on the TUN alone.
struct Sniffer(socket2::Socket);

impl Sniffer {
    fn open() -> Sniffer {
        use socket2::{Domain, Protocol, Socket, Type};
        let protocol = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).expect("socket");
        socket.set_read_timeout(Some(Duration::from_secs(2))).expect("timeout");
        Sniffer(socket)
    }

    fn mss_of_first_syn(&self) -> u16 {
        let mut packet = vec![0; 2000];
        loop {
            let length = (&self.0).read(&mut packet).expect("a packet");
            let Ok(parsed) = hawser_esp::ip::Packet::parse(&packet[..length]) else { continue };
            let Some(tcp) = parsed.tcp() else { continue };
            // Linux puts the option first (RFC 9293 section 3.2: kind 2, length 4).
            if let [2, 4, high, low, ..] = *tcp.options() {
                return u16::from_be_bytes([high, low]);
            }
        }
    }
}

#[test]
fn a_rekey_under_traffic_loses_nothing() {
    let pair = Pair::new(Family::V4);
    let lost = lost_while(&pair, |step| pair.rekey(PATHS[0], step + 1));
    assert_eq!(lost, 0);
    assert_eq!(pair.b.dropped(DropReason::UnknownSpi), 0);
    let used = pair.b.driver.counters().inbound_sas.values().filter(|sa| sa.packets > 0).count();
    assert!(used >= 5, "{used} SAs were used");
}

#[test]
fn a_selection_moves_traffic_without_loss() {
    let pair = Pair::new(Family::V4);
    let lost = lost_while(&pair, |step| pair.select(usize::from(step + 1) % 2));
    assert_eq!(lost, 0);
    let paths = pair.b.driver.counters().paths;
    for path in PATHS {
        assert!(paths[&path].rx_packets > 100, "{path}: {:?}", paths[&path]);
    }
}

/// Sends 3,000 packets in 0.6 s with five changes on the way; gives how many did not arrive.
pub(super) fn lost_while(pair: &Pair, change: impl Fn(u8) + Sync) -> usize {
    const PACKETS: u32 = 3_000;
    let (from, to) = pair.lan_sockets();
    let arrived = thread::spawn(move || {
        let mut seen = vec![false; PACKETS as usize];
        let mut buffer = [0; 4];
        while seen.contains(&false) && to.recv(&mut buffer).is_ok() {
            seen[u32::from_be_bytes(buffer) as usize] = true;
        }
        seen
    });
    for number in 0..PACKETS {
        from.send(&number.to_be_bytes()).expect("send");
        thread::sleep(Duration::from_micros(100));
        if number % 500 == 250 {
            change((number / 500) as u8);
        }
    }
    arrived.join().expect("receiver").into_iter().filter(|seen| !seen).count()
}
