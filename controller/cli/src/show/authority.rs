//! The fleet's CA, and how far its replacement is.

use hawser_proto::operator::v1::{Authority, AuthorityStage, AuthorityStatus};
use serde_json::{Value, json};

use super::Style;
use super::style::clean;
use crate::time::utc;

/// What is to be done with a request.
pub const REQUEST_NOTE: &str = "Sign it where the root's key is:\n  hawser-controller sign-ca \
    --root root.pem --root-key root-offline.key --request FILE --to ca.pem\nThen: hawser ca rotate \
    --certificate ca.pem";
/// Names that are shown; `--json` has more.
const SHOWN: usize = 20;

pub fn authority(style: &Style, status: &AuthorityStatus) -> String {
    let mut lines = Vec::new();
    if let Some(issuing) = &status.issuing {
        lines.push(format!("signs      {}", line(style, issuing)));
    }
    if status.rotated_unix_ms > 0 {
        lines.push(format!("           since {} UTC", utc(status.rotated_unix_ms)));
    }
    if let Some(retiring) = &status.retiring {
        lines.push(format!("still good {}", line(style, retiring)));
    }
    lines.push(match status.stage() {
        AuthorityStage::Overlap => overlap(style, status),
        AuthorityStage::Requested => {
            "A request for the next one waits for the root's signature: hawser ca rotate shows it."
                .to_owned()
        }
        AuthorityStage::Steady | AuthorityStage::Unspecified => {
            format!("{} edges have a good certificate.", status.edges)
        }
    });
    lines.join("\n")
}

fn line(style: &Style, authority: &Authority) -> String {
    let until = utc(authority.ends_unix_s.saturating_mul(1_000));
    format!("{}  until {until} UTC", style.strong(&clean(&authority.id)))
}

fn overlap(style: &Style, status: &AuthorityStatus) -> String {
    let moved = status.edges.saturating_sub(status.edges_left);
    let figures = format!("{moved} of {} edges have moved", status.edges);
    if status.edges_left == 0 {
        return format!("{}. Then: hawser ca retire", style.good(&figures));
    }
    let names: Vec<String> = status.left.iter().take(SHOWN).map(|name| clean(name)).collect();
    let more = (status.edges_left as usize).saturating_sub(names.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}; left: {}{more}", style.middling(&figures), names.join(", "))
}

pub fn authority_json(status: &AuthorityStatus) -> Value {
    let stage = match status.stage() {
        AuthorityStage::Overlap => "overlap",
        AuthorityStage::Requested => "requested",
        AuthorityStage::Steady | AuthorityStage::Unspecified => "steady",
    };
    let one = |authority: &Authority| {
        json!({
            "id": authority.id,
            "serial": authority.serial,
            "starts_unix_s": authority.starts_unix_s,
            "ends_unix_s": authority.ends_unix_s,
        })
    };
    json!({
        "stage": stage,
        "issuing": status.issuing.as_ref().map(one),
        "retiring": status.retiring.as_ref().map(one),
        "request_pem": status.request_pem,
        "edges": status.edges,
        "edges_left": status.edges_left,
        "left": status.left,
        "rotated_unix_ms": status.rotated_unix_ms,
        "renew_within_s": status.renew_within_s,
    })
}
