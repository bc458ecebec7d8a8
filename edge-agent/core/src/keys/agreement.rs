//! How two edges agree on the keys of one path, make before break.
//!
//! ```text
//! client  KeyOffer  {epoch, spi_c, nonce_c, suite}   has reserved spi_c
//! server  KeyAnswer {epoch, spi_s, nonce_s}          has installed inbound(spi_s)
//! client  KeyConfirm{epoch}                          has installed inbound(spi_c), then outbound(spi_s)
//! server  KeyConfirm{epoch}                          has installed outbound(spi_c)
//! ```
//!
//! An old inbound SA drains from the moment that the peer is known to have left it: at the server with the client's
//! confirm, at the client with the server's. Until then nothing but its replacement ends it, however long a connection is
//! away: without the server's confirm a client could not tell whether its own one ever arrived.
//!
//! Messages of one connection arrive in order or not at all; those of different connections in any order. Only the
//! adopted connection keys anything.

mod steps;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hawser_proto::peer::v1::{KeyAnswer, KeyConfirm, KeyOffer, KeyRefusal, RekeyRequest};

use super::KeySuite;
use super::inbound::{Dropped, InboundSas};
use super::message::KeyMessage;
use super::schedule::{Nonce, SaContext};
use crate::id::{EdgeId, PathId, Spi};
use crate::time::Micros;

/// A connection of the peer, numbered by the shell; numbers are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionNo(pub u64);

/// Which end of the adopted connection this edge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It opened the connection, and begins every epoch.
    Client,
    /// It accepted the connection.
    Server,
}

/// What both ends must hold alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The fleet's name.
    pub fleet: String,
    /// This edge.
    pub local: EdgeId,
    /// The other.
    pub peer: EdgeId,
    /// The path.
    pub path: PathId,
    /// The cipher.
    pub suite: KeySuite,
}

/// What the shell must do, in order.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Pick an SPI for this edge and a nonce, and call [`Agreement::reserved`].
    ReserveInbound {
        /// The connection.
        connection: ConnectionNo,
        /// The epoch.
        epoch: u64,
    },
    /// Install an inbound SA and call [`Agreement::inbound_installed`].
    InstallInbound {
        /// Export from this one.
        connection: ConnectionNo,
        /// Its SPI.
        spi: Spi,
        /// Its key.
        context: SaContext,
    },
    /// Replace the outbound SA and call [`Agreement::outbound_installed`].
    InstallOutbound {
        /// Export from this one.
        connection: ConnectionNo,
        /// The peer's SPI.
        spi: Spi,
        /// Its key.
        context: SaContext,
    },
    /// Send on that connection.
    Send {
        /// The adopted one.
        connection: ConnectionNo,
        /// What.
        message: KeyMessage,
    },
    /// The reserved SPI is free again; it never had an SA.
    ReleaseInbound(Spi),
    /// The inbound SA has drained, or can't be in use: remove it.
    RetireInbound(Spi),
    /// Both directions are keyed.
    Keyed {
        /// By this connection.
        connection: ConnectionNo,
        /// The epoch.
        epoch: u64,
    },
    /// An epoch was refused, here or there. It is tried again.
    Refused {
        /// A stable code.
        code: String,
    },
}

/// Why a message or an answer of the shell changed nothing. Harmless: to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ignored {
    /// It came on a connection that is not adopted.
    OtherConnection,
    /// Its epoch is over, or has not begun.
    Stale,
    /// It is not this role's to receive.
    WrongRole,
    /// Its epoch is at another step.
    OutOfStep,
}

/// How long a client waits for an answer before it offers anew.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// From one epoch to the next of one path, at least. A peer that asks for more gets no more.
pub const EPOCH_INTERVAL: Duration = Duration::from_secs(1);
/// The longest pause after refusals in a row.
pub const MAX_RETRY: Duration = Duration::from_secs(10);

/// What has happened on one connection. An epoch rises strictly, and each side's context of an epoch is made once.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    epoch: u64,
    local_context: u64,
    peer_context: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pair {
    epoch: u64,
    ours: Spi,
    theirs: Spi,
    nonce_client: Nonce,
    nonce_server: Nonce,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Idle,
    /// Waits for an SPI; the server has the offer.
    Reserving {
        epoch: u64,
        offer: Option<(Spi, Nonce)>,
    },
    /// Client: waits for the answer.
    Offered {
        epoch: u64,
        ours: Spi,
        nonce_client: Nonce,
        until: Micros,
    },
    /// Waits for the data plane.
    InstallingInbound(Pair),
    /// Waits for the data plane.
    InstallingOutbound(Pair),
    /// Server: waits for the client's confirm.
    Answered(Pair),
    /// Client: waits for the server's confirm.
    Confirming {
        epoch: u64,
        ours: Spi,
    },
}

/// One path's agreement, over all connections to the peer.
#[derive(Debug)]
pub struct Agreement {
    terms: Terms,
    adopted: Option<(ConnectionNo, Role)>,
    phase: Phase,
    /// Of every connection that was adopted and is not closed yet.
    spent: BTreeMap<ConnectionNo, Spent>,
    inbound: InboundSas,
    /// Client: begin an epoch then.
    begin_at: Option<Micros>,
    /// When the last epoch began.
    began: Option<Micros>,
    /// Server: when it last asked for an epoch.
    requested: Option<Micros>,
    failures: u32,
    /// What both directions were keyed with last.
    pair: Option<SpiPair>,
    effects: VecDeque<Effect>,
}

/// The SPIs of a path's two newest SAs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpiPair {
    /// This edge receives with it.
    pub ours: Spi,
    /// The peer receives with it.
    pub theirs: Spi,
}

impl SpiPair {
    /// As the peer sees it.
    pub fn reversed(self) -> SpiPair {
        SpiPair { ours: self.theirs, theirs: self.ours }
    }
}

impl Agreement {
    /// Nothing is keyed yet.
    pub fn new(terms: Terms) -> Self {
        Agreement {
            terms,
            adopted: None,
            phase: Phase::Idle,
            spent: BTreeMap::new(),
            inbound: InboundSas::default(),
            begin_at: None,
            began: None,
            requested: None,
            failures: 0,
            pair: None,
            effects: VecDeque::new(),
        }
    }

    /// As [`new`](Self::new), with SAs that a former run of this agent left in the data plane.
    pub fn with_kept(terms: Terms, kept: SpiPair) -> Self {
        let mut agreement = Agreement::new(terms);
        agreement.inbound.kept(kept.ours);
        agreement.pair = Some(kept);
        agreement
    }

    /// What both directions are keyed with.
    pub fn pair(&self) -> Option<SpiPair> {
        self.pair
    }

    /// This connection keys the path from now on; what another one was about to do is given up. The client begins an
    /// epoch at once.
    pub fn adopt(&mut self, connection: ConnectionNo, role: Role, now: Micros) {
        if self.take_up(connection, role) && role == Role::Client {
            self.begin_at = Some(now);
            self.handle_timeout(now);
        }
    }

    /// As [`adopt`](Self::adopt), but both ends still have the keys of before: they stay until fresh ones are asked for.
    pub fn adopt_keyed(&mut self, connection: ConnectionNo, role: Role) {
        self.take_up(connection, role);
    }

    /// False: it is the adopted one already.
    fn take_up(&mut self, connection: ConnectionNo, role: Role) -> bool {
        if self.adopted.is_some_and(|(adopted, _)| adopted == connection) {
            return false;
        }
        self.give_up();
        self.adopted = Some((connection, role));
        self.spent.entry(connection).or_default();
        self.failures = 0;
        self.began = None;
        self.begin_at = None;
        true
    }

    /// The connection is gone. Keys stay. To be called for each one that was adopted.
    pub fn connection_closed(&mut self, connection: ConnectionNo) {
        if self.adopted.is_some_and(|(adopted, _)| adopted == connection) {
            self.give_up();
            self.adopted = None;
        }
        self.spent.remove(&connection);
    }

    /// Fresh keys are due, by bytes or by hand. A server asks its client. Keys under way are fresh enough, and the next
    /// connection begins with fresh ones anyway.
    pub fn rekey(&mut self, now: Micros) {
        match self.adopted {
            Some((_, Role::Client)) if self.phase == Phase::Idle => {
                self.begin_at.get_or_insert(now);
                self.handle_timeout(now);
            }
            Some((connection, Role::Server)) if self.phase == Phase::Idle => {
                if self.requested.is_some_and(|last| now < last + EPOCH_INTERVAL) {
                    return;
                }
                self.requested = Some(now);
                let message = RekeyRequest { path_id: self.terms.path.0 };
                self.send(connection, KeyMessage::Request(message));
            }
            _ => {}
        }
    }

    /// The intent asks for another cipher. What is under way is finished first.
    pub fn set_suite(&mut self, suite: KeySuite, now: Micros) {
        if self.terms.suite == suite {
            return;
        }
        self.terms.suite = suite;
        if let Some((_, Role::Client)) = self.adopted {
            self.begin_at.get_or_insert(now);
            self.handle_timeout(now);
        } else {
            self.rekey(now);
        }
    }

    /// The path is gone: so are its inbound SAs.
    pub fn remove(&mut self) {
        self.phase = Phase::Idle;
        self.adopted = None;
        self.begin_at = None;
        for dropped in self.inbound.clear() {
            self.drop_inbound(dropped);
        }
    }

    /// The shell's answer to [`Effect::ReserveInbound`].
    pub fn reserved(
        &mut self,
        connection: ConnectionNo,
        epoch: u64,
        spi: Spi,
        nonce: Nonce,
        now: Micros,
    ) -> Result<(), Ignored> {
        let offer = match &self.phase {
            Phase::Reserving { epoch: current, offer }
                if self.is_adopted(connection) && *current == epoch =>
            {
                *offer
            }
            _ => {
                self.effects.push_back(Effect::ReleaseInbound(spi));
                return Err(Ignored::Stale);
            }
        };
        self.inbound.reserve(spi);
        match offer {
            None => {
                self.phase = Phase::Offered {
                    epoch,
                    ours: spi,
                    nonce_client: nonce,
                    until: now + ANSWER_TIMEOUT,
                };
                let offer = KeyOffer {
                    path_id: self.terms.path.0,
                    epoch,
                    spi: spi.0,
                    nonce: nonce.to_vec(),
                    suite: self.terms.suite.name().to_owned(),
                };
                self.send(connection, KeyMessage::Offer(offer));
            }
            Some((theirs, nonce_client)) => {
                let pair = Pair { epoch, ours: spi, theirs, nonce_client, nonce_server: nonce };
                self.install_inbound(connection, pair);
            }
        }
        Ok(())
    }

    /// A message of the peer.
    pub fn received(
        &mut self,
        connection: ConnectionNo,
        message: KeyMessage,
        now: Micros,
    ) -> Result<(), Ignored> {
        let Some((_, role)) = self.adopted.filter(|(adopted, _)| *adopted == connection) else {
            return Err(Ignored::OtherConnection);
        };
        match (role, message) {
            (Role::Server, KeyMessage::Offer(offer)) => self.on_offer(connection, offer),
            (Role::Client, KeyMessage::Answer(answer)) => self.on_answer(connection, answer, now),
            (Role::Server, KeyMessage::Confirm(confirm)) => {
                self.on_client_confirm(connection, confirm, now)
            }
            (Role::Client, KeyMessage::Confirm(confirm)) => {
                self.on_server_confirm(connection, confirm, now)
            }
            (Role::Client, KeyMessage::Refusal(refusal)) => self.on_refusal(refusal, now),
            (Role::Client, KeyMessage::Request(_)) => {
                self.rekey(now);
                Ok(())
            }
            _ => Err(Ignored::WrongRole),
        }
    }

    /// The data plane's answer to [`Effect::InstallInbound`], also when the connection has changed since.
    pub fn inbound_installed(&mut self, spi: Spi, ok: bool, now: Micros) -> Result<(), Ignored> {
        if let Some(dropped) = self.inbound.installed(spi, ok, now) {
            self.drop_inbound(dropped);
        }
        let (pair, (connection, role)) = match (&self.phase, self.adopted) {
            (Phase::InstallingInbound(pair), Some(adopted)) if pair.ours == spi => (*pair, adopted),
            _ => return Err(Ignored::Stale),
        };
        match (ok, role) {
            (true, Role::Client) => self.install_outbound(connection, pair),
            (true, Role::Server) => {
                self.phase = Phase::Answered(pair);
                let answer = KeyAnswer {
                    path_id: self.terms.path.0,
                    epoch: pair.epoch,
                    spi: pair.ours.0,
                    nonce: pair.nonce_server.to_vec(),
                };
                self.send(connection, KeyMessage::Answer(answer));
            }
            (false, _) => self.failed(connection, role, pair.epoch, "install_failed", now),
        }
        Ok(())
    }

    /// The data plane's answer to [`Effect::InstallOutbound`].
    pub fn outbound_installed(
        &mut self,
        connection: ConnectionNo,
        spi: Spi,
        ok: bool,
        now: Micros,
    ) -> Result<(), Ignored> {
        let (pair, role) = match (&self.phase, self.adopted) {
            (Phase::InstallingOutbound(pair), Some((adopted, role)))
                if pair.theirs == spi && adopted == connection =>
            {
                (*pair, role)
            }
            _ => return Err(Ignored::Stale),
        };
        if !ok {
            self.failed(connection, role, pair.epoch, "install_failed", now);
            return Ok(());
        }
        self.pair = Some(SpiPair { ours: pair.ours, theirs: pair.theirs });
        let confirm = KeyConfirm { path_id: self.terms.path.0, epoch: pair.epoch };
        self.send(connection, KeyMessage::Confirm(confirm));
        match role {
            Role::Client => {
                self.phase = Phase::Confirming { epoch: pair.epoch, ours: pair.ours };
            }
            Role::Server => self.keyed(connection, pair.epoch),
        }
        Ok(())
    }

    /// Begins, repeats and drains what is due.
    pub fn handle_timeout(&mut self, now: Micros) {
        for dropped in self.inbound.drained(now) {
            self.drop_inbound(dropped);
        }
        if let Phase::Offered { ours, until, .. } = self.phase
            && until <= now
        {
            self.forget_reserved(ours);
            self.phase = Phase::Idle;
            self.retry(now);
        }
        if self.begin_at.is_some_and(|at| at <= now) && self.phase == Phase::Idle {
            self.begin(now);
        }
    }

    /// When [`Agreement::handle_timeout`] is due.
    pub fn next_deadline(&self) -> Option<Micros> {
        let answer = match self.phase {
            Phase::Offered { until, .. } => Some(until),
            _ => None,
        };
        let begin = self.begin_at.filter(|_| self.phase == Phase::Idle);
        [answer, begin, self.inbound.next_deadline()].into_iter().flatten().min()
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Nothing is under way.
    pub fn is_settled(&self) -> bool {
        self.phase == Phase::Idle && self.begin_at.is_none()
    }
}
