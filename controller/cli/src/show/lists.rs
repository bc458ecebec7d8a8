//! Sites, events, tokens.

use std::fmt::Write as _;

use hawser_proto::operator::v1::{
    CreateTokenResponse, EdgeStatus, Event, Site, TokenInfo, TokenKind,
};

use super::generation;
use super::style::{Shade, Style, clean};
use crate::time::{ago, span, utc};

pub fn sites(style: &Style, sites: &[Site], now_unix_ms: u64) -> String {
    if sites.is_empty() {
        return "There is no site yet: apply a document.".to_owned();
    }
    let mut table = style.table(&[
        "SITE",
        "ROLE",
        "EDGE",
        "AGENT",
        "CONTROLLER",
        "GENERATION",
        "PATHS UP",
        "CERTIFICATE",
    ]);
    let mut nacks = String::new();
    for site in sites {
        for edge in &site.edges {
            let (link, link_shade) = link(edge, now_unix_ms);
            let (state, state_shade) = convergence(edge);
            let (ends, ends_shade) = certificate(edge, now_unix_ms);
            let version = if edge.agent_version.is_empty() { "-" } else { &edge.agent_version };
            table.add_row([
                style.cell(&site.name, Shade::Plain),
                style.cell(&site.role, Shade::Plain),
                style.cell(&edge.name, Shade::Plain),
                style.cell(version, Shade::Plain),
                style.cell(&link, link_shade),
                style.cell(&state, state_shade),
                style.cell(&format!("{} of {}", edge.paths_up, edge.paths), paths_shade(edge)),
                style.cell(&ends, ends_shade),
            ]);
            for fault in &edge.last_nack {
                let (edge, path) = (clean(&edge.name), clean(&fault.path));
                let (message, mend) = (clean(&fault.message), clean(&fault.mend));
                let reason = format!("{edge} refused: {path}: {message} [{}]", clean(&fault.code));
                let _ = write!(nacks, "\n{}\n  {mend}", style.bad(&reason));
            }
        }
    }
    let table = style.finish(&table);
    if nacks.is_empty() { table } else { format!("{table}\n{nacks}") }
}

/// Agents renew at half of 90 days: one that is near its end was not heard of for weeks.
const ENDS_SOON_S: u64 = 21 * 86_400;

fn certificate(edge: &EdgeStatus, now_unix_ms: u64) -> (String, Shade) {
    let now = now_unix_ms / 1_000;
    match edge.certificate_ends_unix_s {
        _ if edge.revoked => ("revoked".to_owned(), Shade::Bad),
        0 => ("-".to_owned(), Shade::Faint),
        ends if ends <= now => ("ended".to_owned(), Shade::Bad),
        ends => {
            let left = ends - now;
            let shade = if left < ENDS_SOON_S { Shade::Middling } else { Shade::Plain };
            (format!("{} left", span(left)), shade)
        }
    }
}

fn link(edge: &EdgeStatus, now_unix_ms: u64) -> (String, Shade) {
    if !edge.enrolled {
        ("not enrolled".to_owned(), Shade::Faint)
    } else if edge.connected {
        ("connected".to_owned(), Shade::Good)
    } else {
        (format!("seen {}", ago(edge.last_seen_unix_ms, now_unix_ms)), Shade::Bad)
    }
}

/// What an edge has made of the generation it should have.
pub fn convergence_word(edge: &EdgeStatus) -> &'static str {
    let Some(desired) = edge.desired.as_ref().filter(|id| id.number > 0) else { return "none" };
    let of = |id: Option<&hawser_proto::config::v1::GenerationId>| id == Some(desired);
    let Some(state) = &edge.generations else { return "pending" };
    if of(state.confirmed.as_ref()) {
        "confirmed"
    } else if state.refused.iter().any(|refused| of(refused.id.as_ref())) {
        "refused"
    } else if of(state.applied.as_ref()) {
        "applied"
    } else {
        "pending"
    }
}

fn convergence(edge: &EdgeStatus) -> (String, Shade) {
    let desired = generation(edge.desired.as_ref());
    match convergence_word(edge) {
        "none" => ("-".to_owned(), Shade::Faint),
        "confirmed" => (desired, Shade::Good),
        "refused" => (format!("{desired} refused"), Shade::Bad),
        word => (format!("{desired} {word}"), Shade::Middling),
    }
}

fn paths_shade(edge: &EdgeStatus) -> Shade {
    match (edge.paths_up, edge.paths) {
        (_, 0) => Shade::Faint,
        (up, all) if up == all => Shade::Good,
        (0, _) => Shade::Bad,
        _ => Shade::Middling,
    }
}

pub fn events(style: &Style, events: &[Event]) -> String {
    if events.is_empty() {
        return "Nothing has happened in that time.".to_owned();
    }
    events.iter().map(|shown| event(style, shown)).collect::<Vec<_>>().join("\n")
}

/// One line, or two if events are missing before it.
pub fn event(style: &Style, event: &Event) -> String {
    let place = match (event.site.as_str(), event.edge.as_str()) {
        ("", "") => "-".to_owned(),
        (site, "") => clean(site),
        (_, edge) => clean(edge),
    };
    let code = format!("{:<20}", clean(&event.code));
    let code = if is_bad(&event.code) { style.bad(&code) } else { code };
    let mut line = format!(
        "{}  {code} {place:<12} {}",
        style.faint(&utc(event.unix_ms)),
        clean(&event.message)
    );
    if let Some(decision) = event.decision.as_ref().filter(|_| event.message.is_empty()) {
        line.push_str(&clean(&decision.summary));
    }
    if event.dropped_before > 0 {
        let missing = format!("({} events are missing here)", event.dropped_before);
        line = format!("{}\n{line}", style.bad(&missing));
    }
    line
}

fn is_bad(code: &str) -> bool {
    const BAD: [&str; 8] = [
        "DOWN",
        "REFUSED",
        "REJECTED",
        "REVERTED",
        "VIOLATED",
        "NONE_LEFT",
        "LOST",
        "TROUBLE_FOUND",
    ];
    BAD.iter().any(|word| code.contains(word))
}

pub fn tokens(style: &Style, tokens: &[TokenInfo], now_unix_ms: u64) -> String {
    if tokens.is_empty() {
        return "There is no token.".to_owned();
    }
    let mut table =
        style.table(&["ID", "KIND", "FOR", "STATE", "EXPIRES (UTC)", "LAST USED", "COMMENT"]);
    for token in tokens {
        let (state, shade) = match token_state(token, now_unix_ms) {
            "valid" if token.expires_unix_ms == 0 => ("valid".to_owned(), Shade::Good),
            "valid" => {
                let left = token.expires_unix_ms.saturating_sub(now_unix_ms) / 1_000;
                (format!("valid for {}", span(left)), Shade::Good)
            }
            other => (other.to_owned(), Shade::Faint),
        };
        let purpose = if token.edge.is_empty() { &token.role } else { &token.edge };
        table.add_row([
            style.cell(&token.id, Shade::Plain),
            style.cell(kind(token), Shade::Plain),
            style.cell(purpose, Shade::Plain),
            style.cell(&state, shade),
            style.cell(&utc(token.expires_unix_ms), Shade::Plain),
            style.cell(&last_used(token, now_unix_ms), Shade::Plain),
            style.cell(&token.comment, Shade::Plain),
        ]);
    }
    style.finish(&table)
}

fn last_used(token: &TokenInfo, now_unix_ms: u64) -> String {
    match token.last_used_unix_ms {
        0 => "-".to_owned(),
        at => format!("{} from {}", ago(at, now_unix_ms), clean(&token.last_used_from)),
    }
}

pub(super) fn kind(token: &TokenInfo) -> &'static str {
    match token.kind() {
        TokenKind::Enrolment => "enrolment",
        TokenKind::Api => "api",
        TokenKind::Unspecified => "unknown",
    }
}

pub(super) fn token_state(token: &TokenInfo, now_unix_ms: u64) -> &'static str {
    if token.revoked {
        "revoked"
    } else if token.used {
        "used"
    } else if token.expires_unix_ms != 0 && token.expires_unix_ms <= now_unix_ms {
        "expired"
    } else {
        "valid"
    }
}

/// The token stands alone on its line, so that it can be copied.
pub fn token_created(created: &CreateTokenResponse, edge: Option<&str>) -> String {
    let (id, expires) = (clean(&created.id), utc(created.expires_unix_ms));
    match edge {
        Some(edge) => {
            format!("Token {id} lets edge {edge} enrol once, until {expires} UTC; shown only now:")
        }
        None => format!("API token {id} is valid until {expires} UTC; shown only now:"),
    }
}
