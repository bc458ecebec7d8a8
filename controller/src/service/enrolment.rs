//! An edge exchanges its token and a key of its own for a certificate.

use std::net::IpAddr;

use hawser_controller_core::capability::Features;
use serde::{Deserialize, Serialize};

use super::events::event;
use super::revocations::Serials;
use super::tokens::{self, Purpose, TokenRecord};
use super::{Controller, ServiceError, manifest};
use crate::audit::Record;
use crate::clock::now_unix_ms;
use crate::pki::IssuedEdge;
use crate::store::{Op, Revision, Store, StoreError, Txn};

const PREFIX: &str = "edge/";
const TRIES: usize = 4;
/// Certificates of one device that are good at once.
const MAX_CERTIFICATES: usize = 16;

#[derive(Clone)]
pub struct EnrolmentRequest {
    pub source: IpAddr,
    pub secret: Vec<u8>,
    /// PKCS#10, DER.
    pub csr_der: Vec<u8>,
    pub agent_version: String,
}

impl std::fmt::Debug for EnrolmentRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolmentRequest").field("source", &self.source).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
pub struct EnrolmentAnswer {
    pub fleet: String,
    pub site: String,
    pub edge: String,
    pub chain_der: Vec<Vec<u8>>,
    pub root_der: Vec<u8>,
    pub controllers: Vec<String>,
}

/// An edge's newest certificate, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EdgeRecord {
    pub enrolled_unix_ms: u64,
    /// Hex SHA-256 of its SubjectPublicKeyInfo; a session with another key is refused.
    pub key_sha256: String,
    pub serial: String,
    pub not_after_unix_s: u64,
    /// Given before to the same device, and not ended yet: it may not have taken the newest.
    #[serde(default)]
    pub earlier: Vec<Issued>,
    /// Key identifier of the CA that signed it; empty: from before there could be another.
    #[serde(default)]
    pub authority: String,
    /// The device has shown it, so it has stored it. Noted while one CA takes the place of another.
    #[serde(default)]
    pub shown: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Issued {
    pub key_sha256: String,
    pub serial: String,
    pub not_after_unix_s: u64,
    #[serde(default)]
    pub authority: String,
}

impl EdgeRecord {
    fn new(issued: &IssuedEdge, enrolled_unix_ms: u64) -> Self {
        Self {
            enrolled_unix_ms,
            key_sha256: issued.key_sha256.clone(),
            serial: issued.serial.clone(),
            not_after_unix_s: issued.not_after_unix_s,
            earlier: Vec::new(),
            authority: issued.authority.clone(),
            shown: false,
        }
    }

    fn newest(&self) -> Issued {
        Issued {
            key_sha256: self.key_sha256.clone(),
            serial: self.serial.clone(),
            not_after_unix_s: self.not_after_unix_s,
            authority: self.authority.clone(),
        }
    }

    /// All that the device may show.
    pub fn certificates(&self) -> impl Iterator<Item = Issued> {
        self.earlier.iter().cloned().chain([self.newest()])
    }

    pub fn knows_key(&self, key_sha256: &str) -> bool {
        self.certificates().any(|issued| issued.key_sha256 == key_sha256)
    }

    /// Whether the device may still depend on a certificate of another CA than this one. `good` says which are.
    pub fn depends_on_another(&self, authority: &str, good: &Serials) -> bool {
        let moved = self.shown && self.authority == authority && good.contains_key(&self.serial);
        !moved
            && self.certificates().any(|c| c.authority != authority && good.contains_key(&c.serial))
    }

    /// The same device's next certificate.
    fn followed_by(&self, issued: &IssuedEdge, now_unix_s: u64) -> Self {
        let earlier = self.certificates().filter(|c| c.not_after_unix_s > now_unix_s).collect();
        Self { earlier, ..Self::new(issued, self.enrolled_unix_ms) }
    }
}

pub(super) async fn load_records(
    store: &dyn Store,
) -> Result<Vec<(String, EdgeRecord)>, StoreError> {
    let entries = store.range(PREFIX, None, usize::MAX).await?;
    entries
        .into_iter()
        .map(|e| Ok((e.key[PREFIX.len()..].to_owned(), manifest::decode(&e.key, &e.value)?)))
        .collect()
}

impl Controller {
    /// Consumes the token with the first key that it is used with; the same key may ask again until
    /// it expires.
    pub async fn enrol(&self, request: EnrolmentRequest) -> Result<EnrolmentAnswer, ServiceError> {
        let source = request.source;
        let allowed = {
            let mut buckets = self.enrolments.lock().unwrap_or_else(|e| e.into_inner());
            buckets.take(source, now_unix_ms())
        };
        if !allowed {
            self.counters.add("enrolments_rate_limited", 1);
            return Err(ServiceError::RateLimited);
        }
        let mut edge = String::new();
        let mut result = Err(ServiceError::Contended);
        for _ in 0..TRIES {
            result = self.try_enrol(&request, &mut edge).await;
            if !matches!(result, Err(ServiceError::Contended)) {
                break;
            }
        }
        if let Err(error) = &result {
            let actor = format!("address:{source}");
            self.refused(actor, error.code(), &edge, format!("enrolment: {error}")).await;
        }
        result
    }

    async fn try_enrol(
        &self,
        request: &EnrolmentRequest,
        edge: &mut String,
    ) -> Result<EnrolmentAnswer, ServiceError> {
        let found = tokens::find(self.store.as_ref(), &request.secret).await?;
        let (token, revision) = found.ok_or(ServiceError::TokenUnknown)?;
        let Purpose::Enrolment { edge: named, used_by } = &token.purpose else {
            return Err(ServiceError::TokenUnknown);
        };
        edge.clone_from(named);
        if token.revoked {
            return Err(ServiceError::TokenRevoked);
        }
        if token.expired(now_unix_ms()) {
            return Err(ServiceError::TokenExpired);
        }
        let state = self.state();
        if !state.edges.contains_key(named) {
            return Err(ServiceError::EdgeUnknown(named.clone()));
        }
        let issued = self.pki.issue_edge(&request.csr_der, named)?;
        if used_by.as_ref().is_some_and(|key| *key != issued.key_sha256) {
            return Err(ServiceError::TokenUsed);
        }
        self.record_enrolment(request, &token, revision, named, &issued).await?;
        Ok(EnrolmentAnswer {
            fleet: self.settings.fleet.clone(),
            site: state.site_of(named),
            edge: named.clone(),
            chain_der: issued.chain.iter().map(|der| der.to_vec()).collect(),
            root_der: self.pki.root().to_vec(),
            controllers: self.settings.controllers.clone(),
        })
    }

    async fn record_enrolment(
        &self,
        request: &EnrolmentRequest,
        token: &TokenRecord,
        revision: Revision,
        edge: &str,
        issued: &IssuedEdge,
    ) -> Result<(), ServiceError> {
        let mut used = token.clone();
        used.purpose =
            Purpose::Enrolment { edge: edge.to_owned(), used_by: Some(issued.key_sha256.clone()) };
        let _writing = self.revocations().writing.lock().await;
        let now = now_unix_ms();
        let known = self.index.with(edge, |live| live.enrolment.clone());
        let (record, ended) = match &known {
            Some(known) if known.key_sha256 == issued.key_sha256 => {
                (known.followed_by(issued, now / 1000), Serials::new())
            }
            // Another box: what the one before could show is good no more.
            Some(known) => (EdgeRecord::new(issued, now), self.still_good(edge, known)),
            None => (EdgeRecord::new(issued, now), Serials::new()),
        };
        if record.earlier.len() >= MAX_CERTIFICATES {
            return Err(ServiceError::CertificateLimit(MAX_CERTIFICATES));
        }
        let key = format!("{PREFIX}{edge}");
        let txn = Txn {
            compare: vec![token.unmoved(revision)],
            then: vec![used.put()?, Op::put(key.clone(), manifest::encode(&key, &record)?)],
            ..Txn::default()
        };
        let detail = format!("serial {} by token {}", issued.serial, token.id);
        let actor = format!("address:{}", request.source);
        let audit = Record::new(actor, "EDGE_ENROLLED", edge, detail);
        let outcome = self.revoke_with(ended, 0, txn, audit).await?;
        if !outcome.succeeded {
            return Err(ServiceError::Contended);
        }
        let before = self.index.enrolled(edge, record);
        let (code, message) = match before {
            Some(before) if before.key_sha256 != issued.key_sha256 => {
                // Another device may have its name now.
                self.index.set_features(self.store.as_ref(), edge, Features::new()).await?;
                ("EDGE_KEY_CHANGED", "enrolled again with another key")
            }
            Some(_) => ("EDGE_ENROLLED", "enrolled again with the same key"),
            None => ("EDGE_ENROLLED", "enrolled"),
        };
        let site = self.state().site_of(edge);
        self.events.publish(event(code, &site, edge, message));
        Ok(())
    }

    /// Notes that a device has its newest certificate: it does not depend on those before.
    pub(super) async fn note_shown(&self, edge: &str, serial: &str) -> Result<(), ServiceError> {
        let newest = |record: &EdgeRecord| record.serial == serial && !record.shown;
        let known = |live: &mut super::index::EdgeLive| live.enrolment.clone().filter(newest);
        if self.authorities().is_none() || self.index.with(edge, known).is_none() {
            return Ok(());
        }
        let _writing = self.revocations().writing.lock().await;
        let Some(mut record) = self.index.with(edge, known) else { return Ok(()) };
        record.shown = true;
        let key = format!("{PREFIX}{edge}");
        let put = Op::put(key.clone(), manifest::encode(&key, &record)?);
        self.store.txn(Txn { then: vec![put], ..Txn::default() }).await?;
        self.index.with(edge, |live| live.enrolment = Some(record));
        Ok(())
    }

    /// A new key of an edge that has shown a good certificate on its stream.
    pub(super) async fn renew(
        &self,
        edge: &str,
        csr_der: &[u8],
    ) -> Result<Vec<Vec<u8>>, ServiceError> {
        let now = now_unix_ms();
        if !self.index.with(edge, |live| live.renewals.take(now)) {
            self.counters.add("renewals_rate_limited", 1);
            return Err(ServiceError::RateLimited);
        }
        let issued = self.pki.issue_edge(csr_der, edge)?;
        let _writing = self.revocations().writing.lock().await;
        let known = self.index.with(edge, |live| live.enrolment.clone());
        let record = match &known {
            Some(known) => known.followed_by(&issued, now / 1000),
            None => EdgeRecord::new(&issued, now),
        };
        if record.earlier.len() >= MAX_CERTIFICATES {
            return Err(ServiceError::CertificateLimit(MAX_CERTIFICATES));
        }
        let key = format!("{PREFIX}{edge}");
        let put = Op::put(key.clone(), manifest::encode(&key, &record)?);
        let detail = format!("serial {}", issued.serial);
        let audit = Record::new(format!("edge:{edge}"), "EDGE_RENEWED", edge, detail);
        let change = Txn { then: vec![put], ..Txn::default() };
        self.audit.commit(self.store.as_ref(), change, audit).await?;
        self.index.with(edge, |live| live.enrolment = Some(record));
        let site = self.state().site_of(edge);
        self.events.publish(event("EDGE_RENEWED", &site, edge, "a new certificate, a new key"));
        Ok(issued.chain.iter().map(|der| der.to_vec()).collect())
    }
}
