//! Addresses outside that change, or that lie inside of what is reached through the tunnels.

use super::Verdict;
use super::fabric::{SOON, dual, pings, with_fleet};
use super::streams::Streams;
use super::survival::at;
use crate::fleet::wait::{self, Look};
use crate::fleet::{Fleet, FleetError, FleetSpec};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;

/// Of the uplink that traffic prefers: old and new.
const ADDRESSES: [(&str, &str); 2] =
    [("198.51.100.18/28", "198.51.100.20/28"), ("2001:db8:a:2::2/64", "2001:db8:a:2::7/64")];
const GATEWAYS: [&str; 2] = ["198.51.100.17", "2001:db8:a:2::1"];

const BOTH_WAYS: [(&str, &str, bool); 2] =
    [("left-host", "right-host", false), ("right-host", "left-host", true)];

/// A site's uplink gets another address while traffic flows over it, as from a DHCP server that has changed its mind: no
/// agent starts anew, and the paths are the same ones as before.
pub fn peer_address_changed() -> Verdict {
    with_fleet(dual(&["left-1", "right-1"])?, |fleet| {
        let streams = Streams::start(fleet, &BOTH_WAYS)?;
        let used = fleet.agent("left-1")?.path_in_use("right-1", "default")?;
        assert_eq!(used.local_uplink, "isp-a", "traffic flows where the address will change");
        let before = path_ids(fleet)?;
        let figures =
            streams.over("the peer's addresses change", || renumber(fleet), || on_new(fleet))?;
        assert_eq!(before, path_ids(fleet)?, "the same paths as before");
        pings(fleet)?;
        Ok(json!({"streams": figures, "in_clear": streams.none_in_clear()?}))
    })
}

/// The old ones go first: with the last address of its family an interface loses all its routes.
fn renumber(fleet: &Fleet) -> Result<(), FleetError> {
    for ((old, new), gateway) in ADDRESSES.iter().zip(GATEWAYS) {
        let family = if new.contains("::") { "-6" } else { "-4" };
        at(fleet, "right", &["ip", "address", "del", old, "dev", "isp-a"])?;
        let nodad: &[&str] = if family == "-6" { &["nodad"] } else { &[] };
        at(fleet, "right", &[&["ip", "address", "add", new, "dev", "isp-a"], nodad].concat())?;
        let route = [
            "ip", family, "route", "replace", "default", "via", gateway, "dev", "isp-a", "metric",
            "100",
        ];
        at(fleet, "right", &route)?;
    }
    Ok(())
}

/// All paths are up at both ends, and the peer is looked for at its new addresses.
fn on_new(fleet: &Fleet) -> Result<Look<()>, FleetError> {
    let mut wanted: BTreeSet<&str> =
        ADDRESSES.iter().filter_map(|(_, new)| new.split('/').next()).collect();
    for agent in fleet.agents() {
        for path in agent.peek_paths()? {
            let at = path.remote_endpoint.clone();
            if !path.is_up() {
                return Ok(Look::Not(format!("{} to {at}: {}", agent.edge(), path.state)));
            }
            let address = at.parse::<std::net::SocketAddr>().map(|at| at.ip().to_string());
            wanted.retain(|new| address.as_deref() != Ok(*new));
        }
    }
    Ok(if wanted.is_empty() {
        Look::Done(())
    } else {
        Look::Not(format!("nobody sends to {wanted:?}"))
    })
}

fn path_ids(fleet: &Fleet) -> Result<BTreeSet<u32>, FleetError> {
    Ok(fleet.agent("left-1")?.paths()?.into_iter().map(|path| path.path_id).collect())
}

/// The site right has whole networks of isp-a on its LAN, where its own and left's uplinks and the controller are, too.
const COVERING: [&str; 2] = ["198.51.100.0/24", "2001:db8:a::/48"];
/// Computers of those networks on right's LAN.
const BEHIND: [&str; 2] = ["198.51.100.200", "2001:db8:a:99::1"];
/// Where the hub, the controller and the branch's own gateway are.
const EVERYTHING: [&str; 3] = ["198.51.100.0/24", "192.0.2.0/24", "192.168.0.0/16"];
/// So long the packets in tunnels are counted.
const WATCHED: Duration = Duration::from_secs(10);
/// A packet that went round would have to be sent again and again.
const SENT_AT_MOST_TIMES: f64 = 2.0;

/// What is reached through a tunnel covers where the tunnel itself goes: one of its uplinks, and all there is.
pub fn overlay_covers_underlay() -> Verdict {
    Ok(json!({"one_uplink_of_two": one_covered()?, "the_only_uplink": all_covered()?}))
}

fn one_covered() -> Verdict {
    let mut spec = dual(&["left-1", "right-1"])?;
    let narrow = "prefixes: [10.2.0.0/24, \"fd00:2::/64\"]";
    let [ipv4, ipv6] = COVERING;
    let wide = format!("prefixes: [10.2.0.0/24, \"fd00:2::/64\", {ipv4}, \"{ipv6}\"]");
    replace(&mut spec, narrow, &wide);
    with_fleet(spec, |fleet| {
        let host = "right-host";
        for address in BEHIND {
            let bits = if address.contains("::") { 128 } else { 32 };
            let address = format!("{address}/{bits}");
            at(fleet, host, &["ip", "address", "add", &address, "dev", "eth0"])?;
            at(fleet, "right", &["ip", "route", "add", &address, "dev", "lan0"])?;
        }
        let mut streams = Streams::start(fleet, &BOTH_WAYS)?;
        for address in BEHIND.iter().filter_map(|address| address.parse().ok()) {
            streams.add("left-host", host, address)?;
        }
        pings(fleet)?;
        no_loops(fleet, &streams, ["left", "right"])
    })
}

/// As where a hub is the way to everything: nothing outside is where the branch's own tables would look for it.
fn all_covered() -> Verdict {
    let spec = FleetSpec::nat(&["b1"]).map_err(|error| error.line())?.for_slow_processors();
    let mut spec = spec.with_driver("hq-1", "kernel").with_driver("b1-1", "kernel");
    let wide = format!("prefixes: [10.1.0.0/24, {}]", EVERYTHING.join(", "));
    replace(&mut spec, "prefixes: [10.1.0.0/24]", &wide);
    with_fleet(spec, |fleet| {
        let ways = [("b1-host", "hq-host", false), ("hq-host", "b1-host", false)];
        let streams = Streams::start(fleet, &ways)?;
        no_loops(fleet, &streams, ["hq", "b1"])
    })
}

fn replace(spec: &mut FleetSpec, old: &str, new: &str) {
    assert!(spec.document.contains(old), "the document has no {old}");
    spec.document = spec.document.replace(old, new);
}

/// Traffic flows, each packet goes into one tunnel once, and the controller is heard.
fn no_loops(
    fleet: &Fleet,
    streams: &Streams<'_>,
    edges: [&str; 2],
) -> Result<serde_json::Value, FleetError> {
    let (sent, carried) = (streams.sent()?, tunnel_packets(fleet, edges)?);
    let quiet = || {
        std::thread::sleep(WATCHED);
        Ok(())
    };
    let figures = streams.over("nothing happens", quiet, || Ok(Look::Done(())))?;
    let (sent, carried) = (streams.sent()? - sent, tunnel_packets(fleet, edges)? - carried);
    let times = carried as f64 / sent as f64;
    assert!(times < SENT_AT_MOST_TIMES, "each packet went into tunnels {times:.1} times");
    fleet.wait_edges_up(SOON)?;
    connected(fleet)?;
    Ok(json!({
        "streams": figures,
        "sent_into_tunnels_per_packet": (times * 100.0).round() / 100.0,
        "in_clear": streams.none_in_clear()?,
    }))
}

/// What both edges sent into their tunnels, probes apart.
fn tunnel_packets(fleet: &Fleet, edges: [&str; 2]) -> Result<u64, FleetError> {
    let mut packets = 0;
    for node in edges {
        let listing = at(fleet, node, &["ip", "-s", "-j", "link", "show"])?;
        let links: serde_json::Value = serde_json::from_str(&listing)
            .map_err(|source| FleetError::Answer { command: "ip -s -j link".to_owned(), source })?;
        for link in links.as_array().into_iter().flatten() {
            let name = link["ifname"].as_str().unwrap_or_default();
            if name.starts_with("hw") && !name.ends_with("s0") {
                packets += link["stats64"]["tx"]["packets"].as_u64().unwrap_or_default();
            }
        }
    }
    Ok(packets)
}

/// The controller is at an address that is covered, too.
fn connected(fleet: &Fleet) -> Result<(), FleetError> {
    let operator = fleet.operator()?;
    wait::until("both agents are connected with the controller", SOON, || {
        let status = operator.status()?;
        let both = status.edges_connected == 2;
        Ok(if both { Look::Done(()) } else { Look::Not(format!("{} are", status.edges_connected)) })
    })
}
