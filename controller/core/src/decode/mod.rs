//! A tree to an intent. A fault never stops the reading: what can't be read gets a placeholder, so that the places of
//! what follows stay right.

mod class;
mod field;
pub(crate) mod ike;
pub(crate) mod manual;
mod profile;
mod quantity;
mod site;
mod sla;
mod topology;
mod value;

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::document::Node;
use crate::fault::{Faults, code};
use crate::intent::{Fleet, SegmentName, TransportName, TransportPairs};
use crate::limits;
use crate::names::{FLEET, Kind, Names};
pub(crate) use field::{Fields, Place};

/// What is gathered while reading.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub faults: Faults,
    pub names: Names,
    pub prefixes: Vec<PlacedPrefix>,
}

/// A LAN's prefix, for the checks across sites.
#[derive(Debug)]
pub(crate) struct PlacedPrefix {
    pub segment: String,
    pub prefix: IpNet,
    pub site: usize,
    pub shared_origin: bool,
    pub path: String,
}

const FIELDS: &[&str] = &[
    "fleet",
    "segments",
    "transports",
    "controllers",
    "fabric_port",
    "sla_classes",
    "tunnel_profiles",
    "traffic_classes",
    "sites",
    "topologies",
];

const SEGMENT_FIELDS: &[&str] = &["name"];
const TRANSPORTS_FIELDS: &[&str] = &["pairs"];

/// Every mapping of a document, and the fields that it may have.
#[cfg(test)]
pub(crate) const MAPPINGS: &[(&str, &[&str])] = &[
    ("fleet.yaml", FIELDS),
    ("segments[]", SEGMENT_FIELDS),
    ("transports", TRANSPORTS_FIELDS),
    ("sla_classes[]", sla::SLA_FIELDS),
    ("tunnel_profiles[]", profile::PROFILE_FIELDS),
    ("tunnel_profiles[].waiver", profile::WAIVER_FIELDS),
    ("traffic_classes[]", class::CLASS_FIELDS),
    ("traffic_classes[].match[]", class::MATCH_FIELDS),
    ("sites[]", site::SITE_FIELDS),
    ("sites[].lans[]", site::LAN_FIELDS),
    ("sites[].edges[]", site::EDGE_FIELDS),
    ("sites[].edges[].uplinks[]", site::UPLINK_FIELDS),
    ("sites[].edges[].ike_tunnels[]", ike::IKE_FIELDS),
    ("sites[].edges[].ike_tunnels[].probe", ike::links::PROBE_FIELDS),
    ("sites[].edges[].manual_tunnels[]", manual::MANUAL_FIELDS),
    ("sites[].edges[].manual_tunnels[].inbound", manual::KEY_FIELDS),
    ("sites[].edges[].manual_tunnels[].outbound", manual::KEY_FIELDS),
    ("topologies[]", topology::ALL_FIELDS),
];

pub(crate) fn fleet(reader: &mut Reader, tree: &Node) -> Fleet {
    let root = Place::Root;
    let fields = reader.fields(tree, &root, FIELDS);
    let name = reader.required_label(&fields, "fleet");
    let segments = segments(reader, &fields);
    let transport_pairs = transports(reader, &fields);
    let controllers = controllers(reader, &fields);
    let fabric_port = fabric_port(reader, &fields);
    let sla_classes = sla::sla_classes(reader, &fields);
    let tunnel_profiles = profile::profiles(reader, &fields);
    let traffic_classes = class::traffic_classes(reader, &fields);
    let mut index = 0;
    let sites = reader.list(&fields, "sites", limits::MAX_SITES, |reader, node, place| {
        index += 1;
        site::site(reader, node, place, index - 1)
    });
    if fields.complete && sites.is_empty() {
        let mend = "add `sites:` with at least one `- name: NAME`";
        reader.faults.add(code::MISSING_FIELD, "sites", "the fleet has no site", mend);
    }
    let max_topologies = limits::MAX_TOPOLOGIES;
    let topologies = reader.list(&fields, "topologies", max_topologies, topology::topology);
    Fleet {
        name,
        segments,
        transport_pairs,
        controllers,
        fabric_port,
        sla_classes,
        tunnel_profiles,
        traffic_classes,
        sites,
        topologies,
    }
}

/// The segment that needs no declaration, unless others are declared.
pub(crate) const MAIN_SEGMENT: &str = "main";

fn segments(reader: &mut Reader, fields: &Fields<'_>) -> Vec<SegmentName> {
    if fields.get("segments").is_none() {
        reader.names.note(Kind::Segment, MAIN_SEGMENT);
        return vec![SegmentName::new(MAIN_SEGMENT)];
    }
    let segments = reader.list(fields, "segments", limits::MAX_SEGMENTS, |reader, node, place| {
        let fields = reader.fields(node, place, SEGMENT_FIELDS);
        let name = reader.required_label(&fields, "name");
        let path = fields.at("name");
        reader.names.declare(&mut reader.faults, Kind::Segment, FLEET, &name, path);
        SegmentName::new(name)
    });
    if segments.is_empty() {
        let mend = "add `- name: main`, or leave `segments` out";
        reader.faults.add(code::MISSING_FIELD, "segments", "there is no segment", mend);
    }
    segments
}

fn transports(reader: &mut Reader, fields: &Fields<'_>) -> TransportPairs {
    let Some(node) = fields.get("transports") else { return TransportPairs::Equal };
    let place = fields.at("transports");
    let fields = reader.fields(node, &place, TRANSPORTS_FIELDS);
    if fields.get("pairs").is_none() {
        return TransportPairs::Equal;
    }
    let pairs =
        reader.list(&fields, "pairs", limits::MAX_TRANSPORT_PAIRS, |reader, node, place| {
            let (a, b) = reader.pair(node, place, Kind::Transport)?;
            let (low, high) = if a <= b { (a, b) } else { (b, a) };
            let both = format!("{low}/{high}");
            reader.names.declare(&mut reader.faults, Kind::Value, "transports.pairs", &both, place);
            Some((TransportName::new(low), TransportName::new(high)))
        });
    TransportPairs::Listed(pairs.into_iter().flatten().collect::<BTreeSet<_>>())
}

fn controllers(reader: &mut Reader, fields: &Fields<'_>) -> Vec<String> {
    reader
        .list(fields, "controllers", limits::MAX_CONTROLLERS, |reader, node, place| {
            let text = reader.node_text(node, place)?;
            if !value::is_endpoint(&text) {
                let message = format!("{} is no address and port", crate::fault::quote(&text));
                let mend = "write HOST:PORT or [IPV6]:PORT, e.g. 203.0.113.10:7443";
                reader.faults.add(code::ENDPOINT_INVALID, place, message, mend);
                return None;
            }
            reader.names.declare(&mut reader.faults, Kind::Value, "controllers", &text, place);
            Some(text)
        })
        .into_iter()
        .flatten()
        .collect()
}

/// Not IKE's ports: a third-party gateway may need them at the same edge.
fn fabric_port(reader: &mut Reader, fields: &Fields<'_>) -> u16 {
    let port = reader.integer(fields, "fabric_port", 4510, 1..=65_535) as u16;
    if port == 500 || port == 4500 {
        let message = format!("port {port} is IKE's");
        let mend = "choose another, e.g. 4510";
        reader.faults.add(code::PORT_RESERVED, "fabric_port", message, mend);
    }
    port
}
