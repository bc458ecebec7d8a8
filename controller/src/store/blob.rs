//! Values that are bigger than one key may hold: chunks under `blob/<id>/`, named by a [`BlobRef`]
//! that the owner keeps under its own key. Chunks are written before the key that names them, so a
//! crash leaves unnamed chunks and never a name without chunks; [`sweep`] removes them at the next
//! start.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{MAX_TXN_OPS, MAX_VALUE_BYTES, Op, Store, StoreError, Txn};
use crate::secret;

const PREFIX: &str = "blob/";
/// Largest value of many chunks.
pub const MAX_BLOB_BYTES: usize = 64 << 20;
/// Bytes written in one transaction.
pub(super) const MAX_BATCH_BYTES: usize = 1 << 20;

/// Where a big value is, and what it must hash to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobRef {
    id: String,
    chunks: u32,
    pub sha256: String,
}

/// Gathers chunks of one or more values and writes them in few transactions.
#[derive(Debug)]
pub struct BlobWriter<'a> {
    store: &'a dyn Store,
    pending: Vec<Op>,
    pending_bytes: usize,
}

impl<'a> BlobWriter<'a> {
    pub fn new(store: &'a dyn Store) -> Self {
        Self { store, pending: Vec::new(), pending_bytes: 0 }
    }

    /// The value may be named once [`BlobWriter::finish`] returned.
    pub async fn put(&mut self, value: &[u8]) -> Result<BlobRef, StoreError> {
        if value.len() > MAX_BLOB_BYTES {
            return Err(StoreError::Limit { what: "a value's bytes", limit: MAX_BLOB_BYTES });
        }
        let id = secret::random_hex::<16>();
        let mut chunks = 0;
        for chunk in value.chunks(MAX_VALUE_BYTES) {
            if self.pending.len() >= MAX_TXN_OPS || self.pending_bytes >= MAX_BATCH_BYTES {
                self.flush().await?;
            }
            self.pending.push(Op::put(chunk_key(&id, chunks), chunk));
            self.pending_bytes += chunk.len();
            chunks += 1;
        }
        let sha256 = secret::sha256_hex(value);
        Ok(BlobRef { id, chunks, sha256 })
    }

    pub async fn finish(mut self) -> Result<(), StoreError> {
        self.flush().await
    }

    /// What was put so far can be read from now on.
    pub async fn flush(&mut self) -> Result<(), StoreError> {
        let then = std::mem::take(&mut self.pending);
        self.pending_bytes = 0;
        if !then.is_empty() {
            let txn = Txn { then, ..Txn::default() };
            self.store.txn(txn).await?;
        }
        Ok(())
    }
}

/// Reads a value and checks it.
pub async fn read(store: &dyn Store, blob: &BlobRef) -> Result<Vec<u8>, StoreError> {
    let garbled = || StoreError::Garbled { what: format!("{PREFIX}{}", blob.id) };
    let mut value = Vec::new();
    for chunk in 0..blob.chunks {
        let entry = store.get(&chunk_key(&blob.id, chunk)).await?;
        value.extend_from_slice(&entry.ok_or_else(garbled)?.value);
    }
    if secret::sha256_hex(&value) != blob.sha256 {
        return Err(garbled());
    }
    Ok(value)
}

/// Removes values that nothing names any more.
pub async fn remove(store: &dyn Store, blobs: &[BlobRef]) -> Result<(), StoreError> {
    let keys = blobs
        .iter()
        .flat_map(|blob| (0..blob.chunks).map(|chunk| chunk_key(&blob.id, chunk)))
        .collect();
    delete(store, keys).await
}

/// Removes every chunk whose value is not among `named`; returns how many.
pub async fn sweep(store: &dyn Store, named: &[BlobRef]) -> Result<usize, StoreError> {
    let named: BTreeSet<&str> = named.iter().map(|blob| blob.id.as_str()).collect();
    let mut orphans = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.range(PREFIX, after.as_deref(), MAX_TXN_OPS).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.key.clone());
        orphans.extend(page.into_iter().map(|entry| entry.key).filter(|key| {
            let id = key[PREFIX.len()..].split('/').next().unwrap_or_default();
            !named.contains(id)
        }));
    }
    let count = orphans.len();
    delete(store, orphans).await?;
    Ok(count)
}

async fn delete(store: &dyn Store, keys: Vec<String>) -> Result<(), StoreError> {
    for batch in keys.chunks(MAX_TXN_OPS) {
        let then = batch.iter().map(Op::delete).collect();
        let txn = Txn { then, ..Txn::default() };
        store.txn(txn).await?;
    }
    Ok(())
}

fn chunk_key(id: &str, chunk: u32) -> String {
    format!("{PREFIX}{id}/{chunk:06}")
}
