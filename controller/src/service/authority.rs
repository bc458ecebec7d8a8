//! The fleet's CA takes another's place while every tunnel stays: asked for, signed by the root elsewhere, installed; then agents renew their
//! certificates, and the CA before is retired.
//!
//! Files hold the keys and say what is trusted ([`Pki`]); the store says since when, and who did it. The files change first: a
//! request that failed in between is asked again.

use std::sync::Arc;

use hawser_proto::agent::v1 as agent;
use hawser_proto::operator::v1::{Authority, AuthorityStage, AuthorityStatus};
use serde::{Deserialize, Serialize};

use super::events::event;
use super::revocations::{RevokedRecord, Serials};
use super::tokens::Principal;
use super::{Controller, ServiceError, manifest};
use crate::audit::Record;
use crate::clock::now_unix_ms;
use crate::pki::{AuthorityFacts, Pki};
use crate::store::{Op, Store, Txn};

const ROTATION_KEY: &str = "authority/rotation";
/// In which agents ask for new certificates, unless the operator says otherwise.
const RENEW_WITHIN_S: u32 = 300;
const MAX_RENEW_WITHIN_S: u32 = 7 * 86_400;
/// Names of edges in one answer.
const MAX_LEFT_NAMES: usize = 1_000;
/// Names of edges in one audit entry.
const MAX_AUDITED_NAMES: usize = 20;

/// When the CA that signs was installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Rotation {
    authority: String,
    unix_ms: u64,
    renew_within_s: u32,
}

/// What agents are told during the overlap; none otherwise.
pub(super) type Told = Option<Arc<agent::Authorities>>;

/// What stood in store and files at the start.
#[derive(Debug)]
pub(super) struct Authorities {
    told: tokio::sync::watch::Sender<Told>,
    rotation: std::sync::Mutex<Rotation>,
}

impl Authorities {
    /// A CA that the list of revocations names was being retired when the controller stopped: that is finished.
    pub async fn load(
        store: &dyn Store,
        pki: &Pki,
        revoked: &super::revocations::Signed,
    ) -> Result<Self, ServiceError> {
        let rotation: Rotation = match store.get(ROTATION_KEY).await? {
            Some(entry) => manifest::decode(ROTATION_KEY, &entry.value)?,
            None => Rotation::default(),
        };
        if pki.retiring().is_some_and(|(_, facts)| revoked.contains(&facts.serial)) {
            pki.retire()?;
        }
        let told = tokio::sync::watch::Sender::new(told(pki, rotation.renew_within_s));
        Ok(Self { told, rotation: rotation.into() })
    }

    fn rotation(&self) -> Rotation {
        self.rotation.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }
}

impl Controller {
    /// What agents are to know of CAs now.
    pub(super) fn authorities(&self) -> Told {
        self.authorities.told.borrow().clone()
    }

    pub(super) fn watch_authorities(&self) -> tokio::sync::watch::Receiver<Told> {
        self.authorities.told.subscribe()
    }

    pub fn authority(&self) -> Result<AuthorityStatus, ServiceError> {
        let issuing = self.pki.issuing();
        let retiring = self.pki.retiring().map(|(_, facts)| facts);
        let request_pem = self.pki.request()?.unwrap_or_default();
        let (edges, mut left) = self.dependants(retiring.as_ref().map(|_| issuing.id.as_str()));
        let edges_left = u32::try_from(left.len()).unwrap_or(u32::MAX);
        left.truncate(MAX_LEFT_NAMES);
        let rotation = self.authorities.rotation();
        let rotated = if rotation.authority == issuing.id { rotation.unix_ms } else { 0 };
        let stage = match (&retiring, request_pem.is_empty()) {
            (Some(_), _) => AuthorityStage::Overlap,
            (None, false) => AuthorityStage::Requested,
            (None, true) => AuthorityStage::Steady,
        };
        Ok(AuthorityStatus {
            stage: stage.into(),
            issuing: Some(wire(issuing)),
            retiring: retiring.map(wire),
            request_pem,
            edges,
            edges_left,
            left,
            rotated_unix_ms: rotated,
            renew_within_s: within(rotation.renew_within_s),
        })
    }

    /// Edges that have a good certificate, and those that may still depend on one of another CA.
    fn dependants(&self, issuing: Option<&str>) -> (u32, Vec<String>) {
        let state = self.state();
        let mut edges = 0;
        let mut left = Vec::new();
        for name in state.edges.keys() {
            let Some(record) = self.index.with(name, |live| live.enrolment.clone()) else {
                continue;
            };
            let good = self.still_good(name, &record);
            edges += u32::from(!good.is_empty());
            if issuing.is_some_and(|id| record.depends_on_another(id, &good)) {
                left.push(name.clone());
            }
        }
        (edges, left)
    }

    /// Without a certificate: a key is made, and a request for the holder of the root's. With one: it signs from now on, and every agent
    /// is told to renew within that time.
    pub async fn rotate_authority(
        &self,
        by: &Principal,
        certificate_pem: &str,
        renew_within_s: u32,
        comment: &str,
    ) -> Result<AuthorityStatus, ServiceError> {
        super::intent::check_comment(comment)?;
        if renew_within_s > MAX_RENEW_WITHIN_S {
            let problem = format!("is more than {MAX_RENEW_WITHIN_S}");
            return Err(ServiceError::Argument { field: "renew_within_s", problem });
        }
        let _writing = self.revocations.writing.lock().await;
        if certificate_pem.is_empty() {
            self.ask_for_authority(by, comment).await?;
        } else {
            self.install_authority(by, certificate_pem, within(renew_within_s), comment).await?;
        }
        self.authority()
    }

    async fn ask_for_authority(&self, by: &Principal, comment: &str) -> Result<(), ServiceError> {
        let asked = self.pki.request()?.is_some();
        self.pki.ask_for_next()?;
        if !asked {
            let audit = Record::new(by.actor(), "CA_REQUESTED", self.fleet_name(), comment);
            self.audit.commit(self.store.as_ref(), Txn::default(), audit).await?;
            self.events.publish(event(
                "CA_REQUESTED",
                "",
                "",
                "a CA waits for the root's signature",
            ));
        }
        Ok(())
    }

    async fn install_authority(
        &self,
        by: &Principal,
        certificate_pem: &str,
        renew_within_s: u32,
        comment: &str,
    ) -> Result<(), ServiceError> {
        self.pki.install(certificate_pem)?;
        let authority = self.pki.issuing().id;
        // Asked again with the certificate that signs already: only what a failure left open is done.
        let recorded = self.authorities.rotation().authority == authority;
        if recorded || self.pki.retiring().is_none() {
            return Ok(());
        }
        let rotation = Rotation { authority, unix_ms: now_unix_ms(), renew_within_s };
        let put = Op::put(ROTATION_KEY, manifest::encode(ROTATION_KEY, &rotation)?);
        let detail = format!("{}; {comment}", rotation.authority);
        let audit = Record::new(by.actor(), "CA_ROTATED", self.fleet_name(), detail);
        let change = Txn { then: vec![put], ..Txn::default() };
        self.audit.commit(self.store.as_ref(), change, audit).await?;
        let message =
            format!("{} signs; agents renew within {renew_within_s} s", rotation.authority);
        *self.authorities.rotation.lock().unwrap_or_else(|e| e.into_inner()) = rotation;
        self.authorities.told.send_replace(told(&self.pki, renew_within_s));
        self.events.publish(event("CA_ROTATED", "", "", message));
        Ok(())
    }

    /// Certificates of the CA before are good no more, at the controller and at every agent that hears of it. Refused while edges depend
    /// on one, unless it is forced.
    pub async fn retire_authority(
        &self,
        by: &Principal,
        force: bool,
        comment: &str,
    ) -> Result<AuthorityStatus, ServiceError> {
        super::intent::check_comment(comment)?;
        let _writing = self.revocations.writing.lock().await;
        let Some((_, retiring)) = self.pki.retiring() else {
            return Err(ServiceError::NothingToRetire);
        };
        let (_, left) = self.dependants(Some(&self.pki.issuing().id));
        if !left.is_empty() && !force {
            return Err(ServiceError::AuthorityInUse(left.len()));
        }
        let names = left.iter().take(MAX_AUDITED_NAMES).cloned().collect::<Vec<_>>().join(" ");
        let detail =
            format!("{}; {} edges left behind {names}; {comment}", retiring.id, left.len());
        let audit = Record::new(by.actor(), "CA_RETIRED", self.fleet_name(), detail);
        let record = RevokedRecord {
            edge: String::new(),
            at_unix_s: now_unix_ms() / 1000,
            not_after_unix_s: retiring.ends_unix_s,
        };
        // The list first: what it names is retired at the next start, if this one ends here.
        let serials = Serials::from([(retiring.serial, record)]);
        self.revoke_with(serials, 0, Txn::default(), audit).await?;
        self.pki.retire()?;
        self.authorities.told.send_replace(None);
        let message = format!("{} is trusted no more", retiring.id);
        self.events.publish(event("CA_RETIRED", "", "", message));
        self.authority()
    }
}

fn told(pki: &Pki, renew_within_s: u32) -> Told {
    let (retiring, _) = pki.retiring()?;
    Some(Arc::new(agent::Authorities {
        issuing_der: pki.intermediate().to_vec(),
        trusted_der: vec![retiring.to_vec()],
        renew_within_s: within(renew_within_s),
    }))
}

fn within(asked_s: u32) -> u32 {
    if asked_s == 0 { RENEW_WITHIN_S } else { asked_s }
}

fn wire(facts: AuthorityFacts) -> Authority {
    let AuthorityFacts { id, serial, starts_unix_s, ends_unix_s } = facts;
    Authority { id, serial, starts_unix_s, ends_unix_s }
}
