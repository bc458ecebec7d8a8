//! Performs what the generation machine asks for, in its order.

use std::sync::Arc;

use hawser_edge_core::config::{EdgeState, Fault, decode};
use hawser_edge_core::generation::{ApplyReason, Effect, Generation, GenerationId, RefusedKind};
use hawser_proto::agent::v1 as wire;
use hawser_proto::agent::v1::agent_message::Message as Up;
use hawser_proto::config::v1::EdgeConfig;
use prost::Message as _;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::supervisor::{Due, Supervisor};
use crate::control::api::{ControlEvent, Order, OrderReply, RevertOrder};
use crate::control::identity::Identity;
use crate::control::{APPLY_TIMEOUT, clock, events};

impl Supervisor {
    /// Performs effects until none is left; those that must wait for the disk are held back.
    pub(super) async fn perform(&mut self) {
        loop {
            self.offer_parked();
            let Some(effect) = self.parts.effects.pop_front() else { return };
            if self.unsaved.is_some() && needs_durable_state(&effect) {
                self.held.push_back(effect);
            } else {
                self.perform_one(effect).await;
            }
        }
    }

    async fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(state) => {
                self.unsaved = Some(state);
                self.save().await;
            }
            Effect::Apply { generation, reason } => self.apply(&generation, reason).await,
            Effect::Revert { to } => {
                // What waited to be told of the one that is given up is no longer true.
                self.held.clear();
                self.revert(to.as_deref()).await;
            }
            Effect::Ack(id) => {
                self.event("GENERATION_APPLIED", &id.to_string(), "applied");
                self.parts.outbox.answer(Up::Ack(wire::Ack { id: Some(id.to_proto()) }));
            }
            Effect::Nack { id, kind, faults } => {
                let code = match kind {
                    RefusedKind::Rejected => "GENERATION_REJECTED",
                    RefusedKind::Unconfirmed => "GENERATION_REVERTED",
                };
                tracing::warn!(code, generation = %id, ?faults, "generation refused");
                self.event(code, &id.to_string(), events::summary(&faults));
                self.nack(id, kind.to_proto(), faults);
            }
            Effect::OpenFreshConnection => self.open_fresh(),
            Effect::Report(faults) => {
                tracing::warn!(code = "GENERATION_FAULTS", ?faults, "not all of it is in force");
                let subject = self.parts.machine.state().applied_id();
                let subject = subject.map_or_else(String::new, |id| id.to_string());
                self.event("GENERATION_FAULTS", &subject, events::summary(&faults));
            }
        }
    }

    async fn apply(&mut self, generation: &Generation, reason: ApplyReason) {
        match understand(generation, &self.parts.identity) {
            Err(faults) => self.fail(faults),
            Ok(state) => {
                let reply = self.expect_answer();
                let order = Order {
                    id: generation.id(),
                    reason,
                    trace: self
                        .traced
                        .filter(|(id, _)| *id == generation.id())
                        .map(|(_, trace)| trace),
                    state: Arc::new(state),
                    former: self.former(),
                    bytes: generation.bytes().into(),
                    reply,
                };
                self.tell(ControlEvent::ApplyGeneration(order)).await;
            }
        }
    }

    async fn revert(&mut self, to: Option<&Generation>) {
        let to = match to.map(|g| (g.id(), understand(g, &self.parts.identity))) {
            None => None,
            Some((id, Ok(state))) => Some((id, Arc::new(state))),
            Some((_, Err(faults))) => return self.fail(faults),
        };
        let (former, reply) = (self.former(), self.expect_answer());
        self.tell(ControlEvent::Revert(RevertOrder { to, former, reply })).await;
    }

    /// One that can't be understood any more is not kept in force, and nothing depends on it.
    fn former(&self) -> Option<Arc<EdgeState>> {
        let former = self.parts.machine.state().former.as_ref()?;
        understand(former, &self.parts.identity).ok().map(Arc::new)
    }

    fn fail(&mut self, faults: Vec<Fault>) {
        let effects = self.parts.machine.outcome(clock::since_boot(), Err(faults));
        self.parts.effects.extend(effects);
    }

    fn expect_answer(&mut self) -> OrderReply {
        let (tx, reply) = oneshot::channel();
        self.due = Some(Due { reply, until: Instant::now() + APPLY_TIMEOUT });
        tx
    }

    /// Controllers of the generation in force; empty without one.
    pub(super) fn applied_controllers(&self) -> Vec<String> {
        let applied = self.parts.machine.state().applied.as_ref();
        let config = applied.and_then(|g| EdgeConfig::decode(g.bytes()).ok());
        config.map_or_else(Vec::new, |config| config.controllers)
    }
}

/// What would break a promise if the agent crashed after it with the old state on disk. A return
/// to what was confirmed is always safe, so a full disk does not hold it up.
fn needs_durable_state(effect: &Effect) -> bool {
    match effect {
        Effect::Ack(_) | Effect::OpenFreshConnection => true,
        Effect::Apply { reason, .. } => *reason == ApplyReason::Offered,
        Effect::Persist(_) | Effect::Revert { .. } | Effect::Nack { .. } | Effect::Report(_) => {
            false
        }
    }
}

/// Decodes a generation, and sees that it is for this edge.
fn understand(generation: &Generation, identity: &Identity) -> Result<EdgeState, Vec<Fault>> {
    let id: GenerationId = generation.id();
    let config =
        EdgeConfig::decode(generation.bytes()).map_err(|_| vec![events::unreadable(id)])?;
    if config.fleet != identity.fleet() || config.edge != identity.edge() {
        return Err(vec![events::other_edge(id, &config.fleet, &config.edge)]);
    }
    decode(&config)
}
