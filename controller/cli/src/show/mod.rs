//! Answers as text for people. Pure: what is shown depends on the arguments alone.

mod advice;
mod audit;
mod authority;
mod certificates;
mod decisions;
mod ike;
pub mod json;
mod lists;
mod maintenance;
mod paths;
mod plan;
mod replay;
mod style;
mod why;

use std::fmt::Write as _;

use hawser_proto::agent::v1::Fault;
use hawser_proto::config::v1::GenerationId;
use hawser_proto::operator::v1::{ApplyResponse, GetFleetResponse, GetStatusResponse};

pub use advice::advice;
pub use audit::{audit, audit_whole};
pub use authority::{REQUEST_NOTE, authority, authority_json};
pub use certificates::{replaced, replaced_json, revoked, revoked_json};
pub use decisions::sentence;
pub use lists::{convergence_word as convergence, event, events, sites, token_created, tokens};
pub use maintenance::{drain, drains, rollout};
pub use paths::paths;
pub use plan::{diff, history, plan};
pub use replay::replayed;
pub use style::{Style, clean};
pub use why::{why, why_at};

use crate::time::{span, utc};
use style::Shade;

/// Every fault with its place and its mend.
pub fn faults(style: &Style, faults: &[Fault]) -> String {
    let mut table = style.table(&["WHERE", "FAULT", "MEND"]);
    for fault in faults {
        let place = if fault.path.is_empty() { "document" } else { &fault.path };
        table.add_row([
            style.cell(place, Shade::Plain),
            style.cell(&format!("{} [{}]", fault.message, fault.code), Shade::Bad),
            style.cell(&fault.mend, Shade::Plain),
        ]);
    }
    style.finish(&table)
}

pub fn applied(style: &Style, response: &ApplyResponse) -> String {
    if response.unchanged {
        return format!("Nothing to do: revision {} says the same.", response.revision);
    }
    let head = style.good(&format!("Revision {} is committed.", response.revision));
    if response.changed.is_empty() {
        return format!("{head} It changes no edge.");
    }
    let mut table = style.table(&["EDGE", "GENERATION"]);
    for changed in &response.changed {
        let generation = generation(changed.id.as_ref());
        table.add_row([
            style.cell(&changed.edge, Shade::Plain),
            style.cell(&generation, Shade::Plain),
        ]);
    }
    let count = response.changed.len();
    let edges =
        if count == 1 { "1 edge changes".to_owned() } else { format!("{count} edges change") };
    let staged = match &response.rollout {
        Some(rollout) => format!("\n\nIt is rolled out in {} waves: hawser rollout", rollout.waves),
        None => String::new(),
    };
    format!("{head} {edges}:\n\n{}{staged}", style.finish(&table))
}

/// The document as it is; what is known about it as comments, so that it can be applied again.
pub fn fleet(style: &Style, response: &GetFleetResponse) -> String {
    let mut head = format!(
        "# revision {}, committed {} UTC by {}",
        response.revision,
        utc(response.committed_unix_ms),
        clean(&response.committed_by)
    );
    if !response.comment.is_empty() {
        let _ = write!(head, "\n# {}", clean(&response.comment));
    }
    let document = String::from_utf8_lossy(&response.document);
    // A JSON document has no comments.
    if document.trim_start().starts_with('{') {
        return document.into_owned();
    }
    format!("{}\n{document}", style.faint(&head))
}

pub fn status(style: &Style, status: &GetStatusResponse) -> String {
    let of = |part: u32, whole: u32| {
        let text = format!("{part} of {whole}");
        if part == whole { style.good(&text) } else { style.bad(&text) }
    };
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{}  {value}", style.faint(&format!("{name:<15}")));
    };
    row("fleet", clean(&status.fleet));
    row(
        "revision",
        match status.revision {
            0 => "none yet: apply a document".to_owned(),
            revision => revision.to_string(),
        },
    );
    row("sites", status.sites.to_string());
    row("edges connected", of(status.edges_connected, status.edges));
    row("edges converged", of(status.edges_converged, status.edges));
    row("paths up", of(status.paths_up, status.paths));
    let version = clean(&status.controller_version);
    row("controller", format!("{version}, up {}", span(status.uptime_s)));
    let notable: Vec<String> = status
        .counters
        .iter()
        .filter(|(_, value)| **value > 0)
        .map(|(name, value)| format!("{} {value}", clean(name)))
        .collect();
    if !notable.is_empty() {
        row("counters", notable.join(", "));
    }
    text
}

/// `1.7`: epoch and number; `-` for none.
fn generation(id: Option<&GenerationId>) -> String {
    match id {
        Some(id) if id.number > 0 => format!("{}.{}", id.epoch, id.number),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests;
