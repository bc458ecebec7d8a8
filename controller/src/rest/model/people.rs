//! Tokens, and the log of what their owners did.

use hawser_proto::operator::v1 as operator;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit;

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
