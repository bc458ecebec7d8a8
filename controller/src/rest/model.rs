//! Answers as JSON. Names of fields never change their meaning; new ones may come.

mod evidence;

use std::collections::BTreeMap;

use hawser_proto::agent::v1 as agent;
use hawser_proto::config::v1 as config;
use hawser_proto::operator::v1 as operator;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use evidence::{Decisions, Explanations};

use crate::audit;
use crate::service::{FleetState, Generation};

/// One thing wrong with a document, or a reason of an agent.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Fault {
    /// Stable, upper case.
    pub code: String,
    /// Where in the document.
    pub path: String,
    pub message: String,
    pub mend: String,
}

impl From<agent::Fault> for Fault {
    fn from(fault: agent::Fault) -> Self {
        let agent::Fault { code, path, message, mend } = fault;
        Self { code, path, message, mend }
    }
}

fn all<T, U: From<T>>(list: Vec<T>) -> Vec<U> {
    list.into_iter().map(U::from).collect()
}

/// `1.7`: epoch and number.
pub fn generation(id: Option<config::GenerationId>) -> Option<String> {
    id.filter(|id| id.number > 0).map(|id| Generation::from(&id).to_string())
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Validation {
    pub valid: bool,
    pub faults: Vec<Fault>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EdgeGeneration {
    pub edge: String,
    pub generation: String,
}

impl From<(String, Generation)> for EdgeGeneration {
    fn from((edge, generation): (String, Generation)) -> Self {
        Self { edge, generation: generation.to_string() }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Applied {
    pub revision: u64,
    /// The document said what was already so.
    pub unchanged: bool,
    /// Edges whose generation changed; of a staged revision those of the first wave.
    pub changed: Vec<EdgeGeneration>,
    /// It is being rolled out in stages.
    pub staged: bool,
}

/// How a revision is rolled out in stages. What is left out, or 0, takes the controller's default.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutPolicy {
    pub canary_sites: Vec<String>,
    pub soak_s: u32,
    pub settle_within_s: u32,
    pub confirm_within_s: u32,
    pub growth: u32,
}

impl From<RolloutPolicy> for operator::RolloutPolicy {
    fn from(policy: RolloutPolicy) -> Self {
        let RolloutPolicy { canary_sites, soak_s, settle_within_s, confirm_within_s, growth } =
            policy;
        Self { canary_sites, soak_s, settle_within_s, confirm_within_s, growth }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RollbackRequest {
    pub comment: String,
    pub rollout: Option<RolloutPolicy>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Revision {
    pub revision: u64,
    pub committed_unix_ms: u64,
    pub committed_by: String,
    pub comment: String,
    pub document_sha256: String,
    pub current: bool,
}

impl From<operator::Revision> for Revision {
    fn from(r: operator::Revision) -> Self {
        Self {
            revision: r.revision,
            committed_unix_ms: r.committed_unix_ms,
            committed_by: r.committed_by,
            comment: r.comment,
            document_sha256: r.document_sha256,
            current: r.current,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Revisions {
    pub revisions: Vec<Revision>,
    /// Empty: that was all.
    pub next_page_token: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PlannedChange {
    pub action: String,
    pub what: String,
    pub detail: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EdgePlan {
    pub edge: String,
    pub action: String,
    pub changes: Vec<PlannedChange>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct SitePlan {
    pub site: String,
    /// `made`, `changed` or `removed`.
    pub action: String,
    pub edges: Vec<EdgePlan>,
}

/// A path that is interrupted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Blink {
    pub path_id: u32,
    pub name: String,
    pub why: String,
    /// 0: it ends for good.
    pub about_ms: u32,
    pub stops_traffic: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Finding {
    pub code: String,
    pub subject: String,
    pub message: String,
    pub mend: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Plan {
    pub base_revision: u64,
    pub unchanged: bool,
    pub sites: Vec<SitePlan>,
    pub blinks: Vec<Blink>,
    pub findings: Vec<Finding>,
    pub document_sha256: String,
}

impl From<operator::PlanResponse> for Plan {
    fn from(plan: operator::PlanResponse) -> Self {
        let change = |c: operator::PlannedChange| PlannedChange {
            action: c.action,
            what: c.what,
            detail: c.detail,
        };
        let edge = |e: operator::EdgePlan| EdgePlan {
            edge: e.edge,
            action: e.action,
            changes: e.changes.into_iter().map(change).collect(),
        };
        let site = |s: operator::SitePlan| SitePlan {
            site: s.site,
            action: s.action,
            edges: s.edges.into_iter().map(edge).collect(),
        };
        let blink = |b: operator::Blink| Blink {
            path_id: b.path_id,
            name: b.name,
            why: b.why,
            about_ms: b.about_ms,
            stops_traffic: b.stops_traffic,
        };
        let finding = |f: operator::Finding| Finding {
            code: f.code,
            subject: f.subject,
            message: f.message,
            mend: f.mend,
        };
        Self {
            base_revision: plan.base_revision,
            unchanged: plan.unchanged,
            sites: plan.sites.into_iter().map(site).collect(),
            blinks: plan.blinks.into_iter().map(blink).collect(),
            findings: plan.findings.into_iter().map(finding).collect(),
            document_sha256: plan.document_sha256,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    pub fleet: String,
    pub controller_version: String,
    pub revision: u64,
    pub sites: u32,
    pub edges: u32,
    pub edges_connected: u32,
    pub edges_converged: u32,
    pub paths: u32,
    pub paths_up: u32,
    pub uptime_s: u64,
    pub counters: BTreeMap<String, u64>,
}

impl From<operator::GetStatusResponse> for Status {
    fn from(s: operator::GetStatusResponse) -> Self {
        Self {
            fleet: s.fleet,
            controller_version: s.controller_version,
            revision: s.revision,
            sites: s.sites,
            edges: s.edges,
            edges_connected: s.edges_connected,
            edges_converged: s.edges_converged,
            paths: s.paths,
            paths_up: s.paths_up,
            uptime_s: s.uptime_s,
            counters: s.counters,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Edge {
    pub name: String,
    pub edge_id: u32,
    pub enrolled: bool,
    pub connected: bool,
    pub last_seen_unix_ms: u64,
    pub agent_version: String,
    /// The generation that it should have.
    pub desired: Option<String>,
    pub applied: Option<String>,
    pub confirmed: Option<String>,
    pub last_nack: Vec<Fault>,
    pub paths: u32,
    pub paths_up: u32,
    pub uplinks: Vec<Uplink>,
    /// When its newest certificate ends, seconds since 1970; 0: not enrolled.
    pub certificate_ends_unix_s: u64,
    pub revoked: bool,
}

impl Edge {
    fn of(e: operator::EdgeStatus, state: &FleetState) -> Self {
        let config = state.edges.get(&e.name).map(|edge| edge.config.uplinks.iter());
        let uplinks = config.into_iter().flatten().map(|u| Uplink::of(u, &e.uplinks)).collect();
        let generations = e.generations.unwrap_or_default();
        Self {
            name: e.name,
            edge_id: e.edge_id,
            enrolled: e.enrolled,
            connected: e.connected,
            last_seen_unix_ms: e.last_seen_unix_ms,
            agent_version: e.agent_version,
            desired: generation(e.desired),
            applied: generation(generations.applied),
            confirmed: generation(generations.confirmed),
            last_nack: all(e.last_nack),
            paths: e.paths,
            paths_up: e.paths_up,
            uplinks,
            certificate_ends_unix_s: e.certificate_ends_unix_s,
            revoked: e.revoked,
        }
    }
}

/// What the document says of an uplink, and what its edge does.
#[derive(Debug, Serialize, ToSchema)]
pub struct Uplink {
    pub name: String,
    pub interface: String,
    pub transport: String,
    pub provider: String,
    pub cost: u32,
    pub metered: bool,
    pub drained: bool,
    /// `normal`, `standby` or `last-resort`.
    pub used: String,
    /// Missing: the edge has not said.
    pub carrier: Option<bool>,
    pub addresses: Vec<String>,
    /// As others see it, host:port.
    pub public_endpoints: Vec<String>,
}

impl Uplink {
    fn of(told: &config::Uplink, facts: &[agent::UplinkFact]) -> Self {
        let fact = facts.iter().find(|fact| fact.uplink_id == told.id);
        let used = match told.r#use() {
            config::UplinkUse::Standby => "standby",
            config::UplinkUse::LastResort => "last-resort",
            config::UplinkUse::Normal | config::UplinkUse::Unspecified => "normal",
        };
        Self {
            name: told.name.clone(),
            interface: told.interface.clone(),
            transport: told.transport.clone(),
            provider: told.provider.clone(),
            cost: told.cost,
            metered: told.metered,
            drained: told.drained,
            used: used.to_owned(),
            carrier: fact.map(|fact| fact.carrier),
            addresses: fact.map(|fact| fact.addresses.clone()).unwrap_or_default(),
            public_endpoints: fact.map(|fact| fact.public_endpoints.clone()).unwrap_or_default(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Site {
    pub name: String,
    pub role: String,
    pub edges: Vec<Edge>,
}

impl Site {
    pub fn of(site: operator::Site, state: &FleetState) -> Self {
        let edges = site.edges.into_iter().map(|edge| Edge::of(edge, state)).collect();
        Self { name: site.name, role: site.role, edges }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Sites {
    pub sites: Vec<Site>,
    pub next_page_token: String,
}

/// `up`, `down` or `connecting`.
pub fn path_state(state: agent::PathState) -> &'static str {
    match state {
        agent::PathState::Up => "up",
        agent::PathState::Down => "down",
        agent::PathState::Connecting | agent::PathState::Unspecified => "connecting",
    }
}

/// As its own end sees it; figures are missing while nothing is heard.
#[derive(Debug, Serialize, ToSchema)]
pub struct PathEnd {
    pub site: String,
    pub edge: String,
    pub uplink: String,
    pub rtt_us: Option<u32>,
    pub jitter_us: Option<u32>,
    /// Parts per million.
    pub loss_tx_ppm: Option<u32>,
    pub loss_rx_ppm: Option<u32>,
    pub selected_for: Vec<String>,
    /// SLA classes that it does not meet now, and why.
    pub violates: Vec<Violation>,
    /// Mean opinion score by the E-model, in thousandths.
    pub mos_milli: Option<u32>,
    pub tx_bytes: Option<u64>,
    pub rx_bytes: Option<u64>,
    pub sample_unix_ms: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Violation {
    pub sla_class: String,
    pub reason: String,
}

fn violations(sample: &agent::PathSample) -> Vec<Violation> {
    let not_met = sample.verdicts.iter().filter(|verdict| !verdict.meets);
    let told =
        not_met.map(|v| Violation { sla_class: v.sla_class.clone(), reason: v.reason.clone() });
    told.collect()
}

impl From<operator::PathEnd> for PathEnd {
    fn from(end: operator::PathEnd) -> Self {
        let sample = end.sample.as_ref();
        Self {
            site: end.site,
            edge: end.edge,
            uplink: end.uplink,
            rtt_us: sample.map(|s| s.rtt_us),
            jitter_us: sample.map(|s| s.jitter_us),
            loss_tx_ppm: sample.map(|s| s.loss_tx_ppm),
            loss_rx_ppm: sample.map(|s| s.loss_rx_ppm),
            selected_for: sample.map(|s| s.selected_for.clone()).unwrap_or_default(),
            violates: sample.map(violations).unwrap_or_default(),
            mos_milli: sample.map(|s| s.mos_milli).filter(|mos| *mos > 0),
            tx_bytes: sample.map(|s| s.tx_bytes),
            rx_bytes: sample.map(|s| s.rx_bytes),
            sample_unix_ms: end.sample_unix_ms,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Path {
    pub id: u32,
    pub tunnel_id: u32,
    pub state: String,
    pub ipv6: bool,
    pub a: PathEnd,
    pub b: PathEnd,
}

impl From<operator::Path> for Path {
    fn from(path: operator::Path) -> Self {
        Self {
            state: path_state(path.state()).to_owned(),
            ipv6: path.family() == config::AddressFamily::Ipv6,
            id: path.id,
            tunnel_id: path.tunnel_id,
            a: path.a.unwrap_or_default().into(),
            b: path.b.unwrap_or_default().into(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Paths {
    pub paths: Vec<Path>,
    pub next_page_token: String,
    /// With gateways that are not Hawser: all of them, in the first page.
    pub ike_tunnels: Vec<IkeTunnel>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct IkeTunnel {
    pub site: String,
    pub edge: String,
    pub name: String,
    pub uplink: String,
    /// up, waiting, authenticated, connecting, blocked or unknown.
    pub state: String,
    /// Why it is not up, as far as it is known.
    pub reason: String,
    pub local_address: String,
    pub remote_address: String,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub rekeys: u64,
    pub retries: u64,
    pub since_unix_ms: u64,
}

impl From<operator::IkeTunnel> for IkeTunnel {
    fn from(tunnel: operator::IkeTunnel) -> Self {
        let sample = tunnel.sample.unwrap_or_default();
        Self {
            site: tunnel.site,
            edge: tunnel.edge,
            name: tunnel.name,
            uplink: tunnel.uplink,
            state: sample.state().word().to_owned(),
            reason: sample.reason,
            local_address: sample.local_address,
            remote_address: sample.remote_address,
            tx_packets: sample.tx_packets,
            tx_bytes: sample.tx_bytes,
            rx_packets: sample.rx_packets,
            rx_bytes: sample.rx_bytes,
            rekeys: sample.rekeys,
            retries: sample.retries,
            since_unix_ms: sample.since_unix_ms,
        }
    }
}

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

#[derive(Debug, Serialize, ToSchema)]
pub struct RolloutEdge {
    pub site: String,
    pub edge: String,
    pub wave: u32,
    /// `waiting`, `released`, `confirmed`, `away` or `failed`.
    pub state: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Rollout {
    /// 0: there was none.
    pub revision: u64,
    pub from_revision: u64,
    pub phase: String,
    pub wave: u32,
    pub waves: u32,
    pub reason: String,
    /// When the phase ends by itself; 0: not by time.
    pub until_unix_ms: u64,
    pub edges: Vec<RolloutEdge>,
}

impl From<operator::Rollout> for Rollout {
    fn from(r: operator::Rollout) -> Self {
        let edge = |e: operator::RolloutEdge| RolloutEdge {
            site: e.site,
            edge: e.edge,
            wave: e.wave,
            state: e.state,
        };
        Self {
            revision: r.revision,
            from_revision: r.from_revision,
            phase: r.phase,
            wave: r.wave,
            waves: r.waves,
            reason: r.reason,
            until_unix_ms: r.until_unix_ms,
            edges: r.edges.into_iter().map(edge).collect(),
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AbortRequest {
    pub reason: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DrainRequest {
    pub comment: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Drained {
    /// It was so already.
    pub unchanged: bool,
    pub changed: Vec<EdgeGeneration>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Drain {
    /// A site, an edge, or EDGE/UPLINK.
    pub target: String,
    pub since_unix_ms: u64,
    pub by: String,
    pub comment: String,
}

impl From<operator::Drain> for Drain {
    fn from(d: operator::Drain) -> Self {
        let operator::Drain { target, since_unix_ms, by, comment } = d;
        Self { target, since_unix_ms, by, comment }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Drains {
    pub drains: Vec<Drain>,
}

/// `edge` for an enrolment token, `role` for an API token.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewToken {
    pub edge: String,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    /// 0: the default of its kind.
    pub valid_for_s: u32,
    pub comment: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct CreatedToken {
    pub id: String,
    /// Shown this once.
    pub token: String,
    pub expires_unix_ms: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Token {
    pub id: String,
    /// `enrolment` or `api`.
    pub kind: String,
    pub edge: String,
    pub role: String,
    pub fleet: String,
    pub created_unix_ms: u64,
    /// 0: never.
    pub expires_unix_ms: u64,
    pub used: bool,
    pub revoked: bool,
    pub last_used_unix_ms: u64,
    pub last_used_from: String,
    pub comment: String,
}

impl From<operator::TokenInfo> for Token {
    fn from(t: operator::TokenInfo) -> Self {
        let kind = match t.kind() {
            operator::TokenKind::Enrolment => "enrolment",
            operator::TokenKind::Api | operator::TokenKind::Unspecified => "api",
        };
        Self {
            kind: kind.to_owned(),
            id: t.id,
            edge: t.edge,
            role: t.role,
            fleet: t.fleet,
            created_unix_ms: t.created_unix_ms,
            expires_unix_ms: t.expires_unix_ms,
            used: t.used,
            revoked: t.revoked,
            last_used_unix_ms: t.last_used_unix_ms,
            last_used_from: t.last_used_from,
            comment: t.comment,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Tokens {
    pub tokens: Vec<Token>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    pub sequence: u64,
    pub unix_ms: u64,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub detail: String,
    /// Refusals that were not written since the entry before.
    pub suppressed: u64,
    pub previous: String,
    /// Hex SHA-256 of this entry's JSON with an empty hash.
    pub hash: String,
}

impl From<audit::Entry> for AuditEntry {
    fn from(e: audit::Entry) -> Self {
        Self {
            sequence: e.sequence,
            unix_ms: e.unix_ms,
            actor: e.record.actor,
            action: e.record.action,
            subject: e.record.subject,
            detail: e.record.detail,
            suppressed: e.suppressed,
            previous: e.previous,
            hash: e.hash,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AuditLog {
    /// Ascending.
    pub entries: Vec<AuditEntry>,
    pub head_sequence: u64,
    pub head_hash: String,
}
