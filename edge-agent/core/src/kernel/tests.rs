//! The plan against a kernel in memory that refuses what a real one would, and may fail at any step.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::id::{ClassId, PathId, SegmentId, Spi, TunnelId, gre_key};

const HUB: TunnelId = TunnelId(1);
const BACKUP: TunnelId = TunnelId(2);
const VOICE: ClassId = ClassId(8);
const DEFAULT: ClassId = ClassId(9);
const MAIN: SegmentId = SegmentId(1);

fn net(text: &str) -> IpNet {
    text.parse().expect("prefix")
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("endpoint")
}

fn ends(remote: &str) -> Ends {
    Ends { interface: "wan0".into(), local: at("192.0.2.1:4510"), remote: at(remote) }
}

/// Two tunnels, three paths (two of them to the same address, behind one NAT), two classes, a LAN inside the overlay.
fn inputs() -> Inputs {
    let voice = Match { dscps: vec![46], ..Match::default() };
    let tunnel = |paths: &[u32], source: &str| Tunnel {
        paths: paths.iter().map(|id| PathId(*id)).collect(),
        sources: [(MAIN, [net(source)].into())].into(),
        inner_mtu_bytes: 1430,
    };
    let own = Segment { lans: ["lan0".into()].into(), own: [net("10.2.0.0/24")].into() };
    Inputs {
        segments: [(MAIN, own)].into(),
        tunnels: [(HUB, tunnel(&[1, 2], "10.0.0.0/8")), (BACKUP, tunnel(&[3], "fd00::/16"))].into(),
        routes: vec![
            (MAIN, net("10.0.0.0/8"), vec![HUB, BACKUP]),
            (MAIN, net("10.2.0.0/24"), vec![HUB]),
            (MAIN, net("fd00::/16"), vec![HUB, BACKUP]),
            (MAIN, net("172.16.0.0/12"), vec![]),
        ],
        classes: vec![
            Class { id: VOICE, segment: None, matches: vec![voice] },
            Class { id: DEFAULT, segment: None, matches: vec![] },
        ],
        choices: [
            ((HUB, DEFAULT), Choice::Path(PathId(1))),
            ((HUB, VOICE), Choice::Spread(vec![(PathId(1), 3), (PathId(2), 1)])),
            ((BACKUP, DEFAULT), Choice::Path(PathId(3))),
        ]
        .into(),
        ends: [
            (PathId(1), ends("198.51.100.1:4510")),
            (PathId(2), ends("198.51.100.1:61000")),
            (PathId(3), ends("203.0.113.1:4510")),
        ]
        .into(),
    }
}

/// Holds ours and others'. What a real kernel refuses it refuses, and breaking what guards is an error of the test.
#[derive(Debug, Clone, Default)]
struct Memory {
    ours: KernelState,
    /// Interfaces that somebody else made.
    others: BTreeSet<String>,
}

impl Memory {
    fn apply(&mut self, step: &Step) -> Result<(), String> {
        let held = &self.ours;
        match step {
            Step::AddLink(link) => {
                if held.links.contains_key(&link.key) {
                    return Err("the interface exists".into());
                }
                self.guarded(link)?;
            }
            Step::ChangeLink(link) => {
                if !held.links.contains_key(&link.key) {
                    return Err("no such interface".into());
                }
                self.guarded(link)?;
            }
            Step::RemovePolicy(policy) => {
                let user = held.links.values().find(|link| self.needs(link, policy));
                if let Some(link) = user {
                    return Err(format!("{policy:?} still guards {link:?}"));
                }
            }
            Step::SetNextHop(_, NextHop::Device { link, .. }) if !held.links.contains_key(link) => {
                return Err("no such device".into());
            }
            Step::SetNextHop(id, NextHop::Group(members)) => {
                let known = |(member, _): &(u32, u16)| held.next_hops.contains_key(member);
                if !members.iter().all(known) {
                    return Err("no such member".into());
                }
                if matches!(held.next_hops.get(id), Some(hop) if !matches!(hop, NextHop::Group(_)))
                {
                    return Err("a next hop does not become a group".into());
                }
            }
            Step::SetRoute(Route { kind: RouteKind::NextHop(id), .. })
                if !held.next_hops.contains_key(id) =>
            {
                return Err("no such next hop".into());
            }
            Step::AddRule(rule) if held.rules.contains(rule) => {
                return Err("the rule exists".into());
            }
            Step::MoveState { id, from, .. } if held.states.get(id) != Some(from) => {
                return Err("no such state".into());
            }
            _ => {}
        }
        self.ours.apply(step);
        self.cascade(step);
        Ok(())
    }

    /// What the kernel takes along by itself.
    fn cascade(&mut self, step: &Step) {
        if let Step::RemoveLink(key) = step {
            self.ours
                .next_hops
                .retain(|_, hop| !matches!(hop, NextHop::Device { link, .. } if link == key));
        }
        let there: BTreeSet<u32> = self.ours.next_hops.keys().copied().collect();
        for hop in self.ours.next_hops.values_mut() {
            if let NextHop::Group(members) = hop {
                members.retain(|(id, _)| there.contains(id));
            }
        }
        self.ours.next_hops.retain(|_, hop| !matches!(hop, NextHop::Group(m) if m.is_empty()));
        let there: BTreeSet<u32> = self.ours.next_hops.keys().copied().collect();
        self.ours
            .routes
            .retain(|route| !matches!(route.kind, RouteKind::NextHop(id) if !there.contains(&id)));
    }

    fn needs(&self, link: &GreLink, policy: &Policy) -> bool {
        let fits = policy.remote.is_none_or(|remote| remote == link.remote);
        PathId(link.key >> 8) == policy.path && link.local == policy.local && fits
    }

    /// No interface that could send or take GRE in clear.
    fn guarded(&self, link: &GreLink) -> Result<(), String> {
        for direction in [Direction::In, Direction::Out] {
            let guards =
                |policy: &&Policy| policy.direction == direction && self.needs(link, policy);
            if self.ours.policies.iter().find(guards).is_none() {
                return Err(format!("{link:?} has no policy {direction:?}"));
            }
        }
        Ok(())
    }
}

/// Applies all steps, of which those in `fail` fail.
fn run(memory: &mut Memory, want: &KernelState, fail: &[usize]) {
    let others = memory.others.clone();
    for (number, step) in plan(want, &memory.ours).iter().enumerate() {
        if fail.contains(&number) {
            continue;
        }
        // What depends on a failed step fails, too; without failures nothing may.
        let result = memory.apply(step);
        assert!(result.is_ok() || !fail.is_empty(), "{step:?}: {result:?}");
    }
    assert_eq!(memory.others, others);
}

fn spis(paths: &[u32]) -> BTreeMap<StateId, (SocketAddr, SocketAddr)> {
    let mut states = BTreeMap::new();
    for path in paths.iter().map(|id| PathId(*id)) {
        for (direction, spi) in [(Direction::In, 0x1000), (Direction::Out, 0x2000)] {
            let id = StateId { path, direction, spi: Spi(spi + path.0) };
            states.insert(id, (at("192.0.2.1:4510"), at("198.51.100.77:4510")));
        }
    }
    states
}

#[test]
fn interfaces_take_what_their_tunnel_takes_and_those_of_probes_more() {
    let want = desired(&inputs(), &BTreeMap::new());
    for link in want.links.values() {
        let probes = link.key & 0xff == 0;
        assert_eq!(link.mtu_bytes, if probes { PROBE_MTU_BYTES } else { 1430 }, "{link:?}");
    }
    assert_eq!(want.links.len(), 6);
}

#[test]
fn what_stands_stays_and_the_same_state_twice_does_nothing() {
    let mut memory = Memory::default();
    memory.ours.states = spis(&[1, 2, 3]);
    let want = desired(&inputs(), &memory.ours.states);
    run(&mut memory, &want, &[]);
    assert_eq!(memory.ours, want);
    assert_eq!(plan(&desired(&inputs(), &memory.ours.states), &memory.ours), []);
    // Three paths, segments 0 and 1; a policy each way.
    assert_eq!((want.links.len(), want.policies.len()), (6, 6));
    // Associations follow their path's ends, by number and never anew.
    let moved = want.states.values().filter(|(_, remote)| *remote == at("198.51.100.1:61000"));
    assert_eq!(moved.count(), 2);
}

#[test]
fn a_selection_replaces_groups_and_nothing_else() {
    let mut inputs = inputs();
    let before = desired(&inputs, &BTreeMap::new());
    inputs.choices.insert((HUB, DEFAULT), Choice::Path(PathId(2)));
    let after = desired(&inputs, &BTreeMap::new());
    let steps = plan(&after, &before);
    let groups = groups(&inputs, HUB);
    let changed: Vec<Step> = groups
        .into_iter()
        .filter(|(id, hop)| before.next_hops.get(id) != Some(hop))
        .map(|(id, hop)| Step::SetNextHop(id, hop))
        .collect();
    // Both families, and two lists of next hops of which one is the LAN's own.
    assert_eq!(changed.len(), 3, "{changed:#?}");
    let sorted = |mut steps: Vec<Step>| {
        steps.sort_by_key(|step| format!("{step:?}"));
        steps
    };
    assert_eq!(sorted(steps), sorted(changed));
}

#[test]
fn the_next_tunnel_carries_what_the_first_can_not_and_nobody_means_nowhere() {
    let mut inputs = inputs();
    let members = |inputs: &Inputs, class: ClassId| -> Vec<u32> {
        let state = desired(inputs, &BTreeMap::new());
        let place = if class == VOICE { 1 } else { 2 };
        let table = class_table(MAIN, place);
        let route = state.routes.iter().find(|r| r.table == table && r.prefix == net("10.0.0.0/8"));
        let RouteKind::NextHop(id) = route.expect("a route").kind else { panic!("throw") };
        let NextHop::Group(members) = &state.next_hops[&id] else { panic!("no group") };
        let device = |(id, _): &(u32, u16)| match &state.next_hops[id] {
            NextHop::Device { link, ipv6: false } => link >> 8,
            NextHop::Blackhole { ipv6: false } => 0,
            other => panic!("{other:?}"),
        };
        members.iter().map(device).collect()
    };
    assert_eq!(members(&inputs, VOICE), [1, 2]);
    inputs.choices.insert((HUB, DEFAULT), Choice::Nothing);
    assert_eq!(members(&inputs, DEFAULT), [3]);
    inputs.ends.remove(&PathId(3));
    assert_eq!(members(&inputs, DEFAULT), [0]);
    inputs.choices.insert((HUB, DEFAULT), Choice::Both(PathId(2), PathId(1)));
    assert_eq!(members(&inputs, DEFAULT), [2]);
}

#[test]
fn a_restarted_agent_finds_what_was_chosen() {
    let inputs = inputs();
    let state = desired(&inputs, &BTreeMap::new());
    let found = choices_of(&Inputs { choices: BTreeMap::new(), ..inputs.clone() }, &state);
    // What nothing goes by is not told: the hub's tunnel carries these classes.
    let mut expected = inputs.choices;
    expected.remove(&(BACKUP, DEFAULT));
    assert_eq!(found, expected);
    assert!(choices_of(&Inputs::default(), &state).is_empty());
}

#[test]
fn a_lan_of_this_site_stays_here_and_an_empty_route_is_only_guarded() {
    let state = desired(&inputs(), &BTreeMap::new());
    let of = |prefix: &str| -> Vec<&RouteKind> {
        state.routes.iter().filter(|r| r.prefix == net(prefix)).map(|r| &r.kind).collect()
    };
    assert_eq!(of("10.2.0.0/24"), [&RouteKind::Throw, &RouteKind::Throw]);
    assert!(of("172.16.0.0/12").is_empty());
}

#[test]
fn names_keys_and_request_ids_go_both_ways() {
    for (path, segment) in [(0, 0), (1, 1), (0xff_ffff, 255)] {
        let key = gre_key(PathId(path), SegmentId(segment));
        let name = link_name(key);
        assert!(name.len() < 16, "{name}");
        assert_eq!(key_of_link(&name), Some(key));
        for direction in [Direction::In, Direction::Out] {
            let reqid = direction.reqid(PathId(path));
            assert_eq!(Direction::of_reqid(reqid), Some((direction, PathId(path))));
        }
    }
    for other in ["hw", "hw1", "hw01s1", "hw1s01", "hw1s256", "hw16777216s1", "hwan0", "eth0"] {
        assert_eq!(key_of_link(other), None, "{other}");
    }
    assert_eq!(Direction::of_reqid(1), None);
}

#[test]
fn the_script_marks_checks_sources_and_keeps_segments_apart() {
    let mut inputs = inputs();
    let guests = Segment { lans: ["lan1".into()].into(), own: BTreeSet::new() };
    inputs.segments.insert(SegmentId(2), guests);
    inputs.classes[0].matches[0].destination_ports = vec![(20, 30), (25, 40), (5060, 5060)];
    let script = script(&inputs);
    for line in [
        "meta nfproto ipv4 meta l4proto { 6, 17, 33, 132 } th dport { 20-40, 5060-5060 } ip dscp { 46 } \
         meta mark set meta mark & 0x0000ffff | 0x01010000 return",
        "meta mark set meta mark & 0x0000ffff | 0x02020000 return",
        "\"hw1s1\" : goto from_1_1",
        "\"lan1\" : goto classes_2",
        "ip saddr != @sources_1_1_4 counter drop",
        "iifname \"hw*\" goto strangers",
        "chain strangers {\n\t\tiifname \"hwg*\" accept\n\t\tiifname \"hwm*\" accept\n\t\tiifname \"hwx*\" accept\n\t\tcounter drop\n\t}",
        "oifname \"hwm*\" return",
        "tcp option maxseg size set rt mtu",
        "iifname { \"hw1s1\", \"hw2s1\", \"hw3s1\", \"lan0\" } oifname { \"hw1s2\", \"hw2s2\", \"hw3s2\", \"lan1\" } counter drop",
    ] {
        assert!(script.contains(line), "no {line:?} in\n{script}");
    }
}

#[test]
fn of_too_many_classes_the_last_one_keeps_its_place() {
    let mut inputs = inputs();
    let class = |id| Class { id: ClassId(id), segment: None, matches: vec![] };
    inputs.classes = (0..300).map(class).collect();
    let marked: Vec<(u32, ClassId)> =
        inputs.marked_classes().map(|(place, class)| (place, class.id)).collect();
    assert_eq!(marked.len(), MAX_CLASSES);
    assert_eq!(marked.last(), Some(&(255, ClassId(299))));
}

fn any_inputs() -> impl Strategy<Value = Inputs> {
    let flags = proptest::collection::vec(any::<bool>(), 12);
    (flags, 0u8..4, 1u32..3).prop_map(|(flags, choice, segments)| {
        let mut inputs = inputs();
        for (path, keep) in (1..=3).zip(&flags) {
            if !keep {
                inputs.ends.remove(&PathId(path));
            }
        }
        if flags[3] {
            inputs.tunnels.remove(&BACKUP);
            inputs.routes.iter_mut().for_each(|(_, _, hops)| hops.retain(|hop| *hop != BACKUP));
        }
        if flags[4] {
            inputs.ends.insert(PathId(1), ends("203.0.113.99:1024"));
        }
        if flags[5] {
            inputs.classes.remove(0);
        }
        if segments == 2 {
            inputs.segments.insert(SegmentId(2), Segment::default());
            inputs.routes.push((SegmentId(2), net("10.0.0.0/8"), vec![HUB]));
        }
        let choice = match choice {
            0 => Choice::Nothing,
            1 => Choice::Path(PathId(2)),
            2 => Choice::Spread(vec![(PathId(1), 1), (PathId(2), 900)]),
            _ => Choice::Both(PathId(1), PathId(2)),
        };
        inputs.choices.insert((HUB, DEFAULT), choice);
        inputs
    })
}

proptest! {
    /// Whatever was there before, and whatever fails on the way: it arrives, and no interface is ever without policies.
    #[test]
    fn from_anything_through_any_failure_the_plan_arrives(
        from in any_inputs(),
        to in any_inputs(),
        fail in proptest::collection::vec(0usize..60, 0..6),
        lost in proptest::collection::vec(any::<bool>(), 8),
    ) {
        let others = ["hwan0".to_owned(), "gre7".to_owned()].into();
        let mut memory = Memory { others, ..Memory::default() };
        memory.ours.states = spis(&[1, 2, 3]);
        let want = desired(&from, &memory.ours.states);
        run(&mut memory, &want, &[]);
        // Somebody flushes some of it.
        let keeps = |i: usize| lost[i % lost.len()];
        memory.ours.rules = memory.ours.rules.iter().enumerate().filter(|(i, _)| keeps(*i)).map(|(_, r)| r.clone()).collect();
        memory.ours.routes = memory.ours.routes.iter().enumerate().filter(|(i, _)| keeps(*i)).map(|(_, r)| r.clone()).collect();
        let want = desired(&to, &memory.ours.states);
        run(&mut memory, &want, &fail);
        // Two more looks: the first may have worked on what the failure left behind.
        for _ in 0..2 {
            let want = desired(&to, &memory.ours.states);
            run(&mut memory, &want, &[]);
        }
        let want = desired(&to, &memory.ours.states);
        prop_assert_eq!(plan(&want, &memory.ours), vec![]);
        prop_assert_eq!(&memory.ours.links, &want.links);
        // No association comes into being.
        prop_assert!(memory.ours.states.len() <= 6);
    }
}
