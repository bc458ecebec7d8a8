//! Which session there is: opening, replacing, losing it.

use std::time::Duration;

use hawser_edge_core::generation::GenerationId;
use hawser_edge_core::time::Micros;
use hawser_proto::agent::v1 as wire;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::session::{Session, SessionEnd, SessionEvent};
use super::supervisor::{Supervisor, lock};
use crate::control::api::{Connected, ControlEvent};
use crate::control::backoff::{self, Rotation};
use crate::control::clock;

/// Protocol version in Hello.
const PROTOCOL: (u32, u32) = (1, 0);
/// A session that lived so long was a good one: the next attempt comes soon.
const GOOD_SESSION: Duration = Duration::from_secs(5);

/// A connection that is being opened or is in use.
pub(super) struct Live {
    id: u64,
    opened_at: Micros,
    since: Instant,
    pub(super) controller: String,
    uplink: Option<String>,
    go: CancellationToken,
    pub(super) stop: CancellationToken,
}

impl Supervisor {
    fn controllers(&self) -> Vec<String> {
        let mut controllers = self.applied_controllers();
        for fallback in self.parts.identity.controllers() {
            if !controllers.contains(fallback) {
                controllers.push(fallback.clone());
            }
        }
        controllers
    }

    pub(super) fn dial_wanted(&self) -> bool {
        self.pending.is_none() && (self.active.is_none() || self.want_fresh)
    }

    pub(super) fn dial_if_due(&mut self) {
        if !self.dial_wanted() || Instant::now() < self.next_attempt_at {
            return;
        }
        let controllers = self.controllers();
        let uplinks = self.parts.uplinks.borrow().clone();
        let Some((controller, uplink)) = self.rotation.pick(&controllers, &uplinks) else {
            self.next_attempt_at = Instant::now() + backoff::LONGEST;
            return;
        };
        self.next_id += 1;
        let live = Live {
            id: self.next_id,
            opened_at: clock::since_boot(),
            since: Instant::now(),
            controller: controller.to_owned(),
            uplink: uplink.map(str::to_owned),
            go: CancellationToken::new(),
            stop: CancellationToken::new(),
        };
        let session = Session {
            id: live.id,
            controller: live.controller.clone(),
            uplink: live.uplink.clone(),
            tls: self.parts.tls.clone(),
            hello: self.hello(),
            outbox: self.parts.outbox.clone(),
            events: self.session_tx.clone(),
            go: live.go.clone(),
            stop: live.stop.clone(),
        };
        tracing::debug!(controller, uplink, "dialling");
        tokio::spawn(session.run());
        self.pending = Some(live);
    }

    fn hello(&self) -> wire::Hello {
        wire::Hello {
            protocol_major: PROTOCOL.0,
            protocol_minor: PROTOCOL.1,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            fleet: self.parts.identity.fleet().to_owned(),
            edge: self.parts.identity.edge().to_owned(),
            // What is durable: that is what a controller may rely on.
            generations: Some(self.parts.generations.borrow().to_proto()),
            facts_version: lock(&self.parts.facts).version(),
            features: (self.parts.abilities)(),
            boot_id: self.parts.outbox.boot_id().to_owned(),
            revocations: self.list_number(),
        }
    }

    pub(super) async fn on_session(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Opened { id, welcome } => {
                if self.pending.as_ref().is_some_and(|p| p.id == id) {
                    self.on_opened(welcome).await;
                }
            }
            SessionEvent::Message { id, message } => {
                if self.active.as_ref().is_some_and(|a| a.id == id) {
                    self.on_message(message).await;
                }
            }
            SessionEvent::Ended { id, end } => {
                if self.pending.as_ref().is_some_and(|p| p.id == id) {
                    self.pending = None;
                    self.on_failure(&end).await;
                } else if self.active.as_ref().is_some_and(|a| a.id == id) {
                    self.on_ended(&end).await;
                }
            }
        }
    }

    async fn on_opened(&mut self, welcome: wire::Welcome) {
        let Some(mut live) = self.pending.take() else { return };
        if let Some(old) = self.active.take() {
            old.stop.cancel();
        }
        live.since = Instant::now();
        self.want_fresh = false;
        self.untold_end = false;
        let connected = Connected {
            controller: live.controller.clone(),
            uplink: live.uplink.clone(),
            controller_version: welcome.controller_version.clone(),
            telemetry_interval_ms: welcome.telemetry_interval_ms,
            observed_address: welcome.observed_address.clone(),
        };
        tracing::info!(controller = live.controller, uplink = live.uplink, "session opened");
        self.parts.status.send_modify(|s| {
            s.connected = Some(connected.clone());
            s.sessions += 1;
        });
        let names = welcome.confirmed.as_ref().and_then(GenerationId::from_proto);
        let effects = self.parts.machine.confirmed_by_exchange(live.opened_at, names);
        self.parts.effects.extend(effects);
        self.parts.outbox.new_session();
        if let Some(held) = &welcome.decisions_held {
            self.parts.outbox.decisions_held(held);
        }
        self.bring_list(welcome.revocations);
        self.renewal.new_session();
        live.go.cancel();
        self.active = Some(live);
        self.tell(ControlEvent::Connected(connected)).await;
    }

    /// An attempt came to nothing.
    async fn on_failure(&mut self, end: &SessionEnd) {
        self.parts.status.send_modify(|s| {
            s.failed_attempts += 1;
            s.last_error = describe(end);
        });
        tracing::debug!(code = end.code(), "attempt failed: {}", describe(end));
        self.failures = self.failures.saturating_add(1);
        self.next_way();
        if std::mem::take(&mut self.untold_end) {
            self.parts.status.send_modify(|s| s.connected = None);
            self.tell(ControlEvent::Disconnected).await;
        }
    }

    /// The session in use ended.
    async fn on_ended(&mut self, end: &SessionEnd) {
        let Some(live) = self.active.take() else { return };
        tracing::info!(code = end.code(), "session ended: {}", describe(end));
        if self.pending.is_some() {
            // The controller ends it as soon as the next one says Hello.
            self.untold_end = true;
            return;
        }
        if live.since.elapsed() >= GOOD_SESSION {
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        self.parts.status.send_modify(|s| {
            s.connected = None;
            s.last_error = describe(end);
        });
        self.next_way();
        self.tell(ControlEvent::Disconnected).await;
    }

    fn next_way(&mut self) {
        self.rotation.advance();
        let round = Rotation::round(&self.controllers(), &self.parts.uplinks.borrow());
        let wait = backoff::wait(self.failures, round, rand::random());
        self.next_attempt_at = Instant::now() + wait;
    }

    pub(super) fn on_uplinks(&mut self) {
        let uplinks = self.parts.uplinks.borrow_and_update().clone();
        self.rotation = Rotation::default();
        let allowed = |live: &Live| match &live.uplink {
            Some(uplink) => uplinks.contains(uplink),
            None => uplinks.is_empty(),
        };
        if self.active.as_ref().is_some_and(|live| !allowed(live)) {
            self.open_fresh();
        } else if let Some(live) = self.pending.take_if(|live| !allowed(live)) {
            live.stop.cancel();
            self.next_attempt_at = Instant::now();
        }
    }

    /// Replaces the session by a new connection, before the old one is let go.
    pub(super) fn open_fresh(&mut self) {
        if let Some(pending) = self.pending.take() {
            pending.stop.cancel();
        }
        // The next attempt's end tells of an untold one.
        self.want_fresh = true;
        self.failures = 0;
        self.next_attempt_at = Instant::now();
    }
}

/// An error with everything that caused it.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
