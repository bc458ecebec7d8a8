//! Parts of requests, whose errors are problem details too.

use std::net::IpAddr;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::by_path::ByPath;
use super::problem::Problem;
use super::session::SessionCookie;
use crate::grpc::PeerInfo;

const CONSOLE_HEADER: &str = "hawser-console";

/// A JSON body; without one, what its type is by default.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = axum::body::Bytes::from_request(request, state)
            .await
            .map_err(|error| Problem::unreadable(error.status(), error.body_text()))?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Problem::unreadable(StatusCode::BAD_REQUEST, error.to_string()))
    }
}

/// The body as it is.
pub struct Octets(pub Vec<u8>);

impl<S: Send + Sync> FromRequest<S> for Octets {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = axum::body::Bytes::from_request(request, state).await;
        bytes
            .map(|bytes| Self(bytes.to_vec()))
            .map_err(|error| Problem::unreadable(error.status(), error.body_text()))
    }
}

pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|query| Self(query.0))
            .map_err(|error| Problem::unreadable(error.status(), error.body_text()))
    }
}

pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|path| Self(path.0))
            .map_err(|error| Problem::unreadable(error.status(), error.body_text()))
    }
}

/// What a request says of who asks.
pub enum Credential {
    None,
    Token(String),
    /// The console's cookie.
    Session(String),
}

/// Who asks, before it is known whether they may.
pub struct Asker {
    pub credential: Credential,
    pub from: IpAddr,
}

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<PeerInfo>().ok_or_else(Problem::no_peer)?;
        let value = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let token = value.and_then(crate::grpc::bearer_of).map(str::to_owned);
        let ours = SessionCookie::of(parts.extensions.get::<ByPath>());
        let credential = match (token, cookie(&parts.headers, &ours.name)) {
            (Some(token), _) => Credential::Token(token),
            (None, Some(session)) => {
                // A browser sends the cookie by itself: only our own page may make it change something.
                if !parts.method.is_safe() {
                    asked_by_console(&parts.headers)?;
                }
                Credential::Session(session.to_owned())
            }
            (None, None) => Credential::None,
        };
        Ok(Self { credential, from: peer.address.ip() })
    }
}

/// The console's page sends a header that a page of another origin can't: browsers would ask us first (CORS), and we
/// would not answer. Browsers also say where a request comes from (Fetch Metadata); if they do, it must be from here.
pub fn asked_by_console(headers: &HeaderMap) -> Result<(), Problem> {
    let ours = text_of(headers, CONSOLE_HEADER) == Some("1");
    let here = text_of(headers, "sec-fetch-site").is_none_or(|site| site == "same-origin");
    if ours && here {
        return Ok(());
    }
    let detail = "a request with a session does not come from the console".to_owned();
    let mend = "send the header Hawser-Console: 1, or a token instead of the cookie";
    Err(Problem::new(StatusCode::FORBIDDEN, "NOT_FROM_CONSOLE", detail, mend))
}

/// HTTP/2 may send each cookie in a header of its own (RFC 9113 section 8.2.3).
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// An optional header as text.
pub fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
