//! Tokens and the audit log.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hawser_proto::operator::v1::TokenKind;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::access::to_its_end;
use super::extract::{Asker, Body, Path, Query};
use super::idempotency::Asked;
use super::model::{AuditLog, CreatedToken, NewToken, Tokens};
use super::problem::{Problem, ProblemBody};
use crate::service::{self, Operation};

type Answer<T> = Result<Json<T>, Problem>;

/// All tokens, without their secrets.
#[utoipa::path(get, path = "/v1/tokens", tag = "people", responses(
    (status = 200, body = Tokens),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn list_tokens(State(api): State<Api>, asker: Asker) -> Answer<Tokens> {
    api.admit(&asker, Operation::ListTokens).await?;
    let tokens = api.controller.list_tokens().await?;
    Ok(Json(Tokens { tokens: tokens.into_iter().map(Into::into).collect() }))
}

/// Makes a token; it is shown this once. One for people needs an admin.
#[utoipa::path(post, path = "/v1/tokens", tag = "people",
    params(("Idempotency-Key" = Option<String>, Header)), request_body = NewToken, responses(
    (status = 201, body = CreatedToken),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn create_token(
    State(api): State<Api>,
    asker: Asker,
    headers: HeaderMap,
    Body(asked): Body<NewToken>,
) -> Result<Response, Problem> {
    let by = api.admit(&asker, Operation::CreateToken).await?;
    let kind = match (asked.edge.is_empty(), asked.role.is_empty()) {
        (false, true) => TokenKind::Enrolment,
        (true, false) => TokenKind::Api,
        _ => {
            let detail = "give either an edge or a role".to_owned();
            return Err(Problem::unreadable(StatusCode::BAD_REQUEST, detail));
        }
    };
    let request = format!("POST /v1/tokens {asked:?}");
    let new = service::NewToken {
        kind,
        edge: asked.edge,
        role: asked.role,
        valid_for_s: asked.valid_for_s,
        comment: asked.comment,
    };
    let (controller, owner) = (Arc::clone(&api.controller), by.clone());
    let parts: [&[u8]; 1] = [request.as_bytes()];
    let work = async move {
        let made = controller.create_token(&owner, new).await?;
        let body =
            CreatedToken { id: made.id, token: made.text, expires_unix_ms: made.expires_unix_ms };
        Ok((StatusCode::CREATED, Json(body)).into_response())
    };
    api.once(&by, &headers, Asked { parts: &parts, secret: true }, work).await
}

/// Makes a token useless.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "people", params(("id" = String, Path)), responses(
    (status = 204),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn revoke_token(
    State(api): State<Api>,
    asker: Asker,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let by = api.admit(&asker, Operation::RevokeToken).await?;
    let controller = Arc::clone(&api.controller);
    to_its_end(async move { controller.revoke_token(&by, &id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Entries after this one; left out: the newest page.
    after: Option<u64>,
    #[serde(default)]
    page_size: u32,
}

/// The audit log, in order: each entry carries the hash of the one before.
#[utoipa::path(get, path = "/v1/audit", tag = "people", params(AuditQuery), responses(
    (status = 200, body = AuditLog),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn list_audit(
    State(api): State<Api>,
    asker: Asker,
    Query(asked): Query<AuditQuery>,
) -> Answer<AuditLog> {
    api.admit(&asker, Operation::ListAudit).await?;
    let page = api.controller.list_audit(asked.after, asked.page_size).await?;
    Ok(Json(AuditLog {
        entries: page.entries.into_iter().map(Into::into).collect(),
        head_sequence: page.head.sequence,
        head_hash: page.head.hash,
    }))
}
