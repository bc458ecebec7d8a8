//! Idempotency keys: the same request with the same key is done once, and answered twice. Kept in memory for a day:
//! answers may hold a token, which must not reach the disk. A controller that restarts forgets them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tokio::sync::Mutex;

use super::extract::text_of;
use super::problem::Problem;
use crate::clock::now_unix_ms;
use crate::secret;
use crate::service::Principal;

const HEADER: &str = "idempotency-key";
const KEPT_MS: u64 = 86_400_000;
const MAX_KEPT: usize = 10_000;
const MAX_KEY_BYTES: usize = 255;
/// A longer answer is not kept; none that can have a key is.
const MAX_ANSWER_BYTES: usize = 1 << 20;

#[derive(Debug, Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// One key's place: whoever holds the lock does the work, the others wait for the answer.
#[derive(Debug, Default)]
struct Place {
    answer: Option<Answer>,
}

#[derive(Debug)]
struct Kept {
    /// Of what was asked.
    request_sha256: String,
    unix_ms: u64,
    place: Arc<Mutex<Place>>,
}

/// Answers by token and key.
#[derive(Debug, Default)]
pub struct Answers(std::sync::Mutex<BTreeMap<(String, String), Kept>>);

impl Answers {
    /// Does what is asked, unless it was done for this key; `asked` is what makes two requests the same.
    pub async fn once(
        &self,
        by: &Principal,
        headers: &HeaderMap,
        asked: &[&[u8]],
        work: impl Future<Output = Result<Response, Problem>>,
    ) -> Result<Response, Problem> {
        let Some(key) = text_of(headers, HEADER) else {
            return work.await;
        };
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            let detail = format!("an idempotency key has 1 to {MAX_KEY_BYTES} characters");
            return Err(Problem::unreadable(StatusCode::BAD_REQUEST, detail));
        }
        let place = self.place(by, key, &secret::sha256_hex(&asked.join(&0)))?;
        let mut place = place.lock().await;
        if let Some(answer) = &place.answer {
            return Ok(again(answer));
        }
        let response = work.await?;
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, MAX_ANSWER_BYTES).await.map_err(|error| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", error.to_string(), "")
        })?;
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        let response = again(&answer);
        // What failed may be tried again with the same key: it has changed nothing.
        place.answer = Some(answer);
        Ok(response)
    }

    fn place(
        &self,
        by: &Principal,
        key: &str,
        request_sha256: &str,
    ) -> Result<Arc<Mutex<Place>>, Problem> {
        let now = now_unix_ms();
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let id = (by.token_id.clone(), key.to_owned());
        if all.get(&id).is_some_and(|kept| kept.unix_ms + KEPT_MS <= now) {
            all.remove(&id);
        }
        if !all.contains_key(&id) && all.len() >= MAX_KEPT {
            all.retain(|_, kept| kept.unix_ms + KEPT_MS > now);
        }
        if !all.contains_key(&id) && all.len() >= MAX_KEPT {
            let detail = format!("{MAX_KEPT} idempotency keys are in use");
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Err(Problem::new(status, "IDEMPOTENCY_KEYS_FULL", detail, "ask without one"));
        }
        let kept = all.entry(id).or_insert_with(|| Kept {
            request_sha256: request_sha256.to_owned(),
            unix_ms: now,
            place: Arc::default(),
        });
        if kept.request_sha256 != request_sha256 {
            let detail = "this idempotency key was used for another request".to_owned();
            let (status, mend) = (StatusCode::UNPROCESSABLE_ENTITY, "take a new key");
            return Err(Problem::new(status, "IDEMPOTENCY_KEY_REUSED", detail, mend));
        }
        Ok(Arc::clone(&kept.place))
    }
}

fn again(answer: &Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body.clone()));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers.clone();
    response
}
