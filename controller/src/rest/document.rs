//! The fleet's document and its revisions.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hawser_telemetry::TraceContext;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::extract::{Asker, Body, Octets, Path, Query, text_of};
use super::idempotency::Asked;
use super::look::Page;
use super::model::{
    Applied, Plan, Revision, Revisions, RollbackRequest, RolloutPolicy, Validation,
};
use super::problem::{Problem, ProblemBody};
use crate::service::{self, Controller, Document, Expected, Operation, Proposal};

type Answer<T> = Result<Json<T>, Problem>;

/// The newest document, as it was applied. Its ETag is the revision.
#[utoipa::path(get, path = "/v1/fleet", tag = "fleet",
    params(("If-None-Match" = Option<String>, Header)), responses(
    (status = 200, body = serde_json::Value, content_type = "application/yaml", headers(("ETag" = String))),
    (status = 304, description = "It is the one that If-None-Match names"),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn get_fleet(
    State(api): State<Api>,
    asker: Asker,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    api.admit(&asker, Operation::GetFleet).await?;
    let document = api.controller.document(0).await?;
    let known = text_of(&headers, "if-none-match").is_some_and(|known| {
        known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag(document.revision))
    });
    if known {
        let tag = etag_value(document.revision);
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(plain(document))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Staging {
    /// Why, for those who look later.
    #[serde(default)]
    comment: String,
    /// Canaries first, then growing waves.
    #[serde(default)]
    staged: bool,
    /// Sites that go first, with commas between them.
    #[serde(default)]
    canary_sites: String,
    #[serde(default)]
    soak_s: u32,
    #[serde(default)]
    settle_within_s: u32,
    /// Taken back unless confirmed in that time.
    #[serde(default)]
    confirm_within_s: u32,
}

impl Staging {
    fn policy(&self) -> Option<RolloutPolicy> {
        let sites = self.canary_sites.split(',').map(str::trim).filter(|site| !site.is_empty());
        self.staged.then(|| RolloutPolicy {
            canary_sites: sites.map(str::to_owned).collect(),
            soak_s: self.soak_s,
            settle_within_s: self.settle_within_s,
            confirm_within_s: self.confirm_within_s,
            growth: 0,
        })
    }
}

/// Commits a document (YAML or JSON) as a new revision. `If-Match` names the revision that it was made from; for the first
/// document `If-None-Match: *`.
#[utoipa::path(put, path = "/v1/fleet", tag = "fleet",
    params(Staging, ("If-Match" = Option<String>, Header), ("If-None-Match" = Option<String>, Header),
        ("Idempotency-Key" = Option<String>, Header)),
    request_body(content = serde_json::Value, content_type = "application/yaml"), responses(
    (status = 200, body = Applied, headers(("ETag" = String))),
    (status = 412, description = "The fleet is at another revision", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "The document has faults", body = ProblemBody, content_type = "application/problem+json"),
    (status = 428, description = "Neither If-Match nor If-None-Match is given", body = ProblemBody, content_type = "application/problem+json"),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn put_fleet(
    State(api): State<Api>,
    asker: Asker,
    headers: HeaderMap,
    Query(staging): Query<Staging>,
    Octets(document): Octets,
) -> Result<Response, Problem> {
    let by = api.admit(&asker, Operation::Apply).await?;
    let expected = expected(&headers)?;
    let asked = format!("PUT /v1/fleet {expected:?} {staging:?}");
    let sha = crate::secret::sha256(&document);
    let parts: [&[u8]; 2] = [asked.as_bytes(), &sha];
    let policy = staging.policy().map(|policy| crate::grpc::policy(policy.into()));
    let trace =
        headers.get("traceparent").and_then(|value| TraceContext::parse(value.to_str().ok()?));
    let proposal = Proposal { document, comment: staging.comment, expected, policy, trace };
    let (controller, owner) = (Arc::clone(&api.controller), by.clone());
    let work = async move {
        let applied = controller.apply(&owner, proposal).await?;
        crate::grpc::export_after(&controller, &applied).await;
        answer(&controller, applied)
    };
    api.once(&by, &headers, Asked { parts: &parts, secret: false }, work).await
}

/// Every fault of a document. Changes nothing.
#[utoipa::path(post, path = "/v1/fleet/validation", tag = "fleet",
    request_body(content = serde_json::Value, content_type = "application/yaml"), responses(
    (status = 200, body = Validation),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn validate(
    State(api): State<Api>,
    asker: Asker,
    Octets(document): Octets,
) -> Answer<Validation> {
    api.admit(&asker, Operation::Validate).await?;
    let faults = api.controller.validate(document).await?;
    let valid = faults.is_empty();
    Ok(Json(Validation { valid, faults: faults.into_iter().map(Into::into).collect() }))
}

/// What applying a document would do: sites, paths that blink, findings. Changes nothing.
#[utoipa::path(post, path = "/v1/fleet/plan", tag = "fleet",
    request_body(content = serde_json::Value, content_type = "application/yaml"), responses(
    (status = 200, body = Plan),
    (status = 422, description = "The document has faults", body = ProblemBody, content_type = "application/problem+json"),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn plan(State(api): State<Api>, asker: Asker, Octets(document): Octets) -> Answer<Plan> {
    api.admit(&asker, Operation::Plan).await?;
    let plan = api.controller.plan(document).await?;
    if !plan.faults.is_empty() {
        return Err(Problem::faulty(plan.faults));
    }
    Ok(Json(plan.into()))
}

/// Revisions that are kept, newest first.
#[utoipa::path(get, path = "/v1/revisions", tag = "fleet", params(Page), responses(
    (status = 200, body = Revisions),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn list_revisions(
    State(api): State<Api>,
    asker: Asker,
    Query(page): Query<Page>,
) -> Answer<Revisions> {
    api.admit(&asker, Operation::ListRevisions).await?;
    let found = api.controller.list_revisions(page.page_size, &page.page_token).await?;
    Ok(Json(Revisions {
        revisions: found.revisions.into_iter().map(Into::into).collect(),
        next_page_token: found.next_page_token,
    }))
}

/// Who committed a revision, when and why.
#[utoipa::path(get, path = "/v1/revisions/{revision}", tag = "fleet",
    params(("revision" = u64, Path)), responses(
    (status = 200, body = Revision),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn get_revision(
    State(api): State<Api>,
    asker: Asker,
    Path(revision): Path<u64>,
) -> Answer<Revision> {
    api.admit(&asker, Operation::ListRevisions).await?;
    Ok(Json(api.controller.revision(revision).await?.into()))
}

/// A revision's document, as it was applied.
#[utoipa::path(get, path = "/v1/revisions/{revision}/document", tag = "fleet",
    params(("revision" = u64, Path)), responses(
    (status = 200, body = serde_json::Value, content_type = "application/yaml", headers(("ETag" = String))),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn get_revision_document(
    State(api): State<Api>,
    asker: Asker,
    Path(revision): Path<u64>,
) -> Result<Response, Problem> {
    api.admit(&asker, Operation::GetFleet).await?;
    if revision == 0 {
        return Err(service::ServiceError::RevisionUnknown(0).into());
    }
    Ok(plain(api.controller.document(revision).await?))
}

/// What `other` has that `revision` has not, as the edges would see it.
#[utoipa::path(get, path = "/v1/revisions/{revision}/diff/{other}", tag = "fleet",
    params(("revision" = u64, Path), ("other" = u64, Path)), responses(
    (status = 200, body = Plan),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn diff(
    State(api): State<Api>,
    asker: Asker,
    Path((revision, other)): Path<(u64, u64)>,
) -> Answer<Plan> {
    api.admit(&asker, Operation::Diff).await?;
    Ok(Json(api.controller.diff(revision, other).await?.into()))
}

/// Commits the document of an older revision as a new one.
#[utoipa::path(post, path = "/v1/revisions/{revision}/rollback", tag = "fleet",
    params(("revision" = u64, Path), ("If-Match" = Option<String>, Header),
        ("Idempotency-Key" = Option<String>, Header)),
    request_body = RollbackRequest, responses(
    (status = 200, body = Applied, headers(("ETag" = String))),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn rollback(
    State(api): State<Api>,
    asker: Asker,
    headers: HeaderMap,
    Path(revision): Path<u64>,
    Body(request): Body<RollbackRequest>,
) -> Result<Response, Problem> {
    let by = api.admit(&asker, Operation::Rollback).await?;
    let expected = if_match(&headers)?.unwrap_or(Expected::Any);
    let asked = format!("POST /v1/revisions/{revision}/rollback {expected:?} {request:?}");
    let policy = request.rollout.map(|policy| crate::grpc::policy(policy.into()));
    let (controller, owner) = (Arc::clone(&api.controller), by.clone());
    let comment = request.comment;
    let parts: [&[u8]; 1] = [asked.as_bytes()];
    let work = async move {
        let applied = controller.rollback(&owner, revision, comment, expected, policy).await?;
        crate::grpc::export_after(&controller, &applied).await;
        answer(&controller, applied)
    };
    api.once(&by, &headers, Asked { parts: &parts, secret: false }, work).await
}

fn answer(controller: &Controller, applied: service::Applied) -> Result<Response, Problem> {
    let (revision, unchanged, changed) = match applied {
        service::Applied::Faulty(faults) => return Err(Problem::faulty(faults)),
        service::Applied::Unchanged { revision } => (revision, true, Vec::new()),
        service::Applied::Committed { revision, changed } => (revision, false, changed),
    };
    let staged = !unchanged && controller.rollout().revision == revision;
    let changed = changed.into_iter().map(Into::into).collect();
    let body = Applied { revision, unchanged, changed, staged };
    Ok(([(header::ETAG, etag_value(revision))], Json(body)).into_response())
}

fn plain(document: Document) -> Response {
    let json = document.bytes.trim_ascii_start().starts_with(b"{");
    let kind = if json { "application/json" } else { "application/yaml" };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::ETAG, etag_value(document.revision)),
    ];
    (headers, document.bytes).into_response()
}

fn etag(revision: u64) -> String {
    format!("\"{revision}\"")
}

fn etag_value(revision: u64) -> HeaderValue {
    HeaderValue::from_str(&etag(revision)).expect("digits in quotes")
}

fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    if let Some(expected) = if_match(headers)? {
        return Ok(expected);
    }
    match text_of(headers, "if-none-match").map(str::trim) {
        Some("*") => Ok(Expected::None),
        _ => {
            let detail = "say which revision the document was made from".to_owned();
            let mend =
                "send If-Match with the ETag of GET /v1/fleet, or If-None-Match: * for the first";
            let status = StatusCode::PRECONDITION_REQUIRED;
            Err(Problem::new(status, "PRECONDITION_REQUIRED", detail, mend))
        }
    }
}

fn if_match(headers: &HeaderMap) -> Result<Option<Expected>, Problem> {
    let Some(value) = text_of(headers, "if-match").map(str::trim) else { return Ok(None) };
    if value == "*" {
        return Ok(Some(Expected::Any));
    }
    let revision = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    match revision.and_then(|revision| revision.parse().ok()) {
        Some(revision) => Ok(Some(Expected::Revision(revision))),
        None => {
            let detail = "If-Match holds no ETag of a fleet".to_owned();
            Err(Problem::unreadable(StatusCode::BAD_REQUEST, detail))
        }
    }
}
