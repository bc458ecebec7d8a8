//! Names, hellos, serials, connection IDs, SPIs.

use std::collections::BTreeMap;

use hawser_edge_core::id::{EdgeId, Spi, UplinkId};
use hawser_edge_core::keys::Lanes;
use quinn::ConnectionIdGenerator;

use super::authority::Authority;
use super::node::timers;
use crate::peer::connection_id::{ID_BYTES, IssuedIds};
use crate::peer::hello::{self, Expected};
use crate::peer::identity::EdgeCertificate;
use crate::peer::spi::SpiPool;
use crate::peer::{HelloFacts, Identity, PeerSettings, RevokedSerials};

#[test]
fn connection_ids_of_ours_are_told_from_made_up_ones() {
    let mut ids = IssuedIds::new().unwrap();
    let other = IssuedIds::new().unwrap();
    let (mut mistaken, mut foreign) = (0, 0);
    for _ in 0..1000 {
        let id = ids.generate_cid();
        assert_eq!(id.len(), ID_BYTES);
        assert!(ids.issued(&id));
        mistaken += usize::from(ids.issued(&rand::random::<[u8; ID_BYTES]>()));
        foreign += usize::from(other.issued(&id));
    }
    assert_eq!((mistaken, foreign), (0, 0));
    assert!(!ids.issued(b"abc"));
}

#[test]
fn spis_are_unique_and_never_reserved_ones() {
    let pool = SpiPool::new(Lanes::ONE);
    let mut spis: Vec<_> = (0..1000).map(|_| pool.reserve()).collect();
    assert!(spis.iter().all(|spi| spi.0 >= 256));
    spis.sort();
    spis.dedup();
    assert_eq!(spis.len(), 1000);
    spis.iter().for_each(|spi| pool.free(*spi));
}

#[test]
fn the_spis_of_lanes_are_reserved_as_blocks_that_never_meet() {
    for count in 2..=8 {
        let lanes = Lanes::clamped(count);
        let pool = SpiPool::new(lanes);
        let kept = pool.reserve();
        pool.free(kept);
        // One that another run left in the middle of a block.
        let kept = Spi(kept.0 + 1);
        pool.keep(kept);
        let firsts: Vec<Spi> = (0..1000).map(|_| pool.reserve()).collect();
        let length = count.next_power_of_two() as u32;
        assert!(firsts.iter().all(|first| first.0 % length == 0 && first.0 >= 256));
        assert!(firsts.iter().all(|first| lanes.fit(*first)));
        let of =
            |first: &Spi| lanes.all().map(|lane| first.0 + u32::from(lane)).collect::<Vec<_>>();
        let all: std::collections::BTreeSet<u32> =
            firsts.iter().flat_map(of).chain([kept.0]).collect();
        assert_eq!(all.len(), 1000 * count + 1, "{count} lanes");
    }
}

#[test]
fn serials_are_compared_as_numbers() {
    let revoked = RevokedSerials::from_hex(["00:0a:BC", "f"]).unwrap();
    for (serial, want) in [
        (&[0x0a, 0xbc][..], true),
        (&[0, 0, 0x0a, 0xbc], true),
        (&[0x0f], true),
        (&[0xbc], false),
        (&[], false),
    ] {
        assert_eq!(revoked.contains(serial), want, "{serial:?}");
    }
    assert_eq!(RevokedSerials::from_hex(["ab", "zz"]), Err("zz".to_owned()));
    assert_eq!(RevokedSerials::from_hex([""]), Err(String::new()));
}

#[test]
fn a_certificate_names_its_edge_and_shows_no_key_in_debug_output() {
    let ca = Authority::new("acme");
    let identity = ca.identity("branch-1");
    let parsed = EdgeCertificate::parse(&identity.chain[0]).unwrap();
    assert_eq!((parsed.fleet.as_str(), parsed.edge.as_str()), ("acme", "branch-1"));
    assert!(EdgeCertificate::parse(&identity.chain[1]).is_err(), "a CA is no edge");
    assert!(EdgeCertificate::parse(b"nonsense").is_err());
    assert_eq!(format!("{identity:?}"), "Identity(2 certificates, ..)");
    identity.check().unwrap();
    let other = ca.identity("branch-1");
    let mixed = Identity::from_der(identity.chain, other.key, identity.root);
    assert!(mixed.check().is_err(), "the key of another certificate");
}

#[test]
fn hellos_that_contradict_the_certificate_or_the_tunnel_are_faults() {
    let settings = PeerSettings {
        fleet: "acme".into(),
        edge: EdgeId(3),
        edge_name: "hq".into(),
        fabric_port: 4510,
        boot_id: "b".into(),
        lanes: Lanes::ONE,
        timers: timers(),
    };
    let facts = HelloFacts {
        uplink_mtu_bytes: BTreeMap::from([(UplinkId(1), 1492)]),
        endpoints: BTreeMap::from([(UplinkId(1), vec!["[2001:db8::1]:4510".parse().unwrap()])]),
    };
    let good = hello::compose(&settings, &facts, &Default::default(), 0);
    let expected = Expected { fleet: "acme", edge_name: "hq", edge: EdgeId(3) };
    assert_eq!(hello::check(&good, expected), Ok(()));
    assert_eq!(hello::facts(&good), facts);
    type Change = fn(&mut hawser_proto::peer::v1::PeerHello);
    let changes: [Change; 6] = [
        |h| h.version = 2,
        |h| h.fleet = "other".into(),
        |h| h.edge = "branch".into(),
        |h| h.edge_id = 4,
        |h| h.boot_id.clear(),
        |h| h.boot_id = "x".repeat(65),
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(hello::check(&bad, expected).is_err(), "{bad:?}");
    }
    let mut odd = good;
    odd.endpoints[0].endpoints.push("not an address".into());
    assert_eq!(hello::facts(&odd), facts, "what can't be read is left out");
}
