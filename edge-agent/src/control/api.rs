//! What the engine and the controller link say to each other. Both directions are bounded.

use std::sync::Arc;

use hawser_edge_core::config::{EdgeState, Fault};
use hawser_edge_core::generation::{ApplyReason, GenerationId, GenerationState};
use hawser_proto::agent::v1 as wire;
use hawser_proto::revocation::RevocationList;
use hawser_telemetry::TraceContext;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::identity::Identity;
use super::outbox::Outbox;

/// Room for events that the engine has not taken yet. The link waits when it is full, so none is
/// lost; an engine that stands still stops new generations, not tunnels.
pub const CONTROL_EVENTS: usize = 64;

/// How the engine answers an order: what was applied, or every fault met.
pub type OrderReply = oneshot::Sender<Result<(), Vec<Fault>>>;

/// From the link to the engine, in order.
#[derive(Debug)]
pub enum ControlEvent {
    /// Make this generation true. At start the last good one comes at once, controller or not.
    ///
    /// After a reply with faults an offered generation is followed by [`ControlEvent::Revert`]: the
    /// engine need not undo anything by itself.
    ApplyGeneration(Order),
    /// Go back to this one, or, with `None`, tear everything down but what fails closed.
    Revert(RevertOrder),
    /// All runtime facts, merged: they replace those that came before.
    Facts(wire::Facts),
    Advice(wire::Advice),
    /// A newer signed list of certificates that are good no more; at start the one on disk.
    Revocations(Arc<RevocationList>),
    /// This edge has a new key and certificate, which is on disk.
    Renewed(Arc<Identity>),
    Connected(Connected),
    Disconnected,
}

/// A generation, decoded and checked: it is this edge's, and every reference in it holds.
#[derive(Debug)]
pub struct Order {
    pub id: GenerationId,
    pub reason: ApplyReason,
    pub state: Arc<EdgeState>,
    /// What was in force before, as far as peers may still key by it.
    pub former: Option<Arc<EdgeState>>,
    /// The push that brought it.
    pub trace: Option<TraceContext>,
    /// As received: a serialised `hawser.config.v1.EdgeConfig`.
    pub bytes: Arc<[u8]>,
    /// Due within [`super::APPLY_TIMEOUT`]; dropping it counts as a fault.
    pub reply: OrderReply,
}

/// A return to what was in force before.
#[derive(Debug)]
pub struct RevertOrder {
    pub to: Option<(GenerationId, Arc<EdgeState>)>,
    /// As in [`Order`].
    pub former: Option<Arc<EdgeState>>,
    pub reply: OrderReply,
}

/// A session with a controller is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// `host:port` as configured.
    pub controller: String,
    /// The interface that the connection is bound to; `None` before the first generation.
    pub uplink: Option<String>,
    pub controller_version: String,
    /// 0: the controller has no wish.
    pub telemetry_interval_ms: u32,
    /// How the controller sees this connection's source, `host:port`; may be empty.
    pub observed_address: String,
}

/// What the link is doing, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkStatus {
    pub connected: Option<Connected>,
    /// Why the last attempt or session ended; empty if none did.
    pub last_error: String,
    pub sessions: u64,
    pub failed_attempts: u64,
}

/// The engine's hold on the link. Nothing here blocks.
#[derive(Debug, Clone)]
pub struct ControlHandle {
    pub(super) outbox: Outbox,
    pub(super) uplinks: Arc<watch::Sender<Vec<String>>>,
    pub(super) generations: watch::Receiver<Arc<GenerationState>>,
    pub(super) status: watch::Receiver<LinkStatus>,
    pub(super) lists: mpsc::Sender<Vec<u8>>,
    pub(super) settled: Arc<watch::Sender<Option<GenerationId>>>,
    pub(super) stop: CancellationToken,
}

impl ControlHandle {
    /// The newest measurements; an older one that was not sent yet is replaced.
    pub fn telemetry(&self, telemetry: wire::Telemetry) {
        self.outbox.telemetry(telemetry);
    }

    /// Records a decision; it is sent until the controller acknowledges it. `sequence`, `edge` and
    /// `boot_id` are filled in here. Returns the sequence number.
    pub fn decision(&self, decision: wire::Decision) -> u64 {
        self.outbox.decision(decision)
    }

    /// Sent once, when there is a session.
    pub fn event(&self, event: wire::AgentEvent) {
        self.outbox.event(event);
    }

    /// What this edge learned about itself; sent now and at the start of every session.
    pub fn local_facts(&self, facts: wire::LocalFacts) {
        self.outbox.local_facts(facts);
    }

    /// Interfaces that connections to controllers may use, best first. Empty: whatever the
    /// kernel's routes say. A session over an interface that is no longer listed is replaced.
    pub fn set_uplinks(&self, interfaces: Vec<String>) {
        self.uplinks.send_if_modified(|now| {
            let changed = *now != interfaces;
            *now = interfaces;
            changed
        });
    }

    /// A revocation list that a peer has brought, as it was received. `false`: too many wait already.
    pub fn revocation_list(&self, list: Vec<u8>) -> bool {
        self.lists.try_send(list).is_ok()
    }

    /// All peers key by what this generation wants: what was before it need not be remembered any more.
    pub fn peers_settled(&self, id: GenerationId) {
        self.settled.send_replace(Some(id));
    }

    /// As persisted.
    pub fn generations(&self) -> Arc<GenerationState> {
        self.generations.borrow().clone()
    }

    pub fn link_status(&self) -> LinkStatus {
        self.status.borrow().clone()
    }

    /// Drops and sizes of the queues here, for telemetry.
    pub fn counters(&self) -> std::collections::BTreeMap<String, u64> {
        self.outbox.counters()
    }

    /// New at each start of the agent.
    pub fn boot_id(&self) -> &str {
        self.outbox.boot_id()
    }

    /// Ends the link; what is on disk stays.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}
