//! What the host's kernel must look like for a generation, and the steps from what is there to it.
//!
//! The shell observes, calls [`desired`] and [`plan`], applies every step, reports each, and observes again. Nothing
//! that is not ours (route protocol 119 in our tables, rules of our preferences, our nftables table) is touched.

mod guard;
mod ike;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::config::{EdgeState, Uplink};
use crate::id::SegmentId;
use crate::ike::{InterfaceKind, interface_names};

pub use guard::{TABLE as GUARD_TABLE, guard_script};

/// Marks our routes and rules in the kernel (`ip route show proto 119`).
pub const ROUTE_PROTOCOL: u8 = 119;
/// First of the uplinks' tables, and the preference of the rules that lead there.
pub const UPLINK_TABLE_BASE: u32 = 7000;
/// Of the rules that lead to gateways by their own uplinks: what is bound to an uplink goes before them.
pub const GATEWAY_PRIORITY: u32 = UPLINK_TABLE_BASE + 1;
/// Of the rules that say where what is outside comes from, whatever the overlay covers: an uplink's own network is asked for
/// in its table, and what has [`UNDERLAY_MARK`] in the host's own routes.
pub const UNDERLAY_PRIORITY: u32 = UPLINK_TABLE_BASE + 2;
/// Of packets that came by an uplink for this host itself. It is asked for where their source is (RFC 3704) only, so that
/// an overlay prefix that covers the peer's address outside does not make its packets come from nowhere. Of the kernel
/// driver's marks ([`MARK_MASK`](crate::kernel::MARK_MASK)) it is none: no class has segment 0.
pub const UNDERLAY_MARK: u32 = 0x00ff_0000;
const SRC_VALID_MARK: &str = ".src_valid_mark";
/// The kernel's main table.
const MAIN_TABLE: u32 = 254;
/// First of the segments' tables (plus the segment ID), and the preference of their rules.
pub const SEGMENT_TABLE_BASE: u32 = 7400;
/// Uplinks of one edge, at the most: their tables lie below the segments'.
pub const MAX_UPLINKS: usize = 64;

const TUN_METRIC: u32 = 100;
const CONNECTED_METRIC: u32 = 10;
const DEFAULT_METRIC: u32 = 200;
/// The unreachable route that remains when everything else is gone.
const GUARD_METRIC: u32 = u32::MAX;

/// The TUN device of a segment.
pub fn tun_name(segment: SegmentId) -> String {
    format!("hawser{segment}")
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    pub ipv6: bool,
    pub priority: u32,
    pub table: u32,
    /// Under [`MARK_MASK`](crate::kernel::MARK_MASK); `None`: any.
    pub mark: Option<u32>,
    /// `None`: any.
    pub source: Option<IpNet>,
    /// `None`: any.
    pub destination: Option<IpNet>,
    pub input_interface: Option<String>,
    pub output_interface: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRoute {
    pub table: u32,
    pub prefix: IpNet,
    pub metric: u32,
    pub kind: RouteKind,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// Refused with an ICMP error: nothing leaves.
    Unreachable,
    /// The next rule decides.
    Throw,
    Device {
        interface: String,
        gateway: Option<IpAddr>,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub mtu_bytes: u32,
    /// Administratively up and with carrier.
    pub running: bool,
    pub addresses: Vec<IpNet>,
}

/// What the shell saw in the kernel.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    pub links: BTreeMap<String, Link>,
    /// Default routes of the main table: (interface, gateway), best metric first.
    pub default_routes: Vec<(String, IpAddr)>,
    /// Only ours.
    pub rules: BTreeSet<Rule>,
    /// Only ours.
    pub routes: BTreeSet<KernelRoute>,
    /// Of tunnels with gateways; only ours.
    pub interfaces: BTreeMap<String, InterfaceKind>,
    /// The values of those sysctls that exist, by dotted name (`/` for a dot inside an interface's name).
    pub sysctls: BTreeMap<String, String>,
    /// The guard that was loaded last is still in the kernel, unchanged.
    pub guard: Option<String>,
    /// The kernel knows IPsec, and so whether it protects a packet.
    pub ipsec: bool,
}

/// What the kernel must look like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostState {
    pub rules: BTreeSet<Rule>,
    pub routes: BTreeSet<KernelRoute>,
    /// Of tunnels with gateways.
    pub interfaces: BTreeMap<String, InterfaceKind>,
    pub sysctls: BTreeMap<String, String>,
    /// An nftables script.
    pub guard: String,
}

/// One effect on the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    LoadGuard(String),
    AddRoute(KernelRoute),
    RemoveRoute(KernelRoute),
    AddRule(Rule),
    RemoveRule(Rule),
    SetSysctl(String, String),
    AddInterface(String, InterfaceKind),
    RemoveInterface(String),
}

/// Compiles a generation for this host, as far as its interfaces are there.
pub fn desired(edge: &EdgeState, seen: &Observed) -> HostState {
    let mut state = HostState { guard: guard_script(edge, seen.ipsec), ..HostState::default() };
    for (index, uplink) in edge.uplinks.values().take(MAX_UPLINKS).enumerate() {
        let table = UPLINK_TABLE_BASE + index as u32;
        add_uplink(&mut state, table, uplink, seen);
        for tunnel in ike::all(edge) {
            ike::add_tunnel(&mut state, table, uplink, &tunnel, seen);
        }
    }
    if !edge.uplinks.is_empty() {
        state.rules.insert(underlay_rule());
    }
    for &segment in edge.segments.keys() {
        add_segment(&mut state, edge, segment, seen);
    }
    add_sysctls(&mut state, edge, seen);
    state
}

/// ARP is answered only if its sender is where it may come from (`arp_process` of Linux), and has no mark. Of what enters by
/// a LAN this says nothing.
fn neighbours_rule(table: u32, network: IpNet) -> Rule {
    Rule {
        ipv6: false,
        priority: UNDERLAY_PRIORITY,
        table,
        mark: None,
        source: None,
        destination: Some(network),
        input_interface: Some("lo".to_owned()),
        output_interface: None,
    }
}

/// IPv6 has no filter of reverse paths.
fn underlay_rule() -> Rule {
    Rule {
        ipv6: false,
        priority: UNDERLAY_PRIORITY,
        table: MAIN_TABLE,
        mark: Some(UNDERLAY_MARK),
        source: None,
        destination: None,
        input_interface: None,
        output_interface: None,
    }
}

impl Rule {
    /// One of those that this makes, whatever generation it was.
    pub fn is_ours(&self) -> bool {
        let tables = UPLINK_TABLE_BASE..SEGMENT_TABLE_BASE + 256;
        match self.priority {
            UNDERLAY_PRIORITY if self.mark.is_some() => *self == underlay_rule(),
            UNDERLAY_PRIORITY | UPLINK_TABLE_BASE | GATEWAY_PRIORITY | SEGMENT_TABLE_BASE => {
                tables.contains(&self.table)
            }
            _ => false,
        }
    }
}

/// The uplink's own table: its networks, its default route, and else nothing.
fn add_uplink(state: &mut HostState, table: u32, uplink: &Uplink, seen: &Observed) {
    let device = |gateway| RouteKind::Device { interface: uplink.interface.clone(), gateway };
    for ipv6 in [false, true] {
        state.rules.insert(Rule {
            ipv6,
            priority: UPLINK_TABLE_BASE,
            table,
            mark: None,
            source: None,
            destination: None,
            input_interface: None,
            output_interface: Some(uplink.interface.clone()),
        });
        let prefix = any(ipv6);
        let kind = RouteKind::Unreachable;
        state.routes.insert(KernelRoute { table, prefix, metric: GUARD_METRIC, kind });
    }
    let Some(link) = seen.links.get(&uplink.interface) else { return };
    for address in &link.addresses {
        let prefix = address.trunc();
        let kind = device(None);
        state.routes.insert(KernelRoute { table, prefix, metric: CONNECTED_METRIC, kind });
        if prefix.addr().is_ipv4() {
            state.rules.insert(neighbours_rule(table, prefix));
        }
    }
    for ipv6 in [false, true] {
        if let Some(gateway) = gateway(uplink, ipv6, seen) {
            let prefix = any(ipv6);
            let kind = device(Some(gateway));
            state.routes.insert(KernelRoute { table, prefix, metric: DEFAULT_METRIC, kind });
        }
    }
}

/// The next hop of what leaves by an uplink: as configured, else that of the kernel's own default route.
fn gateway(uplink: &Uplink, ipv6: bool, seen: &Observed) -> Option<IpAddr> {
    let fits = |gateway: &IpAddr| gateway.is_ipv6() == ipv6;
    let learned = || {
        let of_uplink = seen.default_routes.iter().filter(|(i, _)| *i == uplink.interface);
        of_uplink.map(|(_, gateway)| *gateway).find(fits)
    };
    uplink.gateways.iter().copied().find(fits).or_else(learned)
}

/// The segment's table: its own LANs, and every overlay prefix through the TUN, or nowhere.
fn add_segment(state: &mut HostState, edge: &EdgeState, segment: SegmentId, seen: &Observed) {
    let table = SEGMENT_TABLE_BASE + u32::from(segment.0);
    let tun = tun_name(segment);
    let inputs = if is_main(edge, segment) { vec![None] } else { inputs(edge, segment, &tun) };
    for input_interface in inputs {
        for ipv6 in [false, true] {
            let input_interface = input_interface.clone();
            let priority = SEGMENT_TABLE_BASE;
            state.rules.insert(Rule {
                ipv6,
                priority,
                table,
                mark: None,
                source: None,
                destination: None,
                input_interface,
                output_interface: None,
            });
        }
    }
    for lan in edge.lans.iter().filter(|l| l.segment == segment) {
        let kind = if is_main(edge, segment) {
            RouteKind::Throw
        } else if seen.links.contains_key(&lan.device()) {
            RouteKind::Device { interface: lan.device(), gateway: None }
        } else {
            continue;
        };
        for &prefix in &lan.prefixes {
            let kind = kind.clone();
            state.routes.insert(KernelRoute { table, prefix, metric: CONNECTED_METRIC, kind });
        }
    }
    for route in edge.routes.iter().filter(|r| r.segment == segment) {
        let prefix = route.prefix;
        let kind = RouteKind::Unreachable;
        state.routes.insert(KernelRoute { table, prefix, metric: GUARD_METRIC, kind });
        if seen.links.contains_key(&tun) {
            let kind = RouteKind::Device { interface: tun.clone(), gateway: None };
            state.routes.insert(KernelRoute { table, prefix, metric: TUN_METRIC, kind });
        }
    }
}

/// The lowest segment is the one of the host itself: its table serves traffic from anywhere.
fn is_main(edge: &EdgeState, segment: SegmentId) -> bool {
    edge.segments.keys().next() == Some(&segment)
}

fn inputs(edge: &EdgeState, segment: SegmentId, tun: &str) -> Vec<Option<String>> {
    let lans = edge.lans.iter().filter(|l| l.segment == segment).map(|l| Some(l.device()));
    let gateways = gateway_interfaces(edge, segment).map(Some);
    let manual = edge.manual_tunnels.iter().filter(|t| t.segment == segment);
    let manual = manual.map(|t| Some(t.link_name()));
    lans.chain([Some(tun.to_owned())]).chain(gateways).chain(manual).collect()
}

/// Those by which what is beyond gateways reaches a segment.
fn gateway_interfaces(edge: &EdgeState, segment: SegmentId) -> impl Iterator<Item = String> {
    edge.ike_tunnels.iter().filter(move |t| t.segment == segment).flat_map(interface_names)
}

fn add_sysctls(state: &mut HostState, edge: &EdgeState, seen: &Observed) {
    let mut set = |name: String, value: &str| {
        state.sysctls.insert(name, value.to_owned());
    };
    if !edge.lans.is_empty() {
        set("net.ipv4.ip_forward".into(), "1");
        set("net.ipv6.conf.all.forwarding".into(), "1");
    }
    for interface in routed_interfaces(edge) {
        if !seen.links.contains_key(&interface) {
            continue;
        }
        let name = sysctl_name(&interface);
        // Strict filtering (RFC 3704) would look up the way back without the interface, in the wrong table.
        set(format!("net.ipv4.conf.{name}.rp_filter"), "2");
        // Their loose check fails all the same where an overlay prefix covers the source and no path works yet.
        if edge.uplinks.values().any(|uplink| uplink.interface == interface) {
            set(src_valid_mark(&name), "1");
        }
        let accept_ra = format!("net.ipv6.conf.{name}.accept_ra");
        // Forwarding would make the kernel ignore router advertisements on an uplink that lives by them.
        if seen.sysctls.get(&accept_ra).is_some_and(|v| v == "1") {
            set(accept_ra, "2");
        }
    }
}

/// Those by which packets come in that answer others, whichever way those left.
fn routed_interfaces(edge: &EdgeState) -> impl Iterator<Item = String> {
    let uplinks = edge.uplinks.values().map(|uplink| uplink.interface.clone());
    let tuns = edge.segments.keys().map(|&segment| tun_name(segment));
    uplinks.chain(tuns).chain(edge.ike_tunnels.iter().flat_map(interface_names))
}

/// An interface's name inside a sysctl's: dots become slashes (sysctl(8)).
pub fn sysctl_name(interface: &str) -> String {
    interface.replace('.', "/")
}

/// Whether an interface's packets are asked for where their source is by their mark. A host where it can't be set is as good
/// as before it was known: a generation is not refused for it.
fn src_valid_mark(interface: &str) -> String {
    format!("net.ipv4.conf.{interface}{SRC_VALID_MARK}")
}

/// Sysctls without which an edge works, in most cases.
pub fn is_optional(sysctl: &str) -> bool {
    sysctl.ends_with(SRC_VALID_MARK)
}

/// The sysctls whose values the shell must observe.
pub fn sysctls_of_interest(edge: &EdgeState) -> Vec<String> {
    let mut names = vec!["net.ipv4.ip_forward".into(), "net.ipv6.conf.all.forwarding".into()];
    for interface in routed_interfaces(edge) {
        let name = sysctl_name(&interface);
        names.push(format!("net.ipv4.conf.{name}.rp_filter"));
        names.push(src_valid_mark(&name));
        names.push(format!("net.ipv6.conf.{name}.accept_ra"));
    }
    names
}

/// The steps from what is there to what must be; none if it is so already.
///
/// What guards comes first, and goes last: at no moment between two steps is there a way out in clear.
pub fn plan(want: &HostState, seen: &Observed) -> Vec<Step> {
    let mut steps = Vec::new();
    let guards = |route: &&KernelRoute| route.kind == RouteKind::Unreachable;
    let missing: Vec<&KernelRoute> = want.routes.difference(&seen.routes).collect();
    let surplus: Vec<&KernelRoute> = seen.routes.difference(&want.routes).collect();
    steps.extend(missing.iter().copied().filter(guards).cloned().map(Step::AddRoute));
    if seen.guard.as_ref() != Some(&want.guard) {
        steps.push(Step::LoadGuard(want.guard.clone()));
    }
    // The rest of what is too much stays until no rule leads to it: the tables of uplinks are numbered by their places, and one
    // that moves up is sent by at every moment.
    let early = |route: &&KernelRoute| {
        let key = |r: &KernelRoute| (r.table, r.prefix, r.metric);
        // For the kernel it is the same route as one to be added (a gateway that changed); or it goes with its interface.
        missing.iter().any(|missing| key(missing) == key(route))
            || loses_interface(route, want, seen)
    };
    let old = surplus.iter().copied().filter(|r| !guards(r));
    let (first, last): (Vec<_>, Vec<_>) = old.partition(early);
    steps.extend(first.into_iter().cloned().map(Step::RemoveRoute));
    let differs = |name: &String, kind: &InterfaceKind, other: &BTreeMap<String, InterfaceKind>| {
        other.get(name) != Some(kind)
    };
    // Their routes, if they had any that are still wanted, come again when they are seen.
    let old = seen.interfaces.iter().filter(|(name, kind)| differs(name, kind, &want.interfaces));
    steps.extend(old.map(|(name, _)| Step::RemoveInterface(name.clone())));
    let new = want.interfaces.iter().filter(|(name, kind)| differs(name, kind, &seen.interfaces));
    steps.extend(new.map(|(name, kind)| Step::AddInterface(name.clone(), *kind)));
    steps.extend(missing.iter().copied().filter(|r| !guards(r)).cloned().map(Step::AddRoute));
    steps.extend(want.rules.difference(&seen.rules).cloned().map(Step::AddRule));
    for (name, value) in &want.sysctls {
        // One that the kernel does not have (no IPv6) can't be set, and harms nothing.
        if seen.sysctls.get(name).is_some_and(|now| now != value) {
            steps.push(Step::SetSysctl(name.clone(), value.clone()));
        }
    }
    steps.extend(seen.rules.difference(&want.rules).cloned().map(Step::RemoveRule));
    steps.extend(last.into_iter().cloned().map(Step::RemoveRoute));
    steps.extend(surplus.iter().copied().filter(guards).cloned().map(Step::RemoveRoute));
    steps
}

/// Its interface is ours, and about to be removed, or made anew.
fn loses_interface(route: &KernelRoute, want: &HostState, seen: &Observed) -> bool {
    let RouteKind::Device { interface, .. } = &route.kind else { return false };
    let is = seen.interfaces.get(interface);
    is.is_some() && want.interfaces.get(interface) != is
}

fn any(ipv6: bool) -> IpNet {
    if ipv6 { IpNet::V6(Ipv6Net::default()) } else { IpNet::V4(Ipv4Net::default()) }
}
