//! What became of every probe, kept on disk: `<state>/history/`, a few files of [blocks](hawser_edge_core::history).
//!
//! The engine notes fates and never waits; a task of its own encodes and writes them in batches. A crash loses the last
//! [`FLUSH_EVERY`], never what was written before.

mod files;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hawser_edge_core::history::{Entry, MAX_PROBES, Names, encode_names, encode_probes};
use hawser_edge_core::id::PathId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use files::Store;
pub use files::{Piece, PieceError, read_piece};
pub use record::{Asked, RecordError, record};

/// Octets on disk; the oldest file goes first.
pub const MAX_BYTES: u64 = 64 << 20;
/// What is noted is written this often.
pub const FLUSH_EVERY: Duration = Duration::from_secs(30);
/// Batches that wait for the writer; at one a second, some minutes of a disk that stands still.
const BATCHES: usize = 256;
/// Fates in one batch.
const BATCH: usize = 1_024;

/// Where it lies.
pub fn folder(state_dir: &Path) -> PathBuf {
    state_dir.join("history")
}

#[derive(Debug)]
enum Message {
    Names(Names),
    Fates(Vec<(PathId, Entry)>),
}

/// What is dropped and what fails, for telemetry.
#[derive(Debug, Default)]
struct Counters {
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// The engine's end. Nothing here blocks.
#[derive(Debug)]
pub struct History {
    batch: Vec<(PathId, Entry)>,
    writer: mpsc::Sender<Message>,
    counters: Arc<Counters>,
}

impl History {
    /// What the paths are called from now on.
    pub fn names(&mut self, names: Names) {
        self.hand_over();
        self.send(Message::Names(names), 1);
    }

    pub fn note(&mut self, path: PathId, entry: Entry) {
        self.batch.push((path, entry));
        if self.batch.len() >= BATCH {
            self.hand_over();
        }
    }

    /// Gives the writer what was noted. Call it about once a second.
    pub fn hand_over(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() {
            let count = batch.len() as u64;
            self.send(Message::Fates(batch), count);
        }
    }

    pub fn counters(&self) -> [(&'static str, u64); 2] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("history_dropped", read(&self.counters.dropped)),
            ("history_write_failed", read(&self.counters.failed)),
        ]
    }

    fn send(&self, message: Message, count: u64) {
        if self.writer.try_send(message).is_err() {
            self.counters.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// Starts the writer; it ends, with everything written, once the [`History`] is dropped.
pub fn start(state_dir: &Path) -> (History, JoinHandle<()>) {
    let (writer, messages) = mpsc::channel(BATCHES);
    let counters = Arc::new(Counters::default());
    let store = Store::new(folder(state_dir), MAX_BYTES);
    let task = tokio::spawn(write(store, messages, counters.clone()));
    (History { batch: Vec::new(), writer, counters }, task)
}

async fn write(store: Store, mut messages: mpsc::Receiver<Message>, counters: Arc<Counters>) {
    let mut flushes = interval_at(Instant::now() + FLUSH_EVERY, FLUSH_EVERY);
    flushes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut store = Some(store);
    let mut noted: BTreeMap<PathId, Vec<Entry>> = BTreeMap::new();
    loop {
        let mut octets = Vec::new();
        let mut names = None;
        let mut ended = false;
        tokio::select! {
            message = messages.recv() => match message {
                Some(Message::Fates(fates)) => take_in(&mut noted, fates, &mut octets),
                Some(Message::Names(new)) => {
                    octets = encode_all(&mut noted);
                    names = Some(encode_names(&new));
                }
                None => {
                    octets = encode_all(&mut noted);
                    ended = true;
                }
            },
            _ = flushes.tick() => octets = encode_all(&mut noted),
        }
        if (!octets.is_empty() || names.is_some())
            && let Some(mut taken) = store.take()
        {
            let written = tokio::task::spawn_blocking(move || {
                let written = taken.write(&octets, names);
                (taken, written)
            });
            match written.await {
                Ok((taken, written)) => {
                    store = Some(taken);
                    if let Err(error) = written {
                        note_failure(&counters, &error);
                    }
                }
                // Its thread panicked: probes go on without a history.
                Err(error) => tracing::error!(%error, "the probe history is given up"),
            }
        }
        if ended {
            return;
        }
    }
}

/// The first failure and each thousandth after it are told: a full disk stays full for a while.
fn note_failure(counters: &Counters, error: &crate::control::FileError) {
    if counters.failed.fetch_add(1, Ordering::Relaxed).is_multiple_of(1_000) {
        tracing::warn!(code = "STATE_NOT_WRITTEN", "{error}: {}", error.source);
    }
}

/// A path with a whole block of them is written at once.
fn take_in(
    noted: &mut BTreeMap<PathId, Vec<Entry>>,
    fates: Vec<(PathId, Entry)>,
    octets: &mut Vec<u8>,
) {
    for (path, entry) in fates {
        let entries = noted.entry(path).or_default();
        entries.push(entry);
        if entries.len() >= MAX_PROBES {
            octets.extend(encode_probes(path, entries));
            entries.clear();
        }
    }
}

fn encode_all(noted: &mut BTreeMap<PathId, Vec<Entry>>) -> Vec<u8> {
    let mut octets = Vec::new();
    for (path, entries) in std::mem::take(noted) {
        if !entries.is_empty() {
            octets.extend(encode_probes(path, &entries));
        }
    }
    octets
}
