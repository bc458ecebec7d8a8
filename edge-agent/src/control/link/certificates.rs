//! The edge's own certificate, renewed at half of its life or when the fleet has another CA, and the list of those that are good no more.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hawser_proto::agent::v1 as wire;
use hawser_proto::agent::v1::agent_message::Message as Up;
use hawser_proto::authority::Authority;
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
/// No edge waits longer than this for a certificate of another CA.
const LONGEST_MOVE: Duration = Duration::from_secs(7 * 86_400);
const FILE: &str = "revocations";

/// Where the renewal stands.
pub(super) struct Renewal {
    look_at: Instant,
    asked_on_session: bool,
    failures: u32,
    /// Of the request under way.
    key: Option<EdgeKey>,
    /// Another CA signs now.
    moving: Option<Moving>,
}

/// From one CA to another.
struct Moving {
    /// The key identifier of the one that signs.
    to: Vec<u8>,
    /// When this edge asks it: not all at once.
    at: Instant,
}

impl Renewal {
    pub(super) fn new(now: Instant) -> Self {
        Renewal { look_at: now, asked_on_session: false, failures: 0, key: None, moving: None }
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

    /// Asks for a new certificate over the stream once half of the present one's life is over, or when it is time to move to another CA.
    pub(super) fn renew_if_due(&mut self) {
        let now = Instant::now();
        if now < self.renewal.look_at {
            return;
        }
        self.renewal.look_at = now + LOOK_EVERY;
        let today = (self.parts.calendar.unix_ms() / 1000) as i64;
        let half = today >= self.parts.identity.half_life_unix_s();
        let moves = self.renewal.moving.as_ref().is_some_and(|moving| moving.at <= now);
        if !(half || moves) || self.active.is_none() || self.renewal.asked_on_session {
            return;
        }
        let key = match EdgeKey::generate() {
            Ok(key) => key,
            Err(error) => return self.renewal_failed("RENEWAL_NO_KEY", &error),
        };
        match signing_request(&key, self.parts.identity.edge()) {
            Ok(csr_der) => {
                tracing::info!(half, moves, "a new certificate is asked for");
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
        let ended = self.parts.ended.subscribe();
        let tls = match dial::enrolled_tls(&renewed, self.parts.calendar.clone(), ended) {
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

    async fn use_renewed(&mut self, renewed: Arc<Identity>, tls: dial::Tls) {
        self.parts.identity = renewed.clone();
        self.parts.tls = tls;
        self.renewal = Renewal::new(Instant::now() + LOOK_EVERY);
        self.event("CERTIFICATE_RENEWED", renewed.edge(), "a new certificate, with a new key");
        tracing::info!(not_after_unix_s = renewed.not_after_unix_s(), "certificate renewed");
        self.tell(ControlEvent::Renewed(renewed)).await;
        // The stream moves on to it, before the old one is let go.
        self.open_fresh();
    }

    /// The fleet has another CA. It is checked against the root, and asked for a certificate at a moment within the time that was given.
    pub(super) fn on_authorities(&mut self, told: &wire::Authorities) {
        let identity = &self.parts.identity;
        let issuing = match Authority::verify(&told.issuing_der, identity.root()) {
            Ok(issuing) => issuing,
            Err(fault) => {
                tracing::warn!(code = fault.code(), "the controller's CA is refused: {fault}");
                return self.event("AUTHORITY_REFUSED", fault.code(), fault);
            }
        };
        if identity.authority().as_ref() == Some(&issuing.key_id) {
            self.renewal.moving = None;
            return;
        }
        if self.renewal.moving.as_ref().is_some_and(|moving| moving.to == issuing.key_id) {
            return;
        }
        let within = Duration::from_secs(told.renew_within_s.into()).min(LONGEST_MOVE);
        let wait = within.mul_f64(rand::random());
        tracing::info!(
            wait_s = wait.as_secs(),
            "another CA signs; a new certificate is asked for then"
        );
        let at = Instant::now() + wait;
        self.renewal.look_at = self.renewal.look_at.min(at);
        self.renewal.moving = Some(Moving { to: issuing.key_id, at });
    }

    pub(super) fn list(&self) -> Option<Arc<RevocationList>> {
        self.parts.ended.borrow().clone()
    }

    pub(super) fn list_number(&self) -> u64 {
        self.list().map_or(0, |list| list.number())
    }

    /// A controller whose store was restored knows less than its agents.
    pub(super) fn bring_list(&self, controllers: u64) {
        let Some(list) = self.list().filter(|list| list.number() > controllers) else { return };
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
        let held = self.list();
        if held.as_ref().is_some_and(|held| list.is_by_one_of(held.serials())) {
            tracing::warn!(from, "a revocation list of a retired CA is refused");
            return self.event("REVOCATIONS_REFUSED", "REVOCATIONS_CA_RETIRED", from);
        }
        if !list.supersedes(held.as_deref()) {
            return;
        }
        let list = Arc::new(list);
        self.parts.ended.send_replace(Some(list.clone()));
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
