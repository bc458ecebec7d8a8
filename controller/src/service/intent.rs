//! What the operator wants: checking, committing and reading documents.

use std::collections::BTreeSet;
use std::sync::Arc;

use hawser_controller_core::rollout::{Policy, waves};
use hawser_controller_core::{Fleet, capability};
use hawser_proto::agent::v1::Fault;
use hawser_telemetry::TraceContext;

use super::commit::{Named, Plan, next_state, staged_state};
use super::compiler::{self, Compiled, Standing};
use super::events::event;
use super::generation::Generation;
use super::manifest::{self, Desired, REVISIONS_KEPT, RevisionRecord};
use super::state::{EdgeState, FleetState};
use super::tokens::Principal;
use super::{Controller, ServiceError};
use crate::audit::Record;
use crate::clock::now_unix_ms;
use crate::store::blob::{self, BlobWriter};
use crate::store::{Op, RESTORED_KEY, Txn};

pub(super) const MAX_COMMENT_BYTES: usize = 4_096;
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
        /// Edges whose generation changed, sorted; of a staged revision those of the first wave.
        changed: Named,
    },
}

/// Where the fleet must stand for a change to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Any,
    /// There is no revision yet.
    None,
    Revision(u64),
}

impl Expected {
    fn check(self, actual: u64) -> Result<(), ServiceError> {
        let expected = match self {
            Expected::Any => return Ok(()),
            Expected::None => 0,
            Expected::Revision(revision) => revision,
        };
        if expected == actual {
            return Ok(());
        }
        Err(ServiceError::RevisionConflict { expected, actual })
    }
}

/// A document that is to be the fleet's.
#[derive(Debug, Clone)]
pub struct Proposal {
    pub document: Vec<u8>,
    pub comment: String,
    pub expected: Expected,
    /// None: to every edge at once.
    pub policy: Option<Policy>,
    /// What its caller does it for.
    pub trace: Option<TraceContext>,
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
    /// changed: all of it or nothing, durable when this returns.
    pub async fn apply(&self, by: &Principal, proposal: Proposal) -> Result<Applied, ServiceError> {
        self.propose(by.actor(), "REVISION_APPLIED", proposal).await
    }

    pub(super) async fn propose(
        &self,
        actor: String,
        action: &str,
        proposal: Proposal,
    ) -> Result<Applied, ServiceError> {
        let whole = self.traces.open("fleet.apply", proposal.trace);
        let proposal = Proposal { trace: Some(whole.context()), ..proposal };
        let applied = self.propose_traced(actor, action, proposal).await;
        let outcome = match &applied {
            Ok(Applied::Faulty(faults)) => Err(format!("{} faults", faults.len())),
            Ok(Applied::Unchanged { .. } | Applied::Committed { .. }) => Ok(()),
            Err(error) => Err(error.code().to_owned()),
        };
        match &applied {
            Ok(Applied::Committed { revision, .. }) => {
                whole.attribute("hawser.revision", revision.to_string()).end(outcome);
            }
            _ => whole.end(outcome),
        }
        applied
    }

    /// `proposal.trace`: of the span around this.
    async fn propose_traced(
        &self,
        actor: String,
        action: &str,
        proposal: Proposal,
    ) -> Result<Applied, ServiceError> {
        check_comment(&proposal.comment)?;
        let fleet = match self.parse(proposal.document.clone()).await? {
            Ok(fleet) => fleet,
            Err(faults) => return Ok(Applied::Faulty(faults)),
        };
        let _changing = self.change_lock.lock().await;
        let state = self.state();
        proposal.expected.check(state.revision)?;
        refuse_while_staged(&state)?;
        let compiling = self.traces.open("fleet.compile", proposal.trace);
        let compiled = match self.compile(fleet, &state).await? {
            Ok(compiled) => compiled,
            Err(faults) => return Ok(Applied::Faulty(faults)),
        };
        compiling.done();
        if says_the_same(&state, &compiled) {
            return Ok(Applied::Unchanged { revision: state.revision });
        }
        self.commit_revision(actor, action, proposal, &state, compiled).await
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
    /// still `old`; with `once` not if it was renamed so before.
    pub(super) async fn reissue(
        &self,
        edge: &str,
        old: Generation,
        seen: Generation,
        once: bool,
    ) -> Result<(), ServiceError> {
        let _changing = self.change_lock.lock().await;
        let state = self.state();
        let Some(present) = state.edges.get(edge).filter(|e| e.desired.id == old) else {
            return Ok(());
        };
        if once && present.desired.reissued {
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
        let desired =
            Desired { id, reissued: present.desired.reissued || once, ..present.desired.clone() };
        let renamed =
            EdgeState { desired, config: present.config.clone(), bytes: present.bytes.clone() };
        edges.insert(edge.to_owned(), Arc::new(renamed));
        let next = FleetState { edges, ..(*state).clone() };
        let why =
            if once { "not confirmed" } else { "behind the agent, or the controller was away" };
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
        let next = FleetState { floor, ..(*state).clone() };
        self.commit(&state, next, BlobWriter::new(self.store.as_ref()), vec![told], audit).await
    }

    /// Of a document that is to be applied: also what edges said that they can't do is a fault of it.
    pub(super) async fn parse(
        &self,
        document: Vec<u8>,
    ) -> Result<Result<Fleet, Vec<Fault>>, ServiceError> {
        let name = self.settings.fleet.clone();
        let (state, features) = (self.state(), self.index.features());
        let check = move || -> Result<Fleet, Vec<Fault>> {
            let fleet = compiler::validate(&document, &name)?;
            let lacking = capability::lacking(&fleet, state.fleet.as_ref(), &features);
            if lacking.is_empty() {
                Ok(fleet)
            } else {
                Err(lacking.into_iter().map(Fault::from).collect())
            }
        };
        tokio::task::spawn_blocking(check)
            .await
            .map_err(|_| ServiceError::Compile("reading it panicked".into()))
    }

    /// Of a document that was applied before: going back to it is refused for nothing that it asks.
    pub(super) async fn parse_again(
        &self,
        document: Vec<u8>,
    ) -> Result<Result<Fleet, Vec<Fault>>, ServiceError> {
        let name = self.settings.fleet.clone();
        tokio::task::spawn_blocking(move || compiler::read(&document, &name))
            .await
            .map_err(|_| ServiceError::Compile("reading it panicked".into()))
    }

    pub(super) async fn compile(
        &self,
        fleet: Fleet,
        state: &FleetState,
    ) -> Result<Result<Compiled, Vec<Fault>>, ServiceError> {
        let allocations = state.allocations.clone();
        let controllers = self.settings.controllers.clone();
        let drained: BTreeSet<String> = state.drains.keys().cloned().collect();
        // While a rollout runs some edges have what they had before it.
        let basis = state.basis.clone().filter(|_| state.running_rollout().is_none());
        let standing = Standing { edges: state.edges.clone(), basis };
        let compile = move || compiler::run(fleet, allocations, &controllers, &drained, &standing);
        tokio::task::spawn_blocking(compile)
            .await
            .map_err(|_| ServiceError::Compile("the compiler panicked".into()))?
    }

    async fn commit_revision(
        &self,
        actor: String,
        action: &str,
        proposal: Proposal,
        state: &FleetState,
        compiled: Compiled,
    ) -> Result<Applied, ServiceError> {
        let revision = state.revision + 1;
        let mut blobs = BlobWriter::new(self.store.as_ref());
        let (record, mut extra, forgotten) =
            self.new_revision(revision, actor.clone(), &proposal, &mut blobs).await?;
        let members = self.members(state, compiled.changed.keys());
        let sights = self.sights(state);
        let (mut next, names) = match proposal.policy.filter(|_| !members.is_empty()) {
            None => next_state(state, compiled, revision, &mut blobs).await?,
            Some(policy) => {
                let waves = waves(&members, &policy);
                let sights = &sights;
                let plan = Plan { compiled, revision, policy, waves, sights };
                staged_state(self.store.as_ref(), state, plan, &mut blobs).await?
            }
        };
        forget_lost_drains(&mut next);
        let staged = next.running_rollout().map(|staged| staged.machine.edges.len());
        let mut detail = format!("{} edges changed, {}", names.len(), record.document.sha256);
        if let Some(edges) = staged {
            detail.push_str(&format!(", staged over {edges} edges"));
        }
        let audit = Record::new(actor, action, format!("revision {revision}"), detail);
        extra.push(manifest::put_revision(&record)?);
        // Before anybody sees the revision: sessions push it at once.
        if let Some(trace) = proposal.trace {
            self.traces.began(revision, trace);
        }
        let committing = self.traces.open("store.commit", proposal.trace);
        self.commit(state, next, blobs, extra, audit).await?;
        committing.done();
        if let Some(forgotten) = forgotten {
            blob::remove(self.store.as_ref(), &[forgotten.document]).await?;
        }
        let message = match staged {
            None => format!("revision {revision}: {} edges change", names.len()),
            Some(edges) => {
                format!("revision {revision}: {} of {edges} edges change first", names.len())
            }
        };
        self.events.publish(event(action, "", "", message));
        Ok(Applied::Committed { revision, changed: names })
    }

    /// The record of a new revision, and what makes room for it.
    pub(super) async fn new_revision(
        &self,
        revision: u64,
        actor: String,
        proposal: &Proposal,
        blobs: &mut BlobWriter<'_>,
    ) -> Result<(RevisionRecord, Vec<Op>, Option<RevisionRecord>), ServiceError> {
        let record = RevisionRecord {
            revision,
            document: blobs.put(&proposal.document).await?,
            committed_unix_ms: now_unix_ms(),
            committed_by: actor,
            comment: proposal.comment.clone(),
        };
        let forgotten = revision.saturating_sub(REVISIONS_KEPT);
        let forgotten = manifest::read_revision(self.store.as_ref(), forgotten).await?;
        let extra = forgotten.iter().map(|r| manifest::delete_revision(r.revision)).collect();
        Ok((record, extra, forgotten))
    }
}

pub(super) fn check_comment(comment: &str) -> Result<(), ServiceError> {
    if comment.len() <= MAX_COMMENT_BYTES {
        return Ok(());
    }
    Err(ServiceError::Argument {
        field: "comment",
        problem: format!("is longer than {MAX_COMMENT_BYTES} bytes"),
    })
}

/// One change at a time: what a rollout began must end first.
pub(super) fn refuse_while_staged(state: &FleetState) -> Result<(), ServiceError> {
    match state.running_rollout() {
        Some(staged) => Err(ServiceError::RolloutRuns(staged.revision)),
        None => Ok(()),
    }
}

/// Neither the meaning nor any edge's configuration differs.
pub(super) fn says_the_same(state: &FleetState, compiled: &Compiled) -> bool {
    state.fleet.as_ref() == Some(&compiled.fleet)
        && compiled.edges.len() == state.edges.len()
        && compiled.changed.is_empty()
}

/// What is no more in the fleet need not be led away from.
fn forget_lost_drains(next: &mut FleetState) {
    if let Some(fleet) = &next.fleet {
        next.drains.retain(|target, _| compiler::has_target(fleet, target));
    }
}
