//! The state machine: offers, outcomes, exchanges and time go in, effects come out.

use std::sync::Arc;
use std::time::Duration;

use super::state::{
    Attempt, BootId, Generation, GenerationId, GenerationState, Provisional, RefusedKind,
};
use crate::config::Fault;
use crate::time::Micros;

/// An applied generation that no exchange confirmed for so long is given up.
pub const UNCONFIRMED_AFTER: Duration = Duration::from_secs(90);
/// A generation whose application ended in a crash this often is rejected.
pub const MAX_ATTEMPTS: u32 = 3;
/// Wait before the generation in force is applied again after it met faults; doubles up to
/// [`RETRY_MAX`].
pub const RETRY_FIRST: Duration = Duration::from_secs(5);
/// See [`RETRY_FIRST`].
pub const RETRY_MAX: Duration = Duration::from_secs(60);

/// What stands behind a generation of a higher epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochProof {
    /// Nothing: enough within an epoch, and for the first generation ever.
    Unsigned,
    /// The caller verified the CA's signature over the new epoch.
    Verified,
}

/// The answer to an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// It is being applied; the outcome is due.
    Apply,
    /// It is applied already.
    Already,
    /// Another one is being applied: offer it again afterwards.
    Busy,
    Refuse(NotOffered),
}

/// Why an offer is refused outright.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOffered {
    #[error("generation {offered} is older than {highest_seen}, which was seen already")]
    Older { offered: GenerationId, highest_seen: GenerationId },
    #[error("generation {0} was seen before with other content")]
    OtherContent(GenerationId),
    #[error("generation {offered} has a higher epoch than {highest_seen}, without a signature")]
    EpochUnsigned { offered: GenerationId, highest_seen: GenerationId },
    #[error("generation {0} was rejected before")]
    RejectedBefore(GenerationId),
    #[error("generation {0} was applied before and not confirmed")]
    UnconfirmedBefore(GenerationId),
    #[error("the agent stopped {MAX_ATTEMPTS} times while it applied generation {0}")]
    KeepsCrashing(GenerationId),
}

impl NotOffered {
    /// For the NACK.
    pub fn fault(&self) -> Fault {
        let (code, mend) = match self {
            NotOffered::Older { .. } => ("GENERATION_OLDER", "offer a newer generation"),
            NotOffered::OtherContent(_) => (
                "GENERATION_OTHER_CONTENT",
                "one number must not be used twice: was the controller restored from a backup?",
            ),
            NotOffered::EpochUnsigned { .. } => {
                ("EPOCH_UNSIGNED", "enrol the edge again, or have the new epoch signed by the CA")
            }
            NotOffered::RejectedBefore(_) => {
                ("GENERATION_REJECTED_BEFORE", "mend what it was rejected for, then apply anew")
            }
            NotOffered::UnconfirmedBefore(_) => {
                ("GENERATION_UNCONFIRMED_BEFORE", "offer it once more under a new number")
            }
            NotOffered::KeepsCrashing(_) => {
                ("GENERATION_CRASHES_AGENT", "read the agent's log; revert what this one changed")
            }
        };
        Fault {
            code,
            path: "generation".to_owned(),
            message: self.to_string(),
            mend: mend.to_owned(),
        }
    }
}

/// Why the effect [`Effect::Apply`] comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplyReason {
    /// The controller offered it.
    Offered,
    /// The agent started.
    Boot,
    /// It met faults at boot or at a revert and is tried again.
    Retry,
}

/// To be performed in order; `Persist` is durable before the next one starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Persist(Box<GenerationState>),
    /// Its end is reported with [`Generations::outcome`].
    Apply {
        generation: Arc<Generation>,
        reason: ApplyReason,
    },
    /// Go back to this one, or to nothing; its end is reported with [`Generations::outcome`].
    Revert {
        to: Option<Arc<Generation>>,
    },
    Ack(GenerationId),
    Nack {
        id: GenerationId,
        kind: RefusedKind,
        faults: Vec<Fault>,
    },
    /// Only a connection that is opened from now on can confirm what is applied.
    OpenFreshConnection,
    /// The generation in force could not be made true; it is tried again later.
    Report(Vec<Fault>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Idle,
    Applying(Arc<Generation>),
    /// Making `applied` true: at boot, after a refusal, at a retry.
    Enforcing,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Generations {
    state: GenerationState,
    boot: BootId,
    phase: Phase,
    /// When this process made `applied` true.
    in_force_since: Option<Micros>,
    retry: Option<(Micros, Duration)>,
}

impl Generations {
    /// Goes on from what was persisted, after a start of the agent at `now`.
    pub fn resume(state: GenerationState, boot: BootId, now: Micros) -> (Self, Vec<Effect>) {
        let mut machine =
            Generations { state, boot, phase: Phase::Idle, in_force_since: None, retry: None };
        let expired = machine.state.provisional.is_some_and(|p| {
            // The clock of another boot says nothing: the time may be long over.
            p.boot != boot || now.since(p.applied_at) >= UNCONFIRMED_AFTER
        });
        let mut effects = Vec::new();
        if expired {
            machine.give_up_unconfirmed(Vec::new(), &mut effects);
        } else {
            machine.enforce(ApplyReason::Boot, &mut effects);
        }
        (machine, effects)
    }

    pub fn state(&self) -> &GenerationState {
        &self.state
    }

    /// An application or a revert is under way: its outcome is due, and offers are not taken.
    pub fn is_busy(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// When [`Self::handle_timeout`] wants to be called. May be in the past.
    pub fn poll_deadline(&self) -> Option<Micros> {
        if self.is_busy() {
            return None;
        }
        let unconfirmed = self.state.provisional.map(|p| p.applied_at + UNCONFIRMED_AFTER);
        let retry = self.retry.map(|(at, _)| at);
        unconfirmed.into_iter().chain(retry).min()
    }

    /// The controller offers a generation.
    pub fn offer(&mut self, generation: Generation, proof: EpochProof) -> (Offer, Vec<Effect>) {
        if self.is_busy() {
            return (Offer::Busy, Vec::new());
        }
        let id = generation.id();
        match self.judge(&generation, proof) {
            Ok(true) => (Offer::Already, vec![Effect::Ack(id)]),
            Ok(false) => (Offer::Apply, self.begin(generation)),
            Err(reason) => (Offer::Refuse(reason), self.refuse(id, reason)),
        }
    }

    /// The end of the last [`Effect::Apply`] or [`Effect::Revert`].
    pub fn outcome(&mut self, now: Micros, outcome: Result<(), Vec<Fault>>) -> Vec<Effect> {
        let mut effects = Vec::new();
        match (std::mem::replace(&mut self.phase, Phase::Idle), outcome) {
            (Phase::Idle, _) => {}
            (Phase::Applying(generation), Ok(())) => {
                let id = generation.id();
                self.state.attempt = None;
                let old = self.state.applied.replace(generation);
                self.state.remember_former(old);
                self.state.provisional = Some(Provisional { boot: self.boot, applied_at: now });
                self.in_force_since = Some(now);
                self.retry = None;
                effects.extend([self.persist(), Effect::Ack(id), Effect::OpenFreshConnection]);
            }
            (Phase::Applying(generation), Err(faults)) => {
                let id = generation.id();
                self.state.attempt = None;
                self.state.refused.insert(id, RefusedKind::Rejected);
                effects.push(self.persist());
                effects.push(Effect::Nack { id, kind: RefusedKind::Rejected, faults });
                self.retry = None;
                self.revert(&mut effects);
            }
            (Phase::Enforcing, Ok(())) => {
                self.in_force_since = Some(now);
                self.retry = None;
                if self.state.provisional.is_some() {
                    effects.push(Effect::OpenFreshConnection);
                }
            }
            (Phase::Enforcing, Err(faults)) if self.state.provisional.is_some() => {
                self.give_up_unconfirmed(faults, &mut effects);
            }
            (Phase::Enforcing, Err(faults)) => {
                let wait = self.retry.map_or(RETRY_FIRST, |(_, wait)| (wait * 2).min(RETRY_MAX));
                self.retry = Some((now + wait, wait));
                effects.push(Effect::Report(faults));
            }
        }
        effects
    }

    /// A Welcome came on a connection that began to open at `opened_at`; `names` is the generation
    /// that it says it confirms.
    pub fn confirmed_by_exchange(
        &mut self,
        opened_at: Micros,
        names: Option<GenerationId>,
    ) -> Vec<Effect> {
        let opened_after = self.in_force_since.is_some_and(|since| opened_at > since);
        let same = names.is_none() || names == self.state.applied_id();
        if self.state.provisional.is_none() || !opened_after || !same {
            return Vec::new();
        }
        self.state.provisional = None;
        self.state.confirmed = self.state.applied.clone();
        vec![self.persist()]
    }

    /// All peers key by what this generation wants: what was before is forgotten.
    pub fn peers_settled(&mut self, id: GenerationId) -> Vec<Effect> {
        if self.is_busy() || self.state.applied_id() != Some(id) || self.state.former.is_none() {
            return Vec::new();
        }
        self.state.former = None;
        vec![self.persist()]
    }

    /// Time has come to `now`.
    pub fn handle_timeout(&mut self, now: Micros) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.is_busy() {
            return effects;
        }
        let provisional = self.state.provisional;
        if provisional.is_some_and(|p| now.since(p.applied_at) >= UNCONFIRMED_AFTER) {
            self.give_up_unconfirmed(Vec::new(), &mut effects);
        } else if self.retry.is_some_and(|(at, _)| now >= at) {
            self.enforce(ApplyReason::Retry, &mut effects);
        }
        effects
    }

    /// Whether it is applied already, or may be.
    fn judge(&self, offered: &Generation, proof: EpochProof) -> Result<bool, NotOffered> {
        let id = offered.id();
        let known = [&self.state.applied, &self.state.confirmed];
        let known = known.into_iter().flatten().map(|g| g.seen()).chain(self.state.highest_seen);
        if known.into_iter().any(|seen| seen.id == id && seen.digest != offered.digest()) {
            return Err(NotOffered::OtherContent(id));
        }
        if self.state.applied_id() == Some(id) {
            return Ok(true);
        }
        match self.state.refused.get(id) {
            Some(RefusedKind::Rejected) => return Err(NotOffered::RejectedBefore(id)),
            Some(RefusedKind::Unconfirmed) => return Err(NotOffered::UnconfirmedBefore(id)),
            None => {}
        }
        if let Some(highest_seen) = self.state.highest_seen.map(|seen| seen.id) {
            if id < highest_seen {
                return Err(NotOffered::Older { offered: id, highest_seen });
            }
            if id.epoch > highest_seen.epoch && proof == EpochProof::Unsigned {
                return Err(NotOffered::EpochUnsigned { offered: id, highest_seen });
            }
        }
        match self.state.attempt {
            Some(a) if a.id == id && a.count >= MAX_ATTEMPTS => Err(NotOffered::KeepsCrashing(id)),
            _ => Ok(false),
        }
    }

    fn begin(&mut self, generation: Generation) -> Vec<Effect> {
        let id = generation.id();
        let before = self.state.attempt.filter(|a| a.id == id).map_or(0, |a| a.count);
        self.state.highest_seen = Some(generation.seen());
        self.state.attempt = Some(Attempt { id, count: before + 1 });
        let generation = Arc::new(generation);
        self.phase = Phase::Applying(generation.clone());
        vec![self.persist(), Effect::Apply { generation, reason: ApplyReason::Offered }]
    }

    fn refuse(&mut self, id: GenerationId, reason: NotOffered) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let NotOffered::KeepsCrashing(_) = reason {
            self.state.attempt = None;
            self.state.refused.insert(id, RefusedKind::Rejected);
            effects.push(self.persist());
        }
        let kind = match reason {
            NotOffered::UnconfirmedBefore(_) => RefusedKind::Unconfirmed,
            _ => RefusedKind::Rejected,
        };
        effects.push(Effect::Nack { id, kind, faults: vec![reason.fault()] });
        effects
    }

    /// Back to `confirmed`. It is recorded before it is done: after a crash the agent boots into it.
    fn give_up_unconfirmed(&mut self, faults: Vec<Fault>, effects: &mut Vec<Effect>) {
        let given_up = std::mem::replace(&mut self.state.applied, self.state.confirmed.clone());
        self.state.provisional = None;
        // Peers may have got that far.
        self.state.remember_former(given_up.clone());
        if let Some(id) = given_up.map(|g| g.id()) {
            self.state.refused.insert(id, RefusedKind::Unconfirmed);
            effects.push(self.persist());
            effects.push(Effect::Nack { id, kind: RefusedKind::Unconfirmed, faults });
        }
        self.retry = None;
        self.revert(effects);
    }

    fn revert(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Enforcing;
        effects.push(Effect::Revert { to: self.state.applied.clone() });
    }

    fn enforce(&mut self, reason: ApplyReason, effects: &mut Vec<Effect>) {
        match self.state.applied.clone() {
            Some(generation) => {
                self.phase = Phase::Enforcing;
                effects.push(Effect::Apply { generation, reason });
            }
            None if reason == ApplyReason::Retry => self.revert(effects),
            None => {}
        }
    }

    fn persist(&self) -> Effect {
        Effect::Persist(Box::new(self.state.clone()))
    }
}
