//! The nftables table that lets nothing of a LAN leave by an uplink in clear. It outlives the agent.

use std::collections::BTreeSet;
use std::fmt::Write;

use ipnet::IpNet;

use super::{UNDERLAY_MARK, gateway_interfaces, tun_name};
use crate::config::{EdgeState, ManualTunnel};
use crate::id::SegmentId;
use crate::ike::{interface_name, interface_names};
use crate::kernel::MARK_MASK;

/// The name of our table, family inet.
pub const TABLE: &str = "hawser_guard";

/// A script for `nft -f -` that replaces the whole table in one transaction. Where the kernel knows IPsec, GRE may leave and
/// come in under its protection.
pub fn guard_script(edge: &EdgeState, ipsec: bool) -> String {
    let overlay: BTreeSet<IpNet> = edge.routes.iter().map(|r| r.prefix).collect();
    let ike = edge.ike_tunnels.iter().flat_map(|t| t.remote_prefixes.iter().copied());
    let manual = edge.manual_tunnels.iter().flat_map(|t| t.remote_prefixes.iter().copied());
    let beyond: BTreeSet<IpNet> = ike.chain(manual).collect();
    let own: BTreeSet<IpNet> = edge.lans.iter().flat_map(|l| l.prefixes.iter().copied()).collect();
    let mut script =
        format!("table inet {TABLE} {{}}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
    for ipv6 in [false, true] {
        add_set(&mut script, "overlay", ipv6, &overlay);
        add_set(&mut script, "own", ipv6, &own);
        if !beyond.is_empty() {
            add_set(&mut script, "beyond", ipv6, &beyond);
        }
    }
    let uplinks: BTreeSet<&str> = edge.uplinks.values().map(|u| u.interface.as_str()).collect();
    script.push_str(
        "\tchain forward {\n\t\ttype filter hook forward priority -150; policy accept;\n",
    );
    if !uplinks.is_empty() {
        let uplinks = names(&uplinks);
        let _ = writeln!(script, "\t\toifname {uplinks} ip daddr @overlay4 counter drop");
        let _ = writeln!(script, "\t\toifname {uplinks} ip6 daddr @overlay6 counter drop");
        if !beyond.is_empty() {
            add_beyond(&mut script, &uplinks, ipsec, &[Way::Out, Way::In]);
        }
    }
    add_interfaces(&mut script, edge, true);
    add_isolation(&mut script, edge);
    edge.manual_tunnels.iter().for_each(|tunnel| add_sources(&mut script, tunnel, true));
    script.push_str("\t}\n");
    if !uplinks.is_empty() {
        add_own_traffic(&mut script, &names(&uplinks), ipsec, edge);
        add_underlay(&mut script, &names(&uplinks));
    }
    if edge.ike_tunnels.iter().any(|tunnel| interface_name(tunnel).is_some()) {
        script.push_str(
            "\tchain input_gateways {\n\t\ttype filter hook input priority -150; policy accept;\n",
        );
        add_interfaces(&mut script, edge, false);
        script.push_str("\t}\n");
    }
    script.push_str("}\n");
    script
}

fn add_set(script: &mut String, name: &str, ipv6: bool, prefixes: &BTreeSet<IpNet>) {
    let (suffix, kind) = if ipv6 { (6, "ipv6_addr") } else { (4, "ipv4_addr") };
    let of_family: Vec<String> = prefixes
        .iter()
        .filter(|p| p.addr().is_ipv6() == ipv6)
        .map(|p| p.trunc().to_string())
        .collect();
    let _ =
        write!(script, "\tset {name}{suffix} {{\n\t\ttype {kind}; flags interval; auto-merge;\n");
    if !of_family.is_empty() {
        let _ = writeln!(script, "\t\telements = {{ {} }}", of_family.join(", "));
    }
    script.push_str("\t}\n");
}

/// A gateway that is reached by an interface was offered any address: only what is between the tunnel's prefixes passes.
fn add_interfaces(script: &mut String, edge: &EdgeState, forwarded: bool) {
    let of_each = |tunnel| interface_names(tunnel).map(move |name| (tunnel, name));
    for (tunnel, name) in edge.ike_tunnels.iter().flat_map(of_each) {
        for (ipv6, family, protocol) in [(false, "ip", "ipv4"), (true, "ip6", "ipv6")] {
            let of = |prefixes: &[IpNet]| {
                let prefixes = prefixes.iter().filter(|p| p.addr().is_ipv6() == ipv6);
                prefixes.map(|p| p.trunc().to_string()).collect::<Vec<_>>().join(", ")
            };
            let (local, remote) = (of(&tunnel.local_prefixes), of(&tunnel.remote_prefixes));
            let mut rule = |interface: &str, rest: String| {
                let _ = writeln!(script, "\t\t{interface} \"{name}\" {rest} counter drop");
            };
            if local.is_empty() || remote.is_empty() {
                rule("iifname", format!("meta nfproto {protocol}"));
                if forwarded {
                    rule("oifname", format!("meta nfproto {protocol}"));
                }
                continue;
            }
            rule("iifname", format!("{family} saddr != {{ {remote} }}"));
            rule("iifname", format!("{family} daddr != {{ {local} }}"));
            if forwarded {
                rule("oifname", format!("{family} saddr != {{ {local} }}"));
                rule("oifname", format!("{family} daddr != {{ {remote} }}"));
            }
        }
    }
}

/// What enters by one segment's LANs or TUN leaves by none of another's.
fn add_isolation(script: &mut String, edge: &EdgeState) {
    if edge.segments.len() < 2 {
        return;
    }
    let devices = |segment: SegmentId| -> BTreeSet<String> {
        let lans = edge.lans.iter().filter(|l| l.segment == segment).map(|l| l.device());
        let manual = edge.manual_tunnels.iter().filter(|t| t.segment == segment);
        let manual = manual.map(ManualTunnel::link_name);
        let gateways = gateway_interfaces(edge, segment);
        lans.chain([tun_name(segment)]).chain(gateways).chain(manual).collect()
    };
    for &segment in edge.segments.keys() {
        let others: BTreeSet<String> =
            edge.segments.keys().filter(|&&s| s != segment).flat_map(|&s| devices(s)).collect();
        let (from, to) = (devices(segment), others);
        let _ =
            writeln!(script, "\t\tiifname {} oifname {} counter drop", names(&from), names(&to));
    }
}

/// The host's own traffic: from a LAN's address to the overlay never by an uplink, and no GRE in clear either way.
fn add_own_traffic(script: &mut String, uplinks: &str, ipsec: bool, edge: &EdgeState) {
    let beyond = !edge.ike_tunnels.is_empty() || !edge.manual_tunnels.is_empty();
    let (sent, received) =
        if ipsec { ("rt ipsec missing ", "meta secpath missing ") } else { ("", "") };
    script
        .push_str("\tchain output {\n\t\ttype filter hook output priority -150; policy accept;\n");
    let _ =
        writeln!(script, "\t\toifname {uplinks} ip saddr @own4 ip daddr @overlay4 counter drop");
    let _ =
        writeln!(script, "\t\toifname {uplinks} ip6 saddr @own6 ip6 daddr @overlay6 counter drop");
    // By number: a minimal system has no /etc/protocols to look names up in.
    let _ = writeln!(script, "\t\toifname {uplinks} meta l4proto 47 {sent}counter drop");
    add_quotes(script, uplinks);
    if beyond {
        add_beyond(script, uplinks, ipsec, &[Way::Out]);
    }
    script.push_str(
        "\t}\n\tchain input {\n\t\ttype filter hook input priority -150; policy accept;\n",
    );
    let _ = writeln!(script, "\t\tiifname {uplinks} meta l4proto 47 {received}counter drop");
    if beyond {
        add_beyond(script, uplinks, ipsec, &[Way::In]);
    }
    edge.manual_tunnels.iter().for_each(|tunnel| add_sources(script, tunnel, false));
    script.push_str("\t}\n");
}

/// Where the kernel has decrypted GRE that belongs to none of its interfaces (one that moves, or is gone), it answers with an
/// ICMP error which quotes what it has decrypted, and goes out in clear. The protocol that is quoted stands behind 8 octets of
/// ICMP in the header quoted.
fn add_quotes(script: &mut String, uplinks: &str) {
    for (errors, protocol_at) in
        [("icmp type { 3, 11, 12 }", 8 * (8 + 9)), ("icmpv6 type { 1, 2, 3, 4 }", 8 * (8 + 6))]
    {
        let _ =
            writeln!(script, "\t\toifname {uplinks} {errors} @th,{protocol_at},8 47 counter drop");
    }
}

/// What comes by an uplink for this host itself is marked, for the check of where its source is. After the kernel driver's
/// marks, which it replaces.
fn add_underlay(script: &mut String, uplinks: &str) {
    let (rest, mark) = (!MARK_MASK, UNDERLAY_MARK);
    script.push_str(
        "\tchain underlay {\n\t\ttype filter hook prerouting priority -140; policy accept;\n",
    );
    let _ = writeln!(
        script,
        "\t\tiifname {uplinks} fib daddr type local meta mark set meta mark & {rest:#010x} | {mark:#010x}"
    );
    script.push_str("\t}\n");
}

/// What comes out of a manual tunnel's own device is of what is behind the peer; what is forwarded, for what is offered to it.
fn add_sources(script: &mut String, tunnel: &ManualTunnel, forwarded: bool) {
    let device = tunnel.link_name();
    for (family, ipv6) in [("ip", false), ("ip6", true)] {
        let list = |prefixes: &[IpNet]| {
            let of_family = prefixes.iter().filter(|p| p.addr().is_ipv6() == ipv6);
            of_family.map(|p| p.trunc().to_string()).collect::<Vec<_>>().join(", ")
        };
        let (beyond, own) = (list(&tunnel.remote_prefixes), list(&tunnel.local_prefixes));
        if beyond.is_empty() || own.is_empty() {
            let number = if ipv6 { "ipv6" } else { "ipv4" };
            let _ = writeln!(script, "\t\tiifname \"{device}\" meta nfproto {number} counter drop");
            continue;
        }
        let drop = |field, prefixes: &str| {
            format!("\t\tiifname \"{device}\" {family} {field} != {{ {prefixes} }} counter drop\n")
        };
        script.push_str(&drop("saddr", &beyond));
        if forwarded {
            script.push_str(&drop("daddr", &own));
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Out,
    In,
}

/// What is beyond a gateway that is not Hawser is reached, and reaches us, under the protection of IPsec only.
fn add_beyond(script: &mut String, uplinks: &str, ipsec: bool, ways: &[Way]) {
    for way in ways {
        let (interface, address, clear) = match way {
            Way::Out => ("oifname", "daddr", "rt ipsec missing "),
            Way::In => ("iifname", "saddr", "meta secpath missing "),
        };
        let clear = if ipsec { clear } else { "" };
        for (family, suffix) in [("ip", 4), ("ip6", 6)] {
            let _ = writeln!(
                script,
                "\t\t{interface} {uplinks} {family} {address} @beyond{suffix} {clear}counter drop"
            );
        }
    }
}

fn names<T: AsRef<str>>(names: &BTreeSet<T>) -> String {
    let quoted: Vec<String> = names.iter().map(|n| format!("\"{}\"", n.as_ref())).collect();
    format!("{{ {} }}", quoted.join(", "))
}
