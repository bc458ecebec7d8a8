//! Tunnels with gateways that are not Hawser.

mod auth;
pub(crate) mod links;

use std::net::IpAddr;

use ipnet::IpNet;

use super::manual::PROTOCOLS;
use super::{Fields, MAIN_SEGMENT, Place, PlacedPrefix, Reader};
use crate::Suite;
use crate::document::Node;
use crate::fault::{code, quote};
use crate::intent::{
    IkeMode, IkeStart, IkeTunnel, IkeVersion, Lan, ProfileName, SegmentName, SlaName,
    TunnelProfile, Uplink,
};
use crate::limits;
use crate::names::Kind;

pub(super) const IKE_FIELDS: &[&str] = &[
    "name",
    "version",
    "uplink",
    "uplinks",
    "peer_addresses",
    "local_id",
    "remote_id",
    "psk",
    "certificate",
    "peer_ca",
    "mode",
    "profile",
    "dh_groups",
    "segment",
    "local_prefixes",
    "remote_prefixes",
    "start",
    "dpd_s",
    "probe",
    "sla",
    "failback_hold_s",
    "protocol",
    "standby",
    "reauth_after_s",
];

/// By strongSwan's names. Those of 1024 bits and less are broken, or as good as that.
pub(crate) const DH_GROUPS: [&str; 7] =
    ["modp2048", "modp3072", "modp4096", "ecp256", "ecp384", "ecp521", "x25519"];
/// What every strongSwan has without a further package.
const USUAL_GROUPS: [&str; 2] = ["modp3072", "modp2048"];

pub(crate) const MODES: [(&str, IkeMode); 3] =
    [("policy", IkeMode::Policy), ("route", IkeMode::Route), ("gre", IkeMode::Gre)];

/// Whether the second best link has an association, too.
pub(crate) const STANDBYS: [(&str, bool); 2] = [("cold", false), ("warm", true)];

/// The edge that has the tunnel.
pub(super) struct At<'a> {
    pub place: &'a Place<'a>,
    pub site: usize,
    pub lans: &'a [Lan],
    pub uplinks: &'a [Uplink],
}

pub(super) fn ike_tunnel(
    reader: &mut Reader,
    node: &Node,
    place: &Place<'_>,
    edge: &At<'_>,
) -> IkeTunnel {
    let fields = reader.fields(node, place, IKE_FIELDS);
    let scope = edge.place.to_string();
    let name = reader.required_label(&fields, "name");
    reader.names.declare(&mut reader.faults, Kind::IkeTunnel, &scope, &name, fields.at("name"));
    let versions = [("ikev1", IkeVersion::V1), ("ikev2", IkeVersion::V2)];
    let version = reader.word(&fields, "version", &versions).unwrap_or_default();
    let peer_addresses = peer_addresses(reader, &fields);
    let auth = auth::auth(reader, &fields);
    let (local_id, remote_id) = auth::identities(reader, &fields, &auth, &peer_addresses);
    let profile = reader.reference_field(&fields, "profile", Kind::TunnelProfile);
    let profile = profile.unwrap_or_else(|| TunnelProfile::STANDARD.to_owned());
    let segment = segment(reader, &fields);
    let (local_prefixes, remote_prefixes) = prefixes(reader, &fields, edge, &segment);
    peer_outside(reader, &fields, &peer_addresses, &remote_prefixes);
    let starts = [("now", IkeStart::Now), ("trap", IkeStart::Trap)];
    let uplinks = links::uplinks(reader, &fields, edge.uplinks);
    links::bounded(reader, &fields, uplinks.len(), peer_addresses.len());
    let probe = links::probe(reader, &fields, &remote_prefixes);
    let mode = reader.word(&fields, "mode", &MODES).unwrap_or_default();
    if mode == IkeMode::Gre && uplinks.len() * peer_addresses.len() > 1 {
        let message = "GRE is between one address and one other";
        let mend = "leave one uplink and one address of the gateway, or write `mode: route`";
        reader.faults.add(code::IKE_MODE_CONFLICT, fields.at("mode"), message, mend);
    }
    let warm = reader.word(&fields, "standby", &STANDBYS).unwrap_or_default();
    if warm && (mode != IkeMode::Route || uplinks.len() < 2) {
        let message = "a warm standby needs an interface for each link, and two uplinks";
        let mend = "write `mode: route` and two `uplinks`, or leave `standby` out";
        reader.faults.add(code::IKE_MODE_CONFLICT, fields.at("standby"), message, mend);
    }
    IkeTunnel {
        name,
        version,
        uplinks,
        peer_addresses,
        local_id,
        remote_id,
        auth,
        mode,
        profile: ProfileName::new(profile),
        dh_groups: dh_groups(reader, &fields),
        segment: SegmentName::new(segment),
        local_prefixes,
        remote_prefixes,
        start: reader.word(&fields, "start", &starts).unwrap_or_default(),
        dpd_delay_s: reader.integer(&fields, "dpd_s", 10, 0..=3_600) as u32,
        probe,
        sla: reader.reference_field(&fields, "sla", Kind::SlaClass).map(SlaName::new),
        failback_hold_ms: reader
            .number(&fields, "failback_hold_s", 1.0..=86_400.0)
            .map_or(0, |seconds| (seconds * 1_000.0).round() as u32),
        protocol: reader.word(&fields, "protocol", &PROTOCOLS).unwrap_or_default(),
        warm,
        reauth_after_s: reader.integer(&fields, "reauth_after_s", 0, 60..=2_592_000) as u32,
    }
}

fn peer_addresses(reader: &mut Reader, fields: &Fields<'_>) -> Vec<IpAddr> {
    let key = "peer_addresses";
    let scope = fields.at(key).to_string();
    let found = reader.list(fields, key, limits::MAX_PEER_ADDRESSES, |reader, node, at| {
        let address = reader.address(node, at)?;
        let text = address.to_string();
        reader.names.declare(&mut reader.faults, Kind::Value, &scope, &text, at);
        Some(address)
    });
    needed(reader, fields, key);
    found.into_iter().flatten().collect()
}

/// A list that must have something in it.
fn needed(reader: &mut Reader, fields: &Fields<'_>, key: &str) {
    match fields.get(key) {
        None => reader.missing(fields, key),
        Some(Node::List(items)) if items.is_empty() => {
            let message = format!("{} is empty", quote(key));
            reader.faults.add(code::MISSING_FIELD, fields.at(key), message, "add one");
        }
        Some(_) => {}
    }
}

fn dh_groups(reader: &mut Reader, fields: &Fields<'_>) -> Vec<&'static str> {
    let key = "dh_groups";
    let scope = fields.at(key).to_string();
    let found = reader.list(fields, key, limits::MAX_DH_GROUPS, |reader, node, at| {
        let text = reader.node_text(node, at)?;
        let Some(group) = DH_GROUPS.into_iter().find(|group| *group == text) else {
            let message = format!("there is no group {}", quote(&text));
            let mend = format!("choose of: {}", DH_GROUPS.join(", "));
            reader.faults.add(code::UNKNOWN_WORD, at, message, mend);
            return None;
        };
        reader.names.declare(&mut reader.faults, Kind::Value, &scope, group, at);
        Some(group)
    });
    let found: Vec<_> = found.into_iter().flatten().collect();
    if found.is_empty() { USUAL_GROUPS.to_vec() } else { found }
}

pub(super) fn segment(reader: &mut Reader, fields: &Fields<'_>) -> String {
    let segment = reader.reference_field(fields, "segment", Kind::Segment);
    segment.unwrap_or_else(|| {
        if fields.complete && fields.get("segment").is_none() {
            reader.names.refer(Kind::Segment, MAIN_SEGMENT, fields.at("segment"));
        }
        MAIN_SEGMENT.to_owned()
    })
}

/// Local and remote ones. Local by default: all that the site's LANs of the segment have.
pub(super) fn prefixes(
    reader: &mut Reader,
    fields: &Fields<'_>,
    edge: &At<'_>,
    segment: &str,
) -> (Vec<IpNet>, Vec<IpNet>) {
    let max = limits::MAX_IKE_PREFIXES;
    let of_segment = edge.lans.iter().filter(|lan| lan.segment.as_str() == segment);
    let own: Vec<IpNet> = of_segment.flat_map(|lan| lan.prefixes.iter().copied()).collect();
    let scope = format!("{}/local", fields.at("local_prefixes"));
    let local = reader.list(fields, "local_prefixes", max, |reader, node, at| {
        let prefix = reader.lan_prefix(node, at)?;
        reader.names.declare(&mut reader.faults, Kind::Prefix, &scope, &prefix.to_string(), at);
        if !own.iter().any(|lan| lan.contains(&prefix)) {
            let message = format!("no LAN of this site has {prefix} in segment {segment}");
            let mend = "write prefixes of the site's LANs, or leave it out for all of them";
            reader.faults.add(code::IKE_PREFIX_NOT_LOCAL, at, message, mend);
        }
        Some(prefix)
    });
    let scope = format!("{}/ike", edge.place);
    let remote = reader.list(fields, "remote_prefixes", max, |reader, node, at| {
        let prefix = reader.lan_prefix(node, at)?;
        let text = prefix.to_string();
        if reader.names.declare(&mut reader.faults, Kind::Prefix, &scope, &text, at) {
            // Several sites may reach the same gateway; none may have its prefixes.
            let (segment, path) = (segment.to_owned(), at.to_string());
            let placed =
                PlacedPrefix { segment, prefix, site: edge.site, shared_origin: true, path };
            reader.prefixes.push(placed);
        }
        Some(prefix)
    });
    needed(reader, fields, "remote_prefixes");
    let given: Vec<IpNet> = local.into_iter().flatten().collect();
    let local = if fields.get("local_prefixes").is_none() { own } else { given };
    let remote: Vec<IpNet> = remote.into_iter().flatten().collect();
    let of = |prefixes: &[IpNet], ipv6| prefixes.iter().any(|p| p.addr().is_ipv6() == ipv6);
    let paired = [false, true].into_iter().any(|ipv6| of(&local, ipv6) && of(&remote, ipv6));
    if fields.complete && !remote.is_empty() && !paired {
        let message = "no local and remote prefix are of one address family";
        let mend = "give the site a LAN of that segment and family, or other prefixes";
        reader.faults.add(code::IKE_PREFIXES_UNPAIRED, fields.at("remote_prefixes"), message, mend);
    }
    (local, remote)
}

/// IKE and ESP to the peer must not be sent into the tunnel.
pub(super) fn peer_outside(
    reader: &mut Reader,
    fields: &Fields<'_>,
    peers: &[IpAddr],
    remote_prefixes: &[IpNet],
) {
    for peer in peers {
        if let Some(prefix) = remote_prefixes.iter().find(|prefix| prefix.contains(peer)) {
            let message = format!("the peer's address {peer} is in {prefix}, beyond the tunnel");
            let mend = "leave the gateway's own address out of the remote prefixes";
            reader.faults.add(code::IKE_PEER_INSIDE, fields.at("remote_prefixes"), message, mend);
        }
    }
}

/// Whether strongSwan has a suite of that name for ESP.
pub(crate) fn strongswan_has(suite: Suite) -> bool {
    !suite.name().starts_with("sm4")
}
