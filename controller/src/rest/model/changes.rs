//! Staged rollouts and drains.

use hawser_proto::operator::v1 as operator;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::EdgeGeneration;

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
