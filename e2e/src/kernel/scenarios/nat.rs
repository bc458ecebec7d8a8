//! Sites behind a NAT: mappings that change and expire under traffic, and two sites behind one address.

use super::Verdict;
use super::fabric::with_fleet;
use super::streams::Streams;
use super::survival::at;
use crate::fleet::wait::Look;
use crate::fleet::{Fleet, FleetError, FleetSpec};
use crate::wan::Impairment;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// Drivers of the branch behind the NAT, and of the hub.
const PAIRS: [(&str, &str); 3] =
    [("kernel", "kernel"), ("userspace", "kernel"), ("kernel", "userspace")];
/// So long the NAT keeps a flow that is silent, and so long nothing passes it.
const MAPPING_STAYS_S: u64 = 2;
const SILENCE: Duration = Duration::from_secs(3 * MAPPING_STAYS_S);
/// The links on both sides of the NAT: silent for it only if nothing comes from either.
const AROUND_NAT: [&str; 2] = ["b1-nat", "nat-isp"];
const NAT_ADDRESS: &str = "203.0.113.2";
/// Of a NAT that gives each branch a port of its own.
const PORTS: [u16; 2] = [5001, 5002];

/// One site behind a NAT that gives every flow a random port: traffic both ways, new mappings, expired mappings.
pub fn between() -> Verdict {
    let mut told = serde_json::Map::new();
    for (branch, hub) in PAIRS {
        let spec = FleetSpec::nat(&["b1"]).map_err(|error| error.line())?.for_slow_processors();
        let spec = spec.with_driver("b1-1", branch).with_driver("hq-1", hub);
        let drivers = format!("{branch} behind the NAT, {hub} at the hub");
        let seen = with_fleet(spec, mapping_changes);
        told.insert(drivers.clone(), seen.map_err(|failure| format!("{drivers}: {failure}"))?);
    }
    Ok(Value::Object(told))
}

fn mapping_changes(fleet: &mut Fleet) -> Result<Value, FleetError> {
    as_a_nat_at_the_edge_of_a_site(fleet)?;
    let streams =
        Streams::start(fleet, &[("b1-host", "hq-host", false), ("hq-host", "b1-host", false)])?;
    let first = endpoint(fleet, "b1-1")?;
    assert_eq!(first.ip().to_string(), NAT_ADDRESS, "the hub must see the NAT's address");
    let forgotten = streams.over(
        "the NAT forgets its mappings",
        || forget(fleet),
        || moved(fleet, &[("b1-1", first)]),
    )?;
    let second = endpoint(fleet, "b1-1")?;
    for timeout in ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"] {
        let setting = format!("net.netfilter.{timeout}={MAPPING_STAYS_S}");
        at(fleet, "nat", &["sysctl", "-q", "-w", &setting])?;
    }
    let expired = streams.over(
        "the mapping expires",
        || {
            AROUND_NAT
                .iter()
                .try_for_each(|link| fleet.lab().impair(link, &Impairment::blackhole(true)))?;
            std::thread::sleep(SILENCE);
            Ok(AROUND_NAT.iter().try_for_each(|link| fleet.lab().reset(link))?)
        },
        || moved(fleet, &[("b1-1", second)]),
    )?;
    Ok(json!({
        "mapping_forgotten": forgotten,
        "mapping_expired_after_s": SILENCE.as_secs(),
        "mapping_expired": expired,
        "in_clear": streams.none_in_clear()?,
    }))
}

/// Both at one address: each keeps its own traffic, also when the NAT forgets all mappings, and when it gives each branch
/// the port that the other had.
pub fn two_branches() -> Verdict {
    let spec = FleetSpec::nat(&["b1", "b2"]).map_err(|error| error.line())?.for_slow_processors();
    let spec = ["hq-1", "b1-1", "b2-1"]
        .into_iter()
        .fold(spec, |spec, edge| spec.with_driver(edge, "kernel"));
    with_fleet(spec, |fleet| {
        as_a_nat_at_the_edge_of_a_site(fleet)?;
        let ways = [
            ("b1-host", "hq-host"),
            ("hq-host", "b1-host"),
            ("b2-host", "hq-host"),
            ("hq-host", "b2-host"),
        ];
        let streams = Streams::start(fleet, &ways.map(|(from, to)| (from, to, false)))?;
        let before = endpoints(fleet)?;
        assert_eq!(before[0].1.ip(), before[1].1.ip(), "one address outside: {before:?}");
        assert_ne!(before[0].1, before[1].1, "two ports outside: {before:?}");
        let forgotten = streams.over(
            "the NAT forgets its mappings",
            || forget(fleet),
            || moved(fleet, &before),
        )?;
        let between = endpoints(fleet)?;
        let pinned =
            streams.over("ports of their own", || pin(fleet, PORTS), || moved(fleet, &between))?;
        let straight = endpoints(fleet)?;
        let [one, other] = PORTS;
        let swapped = streams.over(
            "each gets the other's port",
            || pin(fleet, [other, one]),
            || moved(fleet, &straight),
        )?;
        let crossed = endpoints(fleet)?;
        assert_eq!(straight.map(|(_, e)| e.port()), PORTS, "{straight:?}");
        assert_eq!(crossed.map(|(_, e)| e.port()), [other, one], "{crossed:?}");
        let foreign = foreign_sources(fleet)?;
        assert_eq!(foreign, 0, "packets of one branch came out of the other's tunnel");
        Ok(json!({
            "mappings_forgotten": forgotten,
            "ports_pinned": pinned,
            "ports_swapped": swapped,
            "of_the_wrong_branch": foreign,
            "in_clear": streams.none_in_clear()?,
        }))
    })
}

/// It answers nothing that nobody behind it asked for, so a flow that it has forgotten leaves no trace in it.
fn as_a_nat_at_the_edge_of_a_site(fleet: &Fleet) -> Result<(), FleetError> {
    at(fleet, "nat", &["modprobe", "nf_conntrack_netlink"])?;
    let rule = "iifname wan0 meta l4proto udp drop";
    let chain = format!("chain input {{ type filter hook input priority 0; {rule}; }}");
    at(fleet, "nat", &["nft", &format!("table ip quiet {{ {chain}; }}")]).map(drop)
}

fn forget(fleet: &Fleet) -> Result<(), FleetError> {
    let lab = fleet.programs().lab.to_string_lossy();
    at(fleet, "nat", &[&lab, "tool", "forget-flows"]).map(drop)
}

/// From now on all UDP of each branch has one port outside.
fn pin(fleet: &Fleet, [b1, b2]: [u16; 2]) -> Result<(), FleetError> {
    let rule = |source: &str, port: u16| {
        format!(
            "add rule ip nat postrouting oifname wan0 ip saddr {source} meta l4proto udp snat to {NAT_ADDRESS}:{port}; "
        )
    };
    let rules =
        ["flush chain ip nat postrouting; ", &rule("192.168.1.2", b1), &rule("192.168.2.2", b2)]
            .concat();
    at(
        fleet,
        "nat",
        &["nft", &format!("{rules}add rule ip nat postrouting oifname wan0 masquerade")],
    )?;
    forget(fleet)
}

/// Where the hub sends to a branch.
fn endpoint(fleet: &Fleet, branch: &str) -> Result<SocketAddr, FleetError> {
    let missing = || FleetError::Unknown { kind: "endpoint", name: branch.to_owned() };
    let paths = fleet.agent("hq-1")?.peek_paths()?;
    let path = paths.iter().find(|path| path.peer_edge == branch).ok_or_else(missing)?;
    path.remote_endpoint.parse().map_err(|_| missing())
}

fn endpoints(fleet: &Fleet) -> Result<[(&'static str, SocketAddr); 2], FleetError> {
    Ok([("b1-1", endpoint(fleet, "b1-1")?), ("b2-1", endpoint(fleet, "b2-1")?)])
}

/// The hub sends each of them elsewhere than it did, and every path works.
fn moved(fleet: &Fleet, before: &[(&str, SocketAddr)]) -> Result<Look<()>, FleetError> {
    for (branch, old) in before {
        let now = endpoint(fleet, branch)?;
        if now == *old {
            return Ok(Look::Not(format!("the hub still sends to {branch} at {now}")));
        }
    }
    for agent in fleet.agents() {
        if let Some(path) = agent.peek_paths()?.iter().find(|path| !path.is_up()) {
            return Ok(Look::Not(format!("{}: {} {}", agent.edge(), path.peer_edge, path.state)));
        }
    }
    Ok(Look::Done(()))
}

/// Packets whose source may not come out of the tunnel that they came by, at the hub and at both branches.
fn foreign_sources(fleet: &Fleet) -> Result<u64, FleetError> {
    let mut count = 0;
    for node in ["hq", "b1", "b2"] {
        let listing = at(fleet, node, &["nft", "list", "table", "inet", "hawser_paths"])?;
        let dropped = listing.lines().filter(|line| line.contains("saddr != @sources_"));
        let packets = dropped.filter_map(|line| line.split("packets ").nth(1)?.split(' ').next());
        count += packets.filter_map(|number| number.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(count)
}
