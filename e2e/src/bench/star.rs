//! A hub and any number of branches, two uplinks each by two providers that do not know each other: two paths a tunnel.
//!
//! Round trips take 40 ms by either provider: all of it on the branches' own links, so what hurts one leaves the others
//! alone.

use crate::fleet::{EdgePlace, FleetError, FleetSpec};
use crate::lab::Topology;
use std::fmt::Write;

pub(super) const HUB: &str = "hq";
/// The uplinks of every site; preferred in this order.
pub(super) const UPLINKS: [&str; 2] = ["isp-a", "isp-b"];
/// Each a /28 of its provider: the hub's, the controller's, and the rest for branches.
pub const MAX_BRANCHES: usize = 14;
const CONTROLLER: usize = 15;
const ONE_WAY_MS: u32 = 20;

/// What the traffic of the fleet is promised, and how calm its selection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    pub failback_hold_s: u32,
    /// None: no limit. A machine with other work adds jitter of its own.
    pub max_jitter_ms: Option<u32>,
    /// Every packet on both paths.
    pub duplicate: bool,
}

/// The sites with branches' names.
pub(super) fn branches(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("b{number}")).collect()
}

/// The emulated link of a site's uplink.
pub(super) fn link(site: &str, uplink: &str) -> String {
    format!("{site}-{uplink}")
}

/// The fleet. `seed` is the emulated links' luck.
///
/// # Errors
/// More branches than [`MAX_BRANCHES`].
pub(super) fn star(count: usize, manner: Manner, seed: u64) -> Result<FleetSpec, FleetError> {
    let count = count.min(MAX_BRANCHES);
    let sites: Vec<String> = std::iter::once(HUB.to_owned()).chain(branches(count)).collect();
    Ok(FleetSpec {
        topology: Topology::parse(&topology(&sites, seed))?,
        document: document(&sites, manner),
        fleet: "acme".to_owned(),
        controller_node: "controller".to_owned(),
        advertise: NETS.map(|net| format!("{net}.{}:4511", host(CONTROLLER))).to_vec(),
        edges: sites
            .iter()
            .map(|site| EdgePlace {
                driver: None,
                edge: format!("{site}-1"),
                site: site.clone(),
                node: site.clone(),
                host: format!("{site}-host"),
            })
            .collect(),
        lab_name: None,
        agent_args: Vec::new(),
        controller_args: Vec::new(),
    })
}

const NETS: [&str; 2] = ["198.51.100", "203.0.113"];

/// The last octet of the provider's router in a site's subnet.
fn gateway(site: usize) -> usize {
    site * 16 + 1
}

fn host(site: usize) -> usize {
    site * 16 + 2
}

fn topology(sites: &[String], seed: u64) -> String {
    let mut nodes = String::new();
    let mut links = String::new();
    for (index, site) in sites.iter().enumerate() {
        let lan = format!("10.{}.0", index + 1);
        let routes: Vec<String> = NETS
            .iter()
            .zip([100, 200])
            .map(|(net, metric)| {
                format!("{{to: default, via: {net}.{}, metric: {metric}}}", gateway(index))
            })
            .collect();
        let _ = write!(
            nodes,
            "  {site}: {{kind: edge, routes: [{}]}}\n  \
               {site}-host: {{kind: host, routes: [{{to: default, via: {lan}.1}}]}}\n",
            routes.join(", ")
        );
        let impair = match site == HUB {
            true => String::new(),
            false => format!(", impair: [{{delay_ms: {ONE_WAY_MS}}}]"),
        };
        for (isp, net) in UPLINKS.iter().zip(NETS) {
            let (ours, theirs) = (host(index), gateway(index));
            let _ = writeln!(
                links,
                "  {site}-{isp}: {{kind: wan{impair}, \
                   a: {{node: {site}, interface: {isp}, addresses: [{net}.{ours}/28]}}, \
                   b: {{node: {isp}, interface: {site}, addresses: [{net}.{theirs}/28]}}}}"
            );
        }
        let _ = writeln!(
            links,
            "  {site}-lan: {{kind: veth, \
               a: {{node: {site}, interface: lan0, addresses: [{lan}.1/24]}}, \
               b: {{node: {site}-host, interface: eth0, addresses: [{lan}.10/24]}}}}"
        );
    }
    let mut routes = Vec::new();
    for (isp, net) in UPLINKS.iter().zip(NETS) {
        let (ours, theirs) = (host(CONTROLLER), gateway(CONTROLLER));
        let _ = writeln!(nodes, "  {isp}: {{kind: router}}");
        routes.push(format!("{{to: {net}.0/24, via: {net}.{theirs}}}"));
        let _ = writeln!(
            links,
            "  {isp}-controller: {{kind: veth, \
               a: {{node: {isp}, interface: controller, addresses: [{net}.{theirs}/28]}}, \
               b: {{node: controller, interface: {isp}, addresses: [{net}.{ours}/28]}}}}"
        );
    }
    let _ = writeln!(nodes, "  controller: {{kind: controller, routes: [{}]}}", routes.join(", "));
    format!("name: selection\nseed: {seed}\nnodes:\n{nodes}links:\n{links}")
}

fn document(sites: &[String], manner: Manner) -> String {
    let mut entries = String::new();
    for (index, site) in sites.iter().enumerate() {
        let address = |net: &str| match site == HUB {
            true => format!("[{net}.{}]", host(index)),
            false => "discover".to_owned(),
        };
        let _ = write!(
            entries,
            "  - name: {site}\n    \
                 lans:\n      - {{interface: lan0, prefixes: [10.{}.0.0/24]}}\n    \
                 edges:\n      - name: {site}-1\n        uplinks:\n",
            index + 1
        );
        for (isp, net) in UPLINKS.iter().zip(NETS) {
            let _ = writeln!(
                entries,
                "          - {{name: {isp}, interface: {isp}, transport: {isp}, addresses: {}}}",
                address(net)
            );
        }
    }
    let hold = manner.failback_hold_s;
    let jitter =
        manner.max_jitter_ms.map(|ms| format!("max_jitter_ms: {ms}, ")).unwrap_or_default();
    let mode = if manner.duplicate { ", mode: duplicate" } else { "" };
    format!(
        "fleet: acme
sla_classes:
  - {{name: business, max_rtt_ms: 300, {jitter}max_loss_pct: 1}}
tunnel_profiles:
  - {{name: standard, suite: aes-128-gcm, rekey_after_s: 3600, probe_interval_ms: 100, probe_idle_interval_ms: 100}}
traffic_classes:
  - {{name: default, sla: business, prefer_uplinks: [{}], failback_hold_s: {hold}{mode}}}
sites:
{entries}topologies:
  - {{name: star, kind: hub-spoke, hubs: [{HUB}], spokes: all, profile: standard}}
",
        UPLINKS.join(", ")
    )
}
