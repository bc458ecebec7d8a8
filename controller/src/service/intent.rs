//! What the operator wants: checking, committing and reading documents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hawser_controller_core::Fleet;
use hawser_proto::agent::v1::Fault;
use hawser_proto::config::v1::EdgeConfig;
use prost::Message as _;

use super::compiler::{self, Compiled};
use super::events::event;
use super::generation::Generation;
use super::manifest::{self, Desired, Head, REVISIONS_KEPT, RevisionRecord};
use super::state::{EdgeState, FleetState, paths_of};
use super::tokens::Principal;
use super::{Controller, ServiceError};
use crate::audit::Record;
use crate::clock::now_unix_ms;
use crate::secret;
use crate::store::blob::{self, BlobRef, BlobWriter};
use crate::store::{Op, RESTORED_KEY, Txn};

const MAX_COMMENT_BYTES: usize = 4_096;
/// More generations than an edge gets between two exports of the store.
const RESTORE_STEP: u64 = 1 << 20;

/// What became of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {
    /// Nothing was applied.
    Faulty(Vec<Fault>),
    /// It said what was already so.
    Unchanged { revision: u64 },
    Committed {
        revision: u64,
        /// Edges whose generation changed, sorted.
        changed: Vec<(String, Generation)>,
    },
}

/// A committed document as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub revision: u64,
    pub bytes: Vec<u8>,
    pub committed_unix_ms: u64,
    pub committed_by: String,
    pub comment: String,
}

impl Controller {
    /// Every fault of a document. Changes nothing.
    pub async fn validate(&self, document: Vec<u8>) -> Result<Vec<Fault>, ServiceError> {
        Ok(self.parse(document).await?.err().unwrap_or_default())
    }

    /// Commits a document as a new revision with a new generation for each edge whose configuration
    /// changed: all of it or nothing, durable when this returns. `expected_revision` 0: whatever
    /// the fleet is at.
    pub async fn apply(
        &self,
        by: &Principal,
        document: Vec<u8>,
        comment: String,
        expected_revision: u64,
    ) -> Result<Applied, ServiceError> {
        if comment.len() > MAX_COMMENT_BYTES {
            return Err(ServiceError::Argument {
                field: "comment",
                problem: format!("is longer than {MAX_COMMENT_BYTES} bytes"),
            });
        }
        let fleet = match self.parse(document.clone()).await? {
            Ok(fleet) => fleet,
            Err(faults) => return Ok(Applied::Faulty(faults)),
        };
        let _changing = self.change_lock.lock().await;
        let state = self.state();
        if expected_revision != 0 && expected_revision != state.revision {
            return Err(ServiceError::RevisionConflict {
                expected: expected_revision,
                actual: state.revision,
            });
        }
        let compiled = match self.compile(fleet, &state).await? {
            Ok(compiled) => compiled,
            Err(faults) => return Ok(Applied::Faulty(faults)),
        };
        let changed = changed_configs(&state, &compiled.configs);
        let same_edges = changed.is_empty() && compiled.configs.len() == state.edges.len();
        if same_edges && state.fleet.as_ref() == Some(&compiled.fleet) {
            let revision = state.revision;
            return Ok(Applied::Unchanged { revision });
        }
        self.commit_revision(by, document, comment, &state, compiled, changed).await
    }

    /// 0: the newest.
    pub async fn document(&self, revision: u64) -> Result<Document, ServiceError> {
        let newest = self.state().revision;
        let wanted = if revision == 0 { newest } else { revision };
        if newest == 0 {
            return Err(ServiceError::FleetEmpty);
        }
        let record = manifest::read_revision(self.store.as_ref(), wanted)
            .await?
            .ok_or(ServiceError::RevisionUnknown(wanted))?;
        Ok(Document {
            revision: record.revision,
            bytes: blob::read(self.store.as_ref(), &record.document).await?,
            committed_unix_ms: record.committed_unix_ms,
            committed_by: record.committed_by,
            comment: record.comment,
        })
    }

    /// Gives the same configuration a new name above `seen`, if the edge's desired generation is
    /// still `old`. An agent that could not confirm gets this once per configuration.
    pub(super) async fn reissue(
        &self,
        edge: &str,
        old: Generation,
        seen: Generation,
        unconfirmed: bool,
    ) -> Result<(), ServiceError> {
        let _changing = self.change_lock.lock().await;
        let state = self.state();
        let Some(present) = state.edges.get(edge).filter(|e| e.desired.id == old) else {
            return Ok(());
        };
        if unconfirmed && present.desired.reissued {
            return Ok(());
        }
        let Some(id) =
            old.next(state.floor).and_then(|id| if id > seen { Some(id) } else { seen.next(id) })
        else {
            let message = format!("it has seen generation {seen}, there is none above it");
            let site = state.site_of(edge);
            self.events.publish(event("GENERATIONS_USED_UP", &site, edge, message));
            return Ok(());
        };
        let mut edges = state.edges.clone();
        let desired = Desired {
            id,
            reissued: present.desired.reissued || unconfirmed,
            ..present.desired.clone()
        };
        let renamed =
            EdgeState { desired, config: present.config.clone(), bytes: present.bytes.clone() };
        edges.insert(edge.to_owned(), Arc::new(renamed));
        let next = FleetState { edges, ..clone_of(&state) };
        let why = if unconfirmed { "not confirmed" } else { "behind the agent" };
        let detail = format!("{old} is now {id}: {why}");
        let audit = Record::new("controller", "GENERATION_REISSUED", edge, detail);
        self.commit(&state, next, BlobWriter::new(self.store.as_ref()), Vec::new(), audit).await
    }

    /// Records that the store was restored, and steps over every number that may have been given
    /// since its export.
    pub(super) async fn after_restore(&self, at: u64, reason: &str) -> Result<(), ServiceError> {
        let detail = format!("to the export of store revision {at}: {reason}");
        self.events.publish(event("STORE_RESTORED", "", "", detail.clone()));
        let audit = Record::new("controller", "STORE_RESTORED", "store", detail);
        let state = self.state();
        let told = Op::delete(RESTORED_KEY);
        if state.head == 0 {
            let txn = Txn { then: vec![told], ..Txn::default() };
            self.audit.commit(self.store.as_ref(), txn, audit).await?;
            return Ok(());
        }
        let given = state.edges.values().map(|e| e.desired.id);
        let newest = given.chain(state.retired.values().copied()).max();
        let mut floor = newest.unwrap_or_default().max(state.floor);
        floor.number = floor.number.saturating_add(RESTORE_STEP);
        let next = FleetState { floor, ..clone_of(&state) };
        self.commit(&state, next, BlobWriter::new(self.store.as_ref()), vec![told], audit).await
    }

    async fn parse(&self, document: Vec<u8>) -> Result<Result<Fleet, Vec<Fault>>, ServiceError> {
        let name = self.settings.fleet.clone();
        tokio::task::spawn_blocking(move || compiler::validate(&document, &name))
            .await
            .map_err(|_| ServiceError::Compile("reading it panicked".into()))
    }

    async fn compile(
        &self,
        fleet: Fleet,
        state: &FleetState,
    ) -> Result<Result<Compiled, Vec<Fault>>, ServiceError> {
        let allocations = state.allocations.clone();
        let controllers = self.settings.controllers.clone();
        tokio::task::spawn_blocking(move || compiler::run(fleet, allocations, &controllers))
            .await
            .map_err(|_| ServiceError::Compile("the compiler panicked".into()))?
    }

    async fn commit_revision(
        &self,
        by: &Principal,
        document: Vec<u8>,
        comment: String,
        state: &FleetState,
        compiled: Compiled,
        changed: BTreeMap<String, Vec<u8>>,
    ) -> Result<Applied, ServiceError> {
        let revision = state.revision + 1;
        let mut blobs = BlobWriter::new(self.store.as_ref());
        let record = RevisionRecord {
            revision,
            document: blobs.put(&document).await?,
            committed_unix_ms: now_unix_ms(),
            committed_by: by.actor(),
            comment,
        };
        let mut extra = vec![manifest::put_revision(&record)?];
        let forgotten = revision.saturating_sub(REVISIONS_KEPT);
        let forgotten = manifest::read_revision(self.store.as_ref(), forgotten).await?;
        extra.extend(forgotten.iter().map(|r| manifest::delete_revision(r.revision)));
        let (next, names) = next_state(state, compiled, changed, revision, &mut blobs).await?;
        let detail = format!("{} edges changed, {}", names.len(), record.document.sha256);
        let subject = format!("revision {revision}");
        let audit = Record::new(by.actor(), "REVISION_APPLIED", subject, detail);
        self.commit(state, next, blobs, extra, audit).await?;
        if let Some(forgotten) = forgotten {
            blob::remove(self.store.as_ref(), &[forgotten.document]).await?;
        }
        let message = format!("revision {revision}: {} edges change", names.len());
        self.events.publish(event("REVISION_APPLIED", "", "", message));
        Ok(Applied::Committed { revision, changed: names })
    }

    /// Writes the blobs, then moves the head, then shows the new state to everybody.
    async fn commit(
        &self,
        state: &FleetState,
        mut next: FleetState,
        mut blobs: BlobWriter<'_>,
        extra: Vec<Op>,
        audit: Record,
    ) -> Result<(), ServiceError> {
        let encoded = manifest::encode("manifest", &next.manifest())?;
        let manifest = blobs.put(&encoded).await?;
        blobs.finish().await?;
        let head = Head { revision: next.revision, manifest: manifest.clone() };
        let mut then = vec![manifest::put_head(&head)?];
        then.extend(extra);
        let txn = Txn { compare: vec![manifest::head_unmoved(state.head)], then, ..Txn::default() };
        let outcome = self.audit.commit(self.store.as_ref(), txn, audit).await?;
        if !outcome.succeeded {
            return Err(ServiceError::Contended);
        }
        next.head = outcome.revision;
        next.manifest_blob = Some(manifest);
        let outdated = outdated(state, &next);
        self.state.send_replace(Arc::new(next));
        if let Err(error) = blob::remove(self.store.as_ref(), &outdated).await {
            // They are removed at the next start.
            tracing::warn!(%error, "outdated chunks stay for now");
        }
        Ok(())
    }
}

/// Serialised configurations that are new or differ.
fn changed_configs(
    state: &FleetState,
    configs: &BTreeMap<String, EdgeConfig>,
) -> BTreeMap<String, Vec<u8>> {
    let encoded = configs.iter().map(|(name, config)| (name.clone(), config.encode_to_vec()));
    encoded
        .filter(|(name, bytes)| state.edges.get(name).is_none_or(|e| e.bytes != *bytes))
        .collect()
}

async fn next_state(
    state: &FleetState,
    mut compiled: Compiled,
    changed: BTreeMap<String, Vec<u8>>,
    revision: u64,
    blobs: &mut BlobWriter<'_>,
) -> Result<(FleetState, Vec<(String, Generation)>), ServiceError> {
    let mut edges = state.edges.clone();
    let mut retired = state.retired.clone();
    edges.retain(|name, edge| {
        let stays = compiled.configs.contains_key(name);
        if !stays {
            retired.insert(name.clone(), edge.desired.id);
        }
        stays
    });
    let mut names = Vec::new();
    for (name, bytes) in changed {
        let present = edges.get(&name).map(|e| e.desired.id);
        let last = present.or(retired.get(&name).copied()).unwrap_or_default();
        let id = last
            .next(state.floor)
            .ok_or_else(|| ServiceError::Compile(format!("{name} has no generation left")))?;
        let desired = Desired { id, revision, config: blobs.put(&bytes).await?, reissued: false };
        let config = compiled.configs.remove(&name).unwrap_or_default();
        let edge = EdgeState { desired, config, bytes };
        retired.remove(&name);
        edges.insert(name.clone(), Arc::new(edge));
        names.push((name, id));
    }
    let next = FleetState {
        head: state.head,
        manifest_blob: None,
        revision,
        floor: state.floor,
        fleet: Some(compiled.fleet),
        allocations: compiled.allocations,
        paths: paths_of(&edges),
        edges,
        retired,
    };
    Ok((next, names))
}

fn clone_of(state: &FleetState) -> FleetState {
    FleetState {
        head: state.head,
        manifest_blob: state.manifest_blob.clone(),
        revision: state.revision,
        floor: state.floor,
        fleet: state.fleet.clone(),
        allocations: state.allocations.clone(),
        edges: state.edges.clone(),
        retired: state.retired.clone(),
        paths: state.paths.clone(),
    }
}

/// Blobs that the old state names and the new one does not.
fn outdated(old: &FleetState, new: &FleetState) -> Vec<BlobRef> {
    let kept: BTreeSet<BlobRef> = new.named_blobs().into_iter().collect();
    let old = old.named_blobs().into_iter();
    old.filter(|blob| !kept.contains(blob)).collect()
}

/// SHA-256 of a configuration's bytes, as a generation carries it.
pub(super) fn config_sha256(bytes: &[u8]) -> Vec<u8> {
    secret::sha256(bytes).to_vec()
}
