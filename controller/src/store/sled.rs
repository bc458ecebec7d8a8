//! The embedded store: sled behind one writer thread.
//!
//! The writer takes what is waiting, applies each transaction as one atomic batch, then flushes and
//! syncs once for all of them and only then acknowledges: `flush` alone is no barrier against power
//! loss. There is one writer, so compares are plain reads and no closure ever runs twice.

use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use async_trait::async_trait;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::export::{self, file_error};
use super::failpoint;
use super::recovery::{self, OpenReport};
use super::{
    Change, Compare, Entry, Note, Op, Revision, Store, StoreError, Txn, TxnOutcome, WATCH_DEPTH,
    Watcher, check_limits,
};

/// Not a key of anybody's: text keys never start with a zero octet.
pub const REVISION_KEY: &[u8] = b"\0revision";
const REVISION_BYTES: usize = 8;
/// Requests waiting for the writer; beyond it callers wait.
const QUEUE_DEPTH: usize = 256;
/// Transactions that share one flush.
const MAX_GROUP: usize = 64;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Request {
    Txn(Txn, Reply<TxnOutcome>),
    Checkpoint(Reply<()>),
}

/// A [`Store`] in a folder. Dropping it stops the writer after what it has accepted.
pub struct SledStore {
    db: sled::Db,
    requests: Option<mpsc::Sender<Request>>,
    notes: broadcast::Sender<Note>,
    failed: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
    _lock: File,
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore").finish_non_exhaustive()
    }
}

impl SledStore {
    /// Opens or creates `data/store`, with exports in `data/exports`. Blocks.
    pub fn open(data: &Path) -> Result<(Self, OpenReport), StoreError> {
        let lock = hold(data)?;
        let (dir, exports) = (data.join("store"), data.join("exports"));
        fs::create_dir_all(&exports).map_err(|e| file_error("creating", &exports, e))?;
        let (db, report) = recovery::open(&dir, &exports)?;
        let database = dir.join("db");
        let file = File::open(&database).map_err(|e| file_error("opening", &database, e))?;
        export::sync_dir(&dir).map_err(|e| file_error("syncing", &dir, e))?;
        let revision = read_revision(&db)?;
        let (requests, inbox) = mpsc::channel(QUEUE_DEPTH);
        let (notes, _) = broadcast::channel(WATCH_DEPTH);
        let failed = Arc::new(AtomicBool::new(false));
        let writer = Writer {
            db: db.clone(),
            file,
            revision,
            exported: None,
            exports,
            notes: notes.clone(),
            failed: Arc::clone(&failed),
        };
        let writer = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(inbox))
            .map_err(|e| file_error("starting the writer of", &dir, e))?;
        let store =
            Self { db, requests: Some(requests), notes, failed, writer: Some(writer), _lock: lock };
        Ok((store, report))
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or(StoreError::Closed)?;
        requests.send(request(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&sled::Db) -> sled::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let db = self.db.clone();
        let doing = "reading";
        match tokio::task::spawn_blocking(move || read(&db)).await {
            Ok(result) => result.map_err(|source| StoreError::Database { doing, source }),
            Err(_) => Err(StoreError::Panicked { doing }),
        }
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so; there is nobody left to tell.
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Store for SledStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let owned = key.to_owned();
        let raw = self.read(move |db| db.get(owned)).await?;
        raw.map(|value| decode_entry(key.as_bytes(), &value)).transpose()
    }

    async fn range(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let prefix = prefix.to_owned();
        let after = after.map(str::to_owned);
        let raw = self
            .read(move |db| {
                let from = match after {
                    Some(after) if after.as_bytes() >= prefix.as_bytes() => {
                        std::ops::Bound::Excluded(after.into_bytes())
                    }
                    _ => std::ops::Bound::Included(prefix.clone().into_bytes()),
                };
                db.range::<Vec<u8>, _>((from, std::ops::Bound::Unbounded))
                    .filter(|pair| !matches!(pair, Ok((key, _)) if *key == REVISION_KEY))
                    .take_while(|pair| match pair {
                        Ok((key, _)) => key.starts_with(prefix.as_bytes()),
                        Err(_) => true,
                    })
                    .take(limit)
                    .collect::<sled::Result<Vec<_>>>()
            })
            .await?;
        raw.iter().map(|(key, value)| decode_entry(key, value)).collect()
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        check_limits(&txn)?;
        self.ask(|reply| Request::Txn(txn, reply)).await
    }

    fn watch(&self, prefix: &str) -> Watcher {
        Watcher { prefix: prefix.to_owned(), notes: self.notes.subscribe() }
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    async fn checkpoint(&self) -> Result<(), StoreError> {
        self.ask(Request::Checkpoint).await
    }

    /// The folder is free once the store is dropped.
    async fn close(&self) {}
}

struct Writer {
    db: sled::Db,
    /// The database's own file, for `fdatasync`.
    file: File,
    revision: Revision,
    /// Revision of the newest export of this run.
    exported: Option<Revision>,
    exports: PathBuf,
    notes: broadcast::Sender<Note>,
    failed: Arc<AtomicBool>,
}

impl Writer {
    fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        while let Some(first) = inbox.blocking_recv() {
            let mut group = Vec::new();
            let mut checkpoints = Vec::new();
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Txn(txn, reply) => group.push((txn, reply)),
                    Request::Checkpoint(reply) => checkpoints.push(reply),
                }
                next = (group.len() < MAX_GROUP).then(|| inbox.try_recv().ok()).flatten();
            }
            self.commit(group);
            for reply in checkpoints {
                let _ = reply.send(self.checkpoint());
            }
        }
    }

    /// Applies each transaction, makes them durable together, then tells callers and watchers.
    fn commit(&mut self, group: Vec<(Txn, Reply<TxnOutcome>)>) {
        let mut done = Vec::new();
        let mut changes = Vec::new();
        let before = self.revision;
        for (txn, reply) in group {
            match self.guarded("writing", |writer| writer.apply(&txn)) {
                Ok((outcome, changed)) => {
                    changes.extend(changed);
                    done.push((outcome, reply));
                }
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        let durable =
            if self.revision == before { Ok(()) } else { self.guarded("syncing", Writer::sync) };
        if durable.is_ok() {
            for change in changes {
                // An error only says that nobody watches.
                let _ = self.notes.send(Note::Change(change));
            }
        }
        for (outcome, reply) in done {
            let answer = match &durable {
                Ok(()) => Ok(outcome),
                Err(_) => Err(StoreError::Failed),
            };
            let _ = reply.send(answer);
        }
    }

    /// Runs one step; after an error or a panic what is in memory may not be what is on disk, so
    /// nothing follows.
    fn guarded<T>(
        &mut self,
        doing: &'static str,
        step: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(StoreError::Failed);
        }
        let result = catch_unwind(AssertUnwindSafe(|| step(self)))
            .unwrap_or(Err(StoreError::Panicked { doing }));
        if let Err(error) = &result {
            tracing::error!(%error, doing, "the store failed and takes no more writes");
            self.failed.store(true, Ordering::Release);
        }
        result
    }

    fn apply(&mut self, txn: &Txn) -> Result<(TxnOutcome, Vec<Change>), StoreError> {
        let mut succeeded = true;
        for compare in &txn.compare {
            succeeded &= self.holds(compare)?;
        }
        let ops = if succeeded { &txn.then } else { &txn.otherwise };
        let revision = self.revision + 1;
        let mut batch = sled::Batch::default();
        let (mut changes, mut gets) = (Vec::new(), Vec::new());
        for op in ops {
            match op {
                Op::Get { key } => gets.push(self.get(key)?),
                Op::Put { key, value } => {
                    batch.insert(key.as_bytes(), encode(revision, value));
                    changes.push(change(key, Some(value), revision));
                }
                Op::Delete { key } => {
                    batch.remove(key.as_bytes());
                    changes.push(change(key, None, revision));
                }
            }
        }
        if !changes.is_empty() {
            batch.insert(REVISION_KEY, &revision.to_be_bytes());
            failpoint::pass("write-begun", &self.exports);
            self.db.apply_batch(batch).map_err(database("writing"))?;
            self.revision = revision;
            failpoint::pass("write-applied", &self.exports);
        }
        let outcome = TxnOutcome { succeeded, revision: self.revision, gets };
        Ok((outcome, changes))
    }

    fn holds(&self, compare: &Compare) -> Result<bool, StoreError> {
        Ok(match compare {
            Compare::Absent { key } => self.get(key)?.is_none(),
            Compare::Revision { key, revision } => {
                self.get(key)?.is_some_and(|e| e.revision == *revision)
            }
            Compare::Value { key, value } => self.get(key)?.is_some_and(|e| e.value == *value),
        })
    }

    fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let raw = self.db.get(key).map_err(database("reading"))?;
        raw.map(|value| decode_entry(key.as_bytes(), &value)).transpose()
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.db.flush().map_err(database("flushing"))?;
        failpoint::pass("write-flushed", &self.exports);
        self.file.sync_data().map_err(|e| file_error("syncing", Path::new("db"), e))?;
        failpoint::pass("write-synced", &self.exports);
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(StoreError::Failed);
        }
        if self.exported == Some(self.revision) {
            return Ok(());
        }
        let pairs = catch_unwind(AssertUnwindSafe(|| {
            self.db
                .iter()
                .map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())))
                .collect::<sled::Result<Vec<_>>>()
        }))
        .map_err(|_| StoreError::Panicked { doing: "exporting" })?
        .map_err(database("exporting"))?;
        export::write(&self.exports, self.revision, &pairs)?;
        self.exported = Some(self.revision);
        Ok(())
    }
}

pub fn decode_revision(bytes: &[u8]) -> Option<Revision> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn read_revision(db: &sled::Db) -> Result<Revision, StoreError> {
    let raw = db.get(REVISION_KEY).map_err(database("being opened"))?;
    raw.map_or(Ok(0), |bytes| decode_revision(&bytes).ok_or_else(|| garbled(REVISION_KEY)))
}

pub fn encode(revision: Revision, value: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(REVISION_BYTES + value.len());
    raw.extend_from_slice(&revision.to_be_bytes());
    raw.extend_from_slice(value);
    raw
}

pub fn decode_entry(key: &[u8], raw: &[u8]) -> Result<Entry, StoreError> {
    let (revision, value) =
        raw.split_first_chunk::<REVISION_BYTES>().ok_or_else(|| garbled(key))?;
    Ok(Entry {
        key: String::from_utf8(key.to_vec()).map_err(|_| garbled(key))?,
        value: value.to_vec(),
        revision: u64::from_be_bytes(*revision),
    })
}

fn change(key: &str, value: Option<&Vec<u8>>, revision: Revision) -> Change {
    Change { key: key.to_owned(), value: value.cloned(), revision }
}

fn garbled(key: &[u8]) -> StoreError {
    StoreError::Garbled { what: String::from_utf8_lossy(key).into_owned() }
}

fn database(doing: &'static str) -> impl Fn(sled::Error) -> StoreError {
    move |source| StoreError::Database { doing, source }
}

/// Keeps others from the store of this folder for as long as it is held.
pub fn hold(data: &Path) -> Result<File, StoreError> {
    lock(&data.join("lock"))
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|e| file_error("opening", path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
        Err(fs::TryLockError::Error(source)) => Err(file_error("locking", path, source)),
    }
}
