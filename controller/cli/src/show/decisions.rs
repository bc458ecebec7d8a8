//! Why traffic takes the paths it takes.

use hawser_proto::agent::v1::{Candidate, Decision, PathState};

use super::paths::{milliseconds, percent, state};
use super::style::{Shade, Style, clean};
use crate::time::utc;

pub fn why(style: &Style, site: &str, decisions: &[Decision]) -> String {
    if decisions.is_empty() {
        return format!(
            "No decision of {} is known: its edges have not reported any since the controller \
             started.",
            clean(site)
        );
    }
    decisions.iter().map(|decision| one(style, decision)).collect::<Vec<_>>().join("\n\n")
}

fn one(style: &Style, decision: &Decision) -> String {
    let head = match decision.prefixes.is_empty() {
        true => format!(
            "{} → {}, traffic class {}",
            clean(&decision.edge),
            clean(&decision.peer_edge),
            clean(&decision.traffic_class)
        ),
        false => {
            let prefixes = clean(&decision.prefixes.join(", "));
            format!("{}, next hop of {prefixes}", clean(&decision.edge))
        }
    };
    let when = style.faint(&format!("{} UTC", utc(decision.unix_ms)));
    let mut text = format!("{}  {when}\n{}", style.strong(&head), sentence(decision));
    if !decision.summary.is_empty() {
        text.push_str(&format!("\n{}", clean(&decision.summary)));
    }
    if decision.candidates.is_empty() {
        return text;
    }
    let header = ["", "CANDIDATE", "STATE", "RTT", "JITTER", "LOSS OUT", "LOSS IN", "VERDICT"];
    let mut table = style.table(&header);
    for candidate in &decision.candidates {
        let (word, shade) = state(candidate.state());
        let heard = candidate.state() != PathState::Connecting;
        let figure = |value: u32| heard.then_some(value);
        let chosen = if candidate.chosen { Shade::Good } else { Shade::Plain };
        table.add_row([
            style.cell(if candidate.chosen { "→" } else { "" }, chosen),
            style.cell(&candidate_name(candidate, &decision.candidates), chosen),
            style.cell(word, shade),
            style.cell(&milliseconds(figure(candidate.rtt_us)), Shade::Plain),
            style.cell(&milliseconds(figure(candidate.jitter_us)), Shade::Plain),
            style.cell(&percent(figure(candidate.loss_tx_ppm)), Shade::Plain),
            style.cell(&percent(figure(candidate.loss_rx_ppm)), Shade::Plain),
            style.cell(&verdict(candidate), chosen),
        ]);
    }
    format!("{text}\n\n{}", style.finish(&table))
}

/// What was decided and why, in plain words.
fn sentence(decision: &Decision) -> String {
    let path = |id: u32| name(id, &decision.candidates);
    let (from, to) = (decision.from_path_id, decision.to_path_id);
    let what = match (from, to) {
        (0, 0) if !decision.prefixes.is_empty() => next_hop_move(decision),
        (0, 0) => "It has no path".to_owned(),
        (0, to) => format!("It takes {}", path(to)),
        (from, 0) => format!("It left {} and has no path now", path(from)),
        (from, to) if from == to => format!("It stays on {}", path(to)),
        (from, to) => format!("It moved from {} to {}", path(from), path(to)),
    };
    let of_hops = !decision.prefixes.is_empty();
    let because = match decision.cause.as_str() {
        "SLA_VIOLATED" if of_hops => "because it no longer met its SLA on any path".to_owned(),
        "FAIL_BACK" if of_hops => "because that one has been good for long enough".to_owned(),
        "BETTER_PATH" if of_hops => "because that one is better".to_owned(),
        "START" => "as its first choice".to_owned(),
        "PATH_DOWN" => "because the path it was on went down".to_owned(),
        "SLA_VIOLATED" => "because the path it was on no longer met its SLA".to_owned(),
        "FAIL_BACK" => "because the preferred path has been good for long enough".to_owned(),
        "BETTER_PATH" => "because that path is better".to_owned(),
        "CONFIG" => "because the configuration changed".to_owned(),
        "NEXT_HOP_DOWN" => "because no path to it works".to_owned(),
        "WITHDRAWN" => "because it said that it can't get there any more".to_owned(),
        "DRAINED" => "because it, or one on its way, is drained".to_owned(),
        "DETOUR" => "because it goes through another next hop itself".to_owned(),
        "ADVICE" => "because the controller advises against it".to_owned(),
        "NONE_LEFT" => "because none is left that works".to_owned(),
        other => format!("because of {}", clean(other)),
    };
    format!("{what}, {because}.")
}

fn next_hop_move(decision: &Decision) -> String {
    match (clean(&decision.from_next_hop), clean(&decision.to_next_hop)) {
        (from, to) if from.is_empty() && to.is_empty() => "It has no next hop".to_owned(),
        (from, to) if from.is_empty() => format!("It takes {to}"),
        (from, to) if to.is_empty() => format!("It left {from} and has no next hop now"),
        (from, to) => format!("It moved from {from} to {to}"),
    }
}

fn candidate_name(candidate: &Candidate, all: &[Candidate]) -> String {
    match clean(&candidate.next_hop) {
        hop if hop.is_empty() => name(candidate.path_id, all),
        hop => hop,
    }
}

fn name(path_id: u32, candidates: &[Candidate]) -> String {
    let named = candidates.iter().find(|candidate| candidate.path_id == path_id);
    match named.map(|candidate| candidate.name.as_str()) {
        Some(name) if !name.is_empty() => format!("{} (path {path_id})", clean(name)),
        _ => format!("path {path_id}"),
    }
}

fn verdict(candidate: &Candidate) -> String {
    if candidate.chosen {
        return "chosen".to_owned();
    }
    let mut text = match candidate.refused_because.as_str() {
        "" => "not chosen".to_owned(),
        reason => format!("refused: {reason}"),
    };
    let missing: Vec<&str> = candidate
        .limits_crossed
        .iter()
        .map(String::as_str)
        .filter(|limit| !candidate.refused_because.contains(limit))
        .collect();
    if !missing.is_empty() {
        text.push_str(&format!(" ({})", missing.join(", ")));
    }
    text
}
