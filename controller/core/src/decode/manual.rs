//! Tunnels whose keys people have put at both ends.

use super::ike::{At, links, peer_outside, prefixes, segment};
use super::{Fields, Place, Reader};
use crate::document::Node;
use crate::fault::code;
use crate::intent::{
    ManualKey, ManualMode, ManualProtocol, ManualTunnel, ProfileName, SegmentName, TunnelProfile,
    UplinkName,
};
use crate::names::Kind;

pub(super) const MANUAL_FIELDS: &[&str] = &[
    "name",
    "protocol",
    "mode",
    "uplink",
    "peer_address",
    "profile",
    "segment",
    "local_prefixes",
    "remote_prefixes",
    "inbound",
    "outbound",
];
pub(super) const KEY_FIELDS: &[&str] = &["spi", "key"];

pub(crate) const PROTOCOLS: [(&str, ManualProtocol); 2] =
    [("esp", ManualProtocol::Esp), ("ah", ManualProtocol::Ah)];
pub(crate) const MODES: [(&str, ManualMode); 2] =
    [("tunnel", ManualMode::Tunnel), ("gre", ManualMode::Gre)];
/// Those below are reserved (RFC 4303 section 2.1).
pub(crate) const SPIS: (u32, u32) = (256, u32::MAX);

pub(super) fn manual_tunnel(
    reader: &mut Reader,
    node: &Node,
    place: &Place<'_>,
    edge: &At<'_>,
) -> ManualTunnel {
    let fields = reader.fields(node, place, MANUAL_FIELDS);
    let scope = edge.place.to_string();
    let name = reader.required_label(&fields, "name");
    reader.names.declare(&mut reader.faults, Kind::ManualTunnel, &scope, &name, fields.at("name"));
    let peer_address = match fields.get("peer_address") {
        Some(node) => reader.address(node, &fields.at("peer_address")),
        None => {
            reader.missing(&fields, "peer_address");
            None
        }
    };
    let profile = reader.reference_field(&fields, "profile", Kind::TunnelProfile);
    let profile = profile.unwrap_or_else(|| TunnelProfile::STANDARD.to_owned());
    let segment = segment(reader, &fields);
    let (local_prefixes, remote_prefixes) = prefixes(reader, &fields, edge, &segment);
    peer_outside(reader, &fields, peer_address.as_slice(), &remote_prefixes);
    ManualTunnel {
        name,
        protocol: reader.word(&fields, "protocol", &PROTOCOLS).unwrap_or_default(),
        mode: reader.word(&fields, "mode", &MODES).unwrap_or_default(),
        uplink: uplink(reader, &fields, edge),
        peer_address,
        profile: ProfileName::new(profile),
        segment: SegmentName::new(segment),
        local_prefixes,
        remote_prefixes,
        inbound: key(reader, &fields, "inbound"),
        outbound: key(reader, &fields, "outbound"),
    }
}

fn uplink(reader: &mut Reader, fields: &Fields<'_>, edge: &At<'_>) -> UplinkName {
    match reader.optional_label(fields, "uplink") {
        Some(name) => {
            links::known(reader, &name, edge.uplinks, &fields.at("uplink"));
            UplinkName::new(name)
        }
        None => edge.uplinks.first().map(|uplink| uplink.name.clone()).unwrap_or_default(),
    }
}

/// One direction's SPI, and the name of its key, which is at the edge and nowhere else.
fn key(reader: &mut Reader, tunnel: &Fields<'_>, direction: &str) -> ManualKey {
    let Some(node) = tunnel.get(direction) else {
        reader.missing(tunnel, direction);
        return ManualKey::default();
    };
    let place = tunnel.at(direction);
    let fields = reader.fields(node, &place, KEY_FIELDS);
    if fields.get("spi").is_none() {
        reader.missing(&fields, "spi");
    }
    let (least, most) = SPIS;
    let spi = reader.integer(&fields, "spi", least.into(), least.into()..=most.into());
    ManualKey { spi: spi as u32, key_name: key_name(reader, &fields) }
}

/// A fault never repeats what may be a key.
fn key_name(reader: &mut Reader, fields: &Fields<'_>) -> String {
    if let Some(Node::Text(text)) = fields.get("key")
        && looks_like_a_key(text)
    {
        let message = "this looks like a key; a key stands in no document";
        let mend = "put it at the edge by `hawser-edge secret set NAME`, and write NAME here";
        reader.faults.add(code::MANUAL_KEY_NOT_A_NAME, fields.at("key"), message, mend);
        return String::new();
    }
    reader.required_label(fields, "key")
}

fn looks_like_a_key(text: &str) -> bool {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    digits.len() >= 32 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}
