//! SLA classes: limits, how sure a verdict must be, and the presets that both may begin from.

use std::ops::RangeInclusive;

use super::quantity::{Quantity, SHARE, TIME};
use super::{Fields, Place, Reader};
use crate::document::Node;
use crate::fault::{code, quote};
use crate::intent::{SlaClass, SlaName};
use crate::limits;
use crate::names::{FLEET, Kind};
use crate::nearest::nearest;
use crate::presets;

pub(super) const SLA_FIELDS: &[&str] = &[
    "name",
    "base",
    "max_rtt",
    "max_jitter",
    "max_loss",
    "loss_confidence",
    "loss_mended",
    "delay_damage",
    "delay_mended",
    "max_rtt_ms",
    "max_jitter_ms",
    "max_loss_pct",
];

/// In the document's order, then the presets that it does not replace.
pub(super) fn sla_classes(reader: &mut Reader, fields: &Fields<'_>) -> Vec<SlaClass> {
    let mut classes = reader.list(fields, "sla_classes", limits::MAX_CLASSES, sla);
    for preset in presets::all() {
        if classes.iter().all(|class| class.name != preset.name) {
            reader.names.note(Kind::SlaClass, preset.name.as_str());
            classes.push(preset);
        }
    }
    classes
}

/// A limit, in either spelling.
struct Limit {
    key: &'static str,
    kind: Quantity,
    /// The spelling with the unit in the name, and how many of the smallest unit one of it is.
    plain_key: &'static str,
    plain_factor: f64,
    /// In the smallest unit.
    max: u64,
}

const RTT: Limit = Limit {
    key: "max_rtt",
    kind: TIME,
    plain_key: "max_rtt_ms",
    plain_factor: 1_000.0,
    max: 60_000_000,
};
const JITTER: Limit = Limit { key: "max_jitter", plain_key: "max_jitter_ms", ..RTT };
const LOSS: Limit = Limit {
    key: "max_loss",
    kind: SHARE,
    plain_key: "max_loss_pct",
    plain_factor: 10_000.0,
    max: 1_000_000,
};

/// What a limit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Unlimited,
    At(u32),
    /// It could not be read, which is a fault of its own.
    Faulty,
}

impl Read {
    fn value(self) -> Option<u32> {
        match self {
            Read::At(value) => Some(value),
            Read::Unlimited | Read::Faulty => None,
        }
    }
}

fn sla(reader: &mut Reader, node: &Node, place: &Place<'_>) -> SlaClass {
    let fields = reader.fields(node, place, SLA_FIELDS);
    let name = reader.required_label(&fields, "name");
    reader.names.declare(&mut reader.faults, Kind::SlaClass, FLEET, &name, fields.at("name"));
    let base = base(reader, &fields);
    let of_base = |value: fn(&SlaClass) -> Option<u32>| match &base {
        Some(base) => value(base).map_or(Read::Unlimited, Read::At),
        None => Read::Faulty,
    };
    let rtt = limit(reader, &fields, &RTT, of_base(|base| base.max_rtt_us));
    let jitter = limit(reader, &fields, &JITTER, of_base(|base| base.max_jitter_us));
    let loss = limit(reader, &fields, &LOSS, of_base(|base| base.max_loss_ppm));
    if fields.complete && [rtt, jitter, loss].iter().all(|read| *read == Read::Unlimited) {
        let mend = "give max_rtt, max_jitter or max_loss, or a base";
        reader.faults.add(code::SLA_WITHOUT_LIMIT, place, "the SLA class limits nothing", mend);
    } else {
        check_use(reader, &fields, &["loss_confidence", "loss_mended"], "max_loss", &[loss]);
        let limits = "max_rtt or max_jitter";
        check_use(reader, &fields, &["delay_damage", "delay_mended"], limits, &[rtt, jitter]);
    }
    let base = base.unwrap_or_default();
    let mut time = |key, least_ms, most_ms| milliseconds(reader, &fields, key, least_ms..=most_ms);
    let loss_mended_ms = time("loss_mended", 1_000, 3_600_000).or(base.loss_mended_ms);
    let delay_damage_ms = time("delay_damage", 100, 60_000).or(base.delay_damage_ms);
    let delay_mended_ms = time("delay_mended", 1_000, 3_600_000).or(base.delay_mended_ms);
    let class = SlaClass {
        name: SlaName::new(name),
        max_rtt_us: rtt.value(),
        max_jitter_us: jitter.value(),
        max_loss_ppm: loss.value(),
        loss_confidence_ppm: confidence(reader, &fields).or(base.loss_confidence_ppm),
        loss_mended_ms,
        delay_damage_ms,
        delay_mended_ms,
    };
    check_order(reader, &fields, &class);
    class
}

/// The preset whose values hold where the class gives none; of no base, one without any.
fn base(reader: &mut Reader, fields: &Fields<'_>) -> Option<SlaClass> {
    if fields.get("base").is_none() {
        return Some(SlaClass::default());
    }
    let text = reader.text(fields, "base")?;
    let preset = presets::named(&text);
    if preset.is_none() {
        let mend = match nearest(&text, presets::names()) {
            Some(meant) => format!("did you mean {}?", quote(meant)),
            None => {
                let names: Vec<&str> = presets::names().collect();
                format!("choose one of: {}; or write every limit here", names.join(", "))
            }
        };
        let message = format!("there is no preset {}", quote(&text));
        reader.faults.add(code::UNKNOWN_PRESET, fields.at("base"), message, mend);
    }
    preset
}

fn limit(reader: &mut Reader, fields: &Fields<'_>, limit: &Limit, base: Read) -> Read {
    let Limit { key, plain_key, .. } = *limit;
    let given = (fields.get(key), fields.get(plain_key).is_some());
    if let (Some(_), true) = given {
        let (message, mend) = (format!("{key} is given too"), format!("keep {key}"));
        reader.faults.add(code::FIELD_CONFLICT, fields.at(plain_key), message, mend);
    }
    let (key, value) = match given {
        // Takes a limit of the base away.
        (Some(Node::Text(word)), _) if word == "none" => return Read::Unlimited,
        (Some(_), _) => (key, reader.quantity(fields, key, &limit.kind, 0..=limit.max)),
        (None, true) => {
            let max = limit.max as f64 / limit.plain_factor;
            let value = reader.number(fields, plain_key, 0.0..=max);
            (plain_key, value.map(|value| (value * limit.plain_factor).round() as u64))
        }
        (None, false) => return base,
    };
    // On the wire 0 is no limit, which is not what somebody means who writes it.
    if value == Some(0) {
        let message = "no path can meet a limit of zero";
        let mend = format!("give the highest that is acceptable, or remove {key}");
        reader.faults.add(code::SLA_LIMIT_ZERO, fields.at(key), message, mend);
        return Read::Faulty;
    }
    value.and_then(|value| u32::try_from(value).ok()).map_or(Read::Faulty, Read::At)
}

/// Below 90 % two losses in a row are damage; above 99.99 % people complain first.
fn confidence(reader: &mut Reader, fields: &Fields<'_>) -> Option<u32> {
    let ppm = reader.quantity(fields, "loss_confidence", &SHARE, 900_000..=999_900)?;
    u32::try_from(ppm).ok()
}

fn milliseconds(
    reader: &mut Reader,
    fields: &Fields<'_>,
    key: &str,
    range_ms: RangeInclusive<u64>,
) -> Option<u32> {
    let range_us = range_ms.start() * 1_000..=range_ms.end() * 1_000;
    let micros = reader.quantity(fields, key, &TIME, range_us)?;
    u32::try_from((micros + 500) / 1_000).ok()
}

/// How a limit is judged says nothing without the limit.
fn check_use(
    reader: &mut Reader,
    fields: &Fields<'_>,
    keys: &[&str],
    limits: &str,
    reads: &[Read],
) {
    if reads.iter().any(|read| *read != Read::Unlimited) {
        return;
    }
    for key in keys.iter().filter(|key| fields.get(key).is_some()) {
        let message = format!("it says how {limits} is judged, which is not given");
        let mend = format!("give {limits}, or remove {key}");
        reader.faults.add(code::SENSITIVITY_WITHOUT_LIMIT, fields.at(key), message, mend);
    }
}

fn check_order(reader: &mut Reader, fields: &Fields<'_>, class: &SlaClass) {
    let damage = u64::from(class.delay_damage_ms.unwrap_or(SlaClass::DELAY_DAMAGE_MS));
    let mended = u64::from(class.delay_mended_ms.unwrap_or(SlaClass::DELAY_MENDED_MS));
    if mended >= damage {
        return;
    }
    let given = fields.get("delay_mended").is_some();
    let key = if given { "delay_mended" } else { "delay_damage" };
    let (damage, mended) = (TIME.show(damage * 1_000), TIME.show(mended * 1_000));
    let message = format!("delay is damage after {damage}, but mended after {mended} already");
    let mend = "mending takes more proof than damage: make delay_mended the longer one";
    reader.faults.add(code::MENDED_BEFORE_DAMAGE, fields.at(key), message, mend);
}
