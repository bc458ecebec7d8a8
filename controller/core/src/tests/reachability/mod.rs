//! Compiled fleets with the agents' real reachability machines, on a virtual clock: whatever is lost in whatever order,
//! nothing goes round, and what can be reached is.

mod net;

use std::time::Duration;

use hawser_edge_core::time::Micros;
use proptest::prelude::*;

use super::properties::{Shape, document, sites};
use net::{Fault, Net};

/// A failing case is printed whole; it becomes a test of its own by hand.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        4 => (1usize..4).prop_map(Shape::Hubs),
        1 => Just(Shape::Mesh),
        1 => Just(Shape::Regions),
    ]
}

/// What breaks or mends, and how long after the one before.
fn faults() -> impl Strategy<Value = Vec<(u64, Fault)>> {
    let fault = prop_oneof![
        6 => (any::<usize>(), any::<bool>()).prop_map(|(tunnel, up)| Fault::Tunnel { tunnel, up }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(tunnel, bad)| Fault::Sla { tunnel, bad }),
        2 => any::<usize>().prop_map(|tunnel| Fault::Session { tunnel }),
        1 => any::<usize>().prop_map(|edge| Fault::Restart { edge }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(edge, on)| Fault::Drain { edge, on }),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(at, avoid)| Fault::Advice { at, avoid }),
    ];
    let after_ms = prop_oneof![Just(0u64), 1u64..200, 200u64..30_000];
    prop::collection::vec((after_ms, fault), 0..40)
}

/// Longer than holds double to, and until every token is back.
const PEACE: Duration = Duration::from_secs(6 * 3_600);

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn nothing_goes_round_at_any_instant_and_in_the_end_all_is_reached_that_can_be(
        sites in sites(),
        shape in shape(),
        faults in faults(),
        seed in any::<u64>(),
    ) {
        prop_assume!(sites.len() > 1);
        let mut net = Net::new(&[document(&sites, shape)], seed);
        net.run_until(Micros::from_millis(5_000), &mut Net::has_no_cycle)?;
        let mut at = net.now();
        for (after_ms, fault) in faults {
            at = at + Duration::from_millis(after_ms);
            net.run_until(at, &mut Net::has_no_cycle)?;
            net.inflict(fault);
        }
        net.run_until(at + PEACE, &mut Net::has_no_cycle)?;
        net.reaches_what_can_be_reached()?;
        let said = net.said;
        net.run_until(at + PEACE * 2, &mut Net::has_no_cycle)?;
        prop_assert_eq!(net.said, said, "on constant input nothing changes");
    }

    #[test]
    fn ends_of_different_generations_come_to_rest_without_a_loop(
        sites in sites(),
        hubs in 2usize..4,
        faults in faults(),
        seed in any::<u64>(),
    ) {
        prop_assume!(sites.len() > 2);
        let one = document(&sites, Shape::Hubs(hubs));
        // The same hubs, in the other order: each may send through those that may send through it.
        let (head, list) = one.split_once("hubs: [").expect("hubs");
        let (list, tail) = list.split_once(']').expect("hubs");
        let turned: Vec<&str> = list.split(", ").collect::<Vec<_>>().into_iter().rev().collect();
        let other = format!("{head}hubs: [{}]{tail}", turned.join(", "));
        let mut net = Net::new(&[one, other], seed);
        let mut anything = |_: &Net| Ok(());
        let mut at = Micros::from_millis(5_000);
        for (after_ms, fault) in faults {
            at = at + Duration::from_millis(after_ms);
            net.run_until(at, &mut anything)?;
            net.inflict(fault);
        }
        net.run_until(at + PEACE, &mut anything)?;
        net.walks_end()?;
    }
}

#[test]
fn a_fleet_without_faults_says_little() {
    let text = "fleet: acme\nsites:\n".to_owned()
        + &["h1", "h2", "b1", "b2"]
            .iter()
            .enumerate()
            .map(|(n, name)| {
                format!(
                    "  - {{name: {name}, lans: [{{interface: l0, prefixes: [10.{n}.0.0/16]}}], \
                     edges: [{{uplinks: [{{name: isp}}]}}]}}\n"
                )
            })
            .collect::<String>()
        + "topologies: [{kind: hub-spoke, hubs: [h1, h2]}]\n";
    let mut net = Net::new(&[text], 1);
    net.run_until(Micros::from_millis(60_000), &mut Net::has_no_cycle).expect("no cycle");
    net.reaches_what_can_be_reached().expect("all up");
    // Five tunnels of two ends: own LANs at first, and what comes up in a few steps.
    assert!(net.said < 60, "{} messages and decisions", net.said);
}
