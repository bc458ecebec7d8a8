//! Where the controller keeps what must outlive it: a small key-value store with etcd's
//! transactions.
//!
//! Keys are text with `/` as the separator. A write is acknowledged only when it is durable. Values
//! are at most [`MAX_VALUE_BYTES`]; what is bigger is cut into chunks by [`blob`].

pub mod blob;
mod choice;
mod etcd;
mod export;
pub mod exports;
pub mod failpoint;
mod recovery;
mod sled;
mod timed;

use std::path::PathBuf;

use async_trait::async_trait;
use tokio::sync::broadcast;

pub use self::choice::{StoreChoice, StoreFlags};
pub use self::etcd::{Access, EtcdOptions, EtcdStore};
pub use self::recovery::OpenReport;
pub use self::sled::{SledStore, hold};
pub use self::timed::{StoreTimes, TimedStore};

/// Largest value: sled never reclaims what it puts into its blob folder (128 KiB and more), etcd
/// limits requests.
pub const MAX_VALUE_BYTES: usize = 60 * 1024;
/// Longest key.
pub const MAX_KEY_BYTES: usize = 512;
/// Most operations in one transaction, compares included.
pub const MAX_TXN_OPS: usize = 100;
/// Most octets of keys and values in one transaction: etcd takes requests of 1.5 MiB.
pub const MAX_TXN_BYTES: usize = 1_280 * 1024;
/// There after a restore until its owner deletes it: the reason, under the revision restored to.
pub const RESTORED_KEY: &str = "store/restored";
/// Changes that a slow watcher may be behind before it misses some.
pub const WATCH_DEPTH: usize = 1024;

/// Rises with each transaction that changes something. 0: nothing was ever written.
pub type Revision = u64;

/// One key's value and the revision that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Vec<u8>,
    pub revision: Revision,
}

/// What must hold for a transaction's `then` to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    Absent { key: String },
    Revision { key: String, revision: Revision },
    Value { key: String, value: Vec<u8> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Put { key: String, value: Vec<u8> },
    Delete { key: String },
    Get { key: String },
}

impl Op {
    pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        let (key, value) = (key.into(), value.into());
        Self::Put { key, value }
    }

    pub fn delete(key: impl Into<String>) -> Self {
        Self::Delete { key: key.into() }
    }
}

/// If every compare holds `then` happens, else `otherwise`; all of it or nothing of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    pub compare: Vec<Compare>,
    pub then: Vec<Op>,
    pub otherwise: Vec<Op>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnOutcome {
    /// Every compare held.
    pub succeeded: bool,
    /// Of the store, after the transaction.
    pub revision: Revision,
    /// One for each `Get` that ran, in their order.
    pub gets: Vec<Option<Entry>>,
}

/// A key that changed; no value: it was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    pub value: Option<Vec<u8>>,
    pub revision: Revision,
}

/// What a watcher sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchItem {
    Change(Change),
    /// The watcher was too slow for this many changes (of any key): read the state anew.
    Missed(u64),
}

/// What a store tells all of its watchers.
#[derive(Debug, Clone)]
enum Note {
    Change(Change),
    /// The store itself missed so many.
    Missed(u64),
}

/// Durable changes under a prefix, from the moment of the call of [`Store::watch`] at the latest.
#[derive(Debug)]
pub struct Watcher {
    prefix: String,
    notes: broadcast::Receiver<Note>,
}

impl Watcher {
    /// `None` once the store is closed.
    pub async fn next(&mut self) -> Option<WatchItem> {
        loop {
            match self.notes.recv().await {
                Ok(Note::Change(change)) if change.key.starts_with(&self.prefix) => {
                    return Some(WatchItem::Change(change));
                }
                Ok(Note::Change(_)) => {}
                Ok(Note::Missed(missed)) => return Some(WatchItem::Missed(missed)),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    return Some(WatchItem::Missed(missed));
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// Entries whose key starts with `prefix` and comes after `after`, in order, at most `limit`.
    async fn range(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Durable when it returns. Reads are of what was before its writes; of two writes of a key the last counts. After
    /// [`StoreError::Unavailable`] it may or may not have happened; if it has, [`Store::has_failed`] becomes true.
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError>;

    fn watch(&self, prefix: &str) -> Watcher;

    /// A write failed; it takes no more until it is opened anew.
    fn has_failed(&self) -> bool;

    /// Copies the whole store to a place from which a damaged one is restored. Does nothing if
    /// nothing changed.
    async fn checkpoint(&self) -> Result<(), StoreError>;

    /// Lets another one write. Nothing can be written any more.
    async fn close(&self);
}

/// Why the store can't serve.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("another controller is using {path}")]
    Locked { path: PathBuf },
    #[error("{doing} {path}")]
    File {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the database failed while {doing}")]
    Database {
        doing: &'static str,
        #[source]
        source: ::sled::Error,
    },
    #[error("the database panicked while {doing}")]
    Panicked { doing: &'static str },
    #[error("the database in {path} is damaged and there is no good export to restore it from")]
    Lost { path: PathBuf },
    #[error("the export {path} is damaged: {what}")]
    BadExport { path: PathBuf, what: &'static str },
    #[error("an earlier write failed, so nothing more is accepted until a restart")]
    Failed,
    #[error("too many others write at the same time")]
    Contended,
    #[error("the store is closed")]
    Closed,
    #[error("etcd could not be reached, or has no quorum, while {doing}: {reason}")]
    Unavailable { doing: &'static str, reason: String },
    #[error("etcd refused {doing}: {reason}")]
    Refused { doing: &'static str, reason: String },
    #[error("another controller leads: {by}")]
    Led { by: String },
    #[error("the store was opened for reading only")]
    ReadOnly,
    #[error("{flag} {problem}")]
    Setting { flag: &'static str, problem: &'static str },
    #[error("there is a controller's store in etcd already")]
    NotEmpty,
    #[error("{what} is over its limit of {limit}")]
    Limit { what: &'static str, limit: usize },
    #[error("the stored {what} is not what was written")]
    Garbled { what: String },
}

/// Refuses a transaction that is too big, before it costs anything.
fn check_limits(txn: &Txn) -> Result<(), StoreError> {
    let limit = |what, limit| Err(StoreError::Limit { what, limit });
    if txn.compare.len() + txn.then.len() + txn.otherwise.len() > MAX_TXN_OPS {
        return limit("operations of a transaction", MAX_TXN_OPS);
    }
    let compared = txn.compare.iter().map(|c| match c {
        Compare::Absent { key } | Compare::Revision { key, .. } | Compare::Value { key, .. } => key,
    });
    let ops = || txn.then.iter().chain(&txn.otherwise);
    let written = ops().map(|op| match op {
        Op::Put { key, .. } | Op::Delete { key } | Op::Get { key } => key,
    });
    if compared.chain(written).any(|k| k.len() > MAX_KEY_BYTES) {
        return limit("a key's bytes", MAX_KEY_BYTES);
    }
    if ops().any(|op| matches!(op, Op::Put { value, .. } if value.len() > MAX_VALUE_BYTES)) {
        return limit("a value's bytes", MAX_VALUE_BYTES);
    }
    let of_compare = |compare: &Compare| match compare {
        Compare::Absent { key } | Compare::Revision { key, .. } => key.len(),
        Compare::Value { key, value } => key.len() + value.len(),
    };
    let of_op = |op: &Op| match op {
        Op::Put { key, value } => key.len() + value.len(),
        Op::Delete { key } | Op::Get { key } => key.len(),
    };
    let bytes = txn.compare.iter().map(of_compare).sum::<usize>() + ops().map(of_op).sum::<usize>();
    if bytes > MAX_TXN_BYTES {
        return limit("a transaction's bytes", MAX_TXN_BYTES);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
