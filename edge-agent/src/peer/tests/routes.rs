//! Virtual and real addresses.

use std::net::SocketAddr;

use hawser_edge_core::id::{EdgeId, UplinkId};
use proptest::prelude::*;

use crate::peer::long_header::LongHeader;
use crate::peer::lru::Lru;
use crate::peer::virtual_address::VirtualPeer;
use crate::peer::{MAX_COPIES, PeerRoutes, RealAddress};

const SHORT: &[u8] = &[0x40, 1, 2, 3, 4, 5, 6, 7, 8];
const PEER: EdgeId = EdgeId(7);

fn real(uplink: u32, port: u16) -> RealAddress {
    (UplinkId(uplink), SocketAddr::from(([192, 0, 2, 1], port)))
}

/// A long header of version 1.
fn long(kind: u8, destination: &[u8], source: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0xc0 | kind << 4, 0, 0, 0, 1, destination.len() as u8];
    datagram.extend_from_slice(destination);
    datagram.push(source.len() as u8);
    datagram.extend_from_slice(source);
    datagram.extend_from_slice(&[0; 40]);
    datagram
}

fn classify(routes: &PeerRoutes, from: RealAddress, datagram: &[u8]) -> VirtualPeer {
    routes.classify(from, datagram, |id| id == b"issuedid")
}

#[test]
fn virtual_addresses_are_those_of_the_architecture_page() {
    for (peer, text) in [
        (VirtualPeer::Edge(EdgeId(7)), "[100::7]:4510"),
        (VirtualPeer::Edge(EdgeId(0x0001_0002)), "[100::1:2]:4510"),
        (VirtualPeer::Provisional(3), "[100:0:0:1::3]:4510"),
        (VirtualPeer::Provisional(u32::MAX), "[100:0:0:1::ffff:ffff]:4510"),
    ] {
        let address: SocketAddr = text.parse().unwrap();
        assert_eq!(peer.address(4510), address);
        assert_eq!(VirtualPeer::from_address(address), Some(peer));
    }
    for other in ["192.0.2.1:4510", "[100:0:0:2::1]:1", "[2001:db8::1]:1", "[100::1:0:7]:1"] {
        assert_eq!(VirtualPeer::from_address(other.parse().unwrap()), None, "{other}");
    }
}

#[test]
fn the_best_way_gets_the_only_copy_once_a_handshake_is_over() {
    let routes = PeerRoutes::new();
    let to = VirtualPeer::Edge(PEER);
    let first = long(0, b"whatever", b"issuedid");
    assert!(routes.destinations(to, SHORT).is_empty());
    assert!(!routes.has_candidates(PEER));
    routes.set_candidates(PEER, vec![real(1, 1), real(2, 2)]);
    assert_eq!(routes.destinations(to, SHORT), [real(1, 1), real(2, 2)]);
    routes.set_best(PEER, Some(real(2, 2)));
    assert_eq!(routes.destinations(to, SHORT), [real(2, 2)]);
    assert_eq!(routes.destinations(to, &first), [real(2, 2), real(1, 1)]);
    routes.set_focus(PEER, Some(3));
    assert_eq!(routes.destinations(to, &first), [real(1, 1)]);
    assert_eq!(routes.destinations(to, SHORT), [real(2, 2)]);
    routes.keep_focus(PEER);
    assert_eq!(routes.destinations(to, SHORT), [real(2, 2)], "probes know better");
    routes.set_best(PEER, None);
    routes.set_focus(PEER, Some(1));
    routes.keep_focus(PEER);
    assert_eq!(routes.destinations(to, SHORT), [real(2, 2)], "what the handshake has shown");
    routes.set_best(PEER, Some(real(1, 1)));
    routes.set_best(PEER, None);
    assert_eq!(routes.destinations(to, SHORT).len(), 2);
    routes.set_candidates(PEER, (0..40).map(|n| real(1, n)).collect());
    assert_eq!(routes.destinations(to, SHORT).len(), MAX_COPIES);
    routes.forget(PEER);
    assert!(routes.destinations(to, SHORT).is_empty());
}

#[test]
fn only_authenticated_addresses_are_shown_as_the_peer() {
    let routes = PeerRoutes::new();
    let stranger = classify(&routes, real(1, 1), SHORT);
    assert_eq!(stranger, VirtualPeer::Provisional(0));
    assert_eq!(classify(&routes, real(1, 1), SHORT), stranger, "it stays the same");
    assert_ne!(classify(&routes, real(2, 1), SHORT), stranger, "another uplink, another source");
    assert_eq!(routes.destinations(stranger, SHORT), [real(1, 1)]);
    assert_eq!(routes.real_of(stranger), Some(real(1, 1)));
    routes.learn(PEER, UplinkId(1), real(1, 1).1);
    assert_eq!(classify(&routes, real(1, 1), SHORT), VirtualPeer::Edge(PEER));
    routes.learn(EdgeId(8), UplinkId(1), real(1, 1).1);
    assert_eq!(classify(&routes, real(1, 1), SHORT), VirtualPeer::Edge(EdgeId(8)), "it moved");
    assert!(routes.destinations(VirtualPeer::Edge(PEER), SHORT).is_empty());
    for n in 0..40 {
        routes.learn(EdgeId(8), UplinkId(1), real(1, 100 + n).1);
    }
    assert!(matches!(classify(&routes, real(1, 1), SHORT), VirtualPeer::Provisional(_)));
}

#[test]
fn all_copies_of_a_handshake_look_like_one_and_are_answered_where_the_first_came_from() {
    let routes = PeerRoutes::new();
    routes.set_candidates(PEER, vec![real(1, 1)]);
    let first = long(0, b"made-up!", b"clientid");
    let peer = classify(&routes, real(1, 1), &first);
    assert_eq!(peer, VirtualPeer::Provisional(0), "even from a known address");
    for copy in [real(1, 2), real(2, 1), real(2, 2)] {
        assert_eq!(classify(&routes, copy, &first), peer);
    }
    let after_retry = long(0, b"issuedid", b"clientid");
    assert_eq!(classify(&routes, real(2, 2), &after_retry), peer);
    assert_eq!(classify(&routes, real(2, 2), &long(2, b"issuedid", b"clientid")), peer);
    assert_eq!(routes.destinations(peer, &first), [real(1, 1)]);
    // After the handshake each source stands for itself.
    assert_eq!(classify(&routes, real(1, 1), SHORT), VirtualPeer::Edge(PEER));
    assert_ne!(classify(&routes, real(2, 2), SHORT), peer);
    // Answers to our own first packets come from the peer.
    let answer = long(0, b"issuedid", b"serverid");
    assert_eq!(classify(&routes, real(1, 1), &answer), VirtualPeer::Edge(PEER));
}

#[test]
fn a_flood_of_sources_is_forgotten_again() {
    let routes = PeerRoutes::new();
    for n in 0..5000_u32 {
        let from = (UplinkId(n), real(1, 1).1);
        classify(&routes, from, &long(0, b"made-up!", &u64::from(n).to_be_bytes()));
    }
    let oldest = routes.destinations(VirtualPeer::Provisional(0), SHORT);
    let newest = routes.destinations(VirtualPeer::Provisional(4999), SHORT);
    assert_eq!((oldest.len(), newest.len()), (0, 1));
}

proptest! {
    #[test]
    fn any_datagram_is_classified_without_a_panic(datagram: Vec<u8>, source in 0..4_u32) {
        let routes = PeerRoutes::new();
        let peer = classify(&routes, real(source, 1), &datagram);
        prop_assert_eq!(routes.destinations(peer, SHORT), vec![real(source, 1)]);
    }

    #[test]
    fn long_headers_are_read_back(
        kind in 0..4_u8,
        destination in prop::collection::vec(any::<u8>(), 0..=20),
        source in prop::collection::vec(any::<u8>(), 0..=20),
        cut in 0..8_usize,
    ) {
        let datagram = long(kind, &destination, &source);
        let parsed = LongHeader::parse(&datagram).unwrap();
        prop_assert_eq!(parsed.initial, kind == 0);
        prop_assert_eq!((parsed.destination, parsed.source), (&destination[..], &source[..]));
        let ids = 6 + destination.len() + source.len();
        prop_assert_eq!(LongHeader::parse(&datagram[..ids.saturating_sub(cut)]), None);
    }

    #[test]
    fn the_least_recently_used_goes_first(uses in prop::collection::vec(0..12_u32, 0..200)) {
        let mut lru = Lru::new(5);
        let mut model: Vec<u32> = Vec::new();
        for key in uses {
            let known = model.contains(&key);
            prop_assert_eq!(lru.get(&key).is_some(), known);
            if !known {
                prop_assert_eq!(lru.insert(key, ()), model.len() == 5);
            }
            model.retain(|k| *k != key);
            model.push(key);
            if model.len() > 5 {
                model.remove(0);
            }
            prop_assert_eq!(lru.len(), model.len());
        }
    }
}
