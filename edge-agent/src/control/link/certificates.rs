//! The edge's own certificate, renewed at half of its life, and the list of those that are good no more.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hawser_proto::agent::v1 as wire;
use hawser_proto::agent::v1::agent_message::Message as Up;
use hawser_proto::revocation::RevocationList;
use prost::Message as _;
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;

use super::supervisor::Supervisor;
use crate::control::api::ControlEvent;
use crate::control::dial;
use crate::control::enrol::signing_request;
use crate::control::identity::{EdgeKey, Identity};
use crate::control::ledger::checked::{self, Checked};

/// Lists of peers that wait to be verified.
pub(super) const LISTS: usize = 4;
/// The certificate's age is looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// A request that was refused, or not answered, is made again after so long, and with each failure later.
const RETRY_MIN: Duration = Duration::from_secs(30);
const RETRY_MAX: Duration = Duration::from_secs(3_600);
const FILE: &str = "revocations";

/// Where the renewal stands.
pub(super) struct Renewal {
    look_at: Instant,
    asked_on_session: bool,
    failures: u32,
    /// Of the request under way.
    key: Option<EdgeKey>,
}

impl Renewal {
    pub(super) fn new(now: Instant) -> Self {
        Renewal { look_at: now, asked_on_session: false, failures: 0, key: None }
    }

    /// An answer that was due on the session before does not come any more.
    pub(super) fn new_session(&mut self) {
        self.asked_on_session = false;
        self.look_at = Instant::now();
    }

    fn failed(&mut self) {
        self.key = None;
        self.asked_on_session = false;
        let pause = RETRY_MIN.saturating_mul(1 << self.failures.min(10)).min(RETRY_MAX);
        self.failures += 1;
        self.look_at = Instant::now() + pause.mul_f64(rand::random_range(0.75..1.25));
    }
}

/// The list on disk. One that is damaged, or that this fleet's root knows nothing of, is none.
pub(super) fn open(state_dir: &Path, root: &CertificateDer<'_>) -> Option<Arc<RevocationList>> {
    let read = checked::read(&state_dir.join(FILE)).ok().flatten()?;
    RevocationList::verify(&read.content, root).ok().map(Arc::new)
}

impl Supervisor {
    pub(super) fn renewal_at(&self) -> Instant {
        self.renewal.look_at
    }

    /// Asks for a new certificate over the stream once half of the present one's life is over.
    pub(super) fn renew_if_due(&mut self) {
        let now = Instant::now();
        if now < self.renewal.look_at {
            return;
        }
        self.renewal.look_at = now + LOOK_EVERY;
        let today = (self.parts.calendar.unix_ms() / 1000) as i64;
        let due = today >= self.parts.identity.half_life_unix_s();
        if !due || self.active.is_none() || self.renewal.asked_on_session {
            return;
        }
        let key = match EdgeKey::generate() {
            Ok(key) => key,
            Err(error) => return self.renewal_failed("RENEWAL_NO_KEY", &error),
        };
        match signing_request(&key, self.parts.identity.edge()) {
            Ok(csr_der) => {
                tracing::info!("half of the certificate's life is over; a new one is asked for");
                self.renewal.key = Some(key);
                self.renewal.asked_on_session = true;
                self.parts.outbox.answer(Up::RenewalRequest(wire::RenewalRequest { csr_der }));
            }
            Err(error) => self.renewal_failed("RENEWAL_NO_REQUEST", &error),
        }
    }

    fn renewal_failed(&mut self, code: &str, why: &dyn std::fmt::Display) {
        tracing::warn!(code, "the certificate is not renewed: {why}");
        self.event("RENEWAL_FAILED", code, why);
        self.renewal.failed();
    }

    /// On disk first, then in use: new connections show it, those that live go on.
    pub(super) async fn on_certificate(&mut self, answer: wire::Certificate) {
        let Some(key) = self.renewal.key.take() else { return };
        if let Some(fault) = answer.fault {
            return self.renewal_failed(&fault.code, &fault.message);
        }
        let chain = answer.certificate_chain_der.into_iter().map(CertificateDer::from).collect();
        let renewed = match self.parts.identity.renewed(key, chain) {
            Ok(renewed) => Arc::new(renewed),
            Err(error) => return self.renewal_failed(error.code(), &error),
        };
        let tls = match dial::enrolled_tls(&renewed, self.parts.calendar.clone()) {
            Ok(tls) => tls,
            Err(error) => return self.renewal_failed("RENEWAL_UNUSABLE", &error),
        };
        let (saving, dir) = (renewed.clone(), self.parts.state_dir.clone());
        let saved = tokio::task::spawn_blocking(move || saving.save_renewed(&dir)).await;
        match saved {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return self.renewal_failed(error.code(), &error),
            Err(error) => return self.renewal_failed("STATE_FILE", &error),
        }
        self.use_renewed(renewed, tls).await;
    }

    async fn use_renewed(&mut self, renewed: Arc<Identity>, tls: Arc<rustls::ClientConfig>) {
        self.parts.identity = renewed.clone();
        self.parts.tls = tls;
        self.renewal = Renewal::new(Instant::now() + LOOK_EVERY);
        self.event("CERTIFICATE_RENEWED", renewed.edge(), "a new certificate, with a new key");
        tracing::info!(not_after_unix_s = renewed.not_after_unix_s(), "certificate renewed");
        self.tell(ControlEvent::Renewed(renewed)).await;
        // The stream moves on to it, before the old one is let go.
        self.open_fresh();
    }

    pub(super) fn list_number(&self) -> u64 {
        self.parts.revocations.as_ref().map_or(0, |list| list.number())
    }

    /// A controller whose store was restored knows less than its agents.
    pub(super) fn bring_list(&self, controllers: u64) {
        let Some(list) = self.parts.revocations.as_ref().filter(|l| l.number() > controllers)
        else {
            return;
        };
        if let Ok(list) = wire::RevocationList::decode(list.bytes()) {
            self.parts.outbox.answer(Up::RevocationList(list));
        }
    }

    /// Whoever brought it: what counts is who signed it.
    pub(super) async fn on_list(&mut self, bytes: &[u8], from: &str) {
        let list = match RevocationList::verify(bytes, self.parts.identity.root()) {
            Ok(list) => list,
            Err(fault) => {
                tracing::warn!(code = fault.code(), from, "a revocation list is refused: {fault}");
                return self.event("REVOCATIONS_REFUSED", fault.code(), from);
            }
        };
        if !list.supersedes(self.parts.revocations.as_deref()) {
            return;
        }
        let list = Arc::new(list);
        self.parts.revocations = Some(list.clone());
        let message = format!("list {} of {from}", list.number());
        self.event("REVOCATIONS_TAKEN", self.parts.identity.edge(), message);
        // In force at once, whatever the disk says: a list that is not stored comes again.
        self.tell(ControlEvent::Revocations(list.clone())).await;
        let path = self.parts.state_dir.join(FILE);
        let written = tokio::task::spawn_blocking(move || {
            let content = list.bytes().to_vec();
            checked::write(&path, &Checked { sequence: list.number(), content })
        })
        .await;
        if let Ok(Err(error)) = written {
            self.event("STATE_NOT_WRITTEN", FILE, &error);
        }
    }
}
