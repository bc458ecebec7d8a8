//! Who is not let in, and what strangers can't break.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use hawser_edge_core::id::{EdgeId, PathId, UplinkId};
use hawser_edge_core::keys::Lanes;
use hawser_proto::peer::v1::peer_message::Message;
use hawser_proto::peer::v1::{KeyAnswer, KeyConfirm, KeyOffer, Superseded};
use prost::Message as _;
use rcgen::ExtendedKeyUsagePurpose;

use super::authority::{Authority, Certified};
use super::net::Net;
use super::node::{Node, all_joined, eventually, joined, name, peer, timers};
use crate::peer::connection_id::IssuedIds;
use crate::peer::hello::compose;
use crate::peer::link::message;
use crate::peer::shared::{configs, endpoint_config};
use crate::peer::socket::FabricSocket;
use crate::peer::{HelloFacts, Identity, PeerRoutes, PeerSettings, RevokedSerials, wire};

/// Edge 2 with some identity dials edge 1, which has its own of `ca`; both say what they saw.
async fn attempt(ca: &Authority, identity: Identity) -> (Node, Node) {
    let (good, other) = (Node::new(ca, 1, &[11]), Node::with(ca, 2, &[21], identity));
    other.knows(&good, &[21], &[11]);
    good.configure([peer(2, &[1])]);
    other.configure([peer(1, &[1])]);
    (good, other)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_are_not_of_the_peer_are_refused_with_the_reason() {
    let ca = Authority::new("acme");
    let expired = Certified { expired: true, ..Certified::default() };
    let server_only =
        Certified { usages: vec![ExtendedKeyUsagePurpose::ServerAuth], ..Certified::default() };
    let two_faced =
        Certified { uri: Some("hawser://acme/edge/edge-9".into()), ..Certified::default() };
    let foreign = Authority::new("evil");
    let table = [
        (ca.certify("other", &name(2), &Certified::default()), "wrong_fleet"),
        (ca.certify("acme", &name(2), &expired), "expired"),
        (ca.certify("acme", &name(2), &server_only), "bad_certificate"),
    ];
    for (identity, code) in table {
        let (good, other) = attempt(&ca, identity).await;
        good.sees(&format!("refused ? {code}")).await;
        other.sees(&format!("refused edge-1 {code}")).await;
        assert!(good.seen.lock().unwrap().inbound.is_empty(), "{code}: nothing is keyed");
    }
    // Another fleet's CA: it trusts nobody of ours, nor we it.
    let (good, other) =
        attempt(&ca, foreign.certify("acme", &name(2), &Certified::default())).await;
    other.sees("refused edge-1 untrusted").await;
    assert!(good.seen.lock().unwrap().inbound.is_empty());
    let chain_of_other = ca.certify("acme", &name(2), &two_faced);
    assert!(chain_of_other.check().is_err(), "an identity of two names is not even started");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_without_a_tunnel_here_is_refused_and_so_is_one_that_is_another() {
    let ca = Authority::new("acme");
    let (good, stranger) = (Node::new(&ca, 1, &[11]), Node::new(&ca, 3, &[31]));
    good.configure([peer(2, &[1])]);
    stranger.knows(&good, &[31], &[11]);
    stranger.configure([peer(1, &[1])]);
    good.sees("refused edge-3 unknown_peer").await;
    stranger.sees("refused edge-1 unknown_peer").await;

    // The acceptor must be who was dialled: 3 answers where 2 is expected.
    good.knows(&stranger, &[11], &[31]);
    good.routes.set_candidates(EdgeId(2), vec![(UplinkId(11), stranger.net.address(31))]);
    good.sees("refused edge-2 bad_certificate").await;
    assert!(good.seen.lock().unwrap().inbound.is_empty());
    // Refusals are told once for each kind, not at each attempt.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(good.saw("refused edge-3 unknown_peer"), 1);
    assert!(good.handle.as_ref().unwrap().counters().handshakes_refused > 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_certificate_is_refused_and_its_live_connection_ended() {
    let ca = Authority::new("acme");
    let what = Certified { serial: vec![0x0a, 0xbc, 0x01], ..Certified::default() };
    let (good, other) = attempt(&ca, ca.certify("acme", &name(2), &what)).await;
    all_joined(&good, &other, &[1]).await;
    good.revoked.send_replace(Arc::new(RevokedSerials::from_hex(["AB:C01"]).unwrap()));
    good.revoked.send_replace(Arc::new(RevokedSerials::from_hex(["0A:BC:01"]).unwrap()));
    good.sees("down 2 revoked").await;
    // Its keys go with it, at once.
    good.sees("PeerRevoked { edge: EdgeId(2)").await;
    assert!(good.seen.lock().unwrap().inbound.is_empty(), "no SA of the revoked device is left");
    other.sees("refused edge-1 revoked").await;
    good.sees("refused ? revoked").await;

    // Revoked at the acceptor's end is found by the opener.
    let serial = Certified { serial: vec![0x77], ..Certified::default() };
    let (good, other) = attempt(&ca, ca.identity(&name(2))).await;
    let accepting = Node::with(&ca, 5, &[51], ca.certify("acme", &name(5), &serial));
    good.revoked.send_replace(Arc::new(RevokedSerials::from_hex(["77"]).unwrap()));
    accepting.configure([peer(1, &[9])]);
    good.knows(&accepting, &[11], &[51]);
    good.configure([peer(2, &[1]), peer(5, &[9])]);
    good.sees("refused edge-5 revoked").await;
    all_joined(&good, &other, &[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_identity_is_used_by_the_next_connection_and_a_new_key_is_an_event() {
    let ca = Authority::new("acme");
    let (good, other) = attempt(&ca, ca.identity(&name(2))).await;
    all_joined(&good, &other, &[1]).await;
    let handle = other.handle.as_ref().unwrap();
    let (mixed, of_other) = (ca.identity(&name(2)), ca.identity(&name(2)));
    let mixed = Identity::from_der(mixed.chain, of_other.key, mixed.root);
    assert!(handle.set_identity(mixed).is_err());
    handle.set_identity(ca.identity(&name(2))).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(good.saw("KeyChanged"), 0, "a live connection keeps its certificate");
    other.net.kill(21);
    good.sees("down 2").await;
    other.net.open(21);
    good.sees("KeyChanged").await;
    all_joined(&good, &other, &[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_the_port_changes_nothing() {
    let ca = Authority::new("acme");
    let (good, other) = attempt(&ca, ca.identity(&name(2))).await;
    all_joined(&good, &other, &[1]).await;
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = good.net.address(11);
    for n in 0..2000_usize {
        let mut datagram = vec![0; 4 + n % 1400];
        for octet in &mut datagram[4..] {
            *octet = rand::random();
        }
        // Long headers of version 1 too, which look like first packets.
        if n % 2 == 0 && datagram.len() > 12 {
            datagram[4..9].copy_from_slice(&[0xc0, 0, 0, 0, 1]);
            datagram[9] = 8;
        }
        noise.send_to(&datagram, to).unwrap();
        if n % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    let before = good.rekeys(1);
    other.handle.as_ref().unwrap().rekey(PathId(1)).unwrap();
    eventually("still keys", || good.rekeys(1) > before).await;
    assert!(joined(&good, &other, 1) && joined(&other, &good, 1));
    assert_eq!(good.saw("down"), 0);
    assert!(good.handle.as_ref().unwrap().counters().events_suppressed < 2000);
    assert!(good.saw("refused") <= 3, "no flood of events");
}

fn settings(edge: u32) -> PeerSettings {
    PeerSettings {
        fleet: "acme".into(),
        edge: EdgeId(edge),
        edge_name: name(edge),
        fabric_port: 4510,
        boot_id: "b".into(),
        lanes: Lanes::ONE,
        timers: timers(),
    }
}

/// As of so many clients that mean to connect, each of a connection of its own.
async fn first_packets(count: usize) -> Vec<Vec<u8>> {
    let ca = Authority::new("acme");
    let revoked = tokio::sync::watch::channel(Arc::default()).1;
    let (config, _) = configs(&ca.identity(&name(9)), &settings(9), &revoked).unwrap();
    let listener = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut packets = Vec::new();
    for _ in 0..count {
        let to = listener.local_addr().unwrap();
        let attempt = client.connect_with(config.clone(), to, "edge-1.edge.acme.hawser").unwrap();
        let mut packet = vec![0; 2048];
        let (length, _) = listener.recv_from(&mut packet).await.unwrap();
        packet.truncate(length);
        packets.push(packet);
        drop(attempt);
    }
    packets
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_handshakes_of_one_source_are_asked_for_proof_and_a_real_peer_still_gets_in() {
    let ca = Authority::new("acme");
    let good = Node::new(&ca, 1, &[11]);
    good.configure([peer(2, &[1])]);
    // First packets of strangers, all from one address: valid QUIC, never answered.
    let flood = first_packets(60).await;
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in &flood {
        noise.send_to(&[&[0; 4], datagram.as_slice()].concat(), good.net.address(11)).unwrap();
    }
    let handle = good.handle.as_ref().unwrap();
    eventually("retries", || handle.counters().handshakes_retried > 20).await;
    // 127.0.0.1 is the flooder's address too: the peer proves itself by Retry and is let in.
    let other = Node::new(&ca, 2, &[21]);
    other.knows(&good, &[21], &[11]);
    other.configure([peer(1, &[1])]);
    all_joined(&good, &other, &[1]).await;
}

/// A peer with a good certificate that speaks as it likes.
struct Rude {
    connection: quinn::Connection,
    send: quinn::SendStream,
    recv: quinn::RecvStream,
}

async fn rude(ca: &Authority, good: &Node) -> Rude {
    let (net, datagrams) = Net::new();
    net.open(21);
    let routes = Arc::new(PeerRoutes::new());
    routes.set_candidates(EdgeId(1), vec![(UplinkId(21), good.net.address(11))]);
    let settings = settings(2);
    let revoked = tokio::sync::watch::channel(Arc::default()).1;
    let (config, _) = configs(&ca.identity(&name(2)), &settings, &revoked).unwrap();
    let ids = IssuedIds::new().unwrap();
    let socket = FabricSocket::new(net, datagrams, routes, ids.clone(), 4510);
    let endpoint = quinn::Endpoint::new_with_abstract_socket(
        endpoint_config(ids),
        None,
        Arc::new(socket),
        Arc::new(quinn::TokioRuntime),
    )
    .unwrap();
    let to = "[100::1]:4510".parse().unwrap();
    let connecting = endpoint.connect_with(config, to, "edge-1.edge.acme.hawser").unwrap();
    let connection = connecting.await.unwrap();
    let (send, recv) = connection.open_bi().await.unwrap();
    Rude { connection, send, recv }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_breaks_the_protocol_is_cut_off_with_a_reason() {
    let ca = Authority::new("acme");
    let hello = |edge| {
        message(Message::Hello(compose(
            &settings(edge),
            &HelloFacts::default(),
            &Default::default(),
            0,
        )))
    };
    let good_hello = hello(2).encode_to_vec();
    let framed = |octets: &[u8]| [&(octets.len() as u32).to_be_bytes(), octets].concat();
    let before_hello = [
        ("a length that is too long", vec![0, 1, 0, 0]),
        ("no message", framed(&[0xff; 9])),
        ("another message", framed(&message(Message::Superseded(Superseded {})).encode_to_vec())),
        ("another's name", framed(&hello(3).encode_to_vec())),
    ];
    for (what, octets) in before_hello {
        let good = Node::new(&ca, 1, &[11]);
        good.configure([peer(2, &[1])]);
        let mut rude = rude(&ca, &good).await;
        rude.send.write_all(&octets).await.unwrap();
        good.sees("refused edge-2 protocol").await;
        assert_eq!(good.saw("up 2"), 0, "{what}");
        let closed = rude.connection.closed().await;
        assert!(closed.to_string().contains("protocol"), "{what}: {closed}");
    }
    let after_hello = [
        ("a length that is too long", vec![0xff; 4]),
        ("no message", framed(&[0xff; 9])),
        ("a second hello", framed(&good_hello)),
    ];
    for (what, octets) in after_hello {
        let good = Node::new(&ca, 1, &[11]);
        good.configure([peer(2, &[1])]);
        let mut rude = rude(&ca, &good).await;
        rude.send.write_all(&framed(&good_hello)).await.unwrap();
        good.sees("up 2").await;
        // Late, doubled and meaningless messages about keys are ignored first, and counted.
        for odd in [
            Message::KeyConfirm(KeyConfirm { path_id: 1, epoch: 9 }),
            Message::KeyAnswer(KeyAnswer { path_id: 1, epoch: 9, spi: 1, nonce: vec![], lanes: 0 }),
        ] {
            rude.send.write_all(&framed(&message(odd).encode_to_vec())).await.unwrap();
        }
        let offer = KeyOffer { path_id: 77, epoch: 1, ..KeyOffer::default() };
        let offer = message(Message::KeyOffer(offer)).encode_to_vec();
        rude.send.write_all(&framed(&offer)).await.unwrap();
        // Its hello, and the paths that it has.
        wire::read(&mut rude.recv).await.unwrap();
        wire::read(&mut rude.recv).await.unwrap();
        let answer = wire::read(&mut rude.recv).await.unwrap();
        assert!(format!("{answer:?}").contains("unknown_path"), "{answer:?}");
        assert_eq!(good.handle.as_ref().unwrap().counters().messages_ignored, 2);
        rude.send.write_all(&octets).await.unwrap();
        good.sees("down 2 protocol").await;
        assert!(rude.connection.closed().await.to_string().contains("protocol"), "{what}");
    }
}
