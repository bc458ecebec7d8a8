//! Troubles across sites, and the advice in force.

use hawser_proto::operator::v1::ListAdviceResponse;

use super::style::{Shade, Style, clean};
use crate::time::span;

pub fn advice(style: &Style, answer: &ListAdviceResponse, now_unix_ms: u64) -> String {
    let mut parts = Vec::new();
    match answer.mode.as_str() {
        "on" => {}
        "off" => return "The controller gives no advice: it runs with --advice off.".to_owned(),
        mode => parts.push(format!("Nothing is sent: the controller runs with --advice {mode}.")),
    }
    if answer.troubles.is_empty() && answer.advice.is_empty() {
        parts.push("No trouble is seen across sites, and no advice is in force.".to_owned());
        return parts.join("\n");
    }
    let span_since = |at: u64| span(now_unix_ms.saturating_sub(at) / 1_000);
    let mut troubles = style.table(&["TROUBLE", "OF", "FOR", "SEEN BY", "EDGES ADVISED", "STATE"]);
    for trouble in &answer.troubles {
        let (state, shade) =
            if trouble.ending { ("ending", Shade::Middling) } else { ("lasts", Shade::Bad) };
        troubles.add_row([
            style.cell(&trouble.id, Shade::Plain),
            style.cell(&trouble.subject, Shade::Plain),
            style.cell(&span_since(trouble.since_unix_ms), Shade::Plain),
            style.cell(&format!("{} of {} sites", trouble.seen_by, trouble.of), Shade::Plain),
            style.cell(&trouble.advised.to_string(), Shade::Plain),
            style.cell(state, shade),
        ]);
    }
    if !answer.troubles.is_empty() {
        parts.push(style.finish(&troubles));
    }
    let mut table = style.table(&["EDGE", "ADVICE", "AVOID", "FOR", "RUNS OUT IN", "BECAUSE"]);
    for given in &answer.advice {
        let left = span(given.until_unix_ms.saturating_sub(now_unix_ms) / 1_000);
        table.add_row([
            style.cell(&given.edge, Shade::Plain),
            style.cell(&given.id, Shade::Plain),
            style.cell(&avoided(&given.avoid_path_ids, &given.avoid_edges), Shade::Plain),
            style.cell(&span_since(given.since_unix_ms), Shade::Plain),
            style.cell(&left, Shade::Plain),
            style.cell(&given.reason, Shade::Plain),
        ]);
    }
    if !answer.advice.is_empty() {
        parts.push(style.finish(&table));
    }
    parts.join("\n\n")
}

fn avoided(paths: &[u32], edges: &[String]) -> String {
    const SHOWN: usize = 6;
    let mut list: Vec<String> = edges.iter().map(|edge| clean(edge)).collect();
    list.extend(paths.iter().map(|id| format!("path {id}")));
    let more = list.len().saturating_sub(SHOWN);
    list.truncate(SHOWN);
    if more > 0 {
        list.push(format!("{more} more"));
    }
    list.join(", ")
}
