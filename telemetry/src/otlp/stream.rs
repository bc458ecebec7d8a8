//! Spans and log lines: gathered for a moment, pushed together, tried again a few times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::settings::Settings;
use super::transport::{Export, Transport};
use super::{OtlpError, Queue};
use crate::run::About;

/// Items that wait for the collector at most.
const ROOM: usize = 4_096;
/// Items in one message: well below the 4 MiB that receivers take by default.
const ITEMS_PER_MESSAGE: usize = 512;
/// What comes after the first item in this time goes with it.
const GATHER: Duration = Duration::from_millis(500);
/// Pauses before a message is tried again; after the last it is given up.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];
/// What is left when the process stops gets so long.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Of one signal.
#[derive(Debug, Default)]
pub struct StreamCounts {
    pub ok: AtomicU64,
    pub failed: AtomicU64,
}

/// Takes items from a queue and pushes them.
pub struct Stream<T, E> {
    what: &'static str,
    transport: Transport,
    about: About,
    items: mpsc::Receiver<T>,
    to_message: fn(&About, Vec<T>) -> E,
    counts: Arc<StreamCounts>,
}

impl<T: Send, E: Export + Clone> Stream<T, E> {
    /// The stream, and the queue that feeds it.
    ///
    /// # Errors
    /// A certificate or key can't be used.
    pub fn new(
        what: &'static str,
        settings: Settings,
        about: &About,
        to_message: fn(&About, Vec<T>) -> E,
    ) -> Result<(Self, Queue<T>), OtlpError> {
        let (queue, items) = Queue::new(ROOM);
        let (transport, about) = (Transport::new(settings)?, about.clone());
        Ok((Stream { what, transport, about, items, to_message, counts: Arc::default() }, queue))
    }

    pub fn counts(&self) -> Arc<StreamCounts> {
        self.counts.clone()
    }

    pub async fn run(mut self, stop: CancellationToken) {
        let mut failing = false;
        while let Some(batch) = self.gather(&stop).await {
            let count = batch.len() as u64;
            match self.push(batch, &stop).await {
                Ok(()) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("{} are pushed again", self.what);
                    }
                    self.counts.ok.fetch_add(count, Ordering::Relaxed);
                }
                Err(error) => {
                    self.counts.failed.fetch_add(count, Ordering::Relaxed);
                    // Once: a collector that is away for a day is one line.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(error, "{} can't be pushed; it is tried on", self.what);
                    }
                }
            }
        }
    }

    /// `None`: the process stops, and nothing is left.
    async fn gather(&mut self, stop: &CancellationToken) -> Option<Vec<T>> {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            () = stop.cancelled() => self.items.close(),
            _ = self.items.recv_many(&mut batch, ITEMS_PER_MESSAGE) => {
                tokio::select! {
                    () = sleep(GATHER) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
        while batch.len() < ITEMS_PER_MESSAGE
            && let Ok(item) = self.items.try_recv()
        {
            batch.push(item);
        }
        (!batch.is_empty()).then_some(batch)
    }

    async fn push(&self, batch: Vec<T>, stop: &CancellationToken) -> Result<(), String> {
        let message = (self.to_message)(&self.about, batch);
        if stop.is_cancelled() {
            let sent = timeout(LAST_WORDS, self.transport.send(message)).await;
            return sent.unwrap_or_else(|_| Err("the process stops".to_owned()));
        }
        let mut result = self.transport.send(message.clone()).await;
        for pause in PAUSES {
            if result.is_ok() || stop.is_cancelled() {
                break;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => {}
            }
            result = self.transport.send(message.clone()).await;
        }
        result
    }
}
