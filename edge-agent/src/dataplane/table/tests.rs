use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_edge_core::id::{ClassId, EdgeId, PathId, SegmentId, TunnelId, UplinkId};
use hawser_edge_core::select::Choice;
use hawser_esp::ip::{FlowKey, Fragment};

use super::super::counters::DropReason;
use super::super::spec::{
    ClassMatch, ClassSpec, Family, ForwardingSpec, PathSpec, RouteSpec, SegmentSpec, TunnelSpec,
};
use super::{Resolved, Table, Way};

const MAIN: SegmentId = SegmentId(1);
const GUEST: SegmentId = SegmentId(2);
const VOICE: ClassId = ClassId(1);
const DEFAULT: ClassId = ClassId(2);
const HUB: TunnelId = TunnelId(10);
const BACKUP: TunnelId = TunnelId(20);

fn tunnel(id: TunnelId, paths: &[u32], sources: &[(SegmentId, &str)]) -> TunnelSpec {
    let mut peer_sources = BTreeMap::<_, Vec<_>>::new();
    for (segment, prefix) in sources {
        peer_sources.entry(*segment).or_default().push(prefix.parse().expect("prefix"));
    }
    let path = |&id| PathSpec { id: PathId(id), uplink: UplinkId(1), family: Family::V4 };
    TunnelSpec {
        id,
        peer: EdgeId(id.0),
        paths: paths.iter().map(path).collect(),
        peer_sources,
        inner_mtu_bytes: 1430,
    }
}

fn spec() -> ForwardingSpec {
    let segment =
        |id: SegmentId| SegmentSpec { id, tun_name: format!("hawser{id}"), mtu_bytes: 1430 };
    let route = |segment, prefix: &str, next_hops: &[TunnelId]| RouteSpec {
        segment,
        prefix: prefix.parse().expect("prefix"),
        next_hops: next_hops.to_vec(),
    };
    let voice = ClassMatch { dscps: vec![46], ..ClassMatch::default() };
    ForwardingSpec {
        segments: vec![segment(MAIN), segment(GUEST)],
        tunnels: vec![
            tunnel(HUB, &[1, 2], &[(MAIN, "10.0.0.0/8"), (MAIN, "fd00::/16")]),
            tunnel(BACKUP, &[3], &[(GUEST, "10.0.0.0/8")]),
        ],
        routes: vec![
            route(MAIN, "10.0.0.0/8", &[HUB, BACKUP]),
            route(MAIN, "10.9.0.0/16", &[]),
            route(GUEST, "10.0.0.0/8", &[BACKUP]),
        ],
        classes: vec![
            ClassSpec { id: VOICE, segment: None, matches: vec![voice], wan_dscp: Some(46) },
            ClassSpec { id: DEFAULT, segment: None, matches: vec![], wan_dscp: None },
        ],
        lans: vec![],
    }
}

fn build(spec: ForwardingSpec, old: &Table) -> Table {
    Table::build(spec, old).expect("a good spec")
}

fn to(destination: &str, dscp: u8) -> FlowKey {
    FlowKey {
        src: "10.1.0.1".parse().expect("address"),
        dst: destination.parse().expect("address"),
        proto: 1,
        src_port: 0,
        dst_port: 0,
        dscp,
        fragment: Fragment::Whole,
    }
}

fn path_of(table: &Table, segment: SegmentId, flow: &FlowKey) -> Result<u32, DropReason> {
    match table.resolve(segment, flow, |_| true)?.way {
        Way::One(path) => Ok(path.id.0),
        Way::Copies { .. } => panic!("no class is duplicated"),
    }
}

#[test]
fn a_packet_takes_the_selected_path_of_the_first_next_hop_that_has_one() {
    let table = build(spec(), &Table::default());
    let flow = to("10.2.0.1", 0);
    assert_eq!(path_of(&table, MAIN, &flow), Err(DropReason::NoPath), "nothing selected yet");
    table.select(BACKUP, DEFAULT, Choice::Path(PathId(3)));
    assert_eq!(path_of(&table, MAIN, &flow), Ok(3), "the first next hop has none");
    table.select(HUB, DEFAULT, Choice::Path(PathId(2)));
    assert_eq!(path_of(&table, MAIN, &flow), Ok(2));
    assert_eq!(path_of(&table, GUEST, &flow), Ok(3), "segments have routes of their own");
    table.select(HUB, DEFAULT, Choice::Nothing);
    assert_eq!(path_of(&table, MAIN, &flow), Ok(3));
}

#[test]
fn classes_are_selected_apart() {
    let table = build(spec(), &Table::default());
    table.select(HUB, VOICE, Choice::Path(PathId(1)));
    table.select(HUB, DEFAULT, Choice::Path(PathId(2)));
    assert_eq!(path_of(&table, MAIN, &to("10.2.0.1", 46)), Ok(1));
    let dscp = |dscp| table.resolve(MAIN, &to("10.2.0.1", dscp), |_| true).expect("a way").wan_dscp;
    assert_eq!((dscp(46), dscp(0)), (Some(46), None), "each class has its own mark");
    assert_eq!(path_of(&table, MAIN, &to("10.2.0.1", 0)), Ok(2));
}

#[test]
fn a_spread_class_takes_a_usable_path_and_without_one_says_why() {
    let table = build(spec(), &Table::default());
    let spread = [(PathId(1), 1), (PathId(2), 1), (PathId(99), 1_000_000)];
    table.select(HUB, DEFAULT, Choice::Spread(spread.to_vec()));
    let path = |usable: &dyn Fn(u32) -> bool, last: u8| {
        let flow = to(&format!("10.2.0.{last}"), 0);
        match table.resolve(MAIN, &flow, |path| usable(path.id.0)) {
            Ok(Resolved { way: Way::One(path), .. }) => Some(path.id.0),
            _ => None,
        }
    };
    let paths: Vec<_> = (0..100).map(|last| path(&|_| true, last)).collect();
    assert!(paths.contains(&Some(1)) && paths.contains(&Some(2)) && !paths.contains(&None));
    assert!((0..100).all(|last| path(&|id| id == 2, last) == Some(2)));
    let unusable: Vec<_> = (0..100).map(|last| path(&|_| false, last)).collect();
    assert_eq!(unusable, paths);
    table.select(HUB, DEFAULT, Choice::Spread(vec![(PathId(99), 1)]));
    assert_eq!(path_of(&table, MAIN, &to("10.2.0.1", 0)), Err(DropReason::NoPath));
}

#[test]
fn a_duplicated_class_takes_those_of_its_two_paths_that_are_there() {
    let table = build(spec(), &Table::default());
    table.select(BACKUP, DEFAULT, Choice::Path(PathId(3)));
    let flow = to("10.2.0.1", 0);
    for (a, b, wanted) in [
        (1, 2, Some([Some(1), Some(2)])),
        (2, 99, Some([Some(2), None])),
        (99, 1, Some([None, Some(1)])),
        (98, 99, None),
    ] {
        table.select(HUB, DEFAULT, Choice::Both(PathId(a), PathId(b)));
        let ids = match table.resolve(MAIN, &flow, |_| true).expect("a way").way {
            Way::Copies { paths, .. } => Some(paths.map(|path| path.map(|path| path.id.0))),
            Way::One(path) => {
                assert_eq!(path.id, PathId(3), "the next hop's");
                None
            }
        };
        assert_eq!(ids, wanted, "{a} {b}");
    }
}

#[test]
fn what_has_no_route_is_dropped_by_name() {
    let table = build(spec(), &Table::default());
    let table_of_reasons = [
        (MAIN, "192.0.2.1", DropReason::NoRoute),
        (MAIN, "fd00::1", DropReason::NoRoute),
        (MAIN, "10.9.0.1", DropReason::NoPath),
        (SegmentId(3), "10.2.0.1", DropReason::UnknownSegment),
    ];
    for (segment, destination, reason) in table_of_reasons {
        assert_eq!(path_of(&table, segment, &to(destination, 0)), Err(reason), "{destination}");
    }
    let mut classless = spec();
    classless.classes.pop();
    let table = build(classless, &Table::default());
    assert_eq!(path_of(&table, MAIN, &to("10.2.0.1", 0)), Err(DropReason::NoClass));
}

#[test]
fn a_selection_of_what_is_not_there_changes_nothing() {
    let table = build(spec(), &Table::default());
    table.select(HUB, DEFAULT, Choice::Path(PathId(3)));
    let flow = to("10.2.0.1", 0);
    assert_eq!(path_of(&table, MAIN, &flow), Err(DropReason::NoPath), "another tunnel's path");
    table.select(TunnelId(99), DEFAULT, Choice::Path(PathId(1)));
    table.select(HUB, ClassId(99), Choice::Path(PathId(1)));
    assert_eq!(path_of(&table, MAIN, &flow), Err(DropReason::NoPath));
}

#[test]
fn a_peer_may_only_originate_its_own_sources_in_their_segment() {
    let table = build(spec(), &Table::default());
    let admits = |path, segment, source: &str| {
        table.admits(PathId(path), segment, source.parse().expect("address")).map(drop)
    };
    assert_eq!(admits(1, MAIN, "10.255.0.1"), Ok(()));
    assert_eq!(admits(2, MAIN, "fd00::1"), Ok(()));
    assert_eq!(admits(1, MAIN, "11.0.0.1"), Err(DropReason::SpoofedSource));
    assert_eq!(admits(1, GUEST, "10.0.0.1"), Err(DropReason::SpoofedSource));
    assert_eq!(admits(3, GUEST, "10.0.0.1"), Ok(()));
    assert_eq!(admits(3, SegmentId(3), "10.0.0.1"), Err(DropReason::UnknownSegment));
    assert_eq!(admits(77, MAIN, "10.0.0.1"), Err(DropReason::SpoofedSource));
}

#[test]
fn a_new_table_keeps_selections_and_the_state_of_paths_that_stay() {
    let old = build(spec(), &Table::default());
    old.select(HUB, DEFAULT, Choice::Path(PathId(1)));
    old.path(PathId(1)).expect("path").count_sent(3, 300);

    let mut changed = spec();
    changed.tunnels.remove(1);
    changed.routes.retain(|route| route.segment == MAIN);
    changed.routes[0].next_hops = vec![HUB];
    changed.classes.swap(0, 1);
    changed.classes.remove(1);
    changed.tunnels[0].paths[1].uplink = UplinkId(2);
    let new = build(changed, &old);

    assert_eq!(path_of(&new, MAIN, &to("10.2.0.1", 46)), Ok(1), "the class kept its path");
    assert_eq!(new.path(PathId(1)).expect("path").counters().tx_packets, 3);
    let same = |id| {
        let of = |table: &Table| table.path(PathId(id)).cloned();
        of(&old).zip(of(&new)).is_some_and(|(old, new)| Arc::ptr_eq(&old, &new))
    };
    assert!(same(1));
    assert!(!same(2), "another uplink is another path");
    assert!(new.path(PathId(3)).is_none());
    new.select(HUB, DEFAULT, Choice::Path(PathId(2)));
    assert_eq!(path_of(&old, MAIN, &to("10.2.0.1", 0)), Ok(2), "one store serves both tables");
}

#[test]
fn a_spec_that_contradicts_itself_is_refused_with_its_place() {
    type Spoil = fn(&mut ForwardingSpec);
    let table: [(&str, Spoil); 12] = [
        ("segments[0]", |spec| spec.segments[0].id = SegmentId::INFRASTRUCTURE),
        ("segments[1]", |spec| spec.segments[1].id = MAIN),
        ("segments[1]", |spec| spec.segments[1].tun_name = "hawser1".into()),
        ("segments[0]", |spec| spec.segments[0].tun_name = "a-name-of-16-oct".into()),
        ("segments[0]", |spec| spec.segments[0].tun_name = "../etc".into()),
        ("segments[0]", |spec| spec.segments[0].mtu_bytes = 1279),
        ("tunnels[1]", |spec| spec.tunnels[1].id = HUB),
        ("tunnels[1]", |spec| spec.tunnels[1].paths[0].id = PathId(1)),
        ("tunnels[0]", |spec| spec.tunnels[0].paths[0].id = PathId(1 << 24)),
        ("routes[0]", |spec| spec.routes[0].segment = SegmentId(9)),
        ("routes[2]", |spec| spec.routes[2].next_hops.push(TunnelId(9))),
        ("classes[1]", |spec| spec.classes[1].id = VOICE),
    ];
    for (place, spoil) in table {
        let mut spoilt = spec();
        spoil(&mut spoilt);
        let error = Table::build(spoilt, &Table::default()).expect_err(place);
        assert_eq!(error.code(), "spec");
        assert!(error.to_string().starts_with(place), "{error} should name {place}");
    }
}
