//! Where traffic is or was, and why nothing moves or moved.

use hawser_proto::agent::v1::{Decision, Explanation};
use hawser_proto::operator::v1::{Account, ExplainResponse};

use super::decisions;
use super::style::{Shade, Style, clean};
use crate::time::{span, utc};

/// What came after a moment is shown with it if it came within this time.
const SOON_MS: u64 = 300_000;

/// The present, then the newest decisions.
pub fn why(
    style: &Style,
    site: &str,
    state: &ExplainResponse,
    decisions: &[Decision],
    now_unix_ms: u64,
) -> String {
    let mut parts = Vec::new();
    if state.accounts.iter().any(|account| account.explanation.is_some()) {
        parts.push(present(style, state, now_unix_ms));
    }
    parts.push(decisions::list(style, site, decisions));
    parts.join("\n\n")
}

fn present(style: &Style, state: &ExplainResponse, now_unix_ms: u64) -> String {
    let header = ["FROM", "TO", "CLASS", "PATH NOW", "SLA", "FOR", "WHY NOTHING MOVES"];
    let mut table = style.table(&header);
    for account in &state.accounts {
        let Some(told) = &account.explanation else { continue };
        let (sla, shade) =
            if told.meets_sla { ("met", Shade::Good) } else { ("not met", Shade::Bad) };
        let path = if told.path_id == 0 { "none" } else { &told.path_name };
        let since = span(now_unix_ms.saturating_sub(told.since_unix_ms) / 1_000);
        table.add_row([
            style.cell(&account.edge, Shade::Plain),
            style.cell(&account.peer_edge, Shade::Plain),
            style.cell(class(&account.traffic_class), Shade::Plain),
            style.cell(path, Shade::Plain),
            style.cell(sla, shade),
            style.cell(&since, Shade::Plain),
            style.cell(&still(told), Shade::Plain),
        ]);
    }
    let mut text = style.finish(&table);
    if state.left_out > 0 {
        let more = format!("{} more are left out: ask with --peer or --class", state.left_out);
        text = format!("{text}\n{}", style.faint(&more));
    }
    text
}

/// A tunnel with a gateway has no classes.
fn class(class: &str) -> &str {
    if class.is_empty() { "all" } else { class }
}

/// Why nothing moves.
fn still(told: &Explanation) -> String {
    let held: Vec<String> = told
        .held
        .iter()
        .map(|held| format!("{} is better but waits: {}", held.name, held.because))
        .collect();
    let mut text = if !held.is_empty() {
        held.join("; ")
    } else if told.path_id == 0 {
        told.summary.clone()
    } else {
        "no path is better".to_owned()
    };
    if told.tokens_left == 0 {
        let wait = span(u64::from(told.next_token_in_ms.div_ceil(1_000)));
        text.push_str(&format!(" (no voluntary move for another {wait})"));
    }
    text
}

/// A moment: what was in force, the figures, and why nothing moved or what did.
pub fn why_at(style: &Style, site: &str, state: &ExplainResponse, at: u64) -> String {
    let mut parts = vec![style.strong(&format!("{} at {} UTC", clean(site), utc(at)))];
    if state.accounts.is_empty() && state.next_hops.is_empty() {
        parts.push(format!(
            "Nothing of {} is remembered: its edges have told nothing since the controller started.",
            clean(site)
        ));
    }
    parts.extend(state.accounts.iter().map(|account| one(style, account, state, at)));
    let hops = state.next_hops.iter().filter(|d| d.unix_ms <= at.saturating_add(SOON_MS));
    parts.extend(hops.map(|decision| decisions::one(style, decision)));
    if state.left_out > 0 {
        let more = format!(
            "{} more classes and tunnels are left out: ask with --peer, --class or --limit",
            state.left_out
        );
        parts.push(style.faint(&more));
    }
    parts.join("\n\n")
}

fn one(style: &Style, account: &Account, state: &ExplainResponse, at: u64) -> String {
    let head = decisions::ends(&account.edge, &account.peer_edge, &account.traffic_class);
    let mut text = style.strong(&head);
    match &account.in_force {
        None => text.push_str("\nWhat was in force then is not remembered."),
        Some(decision) => {
            let ago = span(at.saturating_sub(decision.unix_ms) / 1_000);
            text.push_str(&format!(
                "\nIn force then, since {} UTC ({ago} before): {}",
                utc(decision.unix_ms),
                decisions::sentence(decision)
            ));
            if !decision.summary.is_empty() {
                text.push_str(&format!("\n{}", clean(&decision.summary)));
            }
        }
    }
    let next = account.next.as_ref().filter(|next| next.unix_ms.saturating_sub(at) <= SOON_MS);
    match &account.explanation {
        Some(told) => text.push_str(&figures(style, told, at)),
        None => text.push_str(&forgotten(style, account, state, at)),
    }
    if let Some(next) = next {
        let ms = next.unix_ms.saturating_sub(at);
        let later = format!("{}.{} s later:", ms / 1_000, ms % 1_000 / 100);
        text.push_str(&format!("\n\n{}\n{}", style.faint(&later), decisions::one(style, next)));
    }
    text
}

fn figures(style: &Style, told: &Explanation, at: u64) -> String {
    let away_ms = told.unix_ms.abs_diff(at);
    let side = if told.unix_ms <= at { "before" } else { "after" };
    let when = match away_ms {
        0..1_000 => "then".to_owned(),
        ms => format!("{} {side}", span(ms / 1_000)),
    };
    let mut text = format!("\nWhy nothing moved ({when}): {}.", clean(&still(told)));
    if !told.candidates.is_empty() {
        text.push_str(&format!("\n\n{}", decisions::candidates(style, &told.candidates)));
    }
    text
}

/// There is no explanation of that moment: the decision's own evidence is the nearest.
fn forgotten(style: &Style, account: &Account, state: &ExplainResponse, at: u64) -> String {
    let since = match state.remembered_since_unix_ms {
        0 => "no figures are remembered".to_owned(),
        since if since > at => format!("figures are remembered since {} UTC only", utc(since)),
        _ => "no figures of that moment are remembered".to_owned(),
    };
    let mut text = format!("\nWhy nothing moved is not known: {since}.");
    if let Some(decision) = account.in_force.as_ref().filter(|d| !d.candidates.is_empty()) {
        let table = decisions::candidates(style, &decision.candidates);
        text.push_str(&format!("\nWhen it was decided:\n\n{table}"));
    }
    text
}
