use std::collections::BTreeMap;

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::config::{Lan, Route, UplinkUse};
use crate::id::{EdgeId, UplinkId};
use crate::ike::{TunnelMode, interface_name};

fn uplink(id: u32, interface: &str) -> Uplink {
    Uplink {
        id: UplinkId(id),
        name: interface.to_owned(),
        interface: interface.to_owned(),
        transport: "internet".into(),
        provider: interface.to_owned(),
        cost: 0,
        metered: false,
        gateways: vec![],
        probe_budget_bytes_per_s: 0,
        bandwidth_up_kbps: 0,
        usage: UplinkUse::Normal,
        drained: false,
    }
}

fn net(text: &str) -> IpNet {
    text.parse().expect("prefix")
}

fn edge() -> EdgeState {
    let lan = |interface: &str, segment, prefix| Lan {
        interface: interface.to_owned(),
        segment: SegmentId(segment),
        prefixes: vec![net(prefix)],
        vlan: 0,
    };
    let route = |segment, prefix| Route {
        segment: SegmentId(segment),
        prefix: net(prefix),
        next_hops: vec![],
    };
    EdgeState {
        fleet: "acme".into(),
        site: "b1".into(),
        edge: "b1-1".into(),
        edge_id: EdgeId(2),
        controllers: vec![],
        fabric_port: 4510,
        drained: false,
        leaf: false,
        segments: BTreeMap::from([(SegmentId(1), "main".into()), (SegmentId(2), "guest".into())]),
        uplinks: BTreeMap::from([
            (UplinkId(10), uplink(10, "isp-a")),
            (UplinkId(11), uplink(11, "isp-b")),
        ]),
        lans: vec![lan("lan0", 1, "10.1.1.0/24"), lan("lan1", 2, "10.9.1.0/24")],
        tunnels: BTreeMap::new(),
        routes: vec![route(1, "10.0.0.0/8"), route(1, "fd00::/16"), route(2, "10.9.0.0/24")],
        sla_classes: BTreeMap::new(),
        traffic_classes: vec![],
        ike_tunnels: vec![],
        manual_tunnels: vec![],
    }
}

fn host() -> Observed {
    let link = |index, address: &str| Link {
        index,
        mtu_bytes: 1500,
        running: true,
        addresses: vec![net(address)],
    };
    Observed {
        links: BTreeMap::from([
            ("isp-a".into(), link(2, "192.0.2.7/24")),
            ("isp-b".into(), link(3, "198.51.100.7/24")),
            ("lan0".into(), link(4, "10.1.1.1/24")),
            ("lan1".into(), link(5, "10.9.1.1/24")),
            ("hawser1".into(), link(6, "fe80::1/64")),
        ]),
        default_routes: vec![
            ("isp-a".into(), "192.0.2.1".parse().expect("address")),
            ("isp-b".into(), "198.51.100.1".parse().expect("address")),
        ],
        sysctls: BTreeMap::from([("net.ipv4.ip_forward".into(), "0".into())]),
        ..Observed::default()
    }
}

/// What the kernel would hold after a step.
fn apply(seen: &mut Observed, step: Step) {
    match step {
        Step::LoadGuard(script) => seen.guard = Some(script),
        Step::AddRoute(route) => assert!(seen.routes.insert(route), "added twice"),
        Step::RemoveRoute(route) => assert!(seen.routes.remove(&route), "not there"),
        Step::AddRule(rule) => assert!(seen.rules.insert(rule), "added twice"),
        Step::RemoveRule(rule) => assert!(seen.rules.remove(&rule), "not there"),
        Step::SetSysctl(name, value) => {
            seen.sysctls.insert(name, value);
        }
        Step::AddInterface(name, kind) => {
            assert_eq!(seen.interfaces.insert(name.clone(), kind), None, "added twice");
            seen.links.insert(name, Link { index: 40, running: true, ..Link::default() });
        }
        Step::RemoveInterface(name) => {
            assert!(seen.interfaces.remove(&name).is_some(), "not there");
            seen.links.remove(&name);
            let over = |route: &KernelRoute| matches!(&route.kind, RouteKind::Device { interface, .. } if *interface == name);
            seen.routes.retain(|route| !over(route));
        }
    }
}

fn guarded(seen: &Observed, segment: u32, prefix: &str) -> bool {
    let (table, prefix) = (SEGMENT_TABLE_BASE + segment, net(prefix));
    let (metric, kind) = (GUARD_METRIC, RouteKind::Unreachable);
    seen.routes.contains(&KernelRoute { table, prefix, metric, kind })
}

#[test]
fn the_same_state_again_needs_no_step() {
    let (edge, mut seen) = (edge(), host());
    for step in plan(&desired(&edge, &seen), &seen) {
        apply(&mut seen, step);
    }
    assert_eq!(plan(&desired(&edge, &seen), &seen), vec![]);
    assert_eq!(seen.sysctls["net.ipv4.ip_forward"], "1");
}

#[test]
fn guards_stand_before_the_first_way_out_and_before_forwarding() {
    let (edge, seen) = (edge(), host());
    let steps = plan(&desired(&edge, &seen), &seen);
    let at = |wanted: &dyn Fn(&Step) -> bool| steps.iter().position(wanted).expect("is planned");
    let first_device =
        at(&|s| matches!(s, Step::AddRoute(r) if matches!(r.kind, RouteKind::Device { .. })));
    let last_guard = steps
        .iter()
        .rposition(|s| matches!(s, Step::AddRoute(r) if r.kind == RouteKind::Unreachable))
        .expect("guards");
    assert!(last_guard < first_device);
    assert!(at(&|s| matches!(s, Step::LoadGuard(_))) < first_device);
    assert!(at(&|s| matches!(s, Step::SetSysctl(..))) > last_guard);
}

#[test]
fn without_its_tun_an_overlay_prefix_is_unreachable_and_stays_so() {
    let (edge, mut seen) = (edge(), host());
    for step in plan(&desired(&edge, &seen), &seen) {
        apply(&mut seen, step);
    }
    // The agent died: the kernel took the TUN and its routes.
    seen.links.remove("hawser1");
    seen.routes.retain(
        |r| !matches!(&r.kind, RouteKind::Device { interface, .. } if interface == "hawser1"),
    );
    assert!(guarded(&seen, 1, "10.0.0.0/8") && guarded(&seen, 1, "fd00::/16"));
    assert!(guarded(&seen, 2, "10.9.0.0/24"));
    assert_eq!(plan(&desired(&edge, &seen), &seen), vec![], "and nothing is planned against it");
}

#[test]
fn a_new_lease_moves_the_default_route_of_that_uplink_only() {
    let (edge, mut seen) = (edge(), host());
    for step in plan(&desired(&edge, &seen), &seen) {
        apply(&mut seen, step);
    }
    seen.default_routes[0].1 = "192.0.2.254".parse().expect("address");
    let steps = plan(&desired(&edge, &seen), &seen);
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert!(matches!(&steps[0], Step::RemoveRoute(r) if r.table == UPLINK_TABLE_BASE));
    assert!(matches!(&steps[1], Step::AddRoute(r) if r.table == UPLINK_TABLE_BASE));
}

#[test]
fn an_uplink_whose_table_moves_up_is_sent_by_at_every_moment() {
    let (mut edge, mut seen) = (edge(), host());
    for step in plan(&desired(&edge, &seen), &seen) {
        apply(&mut seen, step);
    }
    let leaves = |seen: &Observed| {
        let over = |kind: &RouteKind| matches!(kind, RouteKind::Device { interface, gateway: Some(_) } if interface == "isp-b");
        let table = |table| seen.routes.iter().any(|r| r.table == table && over(&r.kind));
        let of_uplink = |rule: &&Rule| rule.output_interface.as_deref() == Some("isp-b");
        let mut rules = seen.rules.iter().filter(of_uplink).filter(|rule| !rule.ipv6);
        // The kernel takes the first one that knows a way; an unreachable default would be one.
        rules.all(|rule| table(rule.table)) && seen.rules.iter().any(|rule| of_uplink(&rule))
    };
    assert!(leaves(&seen));
    edge.uplinks.remove(&UplinkId(10));
    let steps = plan(&desired(&edge, &seen), &seen);
    assert!(steps.iter().any(|step| matches!(step, Step::RemoveRoute(_))));
    for step in steps {
        let text = format!("{step:?}");
        apply(&mut seen, step);
        assert!(leaves(&seen), "{text}");
    }
    assert_eq!(plan(&desired(&edge, &seen), &seen), vec![]);
}

#[test]
fn what_is_outside_may_come_from_where_it_is_whatever_the_overlay_covers() {
    let state = desired(&edge(), &host());
    let outside: Vec<&Rule> =
        state.rules.iter().filter(|rule| rule.priority == UNDERLAY_PRIORITY).collect();
    let of = |network| outside.iter().find(|rule| rule.destination == Some(net(network)));
    for (network, table) in [("192.0.2.0/24", 7000), ("198.51.100.0/24", 7001)] {
        let rule = of(network).expect(network);
        assert_eq!((rule.table, rule.input_interface.as_deref()), (table, Some("lo")));
    }
    let marked = outside.iter().filter(|rule| rule.mark == Some(UNDERLAY_MARK));
    assert_eq!(marked.map(|rule| rule.table).collect::<Vec<_>>(), [254]);
    assert!(state.rules.iter().all(Rule::is_ours), "they are found again, to be taken out");
    let others = Rule { mark: Some(7), ..outside[0].clone() };
    assert!(!others.is_ours(), "somebody else's rule at the same place");
    let script = guard_script(&edge(), true);
    let marks = "iifname { \"isp-a\", \"isp-b\" } fib daddr type local meta mark set \
                 meta mark & 0x0000ffff | 0x00ff0000";
    assert!(script.contains(marks), "{script}");
}

#[test]
fn the_guard_names_uplinks_prefixes_and_segments() {
    let script = guard_script(&edge(), false);
    for line in [
        "oifname { \"isp-a\", \"isp-b\" } ip daddr @overlay4 counter drop",
        "elements = { 10.0.0.0/8, 10.9.0.0/24 }",
        "elements = { fd00::/16 }",
        "iifname { \"hawser1\", \"lan0\" } oifname { \"hawser2\", \"lan1\" } counter drop",
        "meta l4proto 47 counter drop",
    ] {
        assert!(script.contains(line), "no {line:?} in\n{script}");
    }
}

#[test]
fn what_is_beyond_a_gateway_goes_by_its_uplink_under_ipsec_or_not_at_all() {
    let (mut edge, seen) = (edge(), host());
    assert!(!guard_script(&edge, true).contains("beyond"));
    edge.ike_tunnels = vec![crate::ike::test_tunnel()];
    let state = desired(&edge, &seen);
    let rule =
        state.rules.iter().find(|rule| rule.priority == GATEWAY_PRIORITY).expect("to the gateway");
    assert_eq!(
        (rule.destination, rule.table),
        (Some(net("203.0.113.9/32")), UPLINK_TABLE_BASE + 1)
    );
    let (table, prefix) = (SEGMENT_TABLE_BASE + 1, net("172.20.0.0/16"));
    let kinds: Vec<_> =
        state.routes.iter().filter(|r| r.table == table && r.prefix == prefix).collect();
    let gateway = Some("198.51.100.1".parse().expect("address"));
    assert_eq!(kinds[0].kind, RouteKind::Device { interface: "isp-b".into(), gateway });
    assert_eq!((kinds[1].kind.clone(), kinds[1].metric), (RouteKind::Unreachable, GUARD_METRIC));
    assert_eq!((rule.source, rule.priority), (None, GATEWAY_PRIORITY));
    let uplinks = "{ \"isp-a\", \"isp-b\" }";
    let (out, back) = (
        format!("oifname {uplinks} ip daddr @beyond4 rt ipsec missing counter drop"),
        format!("iifname {uplinks} ip saddr @beyond4 meta secpath missing counter drop"),
    );
    let script = guard_script(&edge, true);
    assert!(script.contains("elements = { 172.20.0.0/16 }"), "{script}");
    // Forwarded, and the host's own.
    assert_eq!((script.matches(&out).count(), script.matches(&back).count()), (2, 2), "{script}");
    // A kernel that can't tell lets nothing pass.
    let script = guard_script(&edge, false);
    assert!(script.contains("ip daddr @beyond4 counter drop"), "{script}");
}

#[test]
fn a_tunnel_with_an_interface_is_led_to_by_it_and_only_its_prefixes_pass_there() {
    let (mut edge, mut seen) = (edge(), host());
    let mut tunnel = crate::ike::test_tunnel();
    tunnel.mode = TunnelMode::Route;
    let name = interface_name(&tunnel).expect("it has one");
    edge.ike_tunnels = vec![tunnel.clone()];
    for step in plan(&desired(&edge, &seen), &seen) {
        apply(&mut seen, step);
    }
    let ways = |seen: &Observed| -> Vec<RouteKind> {
        let of = |r: &&KernelRoute| r.prefix == net("172.20.0.0/16");
        seen.routes.iter().filter(of).map(|r| r.kind.clone()).collect()
    };
    assert_eq!(ways(&seen), [RouteKind::Unreachable], "the interface is not seen yet");
    for step in plan(&desired(&edge, &seen), &seen) {
        apply(&mut seen, step);
    }
    let device = RouteKind::Device { interface: name.clone(), gateway: None };
    assert_eq!(ways(&seen), [device.clone(), RouteKind::Unreachable]);
    assert_eq!(plan(&desired(&edge, &seen), &seen), vec![]);
    let script = guard_script(&edge, true);
    for rule in [
        format!("iifname \"{name}\" ip saddr != {{ 172.20.0.0/16 }} counter drop"),
        format!("iifname \"{name}\" ip daddr != {{ 10.1.1.0/24 }} counter drop"),
        format!("iifname \"{name}\" meta nfproto ipv6 counter drop"),
    ] {
        assert_eq!(script.matches(&rule).count(), 2, "forwarded and to the host: {rule}\n{script}");
    }
    assert!(script.contains(&format!("oifname \"{name}\" ip saddr != {{ 10.1.1.0/24 }}")));

    // GRE has the uplink's address; another one needs another interface.
    tunnel.mode = TunnelMode::Gre;
    edge.ike_tunnels = vec![tunnel];
    for _ in 0..2 {
        for step in plan(&desired(&edge, &seen), &seen) {
            apply(&mut seen, step);
        }
    }
    let gre = |local: &str| InterfaceKind::Gre {
        local: local.parse().expect("an address"),
        remote: "203.0.113.9".parse().expect("an address"),
    };
    assert_eq!(seen.interfaces.values().collect::<Vec<_>>(), [&gre("198.51.100.7")]);
    let uplink = seen.links.get_mut("isp-b").expect("there");
    uplink.addresses = vec![net("198.51.100.8/24")];
    for _ in 0..2 {
        for step in plan(&desired(&edge, &seen), &seen) {
            apply(&mut seen, step);
        }
    }
    assert_eq!(seen.interfaces.values().collect::<Vec<_>>(), [&gre("198.51.100.8")]);
    assert_eq!(ways(&seen).len(), 2);
    edge.ike_tunnels.clear();
    for step in plan(&desired(&edge, &seen), &seen) {
        apply(&mut seen, step);
    }
    assert!(seen.interfaces.is_empty() && ways(&seen).is_empty());
}

#[test]
fn a_manual_tunnels_own_device_goes_before_the_uplink_and_lets_nothing_in_that_is_not_of_the_peer()
{
    use crate::manual::{Mode, Protocol, test_tunnel};
    let (mut edge, mut seen) = (edge(), host());
    edge.manual_tunnels = vec![test_tunnel(hawser_esp::Suite::NullSha256, Protocol::Ah, Mode::Gre)];
    let way = |seen: &Observed| {
        let routes = desired(&edge, seen).routes;
        let prefix = net("172.20.0.0/16");
        let mut ways: Vec<_> = routes.into_iter().filter(|r| r.prefix == prefix).collect();
        ways.sort_by_key(|route| route.metric);
        assert_eq!((ways.len(), &ways[1].kind), (2, &RouteKind::Unreachable));
        match &ways[0].kind {
            RouteKind::Device { interface, .. } => interface.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(way(&seen), "isp-b");
    seen.links.insert("hwm00001001".into(), Link::default());
    assert_eq!(way(&seen), "hwm00001001");
    let script = guard_script(&edge, true);
    for (line, times) in [
        ("iifname \"hwm00001001\" ip saddr != { 172.20.0.0/16 } counter drop", 2),
        ("iifname \"hwm00001001\" ip daddr != { 10.1.1.0/24 } counter drop", 1),
        ("iifname \"hwm00001001\" meta nfproto ipv6 counter drop", 2),
        ("ip daddr @beyond4 rt ipsec missing counter drop", 2),
    ] {
        assert_eq!(script.matches(line).count(), times, "{line}\n{script}");
    }
}

#[test]
fn a_tunnel_of_two_uplinks_reaches_its_gateway_from_each_address_by_its_own() {
    let (mut edge, seen) = (edge(), host());
    let mut tunnel = crate::ike::test_tunnel();
    tunnel.uplinks = vec![UplinkId(11), UplinkId(10)];
    edge.ike_tunnels = vec![tunnel];
    let state = desired(&edge, &seen);
    let rules: Vec<_> =
        state.rules.iter().filter(|rule| rule.priority == GATEWAY_PRIORITY).collect();
    let ways: Vec<_> = rules.iter().map(|rule| (rule.source, rule.table)).collect();
    assert_eq!(
        ways,
        [
            (Some(net("192.0.2.7/32")), UPLINK_TABLE_BASE),
            (Some(net("198.51.100.7/32")), UPLINK_TABLE_BASE + 1),
        ]
    );
    // What is beyond goes by either, the preferred one first, and else nowhere.
    let beyond = state.routes.iter().filter(|r| r.prefix == net("172.20.0.0/16"));
    let mut metrics: Vec<_> = beyond.map(|r| (r.metric, r.kind.clone())).collect();
    metrics.sort();
    let device = |index: usize| match &metrics[index].1 {
        RouteKind::Device { interface, .. } => interface.as_str(),
        _ => "nowhere",
    };
    assert_eq!([device(0), device(1), device(2)], ["isp-b", "isp-a", "nowhere"]);
}

proptest! {
    #[test]
    fn from_any_leftover_the_plan_arrives_and_never_unguards(
        keep in proptest::collection::vec(proptest::bool::ANY, 64),
        strangers in 0u32..4,
    ) {
        let (edge, mut seen) = (edge(), host());
        let want = desired(&edge, &seen);
        let keeps = |i: usize| keep[i % keep.len()];
        seen.routes = want.routes.iter().enumerate().filter(|(i, _)| keeps(*i)).map(|(_, r)| r.clone()).collect();
        seen.rules = want.rules.iter().enumerate().filter(|(i, _)| keeps(i + 7)).map(|(_, r)| r.clone()).collect();
        for n in 0..strangers {
            let prefix = net(&format!("172.16.{n}.0/24"));
            seen.routes.insert(KernelRoute { table: 7401, prefix, metric: GUARD_METRIC, kind: RouteKind::Unreachable });
        }
        let mut was_guarded = false;
        for step in plan(&want, &seen) {
            apply(&mut seen, step);
            let now = guarded(&seen, 1, "10.0.0.0/8");
            prop_assert!(now || !was_guarded);
            was_guarded = now;
        }
        prop_assert!(was_guarded || guarded(&seen, 1, "10.0.0.0/8"));
        prop_assert_eq!(&seen.routes, &want.routes);
        prop_assert_eq!(&seen.rules, &want.rules);
    }
}
