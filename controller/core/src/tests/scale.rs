//! Big fleets, within bounds of time that are far from what they need.

#![allow(clippy::disallowed_methods, reason = "the bound is one of real time")]

use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::{Allocations, allocate, code, compile, parse, validate};

/// Two hubs and as many spokes, two uplinks each.
fn hub_spoke(spokes: usize) -> String {
    let mut document = "fleet: acme\nsites:\n".to_owned();
    for index in 0..spokes + 2 {
        let name = if index < 2 { format!("hub{index}") } else { format!("s{index}") };
        let (high, low) = (index / 256, index % 256);
        writeln!(
            document,
            "  - {{name: {name}, lans: [{{interface: l, prefixes: [\"10.{high}.{low}.0/24\"]}}], \
             edges: [{{uplinks: [{{name: isp-a}}, {{name: isp-b}}]}}]}}"
        )
        .unwrap();
    }
    document + "topologies: [{kind: hub-spoke, hubs: [hub0, hub1]}]\n"
}

#[test]
fn a_thousand_sites_are_compiled_in_seconds() {
    let start = Instant::now();
    let fleet = parse(hub_spoke(998).as_bytes()).unwrap();
    let mut numbers = Allocations::default();
    allocate(&fleet, &mut numbers).unwrap();
    let configs = compile(&fleet, &numbers).unwrap();
    let taken = start.elapsed();
    assert_eq!(configs.len(), 1_000);
    assert!(configs.values().all(|config| config.routes.len() == 999));
    assert_eq!(configs["hub0-1"].tunnels.len(), 999);
    assert_eq!(configs["s500-1"].tunnels.len(), 2);
    assert!(taken < Duration::from_secs(20), "{taken:?}");
}

#[test]
fn ten_thousand_sites_are_read_and_more_are_refused() {
    let start = Instant::now();
    assert_eq!(validate(hub_spoke(9_998).as_bytes()), []);
    let faults = validate(hub_spoke(9_999).as_bytes());
    assert_eq!((faults[0].code, &*faults[0].path), (code::TOO_MANY_SITES, "sites"));
    let taken = start.elapsed();
    assert!(taken < Duration::from_secs(20), "{taken:?}");
}

#[test]
fn a_mesh_that_is_too_big_is_refused_without_being_built() {
    let mesh = hub_spoke(5_000).replace("kind: hub-spoke, hubs: [hub0, hub1]", "kind: full-mesh");
    let faults = validate(mesh.as_bytes());
    assert_eq!((faults[0].code, &*faults[0].path), (code::TOO_MANY_TUNNELS, "topologies"));
}
