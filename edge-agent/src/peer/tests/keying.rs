//! Keys over real connections.

use std::collections::BTreeSet;
use std::time::Duration;

use hawser_edge_core::id::{EdgeId, PathId};
use hawser_edge_core::keys::{KeySuite, Lanes, SaUsage};
use hawser_proto::peer::v1::{Reachability, ReachablePrefix, Selection, Selections};

use super::authority::Authority;
use super::node::{Node, all_joined, eventually, joined, keying, name, peer};
use crate::peer::PathKeying;

async fn pair(paths: &[u32]) -> (Node, Node) {
    let ca = Authority::new("acme");
    let (a, b) = (Node::new(&ca, 1, &[11, 12]), Node::new(&ca, 2, &[21, 22]));
    a.knows(&b, &[11, 12], &[21, 22]);
    b.knows(&a, &[21, 22], &[11, 12]);
    a.configure([peer(2, paths)]);
    b.configure([peer(1, paths)]);
    all_joined(&a, &b, paths).await;
    (a, b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_have_equal_keys_for_each_path_and_direction_and_no_two_are_alike() {
    let paths = [1, 2, 3, 4];
    let (a, b) = pair(&paths).await;
    let keys: BTreeSet<Vec<u8>> = [&a, &b]
        .iter()
        .flat_map(|node| node.seen.lock().unwrap().outbound.values().cloned().collect::<Vec<_>>())
        .map(|(_, key)| key)
        .collect();
    assert_eq!(keys.len(), 2 * paths.len());
    assert!(keys.iter().all(|key| key.len() == 20));
    a.sees("PeerHello").await;
    a.sees("127.0.0.1").await;
    let told = Reachability { sequence: 7, ..Default::default() };
    b.handle.as_ref().unwrap().advertise(EdgeId(1), vec![told]).unwrap();
    a.sees("Reachability { sequence: 7").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_of_different_lanes_key_as_many_as_both_have_each_with_a_key_of_its_own() {
    for (ours, theirs, further) in [(4, 1, 0), (1, 4, 0), (4, 2, 1), (8, 8, 7)] {
        let ca = Authority::new("acme");
        let node = |id: u32, uplink: u32, lanes: usize| {
            let identity = ca.identity(&name(id));
            Node::of_lanes(Lanes::clamped(lanes), &ca, id, &[uplink], identity)
        };
        let (a, b) = (node(1, 11, ours), node(2, 21, theirs));
        a.knows(&b, &[11], &[21]);
        b.knows(&a, &[21], &[11]);
        a.configure([peer(2, &[7])]);
        b.configure([peer(1, &[7])]);
        all_joined(&a, &b, &[7]).await;
        let of = |node: &Node| node.seen.lock().unwrap().further[&PathId(7)].clone();
        let ([a_in, a_out], [b_in, b_out]) = (of(&a), of(&b));
        assert_eq!((a_in.len(), a_out.len()), (further, further), "{ours} and {theirs}");
        assert_eq!((&a_in, &a_out), (&b_out, &b_in), "{ours} and {theirs}");
        let keys: BTreeSet<_> = a_in.iter().chain(&a_out).collect();
        assert_eq!(keys.len(), 2 * further);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_carries_symmetric_classes_is_told_and_told_again_on_a_new_connection() {
    let (a, b) = pair(&[1]).await;
    let told = Selections { selections: vec![Selection { class_id: 4, path_id: 1 }] };
    a.handle.as_ref().unwrap().tell_selections(EdgeId(2), told).unwrap();
    let text = "Selections { selections: [Selection { class_id: 4, path_id: 1 }] }";
    b.sees(text).await;
    // A timed rekey opens a new connection.
    for (node, other) in [(&a, 2), (&b, 1)] {
        let mut config = peer(other, &[1]);
        config.rekey_after = Duration::from_millis(700);
        node.configure([config]);
    }
    eventually("it is told again", || b.saw(text) > 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_departs_is_told_of_and_keeps_its_keys_until_it_is_gone() {
    let (a, b) = pair(&[1, 2]).await;
    b.sees("Pairing { edge: EdgeId(1), paths: {PathId(1), PathId(2)} }").await;
    let mut config = peer(2, &[1, 2]);
    config.departing = BTreeSet::from([PathId(1)]);
    a.configure([config.clone()]);
    b.sees("Pairing { edge: EdgeId(1), paths: {PathId(2)} }").await;
    assert!(joined(&a, &b, 1) && joined(&b, &a, 1));
    // It comes back, and then goes for good.
    config.departing.clear();
    a.configure([config]);
    let both = "Pairing { edge: EdgeId(1), paths: {PathId(1), PathId(2)} }";
    eventually("it is back", || b.saw(both) == 2).await;
    assert_eq!((a.rekeys(1), b.rekeys(1)), (1, 1), "with the keys that it had");
    a.configure([peer(2, &[2])]);
    eventually("it is gone", || !joined(&b, &a, 1)).await;
    all_joined(&a, &b, &[2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_one_end_has_first_is_keyed_as_soon_as_the_other_one_has_it() {
    // Whichever of them is the client.
    for late in [1, 2] {
        let (a, b) = pair(&[1]).await;
        let (first, last) = if late == 1 { (&b, &a) } else { (&a, &b) };
        let (of_first, of_last) = if late == 1 { (1, 2) } else { (2, 1) };
        first.configure([peer(of_first, &[1, 2])]);
        // Long enough for pauses of several seconds between refusals.
        tokio::time::sleep(Duration::from_millis(4_500)).await;
        last.configure([peer(of_last, &[1, 2])]);
        let since = tokio::time::Instant::now();
        all_joined(&a, &b, &[2]).await;
        assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rekey_by_bytes_raises_the_epoch_whichever_end_asks() {
    let (a, b) = pair(&[1, 2]).await;
    for asking in [&a, &b] {
        let before = (a.rekeys(1), b.rekeys(1));
        let handle = asking.handle.as_ref().unwrap();
        eventually("path 1 has new keys at both ends", || {
            if a.rekeys(1) == before.0 || b.rekeys(1) == before.1 {
                // As the engine reports use: again and again.
                let _ = handle.rekey(PathId(1));
                return false;
            }
            true
        })
        .await;
        all_joined(&a, &b, &[1, 2]).await;
    }
    assert_eq!(a.rekeys(2), 1, "the other path is left alone");
    let epochs = a.seen.lock().unwrap().rekeyed[&PathId(1)].clone();
    assert!(epochs.is_sorted() && epochs[1..].iter().all(|(_, fresh)| !fresh), "{epochs:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reported_use_rekeys_at_the_limit_and_exhaustion_stops_the_sender() {
    let (a, b) = pair(&[1]).await;
    let limited = PathKeying { rekey_after_bytes: 1000, ..keying() };
    let mut config = peer(2, &[]);
    config.paths.insert(PathId(1), limited);
    a.configure([config]);
    let handle = a.handle.as_ref().unwrap();
    eventually("its use is above the limit", || {
        let _ = handle.report_usage(PathId(1), SaUsage { bytes: 1000, packets: 5 });
        a.rekeys(1) >= 3
    })
    .await;
    assert_eq!(a.saw("OutboundExhausted"), 0);
    handle.report_usage(PathId(1), SaUsage { bytes: 1, packets: 1 << 40 }).unwrap();
    a.sees("OutboundExhausted").await;
    all_joined(&a, &b, &[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timed_rekey_is_a_fresh_connection_and_no_key_is_missing_meanwhile() {
    let ca = Authority::new("acme");
    let (a, b) = (Node::new(&ca, 1, &[11]), Node::new(&ca, 2, &[21]));
    a.knows(&b, &[11], &[21]);
    b.knows(&a, &[21], &[11]);
    let short = |mut config: crate::peer::PeerConfig| {
        config.rekey_after = Duration::from_millis(700);
        config
    };
    a.configure([short(peer(2, &[1, 2]))]);
    b.configure([short(peer(1, &[1, 2]))]);
    all_joined(&a, &b, &[1, 2]).await;
    let mut looks = 0_u32;
    eventually("five rekeys", || {
        for (from, to) in [(&a, &b), (&b, &a)] {
            assert!(joined(from, to, 1) && joined(from, to, 2), "a packet would be lost now");
        }
        looks += 1;
        // The control stream is full of other things meanwhile.
        let prefixes = vec![ReachablePrefix { prefix: "x".repeat(64), ..Default::default() }; 100];
        for (node, other) in [(&a, 2), (&b, 1)] {
            let bulk = Reachability {
                sequence: u64::from(looks),
                prefixes: prefixes.clone(),
                ..Default::default()
            };
            let _ = node.handle.as_ref().unwrap().advertise(EdgeId(other), vec![bulk]);
        }
        a.rekeys(1) >= 6 && b.rekeys(2) >= 6
    })
    .await;
    assert!(looks > 20);
    let rekeyed = a.seen.lock().unwrap().rekeyed[&PathId(1)].clone();
    assert!(rekeyed.iter().all(|(epoch, fresh)| (*epoch, *fresh) == (1, true)), "{rekeyed:?}");
    assert_eq!((a.saw("down"), b.saw("down")), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ends_of_different_generations_keep_their_keys_and_meet_later() {
    let (a, b) = pair(&[1]).await;
    let mut config = peer(2, &[1, 2]);
    config.paths.insert(PathId(1), PathKeying { suite: KeySuite::Aes256Gcm, ..keying() });
    a.configure([config]);
    let refused = |code: &str| a.saw(code) + b.saw(code);
    eventually("the new suite is refused", || refused("suite_mismatch") > 0).await;
    assert!(joined(&a, &b, 1) && joined(&b, &a, 1), "the old keys stay");
    let mut config = peer(1, &[1, 2]);
    config.paths.insert(PathId(1), PathKeying { suite: KeySuite::Aes256Gcm, ..keying() });
    b.configure([config]);
    all_joined(&a, &b, &[1, 2]).await;
    eventually("the new suite is keyed", || {
        [&a, &b].iter().all(|n| n.seen.lock().unwrap().outbound[&PathId(1)].1.len() == 36)
    })
    .await;
    a.configure([]);
    eventually("what is gone has no SAs", || a.seen.lock().unwrap().inbound.is_empty()).await;
    b.sees("down").await;
}
