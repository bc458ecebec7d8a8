//! Traffic classes.

use super::{Fields, Place, Reader};
use crate::document::Node;
use crate::fault::code;
use crate::intent::{
    BalanceBy, ClassMode, ClassName, Match, SegmentName, SlaName, TrafficClass, UplinkName,
    WhenNoneMeets,
};
use crate::limits;
use crate::names::{FLEET, Kind};

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

pub(super) const CLASS_FIELDS: &[&str] = &[
    "name",
    "segment",
    "match",
    "sla",
    "mode",
    "wan_dscp",
    "balance_by",
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
        mode: mode(reader, &fields),
        wan_dscp: wan_dscp(reader, &fields),
    }
}

fn wan_dscp(reader: &mut Reader, fields: &Fields<'_>) -> Option<u8> {
    fields.get("wan_dscp")?;
    u8::try_from(reader.integer(fields, "wan_dscp", -1, 0..=63)).ok()
}

fn mode(reader: &mut Reader, fields: &Fields<'_>) -> ClassMode {
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        Best,
        Balance,
        Duplicate,
    }
    let words = [("best", Word::Best), ("balance", Word::Balance), ("duplicate", Word::Duplicate)];
    let word = reader.word(fields, "mode", &words);
    let weights = [("bandwidth", BalanceBy::Bandwidth), ("cost", BalanceBy::Cost)];
    let balance_by = reader.word(fields, "balance_by", &weights);
    let unread = word.is_none() && fields.get("mode").is_some();
    if fields.get("balance_by").is_some() && word != Some(Word::Balance) && !unread {
        let message = "only a balanced class has weights";
        let mend = "write mode: balance, or remove balance_by";
        reader.faults.add(code::BALANCE_BY_UNUSED, fields.at("balance_by"), message, mend);
    }
    match word {
        None | Some(Word::Best) => ClassMode::Best,
        Some(Word::Balance) => ClassMode::Balance(balance_by.unwrap_or_default()),
        Some(Word::Duplicate) => ClassMode::Duplicate,
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

pub(super) const MATCH_FIELDS: &[&str] = &[
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
