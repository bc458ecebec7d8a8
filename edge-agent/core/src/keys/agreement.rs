//! How two edges agree on the keys of one path, make before break.
//!
//! ```text
//! client  KeyOffer  {epoch, spi_c, nonce_c, suite, lanes_c}   has reserved spi_c
//! server  KeyAnswer {epoch, spi_s, nonce_s, lanes_s}          has installed inbound(spi_s)
//! client  KeyConfirm{epoch}                                   has installed inbound(spi_c), then outbound(spi_s)
//! server  KeyConfirm{epoch}                                   has installed outbound(spi_c)
//! ```
//!
//! An SPI stands for the SAs of all lanes, the fewer of what the two ends can.
//!
//! An old inbound SA drains from the moment that the peer is known to have left it: at the server with the client's
//! confirm, at the client with the server's. Until then nothing but its replacement ends it, however long a connection is
//! away: without the server's confirm a client could not tell whether its own one ever arrived.
//!
//! Ends may be a generation apart, so that one wants other terms than its peer. A server takes what it wants and what the
//! path is keyed with; a client offers what it wants, and after a refusal for its terms what the path is keyed with. So
//! keys go on being renewed under the old terms until both ends want the new ones, and once those have keyed the path
//! nothing old is taken any more.
//!
//! Messages of one connection arrive in order or not at all; those of different connections in any order. Only the
//! adopted connection keys anything.

mod steps;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hawser_proto::peer::v1::{KeyAnswer, KeyConfirm, KeyOffer, KeyRefusal, RekeyRequest};

use super::inbound::{Dropped, InboundSas};
use super::lanes::Lanes;
use super::message::KeyMessage;
use super::schedule::{Nonce, SaContext};
use crate::id::{EdgeId, Spi};
use crate::time::Micros;

pub use self::words::{ConnectionNo, Effect, Ignored, Role, SaTerms, SpiPair, Terms};

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
    terms: SaTerms,
    /// What both ends can.
    lanes: Lanes,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offered {
    theirs: Spi,
    nonce_client: Nonce,
    terms: SaTerms,
    lanes: Lanes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Idle,
    /// Waits for an SPI; the server has the offer.
    Reserving {
        epoch: u64,
        offer: Option<Offered>,
    },
    /// Client: waits for the answer.
    Offered {
        epoch: u64,
        ours: Spi,
        nonce_client: Nonce,
        terms: SaTerms,
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
        terms: SaTerms,
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
    /// The terms of the last epoch that was keyed.
    in_use: Option<SaTerms>,
    /// Client: the peer has refused what is wanted, so what is in use is offered.
    falls_back: bool,
    /// When the epoch under way is over under old terms, another one is wanted.
    to_request: bool,
    effects: VecDeque<Effect>,
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
            in_use: None,
            falls_back: false,
            to_request: false,
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

    /// The terms that a former run of this agent may have keyed the path by: taken, and fallen back to, as if this one had.
    pub fn after(mut self, former: Option<SaTerms>) -> Self {
        self.in_use = former;
        self
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
        self.falls_back = false;
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

    /// The peer has what it refused before, or may have: a client that waits to offer again waits no longer.
    pub fn hasten(&mut self, now: Micros) {
        if self.begin_at.is_some_and(|at| now < at) {
            self.failures = 0;
            self.begin_at = Some(now);
            self.handle_timeout(now);
        }
    }

    /// The intent asks for other terms. What is under way is finished first.
    pub fn set_terms(&mut self, terms: SaTerms, now: Micros) {
        if self.terms.sa == terms {
            return;
        }
        self.terms.sa = terms;
        self.falls_back = false;
        match self.adopted {
            Some((_, Role::Client)) => {
                self.begin_at.get_or_insert(now);
                self.handle_timeout(now);
            }
            Some((_, Role::Server)) if self.phase != Phase::Idle => self.to_request = true,
            _ => self.rekey(now),
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
                let terms = self.to_offer();
                self.phase = Phase::Offered {
                    epoch,
                    ours: spi,
                    nonce_client: nonce,
                    terms,
                    until: now + ANSWER_TIMEOUT,
                };
                let offer = KeyOffer {
                    path_id: self.terms.path.0,
                    epoch,
                    spi: spi.0,
                    nonce: nonce.to_vec(),
                    suite: terms.name(),
                    lanes: self.terms.lanes.to_wire(),
                };
                self.send(connection, KeyMessage::Offer(offer));
            }
            Some(Offered { theirs, nonce_client, terms, lanes }) => {
                let (ours, nonce_server) = (spi, nonce);
                let pair = Pair { epoch, ours, theirs, nonce_client, nonce_server, terms, lanes };
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
                // The peer may want now what it has refused.
                self.falls_back = false;
                self.to_request |= self.phase != Phase::Idle;
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
                    lanes: self.terms.lanes.to_wire(),
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
                let Pair { epoch, ours, terms, .. } = pair;
                self.phase = Phase::Confirming { epoch, ours, terms };
            }
            Role::Server => self.keyed(connection, pair.epoch, pair.terms, now),
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
