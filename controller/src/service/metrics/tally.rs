//! What must be counted as it happens.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hawser_proto::agent::v1::Decision;
use hawser_telemetry::Histogram;
use hawser_telemetry::catalogue::CONTROLLER_PUSH;

use crate::service::generation::Generation;
use crate::store::StoreTimes;

/// Classes of tunnels whose moves are counted: far more than a fleet has.
const MOVED_MAX: usize = 100_000;
/// Causes are words of agents: others than these are not counted apart.
const CAUSES: [&str; 8] = [
    "START",
    "PATH_DOWN",
    "SLA_VIOLATED",
    "FAIL_BACK",
    "BETTER_PATH",
    "CONFIG",
    "NONE_LEFT",
    "MEMBERS",
];
const OTHER: &str = "OTHER";

/// A class of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moved {
    pub edge: String,
    pub peer_edge: String,
    pub class: String,
}

type Causes = BTreeMap<&'static str, u64>;

#[derive(Debug)]
pub struct Metrics {
    acked: Histogram,
    nacked: Histogram,
    store: Arc<StoreTimes>,
    moves: Mutex<BTreeMap<Moved, Causes>>,
    /// Edges that lack what is desired of them, and since when that was seen.
    behind: Mutex<BTreeMap<String, Instant>>,
}

impl Metrics {
    pub fn new(store: Arc<StoreTimes>) -> Self {
        let histogram = || Histogram::new(&CONTROLLER_PUSH);
        Metrics {
            acked: histogram(),
            nacked: histogram(),
            store,
            moves: Mutex::default(),
            behind: Mutex::default(),
        }
    }

    /// An agent answered a generation that was pushed at `since`.
    pub fn answered(&self, acked: bool, since: Option<Instant>) {
        let histogram = if acked { &self.acked } else { &self.nacked };
        if let Some(since) = since {
            histogram.observe(since.elapsed());
        }
    }

    pub fn pushes(&self) -> [(&'static str, &Histogram); 2] {
        [("acked", &self.acked), ("nacked", &self.nacked)]
    }

    pub fn store_times(&self) -> &StoreTimes {
        &self.store
    }

    /// False: there is no room to count it. Decisions about next hops are no moves of a class.
    pub fn decided(&self, edge: &str, decision: &Decision) -> bool {
        if !decision.from_next_hop.is_empty() || !decision.to_next_hop.is_empty() {
            return true;
        }
        let moved = Moved {
            edge: edge.to_owned(),
            peer_edge: decision.peer_edge.clone(),
            class: decision.traffic_class.clone(),
        };
        let cause = CAUSES.into_iter().find(|c| *c == decision.cause).unwrap_or(OTHER);
        let mut moves = lock(&self.moves);
        if moves.len() >= MOVED_MAX && !moves.contains_key(&moved) {
            return false;
        }
        *moves.entry(moved).or_default().entry(cause).or_default() += 1;
        true
    }

    pub fn moves(&self) -> BTreeMap<Moved, Causes> {
        lock(&self.moves).clone()
    }

    /// Forgets edges that are gone.
    pub fn retain(&self, stays: impl Fn(&str) -> bool) {
        lock(&self.behind).retain(|edge, _| stays(edge));
        lock(&self.moves).retain(|moved, _| stays(&moved.edge) && stays(&moved.peer_edge));
    }

    /// For how long the edge has lacked what is desired; zero if it has it.
    pub fn lag(
        &self,
        edge: &str,
        desired: Generation,
        applied: Generation,
        now: Instant,
    ) -> Duration {
        let mut behind = lock(&self.behind);
        if desired == applied {
            behind.remove(edge);
            return Duration::ZERO;
        }
        // A newer wish does not make an old one younger.
        let since = behind.entry(edge.to_owned()).or_insert(now);
        now.saturating_duration_since(*since)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}
