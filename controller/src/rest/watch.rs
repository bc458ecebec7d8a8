//! Events as they happen, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{self, KeepAlive, Sse};
use futures::Stream;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::extract::{Asker, Query, text_of};
use super::model::Event;
use super::problem::{Problem, ProblemBody};
use crate::service::{Controller, Operation, SessionEnd, Subscription};

const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WatchQuery {
    /// Also what happened since, as far as it is kept; 0: only what comes.
    #[serde(default)]
    since_unix_ms: u64,
}

/// Events as they happen (`text/event-stream`). A watcher that was cut off says in `Last-Event-ID` which it had last, and
/// gets those after it, as far as they are kept.
#[utoipa::path(get, path = "/v1/events/stream", tag = "state",
    params(WatchQuery, ("Last-Event-ID" = Option<String>, Header)), responses(
    (status = 200, body = String, content_type = "text/event-stream"),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn watch(
    State(api): State<Api>,
    asker: Asker,
    headers: HeaderMap,
    Query(asked): Query<WatchQuery>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Problem> {
    api.admit(&asker, Operation::Watch).await?;
    let last: Option<u64> = text_of(&headers, "last-event-id").and_then(|id| id.parse().ok());
    let subscription = match last {
        Some(_) => api.controller.watch_events(1),
        None => api.controller.watch_events(asked.since_unix_ms),
    };
    let end = api.session_end(&asker);
    let state = (subscription, Arc::clone(&api.controller), end, last.unwrap_or(0));
    let stream = futures::stream::unfold(state, next);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE_EVERY)))
}

type Watching = (Subscription, Arc<Controller>, Option<SessionEnd>, u64);

async fn next(
    (mut from, controller, end, last): Watching,
) -> Option<(Result<sse::Event, Infallible>, Watching)> {
    loop {
        let event = tokio::select! {
            () = controller.stopping().cancelled() => None,
            () = has_ended(end.as_ref()) => None,
            event = from.next() => event,
        }?;
        if event.sequence <= last {
            continue;
        }
        let told = Event::from(event);
        // A struct of texts and numbers always has a JSON form.
        let data = serde_json::to_string(&told).unwrap_or_default();
        let mut event = sse::Event::default().id(told.sequence.to_string());
        // Codes of agents may hold what has a meaning in a stream.
        if told.code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
            event = event.event(&told.code);
        }
        let event = event.data(data);
        return Some((Ok(event), (from, controller, end, last)));
    }
}

/// A stream that was begun in a session ends with it; one that was begun with a token goes on.
async fn has_ended(session: Option<&SessionEnd>) {
    match session {
        Some(end) => end.come().await,
        None => std::future::pending().await,
    }
}
