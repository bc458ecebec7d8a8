//! One agent's stream. It starts with Hello; then the agent gets what it lacks, and whatever
//! changes for it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use hawser_controller_core::rollout::{Offer, Offered, offer};
use hawser_proto::agent::v1::agent_message::Message as FromAgent;
use hawser_proto::agent::v1::controller_message::Message as ToAgent;
use hawser_proto::agent::v1::{self as agent, AgentMessage, ControllerMessage, NackKind, Refusal};
use hawser_telemetry::OpenSpan;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::commit::config_sha256;
use super::events::event;
use super::generation::Generation;
use super::index::LastNack;
use super::state::FleetState;
use super::telemetry::Uplinks;
use super::{Controller, ServiceError, bounds};
use crate::clock::{ms, now_unix_ms};
use crate::pki::EdgeIdentity;

const PROTOCOL_MAJOR: u32 = 1;
/// An agent says Hello within this time.
const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// An agent that reads nothing for so long is cut off.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// NACKs with these codes mean that the number was given before: the configuration gets another.
const NUMBER_TAKEN: [&str; 2] = ["GENERATION_OTHER_CONTENT", "GENERATION_OLDER"];

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

    /// Checks who is there before anything is done for them.
    async fn greet<S, E>(&self, peer: &Peer, from_agent: &mut S) -> Result<agent::Hello, End>
    where
        S: Stream<Item = Result<AgentMessage, E>> + Unpin,
    {
        let EdgeIdentity { edge, .. } = &peer.identity;
        let actor = || format!("edge:{edge} at {}", peer.address.ip());
        if let Some(refusal) = self.judge_certificate(&peer.identity) {
            self.refused_hello(actor(), edge, &refusal).await;
            return Err(End::Refused(refusal));
        }
        let first = tokio::time::timeout(HELLO_WITHIN, from_agent.next()).await;
        let hello = match first {
            Ok(Some(Ok(AgentMessage { message: Some(FromAgent::Hello(hello)) }))) => hello,
            Ok(None | Some(Err(_))) => return Err(End::Gone),
            Ok(Some(Ok(_))) | Err(_) => {
                return Err(End::Refused(refusal(
                    "HELLO_EXPECTED",
                    "the first message was not Hello, or did not come in time",
                    "send Hello first",
                )));
            }
        };
        if let Some(refusal) = self.judge_hello(&hello, edge) {
            self.refused_hello(actor(), edge, &refusal).await;
            return Err(End::Refused(refusal));
        }
        Ok(hello)
    }

    fn judge_certificate(&self, identity: &EdgeIdentity) -> Option<Refusal> {
        if identity.fleet != self.settings.fleet {
            let message = format!("the certificate is of fleet {:?}", identity.fleet);
            return Some(refusal("FLEET_MISMATCH", message, "enrol the edge in this fleet"));
        }
        if !self.state().edges.contains_key(&identity.edge) {
            return Some(edge_unknown(&identity.edge));
        }
        if self.revocations().signed().contains(&identity.serial) {
            return Some(revoked());
        }
        // Without a record the store was restored from before the enrolment; the CA's word is
        // enough then.
        let another = self.index.with(&identity.edge, |live| {
            live.enrolment.as_ref().is_some_and(|record| !record.knows_key(&identity.key_sha256))
        });
        if another {
            return Some(refusal(
                "CERTIFICATE_SUPERSEDED",
                "the edge was enrolled again with another key",
                "enrol this device with a new token, if it is the right one",
            ));
        }
        None
    }

    fn judge_hello(&self, hello: &agent::Hello, edge: &str) -> Option<Refusal> {
        if hello.protocol_major != PROTOCOL_MAJOR {
            let message = format!("protocol {} is not spoken here", hello.protocol_major);
            let mend = "use an agent of a version near the controller's";
            return Some(refusal("PROTOCOL_UNSUPPORTED", message, mend));
        }
        if hello.fleet != self.settings.fleet {
            let message = format!("this controller is not of fleet {:?}", hello.fleet);
            let mend = "enrol the edge in this fleet";
            return Some(refusal("FLEET_MISMATCH", message, mend));
        }
        if hello.edge != edge {
            let message = format!("the certificate is not that of edge {:?}", hello.edge);
            let mend = "use the identity that this edge was enrolled with";
            return Some(refusal("EDGE_MISMATCH", message, mend));
        }
        None
    }

    async fn refused_hello(&self, actor: String, edge: &str, refusal: &Refusal) {
        let code = match refusal.code.as_str() {
            "FLEET_MISMATCH" => "FLEET_MISMATCH",
            "EDGE_MISMATCH" => "EDGE_MISMATCH",
            "EDGE_UNKNOWN" => "EDGE_UNKNOWN",
            "CERTIFICATE_SUPERSEDED" => "CERTIFICATE_SUPERSEDED",
            "CERTIFICATE_REVOKED" => "CERTIFICATE_REVOKED",
            _ => "HELLO_REFUSED",
        };
        self.refused(actor, code, edge, format!("session: {}", refusal.message)).await;
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
        states.mark_unchanged();
        facts.mark_unchanged();
        // Looked at once in any case: it may have changed since the greeting.
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

    async fn acked(&mut self, ack: agent::Ack) -> Result<(), End> {
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

    async fn nacked(&mut self, mut nack: agent::Nack) -> Result<(), End> {
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

    /// Pushes the desired generation, unless the agent has it or has refused it.
    async fn offer(&mut self) -> Result<(), End> {
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
