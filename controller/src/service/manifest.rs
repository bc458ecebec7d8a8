//! How the fleet stands in the store: one head that names a manifest, which names everything else.
//! Changing the head is the commit, so a revision with all of its generations appears at once or
//! not at all.

use std::collections::BTreeMap;

use hawser_controller_core::Allocations;
use hawser_controller_core::rollout::Rollout;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::generation::Generation;
use crate::store::blob::BlobRef;
use crate::store::{Compare, Op, Revision, Store, StoreError};

pub const HEAD_KEY: &str = "fleet/head";
const REVISION_PREFIX: &str = "fleet/revision/";
/// Revisions kept; the oldest go first.
pub const REVISIONS_KEPT: u64 = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub revision: u64,
    pub manifest: BlobRef,
}

/// Everything that a revision decided, apart from its document.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    pub revision: u64,
    /// Every new generation is above it: it steps over what a restored store has forgotten.
    pub floor: Generation,
    pub allocations: Allocations,
    pub edges: BTreeMap<String, Desired>,
    /// Last generations of edges that left, so that a name never comes back.
    pub retired: BTreeMap<String, Generation>,
    /// What the operator led traffic away from, by target.
    #[serde(default)]
    pub drains: BTreeMap<String, DrainRecord>,
    /// The rollout that runs, or the one that ran last.
    #[serde(default)]
    pub rollout: Option<Staged>,
}

/// Traffic is led away from a target until it is let come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRecord {
    pub since_unix_ms: u64,
    pub by: String,
    pub comment: String,
}

/// A revision on its way to the edges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    pub revision: u64,
    /// What stands if it is taken back.
    pub from_revision: u64,
    pub machine: Rollout,
    /// Configurations that wait for their wave.
    pub targets: BTreeMap<String, BlobRef>,
    /// Edges that leave the fleet once everybody else has changed over.
    pub leaving: Vec<String>,
}

/// What one edge must make true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    pub id: Generation,
    /// The revision that it was compiled from first.
    pub revision: u64,
    pub config: BlobRef,
    /// The same configuration was offered again after the agent could not confirm it.
    pub reissued: bool,
}

/// A committed document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionRecord {
    pub revision: u64,
    pub document: BlobRef,
    pub committed_unix_ms: u64,
    pub committed_by: String,
    pub comment: String,
}

/// The head and the store's revision of it.
pub async fn read_head(store: &dyn Store) -> Result<Option<(Head, Revision)>, StoreError> {
    match store.get(HEAD_KEY).await? {
        None => Ok(None),
        Some(entry) => Ok(Some((decode(HEAD_KEY, &entry.value)?, entry.revision))),
    }
}

pub async fn read_revision(
    store: &dyn Store,
    revision: u64,
) -> Result<Option<RevisionRecord>, StoreError> {
    let key = revision_key(revision);
    match store.get(&key).await? {
        None => Ok(None),
        Some(entry) => Ok(Some(decode(&key, &entry.value)?)),
    }
}

pub async fn all_revisions(store: &dyn Store) -> Result<Vec<RevisionRecord>, StoreError> {
    let limit = REVISIONS_KEPT as usize + 1;
    let entries = store.range(REVISION_PREFIX, None, limit).await?;
    entries.iter().map(|e| decode(&e.key, &e.value)).collect()
}

/// Holds as long as nobody else moved the head. 0: there was none.
pub fn head_unmoved(seen: Revision) -> Compare {
    let key = HEAD_KEY.to_owned();
    match seen {
        0 => Compare::Absent { key },
        revision => Compare::Revision { key, revision },
    }
}

pub fn put_head(head: &Head) -> Result<Op, StoreError> {
    Ok(Op::put(HEAD_KEY, encode(HEAD_KEY, head)?))
}

pub fn put_revision(record: &RevisionRecord) -> Result<Op, StoreError> {
    let key = revision_key(record.revision);
    let value = encode(&key, record)?;
    Ok(Op::put(key, value))
}

pub fn delete_revision(revision: u64) -> Op {
    Op::delete(revision_key(revision))
}

fn revision_key(revision: u64) -> String {
    format!("{REVISION_PREFIX}{revision:020}")
}

/// A stored JSON value.
pub fn decode<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|_| StoreError::Garbled { what: key.to_owned() })
}

pub fn encode<T: Serialize>(key: &str, value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|_| StoreError::Garbled { what: key.to_owned() })
}
