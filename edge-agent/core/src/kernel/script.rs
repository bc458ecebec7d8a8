//! The nftables table that classifies, keeps segments and sources apart, and clamps the MSS.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use ipnet::IpNet;

use super::{Inputs, MARK_MASK, class_mark, link_name};
use crate::config::Match;
use crate::id::{PathId, SegmentId, TunnelId, gre_key};
use crate::ike::interface::{GRE, XFRM};
use crate::manual::LINK_PREFIX;

/// The name of our table, family inet.
pub const TABLE: &str = "hawser_paths";

/// Interfaces of tunnels with gateways, which are none of the paths'.
const GATEWAY_INTERFACES: [&str; 3] = [GRE, LINK_PREFIX, XFRM];

/// Protocols with ports.
const WITH_PORTS: [u8; 4] = [6, 17, 33, 132];

/// A script for `nft -f -` that replaces the whole table in one transaction.
pub fn script(inputs: &Inputs) -> String {
    let mut text =
        format!("table inet {TABLE} {{}}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
    for &segment in inputs.segments.keys() {
        add_classes(&mut text, inputs, segment);
    }
    let mut jumps = BTreeMap::new();
    for (&segment, of) in &inputs.segments {
        for lan in &of.lans {
            jumps.insert(lan.clone(), classes_chain(segment));
        }
    }
    for (&tunnel, of) in &inputs.tunnels {
        for &segment in inputs.segments.keys() {
            let sources = of.sources.get(&segment).cloned().unwrap_or_default();
            add_source_check(&mut text, tunnel, segment, &sources);
            for &path in &of.paths {
                jumps.insert(link(path, segment), format!("from_{tunnel}_{segment}"));
            }
        }
    }
    add_prerouting(&mut text, inputs, &jumps);
    add_output(&mut text, inputs);
    add_forward(&mut text, inputs);
    text.push_str("}\n");
    text
}

fn link(path: PathId, segment: SegmentId) -> String {
    link_name(gre_key(path, segment))
}

fn classes_chain(segment: SegmentId) -> String {
    format!("classes_{segment}")
}

/// The first class that fits marks the packet.
fn add_classes(text: &mut String, inputs: &Inputs, segment: SegmentId) {
    let _ = writeln!(text, "\tchain {} {{", classes_chain(segment));
    let fitting = |class: &super::Class| class.segment.is_none_or(|of| of == segment);
    for (place, class) in inputs.marked_classes().filter(|(_, class)| fitting(class)) {
        let mark = class_mark(segment, place);
        let rest = !MARK_MASK;
        let set = format!("meta mark set meta mark & {rest:#010x} | {mark:#010x} return");
        let mut conditions: Vec<String> = class.matches.iter().flat_map(conditions).collect();
        if class.matches.is_empty() {
            conditions.push(String::new());
        }
        for condition in conditions {
            let _ = writeln!(text, "\t\t{condition}{set}");
        }
    }
    text.push_str("\t}\n");
}

/// All of a match's fields, as rules of which any may fit: one for each family that its prefixes allow.
fn conditions(rule: &Match) -> Vec<String> {
    let mut found = Vec::new();
    for ipv6 in [false, true] {
        let family = |nets: &[IpNet]| -> Option<Option<String>> {
            if nets.is_empty() {
                return Some(None);
            }
            let of: BTreeSet<IpNet> =
                nets.iter().filter(|n| n.addr().is_ipv6() == ipv6).map(IpNet::trunc).collect();
            (!of.is_empty()).then(|| Some(list(of.iter())))
        };
        let (Some(sources), Some(destinations)) =
            (family(&rule.sources), family(&rule.destinations))
        else {
            continue;
        };
        let ip = if ipv6 { "ip6" } else { "ip" };
        let mut condition = String::new();
        for (field, nets) in [("saddr", sources), ("daddr", destinations)] {
            if let Some(nets) = nets {
                let _ = write!(condition, "{ip} {field} {nets} ");
            }
        }
        if condition.is_empty() {
            let _ = write!(condition, "meta nfproto {} ", if ipv6 { "ipv6" } else { "ipv4" });
        }
        let ports = !rule.source_ports.is_empty() || !rule.destination_ports.is_empty();
        let protocols: BTreeSet<u8> = match (rule.protocols.is_empty(), ports) {
            (true, true) => WITH_PORTS.into(),
            (_, true) => {
                rule.protocols.iter().copied().filter(|p| WITH_PORTS.contains(p)).collect()
            }
            (_, false) => rule.protocols.iter().copied().collect(),
        };
        if ports && protocols.is_empty() {
            continue;
        }
        if !protocols.is_empty() {
            let _ = write!(condition, "meta l4proto {} ", list(protocols.iter()));
        }
        for (field, ranges) in [("sport", &rule.source_ports), ("dport", &rule.destination_ports)] {
            if !ranges.is_empty() {
                let _ = write!(condition, "th {field} {} ", list(merged(ranges).iter()));
            }
        }
        if !rule.dscps.is_empty() {
            let dscps: BTreeSet<u8> = rule.dscps.iter().copied().collect();
            let _ = write!(condition, "{ip} dscp {} ", list(dscps.iter()));
        }
        found.push(condition);
    }
    found
}

/// nft refuses a set whose ranges overlap.
fn merged(ranges: &[(u16, u16)]) -> Vec<String> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut whole: Vec<(u16, u16)> = Vec::new();
    for (from, to) in sorted {
        match whole.last_mut() {
            Some((_, end)) if u32::from(from) <= u32::from(*end) + 1 => *end = (*end).max(to),
            _ => whole.push((from, to)),
        }
    }
    whole.into_iter().map(|(from, to)| format!("{from}-{to}")).collect()
}

/// What a peer may not originate is dropped.
fn add_source_check(
    text: &mut String,
    tunnel: TunnelId,
    segment: SegmentId,
    sources: &BTreeSet<IpNet>,
) {
    for ipv6 in [false, true] {
        let of: BTreeSet<IpNet> =
            sources.iter().filter(|n| n.addr().is_ipv6() == ipv6).map(IpNet::trunc).collect();
        let (suffix, kind) = if ipv6 { (6, "ipv6_addr") } else { (4, "ipv4_addr") };
        let _ = writeln!(
            text,
            "\tset sources_{tunnel}_{segment}_{suffix} {{\n\t\ttype {kind}; flags interval; auto-merge;"
        );
        if !of.is_empty() {
            let _ = writeln!(text, "\t\telements = {}", list(of.iter()));
        }
        text.push_str("\t}\n");
    }
    let _ = writeln!(
        text,
        "\tchain from_{tunnel}_{segment} {{\n\
         \t\tip saddr != @sources_{tunnel}_{segment}_4 counter drop\n\
         \t\tip6 saddr != @sources_{tunnel}_{segment}_6 counter drop\n\
         \t\tjump {}\n\t}}",
        classes_chain(segment)
    );
}

/// Before routing. What comes by one of our interfaces that is not in the table any more is dropped, and so is what is
/// not a probe in segment 0: probes are taken before this. What tunnels with gateways let in is the guard's matter.
fn add_prerouting(text: &mut String, inputs: &Inputs, jumps: &BTreeMap<String, String>) {
    text.push_str("\tchain strangers {\n");
    for prefix in GATEWAY_INTERFACES {
        let _ = writeln!(text, "\t\tiifname \"{prefix}*\" accept");
    }
    text.push_str("\t\tcounter drop\n\t}\n");
    text.push_str(
        "\tchain prerouting {\n\t\ttype filter hook prerouting priority mangle; policy accept;\n",
    );
    if !jumps.is_empty() {
        let jumps = jumps.iter().map(|(name, chain)| format!("\"{name}\" : goto {chain}"));
        let _ = writeln!(text, "\t\tiifname vmap {}", list(jumps));
    }
    text.push_str("\t\tiifname \"hw*\" goto strangers\n");
    if let Some(main) = inputs.main_segment() {
        let _ = writeln!(text, "\t\tgoto {}", classes_chain(main));
    }
    text.push_str("\t}\n");
}

/// The host's own packets that are on their way into a tunnel: a mark sends them through routing again. What leaves by an
/// uplink must not be routed again: it would lose its uplink. Multicast of the kernel itself (router solicitations, MLD)
/// has no place in a tunnel.
fn add_output(text: &mut String, inputs: &Inputs) {
    text.push_str("\tchain output {\n\t\ttype route hook output priority mangle; policy accept;\n");
    text.push_str("\t\toifname != \"hw*\" return\n\t\tip6 daddr ff00::/8 drop\n");
    for prefix in GATEWAY_INTERFACES {
        let _ = writeln!(text, "\t\toifname \"{prefix}*\" return");
    }
    if let Some(main) = inputs.main_segment() {
        let _ = writeln!(text, "\t\tgoto {}", classes_chain(main));
    }
    text.push_str("\t}\n");
}

/// MSS is the tunnel's; no packet goes from one segment into another.
fn add_forward(text: &mut String, inputs: &Inputs) {
    text.push_str(
        "\tchain forward {\n\t\ttype filter hook forward priority mangle; policy accept;\n",
    );
    text.push_str(
        "\t\toifname \"hw*\" tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu\n",
    );
    for &segment in inputs.segments.keys() {
        let links = |wanted: bool| {
            let mut found = BTreeSet::new();
            for &other in inputs.segments.keys().filter(|s| (**s == segment) == wanted) {
                let paths = inputs.tunnels.values().flat_map(|tunnel| &tunnel.paths);
                found.extend(paths.map(|&path| format!("\"{}\"", link(path, other))));
            }
            found
        };
        let (own, foreign) = (links(true), links(false));
        let lans = &inputs.segments[&segment].lans;
        let own: BTreeSet<String> =
            own.into_iter().chain(lans.iter().map(|lan| format!("\"{lan}\""))).collect();
        let lans_of_others = inputs.segments.iter().filter(|(s, _)| **s != segment);
        let lans_of_others = lans_of_others.flat_map(|(_, s)| &s.lans).map(|l| format!("\"{l}\""));
        let foreign: BTreeSet<String> = foreign.into_iter().chain(lans_of_others).collect();
        if !own.is_empty() && !foreign.is_empty() {
            let (own, foreign) = (list(own.iter()), list(foreign.iter()));
            let _ = writeln!(text, "\t\tiifname {own} oifname {foreign} counter drop");
        }
    }
    text.push_str("\t}\n");
}

fn list(items: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    format!("{{ {} }}", items.join(", "))
}
