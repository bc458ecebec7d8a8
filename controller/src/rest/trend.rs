//! What paths measured over the last hours.

use axum::Json;
use axum::extract::State;
use hawser_controller_core::trend;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::extract::{Asker, Path, Query};
use super::problem::{Problem, ProblemBody};
use crate::service::{EndTrend, Limit, LongStore, Operation, PathTrend, TrendQuestion};

/// What was measured from `unix_ms` on, for `span_ms`: means over that time. Figures are missing where nothing was heard.
#[derive(Debug, Serialize, ToSchema)]
pub struct Measured {
    pub unix_ms: u64,
    pub span_ms: u32,
    /// The worst in that time: `up`, `connecting` or `down`.
    pub state: String,
    /// Traffic of some class was on it.
    pub carries: bool,
    pub rtt_us: Option<u32>,
    pub jitter_us: Option<u32>,
    /// Parts per million.
    pub loss_tx_ppm: Option<u32>,
    pub loss_rx_ppm: Option<u32>,
}

impl From<trend::Point> for Measured {
    fn from(point: trend::Point) -> Self {
        let state = match point.state {
            trend::State::Up => "up",
            trend::State::Connecting => "connecting",
            trend::State::Down => "down",
        };
        let figure = |value: u32| point.measured.then_some(value);
        Self {
            unix_ms: point.at_ms,
            span_ms: point.span_ms,
            state: state.to_owned(),
            carries: point.carries,
            rtt_us: figure(point.rtt_us),
            jitter_us: figure(point.jitter_us),
            loss_tx_ppm: figure(point.loss_tx_ppm),
            loss_rx_ppm: figure(point.loss_rx_ppm),
        }
    }
}

/// As one end saw it; oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndHistory {
    pub site: String,
    pub edge: String,
    pub uplink: String,
    pub points: Vec<Measured>,
    /// Where the next page begins; missing: that was all.
    pub next_since_unix_ms: Option<u64>,
}

impl From<EndTrend> for EndHistory {
    fn from(trend: EndTrend) -> Self {
        let EndTrend { site, edge, uplink, points, next_since_unix_ms } = trend;
        let points = points.into_iter().map(Into::into).collect();
        Self { site, edge, uplink, points, next_since_unix_ms }
    }
}

/// What a traffic class must get; what is missing has no limit.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClassLimit {
    pub traffic_class: String,
    pub sla_class: String,
    pub max_rtt_us: Option<u32>,
    pub max_jitter_us: Option<u32>,
    pub max_loss_ppm: Option<u32>,
}

impl From<Limit> for ClassLimit {
    fn from(limit: Limit) -> Self {
        let given = |value: u32| Some(value).filter(|value| *value > 0);
        Self {
            traffic_class: limit.traffic_class,
            sla_class: limit.sla_class,
            max_rtt_us: given(limit.max_rtt_us),
            max_jitter_us: given(limit.max_jitter_us),
            max_loss_ppm: given(limit.max_loss_ppm),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PathHistory {
    pub path_id: u32,
    /// The edge with the lower ID first.
    pub ends: Vec<EndHistory>,
    pub limits: Vec<ClassLimit>,
    /// What became of the question for figures that are older than the controller's own: `none` (it was given no
    /// Prometheus), `not_asked` (there was no need), `answered`, `failed`.
    pub long_store: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct HistoryQuery {
    #[serde(default)]
    since_unix_ms: u64,
    /// 0: until now.
    #[serde(default)]
    until_unix_ms: u64,
    /// Points of each end.
    #[serde(default)]
    limit: u32,
}

/// Delay, jitter and loss of a path over the last hours: the newest every 5 s, older ones in wider steps. Before that, if
/// the controller was given a Prometheus, up to 480 steps of a minute or wider of what that has kept.
#[utoipa::path(get, path = "/v1/paths/{path_id}/history", tag = "state",
    params(("path_id" = u32, Path), HistoryQuery), responses(
    (status = 200, body = PathHistory),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn history(
    State(api): State<Api>,
    asker: Asker,
    Path(path_id): Path<u32>,
    Query(asked): Query<HistoryQuery>,
) -> Result<Json<PathHistory>, Problem> {
    api.admit(&asker, Operation::ListPaths).await?;
    let asked = TrendQuestion {
        path_id,
        since_unix_ms: asked.since_unix_ms,
        until_unix_ms: asked.until_unix_ms,
        limit: asked.limit,
    };
    let PathTrend { ends, limits, long_store } = api.controller.path_trend(&asked).await?;
    Ok(Json(PathHistory {
        path_id,
        ends: ends.into_iter().map(Into::into).collect(),
        limits: limits.into_iter().map(Into::into).collect(),
        long_store: name(long_store).to_owned(),
    }))
}

fn name(store: LongStore) -> &'static str {
    match store {
        LongStore::None => "none",
        LongStore::NotAsked => "not_asked",
        LongStore::Answered => "answered",
        LongStore::Failed => "failed",
    }
}
