//! What is live about each edge: its session, its generations, its newest samples and decisions.
//! All of it may be lost with the process; agents tell it again. Only enrolments, the last NACK and
//! what agents can do are read back from the store.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use hawser_controller_core::capability::Features;
use hawser_proto::agent::v1::controller_message::Message as ToAgent;
use hawser_proto::agent::v1::{
    ControllerMessage, Decision, DecisionsAck, Fault, GenerationState, IkeSample, NackKind,
    PathSample, RefusedGeneration, UplinkFact,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::enrolment::{self, EdgeRecord};
use super::explanations::Explanations;
use super::generation::Generation;
use super::{bounds, manifest};
use crate::bucket::Bucket;
use crate::clock::now_unix_ms;
use crate::store::{Op, Store, StoreError, Txn};

const NACK_PREFIX: &str = "nack/";
const FEATURES_PREFIX: &str = "features/";
/// Decisions kept per edge, and of a large fleet fewer: each has its candidates with it, about a kilobyte.
const MAX_DECISIONS: usize = 1_000;
const MAX_DECISIONS_OF_FLEET: usize = 300_000;
const MIN_DECISIONS: usize = 20;
/// Messages to one agent that its session has not taken yet.
const COMMAND_DEPTH: usize = 16;
/// Starts of one agent whose decisions are told apart.
const MAX_BOOTS: usize = 16;
/// Events of one agent at once, and per second.
const EVENT_BURST: u32 = 500;
const EVENTS_PER_SECOND: f64 = 20.0;
/// New names for one configuration, at once and per second.
const REISSUE_BURST: u32 = 10;
const REISSUES_PER_SECOND: f64 = 1.0 / 60.0;
/// Changes of one edge's endpoints that are stored and spread, at once and per second.
const FACTS_BURST: u32 = 30;
const FACTS_PER_SECOND: f64 = 0.5;
/// New certificates, and revocation lists that an agent brings, at once and per second.
const RENEWAL_BURST: u32 = 8;
const RENEWALS_PER_SECOND: f64 = 1.0 / 300.0;

/// The newest sample of one path from one end.
#[derive(Debug, Clone)]
pub struct Sample {
    pub sample: PathSample,
    pub received_unix_ms: u64,
}

/// Why an agent did not take a generation.
#[derive(Debug, Clone, PartialEq)]
pub struct LastNack {
    pub id: Generation,
    pub kind: NackKind,
    pub faults: Vec<Fault>,
}

#[derive(Serialize, Deserialize)]
struct StoredNack {
    id: Generation,
    kind: i32,
    faults: Vec<[String; 4]>,
}

#[derive(Debug)]
struct Live {
    id: u64,
    replaced: CancellationToken,
    commands: mpsc::Sender<ControllerMessage>,
}

#[derive(Debug)]
pub struct EdgeLive {
    pub enrolment: Option<EdgeRecord>,
    session: Option<Live>,
    pub last_seen_unix_ms: u64,
    pub agent_version: String,
    pub generations: GenerationState,
    /// Sent last by this process.
    pub pushed: Option<Generation>,
    pub last_nack: Option<LastNack>,
    /// What its agent said that it can do; empty: it never said.
    pub features: Arc<Features>,
    pub uplinks: Vec<UplinkFact>,
    pub counters: BTreeMap<String, u64>,
    pub samples: BTreeMap<u32, Sample>,
    /// Of tunnels with gateways that are not Hawser, and when they were told.
    pub ike: Vec<IkeSample>,
    pub ike_unix_ms: u64,
    pub decisions: VecDeque<Decision>,
    pub explanations: Explanations,
    /// Newest sequence number taken, by start of the agent; oldest start first.
    boots: VecDeque<(String, u64)>,
    pub events: Bucket,
    pub reissues: Bucket,
    pub facts: Bucket,
    pub renewals: Bucket,
    pub lists: Bucket,
}

impl Default for EdgeLive {
    fn default() -> Self {
        Self {
            enrolment: None,
            session: None,
            last_seen_unix_ms: 0,
            agent_version: String::new(),
            generations: GenerationState::default(),
            pushed: None,
            last_nack: None,
            features: Arc::default(),
            uplinks: Vec::new(),
            counters: BTreeMap::new(),
            samples: BTreeMap::new(),
            ike: Vec::new(),
            ike_unix_ms: 0,
            decisions: VecDeque::new(),
            explanations: Explanations::default(),
            boots: VecDeque::new(),
            events: Bucket::new(EVENT_BURST, EVENTS_PER_SECOND),
            reissues: Bucket::new(REISSUE_BURST, REISSUES_PER_SECOND),
            facts: Bucket::new(FACTS_BURST, FACTS_PER_SECOND),
            renewals: Bucket::new(RENEWAL_BURST, RENEWALS_PER_SECOND),
            lists: Bucket::new(RENEWAL_BURST, RENEWALS_PER_SECOND),
        }
    }
}

impl EdgeLive {
    pub fn connected(&self) -> bool {
        self.session.is_some()
    }

    pub fn applied(&self) -> Generation {
        let applied = self.generations.applied.as_ref();
        applied.map(Generation::from).unwrap_or_default()
    }

    pub fn highest_seen(&self) -> Generation {
        let seen = self.generations.highest_seen.as_ref();
        seen.map(Generation::from).unwrap_or_default()
    }

    pub fn refusal_of(&self, id: Generation) -> Option<NackKind> {
        let refused = self.generations.refused.iter();
        refused
            .filter(|r| r.id.as_ref().map(Generation::from) == Some(id))
            .map(RefusedGeneration::kind)
            .next_back()
    }

    pub fn note_seen(&mut self, id: Generation) {
        if id > self.highest_seen() {
            self.generations.highest_seen = Some(id.into());
        }
    }

    pub fn note_refused(&mut self, id: Generation, kind: NackKind) {
        let refused = &mut self.generations.refused;
        refused.retain(|r| r.id.as_ref().map(Generation::from) != Some(id));
        if refused.len() >= bounds::MAX_REFUSED {
            refused.remove(0);
        }
        refused.push(RefusedGeneration { id: Some(id.into()), kind: kind.into() });
    }

    /// False: it was taken before. An agent sends its decisions in order, and again what was not
    /// acknowledged. `most` are kept.
    pub fn take_decision(&mut self, decision: Decision, most: usize) -> bool {
        let boot = self.boots.iter_mut().find(|(id, _)| *id == decision.boot_id);
        match boot {
            Some((_, newest)) if decision.sequence <= *newest => return false,
            Some((_, newest)) => *newest = decision.sequence,
            None => {
                if self.boots.len() == MAX_BOOTS {
                    self.boots.pop_front();
                }
                self.boots.push_back((decision.boot_id.clone(), decision.sequence));
            }
        }
        while self.decisions.len() >= most.max(1) {
            self.decisions.pop_front();
        }
        self.decisions.push_back(decision);
        true
    }

    /// The newest decision of one start of the agent that is known here.
    pub fn newest_decision(&self, boot_id: &str) -> DecisionsAck {
        let boot = self.boots.iter().find(|(id, _)| id == boot_id);
        let sequence = boot.map_or(0, |(_, newest)| *newest);
        DecisionsAck { boot_id: boot_id.to_owned(), sequence }
    }
}

/// Decisions kept of each edge of a fleet of so many.
pub fn decisions_of_each(edges: usize) -> usize {
    (MAX_DECISIONS_OF_FLEET / edges.max(1)).clamp(MIN_DECISIONS, MAX_DECISIONS)
}

/// One writer at a time, for microseconds.
#[derive(Debug, Default)]
pub struct Index {
    edges: Mutex<BTreeMap<String, EdgeLive>>,
    next_session: std::sync::atomic::AtomicU64,
}

impl Index {
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let index = Self::default();
        for (edge, record) in enrolment::load_records(store).await? {
            index.with(&edge, |live| live.enrolment = Some(record));
        }
        for entry in store.range(NACK_PREFIX, None, usize::MAX).await? {
            let stored: StoredNack = manifest::decode(&entry.key, &entry.value)?;
            let nack = LastNack {
                id: stored.id,
                kind: NackKind::try_from(stored.kind).unwrap_or_default(),
                faults: stored.faults.into_iter().map(fault_of).collect(),
            };
            let edge = &entry.key[NACK_PREFIX.len()..];
            index.with(edge, |live| live.last_nack = Some(nack));
        }
        for entry in store.range(FEATURES_PREFIX, None, usize::MAX).await? {
            let features: Features = manifest::decode(&entry.key, &entry.value)?;
            index.with(&entry.key[FEATURES_PREFIX.len()..], |live| live.features = features.into());
        }
        Ok(index)
    }

    /// Looks at or changes one edge.
    pub fn with<T>(&self, edge: &str, look: impl FnOnce(&mut EdgeLive) -> T) -> T {
        let mut edges = self.lock();
        if !edges.contains_key(edge) {
            edges.insert(edge.to_owned(), EdgeLive::default());
        }
        look(edges.get_mut(edge).expect("it was just inserted"))
    }

    /// Looks at all edges at one moment.
    pub fn with_all<T>(&self, look: impl FnOnce(&BTreeMap<String, EdgeLive>) -> T) -> T {
        look(&self.lock())
    }

    /// A new session of the edge; an older one is told to end. Returns the session's number, its
    /// end signal, and what others want to say to the agent.
    pub fn connect(
        &self,
        edge: &str,
    ) -> (u64, CancellationToken, mpsc::Receiver<ControllerMessage>) {
        let order = std::sync::atomic::Ordering::Relaxed;
        let id = self.next_session.fetch_add(1, order);
        let replaced = CancellationToken::new();
        let (commands, to_agent) = mpsc::channel(COMMAND_DEPTH);
        let live = Live { id, replaced: replaced.clone(), commands };
        let older = self.with(edge, |edge| edge.session.replace(live));
        if let Some(older) = older {
            older.replaced.cancel();
        }
        (id, replaced, to_agent)
    }

    /// Hands a message to the edge's session. False: there is none, or it is too busy.
    pub fn command(&self, edge: &str, message: ToAgent) -> bool {
        let message = ControllerMessage { message: Some(message) };
        let mut edges = self.lock();
        let session = edges.get_mut(edge).and_then(|live| live.session.as_ref());
        session.is_some_and(|live| live.commands.try_send(message).is_ok())
    }

    /// False: a newer session has taken over.
    pub fn disconnect(&self, edge: &str, id: u64) -> bool {
        self.with(edge, |edge| {
            let own = edge.session.as_ref().is_some_and(|live| live.id == id);
            if own {
                edge.session = None;
                edge.last_seen_unix_ms = now_unix_ms();
            }
            own
        })
    }

    /// Returns the enrolment before. A session of another key ends.
    pub fn enrolled(&self, edge: &str, record: EdgeRecord) -> Option<EdgeRecord> {
        self.with(edge, |edge| {
            let key = record.key_sha256.clone();
            let before = edge.enrolment.replace(record);
            if before.as_ref().is_some_and(|b| b.key_sha256 != key)
                && let Some(live) = &edge.session
            {
                live.replaced.cancel();
            }
            before
        })
    }

    /// Remembers a NACK over a restart, or forgets it.
    pub async fn set_nack(
        &self,
        store: &dyn Store,
        edge: &str,
        nack: Option<LastNack>,
    ) -> Result<(), StoreError> {
        let key = format!("{NACK_PREFIX}{edge}");
        let op = match &nack {
            None => Op::delete(&key),
            Some(nack) => {
                let stored = StoredNack {
                    id: nack.id,
                    kind: nack.kind.into(),
                    faults: nack.faults.iter().cloned().map(texts_of).collect(),
                };
                Op::put(&key, manifest::encode(&key, &stored)?)
            }
        };
        let unchanged = self.with(edge, |live| live.last_nack == nack);
        if unchanged {
            return Ok(());
        }
        let txn = Txn { then: vec![op], ..Txn::default() };
        store.txn(txn).await?;
        self.with(edge, |live| live.last_nack = nack);
        Ok(())
    }

    /// Remembers what an edge's agent can do over a restart, or forgets it: another device has its name.
    pub async fn set_features(
        &self,
        store: &dyn Store,
        edge: &str,
        features: Features,
    ) -> Result<(), StoreError> {
        if self.with(edge, |live| *live.features == features) {
            return Ok(());
        }
        let key = format!("{FEATURES_PREFIX}{edge}");
        let op = if features.is_empty() {
            Op::delete(&key)
        } else {
            Op::put(&key, manifest::encode(&key, &features)?)
        };
        store.txn(Txn { then: vec![op], ..Txn::default() }).await?;
        self.with(edge, |live| live.features = features.into());
        Ok(())
    }

    /// What every edge that is known said that it can do.
    pub fn features(&self) -> BTreeMap<String, Arc<Features>> {
        let edges = self.lock();
        let told = edges.iter().filter(|(_, live)| !live.features.is_empty());
        told.map(|(edge, live)| (edge.clone(), live.features.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, EdgeLive>> {
        self.edges.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn fault_of([code, path, message, mend]: [String; 4]) -> Fault {
    Fault { code, path, message, mend }
}

fn texts_of(fault: Fault) -> [String; 4] {
    [fault.code, fault.path, fault.message, fault.mend]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(boot: &str, sequence: u64) -> Decision {
        Decision { boot_id: boot.into(), sequence, ..Decision::default() }
    }

    #[test]
    fn a_decision_that_is_sent_again_is_taken_once() {
        let mut edge = EdgeLive::default();
        let mut take = |boot, sequence| edge.take_decision(decision(boot, sequence), 10);
        let taken = [("a", 1), ("a", 2), ("a", 1), ("a", 2), ("b", 1), ("a", 3)];
        let new = taken.map(|(boot, sequence)| take(boot, sequence));
        assert_eq!(new, [true, true, false, false, true, true]);
        assert_eq!(edge.decisions.len(), 4);
        let newest = |boot| edge.newest_decision(boot).sequence;
        assert_eq!((newest("a"), newest("b"), newest("c")), (3, 1, 0));
    }

    #[test]
    fn decisions_and_starts_are_bounded() {
        let mut edge = EdgeLive::default();
        for n in 0..2_000 {
            edge.take_decision(decision(&format!("boot {n}"), 1), decisions_of_each(3));
        }
        assert_eq!(edge.decisions.len(), MAX_DECISIONS);
        assert_eq!(decisions_of_each(10_000), 30);
        assert_eq!(edge.boots.len(), MAX_BOOTS);
    }

    #[test]
    fn a_newer_session_ends_the_older_and_outlives_it() {
        let index = Index::default();
        let (old, old_replaced, _) = index.connect("hq");
        let (new, new_replaced, _commands) = index.connect("hq");
        assert!(old_replaced.is_cancelled() && !new_replaced.is_cancelled());
        assert!(!index.disconnect("hq", old));
        assert!(index.with("hq", |edge| edge.connected()));
        assert!(index.disconnect("hq", new));
    }
}
