//! The staged rollout: what the pure machine asks for is done here, and what it must know is gathered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hawser_controller_core::rollout::{Effect, Member, Rollout, Sight};
use hawser_proto::agent::v1::{NackKind, PathState};
use hawser_proto::operator::v1 as operator;

use super::commit::{self, next_state};
use super::events::event;
use super::index::EdgeLive;
use super::intent::{Expected, Proposal};
use super::manifest::{self, Staged};
use super::state::{EdgeState, FleetState};
use super::tokens::Principal;
use super::{Controller, ServiceError, compiler};
use crate::audit::Record;
use crate::clock::now_unix_ms;
use crate::store::blob::{self, BlobWriter};

const STEP_EVERY: Duration = Duration::from_secs(1);
const MAX_REASON_BYTES: usize = 256;

/// The machine of the rollout that runs, between two times that it is stored.
#[derive(Debug, Default)]
pub struct Staging(std::sync::Mutex<Option<(u64, Rollout)>>);

impl Staging {
    /// As far as it is known here, else as it was stored.
    fn machine(&self, staged: &Staged) -> Rollout {
        let kept = self.0.lock().unwrap_or_else(|e| e.into_inner());
        match kept.as_ref().filter(|(revision, _)| *revision == staged.revision) {
            Some((_, machine)) => machine.clone(),
            None => staged.machine.clone(),
        }
    }

    fn keep(&self, revision: u64, machine: Rollout) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = Some((revision, machine));
    }
}

impl Controller {
    /// Looks after the rollout that runs, until the controller stops.
    pub async fn run_rollouts(self: Arc<Self>) {
        let mut steps = tokio::time::interval(STEP_EVERY);
        steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = steps.tick() => {}
            }
            if let Err(error) = self.step_rollout().await {
                tracing::error!(%error, "the rollout can't go on for now");
            }
        }
    }

    async fn step_rollout(&self) -> Result<(), ServiceError> {
        if self.state().running_rollout().is_none() {
            return Ok(());
        }
        let _changing = self.change_lock.lock().await;
        let state = self.state();
        let Some(staged) = state.running_rollout() else { return Ok(()) };
        let mut machine = self.staging.machine(staged);
        let phase = machine.phase;
        let effects = machine.step(&self.sights(&state), now_unix_ms(), self.started_unix_ms);
        if effects.is_empty() && machine.phase == phase {
            self.staging.keep(staged.revision, machine);
            return Ok(());
        }
        self.go_on(&state, machine, effects, "controller".to_owned()).await
    }

    /// The operator is content with it.
    pub async fn confirm_rollout(&self, by: &Principal) -> Result<operator::Rollout, ServiceError> {
        let _changing = self.change_lock.lock().await;
        let state = self.state();
        let staged = state.running_rollout().ok_or(ServiceError::NoRollout)?;
        let mut machine = self.staging.machine(staged);
        let effects = machine.confirm();
        self.go_on(&state, machine, effects, by.actor()).await?;
        Ok(self.rollout())
    }

    /// The operator is not: everybody goes back.
    pub async fn abort_rollout(
        &self,
        by: &Principal,
        mut reason: String,
    ) -> Result<operator::Rollout, ServiceError> {
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
        if reason.is_empty() {
            "taken back by the operator".clone_into(&mut reason);
        }
        let _changing = self.change_lock.lock().await;
        let state = self.state();
        let staged = state.running_rollout().ok_or(ServiceError::NoRollout)?;
        let mut machine = self.staging.machine(staged);
        let effects = machine.abort(reason);
        self.go_on(&state, machine, effects, by.actor()).await?;
        Ok(self.rollout())
    }

    /// Stores the machine together with what it asked for.
    async fn go_on(
        &self,
        state: &FleetState,
        machine: Rollout,
        effects: Vec<Effect>,
        actor: String,
    ) -> Result<(), ServiceError> {
        let Some(staged) = state.rollout.as_deref() else { return Ok(()) };
        let revision = staged.revision;
        let phase = machine.phase.name();
        let staged = Staged { machine: machine.clone(), ..staged.clone() };
        let mut next = FleetState { rollout: Some(Arc::new(staged)), ..state.clone() };
        let mut detail = format!("wave {} of {}: {phase}", machine.wave + 1, machine.waves);
        for effect in effects {
            match effect {
                Effect::Release(edges) => {
                    let named = commit::release(self.store.as_ref(), &mut next, &edges).await?;
                    detail.push_str(&format!(", {} edges get it", named.len()));
                }
                Effect::Finish => finish(&mut next),
                Effect::RollBack { reason } => {
                    self.roll_back(state, next, actor, &reason).await?;
                    self.staging.keep(revision, machine);
                    return Ok(());
                }
            }
        }
        let subject = format!("revision {revision}");
        let audit = Record::new(actor, "ROLLOUT_WENT_ON", subject.clone(), detail.clone());
        let blobs = BlobWriter::new(self.store.as_ref());
        self.commit(state, next, blobs, Vec::new(), audit).await?;
        self.staging.keep(revision, machine);
        self.events.publish(event("ROLLOUT_WENT_ON", "", "", format!("{subject}, {detail}")));
        Ok(())
    }

    /// A new revision with the document of the one before; edges that have nothing new yet are left alone.
    async fn roll_back(
        &self,
        state: &FleetState,
        with_machine: FleetState,
        actor: String,
        reason: &str,
    ) -> Result<(), ServiceError> {
        let Some(staged) = with_machine.rollout.as_deref() else { return Ok(()) };
        let from = staged.from_revision;
        let record = manifest::read_revision(self.store.as_ref(), from)
            .await?
            .ok_or(ServiceError::RevisionUnknown(from))?;
        let document = blob::read(self.store.as_ref(), &record.document).await?;
        let faulty = |_| ServiceError::RevisionUnreadable(from);
        let fleet = self.parse_again(document.clone()).await?.map_err(faulty)?;
        let compiled = self.compile(fleet, state).await?.map_err(faulty)?;
        let revision = state.revision + 1;
        let comment = format!("revision {} is taken back: {reason}", staged.revision);
        let proposal = Proposal {
            document,
            comment: comment.clone(),
            expected: Expected::Any,
            policy: None,
            trace: None,
        };
        let mut blobs = BlobWriter::new(self.store.as_ref());
        let (record, mut extra, forgotten) =
            self.new_revision(revision, actor.clone(), &proposal, &mut blobs).await?;
        let (mut next, names) = next_state(state, compiled, revision, &mut blobs).await?;
        let ended = Staged { targets: BTreeMap::new(), leaving: Vec::new(), ..staged.clone() };
        next.rollout = Some(Arc::new(ended));
        extra.push(manifest::put_revision(&record)?);
        let detail = format!("{} edges go back: {reason}", names.len());
        let subject = format!("revision {revision}");
        let audit = Record::new(actor, "ROLLOUT_ROLLED_BACK", subject, detail);
        self.commit(state, next, blobs, extra, audit).await?;
        if let Some(forgotten) = forgotten {
            blob::remove(self.store.as_ref(), &[forgotten.document]).await?;
        }
        self.events.publish(event("ROLLOUT_ROLLED_BACK", "", "", comment));
        Ok(())
    }

    /// The edges that change, for the waves.
    pub(super) fn members<'a>(
        &self,
        state: &FleetState,
        changed: impl Iterator<Item = &'a String>,
    ) -> Vec<Member> {
        let roles = state.fleet.as_ref().map(|f| compiler::roles(f, &state.allocations));
        let roles = roles.unwrap_or_default();
        let member = |edge: &String| {
            let site = state.edges.get(edge)?.config.site.clone();
            Some(Member {
                edge: edge.clone(),
                hub: roles.get(&site).copied() == Some("hub"),
                connected: self.index.with(edge, |live| live.connected()),
                site,
            })
        };
        changed.filter_map(member).collect()
    }

    /// What is seen of every edge now.
    pub(super) fn sights(&self, state: &FleetState) -> BTreeMap<String, Sight> {
        let oldest = self.oldest_fresh();
        self.index.with_all(|live| {
            let edges = state.edges.iter();
            edges
                .filter_map(|(name, edge)| {
                    Some((name.clone(), sight(edge, live.get(name)?, oldest)))
                })
                .collect()
        })
    }

    /// The rollout that runs, or the one that ran last.
    pub fn rollout(&self) -> operator::Rollout {
        let state = self.state();
        let Some(staged) = &state.rollout else { return operator::Rollout::default() };
        let machine = self.staging.machine(staged);
        let edges = machine.edges.iter().map(|(edge, progress)| operator::RolloutEdge {
            site: state.site_of(edge),
            edge: edge.clone(),
            wave: u32::try_from(progress.wave + 1).unwrap_or(u32::MAX),
            state: progress.standing.name().to_owned(),
        });
        operator::Rollout {
            revision: staged.revision,
            from_revision: staged.from_revision,
            phase: machine.phase.name().to_owned(),
            wave: u32::try_from(machine.wave + 1).unwrap_or(u32::MAX),
            waves: u32::try_from(machine.waves).unwrap_or(u32::MAX),
            reason: machine.reason.clone().unwrap_or_default(),
            until_unix_ms: machine.until_ms(self.started_unix_ms).unwrap_or(0),
            edges: edges.collect(),
        }
    }

    /// The edge has what a running rollout gave it.
    pub(super) fn is_on_trial(&self, state: &FleetState, edge: &str) -> bool {
        state.running_rollout().is_some_and(|staged| staged.machine.has_released(edge))
    }
}

/// Nothing waits any more.
fn finish(next: &mut FleetState) {
    let Some(staged) = next.rollout.take() else { return };
    let mut staged = Arc::unwrap_or_clone(staged);
    staged.targets.clear();
    let leaving = std::mem::take(&mut staged.leaving);
    commit::remove(next, &leaving);
    next.rollout = Some(Arc::new(staged));
}

fn sight(edge: &EdgeState, live: &EdgeLive, oldest_fresh: u64) -> Sight {
    let desired = edge.desired.id;
    let refusal = live.refusal_of(desired);
    let confirmed = live.generations.confirmed.as_ref().map(super::Generation::from);
    let mut sight = Sight {
        connected: live.connected(),
        confirmed: confirmed == Some(desired) && live.applied() == desired,
        rejected: matches!(refusal, Some(NackKind::Rejected | NackKind::Unspecified)),
        reverted: refusal == Some(NackKind::Unconfirmed) && live.pushed == Some(desired),
        ..Sight::default()
    };
    for tunnel in &edge.config.tunnels {
        for path in &tunnel.paths {
            sight.paths.insert(path.id);
            let sample = live.samples.get(&path.id);
            let Some(sample) = sample.filter(|s| s.received_unix_ms >= oldest_fresh) else {
                continue;
            };
            sight.fresh = true;
            if sample.sample.state() == PathState::Up {
                sight.paths_up.insert(path.id);
            }
            for verdict in &sample.sample.verdicts {
                let key = (tunnel.id, verdict.sla_class.clone());
                if verdict.meets && sample.sample.state() == PathState::Up {
                    sight.slas_met.insert(key.clone());
                }
                sight.slas.insert(key);
            }
        }
    }
    sight.fresh |= sight.connected && sight.paths.is_empty();
    sight
}
