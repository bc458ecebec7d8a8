//! The peer connections need this edge's ID and fabric port, which the first generation brings: until then their parts wait.

use std::sync::Arc;

use hawser_edge_core::config::EdgeState;
use hawser_edge_core::id::{EdgeId, PathId};
use hawser_edge_core::keys::SaUsage;
use hawser_proto::peer::v1::{Reachability, Selections};
use tokio::sync::{mpsc, watch};

use super::host_task::chain;
use crate::control;
use crate::dataplane::{DataPlane, FabricDatagram};
use crate::peer::{
    self, CommandError, DataPlaneSender, HelloFacts, PeerConfig, PeerEvent, PeerHandle, PeerRoutes,
    PeerSettings, PeerTimers, RevokedSerials,
};

/// What the peer connections are made of.
pub(super) struct Parts {
    pub identity: Arc<control::Identity>,
    pub boot_id: String,
    pub dataplane: Arc<dyn DataPlane>,
    pub datagrams: mpsc::Receiver<FabricDatagram>,
    pub routes: Arc<PeerRoutes>,
}

/// The peer connections, started by the first generation.
pub(super) struct Peering {
    parts: Option<Parts>,
    handle: Option<PeerHandle>,
    revoked: watch::Sender<Arc<RevokedSerials>>,
    hello: HelloFacts,
    events: Option<mpsc::Receiver<PeerEvent>>,
}

impl Peering {
    pub(super) fn new(parts: Parts) -> Peering {
        Peering {
            parts: Some(parts),
            handle: None,
            revoked: watch::channel(Arc::default()).0,
            hello: HelloFacts::default(),
            events: None,
        }
    }

    /// Starts what has not been started, then replaces the set of peers.
    pub(super) fn configure(&mut self, edge: &EdgeState, peers: impl Iterator<Item = PeerConfig>) {
        if let Some(parts) = self.parts.take() {
            self.start(edge, parts);
        }
        if let Some(handle) = &self.handle {
            handle.configure(peers);
        }
    }

    fn start(&mut self, edge: &EdgeState, parts: Parts) {
        let settings = PeerSettings {
            fleet: edge.fleet.clone(),
            edge: edge.edge_id,
            edge_name: edge.edge.clone(),
            fabric_port: edge.fabric_port,
            boot_id: parts.boot_id,
            lanes: parts.dataplane.lanes(),
            timers: PeerTimers::default(),
        };
        let identity = of_peers(&parts.identity);
        let started = peer::start(
            settings,
            identity,
            self.revoked.subscribe(),
            parts.routes,
            Arc::new(DataPlaneSender(parts.dataplane)),
            parts.datagrams,
        );
        match started {
            Ok((handle, events)) => {
                handle.set_hello(self.hello.clone());
                self.handle = Some(handle);
                self.events = Some(events);
            }
            // The identity was loaded and used for the controller before: this is no everyday fault.
            Err(error) => tracing::error!("no peer connections: {}", chain(&error)),
        }
    }

    /// Nobody is a peer any more.
    pub(super) fn forget_all(&mut self) {
        if let Some(handle) = &self.handle {
            handle.configure([]);
        }
    }

    pub(super) fn set_hello(&mut self, facts: HelloFacts) {
        if let Some(handle) = &self.handle {
            handle.set_hello(facts.clone());
        }
        self.hello = facts;
    }

    /// A renewed key and certificate: new connections use it, those that live go on.
    pub(super) fn set_identity(&mut self, identity: Arc<control::Identity>) {
        if let Some(handle) = &self.handle
            && let Err(error) = handle.set_identity(of_peers(&identity))
        {
            tracing::error!("the renewed identity can't be used: {}", chain(&error));
        }
        if let Some(parts) = &mut self.parts {
            parts.identity = identity;
        }
    }

    pub(super) fn set_revoked(&mut self, serials: RevokedSerials) {
        self.revoked.send_replace(Arc::new(serials));
    }

    pub(super) fn report_usage(&self, path: PathId, usage: SaUsage) -> Result<(), CommandError> {
        self.handle.as_ref().map_or(Ok(()), |handle| handle.report_usage(path, usage))
    }

    /// Asks for fresh keys of a path.
    pub(super) fn rekey(&self, path: PathId) -> Result<(), CommandError> {
        self.handle.as_ref().map_or(Ok(()), |handle| handle.rekey(path))
    }

    /// Tells a peer what this edge reaches, now and after each reconnect.
    pub(super) fn advertise(
        &self,
        edge: EdgeId,
        messages: Vec<Reachability>,
    ) -> Result<(), CommandError> {
        let handle = self.handle.as_ref().ok_or(CommandError::Closed)?;
        handle.advertise(edge, messages)
    }

    /// Tells a peer what carries its symmetric classes, now and after each reconnect.
    pub(super) fn tell_selections(
        &self,
        edge: EdgeId,
        told: Selections,
    ) -> Result<(), CommandError> {
        let handle = self.handle.as_ref().ok_or(CommandError::Closed)?;
        handle.tell_selections(edge, told)
    }

    /// The next event; for ever none before the start.
    pub(super) async fn event(&mut self) -> PeerEvent {
        match &mut self.events {
            Some(events) => match events.recv().await {
                Some(event) => event,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

fn of_peers(own: &control::Identity) -> peer::Identity {
    peer::Identity::from_der(own.chain().to_vec(), own.key().der(), own.root().clone())
}
