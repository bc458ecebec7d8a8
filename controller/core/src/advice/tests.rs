//! The loop on small fleets, look by look. Fleets of hundreds, with the agents' own loop, are in `tests/slow_loop`.

use hawser_proto::config::v1 as wire;

use super::constants::*;
use super::*;
use crate::id::TunnelId;

const STEP_MS: u64 = EVALUATE_EVERY_MS;

/// Spokes `b1..` with two uplinks, of providers `a` and `b`, and hubs that they have a choice of.
struct Fleet {
    advisor: Advisor,
    spokes: u32,
    hubs: u32,
    now: Millis,
    /// What is bad: (spoke, hub, provider).
    bad: std::collections::BTreeSet<(u32, u32, u32)>,
    effects: Vec<Effect>,
}

const A: u32 = 0;
const B: u32 = 1;

fn hub(hub: u32) -> EdgeId {
    EdgeId(1 + hub)
}

fn spoke(spoke: u32) -> EdgeId {
    EdgeId(100 + spoke)
}

fn uplink(edge: EdgeId, provider: u32) -> u32 {
    edge.0 * 10 + provider
}

fn path(spoke: u32, hub: u32, provider: u32) -> PathId {
    PathId(spoke * 100 + hub * 10 + provider + 1)
}

fn config(id: EdgeId, name: String) -> wire::EdgeConfig {
    let uplink = |provider: u32| wire::Uplink {
        id: uplink(id, provider),
        name: format!("wan{provider}"),
        provider: ["a", "b"][provider as usize].into(),
        transport: "internet".into(),
        ..Default::default()
    };
    wire::EdgeConfig {
        edge: format!("{name}-1"),
        site: name,
        edge_id: id.0,
        uplinks: vec![uplink(A), uplink(B)],
        ..Default::default()
    }
}

fn tunnel(of: u32, to: u32, at_spoke: bool) -> wire::Tunnel {
    let (own, peer) = if at_spoke { (spoke(of), hub(to)) } else { (hub(to), spoke(of)) };
    let paths = [A, B].map(|provider| wire::Path {
        id: path(of, to, provider).0,
        local_uplink_id: uplink(own, provider),
        remote_uplink_id: uplink(peer, provider),
        ..Default::default()
    });
    wire::Tunnel {
        id: of * 10 + to + 1,
        peer_edge_id: peer.0,
        paths: paths.to_vec(),
        ..Default::default()
    }
}

fn configs(spokes: u32, hubs: u32) -> Vec<wire::EdgeConfig> {
    let mut all = Vec::new();
    for h in 0..hubs {
        let mut of_hub = config(hub(h), format!("hub{h}"));
        of_hub.tunnels = (0..spokes).map(|s| tunnel(s, h, false)).collect();
        all.push(of_hub);
    }
    for s in 0..spokes {
        let mut of_spoke = config(spoke(s), format!("b{s}"));
        of_spoke.tunnels = (0..hubs).map(|h| tunnel(s, h, true)).collect();
        let next_hop_edge_ids = (0..hubs).map(|h| hub(h).0).collect();
        of_spoke.routes = vec![wire::Route { next_hop_edge_ids, ..Default::default() }];
        all.push(of_spoke);
    }
    all
}

impl Fleet {
    /// Proven: every path has been good for long enough.
    fn new(spokes: u32, hubs: u32) -> Self {
        let mut advisor = Advisor::new("t");
        let map = FleetMap::new(&configs(spokes, hubs));
        let edges: Vec<EdgeId> = map.edges().collect();
        advisor.set_map(map);
        edges.into_iter().for_each(|edge| advisor.handle_connected(edge, true));
        let (bad, effects) = Default::default();
        let mut fleet = Fleet { advisor, spokes, hubs, now: Millis(0), bad, effects };
        fleet.run(PROVEN_MS + STEP_MS);
        assert_eq!(fleet.effects, []);
        fleet
    }

    fn hurt(&mut self, spokes: impl Iterator<Item = u32>, hubs: &[u32], providers: &[u32]) {
        for spoke in spokes {
            for &hub in hubs {
                self.bad.extend(providers.iter().map(|&provider| (spoke, hub, provider)));
            }
        }
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / STEP_MS {
            self.now = Millis(self.now.0 + STEP_MS);
            for s in 0..self.spokes {
                let mut reports = Vec::new();
                for h in 0..self.hubs {
                    reports.extend([A, B].map(|provider| PathReport {
                        path: path(s, h, provider),
                        reach: Reach::Up,
                        violated: u64::from(self.bad.contains(&(s, h, provider))),
                    }));
                }
                self.advisor.handle_reports(spoke(s), &reports, self.now);
            }
            self.advisor.evaluate(self.now);
            self.effects.extend(std::iter::from_fn(|| self.advisor.poll()));
        }
    }

    /// Of every trouble that was found.
    fn found(&self) -> Vec<String> {
        let told = self.effects.iter().filter_map(|effect| match effect {
            Effect::Tell(told) if told.code == "TROUBLE_FOUND" => Some(told.message.clone()),
            _ => None,
        });
        told.collect()
    }

    fn gives(&self) -> impl Iterator<Item = (EdgeId, &Advice)> {
        self.effects.iter().filter_map(|effect| match effect {
            Effect::Give { edge, advice } => Some((*edge, advice)),
            _ => None,
        })
    }
}

#[test]
fn a_trouble_is_found_once_it_has_lasted_and_not_before() {
    let mut fleet = Fleet::new(20, 2);
    fleet.hurt(0..8, &[0, 1], &[A]);
    fleet.run(CONFIRM_MS - STEP_MS);
    assert_eq!(fleet.effects, []);
    fleet.run(3 * STEP_MS);
    assert_eq!(
        fleet.found(),
        ["provider a (internet) has trouble at many sites: 8 of 22 sites see it"]
    );
    let advised: Vec<EdgeId> = fleet.gives().map(|(edge, _)| edge).collect();
    // The victims, and the hubs for the same paths' other direction.
    let expected = (0..2).map(hub).chain((0..8).map(spoke)).collect::<Vec<_>>();
    assert_eq!(advised, expected);
    let (_, advice) = fleet.gives().last().unwrap();
    assert_eq!(advice.avoid_paths, [path(7, 0, A), path(7, 1, A)].into());
    assert_eq!((&*advice.id, advice.ttl_ms), ("t-1", TTL_MS));
}

#[test]
fn one_bad_uplink_of_a_hub_is_told_from_its_provider() {
    let mut fleet = Fleet::new(20, 2);
    fleet.hurt(0..20, &[0], &[A]);
    fleet.run(CONFIRM_MS + 2 * STEP_MS);
    let found = fleet.found();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("uplink wan0 of hub0-1 fails for all its peers: 20 of 20"));
    let all_end_there = fleet.gives().all(|(_, advice)| {
        advice.avoid_edges.is_empty() && advice.avoid_paths.iter().all(|p| p.0 % 100 == 1)
    });
    assert!(all_end_there);
}

#[test]
fn a_provider_that_fails_everywhere_is_told_from_the_uplinks_of_its_hubs() {
    let mut fleet = Fleet::new(20, 2);
    fleet.hurt(0..20, &[0, 1], &[A]);
    fleet.run(CONFIRM_MS + 2 * STEP_MS);
    let found = fleet.found();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("provider a"), "{found:?}");
}

#[test]
fn a_hub_is_told_from_everything_else_and_never_all_hubs_are_advised_against() {
    let mut fleet = Fleet::new(12, 2);
    fleet.hurt(0..12, &[1], &[A, B]);
    // Slower reports than a look, and the counter of an agent that was just started.
    for (ms, total) in [(0, 90_000), (1_000, 100), (3_000, 700)] {
        fleet.advisor.handle_drops(hub(1), total, Millis(fleet.now.0 + ms));
    }
    fleet.run(CONFIRM_MS + 2 * STEP_MS);
    let found = fleet.found();
    assert_eq!(found.len(), 1, "{found:?}");
    let message = "hub hub1-1 suffers: sites reach it badly, and others well: 12 of 12 sites see \
                   it; it drops 300 packets a second because it is too slow";
    assert_eq!(found[0], message);
    assert!(fleet.gives().all(|(_, advice)| advice.avoid_edges == [hub(1)].into()));
    assert_eq!(fleet.gives().count(), 12);
    // The other one fails as well: whoever has no good hub left is left alone.
    fleet.effects.clear();
    fleet.hurt(0..12, &[0], &[A, B]);
    fleet.run(RECENT_MS + CONFIRM_MS);
    let ends = fleet.effects.iter().filter(|e| matches!(e, Effect::Withdraw { .. })).count();
    assert_eq!((ends, fleet.gives().count()), (12, 0));
    assert!(fleet.advisor.counters().spared > 0);
}

#[test]
fn what_fails_with_its_whole_site_says_nothing_of_providers() {
    let mut fleet = Fleet::new(20, 2);
    fleet.hurt(0..10, &[0, 1], &[A, B]);
    fleet.run(10 * CONFIRM_MS);
    assert_eq!(fleet.effects, []);
}

#[test]
fn what_never_was_good_and_what_is_no_news_any_more_are_no_signs() {
    let mut fleet = Fleet::new(20, 2);
    let mut track = track::Track::default();
    let report = |reach, violated| PathReport { path: path(0, 0, A), reach, violated };
    let bad = track::Health::Bad;
    // Class 0 is never met: not a sign. Class 1 was met.
    for step in 0..20 {
        track.handle(&report(Reach::Up, 0b01), Millis(step * STEP_MS));
    }
    assert_eq!(track.health(Millis(19 * STEP_MS)), track::Health::Good);
    track.handle(&report(Reach::Up, 0b11), Millis(20 * STEP_MS));
    assert_eq!(track.health(Millis(20 * STEP_MS)), bad);
    assert_eq!(track.health(Millis(20 * STEP_MS + FRESH_MS + 1)), track::Health::Unknown);
    for step in 21..=20 + FORGOTTEN_MS / STEP_MS {
        track.handle(&report(Reach::Up, 0b11), Millis(step * STEP_MS));
    }
    let after = Millis(FORGOTTEN_MS + 20 * STEP_MS);
    assert_eq!(track.health(after), track::Health::Good);
    track.handle(&report(Reach::Down, 0), Millis(after.0 + STEP_MS));
    assert_eq!(track.health(Millis(after.0 + STEP_MS)), bad);
    // A decision tells of what was over before the next report.
    fleet.advisor.handle_fault(spoke(1), path(1, 0, A), fleet.now);
    fleet.advisor.handle_fault(spoke(1), path(2, 0, A), fleet.now);
    fleet.run(STEP_MS);
    assert_eq!(fleet.effects, []);
}

#[test]
fn an_edge_that_comes_back_is_told_again_and_what_it_missed_ends_by_itself() {
    let mut fleet = Fleet::new(20, 2);
    fleet.hurt(0..8, &[0, 1], &[A]);
    fleet.run(CONFIRM_MS + 2 * STEP_MS);
    fleet.effects.clear();
    fleet.advisor.handle_connected(spoke(3), true);
    fleet.run(STEP_MS);
    let again: Vec<EdgeId> = fleet.gives().map(|(edge, _)| edge).collect();
    assert_eq!(again, [spoke(3)]);
    fleet.advisor.handle_connected(spoke(3), false);
    fleet.run(TTL_MS + STEP_MS);
    let mut ended = fleet.effects.iter().filter(|effect| match effect {
        Effect::Tell(told) => told.code == "ADVICE_ENDED" && told.edge == Some(spoke(3)),
        _ => false,
    });
    assert!(ended.next().is_some());
    assert!(fleet.advisor.in_force().iter().all(|given| given.edge != spoke(3)));
    // Everybody else's was refreshed meanwhile.
    let sent = |edge| fleet.gives().filter(|(to, _)| *to == edge).count() as u64;
    assert!(sent(spoke(4)) >= TTL_MS / REFRESH_MS - 1, "{}", sent(spoke(4)));
}

#[test]
fn changes_are_bounded_per_minute_and_what_waits_is_counted() {
    let mut fleet = Fleet::new(400, 2);
    fleet.hurt(0..300, &[0, 1], &[A]);
    fleet.run(CONFIRM_MS + 2 * STEP_MS);
    let first = fleet.gives().count() as u64;
    assert!((CHANGES_PER_MINUTE..CHANGES_PER_MINUTE + 20).contains(&first), "{first}");
    assert!(fleet.advisor.counters().deferred > 0);
    fleet.run(3 * 60_000);
    let spokes: BTreeSet<EdgeId> = fleet.gives().map(|(edge, _)| edge).collect();
    assert!(spokes.len() >= 300, "{}", spokes.len());
}

#[test]
fn a_map_without_the_troubled_edges_ends_their_advice() {
    let mut fleet = Fleet::new(20, 2);
    fleet.hurt(0..8, &[0, 1], &[A]);
    fleet.run(CONFIRM_MS + 2 * STEP_MS);
    assert_eq!(fleet.advisor.in_force().len(), 10);
    let configs = configs(20, 2);
    let fewer = configs.iter().filter(|c| c.edge_id != spoke(0).0);
    fleet.advisor.set_map(FleetMap::new(fewer));
    fleet.run(TTL_MS + STEP_MS);
    assert!(fleet.advisor.in_force().iter().all(|given| given.edge != spoke(0)));
    assert!(!fleet.advisor.troubles().is_empty());
}

#[test]
fn a_tunnel_that_one_end_does_not_know_is_left_out() {
    let all = configs(3, 2);
    let map = FleetMap::new(&all);
    assert_eq!((map.tunnels.len(), map.paths.len()), (6, 12));
    assert_eq!(map.tunnels[&TunnelId(1)].edges, [hub(0), spoke(0)]);
    assert_eq!(map.hubs, [hub(0), hub(1)].into());
    let alone = FleetMap::new(all.iter().filter(|c| c.edge_id == hub(0).0));
    assert_eq!((alone.tunnels.len(), alone.paths.len()), (0, 0));
}
