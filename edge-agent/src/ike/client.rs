//! A client of charon's VICI socket: one command at a time.

use std::io;
use std::path::Path;
use std::time::Duration;

use hawser_edge_core::ike::vici::{LENGTH_BYTES, Packet, Section, ViciError, body_bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

/// charon answers what is used here without waiting for a peer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Events of one command that are kept: more security associations than one edge has.
const MAX_EVENTS: usize = 4096;

/// Why charon did not do as told. No variant holds what was said to it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("charon's socket")]
    Socket(#[source] io::Error),
    #[error("charon did not answer {command} within {} s", ANSWER_WITHIN.as_secs())]
    Silent { command: String },
    #[error("not understood by VICI: {command}")]
    Protocol {
        command: String,
        #[source]
        source: ViciError,
    },
    #[error("charon does not know {0}")]
    Unknown(String),
    #[error("charon answered {0} with something else")]
    OutOfTurn(String),
    #[error("charon refuses {command}: {message}")]
    Refused { command: String, message: String },
}

/// After an error other than [`ClientError::Refused`] it must be opened anew.
pub struct ViciClient {
    stream: UnixStream,
}

impl ViciClient {
    pub async fn open(socket: &Path) -> Result<ViciClient, ClientError> {
        let stream = UnixStream::connect(socket).await.map_err(ClientError::Socket)?;
        Ok(ViciClient { stream })
    }

    /// Says a command; gives its answer. An answer with `success = no` is an error.
    pub async fn request(
        &mut self,
        command: &str,
        message: Section,
    ) -> Result<Section, ClientError> {
        self.say(command, &Packet::Request { command: command.to_owned(), message }).await?;
        match self.hear(command).await? {
            Packet::Response(answer) => checked(command, answer),
            Packet::UnknownCommand => Err(ClientError::Unknown(command.to_owned())),
            _ => Err(ClientError::OutOfTurn(command.to_owned())),
        }
    }

    /// Says a command that is answered by events; gives those that came before the end, and how many were dropped for
    /// want of room.
    pub async fn listed(
        &mut self,
        command: &str,
        event: &str,
    ) -> Result<(Vec<Section>, usize), ClientError> {
        self.register(Packet::Register { event: event.to_owned() }, event).await?;
        let message = Section::default();
        self.say(command, &Packet::Request { command: command.to_owned(), message }).await?;
        let (mut events, mut dropped) = (Vec::new(), 0);
        loop {
            match self.hear(command).await? {
                Packet::Event { message, .. } if events.len() < MAX_EVENTS => events.push(message),
                Packet::Event { .. } => dropped += 1,
                Packet::Response(answer) => {
                    checked(command, answer)?;
                    break;
                }
                Packet::UnknownCommand => return Err(ClientError::Unknown(command.to_owned())),
                _ => return Err(ClientError::OutOfTurn(command.to_owned())),
            }
        }
        self.register(Packet::Unregister { event: event.to_owned() }, event).await?;
        Ok((events, dropped))
    }

    /// Asks for events of that name; they come by [`ViciClient::next_event`]. Such a client says no more commands.
    pub async fn subscribe(&mut self, event: &str) -> Result<(), ClientError> {
        let packet = Packet::Register { event: event.to_owned() };
        self.say(event, &packet).await?;
        loop {
            // Events that were asked for earlier come between.
            match self.hear(event).await? {
                Packet::EventConfirmed => return Ok(()),
                Packet::Event { .. } => {}
                Packet::UnknownEvent => return Err(ClientError::Unknown(event.to_owned())),
                _ => return Err(ClientError::OutOfTurn(event.to_owned())),
            }
        }
    }

    /// Waits without end. Not to be used again after it was dropped half way.
    pub async fn next_event(&mut self) -> Result<(String, Section), ClientError> {
        let mut length = [0; LENGTH_BYTES];
        self.stream.read_exact(&mut length).await.map_err(ClientError::Socket)?;
        match self.body("event", length).await? {
            Packet::Event { event, message } => Ok((event, message)),
            _ => Err(ClientError::OutOfTurn("event".to_owned())),
        }
    }

    /// The process at the other end.
    #[must_use]
    pub fn peer_pid(&self) -> Option<i32> {
        // Zero would be of another PID namespace, and to signals our own process group.
        self.stream.peer_cred().ok()?.pid().filter(|pid| *pid > 1)
    }

    async fn register(&mut self, packet: Packet, event: &str) -> Result<(), ClientError> {
        self.say(event, &packet).await?;
        match self.hear(event).await? {
            Packet::EventConfirmed => Ok(()),
            Packet::UnknownEvent => Err(ClientError::Unknown(event.to_owned())),
            _ => Err(ClientError::OutOfTurn(event.to_owned())),
        }
    }

    async fn say(&mut self, command: &str, packet: &Packet) -> Result<(), ClientError> {
        let octets = packet.encode().map_err(protocol(command))?;
        within(command, self.stream.write_all(&octets)).await
    }

    async fn hear(&mut self, command: &str) -> Result<Packet, ClientError> {
        let mut length = [0; LENGTH_BYTES];
        within(command, self.stream.read_exact(&mut length)).await?;
        self.body(command, length).await
    }

    async fn body(
        &mut self,
        command: &str,
        length: [u8; LENGTH_BYTES],
    ) -> Result<Packet, ClientError> {
        let octets = body_bytes(length).map_err(protocol(command))?;
        let mut body = Zeroizing::new(vec![0; octets]);
        within(command, self.stream.read_exact(&mut body)).await?;
        Packet::decode(&body).map_err(protocol(command))
    }
}

async fn within<T>(
    command: &str,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, ClientError> {
    let done = timeout(ANSWER_WITHIN, work).await;
    done.map_err(|_| ClientError::Silent { command: command.to_owned() })?
        .map_err(ClientError::Socket)
}

fn protocol(command: &str) -> impl FnOnce(ViciError) -> ClientError {
    let command = command.to_owned();
    |source| ClientError::Protocol { command, source }
}

fn checked(command: &str, answer: Section) -> Result<Section, ClientError> {
    if answer.text("success") != Some("no") {
        return Ok(answer);
    }
    let message = answer.text("errmsg").unwrap_or("no reason given").to_owned();
    Err(ClientError::Refused { command: command.to_owned(), message })
}
