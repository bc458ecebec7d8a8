//! What happened, and what the slow loop makes of it.

use std::collections::BTreeMap;

use hawser_proto::operator::v1 as operator;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    pub sequence: u64,
    pub unix_ms: u64,
    /// Stable, upper case.
    pub code: String,
    pub site: String,
    pub edge: String,
    pub message: String,
    /// This many are missing before it: the watcher was too slow.
    pub dropped_before: u64,
}

impl From<operator::Event> for Event {
    fn from(e: operator::Event) -> Self {
        let summary = e.decision.as_ref().map(|d| d.summary.clone());
        Self {
            sequence: e.sequence,
            unix_ms: e.unix_ms,
            code: e.code,
            site: e.site,
            edge: e.edge,
            message: if e.message.is_empty() { summary.unwrap_or_default() } else { e.message },
            dropped_before: e.dropped_before,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Events {
    pub events: Vec<Event>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Trouble {
    pub id: String,
    pub subject: String,
    pub since_unix_ms: u64,
    /// Sites that see it, of those that could.
    pub seen_by: u32,
    pub of: u32,
    pub advised: u32,
    pub ending: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AdviceInForce {
    pub site: String,
    pub edge: String,
    pub id: String,
    pub reason: String,
    pub since_unix_ms: u64,
    pub until_unix_ms: u64,
    pub avoid_path_ids: Vec<u32>,
    pub avoid_edges: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Advice {
    /// `on`, `watch` or `off`.
    pub mode: String,
    pub troubles: Vec<Trouble>,
    pub advice: Vec<AdviceInForce>,
    pub counters: BTreeMap<String, u64>,
}

impl From<operator::ListAdviceResponse> for Advice {
    fn from(r: operator::ListAdviceResponse) -> Self {
        let trouble = |t: operator::Trouble| Trouble {
            id: t.id,
            subject: t.subject,
            since_unix_ms: t.since_unix_ms,
            seen_by: t.seen_by,
            of: t.of,
            advised: t.advised,
            ending: t.ending,
        };
        let advice = |a: operator::AdviceInForce| AdviceInForce {
            site: a.site,
            edge: a.edge,
            id: a.id,
            reason: a.reason,
            since_unix_ms: a.since_unix_ms,
            until_unix_ms: a.until_unix_ms,
            avoid_path_ids: a.avoid_path_ids,
            avoid_edges: a.avoid_edges,
        };
        Self {
            mode: r.mode,
            troubles: r.troubles.into_iter().map(trouble).collect(),
            advice: r.advice.into_iter().map(advice).collect(),
            counters: r.counters,
        }
    }
}
