//! Pushing generations, and what the agent answers.

use std::time::Instant;

use hawser_controller_core::rollout::{Offer, Offered, offer};
use hawser_proto::agent::v1::controller_message::Message as ToAgent;
use hawser_proto::agent::v1::{self as agent, NackKind};
use hawser_telemetry::OpenSpan;

use super::{End, Session, edge_unknown};
use crate::clock::now_unix_ms;
use crate::service::commit::config_sha256;
use crate::service::generation::Generation;
use crate::service::index::LastNack;
use crate::service::state::FleetState;
use crate::service::{ServiceError, bounds};

/// NACKs with these codes mean that the number was given before: the configuration gets another.
const NUMBER_TAKEN: [&str; 2] = ["GENERATION_OTHER_CONTENT", "GENERATION_OLDER"];

impl Session<'_> {
    pub(super) async fn acked(&mut self, ack: agent::Ack) -> Result<(), End> {
        let id = ack.id.as_ref().map(Generation::from).unwrap_or_default();
        if self.sent != Some(id) {
            self.controller.counters.add("acks_unexpected", 1);
            return Ok(());
        }
        let nacked = self.controller.index.with(self.edge, |live| {
            live.note_seen(id);
            live.generations.applied = Some(id.into());
            live.last_nack.is_some()
        });
        self.controller.metrics.answered(true, self.sent_at.take());
        self.push.take().into_iter().for_each(OpenSpan::done);
        self.publish("GENERATION_ACKED", format!("generation {id}"));
        if nacked {
            let store = self.controller.store.as_ref();
            let cleared = self.controller.index.set_nack(store, self.edge, None);
            cleared.await.map_err(ServiceError::from)?;
        }
        Ok(())
    }

    pub(super) async fn nacked(&mut self, mut nack: agent::Nack) -> Result<(), End> {
        let id = nack.id.as_ref().map(Generation::from).unwrap_or_default();
        let kind = nack.kind();
        bounds::faults(&mut nack.faults);
        let faults = nack.faults;
        let state = self.controller.state();
        let desired = state.edges.get(self.edge).map(|e| e.desired.id);
        if desired != Some(id) && self.sent != Some(id) {
            self.controller.counters.add("nacks_unexpected", 1);
            return Ok(());
        }
        if self.sent == Some(id) {
            self.controller.metrics.answered(false, self.sent_at.take());
        }
        let stands = self.controller.index.with(self.edge, |live| {
            live.note_seen(id);
            live.note_refused(id, kind);
            if kind == NackKind::Unconfirmed {
                live.generations.applied = live.generations.confirmed;
            }
            live.applied()
        });
        let word = match kind {
            NackKind::Unconfirmed => "not confirmed",
            NackKind::Rejected | NackKind::Unspecified => "rejected",
        };
        let why: Vec<&str> = faults.iter().map(|f| f.code.as_str()).collect();
        let why = why.join(", ");
        if self.sent == Some(id)
            && let Some(push) = self.push.take()
        {
            push.end(Err(&why));
        }
        let message = format!("generation {id} {word}, {stands} stands: {why}");
        self.publish("GENERATION_NACKED", message);
        let taken = faults.iter().any(|f| NUMBER_TAKEN.contains(&f.code.as_str()));
        let last = LastNack { id, kind, faults };
        let store = self.controller.store.as_ref();
        let kept = self.controller.index.set_nack(store, self.edge, Some(last));
        kept.await.map_err(ServiceError::from)?;
        if taken {
            return self.reissue(id, false).await;
        }
        self.offer().await
    }

    /// Pushes the desired generation, unless the agent has it or has refused it.
    pub(super) async fn offer(&mut self) -> Result<(), End> {
        let state = self.controller.state();
        let Some(edge) = state.edges.get(self.edge) else {
            return Err(End::Refused(edge_unknown(self.edge)));
        };
        let id = edge.desired.id;
        let decided = self.controller.index.with(self.edge, |live| {
            let refusal = live.refusal_of(id);
            offer(Offered {
                desired: id,
                applied: Some(live.applied()),
                highest_seen: Some(live.highest_seen()),
                sent: self.sent == Some(id),
                rejected: matches!(refusal, Some(NackKind::Rejected | NackKind::Unspecified)),
                unconfirmed: refusal == Some(NackKind::Unconfirmed),
                staged: self.controller.is_on_trial(&state, self.edge),
                pushed: live.pushed == Some(id),
            })
        });
        match decided {
            Offer::Nothing => Ok(()),
            Offer::Rename { once } => self.reissue(id, once).await,
            Offer::Push => {
                self.controller.index.with(self.edge, |live| live.pushed = Some(id));
                (self.sent, self.sent_at) = (Some(id), Some(Instant::now()));
                let traceparent = self.trace_push(&state, edge.desired.revision, id);
                self.publish(
                    "GENERATION_PUSHED",
                    format!("generation {id} of revision {}", edge.desired.revision),
                );
                self.send(ToAgent::Generation(agent::Generation {
                    id: Some(id.into()),
                    revision: edge.desired.revision,
                    config: edge.bytes.clone(),
                    config_sha256: config_sha256(&edge.bytes),
                    traceparent,
                }))
                .await
            }
        }
    }

    /// Opens the push's span; what the agent gets to name its own by.
    fn trace_push(&mut self, state: &FleetState, revision: u64, id: Generation) -> String {
        let traces = &self.controller.traces;
        if !traces.are_collected() {
            return String::new();
        }
        let push = traces.open("generation.push", traces.of(revision));
        let push = push
            .attribute("hawser.site", state.site_of(self.edge))
            .attribute("hawser.edge", self.edge)
            .attribute("hawser.generation", id.to_string())
            .attribute("hawser.revision", revision.to_string());
        self.push.insert(push).context().to_string()
    }

    /// The new name comes back as a change of the fleet.
    async fn reissue(&mut self, id: Generation, once: bool) -> Result<(), End> {
        let now = now_unix_ms();
        let (seen, allowed) = self
            .controller
            .index
            .with(self.edge, |live| (live.highest_seen(), live.reissues.take(now)));
        if !allowed {
            self.controller.counters.add("reissues_rate_limited", 1);
            return Ok(());
        }
        let reissued = self.controller.reissue(self.edge, id, seen, once);
        match reissued.await {
            // The other change offers what it says.
            Ok(()) | Err(ServiceError::Contended) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
