use super::{Allocations, CorruptAllocations, EdgePair, PathKey, allocate};
use crate::id::{EdgeId, UplinkId};
use crate::intent::{ClassName, EdgeName, Family, SegmentName};
use crate::parse;

const DEMO: &str = include_str!("../../testdata/demo.yaml");
const REGIONS: &str = include_str!("../../testdata/regions.yaml");

fn numbers(documents: &[&str]) -> Allocations {
    let mut numbers = Allocations::default();
    for document in documents {
        allocate(&parse(document.as_bytes()).unwrap(), &mut numbers).unwrap();
    }
    numbers
}

#[test]
fn main_and_default_are_number_one_before_anything_is_asked_for() {
    let empty = Allocations::default();
    assert_eq!(empty.segment(&SegmentName::new("main")).unwrap().0, 1);
    assert_eq!(empty.class(&ClassName::new("default")).unwrap().0, 1);
    assert!(empty.edge(&EdgeName::new("hq-1")).is_err());
}

#[test]
fn numbers_come_back_from_the_store_as_they_were() {
    let before = numbers(&[DEMO, REGIONS]);
    assert_eq!(Allocations::from_json(&before.to_json()).unwrap(), before);
}

#[test]
fn who_leaves_and_comes_back_has_its_numbers_again_and_nobody_else_has() {
    let first = numbers(&[DEMO]);
    let all = numbers(&[DEMO, REGIONS, DEMO]);
    for edge in ["hq-1", "b1-1", "b2-1"] {
        let edge = EdgeName::new(edge);
        assert_eq!(first.edge(&edge).unwrap(), all.edge(&edge).unwrap());
    }
    assert_eq!(all.edge(&EdgeName::new("backup-1")).unwrap(), EdgeId(4));
    assert_eq!(numbers(&[DEMO, REGIONS]), all);
}

#[test]
fn damaged_allocations_are_refused() {
    let good = String::from_utf8(numbers(&[DEMO]).to_json()).unwrap();
    let version = good.replacen("\"version\":1", "\"version\":2", 1);
    let twice = good.replacen("\"b1-1\":1", "\"b1-1\":2", 1);
    let key = good.replacen("\"1-3\"", "\"3-1\"", 1);
    let next = good.replacen("{\"next\":4", "{\"next\":3", 1);
    let cut = &good[..good.len() / 2];
    let unreadable = |text: &str| {
        matches!(Allocations::from_json(text.as_bytes()), Err(CorruptAllocations::Unreadable(_)))
    };
    let unsound = |text: &str| {
        matches!(Allocations::from_json(text.as_bytes()), Err(CorruptAllocations::Unsound))
    };
    for changed in [&version, &twice, &key, &next] {
        assert_ne!(*changed, good);
    }
    let found = Allocations::from_json(version.as_bytes());
    assert!(matches!(found, Err(CorruptAllocations::Version(2))));
    assert!(unsound(&twice) && unsound(&next));
    assert!(unreadable(&key) && unreadable(cut) && unreadable(""));
}

#[test]
fn pairs_have_no_direction() {
    let (a, b) = (UplinkId(7), UplinkId(3));
    assert_eq!(PathKey::new(a, b, Family::Ipv4), PathKey::new(b, a, Family::Ipv4));
    assert_ne!(PathKey::new(a, b, Family::Ipv4), PathKey::new(b, a, Family::Ipv6));
    assert_eq!(EdgePair::new(EdgeId(9), EdgeId(2)), EdgePair::new(EdgeId(2), EdgeId(9)));
}

#[test]
fn exhausted_numbers_leave_the_allocations_as_they_were() {
    let mut before = numbers(&[DEMO]);
    before.paths.next = crate::id::PathId::MAX;
    let mut after = before.clone();
    let regions = parse(REGIONS.as_bytes()).unwrap();
    let error = allocate(&regions, &mut after).unwrap_err();
    assert_eq!((error.kind, error.max), ("paths", (1 << 24) - 1));
    assert_eq!(after, before);
    // What has its numbers needs no new ones.
    allocate(&parse(DEMO.as_bytes()).unwrap(), &mut after).unwrap();
}
