//! Addresses, prefixes, interfaces, ports.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::{Place, Reader};
use crate::document::Node;
use crate::fault::{code, quote};
use crate::intent::PortRange;

/// `host:port` or `[IPv6]:port`.
pub(super) fn is_endpoint(text: &str) -> bool {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return address.port() != 0 && usable(address.ip());
    }
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    // A host of digits and dots only that is no address is a mistyped address.
    let named = host.bytes().any(|b| b.is_ascii_alphabetic());
    named
        && host.len() <= 253
        && host.split('.').all(label)
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// Whether one host can have it, seen from another.
fn usable(address: IpAddr) -> bool {
    let special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !special && !link_local
}

/// Whether an overlay may carry it. Not the default route: the guard would cut the edge off from its own uplinks.
fn routable(prefix: &IpNet) -> bool {
    prefix.prefix_len() > 0 && usable(prefix.network()) && usable(prefix.addr())
}

impl Reader {
    pub fn address(&mut self, node: &Node, place: &Place<'_>) -> Option<IpAddr> {
        let text = self.node_text(node, place)?;
        let Ok(address) = text.parse::<IpAddr>() else {
            let message = format!("{} is no IP address", quote(&text));
            let mend = match text.split_once('/') {
                Some((address, _)) if address.parse::<IpAddr>().is_ok() => {
                    format!("leave the prefix length out: {address}")
                }
                _ => "write an IPv4 or IPv6 address, without port".to_owned(),
            };
            self.faults.add(code::ADDRESS_INVALID, place, message, mend);
            return None;
        };
        if !usable(address) {
            let message = format!("{address} can't be the address of a host that others reach");
            let mend = "write a unicast address";
            self.faults.add(code::ADDRESS_NOT_USABLE, place, message, mend);
            return None;
        }
        Some(address)
    }

    /// Also the next hop of an uplink, which may be link-local.
    pub fn gateway(&mut self, node: &Node, place: &Place<'_>) -> Option<IpAddr> {
        match node {
            Node::Text(text) => match text.parse::<IpAddr>() {
                Ok(IpAddr::V6(v6)) if v6.is_unicast_link_local() => Some(IpAddr::V6(v6)),
                _ => self.address(node, place),
            },
            other => self.address(other, place),
        }
    }

    /// A prefix without host bits.
    pub fn prefix(&mut self, node: &Node, place: &Place<'_>) -> Option<IpNet> {
        let text = self.node_text(node, place)?;
        let Ok(prefix) = text.parse::<IpNet>() else {
            let message = format!("{} is no prefix", quote(&text));
            let mend = match text.parse::<IpAddr>() {
                Ok(address) if address.is_ipv4() => format!("add a length, e.g. {address}/32"),
                Ok(address) => format!("add a length, e.g. {address}/128"),
                Err(_) => "write ADDRESS/LENGTH, e.g. 10.1.0.0/24".to_owned(),
            };
            self.faults.add(code::PREFIX_INVALID, place, message, mend);
            return None;
        };
        if prefix != prefix.trunc() {
            let message = format!("{prefix} has bits set beyond its length");
            let mend = format!("write {}", prefix.trunc());
            self.faults.add(code::HOST_BITS_SET, place, message, mend);
            return None;
        }
        Some(prefix)
    }

    /// A prefix that a LAN can have.
    pub fn lan_prefix(&mut self, node: &Node, place: &Place<'_>) -> Option<IpNet> {
        let prefix = self.prefix(node, place)?;
        if routable(&prefix) {
            return Some(prefix);
        }
        let message = format!("{prefix} can't be carried by an overlay");
        let mend = "write the prefixes of the LAN's hosts: unicast, and no default route";
        self.faults.add(code::PREFIX_NOT_USABLE, place, message, mend);
        None
    }

    /// Checks a name that Linux accepts for an interface, and that is not one of ours.
    pub fn interface(&mut self, name: &str, place: &Place<'_>) {
        let fits = |c: char| c.is_ascii_graphic() && !"/:%\"'\\".contains(c);
        let reserved = name == "lo" || name == "all" || name == "default";
        let dots = name == "." || name == "..";
        let good = (1..=15).contains(&name.len()) && name.chars().all(fits) && !reserved && !dots;
        if !good || name.starts_with("hawser") {
            let message = format!("{} can't be the name of such an interface", quote(name));
            let mend =
                "write the name as `ip link` shows it; names that begin with hawser are ours";
            self.faults.add(code::INTERFACE_INVALID, place, message, mend);
        }
    }

    /// `5060`, `"5060"` or `"5060-5090"`.
    pub fn port_range(&mut self, node: &Node, place: &Place<'_>) -> Option<PortRange> {
        let text = match node {
            Node::Integer(port) => port.to_string(),
            other => self.node_text(other, place)?,
        };
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let parse = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse::<u16>().ok()).flatten()
        };
        match (parse(first), parse(last)) {
            (Some(first), Some(last)) if first <= last => Some(PortRange { first, last }),
            _ => {
                let message = format!("{} is no port or range of ports", quote(&text));
                let mend = "write a port, or FIRST-LAST with FIRST not above LAST, up to 65535";
                self.faults.add(code::PORT_RANGE_INVALID, place, message, mend);
                None
            }
        }
    }
}
