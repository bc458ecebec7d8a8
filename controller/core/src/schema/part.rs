//! The parts that the schema is made of.

use serde_json::{Map, Value, json};

/// A kind of quantity: its units.
pub(super) type Units = [&'static str];
pub(super) const TIME: [&str; 5] = ["us", "ms", "s", "min", "h"];
pub(super) const SHARE: [&str; 2] = ["ppm", "%"];
pub(super) const RATE: [&str; 4] = ["bps", "kbps", "mbps", "gbps"];

/// A schema, and whether the field that has it must be there.
#[derive(Debug, Clone)]
pub(super) struct Part {
    schema: Value,
    needed: bool,
}

impl Part {
    fn new(schema: Value) -> Self {
        Self { schema, needed: false }
    }

    pub fn needed(self) -> Self {
        Self { needed: true, ..self }
    }

    /// With these further rules.
    pub fn but(mut self, rules: Value) -> Self {
        if let (Value::Object(schema), Value::Object(rules)) = (&mut self.schema, rules) {
            schema.extend(rules);
        }
        self
    }

    pub fn value(self) -> Value {
        self.schema
    }
}

pub(super) fn object(fields: &[(&str, Part)]) -> Part {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, part) in fields {
        if part.needed {
            required.push(json!(name));
            properties.insert((*name).to_owned(), part.schema.clone());
        } else {
            // A field that says nothing has its default.
            let or_nothing = json!({"anyOf": [part.schema, {"type": "null"}]});
            properties.insert((*name).to_owned(), or_nothing);
        }
    }
    Part::new(json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    }))
}

pub(super) fn list(item: Part, least: usize, most: usize) -> Part {
    Part::new(json!({
        "type": "array", "items": item.schema, "minItems": least, "maxItems": most,
    }))
}

pub(super) fn any(parts: &[Part]) -> Part {
    let schemas: Vec<Value> = parts.iter().map(|part| part.schema.clone()).collect();
    Part::new(json!({"anyOf": schemas}))
}

pub(super) fn words(words: &[&str]) -> Part {
    Part::new(json!({"type": "string", "enum": words}))
}

pub(super) fn flag() -> Part {
    Part::new(json!({"type": "boolean"}))
}

pub(super) fn integer(least: i64, most: i64) -> Part {
    Part::new(json!({"type": "integer", "minimum": least, "maximum": most}))
}

pub(super) fn number(least: f64, most: f64) -> Part {
    Part::new(json!({"type": "number", "minimum": least, "maximum": most}))
}

pub(super) fn text(pattern: &str) -> Part {
    Part::new(json!({"type": "string", "pattern": pattern}))
}

/// A DNS label.
pub(super) fn label() -> Part {
    text("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
}

/// A number and one of the units, in letters of either case.
pub(super) fn quantity(units: &Units) -> Part {
    let either = |c: char| match c {
        'a'..='z' => format!("[{c}{}]", c.to_ascii_uppercase()),
        other => other.to_string(),
    };
    let units: Vec<String> = units.iter().map(|unit| unit.chars().map(either).collect()).collect();
    text(&format!("^\\s*[0-9.]+\\s*({})\\s*$", units.join("|")))
}
