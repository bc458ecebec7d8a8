//! What is.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Asker, Path, Query};
use super::model::{Advice, Decisions, Events, Explanations, Paths, Site, Sites, Status};
use super::problem::{Problem, ProblemBody};
use crate::service::{DecisionFilter, Operation, Question};

type Answer<T> = Result<Json<T>, Problem>;

/// Pages of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// 0: the controller's own.
    #[serde(default)]
    pub page_size: u32,
    /// From the page before.
    #[serde(default)]
    pub page_token: String,
}

/// The fleet in a few figures.
#[utoipa::path(get, path = "/v1/status", tag = "state", responses(
    (status = 200, body = Status),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn status(State(api): State<Api>, asker: Asker) -> Answer<Status> {
    api.admit(&asker, Operation::GetStatus).await?;
    Ok(Json(api.controller.status().into()))
}

/// Sites and their edges, by name.
#[utoipa::path(get, path = "/v1/sites", tag = "state", params(Page), responses(
    (status = 200, body = Sites),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn sites(
    State(api): State<Api>,
    asker: Asker,
    Query(page): Query<Page>,
) -> Answer<Sites> {
    api.admit(&asker, Operation::ListSites).await?;
    let found = api.controller.sites(page.page_size, &page.page_token);
    let state = api.controller.state();
    let sites = found.sites.into_iter().map(|site| Site::of(site, &state)).collect();
    Ok(Json(Sites { sites, next_page_token: found.next_page_token }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PathsQuery {
    /// Only those with an end there.
    #[serde(default)]
    site: String,
    #[serde(default)]
    page_size: u32,
    #[serde(default)]
    page_token: String,
}

/// Paths with what both ends measure, by ID.
#[utoipa::path(get, path = "/v1/paths", tag = "state", params(PathsQuery), responses(
    (status = 200, body = Paths),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn paths(
    State(api): State<Api>,
    asker: Asker,
    Query(asked): Query<PathsQuery>,
) -> Answer<Paths> {
    api.admit(&asker, Operation::ListPaths).await?;
    let found = api.controller.paths(&asked.site, asked.page_size, &asked.page_token)?;
    let paths = found.paths.into_iter().map(Into::into).collect();
    let ike_tunnels = found.ike_tunnels.into_iter().map(Into::into).collect();
    Ok(Json(Paths { paths, next_page_token: found.next_page_token, ike_tunnels }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct DecisionsQuery {
    #[serde(default)]
    site: String,
    #[serde(default)]
    traffic_class: String,
    #[serde(default)]
    since_unix_ms: u64,
    /// 0: until now.
    #[serde(default)]
    until_unix_ms: u64,
    #[serde(default)]
    limit: u32,
}

/// Decisions with their evidence, newest first.
#[utoipa::path(get, path = "/v1/decisions", tag = "state", params(DecisionsQuery), responses(
    (status = 200, body = Decisions),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn decisions(
    State(api): State<Api>,
    asker: Asker,
    Query(asked): Query<DecisionsQuery>,
) -> Answer<Decisions> {
    api.admit(&asker, Operation::ListDecisions).await?;
    let found = api.controller.decisions(&DecisionFilter {
        site: asked.site,
        traffic_class: asked.traffic_class,
        since_unix_ms: asked.since_unix_ms,
        until_unix_ms: asked.until_unix_ms,
        limit: asked.limit,
    })?;
    Ok(Json(Decisions { decisions: found.into_iter().map(Into::into).collect() }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExplainQuery {
    /// A peer's edge or site.
    #[serde(default)]
    peer: String,
    #[serde(default)]
    traffic_class: String,
    /// 0: now.
    #[serde(default)]
    at_unix_ms: u64,
    #[serde(default)]
    limit: u32,
}

/// Why traffic of a site is where it is, and why nothing moves; now or at a time in the past.
#[utoipa::path(get, path = "/v1/sites/{site}/explanations", tag = "state",
    params(("site" = String, Path), ExplainQuery), responses(
    (status = 200, body = Explanations),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn explain(
    State(api): State<Api>,
    asker: Asker,
    Path(site): Path<String>,
    Query(asked): Query<ExplainQuery>,
) -> Answer<Explanations> {
    api.admit(&asker, Operation::Explain).await?;
    let found = api.controller.explain(&Question {
        site,
        peer: asked.peer,
        traffic_class: asked.traffic_class,
        at_unix_ms: asked.at_unix_ms,
        limit: asked.limit,
    })?;
    Ok(Json(found.into()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    #[serde(default)]
    since_unix_ms: u64,
    #[serde(default)]
    limit: u32,
}

/// The newest events, oldest of them first.
#[utoipa::path(get, path = "/v1/events", tag = "state", params(EventsQuery), responses(
    (status = 200, body = Events),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn events(
    State(api): State<Api>,
    asker: Asker,
    Query(asked): Query<EventsQuery>,
) -> Answer<Events> {
    api.admit(&asker, Operation::ListEvents).await?;
    let found = api.controller.list_events(asked.since_unix_ms, asked.limit);
    Ok(Json(Events { events: found.into_iter().map(Into::into).collect() }))
}

/// Troubles that the slow loop sees, and its advice in force.
#[utoipa::path(get, path = "/v1/advice", tag = "state", responses(
    (status = 200, body = Advice),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn advice(State(api): State<Api>, asker: Asker) -> Answer<Advice> {
    api.admit(&asker, Operation::ListAdvice).await?;
    Ok(Json(api.controller.list_advice().into()))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    pub status: String,
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses(
    (status = 200, body = Health),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn healthz() -> Json<Health> {
    Json(Health { status: "alive".to_owned() })
}

/// It can take changes: the store works, and it is not stopping.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, body = Health),
    (status = 503, body = ProblemBody, content_type = "application/problem+json"),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn readyz(State(api): State<Api>) -> Answer<Health> {
    match api.controller.ready().await {
        Ok(()) => Ok(Json(Health { status: "ready".to_owned() })),
        Err(why) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Err(Problem::new(status, "NOT_READY", why, "look at the controller's log"))
        }
    }
}
