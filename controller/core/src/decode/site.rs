//! Sites, their LANs, edges and uplinks.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::ike::{self, ike_tunnel};
use super::manual::manual_tunnel;
use super::quantity::RATE;
use super::{Fields, MAIN_SEGMENT, Place, PlacedPrefix, Reader};
use crate::document::Node;
use crate::fault::{code, quote};
use crate::intent::{
    Edge, EdgeName, Family, Lan, SegmentName, Site, SiteName, TransportName, Uplink, UplinkName,
    UplinkUse,
};
use crate::limits;
use crate::names::{FLEET, Kind};

pub(super) const SITE_FIELDS: &[&str] = &["name", "lans", "edges", "drain"];
pub(super) const LAN_FIELDS: &[&str] =
    &["interface", "segment", "prefixes", "vlan", "shared_origin"];
pub(super) const EDGE_FIELDS: &[&str] =
    &["name", "uplinks", "ike_tunnels", "manual_tunnels", "drain"];
pub(super) const UPLINK_FIELDS: &[&str] = &[
    "name",
    "interface",
    "transport",
    "provider",
    "addresses",
    "families",
    "gateways",
    "cost",
    "metered",
    "use",
    "drain",
    "bandwidth_up_mbps",
    "bandwidth_down_mbps",
    "probe_budget",
    "probe_budget_kbps",
];

pub(super) fn site(reader: &mut Reader, node: &Node, place: &Place<'_>, index: usize) -> Site {
    let fields = reader.fields(node, place, SITE_FIELDS);
    let name = reader.required_label(&fields, "name");
    reader.names.declare(&mut reader.faults, Kind::Site, FLEET, &name, fields.at("name"));
    let lans = reader.list(&fields, "lans", limits::MAX_LANS_PER_SITE, |reader, node, at| {
        lan(reader, node, at, place, index)
    });
    let mut number = 0;
    let edges = reader.list(&fields, "edges", limits::MAX_EDGES_PER_SITE, |reader, node, at| {
        number += 1;
        edge(reader, node, at, (&name, index), number, &lans)
    });
    let unread = fields.get("edges").is_some_and(|node| !matches!(node, Node::List(_)));
    if fields.complete && edges.is_empty() && !unread {
        let mend = "add `edges:` with at least one edge and its uplinks";
        reader.faults.add(code::SITE_WITHOUT_EDGE, place, "the site has no edge", mend);
    }
    let drained = reader.flag(&fields, "drain", false);
    Site { name: SiteName::new(name), lans, edges, drained }
}

fn lan(
    reader: &mut Reader,
    node: &Node,
    place: &Place<'_>,
    site_place: &Place<'_>,
    site: usize,
) -> Lan {
    let fields = reader.fields(node, place, LAN_FIELDS);
    let interface = required_interface(reader, &fields);
    let segment = reader.reference_field(&fields, "segment", Kind::Segment);
    let segment = segment.unwrap_or_else(|| {
        if fields.complete && fields.get("segment").is_none() {
            reader.names.refer(Kind::Segment, MAIN_SEGMENT, fields.at("segment"));
        }
        MAIN_SEGMENT.to_owned()
    });
    let vlan = reader.integer(&fields, "vlan", 0, 0..=4094) as u16;
    let shared_origin = reader.flag(&fields, "shared_origin", false);
    if !interface.is_empty() {
        let scope = site_place.to_string();
        let key = match vlan {
            0 => interface.clone(),
            vlan => format!("{interface} with VLAN {vlan}"),
        };
        reader.names.declare(&mut reader.faults, Kind::Lan, &scope, &key, place);
    }
    let max = limits::MAX_PREFIXES_PER_LAN;
    let prefixes = reader.list(&fields, "prefixes", max, |reader, node, at| {
        let prefix = reader.lan_prefix(node, at)?;
        let scope = format!("{site_place}/{segment}");
        let text = prefix.to_string();
        if reader.names.declare(&mut reader.faults, Kind::Prefix, &scope, &text, at) {
            let (segment, path) = (segment.clone(), at.to_string());
            reader.prefixes.push(PlacedPrefix { segment, prefix, site, shared_origin, path });
        }
        Some(prefix)
    });
    if fields.complete && fields.get("prefixes").is_none_or(|n| *n == Node::List(Vec::new())) {
        let mend = "add `prefixes:` with what its hosts use, or remove the LAN";
        reader.faults.add(code::LAN_WITHOUT_PREFIX, place, "the LAN has no prefix", mend);
    }
    let prefixes: Vec<IpNet> = prefixes.into_iter().flatten().collect();
    Lan { interface, segment: SegmentName::new(segment), prefixes, vlan, shared_origin }
}

fn required_interface(reader: &mut Reader, fields: &Fields<'_>) -> String {
    if fields.get("interface").is_none() {
        reader.missing(fields, "interface");
        return String::new();
    }
    let Some(interface) = reader.text(fields, "interface") else { return String::new() };
    reader.interface(&interface, &fields.at("interface"));
    interface
}

fn edge(
    reader: &mut Reader,
    node: &Node,
    place: &Place<'_>,
    (site, site_index): (&str, usize),
    number: usize,
    lans: &[Lan],
) -> Edge {
    let fields = reader.fields(node, place, EDGE_FIELDS);
    let name_place = fields.at("name");
    let name = if fields.get("name").is_some() {
        reader.optional_label(&fields, "name").unwrap_or_default()
    } else if site.is_empty() {
        String::new()
    } else {
        let name = format!("{site}-{number}");
        if name.len() > 63 && site.len() <= 63 {
            reader.label(&name, &name_place);
        }
        name
    };
    reader.names.declare(&mut reader.faults, Kind::Edge, FLEET, &name, name_place);
    let max = limits::MAX_UPLINKS_PER_EDGE;
    let uplinks = reader
        .list(&fields, "uplinks", max, |reader, node, at| uplink(reader, node, at, place, lans));
    let unread = fields.get("uplinks").is_some_and(|node| !matches!(node, Node::List(_)));
    if fields.complete && uplinks.is_empty() && !unread {
        let mend = "add `uplinks:` with at least one uplink";
        reader.faults.add(code::EDGE_WITHOUT_UPLINK, place, "the edge has no uplink", mend);
    }
    let own = ike::At { place, site: site_index, lans, uplinks: &uplinks };
    let max = limits::MAX_IKE_TUNNELS_PER_EDGE;
    let ike_tunnels = reader
        .list(&fields, "ike_tunnels", max, |reader, node, at| ike_tunnel(reader, node, at, &own));
    let max = limits::MAX_MANUAL_TUNNELS_PER_EDGE;
    let manual_tunnels = reader.list(&fields, "manual_tunnels", max, |reader, node, at| {
        manual_tunnel(reader, node, at, &own)
    });
    let drained = reader.flag(&fields, "drain", false);
    Edge { name: EdgeName::new(name), uplinks, ike_tunnels, manual_tunnels, drained }
}

fn uplink(
    reader: &mut Reader,
    node: &Node,
    place: &Place<'_>,
    edge_place: &Place<'_>,
    lans: &[Lan],
) -> Uplink {
    let fields = reader.fields(node, place, UPLINK_FIELDS);
    let scope = edge_place.to_string();
    let name = reader.required_label(&fields, "name");
    reader.names.declare(&mut reader.faults, Kind::Uplink, &scope, &name, fields.at("name"));
    reader.names.note(Kind::Uplink, &name);
    let interface = uplink_interface(reader, &fields, &name, &scope, lans);
    let transport = reader.optional_label(&fields, "transport");
    let transport = transport.unwrap_or_else(|| "internet".to_owned());
    reader.names.note(Kind::Transport, &transport);
    let provider = reader.optional_label(&fields, "provider").unwrap_or_else(|| name.clone());
    let addresses = addresses(reader, &fields, &transport);
    let families = families(reader, &fields, &addresses);
    let max = limits::MAX_ADDRESSES_PER_UPLINK;
    let gateways = reader.list(&fields, "gateways", max, |reader, node, at| {
        let gateway = reader.gateway(node, at)?;
        of_family(reader, gateway, families.as_ref(), at);
        Some(gateway)
    });
    let metered = reader.flag(&fields, "metered", false);
    let mbps = |value: Option<f64>| (value.unwrap_or(0.0) * 1_000.0).round() as u64;
    Uplink {
        name: UplinkName::new(name),
        interface,
        transport: TransportName::new(transport),
        provider,
        addresses: addresses.into_iter().flatten().collect(),
        families: families.unwrap_or_default(),
        gateways: gateways.into_iter().flatten().collect(),
        cost: reader.integer(&fields, "cost", 10, 0..=1_000_000) as u32,
        metered,
        usage: usage(reader, &fields, metered),
        drained: reader.flag(&fields, "drain", false),
        bandwidth_up_kbps: mbps(reader.number(&fields, "bandwidth_up_mbps", 0.0..=1_000_000.0)),
        bandwidth_down_kbps: mbps(reader.number(&fields, "bandwidth_down_mbps", 0.0..=1_000_000.0)),
        probe_budget_bytes_per_s: probe_budget(reader, &fields),
    }
}

/// Who pays by volume wants to pay for traffic.
fn usage(reader: &mut Reader, fields: &Fields<'_>, metered: bool) -> UplinkUse {
    let words = [
        ("normal", UplinkUse::Normal),
        ("standby", UplinkUse::Standby),
        ("last-resort", UplinkUse::LastResort),
    ];
    let absent = if metered { UplinkUse::Standby } else { UplinkUse::Normal };
    reader.word(fields, "use", &words).unwrap_or(absent)
}

fn probe_budget(reader: &mut Reader, fields: &Fields<'_>) -> u64 {
    let range = 1_000..=1_000_000_000;
    let bits_per_s = reader.quantity(fields, "probe_budget", &RATE, range);
    let plain = reader.integer(fields, "probe_budget_kbps", 0, 0..=1_000_000);
    if fields.get("probe_budget").is_none() {
        return plain as u64 * 125;
    }
    if fields.get("probe_budget_kbps").is_some() {
        let at = fields.at("probe_budget_kbps");
        let message = "probe_budget is given too";
        reader.faults.add(code::FIELD_CONFLICT, at, message, "keep probe_budget");
    }
    bits_per_s.unwrap_or(0) / 8
}

/// One socket is bound to each uplink's interface, and a LAN's packets never leave by one.
fn uplink_interface(
    reader: &mut Reader,
    fields: &Fields<'_>,
    name: &str,
    scope: &str,
    lans: &[Lan],
) -> String {
    let place = fields.at("interface");
    let interface = match reader.text(fields, "interface") {
        Some(interface) => interface,
        None if fields.get("interface").is_none() => name.to_owned(),
        None => return String::new(),
    };
    if interface.is_empty() && fields.get("interface").is_none() {
        return interface;
    }
    reader.interface(&interface, &place);
    if lans.iter().any(|lan| lan.interface == interface && !interface.is_empty()) {
        let message = format!("{} is an interface of a LAN of this site", quote(&interface));
        let mend = "an interface is either a LAN's or an uplink's";
        reader.faults.add(code::INTERFACE_CLASH, place, message, mend);
    } else {
        reader.names.declare(&mut reader.faults, Kind::Interface, scope, &interface, place);
    }
    interface
}

fn addresses(reader: &mut Reader, fields: &Fields<'_>, transport: &str) -> Vec<Option<IpAddr>> {
    match fields.get("addresses") {
        Some(Node::Text(word)) if word == "discover" => return Vec::new(),
        Some(Node::Text(word)) => {
            let message = format!("{} can't stand here", quote(word));
            let mend = "write a list of addresses, or discover";
            reader.faults.add(code::UNKNOWN_WORD, fields.at("addresses"), message, mend);
            return Vec::new();
        }
        _ => {}
    }
    let max = limits::MAX_ADDRESSES_PER_UPLINK;
    reader.list(fields, "addresses", max, |reader, node, at| {
        let address = reader.address(node, at)?;
        let text = address.to_string();
        reader.names.declare(&mut reader.faults, Kind::Address, transport, &text, at);
        Some(address)
    })
}

/// By default those of the addresses; IPv4 if they are discovered. None: they could not be read.
fn families(
    reader: &mut Reader,
    fields: &Fields<'_>,
    addresses: &[Option<IpAddr>],
) -> Option<BTreeSet<Family>> {
    let place = fields.at("families");
    let Some(node) = fields.get("families") else {
        let found: BTreeSet<Family> = addresses.iter().flatten().copied().map(Family::of).collect();
        return Some(if found.is_empty() { BTreeSet::from([Family::Ipv4]) } else { found });
    };
    let Node::List(items) = node else {
        reader.wrong_type(place, "a list", node);
        return None;
    };
    let mut families = BTreeSet::new();
    for (index, item) in items.iter().enumerate().take(2) {
        let at = Place::Item(&place, index);
        match reader.node_text(item, &at)?.as_str() {
            "ipv4" => families.insert(Family::Ipv4),
            "ipv6" => families.insert(Family::Ipv6),
            other => {
                let message = format!("{} is no address family", quote(other));
                reader.faults.add(code::UNKNOWN_WORD, at, message, "write ipv4 or ipv6");
                return None;
            }
        };
    }
    if families.is_empty() || families.len() != items.len() {
        let message = "this must be ipv4, ipv6 or both, each once";
        reader.faults.add(code::ADDRESS_FAMILY, place, message, "write [ipv4], [ipv6] or both");
        return None;
    }
    let list = fields.at("addresses");
    for (index, address) in addresses.iter().enumerate() {
        if let Some(address) = address {
            of_family(reader, *address, Some(&families), &Place::Item(&list, index));
        }
    }
    Some(families)
}

fn of_family(
    reader: &mut Reader,
    address: IpAddr,
    families: Option<&BTreeSet<Family>>,
    place: &Place<'_>,
) {
    if families.is_some_and(|families| !families.contains(&Family::of(address))) {
        let message = format!("{address} is of no family of this uplink");
        let mend = "add its family to `families`, or remove it";
        reader.faults.add(code::ADDRESS_FAMILY, place, message, mend);
    }
}
