//! Every example of `deploy/examples` can be applied, and joins what it says.

use std::path::Path;

use crate::{Allocations, allocate, compile, parse};

/// File, edges, tunnels of each edge together.
const EXAMPLES: [(&str, usize, usize); 4] = [
    ("full-mesh.yaml", 3, 6),
    ("hub-spoke.yaml", 3, 4),
    ("partial-mesh.yaml", 4, 8),
    ("two-hubs.yaml", 4, 10),
];

#[test]
fn every_example_is_without_a_fault_and_compiles_to_what_agents_take() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/examples");
    let mut found: Vec<String> = std::fs::read_dir(&folder)
        .expect("the folder of examples")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    assert_eq!(found, EXAMPLES.map(|(name, _, _)| name), "each example is in the table here");
    for (name, edges, ends) in EXAMPLES {
        let document = std::fs::read(folder.join(name)).expect(name);
        let fleet = parse(&document).unwrap_or_else(|faults| panic!("{name}: {faults:#?}"));
        let mut numbers = Allocations::default();
        allocate(&fleet, &mut numbers).unwrap();
        let configs = compile(&fleet, &numbers).unwrap();
        let tunnels: usize = configs.values().map(|config| config.tunnels.len()).sum();
        assert_eq!((configs.len(), tunnels), (edges, ends), "{name}");
        for config in configs.values() {
            hawser_edge_core::config::decode(config).unwrap();
        }
    }
}
