//! Which links a tunnel with a gateway may take (an uplink of the edge and an address of the gateway), and how they are
//! probed.

use std::net::IpAddr;

use crate::decode::{Fields, Place, Reader};
use crate::document::Node;
use crate::fault::{code, quote};
use crate::intent::{IkeProbe, IkeProbeKind, Uplink, UplinkName};
use crate::limits;
use crate::names::Kind;
use ipnet::IpNet;

pub(in crate::decode) const PROBE_FIELDS: &[&str] = &["by", "port", "interval_ms", "inside"];

/// What peers are asked by. A reflector of TWAMP Light answers the packets of STAMP (RFC 8762 section 4.6).
pub(crate) const PROBES: [(&str, IkeProbeKind); 4] = [
    ("icmp", IkeProbeKind::Icmp),
    ("stamp", IkeProbeKind::Stamp),
    ("twamp-light", IkeProbeKind::Stamp),
    ("none", IkeProbeKind::None),
];

/// The port that IANA gave to both.
const REFLECTORS_PORT: i128 = 862;
pub(crate) const PROBE_INTERVAL_MS: (i64, i64) = (100, 15_000);

/// The first preferred; by default the edge's first alone.
pub(super) fn uplinks(
    reader: &mut Reader,
    fields: &Fields<'_>,
    uplinks: &[Uplink],
) -> Vec<UplinkName> {
    let one = reader.optional_label(fields, "uplink");
    if let Some(name) = &one {
        known(reader, name, uplinks, &fields.at("uplink"));
    }
    let key = "uplinks";
    let scope = fields.at(key).to_string();
    let several = reader.list(fields, key, limits::MAX_UPLINKS_PER_EDGE, |reader, node, at| {
        let name = reader.node_text(node, at)?;
        if !reader.label(&name, at) || !known(reader, &name, uplinks, at) {
            return None;
        }
        reader.names.declare(&mut reader.faults, Kind::Value, &scope, &name, at);
        Some(UplinkName::new(name))
    });
    let given = fields.get(key).is_some();
    if given && one.is_some() {
        let at = fields.at("uplink");
        reader.faults.add(code::FIELD_CONFLICT, at, "uplinks is given too", "keep uplinks");
    }
    if given {
        super::needed(reader, fields, key);
        return several.into_iter().flatten().collect();
    }
    let first = || uplinks.first().map(|uplink| uplink.name.clone()).unwrap_or_default();
    vec![one.map_or_else(first, UplinkName::new)]
}

pub(in crate::decode) fn known(
    reader: &mut Reader,
    name: &str,
    uplinks: &[Uplink],
    at: &Place<'_>,
) -> bool {
    let known = uplinks.iter().any(|uplink| uplink.name.as_str() == name);
    if !known {
        let message = format!("this edge has no uplink {}", quote(name));
        let all: Vec<&str> = uplinks.iter().map(|uplink| uplink.name.as_str()).collect();
        let mend = format!("name one of: {}", all.join(", "));
        reader.faults.add(code::UNKNOWN_UPLINK, at, message, mend);
    }
    known
}

/// Each is probed, so there may not be too many of them.
pub(super) fn bounded(reader: &mut Reader, fields: &Fields<'_>, uplinks: usize, addresses: usize) {
    let (links, most) = (uplinks * addresses, limits::MAX_IKE_LINKS);
    if links > most {
        let message = format!("{uplinks} uplinks and {addresses} addresses are {links} links");
        let mend = format!("leave some of them out: up to {most} links are probed");
        reader.faults.add(code::IKE_TOO_MANY_LINKS, fields.at("uplinks"), message, mend);
    }
}

/// `None`: the document says nothing of it.
pub(super) fn probe(
    reader: &mut Reader,
    tunnel: &Fields<'_>,
    remote_prefixes: &[IpNet],
) -> Option<IkeProbe> {
    let node = tunnel.get("probe")?;
    let place = tunnel.at("probe");
    let fields = reader.fields(node, &place, PROBE_FIELDS);
    let kind = reader.word(&fields, "by", &PROBES).unwrap_or_default();
    if kind != IkeProbeKind::Stamp && fields.get("port").is_some() {
        let message = "only stamp and twamp-light have a port";
        let mend = "remove it, or probe by stamp";
        reader.faults.add(code::FIELD_CONFLICT, fields.at("port"), message, mend);
    }
    let port = reader.integer(&fields, "port", REFLECTORS_PORT, 1..=65_535) as u32;
    let (least, most) = PROBE_INTERVAL_MS;
    let interval_ms =
        reader.integer(&fields, "interval_ms", 500, least.into()..=most.into()) as u32;
    let inside =
        fields.get("inside").and_then(|node| inside(reader, node, &fields, remote_prefixes));
    Some(IkeProbe { kind, port, interval_ms, inside })
}

/// It is asked through the tunnel, so it must be at its other end.
fn inside(
    reader: &mut Reader,
    node: &Node,
    fields: &Fields<'_>,
    remote_prefixes: &[IpNet],
) -> Option<IpAddr> {
    let at = fields.at("inside");
    let address = reader.address(node, &at)?;
    if !remote_prefixes.iter().any(|prefix| prefix.contains(&address)) {
        let message = format!("{address} is in none of the remote prefixes");
        let mend = "name a host behind the gateway that answers pings";
        reader.faults.add(code::IKE_PROBE_NOT_BEYOND, at, message, mend);
    }
    Some(address)
}
