//! Canaries that have lost a segment, or have one more.

use hawser_e2e::lab::{End, Link, LinkKind, Node, NodeKind, Route};

use super::*;

const SOAK: &str = "8s";
const GUESTS: &str = "segments:\n  - {name: main}\n  - {name: guests}\n";

/// A second LAN at each site, with a computer.
fn with_guests(spec: &mut FleetSpec) {
    for (site, net) in [("left", "10.9.1"), ("right", "10.9.2")] {
        let host = format!("{site}-guest");
        let via = format!("{net}.1").parse().expect("an address");
        let default = Route { to: "default".to_owned(), via, dev: None, metric: None };
        let node = Node {
            kind: NodeKind::Host,
            sysctls: Default::default(),
            routes: vec![default],
            masquerade: Vec::new(),
        };
        spec.topology.nodes.insert(host.clone(), node);
        let end = |node: &str, interface: &str, last: u8| End {
            node: node.to_owned(),
            interface: interface.to_owned(),
            addresses: vec![format!("{net}.{last}/24").parse().expect("an address")],
        };
        let link = Link {
            kind: LinkKind::Veth,
            mtu: 1500,
            a: end(site, "lan1", 1),
            b: end(&host, "eth0", 10),
            impair: Vec::new(),
        };
        spec.topology.links.insert(format!("{site}-guests"), link);
        let old = format!("name: {site}\n    lans:\n");
        let new =
            format!("{old}      - {{interface: lan1, segment: guests, prefixes: [{net}.0/24]}}\n");
        spec.document = replaced(&spec.document, &old, &new);
    }
    spec.document = replaced(&spec.document, "sites:\n", &format!("{GUESTS}\nsites:\n"));
    spec.topology.check().expect("a good topology");
}

fn without_guests(document: &str) -> String {
    let kept = |line: &&str| !line.contains("guests");
    document.lines().filter(kept).map(|line| format!("{line}\n")).collect()
}

/// Packets in a segment that an edge did not know. A device that comes up sends some before the table knows its segment.
fn unknown(fleet: &Fleet, edge: &str) -> Result<u64, FleetError> {
    let counters = fleet.agent(edge)?.status()?.counters;
    Ok(counters.get("drop_unknown_segment").copied().unwrap_or(0))
}

fn unknown_at_both(fleet: &Fleet) -> Result<[u64; 2], FleetError> {
    Ok([unknown(fleet, "left-1")?, unknown(fleet, "right-1")?])
}

#[test]
fn a_segment_goes_and_comes_at_one_end_first_and_the_others_lose_nothing() {
    scenario("segments", with_guests, |fleet| {
        let document = fleet.spec().document.clone();
        let traffic = Traffic::start(fleet, 7441)?;
        let guests = [
            Flow::start(fleet, "left-guest", "right-guest", 7451, false)?,
            Flow::start(fleet, "right-guest", "left-guest", 7452, false)?,
        ];
        guests.iter().try_for_each(|flow| flow.wait_flowing(SOON))?;
        let known = unknown_at_both(fleet)?;
        let (before, others) = (applied(fleet, "left-1")?, applied(fleet, "right-1")?);
        apply_staged(fleet, &without_guests(&document), "left-1", SOAK)?;
        applies(fleet, "left-1", &before)?;
        applies(fleet, "right-1", &others)?;
        rollout_ends(fleet)?;
        traffic.assert_none_lost("without guests")?;
        assert_eq!(unknown_at_both(fleet)?, known, "what was under way arrived");
        // The other way round.
        let (before, others) = (applied(fleet, "right-1")?, applied(fleet, "left-1")?);
        apply_staged(fleet, &document, "right-1", SOAK)?;
        applies(fleet, "right-1", &before)?;
        applies(fleet, "left-1", &others)?;
        rollout_ends(fleet)?;
        guests.iter().try_for_each(|flow| flow.wait_flowing(SOON))?;
        traffic.assert_none_lost("guests again")
    });
}
