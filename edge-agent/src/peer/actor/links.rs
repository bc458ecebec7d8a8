//! The connections of one peer: usually one, two while one replaces another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hawser_edge_core::id::PathId;
use hawser_edge_core::keys::{
    Candidate, ConnectionNo, KeySuite, RekeyLimits, Role, SpiPair, Verdict, judge,
};
use hawser_edge_core::time::Micros;
use hawser_proto::peer::v1::peer_message::Message;
use hawser_proto::peer::v1::{KeyRefusal, Superseded};
use hawser_proto::revocation::Assembly;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Actor;
use super::revocation::Rests;
use crate::peer::api::PeerEvent;
use crate::peer::close::{Close, Ended};
use crate::peer::hello;
use crate::peer::identity::EdgeCertificate;
use crate::peer::link::{Greeted, read_all, write_all};
use crate::peer::shared::add;

/// Connections of one peer at once; the oldest that keys nothing goes.
const MAX_LINKS: usize = 4;
/// A burst of messages for every path of a tunnel. A peer that reads none of them is as good as gone.
const OUTBOX: usize = 512;
/// The acceptor ends a connection that its opener has not replaced by then, in `rekey_after`s.
const OVERDUE: f64 = 1.5;

/// An established connection.
pub(super) struct Link {
    pub(super) connection: quinn::Connection,
    outbox: mpsc::Sender<Message>,
    reader: AbortHandle,
    pub(super) opened_here: bool,
    peer_boot: String,
    /// What the peer's paths were keyed with when it said hello, as this edge sees it.
    peer_pairs: BTreeMap<PathId, SpiPair>,
    pub(super) rests: Rests,
    /// Number of the revocation list that the peer has.
    pub(super) peer_list: u64,
    pub(super) assembly: Assembly,
    /// Ours, and current: when the next one is opened.
    pub(super) replace_at: Option<Micros>,
    /// When it ends, at the latest, and why.
    pub(super) close_at: Option<(Micros, Close)>,
    /// Paths that it has keyed.
    pub(super) keyed: BTreeSet<PathId>,
}

impl Link {
    pub(super) fn next_deadline(&self) -> Option<Micros> {
        self.close_at.map(|(at, _)| at)
    }
}

impl Actor {
    pub(super) fn current_link(&self) -> Option<&Link> {
        self.links.get(&self.current?)
    }

    /// A connection has been opened or accepted.
    pub(super) async fn on_link(&mut self, greeted: Greeted) {
        let now = self.shared.now();
        if self.is_revoked(&greeted) {
            Close::Revoked.end(&greeted.connection);
            if greeted.opened_here {
                self.on_dial_failed(Ended::new("revoked", "")).await;
            }
            return;
        }
        if greeted.opened_here {
            self.dial_succeeded(now);
        }
        if let Some((uplink, from)) = greeted.seen_at {
            let edge = self.config.edge;
            self.shared.routes.learn(edge, uplink, from);
            self.shared.tell(PeerEvent::PeerSeen { edge, uplink, from }).await;
        }
        self.check_key(&greeted.certificate).await;
        let facts = hello::facts(&greeted.hello);
        let boot_id = greeted.hello.boot_id.clone();
        let no = self.add_link(greeted);
        let (edge, tunnel) = (self.config.edge, self.config.tunnel);
        self.shared.tell(PeerEvent::PeerHello { edge, tunnel, boot_id, facts }).await;
        self.choose(no).await;
    }

    fn add_link(&mut self, greeted: Greeted) -> ConnectionNo {
        if self.links.len() >= MAX_LINKS
            && let Some(oldest) = self.links.keys().copied().find(|no| Some(*no) != self.current)
        {
            self.drop_link(oldest, Close::Replaced);
        }
        let no = self.shared.connection_no();
        let (outbox, messages) = mpsc::channel(OUTBOX);
        self.tasks.spawn(write_all(greeted.send, messages));
        let reader = self.tasks.spawn(read_all(no, greeted.recv, self.myself.clone()));
        let link = Link {
            connection: greeted.connection,
            outbox,
            reader,
            opened_here: greeted.opened_here,
            peer_pairs: hello::pairs(&greeted.hello),
            peer_boot: greeted.hello.boot_id,
            rests: Rests::of(greeted.serials, &self.shared.own_authorities.load()),
            peer_list: greeted.hello.revocations,
            assembly: Assembly::default(),
            replace_at: None,
            close_at: None,
            keyed: BTreeSet::new(),
        };
        self.links.insert(no, link);
        no
    }

    /// The new one, or the one we have?
    async fn choose(&mut self, new: ConnectionNo) {
        let verdict = match (self.current.and_then(|no| self.candidate(no)), self.candidate(new)) {
            (Some(current), Some(new)) => judge(&current, &new),
            _ => Verdict::Replace,
        };
        let loser = match verdict {
            Verdict::Replace => self.adopt(new).await,
            Verdict::Standby => Some(new),
        };
        let Some(loser) = loser else { return };
        self.send(loser, Message::Superseded(Superseded {}));
        let until = self.shared.now() + self.shared.settings.timers.handover;
        if let Some(link) = self.links.get_mut(&loser) {
            link.replace_at = None;
            link.close_at = Some((until, Close::Replaced));
        }
    }

    fn candidate(&self, no: ConnectionNo) -> Option<Candidate> {
        let link = self.links.get(&no)?;
        let opener = if link.opened_here { self.shared.settings.edge } else { self.config.edge };
        Some(Candidate { opener, peer_boot: link.peer_boot.clone() })
    }

    /// Makes a connection the current one: it keys every path. Gives back the one that was.
    async fn adopt(&mut self, no: ConnectionNo) -> Option<ConnectionNo> {
        let now = self.shared.now();
        let link = self.links.get_mut(&no)?;
        let opened_here = link.opened_here;
        link.keyed.clear();
        (link.replace_at, link.close_at) = (None, None);
        if !opened_here && self.config.edge < self.shared.settings.edge {
            // Theirs would win.
            self.dialler.abort();
        }
        self.dialler.reset(now);
        let role = if opened_here { Role::Client } else { Role::Server };
        // Fresh keys belong to every new connection, but for one: a restart of one end, after which both still have what
        // was agreed before. It would be a storm of rekeys for nothing.
        let restarted = self.last_boot.as_ref() != Some(&link.peer_boot);
        self.last_boot = Some(link.peer_boot.clone());
        for (path, agreement) in &mut self.agreements {
            let told = link.peer_pairs.get(path).copied();
            if restarted && told.is_some() && agreement.pair() == told {
                agreement.adopt_keyed(no, role);
                link.keyed.insert(*path);
            } else {
                agreement.adopt(no, role, now);
            }
        }
        self.keyed_by = link.rests.clone();
        self.keys_end_at = None;
        let before = self.current.replace(no);
        self.limit_current();
        self.send_list();
        self.send(no, Message::Pairing(self.config.pairing()));
        for part in self.advertised.clone() {
            self.send(no, Message::Reachability(part));
        }
        if let Some(told) = self.selections.clone() {
            self.send(no, Message::Selections(told));
        }
        if before.is_none()
            && let Some(key) = self.last_key
        {
            let (edge, tunnel) = (self.config.edge, self.config.tunnel);
            self.shared.tell(PeerEvent::PeerUp { edge, tunnel, key, opened_here }).await;
        }
        before
    }

    /// When the current connection has keyed for long enough. A changed limit counts from now on, and never puts off
    /// what is due.
    pub(super) fn limit_current(&mut self) {
        let now = self.shared.now();
        // Time is the same for every suite.
        let (after, suite) = (self.config.rekey_after, KeySuite::Aes128Gcm);
        let limits = RekeyLimits { after, after_bytes: 0, esn: true, suite };
        let Some(link) = self.current.and_then(|no| self.links.get_mut(&no)) else { return };
        if link.opened_here {
            let next = limits.next_connection(now, rand::random());
            link.replace_at = Some(link.replace_at.map_or(next, |at| at.min(next)));
        } else {
            let overdue = now + limits.after.mul_f64(OVERDUE) + Duration::from_secs(5);
            link.close_at = Some((overdue, Close::Overdue));
        }
    }

    /// The role that new agreements begin with.
    pub(super) fn current_role(&self) -> Option<(ConnectionNo, Role)> {
        let no = self.current?;
        let opened_here = self.links.get(&no)?.opened_here;
        Some((no, if opened_here { Role::Client } else { Role::Server }))
    }

    async fn check_key(&mut self, certificate: &EdgeCertificate) {
        let new = certificate.key;
        if let Some(old) = self.last_key.replace(new)
            && old != new
        {
            let edge = self.config.edge;
            self.shared.tell(PeerEvent::KeyChanged { edge, old, new }).await;
        }
    }

    pub(super) async fn on_message(&mut self, no: ConnectionNo, message: Message) {
        if !self.links.contains_key(&no) {
            return;
        }
        let current = self.current == Some(no);
        match message {
            Message::Hello(_) => {
                self.end_link(no, Close::Protocol, Ended::new("protocol", "a second hello")).await;
            }
            Message::KeyOffer(offer) if !current => {
                let (path_id, epoch) = (offer.path_id, offer.epoch);
                let code = "superseded".to_owned();
                self.send(no, Message::KeyRefusal(KeyRefusal { path_id, epoch, code }));
            }
            Message::RevocationPart(piece) => self.on_list_piece(no, piece).await,
            // Both ends compare for themselves; what this says is known then, or comes with the other connection.
            Message::Superseded(_) => {}
            Message::Reachability(message) if current => {
                let edge = self.config.edge;
                self.shared.tell(PeerEvent::Reachability { edge, message }).await;
            }
            Message::Selections(message) if current => {
                let edge = self.config.edge;
                self.shared.tell(PeerEvent::Selections { edge, message }).await;
            }
            Message::Pairing(message) if current => self.on_pairing(message).await,
            Message::Reachability(_) | Message::Selections(_) | Message::Pairing(_) => {
                add(&self.shared.counts.messages_ignored)
            }
            message => self.on_key_message(no, message),
        }
    }

    pub(super) async fn on_closed(&mut self, no: ConnectionNo, ended: Ended) {
        let close = if ended.code == "protocol" { Close::Protocol } else { Close::Replaced };
        self.end_link(no, close, ended).await;
    }

    /// A connection is gone. If it was the current one, one that waits takes its place.
    pub(super) async fn end_link(&mut self, no: ConnectionNo, close: Close, ended: Ended) {
        self.drop_link(no, close);
        if self.current != Some(no) {
            return;
        }
        self.current = None;
        let standby =
            self.links.iter().rev().find(|(_, link)| link.connection.close_reason().is_none());
        match standby.map(|(no, _)| *no) {
            Some(standby) => {
                self.adopt(standby).await;
            }
            None => {
                self.shared.routes.set_focus(self.config.edge, None);
                self.dialler.reset(self.shared.now());
                self.tell_down(ended.code).await;
            }
        }
    }

    pub(super) fn drop_link(&mut self, no: ConnectionNo, close: Close) {
        let Some(link) = self.links.remove(&no) else { return };
        close.end(&link.connection);
        link.reader.abort();
        for agreement in self.agreements.values_mut() {
            agreement.connection_closed(no);
        }
    }

    /// Ends what has been replaced for long enough, or has keyed for too long.
    pub(super) async fn close_overdue(&mut self, now: Micros) {
        let due: Vec<_> = self
            .links
            .iter()
            .filter_map(|(no, link)| link.close_at.map(|(at, close)| (*no, at, close)))
            .filter(|(_, at, _)| *at <= now)
            .collect();
        for (no, _, close) in due {
            self.end_link(no, close, Ended::new(close.code(), "")).await;
        }
    }

    /// Every path is keyed on the current connection: the others are not needed any more.
    pub(super) fn close_replaced(&mut self) {
        let all = self.agreements.len();
        if self.current_link().is_none_or(|link| link.keyed.len() < all) {
            return;
        }
        let others: Vec<_> =
            self.links.keys().copied().filter(|no| Some(*no) != self.current).collect();
        for no in others {
            self.drop_link(no, Close::Replaced);
        }
    }

    pub(super) fn close_all(&mut self, close: Close) {
        for no in self.links.keys().copied().collect::<Vec<_>>() {
            self.drop_link(no, close);
        }
        self.current = None;
        self.dialler.reset(self.shared.now());
    }

    pub(super) fn send_current(&mut self, message: Message) {
        if let Some(no) = self.current {
            self.send(no, message);
        }
    }

    pub(super) fn send(&mut self, no: ConnectionNo, message: Message) {
        let Some(link) = self.links.get(&no) else { return };
        if link.outbox.try_send(message).is_err() {
            // Its reader reports the end.
            Close::Protocol.end(&link.connection);
        }
    }
}
