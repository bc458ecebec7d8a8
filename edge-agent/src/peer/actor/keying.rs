//! Between agreements, the connection's exporter and the engine.

use std::collections::BTreeSet;

use hawser_edge_core::id::PathId;
use hawser_edge_core::keys::{
    Agreement, ConnectionNo, Effect, Ignored, KeyMessage, Lanes, RekeyLimits, SaContext, SaUsage,
    ScheduleError, Terms, UsageVerdict,
};
use hawser_proto::peer::v1::peer_message::Message;
use hawser_proto::peer::v1::{KeyRefusal, Pairing};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{Actor, Input};
use crate::dataplane::{InboundSaSpec, KeyMaterial, OutboundSaSpec};
use crate::peer::api::{InstallFailed, MAX_PATHS, PeerEvent};
use crate::peer::shared::add;

impl Actor {
    /// An agreement for each configured path.
    pub(super) fn configure_paths(&mut self) {
        let now = self.shared.now();
        let adopted = self.current_role();
        for (&path, keying) in &self.config.paths {
            self.agreements.entry(path).or_insert_with(|| {
                let terms = Terms {
                    fleet: self.shared.settings.fleet.clone(),
                    local: self.shared.settings.edge,
                    peer: self.config.edge,
                    path,
                    sa: keying.terms(),
                    lanes: self.shared.settings.lanes,
                };
                let mut agreement = match self.config.kept.get(&path) {
                    Some(kept) => {
                        self.shared.spis.keep(kept.ours);
                        Agreement::with_kept(terms, *kept)
                    }
                    None => Agreement::new(terms),
                };
                agreement = agreement.after(self.config.former.get(&path).copied());
                if let Some((no, role)) = adopted {
                    agreement.adopt(no, role, now);
                }
                agreement
            });
        }
    }

    /// The peer's generation has these paths: what it had not before it may be offered keys for at once.
    pub(super) async fn on_pairing(&mut self, message: Pairing) {
        let now = self.shared.now();
        let paths: BTreeSet<PathId> =
            message.path_ids.into_iter().take(MAX_PATHS).map(PathId).collect();
        for (_, agreement) in self.agreements.iter_mut().filter(|(path, _)| paths.contains(path)) {
            agreement.hasten(now);
        }
        let edge = self.config.edge;
        self.shared.tell(PeerEvent::Pairing { edge, paths }).await;
    }

    /// What each path is keyed with, for the next hello to this peer.
    pub(super) fn tell_pairs(&self) {
        let pairs = self.agreements.iter().filter_map(|(path, a)| Some((*path, a.pair()?)));
        self.shared.keyed.set(self.config.edge, pairs.collect());
    }

    /// Hands something to a path's agreement, and counts what it ignores.
    pub(super) fn agree(
        &mut self,
        path: PathId,
        what: impl FnOnce(&mut Agreement) -> Result<(), Ignored>,
    ) {
        let done = self.agreements.get_mut(&path).map(what);
        if done != Some(Ok(())) {
            add(&self.shared.counts.messages_ignored);
        }
    }

    pub(super) fn on_key_message(&mut self, no: ConnectionNo, message: Message) {
        let now = self.shared.now();
        let Ok(message) = KeyMessage::try_from(message) else { return };
        let Some(path) = message.path().filter(|path| self.agreements.contains_key(path)) else {
            // The ends may be a generation apart.
            if let KeyMessage::Offer(offer) = message {
                let (path_id, epoch) = (offer.path_id, offer.epoch);
                let code = "unknown_path".to_owned();
                self.send(no, Message::KeyRefusal(KeyRefusal { path_id, epoch, code }));
            }
            return;
        };
        self.agree(path, |agreement| agreement.received(no, message, now));
    }

    pub(super) async fn on_usage(&mut self, path: PathId, usage: SaUsage) {
        let now = self.shared.now();
        let Some(keying) = self.config.paths.get(&path) else { return };
        let limits = RekeyLimits {
            after: self.config.rekey_after,
            after_bytes: keying.rekey_after_bytes,
            esn: keying.esn,
            suite: keying.suite,
        };
        let verdict = limits.judge(usage);
        if verdict == UsageVerdict::Fine {
            return;
        }
        if let Some(agreement) = self.agreements.get_mut(&path) {
            agreement.rekey(now);
        }
        if verdict == UsageVerdict::Exhausted {
            self.shared.tell(PeerEvent::OutboundExhausted { path }).await;
        }
    }

    /// Does what the agreements ask for, until they ask for nothing more.
    pub(super) async fn apply_effects(&mut self) {
        let paths: Vec<PathId> = self.agreements.keys().copied().collect();
        for path in paths {
            while let Some(effect) = self.agreements.get_mut(&path).and_then(Agreement::poll_effect)
            {
                self.apply(path, effect).await;
            }
        }
    }

    async fn apply(&mut self, path: PathId, effect: Effect) {
        match effect {
            Effect::ReserveInbound { connection, epoch } => {
                let (spi, nonce) = (self.shared.spis.reserve(), rand::random());
                let now = self.shared.now();
                self.agree(path, |a| a.reserved(connection, epoch, spi, nonce, now));
            }
            Effect::InstallInbound { connection, spi, context, esn, lanes } => {
                let inputs = self.myself.clone();
                let answer = self.install_inbound(path, connection, context, esn, lanes).await;
                self.tasks.spawn(async move {
                    let ok = installed(answer).await;
                    let _ = inputs.send(Input::InboundInstalled(path, spi, ok)).await;
                });
            }
            Effect::InstallOutbound { connection, spi, context, esn, lanes } => {
                let inputs = self.myself.clone();
                let answer = self.install_outbound(path, connection, context, esn, lanes).await;
                self.tasks.spawn(async move {
                    let ok = installed(answer).await;
                    let _ = inputs.send(Input::OutboundInstalled(path, connection, spi, ok)).await;
                });
            }
            Effect::Send { connection, message } => self.send(connection, message.into()),
            Effect::ReleaseInbound(spi) => self.shared.spis.free(spi),
            Effect::RetireInbound(spi) => {
                self.shared.tell(PeerEvent::RetireInbound { path, spi }).await;
                self.shared.spis.free(spi);
            }
            Effect::Keyed { connection, epoch } => self.on_keyed(path, connection, epoch).await,
            Effect::Refused { code } => {
                self.shared.tell(PeerEvent::KeyingRefused { path, code }).await;
            }
        }
    }

    async fn on_keyed(&mut self, path: PathId, connection: ConnectionNo, epoch: u64) {
        if let Some(link) = self.links.get_mut(&connection) {
            link.keyed.insert(path);
        }
        self.tell_pairs();
        let fresh_connection = epoch == 1;
        self.shared.tell(PeerEvent::Rekeyed { path, epoch, fresh_connection }).await;
        self.close_replaced();
    }

    async fn install_inbound(
        &mut self,
        path: PathId,
        connection: ConnectionNo,
        context: SaContext,
        esn: bool,
        lanes: Lanes,
    ) -> Option<Answer> {
        let replay_window_packets = self.config.paths.get(&path)?.replay_window_packets;
        let (spi, suite) = (context.spi, context.suite);
        let (key_material, further_lanes) = self.export(connection, context, lanes)?;
        let sa = InboundSaSpec {
            spi,
            path,
            suite,
            key_material,
            further_lanes,
            esn,
            replay_window_packets,
        };
        let (done, answer) = oneshot::channel();
        let tunnel = self.config.tunnel;
        self.shared.tell(PeerEvent::InstallInbound { tunnel, sa, done }).await;
        Some(answer)
    }

    async fn install_outbound(
        &mut self,
        path: PathId,
        connection: ConnectionNo,
        context: SaContext,
        esn: bool,
        lanes: Lanes,
    ) -> Option<Answer> {
        let (spi, suite) = (context.spi, context.suite);
        let (key_material, further_lanes) = self.export(connection, context, lanes)?;
        let sa = OutboundSaSpec { path, spi, suite, key_material, further_lanes, esn };
        let (done, answer) = oneshot::channel();
        let tunnel = self.config.tunnel;
        self.shared.tell(PeerEvent::InstallOutbound { tunnel, sa, done }).await;
        Some(answer)
    }

    /// The key of lane 0, and those of the others. `None`: the connection is gone, and its secrets with it.
    fn export(
        &self,
        connection: ConnectionNo,
        context: SaContext,
        lanes: Lanes,
    ) -> Option<(KeyMaterial, Vec<KeyMaterial>)> {
        let connection = &self.links.get(&connection)?.connection;
        let keys: Result<_, ScheduleError> =
            context.into_keys(lanes, &[], |out, label, encoded| {
                connection.export_keying_material(out, label, encoded)
            });
        let material =
            |mut octets: Zeroizing<Vec<u8>>| KeyMaterial::new(std::mem::take(&mut *octets));
        let mut keys = keys.ok()?.into_iter().map(material);
        Some((keys.next()?, keys.collect()))
    }
}

type Answer = oneshot::Receiver<Result<(), InstallFailed>>;

async fn installed(answer: Option<Answer>) -> bool {
    match answer {
        Some(answer) => matches!(answer.await, Ok(Ok(()))),
        None => false,
    }
}
