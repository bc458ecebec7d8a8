//! One session: a connection, the Hello and the Welcome, then both directions until it ends.

use std::time::Duration;

use hawser_proto::agent::v1 as wire;
use hawser_proto::agent::v1::agent_link_client::AgentLinkClient;
use hawser_proto::agent::v1::agent_message::Message as Up;
use hawser_proto::agent::v1::controller_message::Message as Down;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use crate::control::dial::{self, DialError};
use crate::control::outbox::Outbox;

/// Messages handed to HTTP/2 and not yet sent; what waits longer waits in the outbox.
const IN_FLIGHT: usize = 8;
/// The controller's time to answer Hello.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(5);
/// A controller that takes no message for so long is not there, whatever its kernel answers.
const STALL_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 30 });
/// A replaced session may send what it took for so long.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// Largest message from the controller: one generation of a hub of a large fleet.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Why an attempt or a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionEnd {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the controller ended the session: {0}")]
    Rpc(tonic::Status),
    #[error("the controller refused the session: {code}: {message}{}", .mend.as_ref().map(|m| format!(" ({m})")).unwrap_or_default())]
    Refused { code: String, message: String, mend: Option<String> },
    #[error("the controller did not answer Hello in {} s", WELCOME_TIMEOUT.as_secs())]
    NoWelcome,
    #[error("the controller's first message was no Welcome")]
    NotWelcome,
    #[error("the controller took nothing for {} s", STALL_TIMEOUT.as_secs())]
    Stalled,
    #[error("the controller closed the session")]
    Closed,
    #[error("it was replaced")]
    Replaced,
}

impl SessionEnd {
    /// A stable code, upper case.
    pub fn code(&self) -> &str {
        match self {
            SessionEnd::Dial(error) => error.code(),
            SessionEnd::Rpc(_) => "SESSION_BROKEN",
            SessionEnd::Refused { code, .. } => code,
            SessionEnd::NoWelcome => "NO_WELCOME",
            SessionEnd::NotWelcome => "NOT_WELCOME",
            SessionEnd::Stalled => "SESSION_STALLED",
            SessionEnd::Closed => "SESSION_CLOSED",
            SessionEnd::Replaced => "SESSION_REPLACED",
        }
    }
}

/// From a session to its supervisor. `Ended` is the last one.
#[derive(Debug)]
pub enum SessionEvent {
    Opened { id: u64, welcome: wire::Welcome },
    Message { id: u64, message: Down },
    Ended { id: u64, end: SessionEnd },
}

/// What a session is made of.
#[derive(Debug)]
pub struct Session {
    pub id: u64,
    pub controller: String,
    pub uplink: Option<String>,
    pub tls: dial::Tls,
    pub hello: wire::Hello,
    pub outbox: Outbox,
    pub events: mpsc::Sender<SessionEvent>,
    /// From then on it empties the outbox: no two sessions do so at once.
    pub go: CancellationToken,
    /// It is replaced, or the agent ends.
    pub stop: CancellationToken,
}

impl Session {
    /// Runs to the end and reports it.
    pub async fn run(self) {
        let end = match self.open().await {
            Ok((up, down)) => self.exchange(up, down).await,
            Err(end) => end,
        };
        let _ = self.events.send(SessionEvent::Ended { id: self.id, end }).await;
    }

    async fn open(
        &self,
    ) -> Result<(mpsc::Sender<wire::AgentMessage>, Streaming<wire::ControllerMessage>), SessionEnd>
    {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(SessionEnd::Replaced),
            opened = self.greet() => opened,
        }
    }

    async fn greet(
        &self,
    ) -> Result<(mpsc::Sender<wire::AgentMessage>, Streaming<wire::ControllerMessage>), SessionEnd>
    {
        let channel = dial::dial(&self.controller, self.uplink.as_deref(), &self.tls).await?;
        let mut client = AgentLinkClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let (up, rx) = mpsc::channel(IN_FLIGHT);
        let hello = wire::AgentMessage { message: Some(Up::Hello(self.hello.clone())) };
        // There is room: the channel is new.
        let _ = up.try_send(hello);
        let answered = timeout(WELCOME_TIMEOUT, async {
            let response = client.session(ReceiverStream::new(rx)).await;
            let mut down = response.map_err(SessionEnd::Rpc)?.into_inner();
            let first = down.message().await.map_err(SessionEnd::Rpc)?;
            Ok::<_, SessionEnd>((first.ok_or(SessionEnd::Closed)?, down))
        });
        let (first, down) = answered.await.map_err(|_| SessionEnd::NoWelcome)??;
        match first.message {
            Some(Down::Welcome(welcome)) => {
                let opened = SessionEvent::Opened { id: self.id, welcome };
                self.events.send(opened).await.map_err(|_| SessionEnd::Replaced)?;
                Ok((up, down))
            }
            Some(Down::Refusal(refusal)) => Err(refused(refusal)),
            _ => Err(SessionEnd::NotWelcome),
        }
    }

    async fn exchange(
        &self,
        up: mpsc::Sender<wire::AgentMessage>,
        mut down: Streaming<wire::ControllerMessage>,
    ) -> SessionEnd {
        let end = tokio::select! {
            biased;
            () = self.stop.cancelled() => SessionEnd::Replaced,
            end = self.listen(&mut down) => end,
            end = self.speak(&up) => end,
        };
        if let SessionEnd::Replaced = end {
            // Half-closed: what was handed over is still sent, then the controller hangs up.
            drop(up);
            let farewell = async { while let Ok(Some(_)) = down.message().await {} };
            let _ = timeout(FAREWELL_TIMEOUT, farewell).await;
        }
        end
    }

    async fn listen(&self, down: &mut Streaming<wire::ControllerMessage>) -> SessionEnd {
        loop {
            match down.message().await {
                Err(status) => return SessionEnd::Rpc(status),
                Ok(None) => return SessionEnd::Closed,
                Ok(Some(wire::ControllerMessage { message: Some(Down::Refusal(refusal)) })) => {
                    return refused(refusal);
                }
                // Something that this version does not know: a newer controller may say it.
                Ok(Some(wire::ControllerMessage { message: None })) => {}
                Ok(Some(wire::ControllerMessage { message: Some(message) })) => {
                    let event = SessionEvent::Message { id: self.id, message };
                    if self.events.send(event).await.is_err() {
                        return SessionEnd::Replaced;
                    }
                }
            }
        }
    }

    async fn speak(&self, up: &mpsc::Sender<wire::AgentMessage>) -> SessionEnd {
        self.go.cancelled().await;
        loop {
            // Room first: what is taken out of the outbox is sent.
            let room = match timeout(STALL_TIMEOUT, up.reserve()).await {
                Ok(Ok(room)) => room,
                Ok(Err(_)) => return SessionEnd::Closed,
                Err(_) => return SessionEnd::Stalled,
            };
            match self.outbox.take() {
                Some(message) => room.send(message),
                None => {
                    drop(room);
                    self.outbox.filled().await;
                }
            }
        }
    }
}

fn refused(refusal: wire::Refusal) -> SessionEnd {
    let wire::Refusal { code, message, mend } = refusal;
    SessionEnd::Refused { code, message, mend: (!mend.is_empty()).then_some(mend) }
}
