//! The store in an etcd cluster, for more than one controller: one leads, the others wait to follow it.
//!
//! What is etcd's own business: durability, replication, snapshots, compaction, and its size. [`link`] asks, [`lead`]
//! keeps others from writing, [`once`] writes, [`follow`] tells watchers.

mod follow;
mod lead;
mod link;
mod once;
mod wire;
mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use self::follow::Follower;
use self::lead::Lead;
use self::link::Link;
use self::once::{Health, Writer};
use self::wire::{RangeRequest, RangeResponse};
use self::words::Keys;
use super::recovery::OpenReport;
use super::{
    Entry, Note, Op, RESTORED_KEY, Revision, Store, StoreError, Txn, TxnOutcome, WATCH_DEPTH,
    Watcher, check_limits,
};

/// Values in one answer: pages are made of so many.
const PAGE: usize = 64;
/// More than a page of the biggest values, or what a watch gathers.
const MAX_ANSWER_BYTES: usize = 32 << 20;

/// How an etcd cluster is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdOptions {
    /// URLs; each is tried when the one before does not serve.
    pub endpoints: Vec<String>,
    /// PEM, of the servers' CA.
    pub ca: Option<PathBuf>,
    /// PEM files of the client's certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Keys are below it and the fleet's name.
    pub prefix: String,
    /// How long a request is tried before its caller hears of it.
    pub patience: Duration,
    /// Told to those who want to lead too.
    pub name: String,
}

/// Who else may write meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nobody; if another one leads already, wait for its end.
    LeadInTurn,
    /// Nobody; if another one leads already, fail.
    LeadNow,
    /// Anybody; nothing can be written.
    Read,
}

/// A [`Store`] in etcd.
#[derive(Debug)]
pub struct EtcdStore {
    link: Arc<Link>,
    keys: Keys,
    health: Arc<Health>,
    writer: Option<(Arc<Writer>, Lead)>,
    notes: broadcast::Sender<Note>,
    tasks: Vec<JoinHandle<()>>,
}

impl EtcdStore {
    pub async fn open(
        options: &EtcdOptions,
        fleet: &str,
        access: Access,
    ) -> Result<(Self, OpenReport), StoreError> {
        let link = Arc::new(Link::new(options)?);
        let keys = Keys::new(&options.prefix, fleet);
        let health = Arc::new(Health::default());
        let (notes, _) = broadcast::channel(WATCH_DEPTH);
        let (mut writer, mut tasks) = (None, Vec::new());
        if access != Access::Read {
            let wait = access == Access::LeadInTurn;
            let lead = Lead::take(&link, &keys, &options.name, wait).await?;
            tasks.push(tokio::spawn(lead.clone().keep(Arc::clone(&link), Arc::clone(&health))));
            let once =
                Writer::new(Arc::clone(&link), keys.clone(), lead.clone(), Arc::clone(&health));
            writer = Some((Arc::new(once), lead));
        }
        let mut store = Self { link, keys, health, writer, notes, tasks };
        let first = store.page(&store.keys.data(""), 1, 0).await?;
        let next = first.header.map_or(0, |header| header.revision) + 1;
        let report = match store.get(RESTORED_KEY).await? {
            _ if first.kvs.is_empty() => OpenReport::Created,
            None => OpenReport::Opened,
            Some(told) => OpenReport::Restored {
                revision: told.revision,
                reason: String::from_utf8_lossy(&told.value).into_owned(),
            },
        };
        let (link, keys, notes) =
            (Arc::clone(&store.link), store.keys.clone(), store.notes.clone());
        store.tasks.push(tokio::spawn(Follower { link, keys, next, notes }.run()));
        Ok((store, report))
    }

    /// Everything, as it was at one revision.
    pub async fn all(&self) -> Result<(Revision, Vec<Entry>), StoreError> {
        self.pages("", None, usize::MAX).await
    }

    /// Fills an empty store. What is last says that all is there.
    pub async fn fill(&self, entries: Vec<(String, Vec<u8>)>, last: Op) -> Result<(), StoreError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for (key, value) in entries {
            bytes += value.len();
            batch.push(Op::put(key, value));
            if batch.len() == PAGE || bytes >= super::blob::MAX_BATCH_BYTES {
                let then = std::mem::take(&mut batch);
                self.txn(Txn { then, ..Txn::default() }).await?;
                bytes = 0;
            }
        }
        batch.push(last);
        self.txn(Txn { then: batch, ..Txn::default() }).await.map(drop)
    }

    /// Page by page, all of them of the same revision.
    async fn pages(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Revision, Vec<Entry>), StoreError> {
        let (start, end) = (self.keys.data(prefix), words::end_of(&self.keys.data(prefix)));
        let mut from = start;
        if let Some(after) = after.filter(|after| *after >= prefix) {
            from = following(self.keys.data(after));
        }
        let (mut found, mut revision) = (Vec::new(), 0);
        while found.len() < limit && from < end {
            let answer = self.page(&from, PAGE.min(limit - found.len()), revision).await?;
            if revision == 0 {
                revision = answer.header.map_or(0, |header| header.revision);
            }
            for kv in answer.kvs {
                if kv.key >= end {
                    return Ok((words::revision(revision), found));
                }
                from = following(kv.key.clone());
                found.push(self.keys.entry(kv)?);
            }
            if !answer.more {
                break;
            }
        }
        Ok((words::revision(revision), found))
    }

    /// Keys of the data from this one on.
    async fn page(
        &self,
        from: &[u8],
        limit: usize,
        revision: i64,
    ) -> Result<RangeResponse, StoreError> {
        let request = RangeRequest {
            key: from.to_vec(),
            range_end: words::end_of(&self.keys.data("")),
            limit: limit as i64,
            revision,
            keys_only: false,
        };
        let ask = || async { self.link.kv().range(request.clone()).await };
        self.link.ask("reading", ask).await
    }
}

impl Drop for EtcdStore {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let request = RangeRequest { key: self.keys.data(key), ..Default::default() };
        let ask = || async { self.link.kv().range(request.clone()).await };
        let answer = self.link.ask("reading", ask).await?;
        answer.kvs.into_iter().next().map(|kv| self.keys.entry(kv)).transpose()
    }

    async fn range(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        Ok(self.pages(prefix, after, limit).await?.1)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        check_limits(&txn)?;
        let (writer, _) = self.writer.as_ref().ok_or(StoreError::ReadOnly)?;
        writer.txn(txn).await
    }

    fn watch(&self, prefix: &str) -> Watcher {
        Watcher { prefix: prefix.to_owned(), notes: self.notes.subscribe() }
    }

    fn has_failed(&self) -> bool {
        self.health.has_failed()
    }

    /// Snapshots are etcd's own: `etcdctl snapshot save`, or `hawser-controller backup`.
    async fn checkpoint(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Some((_, lead)) = &self.writer {
            lead.give_up(&self.link).await;
        }
    }
}

/// The very next key.
fn following(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}
