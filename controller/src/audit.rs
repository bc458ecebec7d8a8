//! The append-only log of changes and refusals, each entry chained to the one before by its hash.
//!
//! An entry is written in the same transaction as the change that it records. Refusals can be
//! caused by anybody who reaches the port, so they are limited in rate, and an entry says how many
//! were left out before it.

use std::time::Duration;

pub use hawser_controller_core::audit::{Entry, Record};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::bucket::Bucket;
use crate::clock::now_unix_ms;
use crate::store::{Compare, Op, Store, StoreError, Txn, TxnOutcome};

const PREFIX: &str = "audit/entry/";
const HEAD: &str = "audit/head";
/// Entries kept; the oldest go first. The chain is then checked from the oldest that is there.
pub const KEPT: u64 = 100_000;
/// Refusals written at once, and per hour after that.
const REFUSAL_BURST: u32 = 200;
const REFUSALS_PER_HOUR: u32 = 600;
/// Another writer of the same store may be first so often; each time waits a little longer.
const TRIES: u32 = 32;
const TRY_STEP: Duration = Duration::from_millis(1);

/// The newest entry's place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub sequence: u64,
    pub hash: String,
}

#[derive(Debug)]
struct Limits {
    refusals: Bucket,
    suppressed: u64,
}

/// Writes the log. One per store.
#[derive(Debug)]
pub struct Audit {
    limits: Mutex<Limits>,
}

impl Default for Audit {
    fn default() -> Self {
        let limits = Limits {
            refusals: Bucket::new(REFUSAL_BURST, f64::from(REFUSALS_PER_HOUR) / 3600.0),
            suppressed: 0,
        };
        Self { limits: Mutex::new(limits) }
    }
}

impl Audit {
    /// Runs a change together with its entry. If its own compares fail nothing is written, and
    /// `succeeded` is false.
    pub async fn commit(
        &self,
        store: &dyn Store,
        change: Txn,
        record: Record,
    ) -> Result<TxnOutcome, StoreError> {
        let mut limits = self.limits.lock().await;
        self.append(store, &mut limits, &change, record).await
    }

    /// Records a refusal, unless there were too many lately. True: it was written.
    pub async fn refusal(&self, store: &dyn Store, record: Record) -> Result<bool, StoreError> {
        let mut limits = self.limits.lock().await;
        if !limits.refusals.take(now_unix_ms()) {
            limits.suppressed += 1;
            return Ok(false);
        }
        self.append(store, &mut limits, &Txn::default(), record).await?;
        Ok(true)
    }

    async fn append(
        &self,
        store: &dyn Store,
        limits: &mut Limits,
        change: &Txn,
        record: Record,
    ) -> Result<TxnOutcome, StoreError> {
        for attempt in 0..TRIES {
            tokio::time::sleep(TRY_STEP * attempt).await;
            let stored = store.get(HEAD).await?;
            let (head, unmoved) = match &stored {
                None => (Head::default(), Compare::Absent { key: HEAD.into() }),
                Some(entry) => (
                    decode::<Head>(HEAD, &entry.value)?,
                    Compare::Revision { key: HEAD.into(), revision: entry.revision },
                ),
            };
            let before = (head.sequence, head.hash.as_str());
            let entry = Entry::following(before, record.clone(), limits.suppressed, now_unix_ms());
            let mut txn = change.clone();
            txn.compare.push(unmoved);
            txn.then.extend(entry_ops(&entry));
            txn.otherwise.push(Op::Get { key: HEAD.into() });
            let mut outcome = store.txn(txn).await?;
            if outcome.succeeded {
                limits.suppressed = 0;
                return Ok(outcome);
            }
            // The caller's compares failed, unless it was the chain that moved on under another
            // writer.
            if outcome.gets.pop().flatten() == stored {
                return Ok(outcome);
            }
        }
        Err(StoreError::Contended)
    }
}

/// The newest entry's place; 0: there is none.
pub async fn head(store: &dyn Store) -> Result<Head, StoreError> {
    match store.get(HEAD).await? {
        None => Ok(Head::default()),
        Some(head) => decode(HEAD, &head.value),
    }
}

/// Entries after this one, ascending.
pub async fn read_after(
    store: &dyn Store,
    after: u64,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let entries = store.range(PREFIX, Some(&key(after)), limit).await?;
    entries.iter().map(|e| decode(&e.key, &e.value)).collect()
}

/// The newest entries, oldest first.
pub async fn read(store: &dyn Store, limit: usize) -> Result<Vec<Entry>, StoreError> {
    let newest = head(store).await?.sequence;
    read_after(store, newest.saturating_sub(limit as u64), limit).await
}

fn entry_ops(entry: &Entry) -> Vec<Op> {
    let head = Head { sequence: entry.sequence, hash: entry.hash.clone() };
    let json = |value: Result<Vec<u8>, serde_json::Error>| value.unwrap_or_default();
    let mut ops = vec![
        Op::put(key(entry.sequence), json(serde_json::to_vec(entry))),
        Op::put(HEAD, json(serde_json::to_vec(&head))),
    ];
    if entry.sequence > KEPT {
        ops.push(Op::delete(key(entry.sequence - KEPT)));
    }
    ops
}

fn decode<T: serde::de::DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|_| StoreError::Garbled { what: key.to_owned() })
}

fn key(sequence: u64) -> String {
    format!("{PREFIX}{sequence:020}")
}

#[cfg(test)]
mod tests;
