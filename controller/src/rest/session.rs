//! Signing in to the console: the token is sent once, a cookie that no script can read stands for it from then on.

use std::convert::Infallible;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::by_path::ByPath;
use super::extract::{Asker, Body, asked_by_console};
use super::problem::{Problem, ProblemBody};
use crate::clock::now_unix_ms;
use crate::service::Operation;

const HOW: &str = "Secure; HttpOnly; SameSite=Strict";

/// The cookie of a fleet as the browser knows it.
pub struct SessionCookie {
    pub name: String,
    path: String,
}

impl SessionCookie {
    /// `__Host-`: only over TLS, only from this host, for every path. By path it is for what is below that, and has the fleet in its name: a browser sends the
    /// first fleet's to every path, too. `__Secure-`: only over TLS (RFC 6265bis).
    pub fn of(by_path: Option<&ByPath>) -> Self {
        match by_path {
            None => Self { name: "__Host-hawser".to_owned(), path: "/".to_owned() },
            Some(by_path) => Self {
                name: format!("__Secure-hawser-{}", by_path.fleet()),
                path: format!("{}/", by_path.prefix()),
            },
        }
    }

    fn set(&self, text: &str, age_s: u64) -> HeaderValue {
        let Self { name, path } = self;
        let cookie = format!("{name}={text}; Max-Age={age_s}; Path={path}; {HOW}");
        HeaderValue::try_from(cookie).expect("base64, digits and a fleet's name")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SessionCookie {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts.extensions.get::<ByPath>()))
    }
}

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
    cookie: SessionCookie,
    headers: HeaderMap,
    Body(asked): Body<SignIn>,
) -> Result<Response, Problem> {
    asked_by_console(&headers)?;
    let token = Some(asked.token.trim()).filter(|token| !token.is_empty());
    let by = api.controller.admit(token, asker.from, Operation::GetStatus).await?;
    let opened = api.controller.open_session(&by).await?;
    let age_s = opened.ends_unix_ms.saturating_sub(now_unix_ms()) / 1_000;
    let cookie = cookie.set(&opened.text, age_s);
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
pub async fn sign_out(
    State(api): State<Api>,
    asker: Asker,
    cookie: SessionCookie,
) -> Result<Response, Problem> {
    api.admit(&asker, Operation::GetStatus).await?;
    api.close_session(&asker);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie.set("", 0))]).into_response())
}
