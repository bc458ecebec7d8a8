use super::*;

const PAIR: &str = include_str!("../../topologies/pair.yaml");

#[test]
fn the_bundled_topologies_have_no_faults() {
    for name in ["demo", "dual", "hubs", "pair"] {
        assert_eq!(Topology::bundled(name).unwrap().name, name);
    }
    assert!(matches!(Topology::bundled("none"), Err(TopologyError::NotBundled { .. })));
}

#[test]
fn each_fault_is_found_at_its_place() {
    for (from, to, place) in [
        ("name: pair", "name: Pair", "name"),
        ("node: left, interface: wan0", "node: lost, interface: wan0", "links.uplink.a.node"),
        ("left, interface: wan0", "left, interface: lan0", "links.uplink.a.interface"),
        ("left, interface: wan0", "left, interface: a-very-long-name", "links.uplink.a.interface"),
        ("left, interface: wan0", "left, interface: lo", "links.uplink.a.interface"),
        ("[192.0.2.1/24", "[192.0.2.0/24", "links.uplink.a.addresses.0"),
        ("[192.0.2.1/24", "[192.0.2.2/24", "links.uplink.b.addresses"),
        ("via: 192.0.2.2", "via: 192.0.7.2", "nodes.left.routes.0"),
        ("default, via: 192.0.2.2", "10.0.0.1/8, via: 192.0.2.2", "nodes.left.routes.0"),
        ("default, via: 192.0.2.2", "\"fd00::/8\", via: 192.0.2.2", "nodes.left.routes.0"),
        ("default, via: 192.0.2.2", "elsewhere, via: 192.0.2.2", "nodes.left.routes.0"),
        ("    kind: veth\n", "    kind: veth\n    mtu: 68\n", "links.uplink.mtu"),
        (
            "    kind: veth\n",
            "    kind: veth\n    impair: [{delay_ms: 1}]\n",
            "links.uplink.impair",
        ),
        (
            "    kind: veth\n",
            "    kind: wan\n    impair: [{loss_pct: 101}]\n",
            "links.uplink.impair.0",
        ),
        (
            "    kind: edge\n",
            "    kind: edge\n    masquerade: [{interface: w}]\n",
            "nodes.left.masquerade.0",
        ),
        (
            "    kind: edge\n",
            "    kind: edge\n    sysctls: {kernel.x: \"1\"}\n",
            "nodes.left.sysctls",
        ),
    ] {
        let text = PAIR.replacen(from, to, 1);
        assert_ne!(text, PAIR, "{from}");
        let Err(TopologyError::Faults { faults }) = Topology::parse(&text) else {
            panic!("{to} was taken");
        };
        let places: Vec<&str> = faults.iter().map(|fault| fault.place.as_str()).collect();
        assert!(places.contains(&place), "{to}: {faults:?}");
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let text =
        PAIR.replace("mtu", "").replace("via: 192.0.2", "via: 192.0.7").replace("pair\nd", "P\nd");
    let Err(TopologyError::Faults { faults }) = Topology::parse(&text) else { panic!("taken") };
    assert_eq!(faults.len(), 3, "{faults:?}");
}

#[test]
fn unknown_fields_and_doubled_keys_are_refused() {
    for (from, to) in [
        ("name: pair", "name: pair\ncolour: red"),
        ("kind: edge", "kind: edge\n    colour: red"),
        ("kind: edge", "kind: hedge"),
        ("kind: veth", "kind: veth\n    color: red"),
        ("  left-host:\n", "  left:\n"),
        ("10.1.0.1/24", "10.1.0/24"),
    ] {
        let text = PAIR.replacen(from, to, 1);
        assert!(matches!(Topology::parse(&text), Err(TopologyError::Parse { .. })), "{to}");
    }
}

#[test]
fn a_huge_file_is_refused_unread() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.yaml");
    std::fs::File::create(&path).unwrap().set_len(10 << 20).unwrap();
    assert!(matches!(Topology::load(&path), Err(TopologyError::TooLarge { .. })));
}

#[test]
fn traces_in_a_file_are_relative_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.yaml");
    let impair = "    kind: wan\n    impair: [{trace: drive.csv}]\n";
    std::fs::write(&path, PAIR.replacen("    kind: veth\n", impair, 1)).unwrap();
    let topology = Topology::load(&path).unwrap();
    let trace = topology.links["uplink"].impair[0].trace.clone().unwrap();
    assert_eq!(trace, folder.path().join("drive.csv"));
}

#[test]
fn the_plan_for_a_node_is_what_its_description_says() {
    let topology = Topology::bundled("demo").unwrap();
    assert_eq!(
        plan::interfaces(&topology, "b1-nat"),
        "link set lo up\n\
         link set dev lan0 mtu 1500 up\naddress add 192.168.1.1/24 dev lan0\n\
         link set dev wan0 mtu 1500 up\naddress add 203.0.113.18/28 dev wan0\n"
    );
    assert!(plan::interfaces(&topology, "b2").contains("isp-b mtu 1492 up"));
    assert!(plan::interfaces(&topology, "b2").contains("2001:db8:b:3::2/64 dev isp-b nodad"));
    assert_eq!(
        plan::routes(&topology.nodes["b1"]),
        "route add default via 198.51.100.17 metric 100\n\
         route add default via 192.168.1.1 metric 200\n\
         route add ::/0 via 2001:db8:a:2::1 metric 100\n"
    );
    let nat = plan::nat(&topology.nodes["b1-nat"]).unwrap();
    assert!(nat.contains("oifname \"wan0\" masquerade fully-random"));
    assert_eq!(plan::nat(&topology.nodes["hq"]), None);
}

#[test]
fn only_edges_and_routers_forward() {
    let topology = Topology::bundled("demo").unwrap();
    for (node, expected) in [("hq", "1"), ("isp-a", "1"), ("hq-host", "0"), ("controller", "0")] {
        let sysctls = plan::sysctls(&topology.nodes[node]);
        let forward = sysctls.iter().find(|(key, _)| *key == "net.ipv4.ip_forward");
        assert_eq!(forward, Some(&("net.ipv4.ip_forward", expected)), "{node}");
    }
}

#[test]
fn providers_do_not_know_the_lans() {
    let topology = Topology::bundled("demo").unwrap();
    for router in ["isp-a", "isp-b", "core"] {
        let routes = plan::routes(&topology.nodes[router]);
        assert!(!routes.contains("default") && !routes.contains("::/0"), "{router}: {routes}");
        assert!(!routes.contains("10.") && !routes.contains("fd00:"), "{router}: {routes}");
    }
}
