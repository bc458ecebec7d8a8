//! SLA classes, tunnel profiles and traffic classes.

use super::{Fields, Place, Reader};
use crate::document::Node;
use crate::fault::{code, quote};
use crate::intent::{
    ClassName, Match, ProfileName, SegmentName, SlaClass, SlaName, Suite, TrafficClass,
    TunnelProfile, UplinkName, WhenNoneMeets,
};
use crate::limits;
use crate::names::{FLEET, Kind};

pub(super) fn sla(reader: &mut Reader, node: &Node, place: &Place<'_>) -> SlaClass {
    let known = &["name", "max_rtt_ms", "max_jitter_ms", "max_loss_pct"];
    let fields = reader.fields(node, place, known);
    let name = reader.required_label(&fields, "name");
    reader.names.declare(&mut reader.faults, Kind::SlaClass, FLEET, &name, fields.at("name"));
    if fields.complete && known[1..].iter().all(|key| fields.get(key).is_none()) {
        let mend = "give max_rtt_ms, max_jitter_ms or max_loss_pct";
        reader.faults.add(code::SLA_WITHOUT_LIMIT, place, "the SLA class limits nothing", mend);
    }
    SlaClass {
        name: SlaName::new(name),
        max_rtt_us: limit(reader, &fields, "max_rtt_ms", 60_000.0, 1_000.0),
        max_jitter_us: limit(reader, &fields, "max_jitter_ms", 60_000.0, 1_000.0),
        max_loss_ppm: limit(reader, &fields, "max_loss_pct", 100.0, 10_000.0),
    }
}

/// On the wire 0 is no limit, which is not what somebody means who writes it.
fn limit(
    reader: &mut Reader,
    fields: &Fields<'_>,
    key: &str,
    max: f64,
    factor: f64,
) -> Option<u32> {
    let value = reader.number(fields, key, 0.0..=max)?;
    let scaled = (value * factor).round() as u32;
    if scaled == 0 {
        let message = "no path can meet a limit of zero";
        let mend = format!("give the highest that is acceptable, or remove {key}");
        reader.faults.add(code::SLA_LIMIT_ZERO, fields.at(key), message, mend);
        return None;
    }
    Some(scaled)
}

pub(super) fn profiles(reader: &mut Reader, fields: &Fields<'_>) -> Vec<TunnelProfile> {
    let mut profiles =
        reader.list(fields, "tunnel_profiles", limits::MAX_PROFILES, |r, node, place| {
            profile(r, node, place)
        });
    if profiles.iter().all(|profile| profile.name.as_str() != TunnelProfile::STANDARD) {
        reader.names.note(Kind::TunnelProfile, TunnelProfile::STANDARD);
        profiles.push(TunnelProfile::default());
    }
    profiles
}

const PROFILE_FIELDS: &[&str] = &[
    "name",
    "suite",
    "rekey_after_s",
    "rekey_after_bytes",
    "replay_window_packets",
    "esn",
    "probe_interval_ms",
    "probe_idle_interval_ms",
];

fn profile(reader: &mut Reader, node: &Node, place: &Place<'_>) -> TunnelProfile {
    let fields = reader.fields(node, place, PROFILE_FIELDS);
    let standard = TunnelProfile::default();
    let name = reader.required_label(&fields, "name");
    let at = fields.at("name");
    reader.names.declare(&mut reader.faults, Kind::TunnelProfile, FLEET, &name, at);
    let bytes = i128::from(standard.rekey_after_bytes);
    let window = i128::from(standard.replay_window_packets);
    let interval = reader.integer(&fields, "probe_interval_ms", 100, 20..=10_000);
    let idle_absent = interval.max(i128::from(standard.probe_idle_interval_ms));
    let idle = reader.integer(&fields, "probe_idle_interval_ms", idle_absent, 20..=60_000);
    if idle < interval {
        let message = format!("{idle} is below probe_interval_ms, {interval}");
        let mend = "paths that carry nothing are probed no more often than others";
        reader.faults.add(code::OUT_OF_RANGE, fields.at("probe_idle_interval_ms"), message, mend);
    }
    let window = reader.integer(&fields, "replay_window_packets", window, 64..=4_096);
    if window % 64 != 0 {
        let message = format!("{window} is no multiple of 64");
        let at = fields.at("replay_window_packets");
        reader.faults.add(code::OUT_OF_RANGE, at, message, "choose 64, 128, 256 ... 4096");
    }
    TunnelProfile {
        name: ProfileName::new(name),
        suite: suite(reader, &fields),
        rekey_after_s: reader.integer(&fields, "rekey_after_s", 3_600, 5..=86_400) as u32,
        rekey_after_bytes: reader.integer(&fields, "rekey_after_bytes", bytes, 1 << 20..=1 << 44)
            as u64,
        replay_window_packets: window as u32,
        esn: reader.flag(&fields, "esn", standard.esn),
        probe_interval_ms: interval as u32,
        probe_idle_interval_ms: idle as u32,
    }
}

fn suite(reader: &mut Reader, fields: &Fields<'_>) -> Suite {
    let Some(text) = reader.text(fields, "suite") else { return Suite::default() };
    if let Some(suite) = Suite::ALL.into_iter().find(|suite| suite.name() == text) {
        return suite;
    }
    let weak = ["des", "3des", "rc4", "null", "md5", "sha1", "cbc", "blowfish", "cast"];
    let lower = text.to_ascii_lowercase();
    let is_weak = weak.iter().any(|word| lower.contains(word));
    let (code, message) = if is_weak {
        (code::SUITE_WEAK, format!("{} is too weak", quote(&text)))
    } else {
        (code::SUITE_UNKNOWN, format!("there is no suite {}", quote(&text)))
    };
    let names: Vec<&str> = Suite::ALL.iter().map(|suite| suite.name()).collect();
    let mend = format!("choose one of: {}", names.join(", "));
    reader.faults.add(code, fields.at("suite"), message, mend);
    Suite::default()
}

/// In the document's order, then `default`.
pub(super) fn traffic_classes(reader: &mut Reader, fields: &Fields<'_>) -> Vec<TrafficClass> {
    let mut classes =
        reader.list(fields, "traffic_classes", limits::MAX_CLASSES, |reader, node, place| {
            traffic_class(reader, node, place)
        });
    let is_default = |class: &TrafficClass| class.name.as_str() == TrafficClass::DEFAULT;
    let default = match classes.iter().position(is_default) {
        Some(index) => classes.remove(index),
        None => TrafficClass::default(),
    };
    classes.push(default);
    classes
}

const CLASS_FIELDS: &[&str] = &[
    "name",
    "segment",
    "match",
    "sla",
    "when_none_meets",
    "prefer_uplinks",
    "failback_hold_s",
    "dwell_s",
    "symmetric",
];

fn traffic_class(reader: &mut Reader, node: &Node, place: &Place<'_>) -> TrafficClass {
    let fields = reader.fields(node, place, CLASS_FIELDS);
    let name = reader.required_label(&fields, "name");
    let at = fields.at("name");
    reader.names.declare(&mut reader.faults, Kind::TrafficClass, FLEET, &name, at);
    let segment = reader.reference_field(&fields, "segment", Kind::Segment);
    let max = limits::MAX_MATCHES_PER_CLASS;
    let matches = reader.list(&fields, "match", max, one_match);
    check_matches(reader, &fields, &name);
    let words = [("least-bad", WhenNoneMeets::LeastBad), ("drop", WhenNoneMeets::Drop)];
    let max = limits::MAX_UPLINKS_PER_EDGE;
    let list = fields.at("prefer_uplinks").to_string();
    let prefer_uplinks = reader.list(&fields, "prefer_uplinks", max, |reader, node, at| {
        let name = reader.reference(node, at, Kind::Uplink)?;
        reader.names.declare(&mut reader.faults, Kind::Value, &list, &name, at);
        Some(UplinkName::new(name))
    });
    TrafficClass {
        name: ClassName::new(name),
        segment: segment.map(SegmentName::new),
        matches,
        sla: reader.reference_field(&fields, "sla", Kind::SlaClass).map(SlaName::new),
        when_none_meets: reader.word(&fields, "when_none_meets", &words).unwrap_or_default(),
        prefer_uplinks: prefer_uplinks.into_iter().flatten().collect(),
        failback_hold_ms: milliseconds(reader, &fields, "failback_hold_s", 10.0, 86_400.0),
        dwell_ms: milliseconds(reader, &fields, "dwell_s", 2.0, 3_600.0),
        symmetric: reader.flag(&fields, "symmetric", false),
    }
}

fn milliseconds(
    reader: &mut Reader,
    fields: &Fields<'_>,
    key: &str,
    absent_s: f64,
    max_s: f64,
) -> u32 {
    (reader.number(fields, key, 0.0..=max_s).unwrap_or(absent_s) * 1_000.0).round() as u32
}

fn check_matches(reader: &mut Reader, fields: &Fields<'_>, name: &str) {
    if !fields.complete {
        return;
    }
    let given = fields.get("match").is_some_and(|node| *node != Node::List(Vec::new()));
    if name != TrafficClass::DEFAULT {
        if !given {
            let mend =
                "add `match:` with at least one match; what no class matches is in `default`";
            let at = fields.at("match");
            reader.faults.add(code::MATCH_EMPTY, at, "the class matches nothing", mend);
        }
        return;
    }
    for key in ["match", "segment"] {
        if fields.get(key).is_some() && (key != "match" || given) {
            let message = "the class `default` is what all others leave";
            let mend = format!("remove {key}, or give the class another name");
            reader.faults.add(code::DEFAULT_CLASS_MATCHES, fields.at(key), message, mend);
        }
    }
}

const MATCH_FIELDS: &[&str] = &[
    "dscp",
    "protocol",
    "source_ports",
    "destination_ports",
    "source_prefixes",
    "destination_prefixes",
];

fn one_match(reader: &mut Reader, node: &Node, place: &Place<'_>) -> Match {
    let fields = reader.fields(node, place, MATCH_FIELDS);
    let max = limits::MAX_VALUES_PER_MATCH;
    let empty = |key: &&&str| fields.get(key).is_none_or(|n| *n == Node::List(Vec::new()));
    if fields.complete && MATCH_FIELDS.iter().filter(empty).count() == MATCH_FIELDS.len() {
        let mend = "give at least one of its fields; what no class matches is in `default`";
        reader.faults.add(code::MATCH_EMPTY, place, "the match says nothing", mend);
    }
    let found = Match {
        dscps: some(reader.list(&fields, "dscp", max, dscp)),
        protocols: some(reader.list(&fields, "protocol", max, protocol)),
        source_ports: some(reader.list(&fields, "source_ports", max, Reader::port_range)),
        destination_ports: some(reader.list(&fields, "destination_ports", max, Reader::port_range)),
        source_prefixes: some(reader.list(&fields, "source_prefixes", max, Reader::prefix)),
        destination_prefixes: some(reader.list(
            &fields,
            "destination_prefixes",
            max,
            Reader::prefix,
        )),
    };
    check_possible(reader, &found, place);
    found
}

fn some<T: Ord>(values: Vec<Option<T>>) -> Vec<T> {
    let mut values: Vec<T> = values.into_iter().flatten().collect();
    values.sort();
    values.dedup();
    values
}

fn check_possible(reader: &mut Reader, found: &Match, place: &Place<'_>) {
    const WITH_PORTS: [u8; 6] = [6, 17, 33, 132, 136, 46];
    let ports = !found.source_ports.is_empty() || !found.destination_ports.is_empty();
    let portless = !found.protocols.is_empty()
        && found.protocols.iter().all(|protocol| !WITH_PORTS.contains(protocol));
    if ports && portless {
        let message = "it asks for ports, but of protocols that have none";
        let mend = "remove the ports, or add tcp or udp to `protocol`";
        reader.faults.add(code::MATCH_NEVER, place, message, mend);
    }
    let (from, to) = (&found.source_prefixes, &found.destination_prefixes);
    let shared = from.iter().any(|a| to.iter().any(|b| a.addr().is_ipv4() == b.addr().is_ipv4()));
    if !from.is_empty() && !to.is_empty() && !shared {
        let message = "its sources and destinations have no address family in common";
        let mend = "make two matches of it, one for each family";
        reader.faults.add(code::MATCH_NEVER, place, message, mend);
    }
}

/// A number, or a name of RFC 2474 (CS), RFC 2597 (AF), RFC 3246 (EF), RFC 8622 (LE).
fn dscp(reader: &mut Reader, node: &Node, place: &Place<'_>) -> Option<u8> {
    let found = match node {
        Node::Integer(value) => u8::try_from(*value).ok().filter(|value| *value < 64),
        other => dscp_named(&reader.node_text(other, place)?.to_ascii_lowercase()),
    };
    if found.is_none() {
        let message = "this is no DSCP";
        let mend = "write a number from 0 to 63, or a name: ef, af11 to af43, cs0 to cs7, le";
        reader.faults.add(code::OUT_OF_RANGE, place, message, mend);
    }
    found
}

fn dscp_named(name: &str) -> Option<u8> {
    let digit = |byte: u8, low: u8, high: u8| {
        let value = byte.checked_sub(b'0')?;
        (low..=high).contains(&value).then_some(value)
    };
    match name.as_bytes() {
        b"ef" => Some(46),
        b"le" => Some(1),
        [b'c', b's', class] => Some(digit(*class, 0, 7)? * 8),
        [b'a', b'f', class, drop] => Some(digit(*class, 1, 4)? * 8 + digit(*drop, 1, 3)? * 2),
        _ => None,
    }
}

/// IANA's protocol numbers.
fn protocol(reader: &mut Reader, node: &Node, place: &Place<'_>) -> Option<u8> {
    const NAMES: [(&str, u8); 8] = [
        ("icmp", 1),
        ("tcp", 6),
        ("udp", 17),
        ("gre", 47),
        ("esp", 50),
        ("ah", 51),
        ("icmpv6", 58),
        ("sctp", 132),
    ];
    let found = match node {
        Node::Integer(value) => u8::try_from(*value).ok(),
        other => {
            let name = reader.node_text(other, place)?;
            NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
        }
    };
    if found.is_none() {
        let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        let mend = format!("write a number from 0 to 255, or one of: {}", names.join(", "));
        reader.faults.add(code::UNKNOWN_WORD, place, "this is no protocol", mend);
    }
    found
}
