//! One layout for documents: two columns a level, lists below their key, no blanks at the ends of lines, at most one empty
//! line in a row. Comments stay, and so does what stands within a line. JSON is laid out anew.
//!
//! Whatever it does, the result is read again and must mean the same; else nothing is changed.

mod yaml;

use crate::document::{self, Node};
use crate::fault::Fault;

/// Why a document was left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unformatted {
    #[error("{0}")]
    Unreadable(Fault),
    #[error("its layout is too unusual to be changed without changing what it means")]
    Unusual,
}

/// The document in the one layout.
///
/// # Errors
/// If it can't be read, or would mean something else.
pub fn format(document: &[u8]) -> Result<String, Unformatted> {
    let tree = document::read(document).map_err(Unformatted::Unreadable)?;
    let text = String::from_utf8_lossy(document);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let formatted = if text.trim_start().starts_with('{')
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    {
        let mut out = String::new();
        json(&tree, 0, &mut out);
        out.push('\n');
        out
    } else {
        let once = yaml::layout(text);
        // Text over several lines may be laid out differently again: what has no rest is left to its writer.
        if yaml::layout(&once) != once {
            return Err(Unformatted::Unusual);
        }
        once
    };
    match document::read(formatted.as_bytes()) {
        Ok(again) if again == tree => Ok(formatted),
        _ => Err(Unformatted::Unusual),
    }
}

fn json(node: &Node, depth: usize, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    match node {
        Node::List(items) if !items.is_empty() => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                json(item, depth + 1, out);
            }
            line(depth, out);
            out.push(']');
        }
        Node::Map(fields) if !fields.is_empty() => {
            out.push('{');
            for (index, (key, value)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(depth + 1, out);
                out.push_str(&quoted(key));
                out.push_str(": ");
                json(value, depth + 1, out);
            }
            line(depth, out);
            out.push('}');
        }
        Node::List(_) => out.push_str("[]"),
        Node::Map(_) => out.push_str("{}"),
        Node::Null => out.push_str("null"),
        Node::Bool(value) => out.push_str(&value.to_string()),
        Node::Integer(value) => out.push_str(&value.to_string()),
        Node::Float(value) => out.push_str(&serde_json::Value::from(*value).to_string()),
        Node::Text(text) => out.push_str(&quoted(text)),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
