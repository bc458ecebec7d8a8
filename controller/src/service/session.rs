//! One agent's stream. It starts with Hello; then the agent gets what it lacks, and whatever
//! changes for it.

mod generations;
mod greet;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use hawser_proto::agent::v1::agent_message::Message as FromAgent;
use hawser_proto::agent::v1::controller_message::Message as ToAgent;
use hawser_proto::agent::v1::{self as agent, AgentMessage, ControllerMessage, Refusal};
use hawser_telemetry::OpenSpan;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::events::event;
use super::generation::Generation;
use super::telemetry::Uplinks;
use super::{Controller, ServiceError, bounds};
use crate::clock::{ms, now_unix_ms};
use crate::pki::EdgeIdentity;

/// An agent that reads nothing for so long is cut off.
const SEND_WITHIN: Duration = Duration::from_secs(30);

/// Who is at the other end, by its certificate.
#[derive(Debug, Clone)]
pub struct Peer {
    pub identity: EdgeIdentity,
    pub address: SocketAddr,
}

/// Why a session ends.
enum End {
    /// The agent is told.
    Refused(Refusal),
    /// The agent is gone, or does not read.
    Gone,
    Failed(ServiceError),
}

impl From<ServiceError> for End {
    fn from(error: ServiceError) -> Self {
        Self::Failed(error)
    }
}

struct Session<'a> {
    controller: &'a Controller,
    edge: &'a str,
    to_agent: mpsc::Sender<ControllerMessage>,
    /// The generation that was pushed last on this stream.
    sent: Option<Generation>,
    sent_at: Option<Instant>,
    /// Until the agent answers.
    push: Option<OpenSpan>,
    neighbours: BTreeSet<u32>,
    facts_version: u64,
    /// Of the certificate that the agent has shown.
    serial: &'a str,
    /// The CA that signed it.
    authority: &'a str,
    /// Number of the revocation list that the agent has, as far as is known.
    list_number: u64,
}

impl Controller {
    /// Serves one stream until it ends. `to_agent` is bounded: its reader sets the pace.
    pub async fn session<S, E>(
        self: &Arc<Self>,
        peer: Peer,
        from_agent: S,
        to_agent: mpsc::Sender<ControllerMessage>,
    ) where
        S: Stream<Item = Result<AgentMessage, E>> + Unpin,
    {
        let mut from_agent = from_agent;
        let edge = peer.identity.edge.clone();
        let hello = match self.greet(&peer, &mut from_agent).await {
            Ok(hello) => hello,
            Err(end) => return self.end(&edge, &to_agent, end).await,
        };
        let (id, replaced, commands) = self.index.connect(&edge);
        self.hear_connected(&edge, true);
        let session = Session {
            controller: self,
            edge: &edge,
            to_agent: to_agent.clone(),
            sent: None,
            sent_at: None,
            push: None,
            neighbours: BTreeSet::new(),
            facts_version: 0,
            serial: &peer.identity.serial,
            authority: &peer.identity.authority,
            list_number: hello.revocations,
        };
        let site = self.state().site_of(&edge);
        let message = format!("from {}, version {}", peer.address, hello.agent_version);
        self.publish_limited(event("EDGE_CONNECTED", &site, &edge, message));
        let end = session.run(hello, peer.address, from_agent, replaced, commands).await;
        self.end(&edge, &to_agent, end).await;
        if self.index.disconnect(&edge, id) {
            self.hear_connected(&edge, false);
            self.publish_limited(event("EDGE_DISCONNECTED", &site, &edge, ""));
        }
    }

    async fn end(&self, edge: &str, to_agent: &mpsc::Sender<ControllerMessage>, end: End) {
        let refusal = match end {
            End::Gone => return,
            End::Refused(refusal) => refusal,
            End::Failed(error) => {
                tracing::error!(edge, %error, "session failed");
                refusal(error.code(), error.to_string(), error.mend())
            }
        };
        let message = ControllerMessage { message: Some(ToAgent::Refusal(refusal)) };
        // The stream ends whether or not this still fits.
        let _ = to_agent.try_send(message);
    }
}

impl Session<'_> {
    async fn run<S, E>(
        mut self,
        hello: agent::Hello,
        address: SocketAddr,
        mut from_agent: S,
        replaced: CancellationToken,
        mut commands: mpsc::Receiver<ControllerMessage>,
    ) -> End
    where
        S: Stream<Item = Result<AgentMessage, E>> + Unpin,
    {
        let mut states = self.controller.state.subscribe();
        let mut facts = self.controller.facts.watch();
        let mut lists = self.controller.revocations().watch();
        let mut authorities = self.controller.watch_authorities();
        states.mark_unchanged();
        facts.mark_unchanged();
        authorities.mark_changed();
        // Looked at once in any case: they may have changed since the greeting.
        lists.mark_changed();
        if let Err(end) = self.begin(hello, address).await {
            return end;
        }
        loop {
            let step = tokio::select! {
                biased;
                () = self.controller.stop.cancelled() => return End::Refused(refusal(
                    "CONTROLLER_STOPPING",
                    "the controller is stopping",
                    "connect again in a moment",
                )),
                () = replaced.cancelled() => return End::Refused(refusal(
                    "SUPERSEDED",
                    "a newer stream or enrolment of this edge has taken over",
                    "run one agent per edge",
                )),
                changed = states.changed() => match changed {
                    Ok(()) => self.fleet_changed().await,
                    Err(_) => Err(End::Gone),
                },
                changed = facts.changed() => match changed {
                    Ok(()) => self.facts_changed().await,
                    Err(_) => Err(End::Gone),
                },
                changed = lists.changed() => match changed {
                    Ok(()) => self.revoked().await,
                    Err(_) => Err(End::Gone),
                },
                changed = authorities.changed() => match changed {
                    Ok(()) => self.authorities_changed().await,
                    Err(_) => Err(End::Gone),
                },
                // Closed: a newer session has taken over, which `replaced` tells.
                Some(command) = commands.recv() => self.pass_on(command).await,
                message = from_agent.next() => match message {
                    Some(Ok(message)) => self.handle(message).await,
                    Some(Err(_)) | None => Err(End::Gone),
                },
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn begin(&mut self, hello: agent::Hello, address: SocketAddr) -> Result<(), End> {
        let controller = self.controller;
        let state = controller.state();
        let desired = state.edges.get(self.edge).map(|e| e.desired.id);
        let now = now_unix_ms();
        let mut boot_id = hello.boot_id;
        bounds::text(&mut boot_id);
        let mut version = hello.agent_version;
        bounds::text(&mut version);
        let mut generations = hello.generations.unwrap_or_default();
        generations.refused.truncate(bounds::MAX_REFUSED);
        let applied = generations.applied.as_ref().map(Generation::from);
        // This stream was opened after what Hello says is applied: hearing us confirms it.
        let confirmed = applied.filter(|id| Some(*id) == desired);
        if let Some(id) = confirmed {
            generations.confirmed = Some(id.into());
        }
        let features = bounds::features(hello.features);
        let store = controller.store.as_ref();
        let kept = controller.index.set_features(store, self.edge, features);
        kept.await.map_err(ServiceError::from)?;
        let decisions_held = controller.index.with(self.edge, |live| {
            live.agent_version = version;
            live.generations = generations;
            live.last_seen_unix_ms = now;
            live.newest_decision(&boot_id)
        });
        self.send(ToAgent::Welcome(agent::Welcome {
            controller_version: env!("CARGO_PKG_VERSION").to_owned(),
            server_time_unix_ms: now,
            confirmed: confirmed.map(Into::into),
            telemetry_interval_ms: u32::try_from(ms(controller.settings.telemetry_interval))
                .unwrap_or(u32::MAX),
            observed_address: address.to_string(),
            decisions_held: Some(decisions_held),
            revocations: controller.revocations().signed().number,
        }))
        .await?;
        if let Some(id) = confirmed {
            self.publish("GENERATION_CONFIRMED", format!("generation {id}"));
        }
        self.send_all_facts().await?;
        self.offer().await
    }

    async fn handle(&mut self, message: AgentMessage) -> Result<(), End> {
        let controller = self.controller;
        let now = now_unix_ms();
        controller.index.with(self.edge, |live| live.last_seen_unix_ms = now);
        match message.message {
            Some(FromAgent::Ack(ack)) => self.acked(ack).await?,
            Some(FromAgent::Nack(nack)) => self.nacked(nack).await?,
            Some(FromAgent::LocalFacts(facts)) => {
                controller.take_uplinks(self.edge, facts.uplinks, Uplinks::All).await?;
            }
            Some(FromAgent::Telemetry(telemetry)) => {
                controller.take_telemetry(self.edge, telemetry).await?;
            }
            Some(FromAgent::Decisions(decisions)) => {
                let ack = controller.take_decisions(self.edge, decisions.decisions);
                if let Some(ack) = ack {
                    self.send(ToAgent::DecisionsAck(ack)).await?;
                }
            }
            Some(FromAgent::Events(events)) => controller.take_events(self.edge, events.events),
            Some(FromAgent::HistoryChunk(chunk)) => controller.take_history(self.edge, chunk),
            Some(FromAgent::RenewalRequest(request)) => self.renew(&request.csr_der).await?,
            Some(FromAgent::RevocationList(list)) => {
                if controller.index.with(self.edge, |live| live.lists.take(now)) {
                    controller.take_list(self.edge, &list).await?;
                }
            }
            Some(FromAgent::FactsAck(_)) => {}
            Some(FromAgent::Hello(_)) | None => {
                controller.counters.add("agent_messages_unexpected", 1);
            }
        }
        Ok(())
    }

    /// The list of revoked certificates changed, or the session has just begun.
    async fn revoked(&mut self) -> Result<(), End> {
        let signed = self.controller.revocations().signed();
        if signed.contains(self.serial) {
            return Err(End::Refused(revoked()));
        }
        if signed.number <= self.list_number {
            return Ok(());
        }
        self.list_number = signed.number;
        self.send(ToAgent::RevocationList(signed.wire.clone())).await
    }

    /// One CA takes another's place, or the one before is retired, or the session has just begun.
    async fn authorities_changed(&mut self) -> Result<(), End> {
        let controller = self.controller;
        if !controller.pki.trusts(self.authority) {
            return Err(End::Refused(authority_retired()));
        }
        let Some(told) = controller.authorities() else { return Ok(()) };
        controller.note_shown(self.edge, self.serial).await?;
        self.send(ToAgent::Authorities(told.as_ref().clone())).await
    }

    /// A refusal is told, and ends nothing: the old certificate is good for as long as it is.
    async fn renew(&self, csr_der: &[u8]) -> Result<(), End> {
        let answer = match self.controller.renew(self.edge, csr_der).await {
            Ok(certificate_chain_der) => agent::Certificate { certificate_chain_der, fault: None },
            Err(error) => {
                tracing::warn!(edge = self.edge, %error, "no new certificate");
                let fault = agent::Fault {
                    code: error.code().to_owned(),
                    path: String::new(),
                    message: error.to_string(),
                    mend: error.mend().to_owned(),
                };
                agent::Certificate { certificate_chain_der: Vec::new(), fault: Some(fault) }
            }
        };
        self.send(ToAgent::Certificate(answer)).await
    }

    async fn fleet_changed(&mut self) -> Result<(), End> {
        let state = self.controller.state();
        let stays = state.edges.contains_key(self.edge);
        if stays && state.neighbours(self.edge) != self.neighbours {
            self.send_all_facts().await?;
        }
        self.offer().await
    }

    async fn facts_changed(&mut self) -> Result<(), End> {
        let state = self.controller.state();
        let facts = &self.controller.facts;
        let facts = facts.since(&state, &self.neighbours, self.facts_version);
        self.facts_version = facts.version;
        if facts.endpoints.is_empty() {
            return Ok(());
        }
        self.send(ToAgent::Facts(facts)).await
    }

    async fn send_all_facts(&mut self) -> Result<(), End> {
        let state = self.controller.state();
        self.neighbours = state.neighbours(self.edge);
        let facts = self.controller.facts.full(&state, &self.neighbours);
        self.facts_version = facts.version;
        self.send(ToAgent::Facts(facts)).await
    }

    fn publish(&self, code: &str, message: String) {
        let site = self.controller.state().site_of(self.edge);
        self.controller.publish_limited(event(code, &site, self.edge, message));
    }

    async fn send(&self, message: ToAgent) -> Result<(), End> {
        self.pass_on(ControllerMessage { message: Some(message) }).await
    }

    async fn pass_on(&self, message: ControllerMessage) -> Result<(), End> {
        let sent = tokio::time::timeout(SEND_WITHIN, self.to_agent.send(message)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => {
                self.controller.counters.add("agents_too_slow", 1);
                Err(End::Gone)
            }
        }
    }
}

fn revoked() -> Refusal {
    refusal(
        "CERTIFICATE_REVOKED",
        "the certificate of this device was revoked",
        "if it is the right device, enrol it with a new token",
    )
}

fn authority_retired() -> Refusal {
    refusal(
        "CA_RETIRED",
        "the CA that signed this device's certificate was retired",
        "enrol the device with a new token",
    )
}

fn edge_unknown(edge: &str) -> Refusal {
    refusal(
        "EDGE_UNKNOWN",
        format!("the fleet has no edge {edge:?}"),
        "apply a document that has the edge",
    )
}

fn refusal(code: &str, message: impl Into<String>, mend: &str) -> Refusal {
    Refusal { code: code.to_owned(), message: message.into(), mend: mend.to_owned() }
}
