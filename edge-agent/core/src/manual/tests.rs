use std::collections::BTreeSet;

use hawser_esp::Suite;
use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::config::Profile;
use crate::id::{SegmentId, UplinkId};

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

pub(crate) fn test_tunnel(suite: Suite, protocol: Protocol, mode: Mode) -> ManualTunnel {
    let key = |spi, name: &str| KeyName { spi, name: name.into() };
    ManualTunnel {
        name: "old".into(),
        uplink: UplinkId(11),
        peer_address: "203.0.113.9".parse().expect("an address"),
        protocol,
        mode,
        profile: Profile { suite, ..crate::ike::test_tunnel().profile },
        segment: SegmentId(1),
        local_prefixes: vec![net("10.1.1.0/24"), net("fd01::/64")],
        remote_prefixes: vec![net("172.20.0.0/16")],
        inbound: key(0x1001, "old-in"),
        outbound: key(0x2002, "old-out"),
    }
}

fn wanted(tunnel: ManualTunnel) -> Wanted {
    let local = Some("198.51.100.7".parse().expect("an address"));
    Wanted { tunnel, local, interface: "isp-b".into(), outer_mtu_bytes: 1500 }
}

/// Of so many octets, without a pattern.
fn hex(len: usize, seed: u8) -> String {
    let octet = |n: usize| (n * n * 31 + n * 7 + usize::from(seed) * 13) as u8;
    (0..len).map(|n| format!("{:02x}", octet(n))).collect()
}

#[test]
fn keys_are_hexadecimal_of_the_suites_length_and_nothing_that_people_type() {
    let suite = Suite::Aes256CbcSha256;
    let tunnel = test_tunnel(suite, Protocol::Esp, Mode::Tunnel);
    let (good, other) = (hex(64, 1), hex(64, 2));
    let keys = read(&tunnel, format!("0x{good}\n").as_bytes(), other.as_bytes()).expect("good");
    assert_eq!((keys.inbound.len(), keys.inbound[0], keys.outbound[0]), (64, 13, 26));
    let spaced: String =
        good.as_bytes().chunks(8).map(|c| format!("{} ", String::from_utf8_lossy(c))).collect();
    assert_eq!(read(&tunnel, spaced.as_bytes(), other.as_bytes()), Ok(keys.clone()));
    assert_eq!(format!("{keys:?}"), "Keys");
    let counting: String = (0..64u8).map(|n| format!("{:02x}", n.wrapping_mul(3))).collect();
    let ones = "ff".repeat(32);
    let cases = [
        ("secret secret secret".to_owned(), "MANUAL_KEY_NOT_HEX"),
        (good[..127].to_owned(), "MANUAL_KEY_NOT_HEX"),
        (String::new(), "MANUAL_KEY_NOT_HEX"),
        (good[..126].to_owned(), "MANUAL_KEY_LENGTH"),
        ("00".repeat(64), "MANUAL_KEY_WEAK"),
        (format!("{ones}{}", hex(32, 3)), "MANUAL_KEY_WEAK"),
        (format!("{}{ones}", hex(32, 3)), "MANUAL_KEY_WEAK"),
        ("0badcafe".repeat(16), "MANUAL_KEY_WEAK"),
        (counting, "MANUAL_KEY_WEAK"),
        (good[..64].repeat(2), "MANUAL_KEY_WEAK"),
        (other.clone(), "MANUAL_KEYS_EQUAL"),
        (format!("{}{}", hex(32, 3), &other[64..]), "MANUAL_KEYS_EQUAL"),
    ];
    for (text, code) in cases {
        let refused = read(&tunnel, text.as_bytes(), other.as_bytes()).expect_err(code);
        assert_eq!(refused.code, code, "{text}");
        assert!(refused.mend.contains("openssl rand -hex 64"), "{}", refused.mend);
        let told = format!("{refused:?}");
        assert!(text.len() < 16 || !told.contains(&text[..16]), "{told}");
    }
}

#[test]
fn ah_takes_the_key_of_its_hmac_alone() {
    let ah = test_tunnel(Suite::NullSha256, Protocol::Ah, Mode::Gre);
    assert!(read(&ah, hex(32, 1).as_bytes(), hex(32, 2).as_bytes()).is_ok());
    let long = read(&ah, hex(64, 1).as_bytes(), hex(32, 2).as_bytes()).expect_err("too long");
    assert_eq!(long.code, "MANUAL_KEY_LENGTH");
}

#[test]
fn interfaces_and_associations_of_ours_are_told_by_name() {
    let tunnel = test_tunnel(Suite::NullSha256, Protocol::Ah, Mode::Gre);
    assert_eq!(tunnel.link_name(), "hwm00001001");
    assert!(is_link_name("hwm00001001"));
    for other in ["hwm1", "hwm0000100g", "hw1s1", "hwm000010011", "eth0"] {
        assert!(!is_link_name(other), "{other}");
    }
    for direction in [Direction::In, Direction::Out] {
        assert_eq!(Direction::of_reqid(direction.reqid(u32::MAX)), Some(direction));
    }
    let of_the_fabric = crate::kernel::Direction::Out.reqid(crate::id::PathId(7));
    assert_eq!(Direction::of_reqid(of_the_fabric), None);
    assert!(crate::kernel::Direction::of_reqid(Direction::In.reqid(7)).is_none());
}

#[test]
fn what_is_inside_fits_into_the_link_outside() {
    // RFC 4303: 8 of the header, 16 of the IV, up to 15 of padding, 2 of the trailer, 16 of the ICV.
    let esp = test_tunnel(Suite::Aes128CbcSha256, Protocol::Esp, Mode::Tunnel);
    assert_eq!(esp.inner_mtu_bytes(1500), 1500 - 20 - 57);
    // RFC 4302: 12, and 16 of the ICV; then GRE.
    let ah = test_tunnel(Suite::NullSha256, Protocol::Ah, Mode::Gre);
    assert_eq!(ah.inner_mtu_bytes(1500), 1500 - 20 - 28 - 4);
    assert_eq!(ah.inner_mtu_bytes(600), MIN_MTU_BYTES);
}

#[test]
fn a_tunnel_is_two_associations_and_a_policy_for_each_pair_and_way() {
    let tunnel = wanted(test_tunnel(Suite::Aes128CbcSha256, Protocol::Esp, Mode::Tunnel));
    let held = desired([(&tunnel, [[1; 32], [2; 32]])]);
    assert_eq!((held.states.len(), held.policies.len(), held.links.len()), (2, 3, 0));
    let out = held.policies.iter().find(|p| p.way == Way::Out).expect("one out");
    assert_eq!((out.source, out.destination), (net("10.1.1.0/24"), net("172.20.0.0/16")));
    assert_eq!((out.to, out.spi), (tunnel.tunnel.peer_address, 0x2002));
    let gre = wanted(test_tunnel(Suite::NullSha256, Protocol::Ah, Mode::Gre));
    let held = desired([(&gre, [[1; 32], [2; 32]])]);
    assert_eq!((held.states.len(), held.policies.len(), held.links.len()), (2, 2, 1));
    assert!(held.policies.iter().all(|p| p.inner_protocol == 47 && !p.tunnel));
    let nowhere = Wanted { local: None, ..gre };
    assert_eq!(desired([(&nowhere, [[1; 32], [2; 32]])]), Held::default());
}

/// The kernel, as far as the plan sees it: an association is never changed in place, nor made where one is.
fn apply(held: &mut Held, step: Step) {
    match step {
        Step::SetPolicy(policy) => assert!(held.policies.insert(policy)),
        Step::RemovePolicy(policy) => assert!(held.policies.remove(&policy)),
        Step::AddState(id, state) => assert!(held.states.insert(id, state).is_none()),
        Step::RemoveState(id, _) => assert!(held.states.remove(&id).is_some()),
        Step::AddLink(name, link) => assert!(held.links.insert(name, link).is_none()),
        Step::RemoveLink(name) => assert!(held.links.remove(&name).is_some()),
    }
}

fn some_tunnels(present: &[bool], digest: u8) -> Held {
    let kinds =
        [(Protocol::Esp, Mode::Tunnel), (Protocol::Ah, Mode::Tunnel), (Protocol::Ah, Mode::Gre)];
    let mut all = Vec::new();
    for (n, (protocol, mode)) in kinds.into_iter().enumerate().filter(|(n, _)| present[*n]) {
        let mut tunnel = test_tunnel(Suite::NullSha256, protocol, mode);
        tunnel.inbound.spi += n as u32;
        tunnel.outbound.spi += n as u32;
        tunnel.remote_prefixes = vec![net(&format!("172.2{n}.0.0/16"))];
        all.push(wanted(tunnel));
    }
    desired(all.iter().map(|wanted| (wanted, [[digest; 32], [2; 32]])))
}

proptest! {
    #[test]
    fn from_anything_the_plan_arrives_and_then_does_nothing(
        before in proptest::array::uniform3(any::<bool>()),
        after in proptest::array::uniform3(any::<bool>()),
        (old_key, new_key) in (1u8..3, 1u8..3),
        lost in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let mut seen = some_tunnels(&before, old_key);
        let mut lost = lost.into_iter().cycle();
        seen.states.retain(|_, _| lost.next() != Some(true));
        seen.policies.retain(|_| lost.next() != Some(true));
        let want = some_tunnels(&after, new_key);
        let kept: BTreeSet<Policy> = seen.policies.intersection(&want.policies).copied().collect();
        for step in plan(&want, &seen) {
            apply(&mut seen, step);
            prop_assert!(kept.is_subset(&seen.policies));
        }
        prop_assert_eq!(&seen, &want);
        prop_assert_eq!(plan(&want, &seen), []);
    }
}
