//! Which certificates are good no more: stored one by one, signed as one list, told to every agent.
//!
//! The list's number is at least the time in seconds: what a controller signs after its store was
//! restored is newer than what was lost. Agents that know more bring it back ([`Controller::take_list`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_proto::agent::v1::RevocationList as Wire;
use hawser_proto::revocation::{MAX_SERIALS, RevocationList};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use super::enrolment::EdgeRecord;
use super::events::event;
use super::tokens::{Created, NewToken, Principal};
use super::{Controller, ServiceError, manifest};
use crate::audit::Record;
use crate::clock::now_unix_ms;
use crate::pki::{EDGE_LIFETIME, Pki, Revoked};
use crate::secret;
use crate::store::{Op, Store, StoreError, Txn, TxnOutcome};

const PREFIX: &str = "revoked/";
const NUMBER_KEY: &str = "revocations/number";
/// Certificates revoked in one transaction.
const AT_ONCE: usize = 40;
/// Ended certificates that are forgotten in one transaction.
const FORGOTTEN_AT_ONCE: usize = 20;
/// A certificate that has ended stays in the list for so long: clocks differ.
const ENDED_KEPT_S: u64 = 2 * 86_400;

/// A certificate that is good no more, as stored under its serial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RevokedRecord {
    pub edge: String,
    pub at_unix_s: u64,
    pub not_after_unix_s: u64,
}

/// By serial, hexadecimal.
pub(super) type Serials = BTreeMap<String, RevokedRecord>;

/// The list in force.
#[derive(Debug, Default)]
pub struct Signed {
    /// 0: nothing was ever revoked, and there is no list.
    pub number: u64,
    pub wire: Wire,
    serials: Serials,
}

impl Signed {
    pub fn contains(&self, serial: &str) -> bool {
        self.serials.contains_key(serial)
    }
}

#[derive(Debug)]
pub struct Revocations {
    signed: watch::Sender<Arc<Signed>>,
    /// Held over every change of certificates: lists and records go together.
    pub(super) writing: Mutex<()>,
}

impl Revocations {
    pub async fn load(store: &dyn Store, pki: &Pki) -> Result<Self, ServiceError> {
        let number = match store.get(NUMBER_KEY).await? {
            Some(entry) => manifest::decode(NUMBER_KEY, &entry.value)?,
            None => 0,
        };
        let entries = store.range(PREFIX, None, usize::MAX).await?;
        let serials = entries
            .into_iter()
            .map(|e| Ok((e.key[PREFIX.len()..].to_owned(), manifest::decode(&e.key, &e.value)?)))
            .collect::<Result<Serials, StoreError>>()?;
        let signed = if number == 0 { Signed::default() } else { sign(pki, number, serials)? };
        Ok(Self { signed: watch::Sender::new(Arc::new(signed)), writing: Mutex::new(()) })
    }

    pub fn signed(&self) -> Arc<Signed> {
        Arc::clone(&self.signed.borrow())
    }

    pub fn watch(&self) -> watch::Receiver<Arc<Signed>> {
        self.signed.subscribe()
    }
}

/// What was revoked by one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevokedNow {
    pub serials: Vec<String>,
    /// 0: there was nothing to revoke.
    pub list_number: u64,
}

impl Controller {
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Every certificate of a site's edges, or of one edge, is good no more.
    pub async fn revoke(
        &self,
        by: &Principal,
        target: &str,
        comment: &str,
    ) -> Result<RevokedNow, ServiceError> {
        super::intent::check_comment(comment)?;
        let edges = self.edges_named(target)?;
        let mut revoked = RevokedNow::default();
        let _writing = self.revocations.writing.lock().await;
        for edge in edges {
            let record = self.index.with(&edge, |live| live.enrolment.clone());
            let Some(record) = record else { continue };
            let all: Vec<_> = self.still_good(&edge, &record).into_iter().collect();
            for some in all.chunks(AT_ONCE) {
                let detail = format!("{} certificates; {comment}", some.len());
                let audit = Record::new(by.actor(), "EDGE_REVOKED", edge.as_str(), detail);
                let serials: Serials = some.iter().cloned().collect();
                revoked.serials.extend(serials.keys().cloned());
                self.revoke_with(serials, 0, Txn::default(), audit).await?;
                revoked.list_number = self.revocations.signed().number;
            }
            if !all.is_empty() {
                let message = format!("{} certificates are good no more; {comment}", all.len());
                let site = self.state().site_of(&edge);
                self.events.publish(event("EDGE_REVOKED", &site, &edge, message));
            }
        }
        Ok(revoked)
    }

    /// A swapped box: its identities end, and each edge gets a token for the new one.
    pub async fn replace(
        &self,
        by: &Principal,
        target: &str,
        comment: &str,
        valid_for_s: u32,
    ) -> Result<(RevokedNow, Vec<(String, Created)>), ServiceError> {
        let edges = self.edges_named(target)?;
        let revoked = self.revoke(by, target, comment).await?;
        let mut tokens = Vec::new();
        for edge in edges {
            let new = NewToken {
                kind: hawser_proto::operator::v1::TokenKind::Enrolment,
                edge: edge.clone(),
                role: String::new(),
                valid_for_s,
                comment: comment.to_owned(),
            };
            tokens.push((edge, self.create_token(by, new).await?));
        }
        Ok((revoked, tokens))
    }

    fn edges_named(&self, target: &str) -> Result<Vec<String>, ServiceError> {
        if self.state().edges.contains_key(target) {
            return Ok(vec![target.to_owned()]);
        }
        self.edges_of(target).map_err(|_| ServiceError::TargetUnknown(target.to_owned()))
    }

    /// Certificates of the edge that have not ended and are not revoked.
    pub(super) fn still_good(&self, edge: &str, record: &EdgeRecord) -> Serials {
        let now = now_unix_ms() / 1000;
        let signed = self.revocations.signed();
        record
            .certificates()
            .filter(|c| c.not_after_unix_s > now && !signed.contains(&c.serial))
            .map(|c| {
                let record = RevokedRecord {
                    edge: edge.to_owned(),
                    at_unix_s: now,
                    not_after_unix_s: c.not_after_unix_s,
                };
                (c.serial.clone(), record)
            })
            .collect()
    }

    /// Commits a change together with what it revokes, then shows the new list to everybody. The
    /// caller holds `writing`. The list's number will be above `floor`.
    pub(super) async fn revoke_with(
        &self,
        serials: Serials,
        floor: u64,
        mut change: Txn,
        audit: Record,
    ) -> Result<TxnOutcome, ServiceError> {
        let before = self.revocations.signed();
        let now = now_unix_ms() / 1000;
        let mut all = before.serials.clone();
        if !serials.is_empty() || floor > before.number {
            let ended: Vec<String> = all
                .iter()
                .filter(|(_, record)| record.not_after_unix_s + ENDED_KEPT_S < now)
                .map(|(serial, _)| serial.clone())
                .take(FORGOTTEN_AT_ONCE)
                .collect();
            for serial in ended {
                change.then.push(Op::delete(format!("{PREFIX}{serial}")));
                all.remove(&serial);
            }
            for (serial, record) in &serials {
                let key = format!("{PREFIX}{serial}");
                change.then.push(Op::put(key.clone(), manifest::encode(&key, record)?));
            }
            all.extend(serials);
            if all.len() > MAX_SERIALS {
                return Err(ServiceError::RevocationLimit(MAX_SERIALS));
            }
            let number = (before.number.max(floor) + 1).max(now);
            change.then.push(Op::put(NUMBER_KEY, manifest::encode(NUMBER_KEY, &number)?));
            // Signed before it is stored: what can't be signed is not said to be revoked.
            let signed = sign(&self.pki, number, all)?;
            let outcome = self.audit.commit(self.store.as_ref(), change, audit).await?;
            if outcome.succeeded {
                self.revocations.signed.send_replace(Arc::new(signed));
            }
            return Ok(outcome);
        }
        Ok(self.audit.commit(self.store.as_ref(), change, audit).await?)
    }

    /// An agent has a newer list than this controller, whose store was restored from before it.
    pub(super) async fn take_list(&self, edge: &str, wire: &Wire) -> Result<(), ServiceError> {
        let list = match RevocationList::verify(&wire.encode_to_vec(), self.pki.root()) {
            Ok(list) => list,
            Err(fault) => {
                self.counters.add("revocation_lists_refused", 1);
                tracing::warn!(edge, code = fault.code(), "a revocation list is refused: {fault}");
                return Ok(());
            }
        };
        let _writing = self.revocations.writing.lock().await;
        let signed = self.revocations.signed();
        if list.number() <= signed.number || signed.contains(&secret::hex(list.issuer())) {
            return Ok(());
        }
        let now = now_unix_ms() / 1000;
        let unknown: Vec<_> = list
            .serials()
            .iter()
            .map(|serial| secret::hex(serial))
            .filter(|serial| !signed.contains(serial))
            .map(|serial| {
                let not_after_unix_s = now + EDGE_LIFETIME.as_secs();
                (serial, RevokedRecord { edge: String::new(), at_unix_s: now, not_after_unix_s })
            })
            .collect();
        let detail = format!("{} certificates, list {}", unknown.len(), list.number());
        let mut pieces: Vec<Serials> =
            unknown.chunks(AT_ONCE).map(|some| some.iter().cloned().collect()).collect();
        if pieces.is_empty() {
            pieces.push(Serials::new());
        }
        for serials in pieces {
            let audit = Record::new(format!("edge:{edge}"), "REVOCATIONS_LEARNED", edge, &*detail);
            self.revoke_with(serials, list.number(), Txn::default(), audit).await?;
        }
        Ok(())
    }
}

fn sign(pki: &Pki, number: u64, serials: Serials) -> Result<Signed, ServiceError> {
    let octets = |text: &str| -> Vec<u8> {
        (0..text.len() / 2)
            .filter_map(|at| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok())
            .collect()
    };
    let revoked: Vec<Revoked> = serials
        .iter()
        .map(|(serial, record)| Revoked { serial: octets(serial), at_unix_s: record.at_unix_s })
        .collect();
    let wire = pki.revocation_list(number, &revoked)?;
    Ok(Signed { number, wire, serials })
}
