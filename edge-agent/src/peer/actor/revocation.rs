//! Certificates that are good no more: connections and keys that rest on one end, and the list is passed on.

use std::time::Duration;

use hawser_edge_core::keys::ConnectionNo;
use hawser_edge_core::time::Micros;
use hawser_proto::peer::v1::RevocationPart;
use hawser_proto::peer::v1::peer_message::Message;

use super::Actor;
use crate::peer::api::{PeerEvent, RevokedSerials};
use crate::peer::close::{Close, Ended};
use crate::peer::link::Greeted;

/// A connection of which an end's CA was retired, and the keys that came of it, end after so long: their opener has the time to open
/// another, with no packet lost.
const RETIRED_GRACE: Duration = Duration::from_secs(30);
/// It does so at a moment within this time: a hub's peers not all at once.
const RETIRED_SPREAD: Duration = Duration::from_secs(10);

/// The certificates that a connection rests on, by their serials.
#[derive(Debug, Clone, Default)]
pub(super) struct Rests {
    /// The peer's own.
    leaf: Option<Vec<u8>>,
    /// The CAs of both ends.
    authorities: Vec<Vec<u8>>,
}

impl Rests {
    /// Of the peer's chain, and the CAs that ours is of.
    pub(super) fn of(chain: Vec<Vec<u8>>, own: &[Vec<u8>]) -> Self {
        let mut chain = chain.into_iter();
        let leaf = chain.next();
        Rests { leaf, authorities: chain.chain(own.iter().cloned()).collect() }
    }

    fn revoked(&self, list: &RevokedSerials) -> bool {
        self.leaf.as_ref().is_some_and(|serial| list.contains(serial))
    }

    fn retired(&self, list: &RevokedSerials) -> bool {
        self.authorities.iter().any(|serial| list.contains(serial))
    }
}

impl Actor {
    /// Ends every connection whose peer's certificate has been revoked, and the keys that came of one. What rests on a retired CA is
    /// replaced first.
    pub(super) async fn close_revoked(&mut self) {
        let revoked = self.shared.revoked.borrow().clone();
        let gone: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| link.rests.revoked(&revoked))
            .map(|(no, _)| *no)
            .collect();
        let keys_end = self.keyed_by.revoked(&revoked);
        // Not the current one first: it would be followed by one that must go too.
        let current = self.current;
        for no in gone.iter().copied().filter(|no| Some(*no) != current) {
            self.drop_link(no, Close::Revoked);
        }
        if keys_end {
            self.forget_keys().await;
        }
        if let Some(no) = self.current.filter(|no| gone.contains(no)) {
            self.end_link(no, Close::Revoked, Ended::new("revoked", "")).await;
        }
        self.replace_retired(&revoked);
    }

    fn replace_retired(&mut self, list: &RevokedSerials) {
        let now = self.shared.now();
        let until = now + RETIRED_GRACE;
        for (no, link) in self.links.iter_mut().filter(|(_, link)| link.rests.retired(list)) {
            if link.close_at.is_none_or(|(at, _)| at > until) {
                link.close_at = Some((until, Close::Revoked));
            }
            if link.opened_here && Some(*no) == self.current {
                let soon = now + RETIRED_SPREAD.mul_f64(rand::random());
                link.replace_at = Some(link.replace_at.map_or(soon, |at| at.min(soon)));
            }
        }
        if self.keyed_by.retired(list) && self.keys_end_at.is_none() {
            self.keys_end_at = Some(until);
        }
    }

    /// Keys that rest on a retired CA, and for which no others have come.
    pub(super) async fn end_keys_if_due(&mut self, now: Micros) {
        if self.keys_end_at.is_some_and(|at| at <= now) {
            self.forget_keys().await;
        }
    }

    /// A connection that was being opened when its certificate was revoked.
    pub(super) fn is_revoked(&self, greeted: &Greeted) -> bool {
        let revoked = self.shared.revoked.borrow();
        greeted.serials.iter().any(|serial| revoked.contains(serial))
    }

    /// Every SA of the tunnel goes at once, however long the connection was away.
    async fn forget_keys(&mut self) {
        self.keyed_by = Rests::default();
        self.keys_end_at = None;
        for agreement in self.agreements.values_mut() {
            agreement.remove();
        }
        self.apply_effects().await;
        let paths = self.agreements.keys().copied().collect();
        self.agreements.clear();
        // What a former run left was agreed with the same device. The connection, if there is one, is about to end.
        self.config.kept.clear();
        let current = self.current.take();
        self.configure_paths();
        self.current = current;
        self.tell_pairs();
        let (edge, tunnel) = (self.config.edge, self.config.tunnel);
        self.shared.tell(PeerEvent::PeerRevoked { edge, tunnel, paths }).await;
    }

    /// Passes our list on to a peer that has an older one.
    pub(super) fn send_list(&mut self) {
        let revoked = self.shared.revoked.borrow().clone();
        let Some(no) = self.current else { return };
        let Some(link) = self.links.get_mut(&no) else { return };
        if link.peer_list >= revoked.number() {
            return;
        }
        link.peer_list = revoked.number();
        for part in revoked.parts() {
            self.send(no, Message::RevocationPart(part.clone()));
        }
    }

    /// A piece of the peer's list. It is verified by whoever holds the fleet's root; nothing is believed here.
    pub(super) async fn on_list_piece(&mut self, no: ConnectionNo, piece: RevocationPart) {
        let ours = self.shared.revoked.borrow().number();
        let Some(link) = self.links.get_mut(&no) else { return };
        let number = piece.number;
        if number <= ours {
            return;
        }
        if let Some(list) = link.assembly.take(piece) {
            link.peer_list = link.peer_list.max(number);
            self.shared.tell(PeerEvent::RevocationList { list }).await;
        }
    }
}
