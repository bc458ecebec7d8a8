//! Reading the fields of a mapping, and the places of what is read.

use std::fmt;
use std::ops::RangeInclusive;

use super::Reader;
use crate::document::Node;
use crate::fault::{code, quote};
use crate::limits::MAX_SITES;
use crate::names::Kind;
use crate::nearest::nearest;

/// Where in the document; written out only when it is needed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => Ok(()),
            Place::Field(Place::Root, key) => f.write_str(&shown_key(key)),
            Place::Field(parent, key) => write!(f, "{parent}.{}", shown_key(key)),
            Place::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

fn shown_key(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if key.len() <= 64 && !key.is_empty() && key.chars().all(plain) {
        key.to_owned()
    } else {
        quote(key)
    }
}

/// A mapping whose fields are known.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    entries: &'a [(String, Node)],
    place: &'a Place<'a>,
    /// It was a mapping: what is missing in it is worth a fault.
    pub complete: bool,
}

impl<'a> Fields<'a> {
    /// The field's value; none if it is absent or says nothing.
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        let (_, value) = self.entries.iter().find(|(name, _)| name == key)?;
        (*value != Node::Null).then_some(value)
    }

    /// Where the field is, or would be.
    pub fn at<'k>(&self, key: &'k str) -> Place<'k>
    where
        'a: 'k,
    {
        Place::Field(self.place, key)
    }
}

impl Reader {
    /// Takes a mapping; reports fields that are unknown or there twice.
    pub fn fields<'a>(
        &mut self,
        node: &'a Node,
        place: &'a Place<'a>,
        known: &[&'static str],
    ) -> Fields<'a> {
        let Node::Map(entries) = node else {
            self.wrong_type(place, "a mapping", node);
            return Fields { entries: &[], place, complete: false };
        };
        for (index, (key, _)) in entries.iter().enumerate() {
            let at = Place::Field(place, key);
            if !known.contains(&key.as_str()) {
                let mend = match nearest(key, known.iter().copied()) {
                    Some(meant) => format!("did you mean {}?", quote(meant)),
                    None => format!("remove it; here may stand: {}", known.join(", ")),
                };
                let message = format!("there is no field {} here", quote(key));
                self.faults.add(code::UNKNOWN_FIELD, at, message, mend);
            } else if entries[..index].iter().any(|(earlier, _)| earlier == key) {
                let message = format!("the field {} is here twice", quote(key));
                self.faults.add(code::DUPLICATE_FIELD, at, message, "keep one of them");
            }
        }
        Fields { entries, place, complete: true }
    }

    pub fn wrong_type(&mut self, place: impl fmt::Display, wanted: &str, found: &Node) {
        let mend = match (wanted, found) {
            ("text", Node::Integer(_) | Node::Float(_) | Node::Bool(_)) => {
                "put it in quotes".to_owned()
            }
            ("a list", Node::Text(_) | Node::Integer(_) | Node::Map(_)) => {
                "put it in a list: [ ]".to_owned()
            }
            _ => format!("write {wanted}"),
        };
        let message = format!("{wanted} is expected, but this is {}", found.kind());
        self.faults.add(code::WRONG_TYPE, place, message, mend);
    }

    pub fn missing(&mut self, fields: &Fields<'_>, key: &str) {
        if fields.complete {
            let message = format!("{} is missing", quote(key));
            self.faults.add(code::MISSING_FIELD, fields.at(key), message, "add it");
        }
    }

    /// A list, each item by `read`; absent: empty. Items beyond `max` are one fault and not read.
    pub fn list<T>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        max: usize,
        mut read: impl FnMut(&mut Self, &Node, &Place<'_>) -> T,
    ) -> Vec<T> {
        let place = fields.at(key);
        let items = match fields.get(key) {
            None => return Vec::new(),
            Some(Node::List(items)) => items,
            Some(other) => {
                self.wrong_type(place, "a list", other);
                return Vec::new();
            }
        };
        if items.len() > max {
            let code = if max == MAX_SITES { code::TOO_MANY_SITES } else { code::TOO_MANY_ENTRIES };
            let message = format!("{} entries; at most {max} are allowed", items.len());
            self.faults.add(code, place, message, "split it");
        }
        let items = items.iter().take(max).enumerate();
        items.map(|(index, item)| read(self, item, &Place::Item(&place, index))).collect()
    }

    pub fn node_text(&mut self, node: &Node, place: &Place<'_>) -> Option<String> {
        match node {
            Node::Text(text) => Some(text.clone()),
            other => {
                self.wrong_type(place, "text", other);
                None
            }
        }
    }

    pub fn text(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let place = fields.at(key);
        fields.get(key).and_then(|node| self.node_text(node, &place))
    }

    pub fn flag(&mut self, fields: &Fields<'_>, key: &str, absent: bool) -> bool {
        match fields.get(key) {
            None => absent,
            Some(Node::Bool(value)) => *value,
            Some(other) => {
                self.wrong_type(fields.at(key), "true or false", other);
                absent
            }
        }
    }

    pub fn integer(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        absent: i128,
        range: RangeInclusive<i128>,
    ) -> i128 {
        match fields.get(key) {
            None => absent,
            Some(Node::Integer(value)) if range.contains(value) => *value,
            Some(Node::Integer(value)) => {
                let (low, high) = (*range.start(), *range.end());
                self.out_of_range(fields.at(key), *value, low, high);
                absent
            }
            Some(other) => {
                self.wrong_type(fields.at(key), "a whole number", other);
                absent
            }
        }
    }

    /// A number, whole or not.
    pub fn number(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        range: RangeInclusive<f64>,
    ) -> Option<f64> {
        let value = match fields.get(key)? {
            Node::Integer(value) => *value as f64,
            Node::Float(value) => *value,
            other => {
                self.wrong_type(fields.at(key), "a number", other);
                return None;
            }
        };
        if range.contains(&value) {
            return Some(value);
        }
        self.out_of_range(fields.at(key), value, *range.start(), *range.end());
        None
    }

    fn out_of_range<T: fmt::Display>(&mut self, place: Place<'_>, value: T, low: T, high: T) {
        let message = format!("{value} is outside {low} to {high}");
        let mend = format!("choose a number from {low} to {high}");
        self.faults.add(code::OUT_OF_RANGE, place, message, mend);
    }

    /// One of a few words.
    pub fn word<T: Copy>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text(fields, key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let mend = match nearest(&text, all.iter().copied()) {
            Some(meant) => format!("did you mean {}?", quote(meant)),
            None => format!("choose one of: {}", all.join(", ")),
        };
        let message = format!("{} can't stand here", quote(&text));
        self.faults.add(code::UNKNOWN_WORD, fields.at(key), message, mend);
        None
    }

    /// Two names that something of the fleet must have.
    pub fn pair(&mut self, node: &Node, place: &Place<'_>, kind: Kind) -> Option<(String, String)> {
        let Node::List(items) = node else {
            self.wrong_type(place, "a list", node);
            return None;
        };
        let [a, b] = items.as_slice() else {
            let message = format!("a pair has two members, this has {}", items.len());
            self.faults.add(code::PAIR_INVALID, place, message, "write [A, B]");
            return None;
        };
        let a = self.reference(a, &Place::Item(place, 0), kind);
        let b = self.reference(b, &Place::Item(place, 1), kind);
        a.zip(b)
    }

    /// A name that something of the fleet must have.
    pub fn reference(&mut self, node: &Node, place: &Place<'_>, kind: Kind) -> Option<String> {
        let name = self.node_text(node, place)?;
        if self.label(&name, place) {
            self.names.refer(kind, &name, place);
        }
        Some(name)
    }

    /// The same, of a field.
    pub fn reference_field(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        kind: Kind,
    ) -> Option<String> {
        let place = fields.at(key);
        fields.get(key).and_then(|node| self.reference(node, &place, kind))
    }

    pub fn required_label(&mut self, fields: &Fields<'_>, key: &str) -> String {
        if fields.get(key).is_none() {
            self.missing(fields, key);
            return String::new();
        }
        self.optional_label(fields, key).unwrap_or_default()
    }

    pub fn optional_label(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let text = self.text(fields, key)?;
        self.label(&text, &fields.at(key));
        Some(text)
    }

    /// Checks a DNS label (RFC 1123 section 2.1), lower case: names go into certificates and file names.
    pub fn label(&mut self, text: &str, place: &Place<'_>) -> bool {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let good = (1..=63).contains(&text.len())
            && text.bytes().all(fits)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if !good {
            let message = match text {
                "" => "the name is empty".to_owned(),
                _ => format!("{} is no DNS label", quote(text)),
            };
            let mend = "use 1 to 63 of a-z, 0-9 and -, with no - at either end";
            self.faults.add(code::NAME_INVALID, place, message, mend);
        }
        good
    }
}
