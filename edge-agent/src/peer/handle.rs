//! The engine's hold on the peer connections. No call waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_edge_core::id::{EdgeId, PathId};
use hawser_edge_core::keys::SaUsage;
use hawser_proto::peer::v1::{Reachability, Selections};
use tokio::sync::{mpsc, watch};

use super::api::{Command, CommandError, HelloFacts, PeerConfig};
use super::identity::{Identity, IdentityError};
use super::shared::{Counts, PeerCounters};
use super::socket::FabricSocket;

/// Peers by edge, as last configured.
pub(super) type Peers = BTreeMap<EdgeId, PeerConfig>;

/// Dropped or closed, all peer connections end; installed SAs stay.
#[derive(Debug)]
pub struct PeerHandle {
    pub(super) peers: watch::Sender<Arc<Peers>>,
    pub(super) hello: watch::Sender<Arc<HelloFacts>>,
    pub(super) identity: watch::Sender<Arc<Identity>>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) counts: Arc<Counts>,
    pub(super) socket: Arc<FabricSocket>,
}

impl PeerHandle {
    /// Replaces the whole set of peers. New ones are dialled and accepted from now on, gone ones lose their connection
    /// and their inbound SAs (`RetireInbound`). A path whose keying changed gets a new epoch.
    pub fn configure(&self, peers: impl IntoIterator<Item = PeerConfig>) {
        let peers = peers.into_iter().map(|peer| (peer.edge, peer)).collect();
        self.peers.send_replace(Arc::new(peers));
    }

    /// What the next connections' hellos say.
    pub fn set_hello(&self, facts: HelloFacts) {
        self.hello.send_replace(Arc::new(facts));
    }

    /// A renewed certificate, for the next connections. The old ones live on until their rekey.
    pub fn set_identity(&self, identity: Identity) -> Result<(), IdentityError> {
        identity.check()?;
        self.identity.send_replace(Arc::new(identity));
        Ok(())
    }

    /// Fresh keys for a path, as soon as may be; without a connection when there is one again.
    pub fn rekey(&self, path: PathId) -> Result<(), CommandError> {
        self.command(Command::Rekey(path))
    }

    /// How far the path's outbound SA is used. Rekeys when a limit is near; see `OutboundExhausted`.
    pub fn report_usage(&self, path: PathId, usage: SaUsage) -> Result<(), CommandError> {
        self.command(Command::Usage(path, usage))
    }

    /// Tells the peer what this edge can reach, now and after each reconnect: all parts of it, in order.
    pub fn advertise(&self, edge: EdgeId, parts: Vec<Reachability>) -> Result<(), CommandError> {
        self.command(Command::Advertise(edge, parts))
    }

    /// Tells the peer what this edge sends its symmetric classes on, now and after each reconnect.
    pub fn tell_selections(&self, edge: EdgeId, told: Selections) -> Result<(), CommandError> {
        self.command(Command::TellSelections(edge, told))
    }

    /// What has been counted since the start.
    pub fn counters(&self) -> PeerCounters {
        self.counts.read(&self.socket)
    }

    fn command(&self, command: Command) -> Result<(), CommandError> {
        self.commands.try_send(command).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => CommandError::Busy,
            mpsc::error::TrySendError::Closed(_) => CommandError::Closed,
        })
    }
}
