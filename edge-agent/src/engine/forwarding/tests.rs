use hawser_edge_core::config::{self, EdgeState};
use hawser_edge_core::id::{ClassId, PathId, SegmentId, TunnelId, UplinkId};
use hawser_esp::Suite;
use hawser_proto::config::v1 as wire;

use super::{UplinkMtus, path_mtu, table, uplinks};

fn edge() -> EdgeState {
    let path = |id, local, remote, family: wire::AddressFamily| wire::Path {
        id,
        local_uplink_id: local,
        remote_uplink_id: remote,
        family: family.into(),
    };
    let uplink = |id, name: &str| wire::Uplink {
        id,
        name: name.into(),
        interface: name.into(),
        ..Default::default()
    };
    let peer = |id, name: &str| wire::PeerUplink { id, name: name.into(), ..Default::default() };
    let wire = wire::EdgeConfig {
        fleet: "acme".into(),
        edge: "b1-1".into(),
        edge_id: 2,
        fabric_port: 4510,
        segments: vec![wire::Segment { id: 1, name: "main".into() }],
        uplinks: vec![uplink(10, "isp-a"), uplink(11, "isp-b")],
        tunnels: vec![wire::Tunnel {
            id: 5,
            peer_edge: "hq-1".into(),
            peer_edge_id: 1,
            profile: Some(wire::TunnelProfile {
                suite: "aes-128-gcm".into(),
                rekey_after_s: 60,
                replay_window_packets: 64,
                probe_interval_ms: 100,
                probe_idle_interval_ms: 100,
                ..Default::default()
            }),
            paths: vec![
                path(1, 10, 20, wire::AddressFamily::Ipv4),
                path(2, 11, 20, wire::AddressFamily::Ipv4),
                path(3, 10, 20, wire::AddressFamily::Ipv6),
            ],
            peer_sources: vec![wire::SegmentPrefix { segment_id: 1, prefix: "10.1.0.0/24".into() }],
            peer_uplinks: vec![peer(20, "isp-a")],
            ..Default::default()
        }],
        routes: vec![wire::Route {
            segment_id: 1,
            prefix: "10.1.0.0/24".into(),
            next_hop_edge_ids: vec![1],
        }],
        traffic_classes: vec![wire::TrafficClass {
            id: 1,
            name: "default".into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    config::decode(&wire).expect("sound")
}

#[test]
fn the_inner_mtu_follows_the_narrower_end_of_a_path() {
    let edge = edge();
    let mtus = UplinkMtus::from([(UplinkId(10), 1500), (UplinkId(11), 1492)]);
    assert_eq!(path_mtu(&edge, PathId(1), &mtus, None), 1430);
    assert_eq!(path_mtu(&edge, PathId(2), &mtus, None), 1422, "our uplink is narrower");
    assert_eq!(path_mtu(&edge, PathId(3), &mtus, None), 1410, "IPv6 outside costs 20 more");
    let far = UplinkMtus::from([(UplinkId(20), 1400)]);
    assert_eq!(path_mtu(&edge, PathId(1), &far, None), 1330, "the peer's uplink is narrower");
    let tiny = UplinkMtus::from([(UplinkId(20), 900)]);
    assert_eq!(path_mtu(&edge, PathId(1), &tiny, None), 1280, "never below IPv6's least");
}

#[test]
fn the_inner_mtu_is_the_suites() {
    let mut edge = edge();
    let mtus = UplinkMtus::from([(UplinkId(10), 1500)]);
    // 1500 less outer headers, ESP header, IV and ICV, down to whole blocks, less trailer and GRE.
    for (suite, mtu_bytes) in [
        (Suite::ChaCha20Poly1305, 1430),
        (Suite::Sm4Gcm, 1430),
        (Suite::Aes128CbcSha256, 1414),
        (Suite::Aes256CbcSha512, 1398),
        (Suite::Sm4CbcSm3Half, 1414),
        (Suite::TripleDesCbcSha1, 1430),
        (Suite::NullSha256, 1438),
    ] {
        for tunnel in edge.tunnels.values_mut() {
            tunnel.profile.suite = suite;
        }
        assert_eq!(path_mtu(&edge, PathId(1), &mtus, None), mtu_bytes, "{suite}");
    }
}

#[test]
fn keys_of_another_suite_hold_the_mtu_down_until_they_are_replaced() {
    let edge = edge();
    let mtus = UplinkMtus::from([(UplinkId(10), 1500)]);
    let under = |sealing| path_mtu(&edge, PathId(1), &mtus, sealing);
    assert_eq!(under(Some(Suite::Aes128CbcSha256)), 1414);
    assert_eq!(under(Some(Suite::NullSha256)), 1430, "the profile's own is the narrower");
}

#[test]
fn a_tunnel_and_its_lan_take_the_least_of_its_paths() {
    let edge = edge();
    let mtus = UplinkMtus::from([(UplinkId(11), 1492)]);
    let spec = table(&edge, |path| path_mtu(&edge, path, &mtus, None), |r| r.next_hops.clone());
    assert_eq!(spec.tunnels[0].inner_mtu_bytes, 1410);
    assert_eq!(spec.segments[0].mtu_bytes, 1410);
    assert_eq!(spec.segments[0].tun_name, "hawser1");
    assert_eq!(spec.routes[0].next_hops, vec![TunnelId(5)]);
    assert_eq!(spec.tunnels[0].peer_sources[&SegmentId(1)].len(), 1);
    assert_eq!(spec.classes[0].id, ClassId(1));
}

#[test]
fn an_uplink_opens_only_the_families_that_its_paths_use() {
    let specs = uplinks(&edge());
    assert_eq!((specs[0].v4, specs[0].v6), (true, true));
    assert_eq!((specs[1].v4, specs[1].v6), (true, false));
    assert!(specs.iter().all(|s| s.port == 4510));
}
