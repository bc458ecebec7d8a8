//! Why traffic takes the paths it takes.

use hawser_proto::FIRST_IKE_LINK_ID;
use hawser_proto::agent::v1::{Candidate, Decision, PathState};

use super::paths::{milliseconds, percent, state};
use super::style::{Shade, Style, clean};
use crate::time::utc;

pub(super) fn list(style: &Style, site: &str, decisions: &[Decision]) -> String {
    if decisions.is_empty() {
        return format!(
            "No decision of {} is known: its edges have not reported any since the controller \
             started.",
            clean(site)
        );
    }
    decisions.iter().map(|decision| one(style, decision)).collect::<Vec<_>>().join("\n\n")
}

pub(super) fn one(style: &Style, decision: &Decision) -> String {
    let head = if is_hop(decision) {
        let prefixes = clean(&decision.prefixes.join(", "));
        format!("{}, next hop of {prefixes}", clean(&decision.edge))
    } else {
        ends(&decision.edge, &decision.peer_edge, &decision.traffic_class)
    };
    let when = style.faint(&format!("{} UTC", utc(decision.unix_ms)));
    let mut text = format!("{}  {when}\n{}", style.strong(&head), sentence(decision));
    if !decision.summary.is_empty() {
        text.push_str(&format!("\n{}", clean(&decision.summary)));
    }
    if !decision.advice_id.is_empty() {
        text.push_str(&format!("\nIt followed the advice {}.", clean(&decision.advice_id)));
    }
    if !decision.trace_id.is_empty() {
        text.push_str(&format!("\nIts trace is {}.", clean(&decision.trace_id)));
    }
    if decision.candidates.is_empty() {
        return text;
    }
    format!("{text}\n\n{}", candidates(style, &decision.candidates))
}

/// Whose traffic it is about. A tunnel with a gateway has no classes.
pub(super) fn ends(edge: &str, peer: &str, class: &str) -> String {
    let what = match class {
        "" => "all traffic".to_owned(),
        class => format!("traffic class {}", clean(class)),
    };
    format!("{} → {}, {what}", clean(edge), clean(peer))
}

/// About a next hop, not a path.
fn is_hop(decision: &Decision) -> bool {
    !decision.prefixes.is_empty()
}

pub(super) fn candidates(style: &Style, candidates: &[Candidate]) -> String {
    let header = ["", "CANDIDATE", "STATE", "RTT", "JITTER", "LOSS OUT", "LOSS IN", "VERDICT"];
    let mut table = style.table(&header);
    for candidate in candidates {
        let (word, shade) = state(candidate.state());
        let heard = candidate.state() != PathState::Connecting;
        let figure = |value: u32| heard.then_some(value);
        let chosen = if candidate.chosen { Shade::Good } else { Shade::Plain };
        table.add_row([
            style.cell(if candidate.chosen { "→" } else { "" }, chosen),
            style.cell(&label(candidate), chosen),
            style.cell(word, shade),
            style.cell(&milliseconds(figure(candidate.rtt_us)), Shade::Plain),
            style.cell(&milliseconds(figure(candidate.jitter_us)), Shade::Plain),
            style.cell(&percent(figure(candidate.loss_tx_ppm)), Shade::Plain),
            style.cell(&percent(figure(candidate.loss_rx_ppm)), Shade::Plain),
            style.cell(&verdict(candidate), chosen),
        ]);
    }
    style.finish(&table)
}

/// What was decided and why, in plain words.
pub fn sentence(decision: &Decision) -> String {
    let path = |id: u32| name(id, &decision.candidates);
    let (from, to) = (decision.from_path_id, decision.to_path_id);
    let hops = (decision.from_next_hop.as_str(), decision.to_next_hop.as_str());
    let what = match (from, to) {
        _ if is_hop(decision) => match hops {
            ("", "") => "It has no next hop".to_owned(),
            ("", to) => format!("It takes {}", clean(to)),
            (from, "") => format!("It left {} and has no next hop now", clean(from)),
            (from, to) if from == to => format!("It stays with {}", clean(to)),
            (from, to) => format!("It moved from {} to {}", clean(from), clean(to)),
        },
        (0, 0) => "It has no path".to_owned(),
        (0, to) => format!("It takes {}", path(to)),
        (from, 0) => format!("It left {} and has no path now", path(from)),
        (from, to) if from == to => format!("It stays on {}", path(to)),
        (from, to) => format!("It moved from {} to {}", path(from), path(to)),
    };
    let because = match decision.cause.as_str() {
        "START" => "as its first choice".to_owned(),
        "PATH_DOWN" if is_hop(decision) => "because it is not reached any more".to_owned(),
        "SLA_VIOLATED" if is_hop(decision) => {
            "because it no longer met its SLA on any path".to_owned()
        }
        "FAIL_BACK" if is_hop(decision) => {
            "because that one has been good for long enough".to_owned()
        }
        "BETTER_PATH" if is_hop(decision) => "because that one is better".to_owned(),
        "NEXT_HOP_DOWN" => "because no path to it works".to_owned(),
        "WITHDRAWN" => "because it said that it can't get there any more".to_owned(),
        "DRAINED" => "because it, or one on its way, is drained".to_owned(),
        "DETOUR" => "because it goes through another next hop itself".to_owned(),
        "ADVICE" => "because the controller advises against it".to_owned(),
        "PATH_DOWN" => "because the path it was on went down".to_owned(),
        "SLA_VIOLATED" => "because the path it was on no longer met its SLA".to_owned(),
        "FAIL_BACK" => "because the preferred path has been good for long enough".to_owned(),
        "BETTER_PATH" => "because that path is better".to_owned(),
        "CONFIG" => "because the configuration changed".to_owned(),
        "MEMBERS" => "and what carries beside it changed".to_owned(),
        "NONE_LEFT" => "because none is left that works".to_owned(),
        other => format!("because of {}", clean(other)),
    };
    format!("{what}, {because}.")
}

/// The candidate's own name: a next hop's, or a path's with its number.
fn label(candidate: &Candidate) -> String {
    let named = |name: &str| match candidate.path_id {
        // Links of tunnels with gateways have numbers for machines only.
        0 | FIRST_IKE_LINK_ID.. => clean(name),
        id => format!("{} (path {id})", clean(name)),
    };
    match (candidate.next_hop.as_str(), candidate.name.as_str()) {
        ("", "") => format!("path {}", candidate.path_id),
        ("", name) => named(name),
        (hop, _) => clean(hop),
    }
}

fn name(path_id: u32, candidates: &[Candidate]) -> String {
    let named = candidates.iter().find(|candidate| candidate.path_id == path_id);
    match named.map(|candidate| candidate.name.as_str()) {
        Some(name) if path_id >= FIRST_IKE_LINK_ID && !name.is_empty() => clean(name),
        Some(name) if !name.is_empty() => format!("{} (path {path_id})", clean(name)),
        _ => format!("path {path_id}"),
    }
}

fn verdict(candidate: &Candidate) -> String {
    let sure = match candidate.confidence_ppm {
        0 => String::new(),
        ppm => format!(", {} % sure", ppm / 10_000),
    };
    if candidate.chosen {
        return "chosen".to_owned();
    }
    let mut text = match candidate.refused_because.as_str() {
        "" => "not chosen".to_owned(),
        reason => format!("refused: {reason}{sure}"),
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
