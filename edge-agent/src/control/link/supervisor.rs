//! Keeps one session, replaces it before it is let go, and feeds the generation machine.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hawser_edge_core::config::Fault;
use hawser_edge_core::generation::{
    Effect, EpochProof, Generation, GenerationId, GenerationState, Generations, Offer,
};
use hawser_proto::agent::v1 as wire;
use hawser_proto::agent::v1::agent_message::Message as Up;
use hawser_proto::agent::v1::controller_message::Message as Down;
use hawser_proto::revocation::RevocationList;
use hawser_telemetry::TraceContext;
use prost::Message as _;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Abilities;
use super::certificates::Renewal;
use super::history;
use super::session::SessionEvent;
use super::sessions::Live;
use crate::control::api::{ControlEvent, LinkStatus};
use crate::control::backoff::Rotation;
use crate::control::clock::{self, Calendar};
use crate::control::dial;
use crate::control::facts::FactsStore;
use crate::control::identity::Identity;
use crate::control::ledger::Ledger;
use crate::control::outbox::Outbox;
use crate::control::{APPLY_TIMEOUT, events};

/// Events of sessions that are not handled yet; a session waits when it is full.
const SESSION_EVENTS: usize = 64;
/// A state that could not be written is tried again so soon.
const WRITE_RETRY: Duration = Duration::from_secs(2);
/// The engine has so long to boot into a generation before the first attempt to connect.
const BOOT_PATIENCE: Duration = Duration::from_secs(2);
/// The calendar is stored so often.
const CALENDAR_INTERVAL: Duration = Duration::from_secs(3600);
/// The machine's clock counts suspended time, the runtime's does not: look again at least so often.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What a supervisor is made of.
pub struct SupervisorParts {
    pub identity: Arc<Identity>,
    pub tls: dial::Tls,
    pub calendar: Arc<Calendar>,
    pub ledger: Arc<Mutex<Ledger>>,
    pub facts: Arc<Mutex<FactsStore>>,
    /// Where the probe history lies.
    pub history: PathBuf,
    pub machine: Generations,
    pub effects: VecDeque<Effect>,
    pub outbox: Outbox,
    pub events: mpsc::Sender<ControlEvent>,
    pub generations: watch::Sender<Arc<GenerationState>>,
    pub status: watch::Sender<LinkStatus>,
    pub uplinks: watch::Receiver<Vec<String>>,
    /// Revocation lists that peers brought.
    pub lists: mpsc::Receiver<Vec<u8>>,
    /// The generation that all peers key by.
    pub settled: watch::Receiver<Option<GenerationId>>,
    /// The newest list. Whoever opens connections looks at it.
    pub ended: watch::Sender<Option<Arc<RevocationList>>>,
    pub abilities: Abilities,
    pub state_dir: PathBuf,
    pub stop: CancellationToken,
    /// The state directory's.
    pub lock: File,
}

/// The engine's answer that is due.
pub(super) struct Due {
    pub reply: oneshot::Receiver<Result<(), Vec<Fault>>>,
    pub until: Instant,
}

pub struct Supervisor {
    pub(super) parts: SupervisorParts,
    pub(super) session_tx: mpsc::Sender<SessionEvent>,
    session_rx: mpsc::Receiver<SessionEvent>,
    pub(super) next_id: u64,
    pub(super) active: Option<Live>,
    pub(super) pending: Option<Live>,
    /// The session ended while its successor was on its way; the engine hears of it only if that
    /// comes to nothing.
    pub(super) untold_end: bool,
    pub(super) want_fresh: bool,
    pub(super) rotation: Rotation,
    pub(super) failures: u32,
    pub(super) next_attempt_at: Instant,
    pub(super) due: Option<Due>,
    /// A state that could not be written yet.
    pub(super) unsaved: Option<Box<GenerationState>>,
    unsaved_retry_at: Instant,
    /// Effects that wait for it.
    pub(super) held: VecDeque<Effect>,
    /// Offered while another one was being applied; the newest offer wins.
    parked: Option<wire::Generation>,
    /// The newest offer's trace.
    pub(super) traced: Option<(GenerationId, TraceContext)>,
    calendar_at: Instant,
    pub(super) renewal: Renewal,
    /// One question about the history is answered at a time.
    history_slot: Arc<Semaphore>,
}

impl Supervisor {
    pub fn new(parts: SupervisorParts) -> Self {
        let (session_tx, session_rx) = mpsc::channel(SESSION_EVENTS);
        let now = Instant::now();
        // The engine first names the uplinks of what it boots into.
        let booting = parts.machine.is_busy();
        let next_attempt_at = if booting { now + BOOT_PATIENCE } else { now };
        Supervisor {
            parts,
            session_tx,
            session_rx,
            next_id: 0,
            active: None,
            pending: None,
            untold_end: false,
            want_fresh: false,
            rotation: Rotation::default(),
            failures: 0,
            next_attempt_at,
            due: None,
            unsaved: None,
            unsaved_retry_at: now,
            held: VecDeque::new(),
            parked: None,
            traced: None,
            calendar_at: now,
            renewal: Renewal::new(now),
            history_slot: Arc::new(Semaphore::new(1)),
        }
    }

    /// Until the engine is gone or the agent stops.
    pub async fn run(mut self) {
        self.perform().await;
        let facts = self.facts();
        if facts.version > 0 {
            self.tell(ControlEvent::Facts(facts)).await;
        }
        if let Some(list) = self.list() {
            self.tell(ControlEvent::Revocations(list)).await;
        }
        loop {
            self.perform().await;
            self.dial_if_due();
            self.renew_if_due();
            let wake = self.wake_at();
            tokio::select! {
                () = self.parts.stop.cancelled() => break,
                () = self.parts.events.closed() => break,
                Some(event) = self.session_rx.recv() => self.on_session(event).await,
                outcome = answer(&mut self.due) => self.on_outcome(outcome),
                Some(list) = self.parts.lists.recv() => self.on_list(&list, "a peer").await,
                Ok(()) = self.parts.uplinks.changed() => self.on_uplinks(),
                Ok(()) = self.parts.settled.changed() => self.on_settled(),
                () = sleep_until(wake) => self.on_time().await,
            }
        }
        for live in self.active.take().into_iter().chain(self.pending.take()) {
            live.stop.cancel();
        }
        let _ = self.parts.lock.unlock();
    }

    pub(super) async fn tell(&self, event: ControlEvent) {
        // Closed: the loop ends by itself.
        let _ = self.parts.events.send(event).await;
    }

    pub(super) fn event(&self, code: &str, subject: &str, message: impl std::fmt::Display) {
        let now = self.parts.calendar.unix_ms();
        self.parts.outbox.event(events::event(now, code, subject, message));
    }

    fn facts(&self) -> wire::Facts {
        lock(&self.parts.facts).merged().clone()
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let mut wake = now + LONGEST_SLEEP;
        if self.parts.machine.poll_deadline().is_some() {
            wake = wake.min(now + self.machine_wait());
        }
        if self.dial_wanted() {
            wake = wake.min(self.next_attempt_at);
        }
        if self.unsaved.is_some() {
            wake = wake.min(self.unsaved_retry_at);
        }
        wake.min(self.calendar_at).min(self.renewal_at())
    }

    fn machine_wait(&self) -> Duration {
        let deadline = self.parts.machine.poll_deadline().unwrap_or_default();
        deadline.since(clock::since_boot())
    }

    async fn on_time(&mut self) {
        let now = Instant::now();
        if self.unsaved.is_some() && now >= self.unsaved_retry_at {
            self.save().await;
        }
        if now >= self.calendar_at {
            self.calendar_at = now + CALENDAR_INTERVAL;
            if let Err(error) = self.parts.calendar.store() {
                tracing::warn!(code = "STATE_FILE", "{error}: {}", error.source);
            }
        }
        let effects = self.parts.machine.handle_timeout(clock::since_boot());
        self.parts.effects.extend(effects);
    }

    /// Writes the unsaved state. On failure it stays unsaved and is tried again.
    pub(super) async fn save(&mut self) {
        let Some(state) = self.unsaved.take() else { return };
        let ledger = self.parts.ledger.clone();
        let writing = state.clone();
        let written = tokio::task::spawn_blocking(move || lock(&ledger).persist(&writing)).await;
        match written {
            Ok(Ok(())) => {
                self.parts.generations.send_replace(Arc::new(*state));
                for effect in self.held.drain(..).rev() {
                    self.parts.effects.push_front(effect);
                }
                return;
            }
            Ok(Err(error)) => {
                tracing::error!(code = "STATE_NOT_WRITTEN", "{error}: {}", error.source);
                self.event("STATE_NOT_WRITTEN", "ledger", &error);
            }
            Err(error) => tracing::error!(code = "STATE_NOT_WRITTEN", "{error}"),
        }
        self.unsaved = Some(state);
        self.unsaved_retry_at = Instant::now() + WRITE_RETRY;
    }

    fn on_outcome(&mut self, outcome: Result<(), Vec<Fault>>) {
        self.due = None;
        if self.next_id == 0 {
            self.next_attempt_at = Instant::now();
        }
        let effects = self.parts.machine.outcome(clock::since_boot(), outcome);
        self.parts.effects.extend(effects);
    }

    fn on_settled(&mut self) {
        let id = *self.parts.settled.borrow_and_update();
        let effects = id.map(|id| self.parts.machine.peers_settled(id)).unwrap_or_default();
        self.parts.effects.extend(effects);
    }

    pub(super) async fn on_message(&mut self, message: Down) {
        match message {
            Down::Generation(generation) => self.on_generation(generation),
            Down::Facts(facts) => self.on_facts(facts).await,
            Down::Advice(advice) => self.tell(ControlEvent::Advice(advice)).await,
            Down::HistoryRequest(request) => self.on_history_request(request),
            Down::Certificate(answer) => self.on_certificate(answer).await,
            Down::RevocationList(list) => {
                self.on_list(&list.encode_to_vec(), "the controller").await
            }
            Down::Authorities(told) => self.on_authorities(&told),
            Down::DecisionsAck(ack) => self.parts.outbox.decisions_acked(&ack),
            // A second Welcome says nothing; a Refusal ended the session already.
            Down::Welcome(_) | Down::Refusal(_) => {}
        }
    }

    fn on_history_request(&self, request: wire::HistoryRequest) {
        let outbox = self.parts.outbox.clone();
        let id = request.id;
        let Ok(slot) = self.history_slot.clone().try_acquire_owned() else {
            return outbox.history(history::busy(id));
        };
        let folder = self.parts.history.clone();
        tokio::task::spawn_blocking(move || {
            outbox.history(history::answer(&folder, &request));
            drop(slot);
        });
    }

    pub(super) fn on_generation(&mut self, offered: wire::Generation) {
        let Some(id) = offered.id.as_ref().and_then(GenerationId::from_proto) else {
            tracing::warn!(code = "GENERATION_UNNAMED", "a generation without a name is ignored");
            return;
        };
        let generation = Generation::new(id, offered.config.to_vec());
        if generation.digest().0 != *offered.config_sha256 {
            self.nack(id, wire::NackKind::Rejected, vec![events::corrupt(id)]);
            return;
        }
        self.traced = TraceContext::parse(&offered.traceparent).map(|trace| (id, trace));
        let (offer, effects) = self.parts.machine.offer(generation, EpochProof::Unsigned);
        tracing::info!(generation = %id, answer = ?offer, "generation offered");
        if offer == Offer::Busy {
            self.parked = Some(offered);
        }
        self.parts.effects.extend(effects);
    }

    /// An offer that waited for the last one's end.
    pub(super) fn offer_parked(&mut self) {
        if !self.parts.machine.is_busy()
            && let Some(parked) = self.parked.take()
        {
            self.on_generation(parked);
        }
    }

    async fn on_facts(&mut self, news: wire::Facts) {
        let facts = self.parts.facts.clone();
        let taken = tokio::task::spawn_blocking(move || lock(&facts).take(news)).await;
        let is_news = match taken {
            Ok(Ok(is_news)) => is_news,
            Ok(Err(error)) => {
                self.event("STATE_NOT_WRITTEN", "facts", &error);
                true
            }
            Err(_) => return,
        };
        let merged = self.facts();
        self.parts.outbox.answer(Up::FactsAck(wire::FactsAck { version: merged.version }));
        if is_news {
            self.tell(ControlEvent::Facts(merged)).await;
        }
    }

    pub(super) fn nack(&self, id: GenerationId, kind: wire::NackKind, faults: Vec<Fault>) {
        let faults = faults.iter().map(Fault::to_proto).collect();
        let nack = wire::Nack { id: Some(id.to_proto()), kind: kind.into(), faults };
        self.parts.outbox.answer(Up::Nack(nack));
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Waits for the engine; for ever if nothing is due.
async fn answer(due: &mut Option<Due>) -> Result<(), Vec<Fault>> {
    let Some(due) = due else { return std::future::pending().await };
    tokio::select! {
        answered = &mut due.reply => answered.unwrap_or_else(|_| Err(vec![events::abandoned()])),
        () = sleep_until(due.until) => Err(vec![events::timed_out(APPLY_TIMEOUT)]),
    }
}
