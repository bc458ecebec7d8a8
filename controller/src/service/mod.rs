//! The domain: what the controller does, whoever asks. Adapters (gRPC now) only translate.
//!
//! [`FleetState`] is swapped as a whole and watched; [`Index`] holds what is live and may be lost;
//! the store holds the rest. Changes of the fleet take `change_lock`, then commit, then swap.

mod access;
mod advice;
mod audit_log;
mod authority;
mod bounds;
mod check;
mod commit;
mod compiler;
mod counters;
mod drains;
mod enrolment;
mod error;
mod events;
mod explain;
mod explanations;
mod facts;
mod generation;
mod history;
mod ike;
mod index;
mod intent;
mod manifest;
mod metrics;
mod record;
mod requests;
mod revocations;
mod session;
mod sessions;
mod sla_watch;
mod staging;
mod state;
mod telemetry;
mod tokens;
mod traces;
mod trend;
mod view;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

pub use self::access::Operation;
pub use self::advice::AdviceMode;
pub use self::audit_log::AuditPage;
pub use self::check::check_store;
pub use self::enrolment::{EnrolmentAnswer, EnrolmentRequest};
pub use self::error::{Kind, ServiceError};
pub use self::events::Subscription;
pub use self::explain::Question;
pub use self::facts::Facts;
pub use self::generation::Generation;
pub use self::intent::{Applied, Document, Expected, Proposal};
pub use self::record::Reading;
pub use self::requests::{KeptAnswer, Keyed};
pub use self::revocations::{Revocations, RevokedNow};
pub use self::session::Peer;
pub use self::sessions::{OpenedSession, SessionEnd};
pub use self::state::FleetState;
pub use self::tokens::{ApiToken, Created, NewToken, Principal, Role, create_first_admin};
pub use self::trend::{EndTrend, Limit, LongStore, PathTrend, TrendQuestion};
pub use self::view::DecisionFilter;
use crate::audit::{Audit, Record};
use crate::bucket::{Bucket, SourceBuckets};
use crate::clock::now_unix_ms;
use crate::pki::Pki;
use crate::store::blob::{self, BlobRef};
use crate::store::{RESTORED_KEY, Store, StoreTimes, TimedStore};
use access::SignedIn;
use advice::SlowLoop;
use authority::Authorities;
use counters::Counters;
use events::{Events, event};
use index::Index;
use record::Waiting;
use requests::Requests;
use sessions::Sessions;
use sla_watch::SlaWatch;
use staging::Staging;
use traces::Traces;
use trend::Trends;

/// Enrolments at once from one source, then one every two seconds.
const ENROLMENT_BURST: u32 = 10;
const ENROLMENT_PER_SECOND: f64 = 0.5;
const MAX_SOURCES: usize = 4_096;

/// What is the same for the whole run.
#[derive(Debug, Clone)]
pub struct Settings {
    pub fleet: String,
    /// `host:port`, in order of preference; for agents and tokens.
    pub controllers: Vec<String>,
    pub telemetry_interval: Duration,
    pub advice: AdviceMode,
}

/// One fleet's controller.
#[derive(Debug)]
pub struct Controller {
    settings: Settings,
    store: Arc<dyn Store>,
    pki: Arc<Pki>,
    audit: Audit,
    events: Events,
    counters: Counters,
    metrics: metrics::Metrics,
    index: Index,
    facts: Facts,
    revocations: Revocations,
    authorities: Authorities,
    requests: Requests,
    slow_loop: SlowLoop,
    waiting: Waiting,
    signed_in: SignedIn,
    sessions: Sessions,
    trends: Trends,
    sla_watch: SlaWatch,
    staging: Staging,
    traces: Traces,
    state: watch::Sender<Arc<FleetState>>,
    change_lock: Mutex<()>,
    enrolments: std::sync::Mutex<SourceBuckets>,
    started: Instant,
    started_unix_ms: u64,
    stop: CancellationToken,
}

impl Controller {
    /// Reads the store. After a restore new generations step over the numbers that agents may know
    /// already.
    pub async fn open(
        settings: Settings,
        store: Arc<dyn Store>,
        pki: Arc<Pki>,
    ) -> Result<Arc<Self>, ServiceError> {
        let times = Arc::<StoreTimes>::default();
        let store: Arc<dyn Store> = Arc::new(TimedStore::new(store, Arc::clone(&times)));
        let state = FleetState::load(store.as_ref()).await?;
        let facts = Facts::load(store.as_ref()).await?;
        let index = Index::load(store.as_ref()).await?;
        let revocations = Revocations::load(store.as_ref(), &pki).await?;
        let signed = revocations.signed();
        let authorities = Authorities::load(store.as_ref(), &pki, &signed).await?;
        let requests = Requests::load(store.as_ref()).await?;
        let slow_loop = SlowLoop::new(settings.advice);
        let bucket = Bucket::new(ENROLMENT_BURST, ENROLMENT_PER_SECOND);
        let controller = Arc::new(Self {
            settings,
            store,
            pki,
            audit: Audit::default(),
            events: Events::default(),
            counters: Counters::default(),
            metrics: metrics::Metrics::new(times),
            index,
            facts,
            revocations,
            authorities,
            requests,
            slow_loop,
            waiting: Waiting::default(),
            signed_in: SignedIn::default(),
            sessions: Sessions::default(),
            trends: Trends::default(),
            sla_watch: SlaWatch::default(),
            staging: Staging::default(),
            traces: Traces::default(),
            state: watch::Sender::new(Arc::new(state)),
            change_lock: Mutex::new(()),
            enrolments: std::sync::Mutex::new(SourceBuckets::new(bucket, MAX_SOURCES)),
            started: Instant::now(),
            started_unix_ms: now_unix_ms(),
            stop: CancellationToken::new(),
        });
        if let Some(restored) = controller.store.get(RESTORED_KEY).await? {
            let reason = String::from_utf8_lossy(&restored.value);
            controller.after_restore(restored.revision, &reason).await?;
        }
        controller.sweep().await?;
        Ok(controller)
    }

    pub fn fleet_name(&self) -> &str {
        &self.settings.fleet
    }

    pub fn pki(&self) -> &Arc<Pki> {
        &self.pki
    }

    pub fn state(&self) -> Arc<FleetState> {
        Arc::clone(&self.state.borrow())
    }

    /// Ends every session and watch; sessions are told so.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Its store failed, and it was stopped for that.
    pub fn has_failed(&self) -> bool {
        self.stop.is_cancelled() && self.store.has_failed()
    }

    /// From now on spans go there.
    pub fn collect_spans(&self, spans: hawser_telemetry::Spans) {
        self.traces.collect(spans);
    }

    pub fn count(&self, counter: &'static str) {
        self.counters.add(counter, 1);
    }

    /// Copies the store to where a damaged one is restored from.
    pub async fn checkpoint(&self) -> Result<(), ServiceError> {
        Ok(self.store.checkpoint().await?)
    }

    /// It can take changes: the store reads, and has taken every write.
    pub async fn ready(&self) -> Result<(), String> {
        if self.stop.is_cancelled() {
            return Err("the controller is stopping".to_owned());
        }
        if self.store.has_failed() {
            return Err("the store failed".to_owned());
        }
        let read = self.store.get(manifest::HEAD_KEY).await;
        read.map(drop).map_err(|error| format!("the store can't be read: {error}"))
    }

    /// Follows the head of the fleet in the store, so that what another controller commits is seen
    /// here too.
    pub async fn follow_store(self: Arc<Self>) {
        let mut watcher = self.store.watch(manifest::HEAD_KEY);
        loop {
            let change = tokio::select! {
                () = self.stop.cancelled() => return,
                change = watcher.next() => change,
            };
            if change.is_none() {
                return;
            }
            if let Err(error) = self.reload_if_behind().await {
                tracing::error!(%error, "reading the fleet anew failed");
            }
        }
    }

    async fn reload_if_behind(&self) -> Result<(), ServiceError> {
        let _changing = self.change_lock.lock().await;
        let head = manifest::read_head(self.store.as_ref()).await?;
        if head.is_some_and(|(_, seen)| seen != self.state().head) {
            let state = FleetState::load(self.store.as_ref()).await?;
            self.state.send_replace(Arc::new(state));
        }
        Ok(())
    }

    /// A refusal: counted, audited as far as the rate allows, and an event if an edge of the fleet
    /// is concerned.
    pub async fn refused(&self, actor: String, code: &'static str, subject: &str, detail: String) {
        self.counters.add("refusals", 1);
        tracing::info!(actor, code, subject, detail, "refused");
        let record = Record::new(actor, code, subject, detail.clone());
        match self.audit.refusal(self.store.as_ref(), record).await {
            Ok(true) => {
                let site = self.state().site_of(subject);
                self.events.publish(event(code, &site, subject, detail));
            }
            Ok(false) => self.counters.add("audit_suppressed", 1),
            Err(error) => tracing::error!(%error, "the audit log can't be written"),
        }
    }

    /// Removes what a crash left unnamed.
    async fn sweep(&self) -> Result<(), ServiceError> {
        let mut named: Vec<BlobRef> = self.state().named_blobs();
        let revisions = manifest::all_revisions(self.store.as_ref()).await?;
        named.extend(revisions.into_iter().map(|record| record.document));
        let swept = blob::sweep(self.store.as_ref(), &named).await?;
        if swept > 0 {
            tracing::info!(swept, "chunks that nothing named were removed");
        }
        Ok(())
    }
}
