//! The JSON Schema of a fleet's document: for editors, and for programs that write documents. It knows the shape; what
//! names refer to, and what the parts make of each other, only the decoder knows. Tests hold the two together.

mod part;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use crate::decode::ike::links::{PROBE_INTERVAL_MS, PROBES};
use crate::decode::ike::{DH_GROUPS, MODES, STANDBYS};
use crate::decode::manual::{self, PROTOCOLS, SPIS};
use crate::suite::Suite;
use crate::{limits, presets};
use part::{
    Part, RATE, SHARE, TIME, any, flag, integer, label, list, number, object, quantity, text, words,
};

/// JSON Schema, draft 2020-12.
pub fn json_schema() -> Value {
    let mut schema = fleet().value();
    if let Value::Object(fields) = &mut schema {
        fields.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        fields.insert("title".into(), json!("Hawser fleet document"));
    }
    schema
}

fn fleet() -> Part {
    object(&[
        ("fleet", label().needed()),
        ("segments", list(object(&[("name", label().needed())]), 1, limits::MAX_SEGMENTS)),
        ("transports", object(&[("pairs", list(pair(), 0, limits::MAX_TRANSPORT_PAIRS))])),
        ("controllers", list(text(r"^.+:[0-9]+$"), 0, limits::MAX_CONTROLLERS)),
        ("fabric_port", integer(1, 65_535).but(json!({"not": {"enum": [500, 4500]}}))),
        ("sla_classes", list(sla_class(), 0, limits::MAX_CLASSES)),
        ("tunnel_profiles", list(profile(), 0, limits::MAX_PROFILES)),
        ("traffic_classes", list(traffic_class(), 0, limits::MAX_CLASSES)),
        ("sites", list(site(), 1, limits::MAX_SITES).needed()),
        ("topologies", list(topology(), 0, limits::MAX_TOPOLOGIES)),
    ])
}

fn sla_class() -> Part {
    let limit = |kind: &part::Units| any(&[quantity(kind), words(&["none"])]);
    let names: Vec<&str> = presets::names().collect();
    object(&[
        ("name", label().needed()),
        ("base", words(&names)),
        ("max_rtt", limit(&TIME)),
        ("max_jitter", limit(&TIME)),
        ("max_loss", limit(&SHARE)),
        ("loss_confidence", quantity(&SHARE)),
        ("loss_mended", quantity(&TIME)),
        ("delay_damage", quantity(&TIME)),
        ("delay_mended", quantity(&TIME)),
        ("max_rtt_ms", number(0.0, 60_000.0)),
        ("max_jitter_ms", number(0.0, 60_000.0)),
        ("max_loss_pct", number(0.0, 100.0)),
    ])
}

fn profile() -> Part {
    let suites: Vec<&str> = Suite::ALL.iter().map(|suite| suite.name()).collect();
    object(&[
        ("name", label().needed()),
        ("suite", words(&suites)),
        ("waiver", waiver()),
        ("rekey_after_s", integer(5, 86_400)),
        ("rekey_after_bytes", integer(1 << 20, 1 << 44)),
        ("replay_window_packets", integer(64, 4_096).but(json!({"multipleOf": 64}))),
        ("esn", flag()),
        ("probe_interval_ms", integer(20, 10_000)),
        ("probe_idle_interval_ms", integer(20, 60_000)),
        ("down_after_probes", integer(3, 20)),
    ])
}

fn waiver() -> Part {
    object(&[
        ("until", text(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$").needed()),
        ("reason", text(r"\S").needed()),
    ])
}

fn traffic_class() -> Part {
    object(&[
        ("name", label().needed()),
        ("segment", label()),
        ("match", list(class_match(), 0, limits::MAX_MATCHES_PER_CLASS)),
        ("sla", label()),
        ("mode", words(&["best", "balance", "duplicate"])),
        ("wan_dscp", integer(0, 63)),
        ("balance_by", words(&["bandwidth", "cost"])),
        ("when_none_meets", words(&["least-bad", "drop"])),
        ("prefer_uplinks", list(label(), 0, limits::MAX_UPLINKS_PER_EDGE)),
        ("failback_hold_s", number(0.0, 86_400.0)),
        ("dwell_s", number(0.0, 3_600.0)),
        ("symmetric", flag()),
    ])
}

fn class_match() -> Part {
    let max = limits::MAX_VALUES_PER_MATCH;
    let port = any(&[integer(0, 65_535), text(r"^[0-9]+(-[0-9]+)?$")]);
    let protocols = ["icmp", "tcp", "udp", "gre", "esp", "ah", "icmpv6", "sctp"];
    let dscp = text(r"^([eE][fF]|[lL][eE]|[cC][sS][0-7]|[aA][fF][1-4][1-3])$");
    object(&[
        ("dscp", list(any(&[integer(0, 63), dscp]), 0, max)),
        ("protocol", list(any(&[integer(0, 255), words(&protocols)]), 0, max)),
        ("source_ports", list(port.clone(), 0, max)),
        ("destination_ports", list(port, 0, max)),
        ("source_prefixes", list(prefix(), 0, max)),
        ("destination_prefixes", list(prefix(), 0, max)),
    ])
}

fn site() -> Part {
    object(&[
        ("name", label().needed()),
        ("lans", list(lan(), 0, limits::MAX_LANS_PER_SITE)),
        ("edges", list(edge(), 1, limits::MAX_EDGES_PER_SITE).needed()),
        ("drain", flag()),
    ])
}

fn lan() -> Part {
    object(&[
        ("interface", interface().needed()),
        ("segment", label()),
        ("prefixes", list(prefix(), 1, limits::MAX_PREFIXES_PER_LAN).needed()),
        ("vlan", integer(0, 4_094)),
        ("shared_origin", flag()),
    ])
}

fn edge() -> Part {
    object(&[
        ("name", label()),
        ("uplinks", list(uplink(), 1, limits::MAX_UPLINKS_PER_EDGE).needed()),
        ("ike_tunnels", list(ike_tunnel(), 0, limits::MAX_IKE_TUNNELS_PER_EDGE)),
        ("manual_tunnels", list(manual_tunnel(), 0, limits::MAX_MANUAL_TUNNELS_PER_EDGE)),
        ("drain", flag()),
    ])
}

fn manual_tunnel() -> Part {
    let prefixes = |least| list(prefix(), least, limits::MAX_IKE_PREFIXES);
    let (least, most) = SPIS;
    let key = || {
        object(&[("spi", integer(least.into(), most.into()).needed()), ("key", label().needed())])
    };
    object(&[
        ("name", label().needed()),
        ("protocol", words(&PROTOCOLS.map(|(word, _)| word))),
        ("mode", words(&manual::MODES.map(|(word, _)| word))),
        ("uplink", label()),
        ("peer_address", text(r"^[0-9a-fA-F:.]+$").needed()),
        ("profile", label()),
        ("segment", label()),
        ("local_prefixes", prefixes(0)),
        ("remote_prefixes", prefixes(1).needed()),
        ("inbound", key().needed()),
        ("outbound", key().needed()),
    ])
}

fn ike_tunnel() -> Part {
    let identity = || text(r"^[A-Za-z0-9._@:=, -]{1,128}$");
    let peer_ca = any(&[label(), text(r"^\s*-----BEGIN CERTIFICATE-----")]);
    let prefixes = |least| list(prefix(), least, limits::MAX_IKE_PREFIXES);
    let address = text(r"^[0-9a-fA-F:.]+$");
    object(&[
        ("name", label().needed()),
        ("version", words(&["ikev1", "ikev2"])),
        ("uplink", label()),
        ("uplinks", list(label(), 1, limits::MAX_UPLINKS_PER_EDGE)),
        ("peer_addresses", list(address, 1, limits::MAX_PEER_ADDRESSES).needed()),
        ("local_id", identity()),
        ("remote_id", identity()),
        ("psk", label()),
        ("certificate", label()),
        ("peer_ca", peer_ca),
        ("mode", words(&MODES.map(|(word, _)| word))),
        ("profile", label()),
        ("dh_groups", list(words(&DH_GROUPS), 0, limits::MAX_DH_GROUPS)),
        ("segment", label()),
        ("local_prefixes", prefixes(0)),
        ("remote_prefixes", prefixes(1).needed()),
        ("start", words(&["now", "trap"])),
        ("dpd_s", integer(0, 3_600)),
        ("probe", ike_probe()),
        ("sla", label()),
        ("failback_hold_s", number(1.0, 86_400.0)),
        ("protocol", words(&PROTOCOLS.map(|(word, _)| word))),
        ("standby", words(&STANDBYS.map(|(word, _)| word))),
        ("reauth_after_s", integer(60, 2_592_000)),
    ])
    .but(json!({
        "if": says(&["certificate"]), "then": says(&["peer_ca"]), "else": says(&["psk", "local_id"]),
    }))
}

/// That these are there, and not null.
fn says(names: &[&str]) -> Value {
    let texts = names.iter().map(|name| ((*name).to_owned(), json!({"type": "string"})));
    json!({"required": names, "properties": texts.collect::<Map<_, _>>()})
}

fn ike_probe() -> Part {
    let (least_ms, most_ms) = PROBE_INTERVAL_MS;
    object(&[
        ("by", words(&PROBES.map(|(word, _)| word))),
        ("port", integer(1, 65_535)),
        ("interval_ms", integer(least_ms, most_ms)),
        ("inside", text(r"^[0-9a-fA-F:.]+$")),
    ])
}

fn uplink() -> Part {
    let addresses = || list(text(r"^[0-9a-fA-F:.]+$"), 0, limits::MAX_ADDRESSES_PER_UPLINK);
    object(&[
        ("name", label().needed()),
        ("interface", interface()),
        ("transport", label()),
        ("provider", label()),
        ("addresses", any(&[words(&["discover"]), addresses()])),
        ("families", list(words(&["ipv4", "ipv6"]), 1, 2)),
        ("gateways", addresses()),
        ("cost", integer(0, 1_000_000)),
        ("metered", flag()),
        ("use", words(&["normal", "standby", "last-resort"])),
        ("drain", flag()),
        ("bandwidth_up_mbps", number(0.0, 1_000_000.0)),
        ("bandwidth_down_mbps", number(0.0, 1_000_000.0)),
        ("probe_budget", quantity(&RATE)),
        ("probe_budget_kbps", integer(0, 1_000_000)),
    ])
}

fn topology() -> Part {
    let common =
        |kind| vec![("kind", words(&[kind]).needed()), ("name", label()), ("profile", label())];
    let members = || any(&[words(&["all"]), list(label(), 0, limits::MAX_SITES)]);
    let mut hub_spoke = common("hub-spoke");
    let hubs = list(label(), 1, limits::MAX_HUBS_PER_TOPOLOGY);
    hub_spoke.extend([("hubs", hubs.needed()), ("spokes", members())]);
    let mut mesh = common("full-mesh");
    mesh.push(("sites", members()));
    let mut partial = common("partial");
    partial.push(("pairs", list(pair(), 1, limits::MAX_PAIRS_PER_TOPOLOGY).needed()));
    any(&[object(&hub_spoke), object(&mesh), object(&partial)])
}

fn pair() -> Part {
    list(label(), 2, 2)
}

fn prefix() -> Part {
    text(r"^[0-9a-fA-F:.]+/[0-9]{1,3}$")
}

fn interface() -> Part {
    text(r"^[!-~]{1,15}$")
}
