//! Which next hop is used.

use super::*;
use crate::select::DecisionContext;

const BOTH: [TunnelId; 2] = [VIA_HUB, VIA_BACKUP];
const TURNED: [TunnelId; 2] = [VIA_BACKUP, VIA_HUB];

#[test]
fn peers_that_have_never_said_anything_reach_what_the_generation_says() {
    let bench = Bench::new(&generation());
    assert_eq!(bench.next_hops(FAR), BOTH);
    assert_eq!(bench.decisions.len(), 1, "one choice for all: {:#?}", bench.decisions);
    assert_eq!(bench.decisions[0].prefixes, [prefix(FAR).1, prefix(FAR_TOO).1]);
}

#[test]
fn a_hub_that_withdraws_a_prefix_is_left_for_it_at_once_and_only_for_it() {
    let mut bench = Bench::new(&generation());
    bench.says_all(HUB, false);
    bench.says_all(BACKUP, false);
    bench.decisions.clear();
    bench.says(HUB, false, vec![reachable(FAR_TOO, &[BRANCH, HUB.0])]);
    assert_eq!(bench.next_hops(FAR), [VIA_BACKUP]);
    assert_eq!(bench.next_hops(FAR_TOO), BOTH);
    let [decision] = &bench.decisions[..] else { panic!("{:#?}", bench.decisions) };
    assert_eq!(decision.cause.code(), "WITHDRAWN");
    assert_eq!(decision.prefixes, [prefix(FAR).1]);
    assert_eq!(decision.candidates[0].refused_because, "it says that it can't get there");
    assert!(bench.events.contains(&"PREFIX_WITHDRAWN") && bench.events.contains(&"NEXT_HOP_MOVED"));

    // It is back: not before it has held for as long as the class says.
    bench.says_all(HUB, false);
    bench.pass(9_000);
    assert_eq!(bench.next_hops(FAR), TURNED);
    bench.pass(2_000);
    assert_eq!(bench.next_hops(FAR), BOTH);
    assert_eq!(bench.decisions.last().map(|d| d.cause.code()), Some("FAIL_BACK"));
}

#[test]
fn a_hub_whose_tunnel_is_down_is_left_at_once_and_each_flap_doubles_the_hold() {
    let mut bench = Bench::new(&generation());
    let mut holds_ms = Vec::new();
    for _ in 0..3 {
        bench.tunnel(VIA_HUB, SlaState::Down);
        assert_eq!(bench.next_hops(FAR)[0], VIA_BACKUP);
        bench.tunnel(VIA_HUB, SlaState::Meets);
        let from = bench.now;
        while bench.next_hops(FAR)[0] != VIA_HUB {
            bench.pass(1_000);
        }
        holds_ms.push(bench.now.since(from).as_millis());
        bench.pass(1_000);
    }
    assert_eq!(holds_ms, [10_000, 20_000, 40_000]);
}

#[test]
fn when_every_hub_falls_silent_the_last_one_that_was_used_comes_first() {
    let mut bench = Bench::new(&generation());
    bench.tunnel(VIA_HUB, SlaState::Down);
    bench.tunnel(VIA_BACKUP, SlaState::Down);
    assert_eq!(bench.next_hops(FAR), TURNED);
    assert!(bench.events.contains(&"PREFIX_UNREACHABLE"));
    // What it says itself is more than silence.
    bench.says(BACKUP, false, vec![]);
    assert_eq!(bench.next_hops(FAR), [VIA_HUB]);
    bench.tunnel(VIA_HUB, SlaState::Meets);
    assert_eq!(bench.next_hops(FAR), [VIA_HUB]);
}

#[test]
fn a_hub_that_violates_the_sla_on_all_paths_is_left_for_one_that_meets_it() {
    let mut bench = Bench::new(&generation());
    bench.tunnel(VIA_HUB, SlaState::Violates);
    bench.pass(5_000);
    assert_eq!(bench.next_hops(FAR), TURNED);
    let decision = bench.decisions.last().expect("a move");
    assert_eq!(decision.cause.code(), "SLA_VIOLATED");
    assert!(decision.summary.contains("loss to peer 5.00 %"), "{}", decision.summary);
    // No better elsewhere: it stays.
    bench.tunnel(VIA_BACKUP, SlaState::Violates);
    bench.pass(60_000);
    assert_eq!(bench.next_hops(FAR), TURNED);
}

#[test]
fn an_sla_that_is_violated_beyond_a_hub_counts_as_on_the_way_to_it() {
    let mut bench = Bench::new(&generation());
    let mut bad = reachable(FAR, &[BRANCH, HUB.0]);
    bad.violates = true;
    bench.says(HUB, false, vec![bad, reachable(FAR_TOO, &[BRANCH, HUB.0])]);
    bench.pass(5_000);
    assert_eq!((bench.next_hops(FAR), bench.next_hops(FAR_TOO)), (TURNED.into(), BOTH.into()));
}

#[test]
fn a_drained_hub_is_left_without_waiting_stays_the_last_resort_and_comes_back_after_the_hold() {
    let mut bench = Bench::new(&generation());
    bench.says_all(HUB, false);
    bench.says_all(BACKUP, false);
    bench.says_all(HUB, true);
    assert_eq!(bench.next_hops(FAR), TURNED);
    assert_eq!(bench.decisions.last().map(|d| d.cause.code()), Some("DRAINED"));
    bench.tunnel(VIA_BACKUP, SlaState::Down);
    assert_eq!(bench.next_hops(FAR)[0], VIA_HUB, "it still works");
    bench.tunnel(VIA_BACKUP, SlaState::Meets);
    bench.pass(5_000);
    assert_eq!(bench.next_hops(FAR)[0], VIA_BACKUP);
    bench.says_all(HUB, false);
    bench.pass(5_000);
    assert_eq!(bench.next_hops(FAR)[0], VIA_BACKUP);
    bench.pass(20_000);
    assert_eq!(bench.next_hops(FAR)[0], VIA_HUB);
    assert_eq!(bench.events.iter().filter(|e| e.starts_with("NEXT_HOP_DRAINED")).count(), 1);
}

#[test]
fn a_peer_that_has_dropped_the_tunnel_is_the_last_next_hop_also_to_what_is_its_own() {
    let mut bench = Bench::new(&generation());
    // What is far is the hub's own, and the other one reaches it through it.
    bench.says(HUB, false, vec![reachable(FAR, &[HUB.0])]);
    bench.says(BACKUP, false, vec![reachable(FAR, &[HUB.0, BACKUP.0])]);
    bench.pass(60_000);
    assert_eq!(bench.next_hops(FAR), BOTH);
    bench.reach.handle_leaving(HUB, true);
    bench.pump();
    assert_eq!(bench.next_hops(FAR), TURNED);
    bench.tunnel(VIA_BACKUP, SlaState::Down);
    assert_eq!(bench.next_hops(FAR), BOTH, "for as long as it works");
    bench.tunnel(VIA_BACKUP, SlaState::Meets);
    bench.pass(60_000);
    assert_eq!(bench.next_hops(FAR), TURNED);
    bench.reach.handle_leaving(HUB, false);
    bench.pass(60_000);
    assert_eq!(bench.next_hops(FAR), BOTH);
}

#[test]
fn what_a_drained_hub_originates_gains_nothing_by_another_that_sends_through_it() {
    let mut bench = Bench::new(&generation());
    bench.says(BACKUP, false, vec![reachable(FAR, &[HUB.0, BACKUP.0])]);
    bench.says(HUB, true, vec![reachable(FAR, &[HUB.0])]);
    bench.pass(60_000);
    assert_eq!(bench.next_hops(FAR), BOTH);
}

#[test]
fn a_hub_that_goes_through_the_other_one_is_left_for_it_and_taken_again_when_it_goes_straight() {
    let mut bench = Bench::new(&generation());
    bench.says_all(HUB, false);
    bench.says_all(BACKUP, false);
    let detour = |text| reachable(text, &[BRANCH, BACKUP.0, HUB.0]);
    bench.says(HUB, false, vec![detour(FAR), detour(FAR_TOO)]);
    assert_eq!(bench.next_hops(FAR), TURNED);
    assert_eq!(bench.decisions.last().map(|d| d.cause.code()), Some("DETOUR"));
    // The hub itself waited for its leg to prove good.
    bench.says_all(HUB, false);
    assert_eq!(bench.next_hops(FAR), BOTH);
}

#[test]
fn a_way_through_this_edge_is_none() {
    let mut bench = Bench::new(&generation());
    bench.says(HUB, false, vec![reachable(FAR, &[BRANCH, ME, HUB.0])]);
    assert_eq!(bench.next_hops(FAR), [VIA_BACKUP]);
    bench.says(BACKUP, false, vec![]);
    assert_eq!(bench.next_hops(FAR), []);
    assert!(bench.events.contains(&"PREFIX_UNREACHABLE"));
    let why = bench.reach.explain(bench.now);
    assert_eq!(why[0].summary, "no next hop can be used");
}

#[test]
fn advice_moves_what_is_equally_good_and_runs_out() {
    let mut bench = Bench::new(&generation());
    let until = bench.now + Duration::from_secs(60);
    bench.reach.handle_advice([HUB].into(), until, "overloaded".to_owned(), bench.now);
    bench.pass(1_000);
    assert_eq!(bench.next_hops(FAR), TURNED);
    let decision = bench.decisions.last().expect("a move");
    assert_eq!(decision.cause.code(), "ADVICE");
    assert!(decision.summary.contains("overloaded"), "{}", decision.summary);
    bench.pass(70_000);
    assert_eq!(bench.next_hops(FAR), BOTH);
    // Evidence is stronger.
    bench.tunnel(VIA_BACKUP, SlaState::Violates);
    bench.reach.handle_advice(
        [HUB].into(),
        bench.now + Duration::from_secs(60),
        "x".into(),
        bench.now,
    );
    bench.pass(30_000);
    assert_eq!(bench.next_hops(FAR), BOTH);
}

#[test]
fn a_decision_goes_to_the_controller_with_its_evidence() {
    let mut bench = Bench::new(&generation());
    bench.tunnel(VIA_HUB, SlaState::Down);
    let context =
        DecisionContext { sequence: 7, unix_ms: 8, edge: "b1-1", peer_edge: "", boot_id: "boot" };
    let record = bench.decisions.last().expect("a move").to_proto(&context);
    assert_eq!((&*record.from_next_hop, &*record.to_next_hop), ("hub", "backup"));
    assert_eq!(
        (record.segment_id, &record.prefixes[..]),
        (1, &[FAR.to_owned(), FAR_TOO.to_owned()][..])
    );
    assert_eq!((record.from_path_id, record.to_path_id, &*record.cause), (0, 0, "NEXT_HOP_DOWN"));
    assert_eq!(
        record.summary,
        "10.21.0.0/24 and 1 more: from hub to backup, for hub is down: no path to it works"
    );
    let [hub, backup] = &record.candidates[..] else { panic!("{record:#?}") };
    assert_eq!((&*hub.next_hop, hub.chosen, hub.path_id), ("hub", false, 0));
    assert_eq!((&*backup.next_hop, backup.chosen), ("backup", true));
}

#[test]
fn a_new_generation_keeps_what_was_learned() {
    let mut bench = Bench::new(&generation());
    bench.says_all(HUB, false);
    bench.tunnel(VIA_HUB, SlaState::Down);
    bench.tunnel(VIA_HUB, SlaState::Meets);
    let mut config = generation();
    config.routes[1].next_hop_edge_ids.reverse();
    bench.reach.set_generation(&state(&config), bench.now);
    bench.pass(1_000);
    assert_eq!(bench.next_hops(FAR), TURNED, "the hold goes on");
    config.routes.truncate(1);
    bench.reach.set_generation(&state(&config), bench.now);
    bench.pass(1_000);
    assert_eq!(bench.next_hops(FAR_TOO), []);
    assert_eq!(bench.next_hops(FAR), TURNED);
}

#[test]
fn choices_that_were_parted_are_one_again_after_long_peace() {
    let mut bench = Bench::new(&generation());
    bench.says_all(HUB, false);
    bench.says(HUB, false, vec![reachable(FAR_TOO, &[BRANCH, HUB.0])]);
    bench.says_all(HUB, false);
    bench.pass(30_000);
    assert_eq!(bench.reach.explain(bench.now).len(), 2);
    bench.pass(3_600_000);
    bench.tunnel(VIA_BACKUP, SlaState::Violates);
    assert_eq!(bench.reach.explain(bench.now).len(), 1);
    bench.tunnel(VIA_HUB, SlaState::Down);
    assert_eq!((bench.next_hops(FAR)[0], bench.next_hops(FAR_TOO)[0]), (VIA_BACKUP, VIA_BACKUP));
}
