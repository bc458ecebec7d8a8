//! Bytes to a tree. Bounded in size, depth and number of nodes, so that no document can exhaust its reader.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use crate::fault::{Fault, code};
use crate::limits::{MAX_ALIASED_NODES, MAX_DEPTH, MAX_DOCUMENT_BYTES, MAX_NODES};

/// A document without a meaning yet. Mappings keep their duplicate keys: each of them is a fault with its own path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// What it is, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Null => "nothing",
            Node::Bool(_) => "true or false",
            Node::Integer(_) => "a whole number",
            Node::Float(_) => "a number",
            Node::Text(_) => "text",
            Node::List(_) => "a list",
            Node::Map(_) => "a mapping",
        }
    }
}

/// Reads YAML or JSON.
pub(crate) fn read(document: &[u8]) -> Result<Node, Fault> {
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(too_large(document.len()));
    }
    let text = std::str::from_utf8(document).map_err(|error| Fault {
        code: code::DOCUMENT_ENCODING,
        path: String::new(),
        message: format!("octet {} is not UTF-8", error.valid_up_to()),
        mend: "save the document as UTF-8".to_owned(),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // JSON may be indented by tabs, which YAML refuses; a YAML document may begin with a brace, too.
    if text.trim_start().starts_with('{')
        && let Ok(node) = serde_json::from_str::<Node>(text)
    {
        return within_depth(node);
    }
    match serde_saphyr::from_str_with_options::<Node>(text, options()) {
        Ok(Node::Null) => Err(Fault {
            code: code::DOCUMENT_EMPTY,
            path: String::new(),
            message: "the document is empty".to_owned(),
            mend: "begin with `fleet: NAME` and `sites:`".to_owned(),
        }),
        Ok(node) => within_depth(node),
        Err(error) => Err(unreadable(&error)),
    }
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            max_anchors: 1_000,
            max_aliases: 10_000,
            max_documents: 2,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_ALIASED_NODES,
            max_replay_stack_depth: 8,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn too_large(bytes: usize) -> Fault {
    Fault {
        code: code::DOCUMENT_TOO_LARGE,
        path: String::new(),
        message: format!("the document has {bytes} octets; at most {MAX_DOCUMENT_BYTES} are read"),
        mend: "is it the right file? A fleet of 10,000 sites fits".to_owned(),
    }
}

fn unreadable(error: &serde_saphyr::Error) -> Fault {
    let path = match error.location() {
        Some(at) if at.line() > 0 => format!("line {}, column {}", at.line(), at.column()),
        _ => String::new(),
    };
    let text = error.to_string();
    let complex = text.contains("budget") || text.contains("limit") || text.contains("depth");
    let (code, mend) = if complex {
        (code::DOCUMENT_TOO_COMPLEX, "nest less, and write out what aliases multiply")
    } else {
        (code::DOCUMENT_SYNTAX, "correct the YAML at this place: indentation, quotes, brackets")
    };
    Fault { code, path, message: text.chars().take(300).collect(), mend: mend.to_owned() }
}

fn within_depth(node: Node) -> Result<Node, Fault> {
    fn depth(node: &Node) -> usize {
        match node {
            Node::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            Node::Map(fields) => 1 + fields.iter().map(|(_, v)| depth(v)).max().unwrap_or(0),
            _ => 0,
        }
    }
    if depth(&node) <= MAX_DEPTH {
        return Ok(node);
    }
    Err(Fault {
        code: code::DOCUMENT_TOO_COMPLEX,
        path: String::new(),
        message: format!("the document is nested deeper than {MAX_DEPTH} levels"),
        mend: "nest less".to_owned(),
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = access.next_key::<Node>()? {
            let key = match key {
                Node::Text(text) => text,
                Node::Integer(number) => number.to_string(),
                Node::Bool(value) => value.to_string(),
                // No field has such a name, so the decoder says where it is.
                other => format!("({})", other.kind()),
            };
            fields.push((key, access.next_value()?));
        }
        Ok(Node::Map(fields))
    }
}

#[cfg(test)]
mod tests;
