//! Revoking, and replacing a box.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::access::to_its_end;
use super::extract::{Asker, Body, Path};
use super::model::CreatedToken;
use super::problem::{Problem, ProblemBody};
use crate::service::{Operation, RevokedNow};

type Answer<T> = Result<Json<T>, Problem>;

#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RevocationRequest {
    pub comment: String,
}

#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplacementRequest {
    pub comment: String,
    /// Of the tokens; 0: the default.
    pub valid_for_s: u32,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Revoked {
    /// Of the certificates that this has ended, hexadecimal.
    pub serials: Vec<String>,
    /// Of the list that says so; 0: there was nothing to revoke.
    pub list_number: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ReplacementToken {
    pub edge: String,
    pub token: CreatedToken,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Replaced {
    pub revoked: Revoked,
    pub tokens: Vec<ReplacementToken>,
}

impl From<RevokedNow> for Revoked {
    fn from(done: RevokedNow) -> Self {
        Self { serials: done.serials, list_number: done.list_number }
    }
}

/// Ends every certificate of a site's edges, or of one edge.
#[utoipa::path(post, path = "/v1/sites/{target}/revocation", tag = "certificates",
    params(("target" = String, Path)), request_body = RevocationRequest, responses(
    (status = 200, body = Revoked),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn revoke(
    State(api): State<Api>,
    asker: Asker,
    Path(target): Path<String>,
    Body(request): Body<RevocationRequest>,
) -> Answer<Revoked> {
    let by = api.admit(&asker, Operation::Revoke).await?;
    let controller = Arc::clone(&api.controller);
    let done =
        to_its_end(async move { controller.revoke(&by, &target, &request.comment).await }).await?;
    Ok(Json(done.into()))
}

/// A swapped box: ends its certificates, and gives a one-time token for each edge.
#[utoipa::path(post, path = "/v1/sites/{target}/replacement", tag = "certificates",
    params(("target" = String, Path)), request_body = ReplacementRequest, responses(
    (status = 200, body = Replaced),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn replace(
    State(api): State<Api>,
    asker: Asker,
    Path(target): Path<String>,
    Body(request): Body<ReplacementRequest>,
) -> Answer<Replaced> {
    let by = api.admit(&asker, Operation::Replace).await?;
    let controller = Arc::clone(&api.controller);
    let done = to_its_end(async move {
        controller.replace(&by, &target, &request.comment, request.valid_for_s).await
    });
    let (revoked, tokens) = done.await?;
    let tokens = tokens.into_iter().map(|(edge, made)| ReplacementToken {
        edge,
        token: CreatedToken {
            id: made.id,
            token: made.text,
            expires_unix_ms: made.expires_unix_ms,
        },
    });
    Ok(Json(Replaced { revoked: revoked.into(), tokens: tokens.collect() }))
}
