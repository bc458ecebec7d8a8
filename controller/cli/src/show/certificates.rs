//! What was revoked, and what replaces it.

use hawser_proto::operator::v1::{ReplaceResponse, RevokeResponse};
use serde_json::{Value, json};

use super::style::clean;
use crate::time::utc;

pub fn revoked(done: &RevokeResponse, target: &str) -> String {
    let target = clean(target);
    match done.serials.len() {
        0 => format!("{target} had no certificate that was still good."),
        count => format!(
            "{count} certificates of {target} are good no more; list {} says so to every agent.",
            done.list_number
        ),
    }
}

/// What stands before the tokens.
pub fn replaced(done: &ReplaceResponse, target: &str) -> String {
    let mut text = revoked(&done.revoked.clone().unwrap_or_default(), target);
    for token in &done.tokens {
        let expires = token.token.as_ref().map_or(0, |token| token.expires_unix_ms);
        let (edge, expires) = (clean(&token.edge), utc(expires));
        text.push_str(&format!("\nThe token of the new {edge}, until {expires} UTC:"));
    }
    text
}

pub fn revoked_json(done: &RevokeResponse) -> Value {
    json!({"serials": done.serials, "list_number": done.list_number})
}

pub fn replaced_json(done: &ReplaceResponse) -> Value {
    let token = |made: &hawser_proto::operator::v1::ReplacementToken| {
        let token = made.token.clone().unwrap_or_default();
        super::json::token_created(&token, Some(&made.edge))
    };
    json!({
        "revoked": revoked_json(&done.revoked.clone().unwrap_or_default()),
        "tokens": done.tokens.iter().map(token).collect::<Vec<_>>(),
    })
}
