use hawser_esp::Suite;
use hawser_proto::config::v1 as wire;

use super::{FEATURES, IkeAuth, PeerCa, decode};
use crate::id::{PathId, SegmentId, TunnelId};

fn edge() -> wire::EdgeConfig {
    wire::EdgeConfig {
        fleet: "acme".into(),
        site: "b1".into(),
        edge: "b1-1".into(),
        edge_id: 2,
        required_features: FEATURES.map(str::to_owned).to_vec(),
        controllers: vec!["203.0.113.10:7443".into()],
        segments: vec![wire::Segment { id: 1, name: "main".into() }],
        uplinks: vec![wire::Uplink {
            id: 10,
            name: "isp-a".into(),
            interface: "isp-a".into(),
            ..Default::default()
        }],
        lans: vec![wire::Lan {
            interface: "lan0".into(),
            segment_id: 1,
            prefixes: vec!["10.1.1.0/24".into()],
            vlan: 0,
        }],
        tunnels: vec![wire::Tunnel {
            id: 5,
            peer_edge: "hq-1".into(),
            peer_site: "hq".into(),
            peer_edge_id: 1,
            profile: Some(wire::TunnelProfile {
                name: "standard".into(),
                suite: "aes-128-gcm".into(),
                rekey_after_s: 3600,
                rekey_after_bytes: 1 << 36,
                replay_window_packets: 1024,
                esn: true,
                probe_interval_ms: 100,
                probe_idle_interval_ms: 500,
                ..Default::default()
            }),
            paths: vec![wire::Path {
                id: 77,
                local_uplink_id: 10,
                remote_uplink_id: 20,
                family: wire::AddressFamily::Ipv4 as i32,
            }],
            peer_sources: vec![wire::SegmentPrefix { segment_id: 1, prefix: "10.1.0.0/24".into() }],
            peer_uplinks: vec![wire::PeerUplink {
                id: 20,
                name: "isp-a".into(),
                provider: "isp-a".into(),
                endpoints: vec!["192.0.2.10".into()],
                ..Default::default()
            }],
        }],
        routes: vec![wire::Route {
            segment_id: 1,
            prefix: "10.1.0.0/24".into(),
            next_hop_edge_ids: vec![1],
        }],
        sla_classes: vec![],
        traffic_classes: vec![wire::TrafficClass {
            id: 1,
            name: "default".into(),
            ..Default::default()
        }],
        fabric_port: 4510,
        drained: false,
        leaf: false,
        ike_tunnels: vec![],
        manual_tunnels: vec![],
    }
}

/// A probe of what is not behind the gateway.
fn beside() -> wire::IkeProbe {
    wire::IkeProbe { inside: "10.1.1.9".into(), ..Default::default() }
}

fn gateway() -> wire::IkeTunnel {
    wire::IkeTunnel {
        name: "dc".into(),
        version: wire::IkeVersion::V1.into(),
        uplink_id: 10,
        peer_addresses: vec!["192.0.2.9".into()],
        local_id: "b1.example.net".into(),
        remote_id: "192.0.2.9".into(),
        psk_name: "dc-psk".into(),
        profile: edge().tunnels[0].profile.clone(),
        dh_groups: vec!["modp2048".into()],
        segment_id: 1,
        local_prefixes: vec!["10.1.1.0/24".into()],
        remote_prefixes: vec!["10.9.0.0/24".into()],
        start: wire::IkeStart::Trap.into(),
        dpd_delay_s: 10,
        ..Default::default()
    }
}

#[test]
fn a_gateways_tunnel_gets_its_types_and_no_word_that_means_more_to_charon_or_to_a_path() {
    let with = |tunnel| wire::EdgeConfig { ike_tunnels: vec![tunnel], ..edge() };
    let state = decode(&with(gateway())).expect("sound");
    assert_eq!(state.ike_tunnels[0].start, crate::ike::Start::Trap);
    assert_eq!(state.ike_tunnels[0].version, crate::ike::IkeVersion::V1);
    assert_eq!(state.ike_tunnels[0].probe, None);
    assert_eq!(state.ike_tunnels[0].auth, IkeAuth::Psk("dc-psk".into()));
    let certified = |name: &str, ca: &str, pem: &str| wire::IkeTunnel {
        psk_name: String::new(),
        local_id: String::new(),
        remote_id: "CN=gw, O=Example".into(),
        certificate: Some(wire::IkeCertificate {
            name: name.into(),
            peer_ca_name: ca.into(),
            peer_ca_pem: pem.into(),
        }),
        ..gateway()
    };
    let state = decode(&with(certified("", "", "-----BEGIN"))).expect("sound");
    let expected = IkeAuth::Certificate { own: None, peer_ca: PeerCa::Pem("-----BEGIN".into()) };
    assert_eq!(state.ike_tunnels[0].auth, expected);
    for (name, ca, pem) in [("../x", "ca", ""), ("own", "", ""), ("own", "/etc/ca", "")] {
        let faults = decode(&with(certified(name, ca, pem))).expect_err("refused");
        assert!(faults[0].path.starts_with("ike_tunnels[0].certificate"), "{faults:?}");
    }
    type Change = fn(&mut wire::IkeTunnel);
    let changes: [(Change, &str, &str); 18] = [
        (
            |t| {
                t.mode = wire::IkeMode::Gre.into();
                t.peer_addresses.push("192.0.2.10".into());
            },
            "BAD_VALUE",
            "ike_tunnels[0].mode",
        ),
        (|t| t.local_id.clear(), "BAD_VALUE", "ike_tunnels[0].local_id"),
        (|t| t.remote_id = "CN=x".into(), "BAD_VALUE", "ike_tunnels[0].remote_id"),
        (|t| t.psk_name = "../../etc/shadow".into(), "BAD_VALUE", "ike_tunnels[0].psk_name"),
        (|t| t.name = "a b".into(), "BAD_VALUE", "ike_tunnels[0].name"),
        (|t| t.remote_id = "%any".into(), "BAD_VALUE", "ike_tunnels[0].remote_id"),
        (|t| t.dh_groups = vec!["modp2048-null".into()], "BAD_VALUE", "ike_tunnels[0].dh_groups"),
        (|t| t.uplink_id = 99, "BAD_REFERENCE", "ike_tunnels[0]"),
        (|t| t.more_uplink_ids = vec![10], "BAD_ID", "ike_tunnels[0].more_uplink_ids"),
        (|t| t.more_uplink_ids = vec![99], "BAD_REFERENCE", "ike_tunnels[0]"),
        (|t| t.sla_class = "gold".into(), "BAD_REFERENCE", "ike_tunnels[0].sla_class"),
        (|t| t.probe = Some(beside()), "BAD_VALUE", "ike_tunnels[0].probe.inside"),
        (|t| t.peer_addresses.clear(), "OUT_OF_RANGE", "ike_tunnels[0]"),
        (|t| t.version = 0, "BAD_VALUE", "ike_tunnels[0].version"),
        // Its suite encrypts; it has one uplink and policies.
        (|t| t.ah = true, "BAD_VALUE", "ike_tunnels[0].ah"),
        (|t| t.warm = true, "BAD_VALUE", "ike_tunnels[0].warm"),
        (
            |t| t.remote_prefixes = vec!["10.1.0.0/16".into()],
            "PREFIX_OVERLAP",
            "ike_tunnels[0].remote_prefixes",
        ),
        (
            |t| t.remote_prefixes = vec!["192.0.2.0/24".into()],
            "BAD_VALUE",
            "ike_tunnels[0].remote_prefixes",
        ),
    ];
    for (change, code, path) in changes {
        let mut tunnel = gateway();
        change(&mut tunnel);
        let faults = decode(&with(tunnel)).expect_err(path);
        assert_eq!((faults[0].code, faults[0].path.as_str()), (code, path));
    }
}

fn by_hand() -> wire::ManualTunnel {
    let key = |spi, name: &str| Some(wire::ManualKey { spi, key_name: name.into() });
    let profile = wire::TunnelProfile {
        suite: "null-sha256-128".into(),
        ..edge().tunnels[0].profile.clone().expect("a profile")
    };
    wire::ManualTunnel {
        name: "old".into(),
        uplink_id: 10,
        peer_address: "192.0.2.99".into(),
        protocol: wire::ManualProtocol::Ah.into(),
        mode: wire::ManualMode::Gre.into(),
        profile: Some(profile),
        segment_id: 1,
        local_prefixes: vec!["10.1.1.0/24".into()],
        remote_prefixes: vec!["10.9.0.0/24".into()],
        inbound: key(256, "old-in"),
        outbound: key(u32::MAX, "old-out"),
    }
}

#[test]
fn a_manual_tunnel_gets_its_types_and_no_suite_that_would_repeat_a_nonce() {
    let with = |tunnel| wire::EdgeConfig { manual_tunnels: vec![tunnel], ..edge() };
    let state = decode(&with(by_hand())).expect("sound");
    assert_eq!(state.manual_tunnels[0].mode, crate::manual::Mode::Gre);
    fn suite(tunnel: &mut wire::ManualTunnel, name: &str) {
        tunnel.profile.as_mut().expect("one").suite = name.into();
        tunnel.protocol = wire::ManualProtocol::Esp.into();
    }
    type Change = fn(&mut wire::ManualTunnel);
    let changes: [(Change, &str, &str); 12] = [
        (|t| t.name = "../x".into(), "BAD_VALUE", "manual_tunnels[0].name"),
        (
            |t| t.inbound.as_mut().unwrap().key_name = "/etc/x".into(),
            "BAD_VALUE",
            "manual_tunnels[0].inbound.key_name",
        ),
        (|t| t.inbound = None, "OUT_OF_RANGE", "manual_tunnels[0].inbound.spi"),
        (
            |t| t.outbound.as_mut().unwrap().spi = 255,
            "OUT_OF_RANGE",
            "manual_tunnels[0].outbound.spi",
        ),
        (|t| t.uplink_id = 99, "BAD_REFERENCE", "manual_tunnels[0]"),
        (|t| t.peer_address = "gw".into(), "BAD_VALUE", "manual_tunnels[0].peer_address"),
        (|t| t.protocol = 0, "BAD_VALUE", "manual_tunnels[0].protocol"),
        (|t| t.mode = 0, "BAD_VALUE", "manual_tunnels[0].mode"),
        (|t| suite(t, "aes-128-gcm"), "SUITE_UNKNOWN", "manual_tunnels[0].profile"),
        (|t| suite(t, "chacha20-poly1305"), "SUITE_UNKNOWN", "manual_tunnels[0].profile"),
        (|t| t.remote_prefixes.clear(), "OUT_OF_RANGE", "manual_tunnels[0]"),
        (
            |t| t.remote_prefixes = vec!["10.1.0.0/16".into()],
            "PREFIX_OVERLAP",
            "manual_tunnels[0].remote_prefixes",
        ),
    ];
    for (change, code, path) in changes {
        let mut tunnel = by_hand();
        change(&mut tunnel);
        let faults = decode(&with(tunnel)).expect_err(path);
        let found = faults.iter().any(|fault| (fault.code, fault.path.as_str()) == (code, path));
        assert!(found, "{code} {path}: {faults:?}");
    }
    let mut esp = by_hand();
    suite(&mut esp, "aes-256-cbc-sha512-256");
    assert!(decode(&with(esp.clone())).is_ok());
    esp.protocol = wire::ManualProtocol::Ah.into();
    assert_eq!(decode(&with(esp)).expect_err("it encrypts")[0].code, "SUITE_UNKNOWN");
}

#[test]
fn a_sound_generation_gets_its_types() {
    let state = decode(&edge()).expect("sound");
    let tunnel = &state.tunnels[&TunnelId(5)];
    assert_eq!(tunnel.paths[&PathId(77)].remote_uplink.0, 20);
    assert_eq!(
        tunnel.peer_uplinks.values().next().expect("one").endpoints,
        vec!["192.0.2.10:4510".parse().expect("endpoint")],
        "the fabric port stands in for a missing one"
    );
    assert_eq!(state.routes[0].next_hops, vec![TunnelId(5)]);
    assert_eq!(state.path_name(PathId(77)), "isp-a → hq-1 isp-a");
    assert_eq!(state.overlay_prefixes().len(), 1);
    assert!(state.segments.contains_key(&SegmentId(1)));
}

#[test]
fn every_suite_is_taken_and_an_old_one_only_under_a_waiver() {
    for suite in Suite::ALL {
        let mut edge = edge();
        let profile = edge.tunnels[0].profile.as_mut().expect("profile");
        profile.suite = suite.name().into();
        if suite.requires_waiver() {
            let faults = decode(&edge).expect_err("no waiver");
            let place = ("WAIVER_MISSING", "tunnels[0].profile.waiver");
            assert_eq!((faults[0].code, faults[0].path.as_str()), place);
            let waiver = wire::Waiver { ends_unix_s: 86_400, reason: "an old peer".into() };
            edge.tunnels[0].profile.as_mut().expect("profile").waiver = Some(waiver);
        }
        let state = decode(&edge).expect("sound");
        assert_eq!(state.tunnels[&TunnelId(5)].profile.suite, suite);
    }
}

#[test]
fn every_fault_is_found_in_one_go() {
    type Damage = (&'static str, &'static str, fn(&mut wire::EdgeConfig));
    let damages: [Damage; 12] = [
        ("FEATURE_MISSING", "required_features[9]", |e| e.required_features.push("qkd".into())),
        ("BAD_ID", "segments[1].id", |e| e.segments.push(wire::Segment::default())),
        ("BAD_VALUE", "uplinks[0].interface", |e| e.uplinks[0].interface = "a/b".into()),
        ("UNKNOWN_SEGMENT", "lans[0].segment_id", |e| e.lans[0].segment_id = 9),
        ("BAD_VALUE", "lans[0].prefixes[0]", |e| e.lans[0].prefixes[0] = "10.1.1.0/33".into()),
        ("BAD_VALUE", "fabric_port", |e| e.fabric_port = 4500),
        ("BAD_REFERENCE", "tunnels[0].paths[0]", |e| e.tunnels[0].paths[0].local_uplink_id = 11),
        ("BAD_VALUE", "tunnels[0].peer_uplinks[0].endpoints[0]", |e| {
            e.tunnels[0].peer_uplinks[0].endpoints[0] = "0.0.0.0:1".into();
        }),
        ("SUITE_UNKNOWN", "tunnels[0].profile.suite", |e| {
            e.tunnels[0].profile.as_mut().expect("profile").suite = "rot13".into();
        }),
        ("BAD_REFERENCE", "routes[0]", |e| e.routes[0].next_hop_edge_ids.push(99)),
        ("BAD_REFERENCE", "traffic_classes[0].sla_class", |e| {
            e.traffic_classes[0].sla_class = "gold".into();
        }),
        ("NO_DEFAULT_CLASS", "traffic_classes", |e| {
            e.traffic_classes[0].matches.push(wire::Match::default());
        }),
    ];
    let mut all = edge();
    for (code, path, damage) in &damages {
        let mut one = edge();
        damage(&mut one);
        let faults = decode(&one).expect_err(code);
        assert!(faults.iter().any(|f| f.code == *code && f.path == *path), "{code}: {faults:?}");
        damage(&mut all);
    }
    let faults = decode(&all).expect_err("all at once");
    for (code, path, _) in &damages {
        assert!(faults.iter().any(|f| f.code == *code && f.path == *path), "{code}: {faults:?}");
    }
}
