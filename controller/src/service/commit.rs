//! Committing: what is decided becomes durable, then everybody sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hawser_controller_core::rollout::{Effect, Policy, Rollout};

use super::compiler::{Compiled, CompiledEdge};
use super::generation::Generation;
use super::manifest::{self, Desired, Head, Staged};
use super::state::{EdgeState, FleetState, own_part, paths_of, whole};
use super::{Controller, ServiceError};
use crate::audit::Record;
use crate::clock::now_unix_ms;
use crate::secret;
use crate::store::blob::{self, BlobRef, BlobWriter};
use crate::store::{Op, Store, Txn};

/// Edges with their new generations.
pub(super) type Named = Vec<(String, Generation)>;

impl Controller {
    /// Writes the blobs, then moves the head, then shows the new state to everybody.
    pub(super) async fn commit(
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

/// The fleet with everything changed at once.
pub(super) async fn next_state(
    state: &FleetState,
    compiled: Compiled,
    revision: u64,
    blobs: &mut BlobWriter<'_>,
) -> Result<(FleetState, Named), ServiceError> {
    let mut next = FleetState {
        manifest_blob: None,
        revision,
        fleet: Some(compiled.fleet),
        basis: Some(compiled.basis),
        allocations: compiled.allocations,
        ..state.clone()
    };
    let leaving: Vec<String> =
        next.edges.keys().filter(|name| !compiled.edges.contains(*name)).cloned().collect();
    remove(&mut next, &leaving);
    let mut names = Vec::new();
    for (name, edge) in compiled.changed {
        let blob = blobs.put(&edge.bytes).await?;
        let id = give(&mut next, &name, edge, blob)?;
        names.push((name, id));
    }
    next.paths = paths_of(&next.edges);
    Ok((next, names))
}

/// What a staged revision is made of.
pub(super) struct Plan<'a> {
    pub compiled: Compiled,
    pub revision: u64,
    pub policy: Policy,
    pub waves: Vec<Vec<String>>,
    pub sights: &'a BTreeMap<String, hawser_controller_core::rollout::Sight>,
}

/// The fleet with the first wave changed, and the rest waiting. New edges are there at once: nobody knows them yet.
pub(super) async fn staged_state(
    store: &dyn Store,
    state: &FleetState,
    plan: Plan<'_>,
    blobs: &mut BlobWriter<'_>,
) -> Result<(FleetState, Named), ServiceError> {
    let Plan { compiled, revision, policy, waves, sights } = plan;
    let mut next = FleetState {
        manifest_blob: None,
        revision,
        fleet: Some(compiled.fleet),
        basis: Some(compiled.basis),
        allocations: compiled.allocations,
        ..state.clone()
    };
    let leaving =
        next.edges.keys().filter(|name| !compiled.edges.contains(*name)).cloned().collect();
    let mut targets = BTreeMap::new();
    let mut names = Vec::new();
    for (name, edge) in compiled.changed {
        let blob = blobs.put(&edge.bytes).await?;
        if next.edges.contains_key(&name) {
            targets.insert(name, blob);
        } else {
            let id = give(&mut next, &name, edge, blob)?;
            names.push((name, id));
        }
    }
    blobs.flush().await?;
    let (machine, effects) = Rollout::new(policy, waves, sights, now_unix_ms());
    let from_revision = state.revision;
    next.rollout = Some(Arc::new(Staged { revision, from_revision, machine, targets, leaving }));
    for effect in effects {
        if let Effect::Release(edges) = effect {
            names.extend(release(store, &mut next, &edges).await?);
        }
    }
    next.paths = paths_of(&next.edges);
    Ok((next, names))
}

/// Gives these edges what waits for them.
pub(super) async fn release(
    store: &dyn Store,
    next: &mut FleetState,
    edges: &[String],
) -> Result<Named, ServiceError> {
    let Some(staged) = next.rollout.clone() else { return Ok(Vec::new()) };
    let mut staged = Arc::unwrap_or_clone(staged);
    let mut names = Vec::new();
    for edge in edges {
        let Some(target) = staged.targets.remove(edge) else { continue };
        let bytes = blob::read(store, &target).await?;
        let config = own_part(whole(edge, &bytes)?);
        let id = give(next, edge, CompiledEdge { config, bytes }, target)?;
        names.push((edge.clone(), id));
    }
    next.rollout = Some(Arc::new(staged));
    next.paths = paths_of(&next.edges);
    Ok(names)
}

/// A new generation above every one that the edge may know.
fn give(
    next: &mut FleetState,
    name: &str,
    CompiledEdge { config, bytes }: CompiledEdge,
    blob: BlobRef,
) -> Result<Generation, ServiceError> {
    let present = next.edges.get(name).map(|e| e.desired.id);
    let last = present.or(next.retired.get(name).copied()).unwrap_or_default();
    let id = last
        .next(next.floor)
        .ok_or_else(|| ServiceError::Compile(format!("{name} has no generation left")))?;
    let desired = Desired { id, revision: next.revision, config: blob, reissued: false };
    next.retired.remove(name);
    next.edges
        .insert(name.to_owned(), Arc::new(EdgeState { desired, config, bytes: bytes.into() }));
    Ok(id)
}

/// These edges are no more; their numbers are remembered.
pub(super) fn remove(next: &mut FleetState, leaving: &[String]) {
    for name in leaving {
        if let Some(edge) = next.edges.remove(name) {
            next.retired.insert(name.clone(), edge.desired.id);
        }
    }
    next.paths = paths_of(&next.edges);
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
