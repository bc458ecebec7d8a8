use std::collections::{BTreeMap, BTreeSet};

use hawser_proto::config::v1::{EdgeConfig, IkeProbeKind};
use prost::Message;

use super::{Plan, Role};
use crate::allocate::{Allocations, allocate};
use crate::intent::{EdgeName, Fleet, SiteName};
use crate::{compile, diff, parse};

const DEMO: &str = include_str!("../../testdata/demo.yaml");
const REGIONS: &str = include_str!("../../testdata/regions.yaml");

fn fleet(document: &str) -> Fleet {
    parse(document.as_bytes()).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn compiled(document: &str) -> BTreeMap<EdgeName, EdgeConfig> {
    let fleet = fleet(document);
    let mut numbers = Allocations::default();
    allocate(&fleet, &mut numbers).unwrap();
    compile(&fleet, &numbers).unwrap()
}

/// Next hops of a prefix, by name.
fn next_hops(configs: &BTreeMap<EdgeName, EdgeConfig>, edge: &str, prefix: &str) -> Vec<String> {
    let route = configs[edge].routes.iter().find(|route| route.prefix == prefix);
    let name = |id: &u32| configs.values().find(|c| c.edge_id == *id).unwrap().edge.clone();
    route.unwrap_or_else(|| panic!("{edge}: {prefix}")).next_hop_edge_ids.iter().map(name).collect()
}

fn sources(configs: &BTreeMap<EdgeName, EdgeConfig>, edge: &str, peer: &str) -> Vec<String> {
    let tunnel = configs[edge].tunnels.iter().find(|t| t.peer_edge == peer).unwrap();
    tunnel.peer_sources.iter().map(|source| source.prefix.clone()).collect()
}

#[test]
fn the_demo_fleet_has_two_tunnels_of_four_paths() {
    let fleet = fleet(DEMO);
    let mut numbers = Allocations::default();
    allocate(&fleet, &mut numbers).unwrap();
    let plan = Plan::new(&fleet, &numbers).unwrap();
    let shape: Vec<_> = plan
        .tunnels()
        .iter()
        .map(|t| (t.a.edge.as_str(), t.b.edge.as_str(), t.paths.len()))
        .collect();
    assert_eq!(shape, [("b1-1", "hq-1", 4), ("b2-1", "hq-1", 4)]);
    let paths: BTreeSet<u32> =
        plan.tunnels().iter().flat_map(|t| t.paths.iter().map(|p| p.id.0)).collect();
    assert_eq!(paths, (1..=8).collect());
    let roles = [("hq", Role::Hub), ("b1", Role::Spoke), ("b2", Role::Spoke)];
    for (site, role) in roles {
        assert_eq!(plan.role(&SiteName::new(site)), Some(role));
    }
    assert_eq!(plan.role(&SiteName::new("b3")), None);
}

#[test]
fn a_tunnel_with_a_gateway_is_its_edges_alone_and_asks_for_an_agent_that_can() {
    let tunnel = "ike_tunnels: [{name: dc, peer_addresses: [198.51.100.7], local_id: b1, psk: dc, \
                  remote_prefixes: [172.20.0.0/16]}]";
    let uplinks =
        "      - uplinks:\n          - {name: isp-a, interface: wan0, addresses: [\"192.0.2.11\"]}";
    assert!(DEMO.contains(uplinks));
    let with = DEMO
        .replace(uplinks, &uplinks.replace("- uplinks", &format!("- {tunnel}\n        uplinks")));
    let (before, after) = (compiled(DEMO), compiled(&with));
    let changed: Vec<&str> =
        after.iter().filter(|(name, c)| before[*name] != **c).map(|(n, _)| n.as_str()).collect();
    assert_eq!(changed, ["b1-1"]);
    let config = &after["b1-1"];
    assert_eq!(config.required_features, ["ike"]);
    let tunnel = &config.ike_tunnels[0];
    assert_eq!((tunnel.remote_id.as_str(), tunnel.psk_name.as_str()), ("198.51.100.7", "dc"));
    assert_eq!(tunnel.uplink_id, config.uplinks[0].id);
    let lans: Vec<&String> = config.lans.iter().flat_map(|lan| &lan.prefixes).collect();
    assert_eq!(tunnel.local_prefixes.iter().collect::<Vec<_>>(), lans);
    assert_eq!(tunnel.dh_groups, ["modp3072", "modp2048"]);
    assert_eq!((tunnel.more_uplink_ids.len(), tunnel.probe.is_none()), (0, true));

    let by = "psk: dc, mode: route";
    let config = &compiled(&with.replace("psk: dc", by))["b1-1"];
    assert_eq!(config.required_features, ["ike", "ike-interfaces"]);
    let by = "certificate: fleet, peer_ca: dc-ca";
    let config = &compiled(&with.replace("local_id: b1, psk: dc", by))["b1-1"];
    assert_eq!(config.required_features, ["ike", "ike-certificates"]);
    let tunnel = &config.ike_tunnels[0];
    assert_eq!((tunnel.psk_name.as_str(), tunnel.local_id.as_str()), ("", ""));
    let certificate = tunnel.certificate.clone().expect("as the document says");
    assert_eq!((certificate.name.as_str(), certificate.peer_ca_name.as_str()), ("", "dc-ca"));

    let links = "remote_prefixes: [172.20.0.0/16], uplinks: [isp-b, isp-a], sla: voice, probe: {inside: 172.20.0.9}";
    let config = &compiled(&with.replace("remote_prefixes: [172.20.0.0/16]", links))["b1-1"];
    assert_eq!(config.required_features, ["ike", "ike-links"]);
    let tunnel = &config.ike_tunnels[0];
    let name = |id: u32| config.uplinks.iter().find(|u| u.id == id).map(|u| u.name.as_str());
    let names = [name(tunnel.uplink_id), name(tunnel.more_uplink_ids[0])];
    assert_eq!(names, [Some("isp-b"), Some("isp-a")]);
    assert!(config.sla_classes.iter().any(|class| class.name == tunnel.sla_class));
    let probe = tunnel.probe.as_ref().expect("as the document says");
    assert_eq!((probe.kind(), probe.port), (IkeProbeKind::Icmp, 0));
    assert_eq!(probe.inside, "172.20.0.9");
}

#[test]
fn the_demo_fleets_edges_know_what_they_need() {
    let configs = compiled(DEMO);
    let b1 = &configs["b1-1"];
    assert_eq!(b1.fabric_port, 4510);
    assert_eq!(b1.controllers, ["203.0.113.10:7443"]);
    assert_eq!(next_hops(&configs, "b1-1", "10.0.0.0/24"), ["hq-1"]);
    assert_eq!(next_hops(&configs, "b1-1", "10.2.0.0/24"), ["hq-1"]);
    assert_eq!(next_hops(&configs, "hq-1", "10.2.0.0/24"), ["b2-1"]);
    let own = b1.routes.iter().filter(|route| route.prefix == "10.1.0.0/24").count();
    assert_eq!(own, 0);
    assert_eq!(sources(&configs, "hq-1", "b1-1"), ["10.1.0.0/24"]);
    assert_eq!(
        sources(&configs, "b1-1", "hq-1"),
        ["10.0.0.0/24", "10.2.0.0/24", "fd00:0:0:1::/64"]
    );
    let classes: Vec<_> = b1.traffic_classes.iter().map(|c| (&*c.name, &*c.sla_class)).collect();
    assert_eq!(classes, [("voice", "voice"), ("default", "business")]);
    let voice = &b1.traffic_classes[0].matches[0];
    assert_eq!((&voice.dscps, &voice.protocols), (&vec![46], &vec![17]));
    assert_eq!((voice.destination_ports[0].first, voice.destination_ports[0].last), (5060, 5090));
    let sla = &b1.sla_classes[1];
    assert_eq!((sla.max_rtt_us, sla.max_jitter_us, sla.max_loss_ppm), (150_000, 30_000, 10_000));
}

#[test]
fn endpoints_are_given_as_far_as_they_are_known() {
    let configs = compiled(DEMO);
    let at_hq = configs["hq-1"].tunnels.iter().find(|t| t.peer_edge == "b1-1").unwrap();
    let endpoints: Vec<_> = at_hq.peer_uplinks.iter().map(|u| (&*u.name, &u.endpoints)).collect();
    let known = vec!["192.0.2.11:4510".to_owned()];
    assert_eq!(endpoints, [("isp-a", &known), ("isp-b", &Vec::new())]);
}

#[test]
fn the_same_input_gives_the_same_octets() {
    for document in [DEMO, REGIONS] {
        let encode = |configs: BTreeMap<EdgeName, EdgeConfig>| -> Vec<Vec<u8>> {
            configs.values().map(Message::encode_to_vec).collect()
        };
        assert_eq!(encode(compiled(document)), encode(compiled(document)));
    }
}

#[test]
fn a_spoke_has_its_own_hubs_in_order_and_the_other_region_behind_them() {
    let configs = compiled(REGIONS);
    assert_eq!(next_hops(&configs, "w1-1", "10.20.0.0/24"), ["west-1", "backup-1"]);
    assert_eq!(next_hops(&configs, "e1-1", "10.22.0.0/24"), ["east-1", "backup-1"]);
    // One hub away from the west's own hub is nearer than two.
    assert_eq!(next_hops(&configs, "w1-1", "10.21.0.0/24"), ["backup-1", "west-1"]);
    assert_eq!(next_hops(&configs, "west-1", "10.21.0.0/24"), ["backup-1", "east-1"]);
    // A direct tunnel first, hubs after it.
    assert_eq!(next_hops(&configs, "w2-1", "10.11.0.0/24"), ["w1-1", "west-1", "backup-1"]);
}

#[test]
fn a_segment_that_an_edge_has_no_part_in_is_not_in_its_configuration() {
    let configs = compiled(REGIONS);
    let segments = |edge: &str| -> Vec<&str> {
        configs[edge].segments.iter().map(|segment| &*segment.name).collect()
    };
    assert_eq!(segments("e1-1"), ["main"]);
    assert_eq!(segments("w1-1"), ["main", "guest"]);
    // The hub has no guests, but carries them from site to site.
    assert_eq!(segments("west-1"), ["main", "guest"]);
    assert!(configs["e1-1"].routes.iter().all(|route| route.segment_id == 1));
    assert!(configs["e1-1"].traffic_classes.iter().all(|class| class.name != "guests"));
    assert!(configs["w1-1"].traffic_classes.iter().any(|class| class.name == "guests"));
}

#[test]
fn a_prefix_that_nothing_leads_to_is_guarded() {
    let configs = compiled(REGIONS);
    assert!(next_hops(&configs, "w1-1", "10.99.0.0/24").is_empty());
    assert!(next_hops(&configs, "lone-1", "10.11.0.0/24").is_empty());
}

#[test]
fn several_origins_are_next_hops_in_the_order_of_hubs() {
    let configs = compiled(REGIONS);
    assert_eq!(next_hops(&configs, "w1-1", "10.200.0.0/16"), ["west-1", "backup-1"]);
    assert!(configs["west-1"].routes.iter().all(|route| route.prefix != "10.200.0.0/16"));
}

#[test]
fn the_lan_of_a_hub_is_reached_through_the_other_hub_too() {
    let configs = compiled(REGIONS);
    assert_eq!(next_hops(&configs, "w1-1", "10.10.0.0/24"), ["west-1", "backup-1"]);
    assert_eq!(next_hops(&configs, "w1-1", "10.30.0.0/24"), ["backup-1", "west-1"]);
    assert_eq!(next_hops(&configs, "backup-1", "10.10.0.0/24")[0], "west-1");
}

#[test]
fn hubs_carry_for_others_and_all_else_are_leaves() {
    let leaves: Vec<String> =
        compiled(REGIONS).into_values().filter(|c| c.leaf).map(|c| c.edge).collect();
    assert_eq!(leaves, ["e1-1", "e2-1", "lone-1", "w1-1", "w2-1"]);
}

#[test]
fn an_edge_is_drained_by_itself_or_with_its_site() {
    let drained = |document: &str| -> Vec<String> {
        compiled(document).into_values().filter(|c| c.drained).map(|c| c.edge).collect()
    };
    let two = "edges: [{uplinks: [{name: isp}]}, {drain: true, uplinks: [{name: isp}]}]";
    let one = "edges: [{uplinks: [{name: isp, cost: 7}]}]";
    assert!(drained(REGIONS).is_empty());
    assert_eq!(drained(&REGIONS.replacen(one, two, 1)), ["e2-2"]);
    let site = REGIONS.replacen("- name: e2\n", "- name: e2\n    drain: true\n", 1);
    assert_eq!(
        drained(&site.replacen(one, &two.replace("drain: true", "drain: false"), 1)),
        ["e2-1", "e2-2"]
    );
}

#[test]
fn a_change_at_one_site_leaves_edges_alone_that_it_does_not_concern() {
    let before = compiled(REGIONS);
    let table: &[(&str, &str, &[&str])] = &[
        ("", "", &[]),
        // A cost is the edge's own matter.
        ("{name: isp, cost: 7}", "{name: isp, cost: 8}", &["e2-1"]),
        // An address is its peers' matter: the edge has it from its kernel.
        ("[\"192.0.2.41\"]", "[\"192.0.2.42\"]", &["backup-1", "east-1"]),
        // A class of a segment is a matter of those that are in it.
        ("dwell_s: 5", "dwell_s: 6", &["backup-1", "east-1", "w1-1", "w2-1", "west-1"]),
        // Its peers hear of it from the edge itself.
        ("- name: west\n", "- name: west\n    drain: true\n", &["west-1"]),
    ];
    for (old, new, concerned) in table {
        let after = compiled(&REGIONS.replacen(old, new, 1));
        let changed = diff(&before, &after);
        let names: Vec<&str> = changed.changed.iter().map(EdgeName::as_str).collect();
        assert_eq!(names, *concerned, "{new}");
        assert!(changed.added.is_empty() && changed.removed.is_empty());
    }
}

#[test]
fn the_agent_takes_what_is_compiled() {
    for document in [DEMO, REGIONS] {
        for (edge, config) in compiled(document) {
            let decoded = hawser_edge_core::config::decode(&config);
            assert!(decoded.is_ok(), "{edge}: {:#?}", decoded.err());
        }
    }
}
