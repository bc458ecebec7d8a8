//! What peers say, and what is not taken.

use proptest::prelude::*;

use super::*;

fn message(sequence: u64, prefixes: Vec<wire::ReachablePrefix>) -> wire::Reachability {
    wire::Reachability { sequence, prefixes, ..Default::default() }
}

#[test]
fn an_old_message_changes_nothing_and_a_new_start_of_the_peer_counts_anew() {
    let mut bench = Bench::new(&generation());
    bench.reach.handle_session(HUB, "first");
    bench.reach.handle_message(HUB, &message(5, vec![]), bench.now);
    bench.pump();
    for sequence in [5, 4, 0] {
        let old = message(sequence, vec![reachable(FAR, &[BRANCH, HUB.0])]);
        bench.reach.handle_message(HUB, &old, bench.now);
        // The same start comes again: it goes on counting.
        bench.reach.handle_session(HUB, "first");
    }
    bench.pump();
    assert_eq!(bench.next_hops(FAR), [VIA_BACKUP]);
    assert_eq!(bench.count("reachability_stale"), 3);
    bench.reach.handle_session(HUB, "second");
    bench.pump();
    assert_eq!(bench.next_hops(FAR), [VIA_BACKUP], "the last word holds until there is a new one");
    let new = message(1, vec![reachable(FAR, &[BRANCH, HUB.0])]);
    bench.reach.handle_message(HUB, &new, bench.now);
    bench.pump();
    assert!(bench.next_hops(FAR).contains(&VIA_HUB));
}

#[test]
fn what_is_malformed_is_left_out_and_counted_by_name() {
    let table: [(&str, wire::ReachablePrefix); 8] = [
        (
            "reachability_bad_segment",
            wire::ReachablePrefix { segment_id: 0, ..reachable(FAR, &[1]) },
        ),
        (
            "reachability_bad_segment",
            wire::ReachablePrefix { segment_id: 256, ..reachable(FAR, &[1]) },
        ),
        ("reachability_bad_prefix", reachable("10.0.0.0/33", &[1])),
        ("reachability_bad_prefix", reachable("", &[1])),
        ("reachability_bad_prefix", reachable("10.21.0.1/24", &[1])),
        ("reachability_bad_via", reachable(FAR, &[])),
        ("reachability_bad_via", reachable(FAR, &[7; 17])),
        ("reachability_duplicate", reachable(FAR_TOO, &[9])),
    ];
    for (counter, bad) in table {
        let mut bench = Bench::new(&generation());
        bench.says(HUB, false, vec![reachable(FAR_TOO, &[BRANCH, HUB.0]), bad]);
        assert_eq!(bench.count(counter), 1, "{counter}");
        assert_eq!(bench.next_hops(FAR), [VIA_BACKUP], "{counter}");
        assert_eq!(bench.next_hops(FAR_TOO), [VIA_HUB, VIA_BACKUP], "the rest holds");
    }
}

#[test]
fn a_flood_of_prefixes_is_cut_and_a_stranger_is_not_heard() {
    let mut bench = Bench::new(&generation());
    let many = (0..17_000u32)
        .map(|n| reachable(&format!("172.{}.{}.0/24", n >> 8, n & 255), &[BRANCH, HUB.0]));
    let many: Vec<_> = many.filter(|p| p.prefix.parse::<ipnet::IpNet>().is_ok()).collect();
    let extra = many.len() as u64;
    bench.says(HUB, false, many);
    assert_eq!(bench.count("reachability_too_many"), extra.saturating_sub(16_384));
    assert!(extra > 16_384, "{extra}");
    bench.says(EdgeId(99), false, vec![]);
    assert_eq!(bench.count("reachability_unknown_peer"), 1);
    bench.reach.handle_session(EdgeId(99), "stranger");
}

#[test]
fn parts_count_once_they_are_all_there_and_in_order() {
    let part = |sequence, part, parts, prefix: &str| wire::Reachability {
        sequence,
        part,
        parts,
        prefixes: vec![reachable(prefix, &[BRANCH, HUB.0])],
        ..Default::default()
    };
    let mut bench = Bench::new(&generation());
    let hear = |bench: &mut Bench, message: wire::Reachability| {
        bench.reach.handle_message(HUB, &message, bench.now);
        bench.pump();
    };
    bench.says(BACKUP, false, vec![]);
    hear(&mut bench, part(1, 0, 2, FAR));
    assert_eq!(bench.next_hops(FAR_TOO), [VIA_HUB], "half of it says nothing");
    hear(&mut bench, part(1, 1, 2, "10.99.0.0/24"));
    assert_eq!((bench.next_hops(FAR), bench.next_hops(FAR_TOO)), (vec![VIA_HUB], vec![]));

    hear(&mut bench, part(2, 0, 3, FAR_TOO));
    hear(&mut bench, part(2, 2, 3, FAR_TOO));
    hear(&mut bench, part(2, 1, 3, FAR_TOO));
    hear(&mut bench, part(3, 1, 2, FAR_TOO));
    hear(&mut bench, part(4, 0, 1_000_000, FAR_TOO));
    assert_eq!(bench.count("reachability_bad_part"), 4);
    assert_eq!(bench.next_hops(FAR_TOO), []);
    hear(&mut bench, part(2, 0, 1, FAR_TOO));
    assert_eq!((bench.next_hops(FAR), bench.next_hops(FAR_TOO)), (vec![], vec![VIA_HUB]));
}

fn anything() -> impl Strategy<Value = wire::Reachability> {
    let prefix = prop_oneof![
        Just(FAR.to_owned()),
        Just(FAR_TOO.to_owned()),
        Just("fd00::/16".to_owned()),
        ".{0,20}",
    ];
    let via = prop::collection::vec(prop_oneof![0u32..30, any::<u32>()], 0..20);
    let entry =
        (0u32..3, prefix, via, any::<bool>()).prop_map(|(segment_id, prefix, via, violates)| {
            wire::ReachablePrefix { segment_id, prefix, via_edge_ids: via, violates }
        });
    let prefixes = prop::collection::vec(entry, 0..6);
    (0u64..20, prefixes, any::<bool>(), 0u32..4, 0u32..4).prop_map(
        |(sequence, prefixes, drained, part, parts)| wire::Reachability {
            sequence,
            prefixes,
            drained,
            part,
            parts,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_peers_say_only_the_generations_next_hops_are_used(
        said in prop::collection::vec((0usize..2, anything(), 0u64..2_000), 1..40),
    ) {
        let mut bench = Bench::new(&generation());
        for (who, message, after_ms) in said {
            bench.reach.handle_message([HUB, BACKUP][who], &message, bench.now);
            bench.pass(after_ms);
            for text in [FAR, FAR_TOO] {
                let hops = bench.next_hops(text);
                prop_assert!(hops.iter().all(|hop| [VIA_HUB, VIA_BACKUP].contains(hop)));
                prop_assert!(hops.len() < 2 || hops[0] != hops[1]);
            }
            prop_assert_eq!(bench.next_hops("fd00::/16"), []);
        }
    }
}
