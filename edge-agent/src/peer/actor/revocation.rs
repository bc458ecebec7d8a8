//! Certificates that are good no more: connections and keys that rest on one end, and the list is passed on.

use hawser_edge_core::keys::ConnectionNo;
use hawser_proto::peer::v1::RevocationPart;
use hawser_proto::peer::v1::peer_message::Message;

use super::Actor;
use crate::peer::api::PeerEvent;
use crate::peer::close::{Close, Ended};
use crate::peer::link::Greeted;

impl Actor {
    /// Ends every connection whose peer's certificate has been revoked, and the keys that came of one.
    pub(super) async fn close_revoked(&mut self) {
        let revoked = self.shared.revoked.borrow().clone();
        let bad = |serials: &[Vec<u8>]| serials.iter().any(|serial| revoked.contains(serial));
        let gone: Vec<_> =
            self.links.iter().filter(|(_, link)| bad(&link.serials)).map(|(no, _)| *no).collect();
        let keys_end = bad(&self.keyed_by);
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
    }

    /// A connection that was being opened when its certificate was revoked.
    pub(super) fn is_revoked(&self, greeted: &Greeted) -> bool {
        let revoked = self.shared.revoked.borrow();
        greeted.serials.iter().any(|serial| revoked.contains(serial))
    }

    /// Every SA of the tunnel goes at once, however long the connection was away.
    async fn forget_keys(&mut self) {
        self.keyed_by.clear();
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
