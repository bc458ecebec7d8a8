//! Which connection there is.

use std::time::Duration;

use hawser_edge_core::id::PathId;

use super::authority::Authority;
use super::node::{Node, all_joined, eventually, joined, name, peer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_resolve_to_the_one_of_the_lower_edge() {
    let ca = Authority::new("acme");
    // The higher edge comes first: it dials alone and its connection is up.
    let (low, high) = (Node::new(&ca, 1, &[11]), Node::new(&ca, 2, &[21]));
    high.knows(&low, &[21], &[11]);
    low.configure([peer(2, &[1])]);
    high.configure([peer(1, &[1])]);
    all_joined(&low, &high, &[1]).await;
    high.sees("up 1 opened_here=true").await;

    // Ten pairs that dial each other at once.
    for _ in 0..10 {
        let (low, high) = (Node::new(&ca, 3, &[11]), Node::new(&ca, 4, &[21]));
        low.knows(&high, &[11], &[21]);
        low.configure([peer(4, &[1])]);
        high.configure([peer(3, &[1])]);
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..4))).await;
        high.knows(&low, &[21], &[11]);
        all_joined(&low, &high, &[1]).await;
        let (before, was) = (low.rekeys(1), high.rekeys(1));
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(low.rekeys(1) - before <= 1 && high.rekeys(1) - was <= 1, "and there it stays");
        assert!(joined(&low, &high, 1) && joined(&high, &low, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_peer_is_taken_at_once_whoever_opened_the_old_connection() {
    let ca = Authority::new("acme");
    let identity = || ca.identity(&name(2));
    let low = Node::new(&ca, 1, &[11]);
    let mut high = Node::with(&ca, 2, &[21], identity());
    low.knows(&high, &[11], &[21]);
    high.knows(&low, &[21], &[11]);
    low.configure([peer(2, &[1])]);
    high.configure([peer(1, &[1])]);
    all_joined(&low, &high, &[1]).await;
    // It is gone without a word: its uplink first.
    high.net.kill(21);
    high.handle = None;
    let old = low.seen.lock().unwrap().outbound[&PathId(1)].clone();
    let again = Node::with(&ca, 2, &[22], identity());
    again.knows(&low, &[22], &[11]);
    again.configure([peer(1, &[1])]);
    let started = tokio::time::Instant::now();
    all_joined(&low, &again, &[1]).await;
    assert!(started.elapsed() < Duration::from_secs(2), "before the old one has timed out");
    assert_ne!(low.seen.lock().unwrap().outbound[&PathId(1)], old);
    low.sees("KeyChanged").await;
    assert_eq!(low.saw("down"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_outlive_their_connection_and_are_fresh_after_it_returns() {
    let ca = Authority::new("acme");
    let (a, b) = (Node::new(&ca, 1, &[11]), Node::new(&ca, 2, &[21]));
    a.knows(&b, &[11], &[21]);
    b.knows(&a, &[21], &[11]);
    a.configure([peer(2, &[1])]);
    b.configure([peer(1, &[1])]);
    all_joined(&a, &b, &[1]).await;
    let before = a.seen.lock().unwrap().outbound[&PathId(1)].clone();
    b.net.kill(21);
    a.sees("down 2").await;
    b.sees("down 1").await;
    assert!(joined(&a, &b, 1) && joined(&b, &a, 1), "the SAs are still there");
    b.net.open(21);
    a.knows(&b, &[11], &[21]);
    eventually("a fresh key", || a.seen.lock().unwrap().outbound[&PathId(1)] != before).await;
    all_joined(&a, &b, &[1]).await;
}
