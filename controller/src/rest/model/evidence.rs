//! Why traffic is where it is.

use hawser_proto::agent::v1 as agent;
use hawser_proto::operator::v1 as operator;
use serde::Serialize;
use utoipa::ToSchema;

use super::{all, path_state};

/// A path or a next hop that could have been chosen.
#[derive(Debug, Serialize, ToSchema)]
pub struct Candidate {
    pub path_id: u32,
    pub name: String,
    pub next_hop: String,
    pub state: String,
    pub chosen: bool,
    pub refused_because: String,
    pub rtt_us: u32,
    pub jitter_us: u32,
    pub loss_tx_ppm: u32,
    pub loss_rx_ppm: u32,
    pub limits_crossed: Vec<String>,
    pub confidence_ppm: u32,
}

impl From<agent::Candidate> for Candidate {
    fn from(c: agent::Candidate) -> Self {
        Self {
            state: path_state(c.state()).to_owned(),
            path_id: c.path_id,
            name: c.name,
            next_hop: c.next_hop,
            chosen: c.chosen,
            refused_because: c.refused_because,
            rtt_us: c.rtt_us,
            jitter_us: c.jitter_us,
            loss_tx_ppm: c.loss_tx_ppm,
            loss_rx_ppm: c.loss_rx_ppm,
            limits_crossed: c.limits_crossed,
            confidence_ppm: c.confidence_ppm,
        }
    }
}

/// Why a class moved.
#[derive(Debug, Serialize, ToSchema)]
pub struct Decision {
    pub unix_ms: u64,
    pub edge: String,
    pub peer_edge: String,
    pub tunnel_id: u32,
    pub traffic_class: String,
    pub from_path_id: u32,
    pub to_path_id: u32,
    /// Stable, upper case.
    pub cause: String,
    pub summary: String,
    pub prefixes: Vec<String>,
    pub from_next_hop: String,
    pub to_next_hop: String,
    pub advice_id: String,
    /// Of OpenTelemetry; empty: the edge's agent pushes no traces.
    pub trace_id: String,
    pub candidates: Vec<Candidate>,
}

impl From<agent::Decision> for Decision {
    fn from(d: agent::Decision) -> Self {
        Self {
            unix_ms: d.unix_ms,
            edge: d.edge,
            peer_edge: d.peer_edge,
            tunnel_id: d.tunnel_id,
            traffic_class: d.traffic_class,
            from_path_id: d.from_path_id,
            to_path_id: d.to_path_id,
            cause: d.cause,
            summary: d.summary,
            prefixes: d.prefixes,
            from_next_hop: d.from_next_hop,
            to_next_hop: d.to_next_hop,
            advice_id: d.advice_id,
            trace_id: d.trace_id,
            candidates: all(d.candidates),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Decisions {
    /// Newest first.
    pub decisions: Vec<Decision>,
}

/// Why a class is where it is, and why nothing moves.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    pub unix_ms: u64,
    /// 0: no path carries it.
    pub path_id: u32,
    pub path_name: String,
    pub meets_sla: bool,
    pub since_unix_ms: u64,
    pub cause: String,
    pub summary: String,
    pub candidates: Vec<Candidate>,
}

impl From<agent::Explanation> for Explanation {
    fn from(e: agent::Explanation) -> Self {
        Self {
            unix_ms: e.unix_ms,
            path_id: e.path_id,
            path_name: e.path_name,
            meets_sla: e.meets_sla,
            since_unix_ms: e.since_unix_ms,
            cause: e.cause,
            summary: e.summary,
            candidates: all(e.candidates),
        }
    }
}

/// One traffic class of one tunnel, from one end.
#[derive(Debug, Serialize, ToSchema)]
pub struct Account {
    pub edge: String,
    pub peer_edge: String,
    pub peer_site: String,
    pub traffic_class: String,
    pub tunnel_id: u32,
    pub in_force: Option<Decision>,
    pub next: Option<Decision>,
    pub explanation: Option<Explanation>,
}

impl From<operator::Account> for Account {
    fn from(a: operator::Account) -> Self {
        Self {
            edge: a.edge,
            peer_edge: a.peer_edge,
            peer_site: a.peer_site,
            traffic_class: a.traffic_class,
            tunnel_id: a.tunnel_id,
            in_force: a.in_force.map(Into::into),
            next: a.next.map(Into::into),
            explanation: a.explanation.map(Into::into),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Explanations {
    pub accounts: Vec<Account>,
    pub left_out: u32,
    /// About next hops, newest first.
    pub next_hops: Vec<Decision>,
    /// 0: none is remembered.
    pub remembered_since_unix_ms: u64,
}

impl From<operator::ExplainResponse> for Explanations {
    fn from(r: operator::ExplainResponse) -> Self {
        Self {
            accounts: all(r.accounts),
            left_out: r.left_out,
            next_hops: all(r.next_hops),
            remembered_since_unix_ms: r.remembered_since_unix_ms,
        }
    }
}
