use super::*;
use crate::{Allocations, allocate, compile, parse};

const DEMO: &str = include_str!("../../testdata/demo.yaml");

/// Compiled one after the other with the same numbers, as a controller does it.
fn revisions(documents: &[&str]) -> Vec<Configs> {
    let mut numbers = Allocations::default();
    let compiled = documents.iter().map(|document| {
        let fleet = parse(document.as_bytes()).unwrap();
        allocate(&fleet, &mut numbers).unwrap();
        let configs = compile(&fleet, &numbers).unwrap();
        configs.into_iter().map(|(name, config)| (name.to_string(), config)).collect()
    });
    compiled.collect()
}

fn changed(from: &str, to: &str) -> (Vec<SiteChanges>, Vec<Blink>) {
    assert!(DEMO.contains(from), "{from}");
    let both = revisions(&[DEMO, &DEMO.replacen(from, to, 1)]);
    (site_changes(&both[0], &both[1]), blinks(&both[0], &both[1]))
}

fn words(sites: &[SiteChanges]) -> Vec<String> {
    let edges = sites.iter().flat_map(|site| &site.edges);
    let word = |edge: &EdgeChanges, c: &Change| {
        format!("{}: {} {}: {}", edge.edge, c.action.name(), c.what, c.detail)
    };
    edges.flat_map(|edge| edge.changes.iter().map(move |c| word(edge, c))).collect()
}

#[test]
fn the_same_twice_changes_nothing() {
    let both = revisions(&[DEMO, DEMO]);
    assert_eq!(site_changes(&both[0], &both[1]), []);
    assert_eq!(blinks(&both[0], &both[1]), []);
}

#[test]
fn a_first_document_makes_every_site() {
    let one = revisions(&[DEMO]);
    let sites = site_changes(&Configs::new(), &one[0]);
    assert!(sites.len() >= 3 && sites.iter().all(|site| site.action == Action::Made));
    assert_eq!(blinks(&Configs::new(), &one[0]), []);
    let gone = site_changes(&one[0], &Configs::new());
    assert!(gone.iter().all(|site| site.action == Action::Removed));
    let ended = blinks(&one[0], &Configs::new());
    assert!(!ended.is_empty() && ended.iter().all(|blink| blink.about_ms == 0));
}

#[test]
fn a_prefix_is_told_at_its_own_site_and_at_every_peer() {
    let (sites, blinks) = changed("10.2.0.0/24", "10.9.0.0/24");
    let words = words(&sites);
    let told = |part: &str| words.iter().any(|word| word.contains(part));
    assert!(told("without 10.2.0.0/24"), "{words:#?}");
    assert!(told("peer may also originate 10.9.0.0/24"), "{words:#?}");
    assert!(told("removed routes: 10.2.0.0/24"), "{words:#?}");
    assert_eq!(blinks, []);
}

#[test]
fn another_interface_interrupts_the_paths_over_it_and_no_others() {
    let from = "{name: isp-a, interface: wan0, addresses: [\"192.0.2.11\"]}";
    let (sites, blinks) = changed(from, &from.replace("wan0", "wan7"));
    assert!(
        words(&sites).contains(&"b1-1: changed uplink isp-a: interface wan0 → wan7".to_owned())
    );
    assert_eq!(sites.len(), 1);
    assert_eq!(blinks.len(), 2, "{blinks:#?}");
    for blink in &blinks {
        assert!(
            blink.name.contains("b1-1 isp-a") || blink.name.ends_with("b1-1 isp-a"),
            "{blink:?}"
        );
        assert!(blink.about_ms > 0 && !blink.stops_traffic);
    }
}

#[test]
fn another_fabric_port_interrupts_everything_and_is_told_to_stop_traffic() {
    let (_, blinks) = changed("fleet: acme", "fleet: acme\nfabric_port: 4999");
    assert_eq!(blinks.len(), 8);
    assert!(blinks.iter().all(|blink| blink.stops_traffic && blink.about_ms > 0));
}

#[test]
fn a_removed_uplink_ends_its_paths_while_others_carry_on() {
    let from = "          - {name: isp-b, interface: wan1, addresses: [\"198.51.100.12\"]}\n";
    let (sites, blinks) = changed(from, "");
    assert!(words(&sites).contains(&"b2-1: removed uplink isp-b: ".to_owned()));
    assert_eq!(blinks.len(), 2);
    assert!(blinks.iter().all(|blink| blink.about_ms == 0 && !blink.stops_traffic));
}

#[test]
fn what_changes_is_told_in_the_words_of_documents() {
    for (from, to, expected) in [
        ("metered: true", "metered: false", "metered true → false"),
        ("metered: true", "metered: false", "use standby → normal"),
        ("cost: 20", "cost: 21", "cost 20 → 21"),
        ("rekey_after_s: 3600", "rekey_after_s: 60", "rekeyed after s 3600 → 60"),
        ("max_loss_pct: 2.5", "max_loss_pct: 3", "loss ppm 25000 → 30000"),
        ("sla: business", "sla: business\n    mode: duplicate", "mode best → duplicate"),
        ("prefer_uplinks: [isp-a]", "prefer_uplinks: [isp-b]", "[isp-a] → [isp-b]"),
    ] {
        let (sites, _) = changed(from, to);
        let words = words(&sites);
        assert!(words.iter().any(|word| word.contains(expected)), "{expected}: {words:#?}");
    }
}

#[test]
fn no_difference_between_configurations_goes_untold() {
    for (from, to) in [
        ("[\"203.0.113.10:7443\"]", "[\"203.0.113.11:7443\"]"),
        ("addresses: [\"192.0.2.10\"]", "addresses: [\"192.0.2.99\"]"),
    ] {
        let (sites, _) = changed(from, to);
        assert!(!sites.is_empty());
        for edge in sites.iter().flat_map(|site| &site.edges) {
            assert!(!edge.changes.is_empty(), "{from}: {edge:?}");
        }
    }
}
