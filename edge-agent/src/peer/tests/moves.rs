//! Uplinks die and addresses change under a connection.

use std::net::SocketAddr;
use std::time::Duration;

use hawser_edge_core::id::{EdgeId, PathId, UplinkId};

use super::authority::Authority;
use super::node::{Node, all_joined, eventually, peer};

/// `a` opens, `b` accepts; two uplinks each; probes have found 11 ↔ 21 to be the best.
async fn pair() -> (Node, Node) {
    let ca = Authority::new("acme");
    let (a, b) = (Node::new(&ca, 1, &[11, 12]), Node::new(&ca, 2, &[21, 22]));
    a.knows(&b, &[11, 12], &[21, 22]);
    a.configure([peer(2, &[1])]);
    b.configure([peer(1, &[1])]);
    all_joined(&a, &b, &[1]).await;
    b.sees("opened_here=false").await;
    b.knows(&a, &[21, 22], &[11, 12]);
    a.best(&b, 11, 21);
    b.best(&a, 21, 11);
    tokio::time::sleep(Duration::from_millis(300)).await;
    (a, b)
}

/// New keys on the connection that was there before: it works, both ways.
async fn still_keys(a: &Node, b: &Node) {
    let before = (a.rekeys(1), b.rekeys(1));
    for node in [a, b] {
        let handle = node.handle.as_ref().unwrap();
        eventually("a new epoch over the same connection", || {
            let _ = handle.rekey(PathId(1));
            a.rekeys(1) > before.0 && b.rekeys(1) > before.1
        })
        .await;
    }
    all_joined(a, b, &[1]).await;
    let rekeyed = a.seen.lock().unwrap().rekeyed[&PathId(1)].clone();
    assert!(
        rekeyed[1..].iter().all(|(_, fresh)| !fresh),
        "the connection is the same: {rekeyed:?}"
    );
    assert_eq!((a.saw("down"), b.saw("down")), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openers_uplink_dies_and_the_connection_goes_on() {
    let (a, b) = pair().await;
    a.net.kill(11);
    a.best(&b, 12, 22);
    b.best(&a, 22, 12);
    still_keys(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_acceptors_uplink_dies_and_the_connection_goes_on() {
    let (a, b) = pair().await;
    b.net.kill(21);
    a.best(&b, 12, 22);
    b.best(&a, 22, 12);
    still_keys(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_move_and_choose_different_ways() {
    let (a, b) = pair().await;
    a.net.kill(11);
    b.net.kill(21);
    a.best(&b, 12, 22);
    // The acceptor's probes are later: until then it knows no live way, and tries them all.
    b.routes.set_best(EdgeId(1), None);
    still_keys(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opener_whose_address_changes_is_followed_without_being_known() {
    let ca = Authority::new("acme");
    // Behind NAT: the acceptor knows no address of it.
    let (a, b) = (Node::new(&ca, 1, &[11]), Node::new(&ca, 2, &[21]));
    a.knows(&b, &[11], &[21]);
    a.configure([peer(2, &[1])]);
    b.configure([peer(1, &[1])]);
    all_joined(&a, &b, &[1]).await;
    b.sees("PeerSeen").await;
    for _ in 0..3 {
        let (old, new): (SocketAddr, SocketAddr) = (a.net.address(11), a.net.open(11));
        assert_ne!(old, new);
        // Nobody probes here: the connection finds its own way back by QUIC's migration.
        tokio::time::sleep(Duration::from_millis(400)).await;
        still_keys(&a, &b).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acceptor_whose_address_changes_is_found_once_probes_have_seen_it() {
    let (a, b) = pair().await;
    b.net.kill(22);
    let new = b.net.open(21);
    a.routes.learn(EdgeId(2), UplinkId(11), new);
    a.routes.set_best(EdgeId(2), Some((UplinkId(11), new)));
    still_keys(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_whose_answers_are_lost_does_not_keep_a_connection_from_being_opened() {
    let ca = Authority::new("acme");
    let (a, b) = (Node::new(&ca, 1, &[11, 12]), Node::new(&ca, 2, &[21]));
    // What a sends by 11 arrives, and always first; what b sends there does not.
    b.net.unreachable.lock().unwrap().insert(a.net.address(11));
    a.knows(&b, &[11, 12], &[21]);
    a.configure([peer(2, &[1])]);
    b.configure([peer(1, &[1])]);
    all_joined(&a, &b, &[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_sockets_and_unreachable_uplinks_delay_but_end_nothing() {
    let (a, b) = pair().await;
    for node in [&a, &b] {
        node.net.full_for.store(200, std::sync::atomic::Ordering::Relaxed);
    }
    still_keys(&a, &b).await;
    // The best way is one by which nothing can be sent, for a while.
    a.net.kill(12);
    a.routes.set_best(EdgeId(2), Some((UplinkId(12), b.net.address(22))));
    tokio::time::sleep(Duration::from_millis(500)).await;
    a.best(&b, 11, 21);
    still_keys(&a, &b).await;
    assert!(a.handle.as_ref().unwrap().counters().socket.dropped_refused > 0);
}
