//! One peer: keeps a connection to it, and keys for every path of the tunnel.
//!
//! The actor is the only one to touch its agreements and links. It waits for the engine when events pile up, never for
//! the network: dials, readers and writers are tasks that report to its inbox.

mod dial;
mod keying;
mod links;
mod revocation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hawser_edge_core::id::{EdgeId, PathId, Spi};
use hawser_edge_core::keys::{Agreement, ConnectionNo, SaUsage};
use hawser_edge_core::time::Micros;
use hawser_proto::peer::v1::peer_message::Message;
use hawser_proto::peer::v1::{Reachability, Selections};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::dial::Dialler;
use self::links::Link;
use self::revocation::Rests;
use super::api::{KeyFingerprint, PathKeying, PeerConfig, PeerEvent};
use super::close::{Close, Ended};
use super::link::Greeted;
use super::shared::Shared;

/// What an actor reacts to.
pub(super) enum Input {
    /// A connection, opened or accepted.
    Link(Box<Greeted>),
    /// Our attempt to connect failed.
    DialFailed(Ended),
    /// The peer said something.
    Message(ConnectionNo, Message),
    /// A connection ended.
    Closed(ConnectionNo, Ended),
    /// The engine's answer.
    InboundInstalled(PathId, Spi, bool),
    /// The engine's answer.
    OutboundInstalled(PathId, ConnectionNo, Spi, bool),
    /// The tunnel changed.
    Configure(Box<PeerConfig>),
    /// Fresh keys, please.
    Rekey(PathId),
    /// How much an outbound SA has carried.
    Usage(PathId, SaUsage),
    /// Tell the peer.
    Advertise(Vec<Reachability>),
    /// Tell the peer.
    TellSelections(Selections),
    /// The set of revoked serials changed.
    Revoked,
    /// The tunnel is gone.
    Remove,
}

/// An actor's inbox holds a burst of messages for every path of a tunnel; what does not fit waits in its sender.
pub(super) const INBOX: usize = 256;

/// See the module.
pub(super) struct Actor {
    shared: Arc<Shared>,
    config: PeerConfig,
    inputs: mpsc::Receiver<Input>,
    myself: mpsc::Sender<Input>,
    tasks: JoinSet<()>,
    agreements: BTreeMap<PathId, Agreement>,
    links: BTreeMap<ConnectionNo, Link>,
    current: Option<ConnectionNo>,
    dialler: Dialler,
    last_key: Option<KeyFingerprint>,
    /// The boot ID of the peer's last connection that was chosen.
    last_boot: Option<String>,
    last_refusal: Option<&'static str>,
    /// The parts of the last advertisement.
    advertised: Vec<Reachability>,
    /// As last told.
    selections: Option<Selections>,
    /// The certificates that the present keys rest on.
    keyed_by: Rests,
    /// They rest on a retired CA: when they end, unless others have taken their place.
    keys_end_at: Option<Micros>,
}

impl Actor {
    /// Starts one; it ends with `Input::Remove`, or when the task is aborted.
    pub(super) fn spawn(
        shared: Arc<Shared>,
        config: PeerConfig,
        actors: &mut JoinSet<EdgeId>,
    ) -> mpsc::Sender<Input> {
        let (myself, inputs) = mpsc::channel(INBOX);
        let now = shared.now();
        let mut actor = Actor {
            dialler: Dialler::new(now, shared.settings.edge, config.edge),
            last_key: config.known_key,
            config,
            shared,
            inputs,
            myself: myself.clone(),
            tasks: JoinSet::new(),
            agreements: BTreeMap::new(),
            links: BTreeMap::new(),
            current: None,
            last_boot: None,
            last_refusal: None,
            advertised: Vec::new(),
            selections: None,
            keyed_by: Rests::default(),
            keys_end_at: None,
        };
        actors.spawn(async move {
            let edge = actor.config.edge;
            actor.configure_paths();
            actor.tell_pairs();
            actor.run().await;
            actor.shared.keyed.set(edge, BTreeMap::new());
            edge
        });
        myself
    }

    async fn run(&mut self) {
        loop {
            self.drive().await;
            let deadline = self.shared.at(self.next_deadline());
            let input = tokio::select! {
                input = self.inputs.recv() => input,
                () = tokio::time::sleep_until(deadline) => continue,
            };
            match input {
                None => return,
                Some(Input::Remove) => return self.remove().await,
                Some(input) => self.handle(input).await,
            }
        }
    }

    async fn handle(&mut self, input: Input) {
        let now = self.shared.now();
        match input {
            Input::Link(greeted) => self.on_link(*greeted).await,
            Input::DialFailed(ended) => self.on_dial_failed(ended).await,
            Input::Message(no, message) => self.on_message(no, message).await,
            Input::Closed(no, ended) => self.on_closed(no, ended).await,
            Input::InboundInstalled(path, spi, ok) => {
                self.agree(path, |a| a.inbound_installed(spi, ok, now));
            }
            Input::OutboundInstalled(path, no, spi, ok) => {
                self.agree(path, |a| a.outbound_installed(no, spi, ok, now));
            }
            Input::Configure(config) => self.on_configure(*config).await,
            Input::Rekey(path) => {
                if let Some(agreement) = self.agreements.get_mut(&path) {
                    agreement.rekey(now);
                }
            }
            Input::Usage(path, usage) => self.on_usage(path, usage).await,
            Input::Advertise(parts) => {
                for part in &parts {
                    self.send_current(Message::Reachability(part.clone()));
                }
                self.advertised = parts;
            }
            Input::TellSelections(told) => {
                self.send_current(Message::Selections(told.clone()));
                self.selections = Some(told);
            }
            Input::Revoked => {
                self.close_revoked().await;
                self.send_list();
            }
            Input::Remove => {}
        }
    }

    /// Everything that time or an input has made due.
    async fn drive(&mut self) {
        let now = self.shared.now();
        while self.tasks.try_join_next().is_some() {}
        for agreement in self.agreements.values_mut() {
            agreement.handle_timeout(now);
        }
        self.apply_effects().await;
        self.close_overdue(now).await;
        self.end_keys_if_due(now).await;
        self.dial_if_due(now);
    }

    fn next_deadline(&self) -> Micros {
        // Nothing due: an hour is as good as for ever.
        let idle = self.shared.now() + Duration::from_secs(3600);
        let agreements = self.agreements.values().filter_map(Agreement::next_deadline);
        let links = self.links.values().filter_map(Link::next_deadline);
        let others = self.next_dial().into_iter().chain(self.keys_end_at);
        agreements.chain(links).chain(others).fold(idle, Micros::min)
    }

    async fn on_configure(&mut self, config: PeerConfig) {
        let renamed = config.edge_name != self.config.edge_name;
        let old = std::mem::replace(&mut self.config, config);
        let now = self.shared.now();
        for (path, keying) in &self.config.paths {
            let Some(agreement) = self.agreements.get_mut(path) else { continue };
            agreement.set_terms(keying.terms(), now);
            let same = |old: &PathKeying| old.terms() == keying.terms() && old != keying;
            if old.paths.get(path).is_some_and(same) {
                agreement.rekey(now);
            }
        }
        for path in old.paths.keys().filter(|path| !self.config.paths.contains_key(path)) {
            if let Some(agreement) = self.agreements.get_mut(path) {
                agreement.remove();
            }
        }
        self.apply_effects().await;
        self.agreements.retain(|path, _| self.config.paths.contains_key(path));
        self.configure_paths();
        if old.rekey_after != self.config.rekey_after {
            self.limit_current();
        }
        if old.pairing() != self.config.pairing() {
            self.send_current(Message::Pairing(self.config.pairing()));
        }
        if renamed {
            self.close_all(Close::UnknownPeer);
        }
    }

    async fn remove(&mut self) {
        for agreement in self.agreements.values_mut() {
            agreement.remove();
        }
        self.apply_effects().await;
        let was_up = self.current.is_some();
        self.close_all(Close::Shutdown);
        if was_up {
            self.tell_down("closed").await;
        }
    }

    async fn tell_down(&self, code: &'static str) {
        let (edge, tunnel) = (self.config.edge, self.config.tunnel);
        self.shared.tell(PeerEvent::PeerDown { edge, tunnel, code }).await;
    }
}
