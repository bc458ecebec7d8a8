//! Idempotency keys of HTTP: which requests are the same, and answers as the domain keeps them.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use super::Api;
use super::access::ended;
use super::extract::text_of;
use super::problem::Problem;
use crate::secret;
use crate::service::{KeptAnswer, Keyed, Principal};

const HEADER: &str = "idempotency-key";
const MAX_KEY_BYTES: usize = 255;
/// None that can have a key is longer: 2,000 changed edges are 150 KiB.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// What was asked.
pub struct Asked<'a> {
    /// All that makes two requests the same.
    pub parts: &'a [&'a [u8]],
    /// The answer holds a secret, which must not be stored.
    pub secret: bool,
}

impl Api {
    /// Does what is asked, unless it was done for this key. The work goes on to its end if the client leaves, so that it can
    /// ask again for the answer.
    pub async fn once(
        &self,
        by: &Principal,
        headers: &HeaderMap,
        asked: Asked<'_>,
        work: impl Future<Output = Result<Response, Problem>> + Send + 'static,
    ) -> Result<Response, Problem> {
        let Some(key) = text_of(headers, HEADER) else {
            return ended(work).await;
        };
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            let detail = format!("an idempotency key has 1 to {MAX_KEY_BYTES} characters");
            return Err(Problem::unreadable(StatusCode::BAD_REQUEST, detail));
        }
        let keyed = Keyed {
            token_id: by.token_id.clone(),
            key: key.to_owned(),
            request_sha256: secret::sha256_hex(&asked.parts.join(&0)),
            secret: asked.secret,
        };
        let controller = Arc::clone(&self.controller);
        let answered = async move { kept(work.await?).await };
        let answer = ended(async move { controller.once(keyed, answered).await }).await?;
        again(answer)
    }
}

async fn kept(response: Response) -> Result<KeptAnswer, Problem> {
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, MAX_ANSWER_BYTES).await.map_err(odd)?;
    let body = String::from_utf8(body.into()).map_err(|error| odd(error.utf8_error()))?;
    let text = |(name, value): (&HeaderName, &HeaderValue)| {
        Ok((name.to_string(), value.to_str().map_err(odd)?.to_owned()))
    };
    let headers = parts.headers.iter().map(text).collect::<Result<_, Problem>>()?;
    Ok(KeptAnswer { status: parts.status.as_u16(), headers, body })
}

fn again(answer: KeptAnswer) -> Result<Response, Problem> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).map_err(odd)?;
    for (name, value) in &answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(odd)?;
        response.headers_mut().append(name, HeaderValue::from_str(value).map_err(odd)?);
    }
    Ok(response)
}

/// An answer of ours that is not as our answers are.
fn odd(error: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", error.to_string(), "")
}
