//! What documents say and change: faults, revisions, plans.

use hawser_proto::operator::v1 as operator;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Fault, RolloutPolicy};
use crate::service::Generation;

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
