//! A site's probe history, asked of its agents piece by piece: the operator's pace is the agents' pace.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use hawser_proto::agent::v1::controller_message::Message as ToAgent;
use hawser_proto::agent::v1::{Fault, HistoryChunk, HistoryRequest};
use tokio::sync::oneshot;

use super::{Controller, ServiceError, bounds};

/// An agent answers within this time.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Bytes asked for at once.
const PIECE_BYTES: u32 = 256 << 10;
/// Most that an agent may answer with, whatever was asked.
const MAX_PIECE_BYTES: usize = 1 << 20;
/// Questions that wait for an answer, of all operators.
const MAX_WAITING: usize = 64;

/// By number: who was asked, and who waits.
type Senders = BTreeMap<u64, (String, oneshot::Sender<HistoryChunk>)>;

/// Questions that wait for their answers.
#[derive(Debug, Default)]
pub struct Waiting {
    next: AtomicU64,
    senders: Mutex<Senders>,
}

/// One edge's history, as it is read.
#[derive(Debug, Clone)]
pub struct Reading {
    pub edge: String,
    pub since_unix_ms: u64,
    pub until_unix_ms: u64,
    cursor: Vec<u8>,
    ended: bool,
}

impl Reading {
    pub fn new(edge: String, since_unix_ms: u64, until_unix_ms: u64) -> Self {
        Self { edge, since_unix_ms, until_unix_ms, cursor: Vec::new(), ended: false }
    }
}

impl Controller {
    /// Edges of a site whose history can be asked for.
    pub fn edges_of(&self, site: &str) -> Result<Vec<String>, ServiceError> {
        let state = self.state();
        let of_site = state.edges.iter().filter(|(_, edge)| edge.config.site == site);
        let edges: Vec<String> = of_site.map(|(name, _)| name.clone()).collect();
        if edges.is_empty() { Err(ServiceError::SiteUnknown(site.to_owned())) } else { Ok(edges) }
    }

    /// The next piece; `None` after the last one.
    pub async fn read_history(
        &self,
        reading: &mut Reading,
    ) -> Result<Option<Vec<u8>>, ServiceError> {
        if reading.ended {
            return Ok(None);
        }
        let chunk = self.ask_history(reading).await?;
        if let Some(Fault { code, message, mend, .. }) = chunk.fault {
            return Err(ServiceError::AgentRefused {
                edge: reading.edge.clone(),
                code,
                message,
                mend,
            });
        }
        // The same place again would never end.
        reading.ended = chunk.cursor.is_empty() || chunk.cursor == reading.cursor;
        reading.cursor = chunk.cursor;
        Ok(Some(chunk.blocks))
    }

    async fn ask_history(&self, reading: &Reading) -> Result<HistoryChunk, ServiceError> {
        let Some((id, answer)) = self.waiting.add(&reading.edge) else {
            return Err(ServiceError::Busy);
        };
        let asked = HistoryRequest {
            id,
            since_unix_ms: reading.since_unix_ms,
            until_unix_ms: reading.until_unix_ms,
            cursor: reading.cursor.clone(),
            max_bytes: PIECE_BYTES,
        };
        let sent = self.index.command(&reading.edge, ToAgent::HistoryRequest(asked));
        let answered = if sent {
            tokio::time::timeout(ANSWER_WITHIN, answer).await.ok().and_then(Result::ok)
        } else {
            None
        };
        self.waiting.remove(id);
        let gone = || ServiceError::EdgeAway(reading.edge.clone());
        answered.ok_or_else(gone)
    }

    /// An agent's answer; one that nobody waits for is counted.
    pub(super) fn take_history(&self, edge: &str, mut chunk: HistoryChunk) {
        if chunk.blocks.len() > MAX_PIECE_BYTES || chunk.cursor.len() > bounds::MAX_CURSOR_BYTES {
            self.count("history_chunks_dropped");
            return;
        }
        if let Some(fault) = chunk.fault.take() {
            let mut faults = vec![fault];
            bounds::faults(&mut faults);
            chunk.fault = faults.pop();
        }
        if !self.waiting.answer(edge, chunk) {
            self.count("history_chunks_dropped");
        }
    }
}

impl Waiting {
    fn add(&self, edge: &str) -> Option<(u64, oneshot::Receiver<HistoryChunk>)> {
        let mut senders = self.lock();
        if senders.len() >= MAX_WAITING {
            return None;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, receiver) = oneshot::channel();
        senders.insert(id, (edge.to_owned(), sender));
        Some((id, receiver))
    }

    fn remove(&self, id: u64) {
        self.lock().remove(&id);
    }

    /// Only the edge that was asked may answer.
    fn answer(&self, edge: &str, chunk: HistoryChunk) -> bool {
        let mut senders = self.lock();
        if senders.get(&chunk.id).is_none_or(|(asked, _)| asked != edge) {
            return false;
        }
        let sender = senders.remove(&chunk.id);
        sender.is_some_and(|(_, sender)| sender.send(chunk).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, Senders> {
        self.senders.lock().unwrap_or_else(|e| e.into_inner())
    }
}
