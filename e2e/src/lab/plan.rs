//! From a topology to the commands that make it, pure.

use super::topology::{Link, LinkKind, Node, Topology};
use std::fmt::Write;

/// Lines for `ip -batch` in the lab's own namespace: all direct cables.
pub(crate) fn cables(topology: &Topology) -> String {
    let mut lines = String::new();
    for link in topology.links.values().filter(|link| link.kind == LinkKind::Veth) {
        let Link { mtu, a, b, .. } = link;
        let _ = writeln!(
            lines,
            "link add name {} netns {} mtu {mtu} type veth peer name {} netns {} mtu {mtu}",
            a.interface, a.node, b.interface, b.node
        );
    }
    lines
}

/// Lines for `ip -batch` in a node's namespace: MTUs, addresses, interfaces up.
pub(crate) fn interfaces(topology: &Topology, node: &str) -> String {
    let mut lines = String::from("link set lo up\n");
    for (name, end) in topology.ends_of(node) {
        let interface = &end.interface;
        let mtu = topology.links[name].mtu;
        let _ = writeln!(lines, "link set dev {interface} mtu {mtu} up");
        for address in &end.addresses {
            // Duplicate address detection would keep an address unusable for a second.
            let nodad = if address.addr().is_ipv6() { " nodad" } else { "" };
            let _ = writeln!(lines, "address add {address} dev {interface}{nodad}");
        }
    }
    lines
}

/// Lines for `ip -batch` in a node's namespace, once all interfaces of the lab are up.
pub(crate) fn routes(node: &Node) -> String {
    let mut lines = String::new();
    for route in &node.routes {
        let to = match route.to.as_str() {
            // In a batch there is no other way to say which family is meant.
            "default" if route.via.is_ipv6() => "::/0",
            to => to,
        };
        let _ = write!(lines, "route add {to} via {}", route.via);
        if let Some(dev) = &route.dev {
            let _ = write!(lines, " dev {dev}");
        }
        if let Some(metric) = route.metric {
            let _ = write!(lines, " metric {metric}");
        }
        lines.push('\n');
    }
    lines
}

/// Script for `nft -f -`, or nothing.
pub(crate) fn nat(node: &Node) -> Option<String> {
    if node.masquerade.is_empty() {
        return None;
    }
    let mut script = String::from("table ip nat {\n chain postrouting {\n");
    script.push_str("  type nat hook postrouting priority srcnat; policy accept;\n");
    for masquerade in &node.masquerade {
        let how = if masquerade.random_ports { " fully-random" } else { "" };
        let _ = writeln!(script, "  oifname \"{}\" masquerade{how}", masquerade.interface);
    }
    script.push_str(" }\n}\n");
    Some(script)
}

/// (dotted name, value), to be written before the node has interfaces, which inherit them.
pub(crate) fn sysctls(node: &Node) -> [(&'static str, &'static str); 12] {
    let forward = if node.kind.forwards() { "1" } else { "0" };
    [
        ("net.ipv4.ip_forward", forward),
        ("net.ipv6.conf.all.forwarding", forward),
        ("net.ipv6.conf.default.forwarding", forward),
        // The description says all addresses and routes; nothing is to be learned, tried, or waited for.
        ("net.ipv6.conf.all.accept_dad", "0"),
        ("net.ipv6.conf.default.accept_dad", "0"),
        ("net.ipv6.conf.all.accept_ra", "0"),
        ("net.ipv6.conf.default.accept_ra", "0"),
        ("net.ipv4.conf.all.accept_redirects", "0"),
        ("net.ipv4.conf.all.send_redirects", "0"),
        ("net.ipv4.conf.default.send_redirects", "0"),
        // Nodes with two uplinks answer by another than the question came by.
        ("net.ipv4.conf.all.rp_filter", "0"),
        ("net.ipv4.conf.default.rp_filter", "0"),
    ]
}
