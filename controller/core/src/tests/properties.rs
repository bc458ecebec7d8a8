//! What holds for every fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use hawser_proto::config::v1::EdgeConfig;
use ipnet::IpNet;
use proptest::prelude::*;
use prost::Message;

use crate::{Allocations, EdgeName, allocate, compile, parse, validate};

/// A site as it is written: its number, and what varies.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    number: u8,
    uplinks: Vec<(bool, u8)>,
    guests: bool,
    shared: bool,
    two_edges: bool,
}

fn site() -> impl Strategy<Value = Plan> {
    let uplinks = prop::collection::vec((any::<bool>(), 0u8..3), 1..4);
    (0u8..12, uplinks, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(number, uplinks, guests, shared, two_edges)| Plan {
            number,
            uplinks,
            guests,
            shared,
            two_edges,
        },
    )
}

/// Sites with different numbers, in an order of their own.
pub(super) fn sites() -> impl Strategy<Value = Vec<Plan>> {
    prop::collection::vec(site(), 3..9).prop_map(|mut sites| {
        let mut met = BTreeSet::new();
        sites.retain(|site| met.insert(site.number));
        sites
    })
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Hubs(usize),
    Mesh,
    Regions,
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![(1usize..3).prop_map(Shape::Hubs), Just(Shape::Mesh), Just(Shape::Regions)]
}

pub(super) fn document(sites: &[Plan], shape: Shape) -> String {
    let mut text = "fleet: acme\nsegments: [{name: main}, {name: guest}]\nsites:\n".to_owned();
    for site in sites {
        write_site(&mut text, site);
    }
    // By number, so that the same sites in another order are the same fleet.
    let mut names: Vec<u8> = sites.iter().map(|site| site.number).collect();
    names.sort_unstable();
    let list = |part: &[u8]| part.iter().map(|n| format!("s{n}")).collect::<Vec<_>>().join(", ");
    text.push_str("topologies:\n");
    match shape {
        Shape::Hubs(hubs) => {
            let hubs = hubs.min(names.len() - 1);
            writeln!(text, "  - {{kind: hub-spoke, hubs: [{}]}}", list(&names[..hubs])).unwrap();
        }
        Shape::Mesh => text.push_str("  - {kind: full-mesh}\n"),
        Shape::Regions => {
            let middle = names.len() / 2;
            for part in [&names[..middle], &names[middle..]] {
                if part.len() > 1 {
                    let (hub, spokes) = (list(&part[..1]), list(&part[1..]));
                    writeln!(text, "  - {{kind: hub-spoke, hubs: [{hub}], spokes: [{spokes}]}}")
                        .unwrap();
                }
            }
            let (a, b) = (names[0], names[middle]);
            writeln!(text, "  - {{kind: partial, pairs: [[s{a}, s{b}]]}}").unwrap();
        }
    }
    text
}

fn write_site(text: &mut String, site: &Plan) {
    let n = site.number;
    writeln!(text, "  - name: s{n}\n    lans:").unwrap();
    writeln!(text, "      - {{interface: l0, prefixes: [\"10.{n}.0.0/16\"]}}").unwrap();
    if site.guests {
        let prefix = format!("192.168.{n}.0/24");
        writeln!(text, "      - {{interface: l1, segment: guest, prefixes: [\"{prefix}\"]}}")
            .unwrap();
    }
    if site.shared {
        text.push_str(
            "      - {interface: l2, prefixes: [\"172.16.0.0/16\"], shared_origin: true}\n",
        );
    }
    text.push_str("    edges:\n");
    for edge in 0..=usize::from(site.two_edges) {
        text.push_str("      - uplinks:\n");
        // One that pairs with everybody's, so that each tunnel has a path.
        text.push_str("          - {name: base, families: [ipv4, ipv6]}\n");
        for (index, (mpls, families)) in site.uplinks.iter().enumerate() {
            let transport = if *mpls { "mpls" } else { "internet" };
            let families = ["[ipv4]", "[ipv6]", "[ipv4, ipv6]"][usize::from(*families)];
            writeln!(
                text,
                "          - {{name: u{index}, interface: w{edge}{index}, transport: {transport}, \
                 families: {families}}}"
            )
            .unwrap();
        }
    }
}

fn compiled(text: &str, numbers: &mut Allocations) -> BTreeMap<EdgeName, EdgeConfig> {
    let fleet = parse(text.as_bytes()).unwrap_or_else(|faults| panic!("{text}\n{faults:#?}"));
    allocate(&fleet, numbers).unwrap();
    compile(&fleet, numbers).unwrap()
}

fn octets(configs: &BTreeMap<EdgeName, EdgeConfig>) -> Vec<Vec<u8>> {
    configs.values().map(Message::encode_to_vec).collect()
}

fn nets<'a>(prefixes: impl IntoIterator<Item = &'a String>) -> Vec<IpNet> {
    prefixes.into_iter().map(|prefix| prefix.parse().unwrap()).collect()
}

/// Each path, by its ID, as each of its ends has it.
fn check_paths(configs: &BTreeMap<EdgeName, EdgeConfig>) {
    let mut ends: BTreeMap<u32, Vec<(u32, u32, i32, u32)>> = BTreeMap::new();
    for config in configs.values() {
        for tunnel in &config.tunnels {
            assert!(!tunnel.paths.is_empty());
            for path in &tunnel.paths {
                assert!((1..1 << 24).contains(&path.id));
                assert!(config.uplinks.iter().any(|uplink| uplink.id == path.local_uplink_id));
                assert!(tunnel.peer_uplinks.iter().any(|up| up.id == path.remote_uplink_id));
                let end = (path.local_uplink_id, path.remote_uplink_id, path.family, tunnel.id);
                ends.entry(path.id).or_default().push(end);
            }
        }
    }
    for (id, ends) in ends {
        let [a, b] = ends.as_slice() else { panic!("path {id} has ends {ends:?}") };
        assert_eq!((a.0, a.1, a.2, a.3), (b.1, b.0, b.2, b.3), "path {id} is not mirrored");
    }
}

fn check_sources_and_routes(configs: &BTreeMap<EdgeName, EdgeConfig>) {
    for config in configs.values() {
        let own = |segment: u32| {
            let lans = config.lans.iter().filter(move |lan| lan.segment_id == segment);
            nets(lans.flat_map(|lan| &lan.prefixes))
        };
        let known: BTreeSet<u32> = config.segments.iter().map(|segment| segment.id).collect();
        let peers: BTreeSet<u32> = config.tunnels.iter().map(|t| t.peer_edge_id).collect();
        for tunnel in &config.tunnels {
            for source in &tunnel.peer_sources {
                assert!(known.contains(&source.segment_id));
                let source_net: IpNet = source.prefix.parse().unwrap();
                for lan in own(source.segment_id) {
                    assert!(!lan.contains(&source_net) && !source_net.contains(&lan));
                }
            }
        }
        for route in &config.routes {
            assert!(known.contains(&route.segment_id));
            assert!(!own(route.segment_id).contains(&route.prefix.parse().unwrap()));
            let hops: BTreeSet<u32> = route.next_hop_edge_ids.iter().copied().collect();
            assert_eq!(hops.len(), route.next_hop_edge_ids.len());
            assert!(hops.is_subset(&peers));
        }
    }
}

/// Whatever next hops edges choose, a packet ends at an origin, and each edge on its way takes its source as one that
/// the sender may originate.
fn check_forwarding(configs: &BTreeMap<EdgeName, EdgeConfig>) {
    let by_id: BTreeMap<u32, &EdgeConfig> = configs.values().map(|c| (c.edge_id, c)).collect();
    for from in configs.values() {
        for route in &from.routes {
            let sources = from.lans.iter().filter(|lan| lan.segment_id == route.segment_id);
            let sources: Vec<&String> = sources.flat_map(|lan| &lan.prefixes).collect();
            let mut ways: Vec<Vec<u32>> = vec![vec![from.edge_id]];
            while let Some(way) = ways.pop() {
                let here = by_id[way.last().unwrap()];
                let key = (route.segment_id, &route.prefix);
                let next = here.routes.iter().find(|r| (r.segment_id, &r.prefix) == key);
                for hop in next.map(|r| r.next_hop_edge_ids.as_slice()).unwrap_or_default() {
                    assert!(!way.contains(hop), "{way:?} goes round at {hop} for {key:?}");
                    check_source(by_id[hop], here, route.segment_id, &sources);
                    let mut longer = way.clone();
                    longer.push(*hop);
                    ways.push(longer);
                }
                let origin = here.lans.iter().any(|lan| lan.prefixes.contains(&route.prefix));
                let reaches = next.is_some_and(|r| !r.next_hop_edge_ids.is_empty());
                assert!(origin || reaches || way.len() == 1, "{way:?} ends nowhere for {key:?}");
            }
        }
    }
}

fn check_source(at: &EdgeConfig, sender: &EdgeConfig, segment: u32, sources: &[&String]) {
    let tunnel = at.tunnels.iter().find(|t| t.peer_edge_id == sender.edge_id).unwrap();
    for source in sources {
        // What the receiver originates too can't be told from its own, and is refused.
        let shared = at.lans.iter().any(|lan| lan.prefixes.contains(source));
        let accepted =
            tunnel.peer_sources.iter().any(|s| s.segment_id == segment && s.prefix == **source);
        assert!(accepted || shared, "{} refuses {source} from {}", at.edge, sender.edge);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_configuration_keeps_its_promises((sites, shape) in (sites(), shape())) {
        prop_assume!(sites.len() > 2);
        let configs = compiled(&document(&sites, shape), &mut Allocations::default());
        for config in configs.values() {
            prop_assert_eq!(hawser_edge_core::config::decode(config).err(), None);
        }
        check_paths(&configs);
        check_sources_and_routes(&configs);
        check_forwarding(&configs);
    }

    #[test]
    fn the_order_of_sites_says_nothing((sites, shape) in (sites(), shape())) {
        prop_assume!(sites.len() > 2);
        let (mut first, mut second) = (Allocations::default(), Allocations::default());
        let configs = compiled(&document(&sites, shape), &mut first);
        let reversed: Vec<Plan> = sites.iter().rev().cloned().collect();
        let again = compiled(&document(&reversed, shape), &mut second);
        prop_assert_eq!(&first, &second);
        prop_assert_eq!(octets(&configs), octets(&again));
    }

    #[test]
    fn numbers_stay_when_sites_come_and_go(
        (sites, shape) in (sites(), shape()),
        kept in prop::collection::vec(any::<bool>(), 9),
    ) {
        prop_assume!(sites.len() > 2);
        let mut numbers = Allocations::default();
        let before = compiled(&document(&sites, shape), &mut numbers);
        let given = numbers.clone();
        let some: Vec<Plan> =
            sites.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(site, _)| site.clone()).collect();
        if some.len() > 2 {
            compiled(&document(&some, shape), &mut numbers);
        }
        let after = compiled(&document(&sites, shape), &mut numbers);
        prop_assert_eq!(octets(&before), octets(&after));
        // Only what the smaller fleet joined anew can have come on top.
        prop_assert!(some.len() > 2 || given == numbers);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[ -~\\n\u{e9}]{0,200}") {
        validate(text.as_bytes());
    }

    #[test]
    fn no_damage_to_a_document_makes_the_parser_panic(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        length in 0usize..40,
    ) {
        let mut text = include_bytes!("../../testdata/demo.yaml").to_vec();
        let start = place.index(text.len());
        let end = (start + length).min(text.len());
        text.splice(start..end, [byte]);
        let faults = validate(&text);
        let fleet = parse(&text);
        prop_assert_eq!(faults.is_empty(), fleet.is_ok());
    }
}
