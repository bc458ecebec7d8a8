//! A store whose operations are timed.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use hawser_telemetry::Histogram;
use hawser_telemetry::catalogue::CONTROLLER_STORE;

use super::{Entry, Store, StoreError, Txn, TxnOutcome, Watcher};

/// How long each kind of operation took, those that failed included.
#[derive(Debug)]
pub struct StoreTimes {
    pub get: Histogram,
    pub range: Histogram,
    pub txn: Histogram,
}

impl Default for StoreTimes {
    fn default() -> Self {
        let histogram = || Histogram::new(&CONTROLLER_STORE);
        StoreTimes { get: histogram(), range: histogram(), txn: histogram() }
    }
}

/// The same store.
#[derive(Debug)]
pub struct TimedStore {
    inner: Arc<dyn Store>,
    times: Arc<StoreTimes>,
}

impl TimedStore {
    pub fn new(inner: Arc<dyn Store>, times: Arc<StoreTimes>) -> Self {
        TimedStore { inner, times }
    }
}

#[async_trait]
impl Store for TimedStore {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let started = Instant::now();
        let outcome = self.inner.get(key).await;
        self.times.get.observe(started.elapsed());
        outcome
    }

    async fn range(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let started = Instant::now();
        let outcome = self.inner.range(prefix, after, limit).await;
        self.times.range.observe(started.elapsed());
        outcome
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        let started = Instant::now();
        let outcome = self.inner.txn(txn).await;
        self.times.txn.observe(started.elapsed());
        outcome
    }

    fn watch(&self, prefix: &str) -> Watcher {
        self.inner.watch(prefix)
    }

    async fn close(&self) {
        self.inner.close().await;
    }

    async fn checkpoint(&self) -> Result<(), StoreError> {
        self.inner.checkpoint().await
    }

    fn has_failed(&self) -> bool {
        self.inner.has_failed()
    }
}
