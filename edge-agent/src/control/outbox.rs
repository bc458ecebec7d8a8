//! What waits to be sent to the controller. Bounded; survives sessions, not the agent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hawser_proto::agent::v1 as wire;
use hawser_proto::agent::v1::agent_message::Message;
use tokio::sync::Notify;

/// Unacknowledged decisions kept; of more, the oldest is dropped. At one a second, an hour away.
pub const MAX_DECISIONS: usize = 4096;
/// Acknowledged decisions kept for a controller that has lost them: as many as the edge itself shows.
pub const MAX_ACKED: usize = 256;
/// Explanations in telemetry that was not sent yet.
pub const MAX_EXPLANATIONS: usize = 1024;
/// Unsent events kept.
pub const MAX_EVENTS: usize = 1024;
/// Unsent answers (ACK, NACK, FactsAck) kept: they come one per message of the controller.
pub const MAX_ANSWERS: usize = 64;
/// Pieces of history that wait: the controller asks for one at a time.
pub const MAX_HISTORY: usize = 2;
/// Decisions or events in one message.
const BATCH: usize = 128;

/// Shared by the engine, which fills it, and the session, which empties it.
#[derive(Debug, Clone)]
pub struct Outbox {
    inner: Arc<Mutex<Inner>>,
    filled: Arc<Notify>,
    edge: Arc<str>,
    boot_id: Arc<str>,
}

#[derive(Debug, Default)]
struct Inner {
    answers: VecDeque<Message>,
    local_facts: Option<wire::LocalFacts>,
    local_facts_due: bool,
    decisions: VecDeque<wire::Decision>,
    /// Older than those above, oldest first.
    acked: VecDeque<wire::Decision>,
    last_sequence: u64,
    /// Decisions up to here went out on the present session.
    sent_sequence: u64,
    events: VecDeque<wire::AgentEvent>,
    telemetry: Option<wire::Telemetry>,
    history: VecDeque<wire::HistoryChunk>,
    dropped: BTreeMap<&'static str, u64>,
}

impl Outbox {
    pub fn new(edge: &str, boot_id: &str) -> Self {
        Outbox {
            inner: Arc::default(),
            filled: Arc::default(),
            edge: edge.into(),
            boot_id: boot_id.into(),
        }
    }

    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// Replaces what was not sent yet, but for the explanations: each is told once.
    pub fn telemetry(&self, mut telemetry: wire::Telemetry) {
        let mut inner = self.lock();
        if let Some(unsent) = inner.telemetry.take() {
            inner.drop_one("control_telemetry_replaced");
            let mut explanations = unsent.explanations;
            explanations.append(&mut telemetry.explanations);
            let over = explanations.len().saturating_sub(MAX_EXPLANATIONS);
            explanations.drain(..over);
            telemetry.explanations = explanations;
        }
        inner.telemetry = Some(telemetry);
        self.filled.notify_one();
    }

    pub fn decision(&self, mut decision: wire::Decision) -> u64 {
        let mut inner = self.lock();
        inner.last_sequence += 1;
        decision.sequence = inner.last_sequence;
        decision.edge = self.edge.to_string();
        decision.boot_id = self.boot_id.to_string();
        if inner.decisions.len() == MAX_DECISIONS {
            inner.decisions.pop_front();
            inner.drop_one("control_decisions_dropped");
        }
        inner.decisions.push_back(decision);
        self.filled.notify_one();
        inner.last_sequence
    }

    pub fn event(&self, event: wire::AgentEvent) {
        let mut inner = self.lock();
        if inner.events.len() == MAX_EVENTS {
            inner.events.pop_front();
            inner.drop_one("control_events_dropped");
        }
        inner.events.push_back(event);
        self.filled.notify_one();
    }

    pub fn local_facts(&self, facts: wire::LocalFacts) {
        let mut inner = self.lock();
        inner.local_facts = Some(facts);
        inner.local_facts_due = true;
        self.filled.notify_one();
    }

    /// An ACK, NACK or FactsAck.
    pub fn answer(&self, answer: Message) {
        let mut inner = self.lock();
        if inner.answers.len() == MAX_ANSWERS {
            inner.answers.pop_front();
            inner.drop_one("control_answers_dropped");
        }
        inner.answers.push_back(answer);
        self.filled.notify_one();
    }

    /// A piece of the probe history that was asked for: last in line.
    pub fn history(&self, chunk: wire::HistoryChunk) {
        let mut inner = self.lock();
        if inner.history.len() == MAX_HISTORY {
            inner.history.pop_front();
            inner.drop_one("control_history_dropped");
        }
        inner.history.push_back(chunk);
        self.filled.notify_one();
    }

    /// A new session begins: what the last one may have lost is due again.
    pub fn new_session(&self) {
        let mut inner = self.lock();
        inner.sent_sequence = 0;
        inner.local_facts_due = inner.local_facts.is_some();
        // Nobody waits for it any more.
        inner.history.clear();
        self.filled.notify_one();
    }

    /// The controller has the decisions up to here.
    pub fn decisions_acked(&self, ack: &wire::DecisionsAck) {
        if ack.boot_id == *self.boot_id {
            let mut inner = self.lock();
            while inner.decisions.front().is_some_and(|d| d.sequence <= ack.sequence) {
                let decision = inner.decisions.pop_front();
                inner.acked.extend(decision);
            }
            while inner.acked.len() > MAX_ACKED {
                inner.acked.pop_front();
            }
        }
    }

    /// The controller says what it has: what it had acknowledged after that is due again.
    pub fn decisions_held(&self, held: &wire::DecisionsAck) {
        if held.boot_id != *self.boot_id {
            return;
        }
        let mut inner = self.lock();
        while inner.decisions.len() < MAX_DECISIONS
            && let Some(lost) = inner.acked.pop_back_if(|d| d.sequence > held.sequence)
        {
            inner.decisions.push_front(lost);
        }
        self.filled.notify_one();
    }

    /// The next message to send, most urgent first. What is taken is gone, but for decisions.
    pub fn take(&self) -> Option<wire::AgentMessage> {
        self.lock().take().map(|message| wire::AgentMessage { message: Some(message) })
    }

    /// Waits until [`Self::take`] may have something.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    pub fn counters(&self) -> BTreeMap<String, u64> {
        let inner = self.lock();
        let mut counters: BTreeMap<String, u64> =
            inner.dropped.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        counters.insert("control_decisions_waiting".to_owned(), inner.decisions.len() as u64);
        counters
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn drop_one(&mut self, name: &'static str) {
        *self.dropped.entry(name).or_default() += 1;
    }

    fn take(&mut self) -> Option<Message> {
        if let Some(answer) = self.answers.pop_front() {
            return Some(answer);
        }
        if std::mem::take(&mut self.local_facts_due) {
            return self.local_facts.clone().map(Message::LocalFacts);
        }
        let decisions = self.unsent_decisions();
        if let Some(last) = decisions.last() {
            self.sent_sequence = last.sequence;
            return Some(Message::Decisions(wire::Decisions { decisions }));
        }
        if !self.events.is_empty() {
            let count = self.events.len().min(BATCH);
            let events = self.events.drain(..count).collect();
            return Some(Message::Events(wire::AgentEvents { events }));
        }
        if let Some(telemetry) = self.telemetry.take() {
            return Some(Message::Telemetry(telemetry));
        }
        self.history.pop_front().map(Message::HistoryChunk)
    }

    fn unsent_decisions(&self) -> Vec<wire::Decision> {
        // Ordered by sequence, so the sent ones are a prefix.
        let start = self.decisions.partition_point(|d| d.sequence <= self.sent_sequence);
        self.decisions.range(start..).take(BATCH).cloned().collect()
    }
}
