//! Rollouts and drains.

use std::fmt::Write as _;

use hawser_proto::operator::v1::{Drain, Rollout, SetDrainResponse};

use super::generation;
use super::style::{Shade, Style, clean};
use crate::time::utc;

pub fn rollout(style: &Style, rollout: &Rollout) -> String {
    if rollout.revision == 0 {
        return "There was no staged rollout yet.".to_owned();
    }
    let phase = match rollout.phase.as_str() {
        "done" => style.good("done"),
        "rolled-back" => style.bad("rolled back"),
        phase => clean(phase),
    };
    let mut text = format!(
        "Revision {} after {}: wave {} of {}, {phase}",
        rollout.revision, rollout.from_revision, rollout.wave, rollout.waves
    );
    if !rollout.reason.is_empty() {
        let _ = write!(text, "\n{}", style.bad(&clean(&rollout.reason)));
    }
    if rollout.until_unix_ms > 0 {
        let what = match rollout.phase.as_str() {
            "awaiting-confirmation" => "taken back unless confirmed (hawser rollout confirm) by",
            "soaking" => "the next step not before",
            _ => "edges have until",
        };
        let _ = write!(text, "\n{what} {} UTC", utc(rollout.until_unix_ms));
    }
    let mut table = style.table(&["WAVE", "SITE", "EDGE", "STATE"]);
    let mut edges: Vec<_> = rollout.edges.iter().collect();
    edges.sort_by_key(|edge| (edge.wave, &edge.site, &edge.edge));
    for edge in edges {
        let shade = match edge.state.as_str() {
            "confirmed" => Shade::Good,
            "failed" => Shade::Bad,
            "waiting" => Shade::Faint,
            _ => Shade::Middling,
        };
        table.add_row([
            style.cell(&edge.wave.to_string(), Shade::Plain),
            style.cell(&edge.site, Shade::Plain),
            style.cell(&edge.edge, Shade::Plain),
            style.cell(&edge.state, shade),
        ]);
    }
    format!("{text}\n\n{}", style.finish(&table))
}

pub fn drains(style: &Style, drains: &[Drain]) -> String {
    if drains.is_empty() {
        return "Traffic is led away from nothing, but for what the document says.".to_owned();
    }
    let mut table = style.table(&["DRAINED", "SINCE (UTC)", "BY", "COMMENT"]);
    for drain in drains {
        table.add_row([
            style.cell(&drain.target, Shade::Plain),
            style.cell(&utc(drain.since_unix_ms), Shade::Plain),
            style.cell(&drain.by, Shade::Plain),
            style.cell(&drain.comment, Shade::Plain),
        ]);
    }
    style.finish(&table)
}

pub fn drain(style: &Style, target: &str, drained: bool, response: &SetDrainResponse) -> String {
    let target = clean(target);
    let head = match (drained, response.unchanged) {
        (true, true) => return format!("Traffic is led away from {target} already."),
        (false, true) => {
            return format!("{target} is not drained; look whether its document says so.");
        }
        (true, false) => format!("Traffic is led away from {target}."),
        (false, false) => format!("Traffic may come back to {target}."),
    };
    let mut table = style.table(&["EDGE", "GENERATION"]);
    for changed in &response.changed {
        table.add_row([
            style.cell(&changed.edge, Shade::Plain),
            style.cell(&generation(changed.id.as_ref()), Shade::Plain),
        ]);
    }
    format!("{}\n\n{}", style.good(&head), style.finish(&table))
}
