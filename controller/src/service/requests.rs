//! Requests with a key of their caller's choice are done once, and answered as often as they are asked.
//!
//! The key is noted in the store before the work and the answer after it, so this holds over a restart too: what was cut off
//! between the two is not begun again but said to be unknown. A failure changed nothing, so its key is free again. The body of
//! an answer that holds a secret never reaches the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{Controller, ServiceError, manifest};
use crate::clock::now_unix_ms;
use crate::secret;
use crate::store::{Compare, MAX_TXN_OPS, Op, Store, StoreError, Txn};

const PREFIX: &str = "request/";
const PAGE: usize = 100;
/// With its record it must fit into a value of the store, each character of it escaped.
const MAX_STORED_BODY_BYTES: usize = 24 << 10;

/// How many keys are remembered, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub keys: usize,
    pub age_ms: u64,
}

const LIMITS: Limits = Limits { keys: 10_000, age_ms: 86_400_000 };

/// What makes two requests the same.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// Keys of different tokens have nothing to do with each other.
    pub token_id: String,
    pub key: String,
    /// Of all that was asked.
    pub request_sha256: String,
    /// The answer holds what must not reach the disk.
    pub secret: bool,
}

impl Keyed {
    fn id(&self) -> String {
        secret::sha256_hex(&[self.token_id.as_bytes(), self.key.as_bytes()].join(&0))
    }
}

/// An answer as HTTP has it. No `Debug`: it may hold a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

#[derive(Serialize, Deserialize)]
struct Record {
    request_sha256: String,
    unix_ms: u64,
    outcome: Outcome,
}

#[derive(Serialize, Deserialize)]
enum Outcome {
    Begun,
    Done(KeptAnswer),
    /// Its answer was secret, or long.
    DoneUntold,
}

/// Whoever holds the lock does the work, the others wait. An answer is here only if it is not in the store.
type Place = Arc<Mutex<Option<KeptAnswer>>>;

struct Known {
    request_sha256: String,
    unix_ms: u64,
    place: Place,
}

/// Every key that is remembered.
pub struct Requests {
    limits: Limits,
    known: std::sync::Mutex<BTreeMap<String, Known>>,
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Controller {
    /// Does the work unless it was done for this key. It goes on when its caller leaves, if the caller spawned it.
    pub async fn once<E: From<ServiceError>>(
        &self,
        keyed: Keyed,
        work: impl Future<Output = Result<KeptAnswer, E>>,
    ) -> Result<KeptAnswer, E> {
        self.requests.once(self.store.as_ref(), keyed, now_unix_ms(), work).await
    }
}

impl Requests {
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        Self::load_with(store, LIMITS, now_unix_ms()).await
    }

    async fn load_with(store: &dyn Store, limits: Limits, now: u64) -> Result<Self, StoreError> {
        let (mut known, mut gone, mut after) = (BTreeMap::new(), Vec::new(), None);
        loop {
            let page = store.range(PREFIX, after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            for entry in page {
                let record: Record = manifest::decode(&entry.key, &entry.value)?;
                let id = entry.key[PREFIX.len()..].to_owned();
                if record.unix_ms + limits.age_ms <= now {
                    gone.push(id);
                    continue;
                }
                let Record { request_sha256, unix_ms, .. } = record;
                known.insert(id, Known { request_sha256, unix_ms, place: Place::default() });
            }
        }
        forget(store, &gone).await?;
        Ok(Self { limits, known: known.into() })
    }

    async fn once<E: From<ServiceError>>(
        &self,
        store: &dyn Store,
        keyed: Keyed,
        now: u64,
        work: impl Future<Output = Result<KeptAnswer, E>>,
    ) -> Result<KeptAnswer, E> {
        let id = keyed.id();
        let (place, gone) = self.place(&id, &keyed, now)?;
        forget(store, &gone).await.map_err(ServiceError::from)?;
        let mut held = place.lock().await;
        if let Some(answer) = &*held {
            return Ok(answer.clone());
        }
        if let Some(answer) = begin(store, &id, &keyed, now).await? {
            return Ok(answer);
        }
        match work.await {
            Ok(answer) => {
                let stored = end(store, &id, &keyed, now, &answer).await;
                if !stored {
                    *held = Some(answer.clone());
                }
                Ok(answer)
            }
            Err(error) => {
                if let Err(error) = forget(store, std::slice::from_ref(&id)).await {
                    tracing::error!(%error, "the key of a request that failed can't be freed");
                }
                drop(held);
                self.leave(&id, &place);
                Err(error)
            }
        }
    }

    /// This key's place, and keys that are forgotten now.
    fn place(
        &self,
        id: &str,
        keyed: &Keyed,
        now: u64,
    ) -> Result<(Place, Vec<String>), ServiceError> {
        let mut all = self.known.lock().unwrap_or_else(|e| e.into_inner());
        // One that is in use has another owner of its place.
        let old = |known: &Known| {
            known.unix_ms + self.limits.age_ms <= now && Arc::strong_count(&known.place) == 1
        };
        let gone = all.extract_if(.., |_, known| old(known)).map(|(id, _)| id).collect();
        if let Some(known) = all.get(id) {
            if known.request_sha256 != keyed.request_sha256 {
                return Err(ServiceError::KeyReused);
            }
            return Ok((Arc::clone(&known.place), gone));
        }
        if all.len() >= self.limits.keys {
            return Err(ServiceError::KeysFull(all.len()));
        }
        let (request_sha256, place) = (keyed.request_sha256.clone(), Place::default());
        let known = Known { request_sha256, unix_ms: now, place: Arc::clone(&place) };
        all.insert(id.to_owned(), known);
        Ok((place, gone))
    }

    /// Its work failed. Nobody can come to the place while the table is locked; whoever waits there already keeps it.
    fn leave(&self, id: &str, place: &Place) {
        let mut all = self.known.lock().unwrap_or_else(|e| e.into_inner());
        if Arc::strong_count(place) == 2 {
            all.remove(id);
        }
    }
}

/// Notes that the work begins; the answer, if it ended before.
async fn begin(
    store: &dyn Store,
    id: &str,
    keyed: &Keyed,
    now: u64,
) -> Result<Option<KeptAnswer>, ServiceError> {
    let key = key(id);
    let record = put(id, keyed, now, Outcome::Begun)?;
    let txn = Txn {
        compare: vec![Compare::Absent { key: key.clone() }],
        then: vec![record],
        otherwise: vec![Op::Get { key: key.clone() }],
    };
    let outcome = store.txn(txn).await?;
    if outcome.succeeded {
        return Ok(None);
    }
    let entry = outcome.gets.into_iter().flatten().next();
    let entry = entry.ok_or_else(|| StoreError::Garbled { what: key.clone() })?;
    let record: Record = manifest::decode(&key, &entry.value)?;
    if record.request_sha256 != keyed.request_sha256 {
        return Err(ServiceError::KeyReused);
    }
    match record.outcome {
        Outcome::Begun => Err(ServiceError::KeyOutcomeUnknown),
        Outcome::Done(answer) => Ok(Some(answer)),
        Outcome::DoneUntold => Err(ServiceError::KeyAnswerNotKept),
    }
}

/// Whether the whole answer is in the store now. What was done is done, even if that can't be noted.
async fn end(store: &dyn Store, id: &str, keyed: &Keyed, now: u64, answer: &KeptAnswer) -> bool {
    let whole = !keyed.secret && answer.body.len() <= MAX_STORED_BODY_BYTES;
    let outcome = if whole { Outcome::Done(answer.clone()) } else { Outcome::DoneUntold };
    let noted = async {
        let then = vec![put(id, keyed, now, outcome)?];
        store.txn(Txn { then, ..Txn::default() }).await
    };
    match noted.await {
        Ok(_) => whole,
        Err(error) => {
            tracing::error!(%error, "that a request with an idempotency key was done can't be noted");
            false
        }
    }
}

async fn forget(store: &dyn Store, ids: &[String]) -> Result<(), StoreError> {
    for some in ids.chunks(MAX_TXN_OPS) {
        let then = some.iter().map(|id| Op::delete(key(id))).collect();
        store.txn(Txn { then, ..Txn::default() }).await?;
    }
    Ok(())
}

fn put(id: &str, keyed: &Keyed, unix_ms: u64, outcome: Outcome) -> Result<Op, StoreError> {
    let (key, request_sha256) = (key(id), keyed.request_sha256.clone());
    let value = manifest::encode(&key, &Record { request_sha256, unix_ms, outcome })?;
    Ok(Op::put(key, value))
}

fn key(id: &str) -> String {
    format!("{PREFIX}{id}")
}

#[cfg(test)]
mod tests;
