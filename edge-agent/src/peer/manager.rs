//! Starts the peer connections, and keeps one actor for each configured peer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use hawser_edge_core::id::{EdgeId, PathId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::accept::{self, Directory};
use super::actor::{Actor, Input};
use super::api::{Command, PeerConfig, PeerEvent, PeerSettings};
use super::close::Close;
use super::connection_id::IssuedIds;
use super::handle::{PeerHandle, Peers};
use super::identity::{Identity, IdentityError};
use super::routes::PeerRoutes;
use super::sender::FabricSender;
use super::shared::{Counts, Shared, configs, endpoint_config};
use super::socket::FabricSocket;
use super::spi::SpiPool;
use super::tls::Revocations;
use crate::dataplane::FabricDatagram;

/// Events that may wait for the engine: a burst of installations for every path of several tunnels.
const EVENTS: usize = 512;
/// Commands that may wait: a report of every path's use.
const COMMANDS: usize = 1024;

/// Why the peer connections could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The identity can't be used.
    #[error("the identity can't be used")]
    Identity(#[from] IdentityError),
    /// QUIC could not be started: called outside a runtime?
    #[error("QUIC can't be started")]
    Endpoint(#[source] std::io::Error),
    /// The system gives no randomness.
    #[error("the system gives no random octets")]
    Random,
}

/// Starts the peer connections, in the current tokio runtime. They end when the handle is dropped.
///
/// `datagrams` are those of the peer connections as they came, without the non-ESP marker; `sender` sends what is to be
/// sent; `routes` is shared with whoever knows where peers are. `revoked` may change at any time.
pub fn start(
    settings: PeerSettings,
    identity: Identity,
    revoked: Revocations,
    routes: Arc<PeerRoutes>,
    sender: Arc<dyn FabricSender>,
    datagrams: mpsc::Receiver<FabricDatagram>,
) -> Result<(PeerHandle, mpsc::Receiver<PeerEvent>), StartError> {
    identity.check()?;
    let (client, server) = configs(&identity, &settings, &revoked)?;
    let ids = IssuedIds::new().map_err(|_| StartError::Random)?;
    let port = settings.fabric_port;
    let socket = Arc::new(FabricSocket::new(sender, datagrams, routes.clone(), ids.clone(), port));
    let endpoint = quinn::Endpoint::new_with_abstract_socket(
        endpoint_config(ids),
        Some(server),
        socket.clone(),
        Arc::new(quinn::TokioRuntime),
    )
    .map_err(StartError::Endpoint)?;
    let (events, event_receiver) = mpsc::channel(EVENTS);
    let (commands, command_receiver) = mpsc::channel(COMMANDS);
    let (hello, hello_receiver) = watch::channel(Arc::default());
    let (peers, peer_receiver) = watch::channel(Arc::new(Peers::new()));
    let own_authorities = ArcSwap::from_pointee(identity.authorities());
    let (identity, identity_receiver) = watch::channel(Arc::new(identity));
    let counts = Arc::new(Counts::default());
    let lanes = settings.lanes;
    let shared = Arc::new(Shared {
        settings,
        endpoint,
        routes,
        events,
        hello: hello_receiver,
        revoked: revoked.clone(),
        client: ArcSwap::from_pointee(client),
        own_authorities,
        spis: SpiPool::new(lanes),
        keyed: Default::default(),
        counts: counts.clone(),
        next_connection: AtomicU64::new(0),
        started: Instant::now(),
    });
    let manager = Manager {
        shared,
        peers: peer_receiver,
        identity: identity_receiver,
        revoked,
        commands: command_receiver,
        directory: Arc::default(),
        actors: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    tokio::spawn(manager.run());
    Ok((PeerHandle { peers, hello, identity, commands, counts, socket }, event_receiver))
}

struct Manager {
    shared: Arc<Shared>,
    peers: watch::Receiver<Arc<Peers>>,
    identity: watch::Receiver<Arc<Identity>>,
    revoked: Revocations,
    commands: mpsc::Receiver<Command>,
    directory: Arc<ArcSwap<Directory>>,
    actors: BTreeMap<EdgeId, (PeerConfig, mpsc::Sender<Input>)>,
    tasks: JoinSet<EdgeId>,
}

impl Manager {
    async fn run(mut self) {
        let accepting = tokio::spawn(accept::serve(self.shared.clone(), self.directory.clone()));
        let mut revocations = true;
        loop {
            tokio::select! {
                changed = self.peers.changed() => match changed {
                    Ok(()) => self.reconfigure().await,
                    Err(_) => break,
                },
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command).await,
                    None => break,
                },
                Ok(()) = self.identity.changed() => {
                    let identity = self.identity.borrow_and_update().clone();
                    // Checked when it was set.
                    if let Err(error) = self.shared.renew(&identity) {
                        tracing::error!("the renewed identity can't be used: {error}");
                    }
                },
                changed = self.revoked.changed(), if revocations => {
                    revocations = changed.is_ok();
                    self.tell_all(|| Input::Revoked).await;
                },
                Some(_) = self.tasks.join_next() => {}
            }
        }
        self.tasks.abort_all();
        accepting.abort();
        self.shared
            .endpoint
            .close((Close::Shutdown as u32).into(), Close::Shutdown.code().as_bytes());
        // The goodbye leaves while the endpoint lives.
        let _ = tokio::time::timeout(
            std::time::Duration::from_millis(200),
            self.shared.endpoint.wait_idle(),
        )
        .await;
    }

    async fn reconfigure(&mut self) {
        let wanted = self.peers.borrow_and_update().clone();
        let gone: Vec<EdgeId> =
            self.actors.keys().copied().filter(|edge| !wanted.contains_key(edge)).collect();
        for edge in gone {
            if let Some((_, actor)) = self.actors.remove(&edge) {
                let _ = actor.send(Input::Remove).await;
            }
        }
        for (edge, config) in wanted.iter().filter(|(edge, _)| **edge != self.shared.settings.edge)
        {
            match self.actors.get_mut(edge) {
                Some((known, _)) if known == config => {}
                Some((known, actor)) => {
                    *known = config.clone();
                    let _ = actor.send(Input::Configure(Box::new(config.clone()))).await;
                }
                None => {
                    let actor = Actor::spawn(self.shared.clone(), config.clone(), &mut self.tasks);
                    self.actors.insert(*edge, (config.clone(), actor));
                }
            }
        }
        let named = self
            .actors
            .iter()
            .map(|(edge, (config, actor))| (config.edge_name.clone(), (*edge, actor.clone())));
        self.directory.store(Arc::new(named.collect()));
    }

    async fn command(&mut self, command: Command) {
        // Peers come by another way than commands, and a command may be for one that came before it.
        if self.peers.has_changed().unwrap_or(false) {
            self.reconfigure().await;
        }
        match command {
            Command::Rekey(path) => self.tell_owner(path, Input::Rekey(path)).await,
            Command::Usage(path, usage) => self.tell_owner(path, Input::Usage(path, usage)).await,
            Command::Advertise(edge, parts) => self.tell(edge, Input::Advertise(parts)).await,
            Command::TellSelections(edge, told) => {
                self.tell(edge, Input::TellSelections(told)).await;
            }
        }
    }

    async fn tell(&self, edge: EdgeId, input: Input) {
        if let Some((_, actor)) = self.actors.get(&edge) {
            let _ = actor.send(input).await;
        }
    }

    async fn tell_owner(&self, path: PathId, input: Input) {
        let owner = self.actors.values().find(|(config, _)| config.paths.contains_key(&path));
        if let Some((_, actor)) = owner {
            let _ = actor.send(input).await;
        }
    }

    async fn tell_all(&self, input: impl Fn() -> Input) {
        for (_, actor) in self.actors.values() {
            let _ = actor.send(input()).await;
        }
    }
}
