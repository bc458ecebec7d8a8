//! `why`: the newest decisions and the present, or a moment in the past.

use hawser_proto::agent::v1::Decision;
use hawser_proto::operator::v1::{ExplainRequest, ExplainResponse, ListDecisionsRequest};

use crate::client::{Client, Session};
use crate::error::CliError;
use crate::output::Output;
use crate::show::{self, json};
use crate::time::{At, now_unix_ms};

/// Rows of what is so now.
const MAX_ROWS: u32 = 50;

/// What is asked.
pub struct Question {
    pub site: String,
    pub class: Option<String>,
    pub peer: Option<String>,
    pub at: Option<At>,
    pub limit: u32,
}

pub async fn why(session: &Session, question: Question, output: &Output) -> Result<(), CliError> {
    let now = now_unix_ms();
    match question.at {
        None => present(session, &question, now, output).await,
        Some(at) => past(session, &question, at.unix_ms(now), output).await,
    }
}

async fn present(
    session: &Session,
    question: &Question,
    now: u64,
    output: &Output,
) -> Result<(), CliError> {
    let state = explain(session, question, 0, MAX_ROWS).await?;
    let request = ListDecisionsRequest {
        site: question.site.clone(),
        traffic_class: question.class.clone().unwrap_or_default(),
        since_unix_ms: 0,
        until_unix_ms: 0,
        // The controller does not choose by peer here.
        limit: if question.peer.is_some() { 1_000 } else { question.limit },
    };
    let call = |mut client: Client| {
        let request = request.clone();
        async move { client.list_decisions(request).await }
    };
    let mut decisions = session.read(call).await?.decisions;
    let peers = state.accounts.iter().map(|a| (a.peer_edge.as_str(), a.peer_site.as_str()));
    let peers: std::collections::BTreeMap<&str, &str> = peers.collect();
    let wanted = |decision: &Decision| match &question.peer {
        None => true,
        Some(peer) => {
            decision.peer_edge == *peer || peers.get(&*decision.peer_edge) == Some(&peer.as_str())
        }
    };
    decisions.retain(wanted);
    decisions.truncate(question.limit as usize);
    let site = &question.site;
    output.answer(
        |style| show::why(style, site, &state, &decisions, now),
        || json::why(site, now, &state, &decisions),
    )
}

async fn past(
    session: &Session,
    question: &Question,
    at: u64,
    output: &Output,
) -> Result<(), CliError> {
    let state = explain(session, question, at, question.limit).await?;
    let site = &question.site;
    output.answer(
        |style| show::why_at(style, site, &state, at),
        || json::why(site, at, &state, &decisions_of(&state)),
    )
}

/// Those that the answer holds, newest first.
fn decisions_of(state: &ExplainResponse) -> Vec<Decision> {
    let of_paths = state.accounts.iter().flat_map(|a| [a.in_force.clone(), a.next.clone()]);
    let mut all: Vec<Decision> = of_paths.flatten().chain(state.next_hops.clone()).collect();
    all.sort_by_key(|d| std::cmp::Reverse((d.unix_ms, d.sequence)));
    all
}

async fn explain(
    session: &Session,
    question: &Question,
    at_unix_ms: u64,
    limit: u32,
) -> Result<ExplainResponse, CliError> {
    let request = ExplainRequest {
        site: question.site.clone(),
        peer: question.peer.clone().unwrap_or_default(),
        traffic_class: question.class.clone().unwrap_or_default(),
        at_unix_ms,
        limit,
    };
    let call = |mut client: Client| {
        let request = request.clone();
        async move { client.explain(request).await }
    };
    session.read(call).await
}
