//! Numbers with units.

use std::ops::RangeInclusive;

use super::{Fields, Place, Reader};
use crate::document::Node;
use crate::fault::{code, quote};
use crate::nearest::nearest;

/// A kind of quantity.
#[derive(Debug)]
pub(super) struct Quantity {
    /// In words: `it is no {what}`.
    what: &'static str,
    example: &'static str,
    /// Ascending; how many of the first one each is.
    units: &'static [(&'static str, u64)],
}

/// In microseconds.
pub(super) const TIME: Quantity = Quantity {
    what: "time",
    example: "150ms",
    units: &[("us", 1), ("ms", 1_000), ("s", 1_000_000), ("min", 60_000_000), ("h", 3_600_000_000)],
};

/// In parts per million.
pub(super) const SHARE: Quantity =
    Quantity { what: "share", example: "1%", units: &[("ppm", 1), ("%", 10_000)] };

/// In bits per second.
pub(super) const RATE: Quantity = Quantity {
    what: "rate",
    example: "20kbps",
    units: &[("bps", 1), ("kbps", 1_000), ("Mbps", 1_000_000), ("Gbps", 1_000_000_000)],
};

impl Quantity {
    fn unit_names(&self) -> String {
        let names: Vec<&str> = self.units.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// In the largest unit that leaves no fraction.
    pub(super) fn show(&self, value: u64) -> String {
        let whole = |(_, size): &&(&str, u64)| value > 0 && value.is_multiple_of(*size);
        let (name, size) = self.units.iter().rev().find(whole).unwrap_or(&self.units[0]);
        format!("{}{name}", value / size)
    }
}

impl Reader {
    /// A number with its unit, as so many of the smallest unit; between two units it is rounded.
    pub(super) fn quantity(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        kind: &Quantity,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let node = fields.get(key)?;
        let value = self.any_quantity(node, &fields.at(key), kind)?;
        if value >= *range.start() as f64 && value <= *range.end() as f64 {
            return Some(value.round() as u64);
        }
        let (low, high) = (kind.show(*range.start()), kind.show(*range.end()));
        let message = format!("it is outside {low} to {high}");
        let mend = format!("choose a {} from {low} to {high}", kind.what);
        self.faults.add(code::OUT_OF_RANGE, fields.at(key), message, mend);
        None
    }

    /// Of any size, also below zero.
    fn any_quantity(&mut self, node: &Node, place: &Place<'_>, kind: &Quantity) -> Option<f64> {
        let text = match node {
            Node::Text(text) => text.trim(),
            Node::Integer(value) => return self.without_unit(&value.to_string(), place, kind),
            Node::Float(value) => return self.without_unit(&value.to_string(), place, kind),
            other => {
                self.wrong_type(place, &format!("a {} with its unit", kind.what), other);
                return None;
            }
        };
        let number = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
        let (digits, unit) = text.split_at(text.find(|c| !number(c)).unwrap_or(text.len()));
        let unit = unit.trim_start();
        let Ok(value) = digits.parse::<f64>() else {
            let message = format!("{} is no {}", quote(text), kind.what);
            let mend = format!("write a number and its unit, e.g. {}", kind.example);
            self.faults.add(code::QUANTITY_INVALID, place, message, mend);
            return None;
        };
        if unit.is_empty() {
            return self.without_unit(digits, place, kind);
        }
        if let Some((_, size)) = kind.units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))
        {
            return Some(value * *size as f64);
        }
        let message = format!("{} is no unit of a {}", quote(unit), kind.what);
        let mend = match nearest(unit, kind.units.iter().map(|(name, _)| *name)) {
            Some(meant) if unit.len() > 1 => format!("did you mean {digits}{meant}?"),
            _ => format!("use one of: {}", kind.unit_names()),
        };
        self.faults.add(code::UNIT_UNKNOWN, place, message, mend);
        None
    }

    fn without_unit(&mut self, number: &str, place: &Place<'_>, kind: &Quantity) -> Option<f64> {
        let message = format!("{number} has no unit");
        let mend = format!("write it with one of: {}; e.g. {}", kind.unit_names(), kind.example);
        self.faults.add(code::UNIT_MISSING, place, message, mend);
        None
    }
}
