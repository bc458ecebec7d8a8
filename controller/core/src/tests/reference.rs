//! The reference tells of every field and of every fault.

use std::collections::{BTreeMap, BTreeSet};

use crate::decode::MAPPINGS;
use crate::{Allocations, allocate, code, compile, parse};

const REFERENCE: &str = include_str!("../../../../docs/REFERENCE.md");

/// The words in code font that begin the rows of the table under a heading of each name.
fn rows() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut rows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut heading = "";
    for line in REFERENCE.lines() {
        if let Some(title) = line.trim_start_matches('#').strip_prefix(" `") {
            heading = title.trim_end_matches('`');
        } else if line.starts_with('#') {
            heading = line;
        } else if let Some(row) = line.strip_prefix("| `") {
            let word = row.split('`').next().unwrap_or_default();
            rows.entry(heading).or_default().insert(word);
        }
    }
    rows
}

#[test]
fn every_field_of_a_document_is_in_the_reference_and_no_other() {
    let rows = rows();
    for (mapping, fields) in MAPPINGS {
        let told = rows.get(mapping).unwrap_or_else(|| panic!("no table under `{mapping}`"));
        assert_eq!(*told, fields.iter().copied().collect::<BTreeSet<_>>(), "{mapping}");
    }
}

#[test]
fn every_fault_is_in_the_reference_and_no_other() {
    let rows = rows();
    let told = rows.get("## Faults").expect("no table of faults");
    assert_eq!(*told, code::ALL.iter().copied().collect::<BTreeSet<_>>());
}

#[test]
fn the_examples_of_the_reference_are_documents_without_a_fault() {
    let blocks = REFERENCE.split("```yaml\n").skip(1);
    let examples: Vec<&str> = blocks.map(|block| block.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let fleet = parse(example.as_bytes()).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let mut numbers = Allocations::default();
        allocate(&fleet, &mut numbers).unwrap();
        for config in compile(&fleet, &numbers).unwrap().values() {
            hawser_edge_core::config::decode(config).unwrap();
        }
    }
}
