use hawser_proto::config::v1 as wire;

use super::*;
use crate::config::decode;

const T0: Micros = Micros(5_000_000);
const PEER: EdgeId = EdgeId(2);
const TUNNEL: TunnelId = TunnelId(7);
const MAIN: SegmentId = SegmentId(1);
const GUESTS: SegmentId = SegmentId(2);

/// Two uplinks here and one at the peer: path 1 by uplink 1, path 2 by uplink 2. Two segments, each with a LAN.
fn generation() -> wire::EdgeConfig {
    let uplink = |id: u32| wire::Uplink {
        id,
        name: format!("u{id}"),
        interface: format!("wan{id}"),
        ..Default::default()
    };
    let path = |id: u32| wire::Path {
        id,
        local_uplink_id: id,
        remote_uplink_id: 9,
        family: wire::AddressFamily::Ipv4.into(),
    };
    let lan = |interface: &str, segment_id, prefix: &str| wire::Lan {
        interface: interface.to_owned(),
        segment_id,
        prefixes: vec![prefix.to_owned()],
        vlan: 0,
    };
    let segment_prefix =
        |segment_id, prefix: &str| wire::SegmentPrefix { segment_id, prefix: prefix.to_owned() };
    let route = |segment_id, prefix: &str| wire::Route {
        segment_id,
        prefix: prefix.to_owned(),
        next_hop_edge_ids: vec![PEER.0],
    };
    let tunnel = wire::Tunnel {
        id: TUNNEL.0,
        peer_edge: "hq-1".to_owned(),
        peer_edge_id: PEER.0,
        profile: Some(wire::TunnelProfile {
            suite: "aes-128-gcm".to_owned(),
            replay_window_packets: 64,
            rekey_after_s: 3_600,
            probe_interval_ms: 100,
            probe_idle_interval_ms: 500,
            ..Default::default()
        }),
        paths: vec![path(1), path(2)],
        peer_sources: vec![segment_prefix(1, "10.0.0.0/24"), segment_prefix(2, "10.9.0.0/24")],
        peer_uplinks: vec![wire::PeerUplink { id: 9, name: "u9".into(), ..Default::default() }],
        ..Default::default()
    };
    wire::EdgeConfig {
        edge_id: 1,
        fabric_port: 4510,
        segments: vec![
            wire::Segment { id: 1, name: "main".to_owned() },
            wire::Segment { id: 2, name: "guests".to_owned() },
        ],
        uplinks: vec![uplink(1), uplink(2)],
        lans: vec![lan("lan0", 1, "10.1.0.0/24"), lan("lan1", 2, "10.9.1.0/24")],
        tunnels: vec![tunnel],
        routes: vec![route(1, "10.0.0.0/24"), route(2, "10.9.0.0/24")],
        traffic_classes: vec![wire::TrafficClass { name: "default".into(), ..Default::default() }],
        ..Default::default()
    }
}

fn state(change: impl FnOnce(&mut wire::EdgeConfig)) -> EdgeState {
    let mut config = generation();
    change(&mut config);
    decode(&config).expect("a good generation")
}

fn without_uplink_1(config: &mut wire::EdgeConfig) {
    config.uplinks.remove(0);
    config.tunnels[0].paths.remove(0);
}

fn without_guests(config: &mut wire::EdgeConfig) {
    config.segments.pop();
    config.lans.pop();
    config.routes.pop();
    config.tunnels[0].peer_sources.pop();
}

fn after(before: &EdgeState, next: &EdgeState, now: Micros) -> Departures {
    let mut departures = Departures::default();
    assert_eq!(departures.turn_over(before, next, now), BTreeSet::new());
    departures
}

fn has(ids: &[u32]) -> BTreeSet<PathId> {
    ids.iter().map(|id| PathId(*id)).collect()
}

#[test]
fn what_a_generation_has_no_more_stays_as_it_was_for_so_long_and_no_longer() {
    let (before, next) = (state(|_| {}), state(without_uplink_1));
    let mut departures = after(&before, &next, T0);
    assert!(departures.has_path(PathId(1)) && !departures.has_path(PathId(2)));
    assert!(
        departures.has_uplink(UplinkId(1), &next) && !departures.has_uplink(UplinkId(2), &next)
    );
    assert_eq!(departures.overlay(&next), before, "nothing is missing, and nothing is added");
    assert_eq!(departures.next_deadline(), Some(T0 + LINGER));
    assert!(!departures.handle_timeout(Micros((T0 + LINGER).0 - 1)));
    assert!(departures.handle_timeout(T0 + LINGER));
    assert_eq!(departures.overlay(&next), next);
    assert_eq!((departures.next_deadline(), departures.paths().next()), (None, None));
}

#[test]
fn it_drains_from_the_moment_that_the_peer_has_dropped_it_too() {
    let (before, next) = (state(|_| {}), state(without_uplink_1));
    let mut departures = after(&before, &next, T0);
    let second = Duration::from_secs(1);
    departures.peer_has(PEER, &has(&[1, 2]), T0 + second);
    departures.peer_has(EdgeId(3), &has(&[]), T0 + second);
    assert!(
        !departures.is_drained(PathId(1)),
        "it has it still, and another peer's word says nothing"
    );
    let left = T0 + second * 5;
    departures.peer_has(PEER, &has(&[2]), left);
    assert!(departures.is_drained(PathId(1)));
    assert_eq!(departures.next_deadline(), Some(left + DRAIN));
    departures.peer_has(PEER, &has(&[2]), left + second);
    assert_eq!(departures.next_deadline(), Some(left + DRAIN), "once is enough");
    assert!(departures.handle_timeout(left + DRAIN));
    // A word at the very end lengthens nothing.
    let mut departures = after(&before, &next, T0);
    departures.peer_has(PEER, &has(&[]), T0 + LINGER - second);
    assert_eq!(departures.next_deadline(), Some(T0 + LINGER));
}

#[test]
fn a_generation_that_has_it_again_takes_it_up_and_another_without_it_puts_nothing_off() {
    let (before, next) = (state(|_| {}), state(without_uplink_1));
    let mut departures = after(&before, &next, T0);
    let second = Duration::from_secs(1);
    let overlay = departures.overlay(&next);
    departures.turn_over(&overlay, &next, T0 + second * 20);
    assert_eq!(departures.next_deadline(), Some(T0 + LINGER), "the time runs from the first");
    let overlay = departures.overlay(&next);
    departures.turn_over(&overlay, &before, T0 + second * 21);
    assert_eq!((departures.next_deadline(), departures.has_path(PathId(1))), (None, false));
    // And again: the time begins anew.
    departures.turn_over(&before, &next, T0 + second * 22);
    assert_eq!(departures.next_deadline(), Some(T0 + second * 22 + LINGER));
}

#[test]
fn a_whole_tunnel_departs_and_no_route_leads_to_it() {
    let next = state(|config| {
        config.tunnels.clear();
        config.routes.iter_mut().for_each(|route| route.next_hop_edge_ids.clear());
    });
    let departures = after(&state(|_| {}), &next, T0);
    let overlay = departures.overlay(&next);
    assert_eq!(overlay.tunnels[&TUNNEL], state(|_| {}).tunnels[&TUNNEL]);
    assert!(overlay.routes.iter().all(|route| route.next_hops.is_empty()));
}

#[test]
fn an_interface_that_is_something_else_now_is_that_and_nothing_else() {
    let before = state(|_| {});
    let renamed = state(|config| {
        without_uplink_1(config);
        config.uplinks.push(wire::Uplink {
            id: 3,
            name: "u3".into(),
            interface: "wan1".into(),
            ..Default::default()
        });
    });
    let lan = state(|config| {
        without_uplink_1(config);
        config.lans[0].interface = "wan1".into();
    });
    for next in [renamed, lan] {
        let mut departures = after(&before, &next, T0);
        let overlay = departures.overlay(&next);
        assert_eq!(overlay.uplinks, next.uplinks);
        assert!(overlay.tunnels[&TUNNEL].paths.contains_key(&PathId(1)), "it still receives");
        // Nor is it forgotten by the next one.
        assert_eq!(departures.turn_over(&overlay, &next, T0), BTreeSet::new());
        assert!(departures.has_path(PathId(1)));
    }
}

#[test]
fn there_is_no_room_for_more_paths_than_a_tunnel_may_have_nor_for_another_peer() {
    let many = |paths: std::ops::Range<u32>| {
        state(|config| {
            let path = |id| wire::Path { id, ..config.tunnels[0].paths[1] };
            config.tunnels[0].paths = paths.map(path).collect();
        })
    };
    let mut departures = Departures::default();
    let refused = departures.turn_over(&many(1..41), &many(41..81), T0);
    assert_eq!((departures.paths().count(), refused.len()), (24, 16));
    let next = many(41..81);
    assert_eq!(departures.overlay(&next).tunnels[&TUNNEL].paths.len(), policy::CANDIDATES_MAX);

    let other = state(|config| {
        config.tunnels[0].peer_edge_id = 3;
        config.tunnels[0].paths.remove(0);
        config.routes.iter_mut().for_each(|route| route.next_hop_edge_ids = vec![3]);
    });
    assert_eq!(Departures::default().turn_over(&state(|_| {}), &other, T0), has(&[1]));
}

#[test]
fn a_segment_that_is_gone_receives_and_sends_nothing() {
    let (before, next) = (state(|_| {}), state(without_guests));
    let mut departures = after(&before, &next, T0);
    assert!(departures.has_segment(GUESTS) && !departures.has_segment(MAIN));
    let overlay = departures.overlay(&next);
    assert_eq!((&overlay.segments, &overlay.lans), (&before.segments, &before.lans));
    assert_eq!(overlay.tunnels[&TUNNEL].peer_sources, before.tunnels[&TUNNEL].peer_sources);
    let guarded = overlay.routes.iter().find(|route| route.segment == GUESTS);
    assert_eq!(guarded.map(|route| route.next_hops.as_slice()), Some(&[][..]));
    // Once more: nothing comes twice.
    departures.turn_over(&overlay, &next, T0);
    assert_eq!(departures.overlay(&next), overlay);
    assert!(departures.handle_timeout(T0 + LINGER));
    assert_eq!(departures.overlay(&next), next);
}

#[test]
fn a_lan_that_is_in_another_segment_now_is_in_that_one_alone() {
    let next = state(|config| {
        without_guests(config);
        let (interface, prefixes) = ("lan1".to_owned(), vec!["10.9.1.0/24".to_owned()]);
        config.lans.push(wire::Lan { interface, segment_id: 1, prefixes, vlan: 0 });
    });
    let overlay = after(&state(|_| {}), &next, T0).overlay(&next);
    assert_eq!(overlay.lans, next.lans);
    assert!(overlay.segments.contains_key(&GUESTS));
}
