//! Faults in a topology, all of them, each with its place and the mend.

use super::topology::{Link, LinkKind, Node, Route, Topology};
use crate::wan::Settings;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::fmt;

/// Bounds of a lab: what one small machine can carry.
const MAX_NODES: usize = 64;
const MAX_LINKS: usize = 128;
/// IFNAMSIZ without its terminating zero.
const MAX_INTERFACE_NAME: usize = 15;
/// RFC 8200 §5: every IPv6 link carries 1280 octets.
const MTU: std::ops::RangeInclusive<u32> = 1280..=9000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Path of the field, as `links.hq-lan.a.interface`.
    pub place: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

pub(super) fn faults(topology: &Topology) -> Vec<Fault> {
    let mut found = Faults::default();
    found.name("name", &topology.name, 32);
    if topology.nodes.len() > MAX_NODES {
        found.add("nodes", format!("more than {MAX_NODES} nodes; split the topology"));
    }
    if topology.links.len() > MAX_LINKS {
        found.add("links", format!("more than {MAX_LINKS} links; split the topology"));
    }
    for (name, link) in &topology.links {
        found.link(topology, name, link);
    }
    found.twice(topology);
    for (name, node) in &topology.nodes {
        found.node(topology, name, node);
    }
    found.0
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.0.push(Fault { place: place.into(), message: message.into() });
    }

    /// Names become file names, and words on the command lines of `ip`.
    fn name(&mut self, place: &str, name: &str, max_len: usize) {
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
        if !starts || name.len() > max_len || !name.chars().all(fine) {
            self.add(
                place,
                format!("`{name}` is no name; use a to z, 0 to 9, - _ . and a letter first, at most {max_len}"),
            );
        }
    }

    fn link(&mut self, topology: &Topology, name: &str, link: &Link) {
        let place = format!("links.{name}");
        self.name(&place, name, 32);
        if !MTU.contains(&link.mtu) {
            let (min, max) = (MTU.start(), MTU.end());
            self.add(
                format!("{place}.mtu"),
                format!("{} is out of range; use {min} to {max}", link.mtu),
            );
        }
        if link.kind == LinkKind::Veth && !link.impair.is_empty() {
            self.add(
                format!("{place}.impair"),
                "a veth link has no faults; make it `kind: wan`, or remove this",
            );
        }
        let mut settings = Settings::default();
        for (index, change) in link.impair.iter().enumerate() {
            match settings.with(change) {
                Ok(next) => settings = next,
                Err(error) => self.add(format!("{place}.impair.{index}"), error.to_string()),
            }
        }
        for (side, end) in [("a", &link.a), ("b", &link.b)] {
            let place = format!("{place}.{side}");
            if !topology.nodes.contains_key(&end.node) {
                self.add(
                    format!("{place}.node"),
                    format!("there is no node `{}`; add it to `nodes`", end.node),
                );
            }
            self.name(&format!("{place}.interface"), &end.interface, MAX_INTERFACE_NAME);
            if end.interface == "lo" {
                self.add(format!("{place}.interface"), "`lo` exists already; choose another name");
            }
            for (index, address) in end.addresses.iter().enumerate() {
                self.address(&format!("{place}.addresses.{index}"), *address);
            }
        }
    }

    fn address(&mut self, place: &str, net: IpNet) {
        let address = net.addr();
        let host_bits_zero = address == net.network() && net.prefix_len() < net.max_prefix_len();
        let point_to_point = net.prefix_len() + 1 == net.max_prefix_len();
        if address.is_multicast() || address.is_unspecified() || (host_bits_zero && !point_to_point)
        {
            self.add(place, format!("{net} is no host's address; write for example 192.0.2.1/24"));
        }
    }

    /// What must be unique over all links: an interface of a node, an address of the lab.
    fn twice(&mut self, topology: &Topology) {
        let mut interfaces = BTreeMap::new();
        let mut addresses = BTreeMap::new();
        for (name, link) in &topology.links {
            for (side, end) in [("a", &link.a), ("b", &link.b)] {
                let place = format!("links.{name}.{side}");
                let key = (&end.node, &end.interface);
                if let Some(first) = interfaces.insert(key, place.clone()) {
                    let message = format!(
                        "{first} has the interface `{}` already; rename one",
                        end.interface
                    );
                    self.add(format!("{place}.interface"), message);
                }
                for address in end.addresses.iter().map(IpNet::addr) {
                    if let Some(first) = addresses.insert(address, place.clone()) {
                        let message = format!("{first} has {address} already; change one");
                        self.add(format!("{place}.addresses"), message);
                    }
                }
            }
        }
    }

    fn node(&mut self, topology: &Topology, name: &str, node: &Node) {
        let place = format!("nodes.{name}");
        self.name(&place, name, 32);
        for key in node.sysctls.keys() {
            let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if !key.starts_with("net.") || key.contains("..") || !key.chars().all(fine) {
                self.add(
                    format!("{place}.sysctls"),
                    format!("`{key}` is not under net.; only those belong to a node"),
                );
            }
        }
        let has =
            |interface: &str| topology.ends_of(name).any(|(_, end)| end.interface == interface);
        for (index, masquerade) in node.masquerade.iter().enumerate() {
            if !has(&masquerade.interface) {
                self.add(
                    format!("{place}.masquerade.{index}"),
                    format!("no link has the interface `{}` of this node", masquerade.interface),
                );
            }
        }
        for (index, route) in node.routes.iter().enumerate() {
            self.route(topology, name, &format!("{place}.routes.{index}"), route);
        }
    }

    fn route(&mut self, topology: &Topology, node: &str, place: &str, route: &Route) {
        if route.to != "default" {
            match route.to.parse::<IpNet>() {
                Err(_) => {
                    self.add(place, format!("`{}` is neither a prefix nor default", route.to))
                }
                Ok(net) if net.trunc() != net => {
                    self.add(place, format!("{net} has host bits; write {}", net.trunc()));
                }
                Ok(net) if net.addr().is_ipv6() != route.via.is_ipv6() => {
                    self.add(place, format!("{net} and {} are of two families", route.via));
                }
                Ok(_) => {}
            }
        }
        let wanted = |interface: &str| route.dev.as_deref().is_none_or(|dev| dev == interface);
        let on_link = topology
            .ends_of(node)
            .filter(|(_, end)| wanted(&end.interface))
            .any(|(_, end)| end.addresses.iter().any(|net| net.contains(&route.via)));
        if !on_link {
            self.add(
                place,
                format!(
                    "via {} is in no subnet of this node's interfaces; use a neighbour",
                    route.via
                ),
            );
        }
    }
}
