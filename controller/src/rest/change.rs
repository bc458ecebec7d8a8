//! Rollouts and maintenance.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::Api;
use super::access::to_its_end;
use super::extract::{Asker, Body, Path};
use super::model::{AbortRequest, DrainRequest, Drained, Drains, Rollout};
use super::problem::{Problem, ProblemBody};
use crate::service::Operation;

type Answer<T> = Result<Json<T>, Problem>;

/// The staged rollout that runs, or the one that ran last.
#[utoipa::path(get, path = "/v1/rollout", tag = "rollout", responses(
    (status = 200, body = Rollout),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn get_rollout(State(api): State<Api>, asker: Asker) -> Answer<Rollout> {
    api.admit(&asker, Operation::GetRollout).await?;
    Ok(Json(api.controller.rollout().into()))
}

/// Nothing is taken back any more.
#[utoipa::path(post, path = "/v1/rollout/confirmation", tag = "rollout", responses(
    (status = 200, body = Rollout),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn confirm_rollout(State(api): State<Api>, asker: Asker) -> Answer<Rollout> {
    let by = api.admit(&asker, Operation::ConfirmRollout).await?;
    let controller = Arc::clone(&api.controller);
    let done = to_its_end(async move { controller.confirm_rollout(&by).await }).await?;
    Ok(Json(done.into()))
}

/// Takes the rollout back, everywhere.
#[utoipa::path(post, path = "/v1/rollout/abort", tag = "rollout", request_body = AbortRequest, responses(
    (status = 200, body = Rollout),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn abort_rollout(
    State(api): State<Api>,
    asker: Asker,
    Body(request): Body<AbortRequest>,
) -> Answer<Rollout> {
    let by = api.admit(&asker, Operation::AbortRollout).await?;
    let controller = Arc::clone(&api.controller);
    let reason = request.reason;
    let done = to_its_end(async move { controller.abort_rollout(&by, reason).await }).await?;
    Ok(Json(done.into()))
}

/// What traffic is led away from.
#[utoipa::path(get, path = "/v1/drains", tag = "rollout", responses(
    (status = 200, body = Drains),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn list_drains(State(api): State<Api>, asker: Asker) -> Answer<Drains> {
    api.admit(&asker, Operation::ListDrains).await?;
    let drains = api.controller.list_drains().into_iter().map(Into::into).collect();
    Ok(Json(Drains { drains }))
}

/// Leads traffic away from a site, an edge or EDGE/UPLINK (its slash written as %2F).
#[utoipa::path(put, path = "/v1/drains/{target}", tag = "rollout", params(("target" = String, Path)),
    request_body = DrainRequest, responses(
    (status = 200, body = Drained),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn drain(
    State(api): State<Api>,
    asker: Asker,
    Path(target): Path<String>,
    Body(request): Body<DrainRequest>,
) -> Answer<Drained> {
    set(api, asker, target, true, request.comment).await
}

/// Lets traffic come back.
#[utoipa::path(delete, path = "/v1/drains/{target}", tag = "rollout", params(("target" = String, Path)),
    responses(
    (status = 200, body = Drained),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn undrain(
    State(api): State<Api>,
    asker: Asker,
    Path(target): Path<String>,
) -> Answer<Drained> {
    set(api, asker, target, false, String::new()).await
}

async fn set(
    api: Api,
    asker: Asker,
    target: String,
    drained: bool,
    comment: String,
) -> Answer<Drained> {
    let by = api.admit(&asker, Operation::SetDrain).await?;
    let controller = Arc::clone(&api.controller);
    let done =
        to_its_end(async move { controller.set_drain(&by, &target, drained, comment).await });
    let changed = done.await?;
    Ok(Json(Drained {
        unchanged: changed.is_none(),
        changed: changed.unwrap_or_default().into_iter().map(Into::into).collect(),
    }))
}
