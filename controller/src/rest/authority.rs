//! The fleet's CA, and its replacement.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use hawser_proto::operator::v1 as operator;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::access::to_its_end;
use super::extract::{Asker, Body};
use super::problem::{Problem, ProblemBody};
use crate::service::Operation;

type Answer<T> = Result<Json<T>, Problem>;

#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotationRequest {
    /// Of the new CA, signed by the root, PEM; empty: give the request.
    pub certificate_pem: String,
    /// In which agents ask for new certificates; 0: 300 s.
    pub renew_within_s: u32,
    pub comment: String,
}

#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetirementRequest {
    /// Also if edges are left. They must be enrolled again.
    pub force: bool,
    pub comment: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// One CA signs, and no other is trusted.
    Steady,
    /// A request for the next one waits for the root's signature.
    Requested,
    /// A new one signs; certificates of the one before are still good.
    Overlap,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Authority {
    /// Its key identifier, hexadecimal: certificates that it signed carry it.
    pub id: String,
    /// Hexadecimal.
    pub serial: String,
    pub starts_unix_s: u64,
    pub ends_unix_s: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct AuthorityStatus {
    pub stage: Stage,
    /// The one that signs.
    pub issuing: Option<Authority>,
    /// The one before, while its certificates are good.
    pub retiring: Option<Authority>,
    /// PKCS#10, PEM: what the holder of the root's key signs; empty: nothing waits.
    pub request_pem: String,
    /// Edges that have a good certificate.
    pub edges: u32,
    /// Of them, those that may still use one of the retiring CA.
    pub edges_left: u32,
    /// Their names, at most 1,000.
    pub left: Vec<String>,
    /// Since when the present one signs; 0: since the beginning.
    pub rotated_unix_ms: u64,
    pub renew_within_s: u32,
}

impl From<operator::Authority> for Authority {
    fn from(told: operator::Authority) -> Self {
        let operator::Authority { id, serial, starts_unix_s, ends_unix_s } = told;
        Self { id, serial, starts_unix_s, ends_unix_s }
    }
}

impl From<operator::AuthorityStatus> for AuthorityStatus {
    fn from(told: operator::AuthorityStatus) -> Self {
        use operator::AuthorityStage::{Overlap, Requested, Steady, Unspecified};
        let stage = match told.stage() {
            Overlap => Stage::Overlap,
            Requested => Stage::Requested,
            Steady | Unspecified => Stage::Steady,
        };
        Self {
            stage,
            issuing: told.issuing.map(Authority::from),
            retiring: told.retiring.map(Authority::from),
            request_pem: told.request_pem,
            edges: told.edges,
            edges_left: told.edges_left,
            left: told.left,
            rotated_unix_ms: told.rotated_unix_ms,
            renew_within_s: told.renew_within_s,
        }
    }
}

/// The CA that signs, and how far its replacement is.
#[utoipa::path(get, path = "/v1/authority", tag = "certificates", responses(
    (status = 200, body = AuthorityStatus),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn look(State(api): State<Api>, asker: Asker) -> Answer<AuthorityStatus> {
    api.admit(&asker, Operation::GetAuthority).await?;
    Ok(Json(api.controller.authority()?.into()))
}

/// Makes a request for another CA; with the certificate that the root's key made of it, that one signs from now on.
#[utoipa::path(post, path = "/v1/authority/rotation", tag = "certificates",
    request_body = RotationRequest, responses(
    (status = 200, body = AuthorityStatus),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn rotate(
    State(api): State<Api>,
    asker: Asker,
    Body(request): Body<RotationRequest>,
) -> Answer<AuthorityStatus> {
    let by = api.admit(&asker, Operation::RotateAuthority).await?;
    let controller = Arc::clone(&api.controller);
    let RotationRequest { certificate_pem, renew_within_s, comment } = request;
    let done = to_its_end(async move {
        controller.rotate_authority(&by, &certificate_pem, renew_within_s, &comment).await
    });
    Ok(Json(done.await?.into()))
}

/// Ends the trust in the CA before.
#[utoipa::path(post, path = "/v1/authority/retirement", tag = "certificates",
    request_body = RetirementRequest, responses(
    (status = 200, body = AuthorityStatus),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn retire(
    State(api): State<Api>,
    asker: Asker,
    Body(request): Body<RetirementRequest>,
) -> Answer<AuthorityStatus> {
    let by = api.admit(&asker, Operation::RetireAuthority).await?;
    let controller = Arc::clone(&api.controller);
    let RetirementRequest { force, comment } = request;
    let done = to_its_end(async move { controller.retire_authority(&by, force, &comment).await });
    Ok(Json(done.await?.into()))
}
