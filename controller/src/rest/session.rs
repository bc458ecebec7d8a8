//! Signing in to the console: the token is sent once, a cookie that no script can read stands for it from then on.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::extract::{Asker, Body, asked_by_console};
use super::problem::{Problem, ProblemBody};
use crate::clock::now_unix_ms;
use crate::service::Operation;

/// `__Host-`: only over TLS, only from this host, for every path (RFC 6265bis).
pub const COOKIE: &str = "__Host-hawser";
const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Strict";

#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SignIn {
    /// An API token.
    pub token: String,
}

/// Who asks, and what they may.
#[derive(Debug, Serialize, ToSchema)]
pub struct Session {
    pub fleet: String,
    pub token_id: String,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    /// 0: as long as the token.
    pub ends_unix_ms: u64,
    pub controller_version: String,
}

fn session(api: &Api, by: crate::service::Principal, ends_unix_ms: u64) -> Session {
    Session {
        fleet: api.controller.fleet_name().to_owned(),
        token_id: by.token_id,
        role: by.role.name().to_owned(),
        ends_unix_ms,
        controller_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Signs in: the answer sets a cookie. Needs the header `Hawser-Console: 1`, which no other site can send.
#[utoipa::path(post, path = "/v1/session", tag = "people", security(()),
    params(("Hawser-Console" = Option<String>, Header)), request_body = SignIn, responses(
    (status = 200, body = Session, headers(("Set-Cookie" = String))),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn sign_in(
    State(api): State<Api>,
    asker: Asker,
    headers: HeaderMap,
    Body(asked): Body<SignIn>,
) -> Result<Response, Problem> {
    asked_by_console(&headers)?;
    let token = Some(asked.token.trim()).filter(|token| !token.is_empty());
    let by = api.controller.admit(token, asker.from, Operation::GetStatus).await?;
    let opened = api.controller.open_session(&by).await?;
    let age_s = opened.ends_unix_ms.saturating_sub(now_unix_ms()) / 1_000;
    let cookie = format!("{COOKIE}={}; Max-Age={age_s}; {ATTRIBUTES}", opened.text);
    let cookie = HeaderValue::try_from(cookie).expect("base64 and digits");
    Ok(([(header::SET_COOKIE, cookie)], Json(session(&api, by, opened.ends_unix_ms)))
        .into_response())
}

/// Who asks.
#[utoipa::path(get, path = "/v1/session", tag = "people", responses(
    (status = 200, body = Session),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn who(State(api): State<Api>, asker: Asker) -> Result<Json<Session>, Problem> {
    let by = api.admit(&asker, Operation::GetStatus).await?;
    let ends = api.session_end(&asker).map_or(0, |end| end.ends_unix_ms);
    Ok(Json(session(&api, by, ends)))
}

/// Signs out: the session ends, and what is streamed in it.
#[utoipa::path(delete, path = "/v1/session", tag = "people", responses(
    (status = 204, headers(("Set-Cookie" = String))),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn sign_out(State(api): State<Api>, asker: Asker) -> Result<Response, Problem> {
    api.admit(&asker, Operation::GetStatus).await?;
    api.close_session(&asker);
    let cookie = HeaderValue::try_from(format!("{COOKIE}=; Max-Age=0; {ATTRIBUTES}"));
    let cookie = cookie.expect("a literal");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}
