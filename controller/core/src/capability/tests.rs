use super::*;
use crate::parse;

const DEMO: &str = include_str!("../../testdata/demo.yaml");

fn with_ike(extra: &str) -> Fleet {
    let tunnel = format!(
        "{{name: cloud, peer_addresses: [203.0.113.9], local_id: b1, psk: cloud, \
         remote_prefixes: [172.20.0.0/16]{extra}}}"
    );
    let before = "[\"10.1.0.0/24\"]}\n    edges:\n      - ";
    let document = DEMO.replace(before, &format!("{before}ike_tunnels: [{tunnel}]\n        "));
    assert_ne!(document, DEMO);
    parse(document.as_bytes()).unwrap()
}

fn told(edge: &str, features: &[&str]) -> BTreeMap<String, Arc<Features>> {
    let features: Features = features.iter().map(|f| (*f).to_owned()).collect();
    BTreeMap::from([(edge.to_owned(), features.into())])
}

fn paths(faults: &[Fault]) -> Vec<&str> {
    assert!(faults.iter().all(|f| f.code == code::CAPABILITY_MISSING && !f.mend.is_empty()));
    faults.iter().map(|fault| fault.path.as_str()).collect()
}

#[test]
fn an_edge_is_not_asked_for_what_its_agent_was_not_built_with() {
    let fleet = with_ike("");
    let place = "sites[1].edges[0].ike_tunnels[0]";
    let lacks = |features: &[&str]| lacking(&fleet, None, &told("b1-1", features));
    assert_eq!(paths(&lacks(&["stamp"])), [place]);
    assert!(lacks(&["ike"]).is_empty(), "an older agent does not speak of its host");
    let links = with_ike(", probe: {by: icmp}");
    assert_eq!(paths(&lacking(&links, None, &told("b1-1", &["ike"]))), [place]);
    assert!(lacking(&links, None, &told("b1-1", &["ike", "ike-links"])).is_empty());
}

#[test]
fn an_agent_that_tells_of_its_host_is_asked_for_nothing_that_it_did_not_name() {
    let fleet = with_ike("");
    let suite = "suite:aes-128-gcm";
    let all = [TELLS_ALL, IKE, STRONGSWAN, KERNEL_IPSEC, suite];
    assert!(lacking(&fleet, None, &told("b1-1", &all)).is_empty());
    for missing in [STRONGSWAN, KERNEL_IPSEC, suite] {
        let others: Vec<&str> = all.into_iter().filter(|f| *f != missing).collect();
        let faults = lacking(&fleet, None, &told("b1-1", &others));
        let place = if missing == suite {
            let standard = fleet.tunnel_profiles.iter().position(|p| p.name.as_str() == "standard");
            format!("tunnel_profiles[{}].suite", standard.unwrap())
        } else {
            "sites[1].edges[0].ike_tunnels[0]".to_owned()
        };
        assert_eq!(paths(&faults), [place]);
        assert!(faults[0].message.ends_with("b1-1"), "{}", faults[0].message);
    }
}

#[test]
fn edges_that_never_spoke_and_what_is_asked_already_are_no_hindrance() {
    let fleet = with_ike("");
    assert!(lacking(&fleet, None, &BTreeMap::new()).is_empty());
    assert!(lacking(&fleet, None, &told("b2-1", &["stamp"])).is_empty());
    let bare = told("b1-1", &["stamp"]);
    assert!(lacking(&fleet, Some(&fleet), &bare).is_empty());
    let plain = parse(DEMO.as_bytes()).unwrap();
    assert_eq!(lacking(&fleet, Some(&plain), &bare).len(), 1);
}

#[test]
fn many_edges_that_lack_a_suite_are_one_fault() {
    let plain = parse(DEMO.as_bytes()).unwrap();
    let mut reported = told("b1-1", &[TELLS_ALL]);
    reported.extend(told("b2-1", &[TELLS_ALL]));
    reported.extend(told("hq-1", &[TELLS_ALL, "suite:aes-128-gcm"]));
    let faults = lacking(&plain, None, &reported);
    assert_eq!(faults.len(), 1);
    assert!(faults[0].message.ends_with("b1-1, b2-1"), "{}", faults[0].message);
}
