use hawser_edge_core::id::{ClassId, SegmentId};

use super::super::spec::{ClassMatch, ClassSpec};
use super::Classifier;
use hawser_esp::ip::{FlowKey, Fragment};

const VOICE: ClassId = ClassId(1);
const GUEST: ClassId = ClassId(2);
const BRANCH: ClassId = ClassId(3);
const DEFAULT: ClassId = ClassId(9);

fn classifier() -> Classifier {
    let class = |id, segment, matches| ClassSpec { id, segment, matches, wan_dscp: None };
    Classifier::new(vec![
        class(
            VOICE,
            None,
            vec![
                ClassMatch { dscps: vec![46], ..ClassMatch::default() },
                ClassMatch {
                    protocols: vec![17],
                    destination_ports: vec![5060..=5061, 10_000..=20_000],
                    ..ClassMatch::default()
                },
            ],
        ),
        class(GUEST, Some(SegmentId(2)), vec![]),
        class(
            BRANCH,
            None,
            vec![ClassMatch {
                sources: vec!["10.1.0.0/16".parse().expect("prefix")],
                destinations: vec!["10.0.0.0/16".parse().expect("prefix")],
                source_ports: vec![0..=1023],
                ..ClassMatch::default()
            }],
        ),
        class(DEFAULT, None, vec![]),
    ])
}

fn flow(source: &str, destination: &str, proto: u8, ports: Option<(u16, u16)>) -> FlowKey {
    let (src_port, dst_port) = ports.unwrap_or((0, 0));
    FlowKey {
        src: source.parse().expect("address"),
        dst: destination.parse().expect("address"),
        proto,
        src_port,
        dst_port,
        dscp: 0,
        fragment: Fragment::Whole,
    }
}

#[test]
fn the_first_class_that_fits_takes_the_packet() {
    let marked = FlowKey { dscp: 46, ..flow("10.1.0.1", "10.0.0.1", 1, None) };
    let later = FlowKey {
        fragment: Fragment::Later,
        ..flow("10.1.0.1", "10.0.0.1", 17, Some((4000, 5061)))
    };
    let table = [
        ("dscp", 1, marked, VOICE),
        ("port", 1, flow("10.1.0.1", "10.0.0.1", 17, Some((4000, 5061))), VOICE),
        ("second range", 2, flow("10.1.0.1", "10.0.0.1", 17, Some((4000, 20_000))), VOICE),
        ("port beside", 1, flow("10.1.0.1", "10.0.0.1", 17, Some((4000, 5062))), DEFAULT),
        ("other protocol", 1, flow("10.1.0.1", "10.0.0.1", 6, Some((4000, 5060))), DEFAULT),
        ("later fragment", 1, later, DEFAULT),
        ("no ports", 1, flow("10.1.0.1", "10.0.0.1", 1, Some((0, 0))), DEFAULT),
        ("segment", 2, flow("10.1.0.1", "10.0.0.1", 6, Some((80, 4000))), GUEST),
        ("all fields", 1, flow("10.1.0.1", "10.0.0.1", 6, Some((80, 4000))), BRANCH),
        ("source", 1, flow("10.2.0.1", "10.0.0.1", 6, Some((80, 4000))), DEFAULT),
        ("destination", 1, flow("10.1.0.1", "10.2.0.1", 6, Some((80, 4000))), DEFAULT),
        ("source port", 1, flow("10.1.0.1", "10.0.0.1", 6, Some((1024, 4000))), DEFAULT),
        ("family", 1, flow("fd00::1", "fd00::2", 6, Some((80, 4000))), DEFAULT),
    ];
    let classifier = classifier();
    for (name, segment, flow, want) in table {
        let got = classifier.classify(SegmentId(segment), &flow);
        assert_eq!(got, classifier.index_of(want), "{name}");
    }
}

#[test]
fn without_a_last_class_that_matches_everything_there_may_be_none() {
    let empty = Classifier::new(vec![]);
    assert_eq!(empty.classify(SegmentId(1), &flow("10.0.0.1", "10.0.0.2", 6, None)), None);
}
