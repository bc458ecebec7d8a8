//! Which fleets this process serves, and which of them a TLS client's hello means.
//!
//! A name under the fixed one that is no fleet's, or one of a fleet that could not be opened, gets nothing: not even the words of a refusal.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::grpc::Connection;
use crate::listener::{ListenError, tls_config};
use crate::metrics::UnknownFleets;
use crate::pki::{CONTROLLER_NAME, PkiError, fleet_name, root_name};
use crate::service::Controller;

/// Of one fleet.
const MAX_CONNECTIONS: usize = 8_192;
/// Connections that are ready and not yet taken by the server.
const QUEUE_DEPTH: usize = 64;

pub type Connections = ReceiverStream<io::Result<Connection>>;

#[derive(Debug)]
pub struct Entry {
    pub controller: Arc<Controller>,
    pub tls: Arc<rustls::ServerConfig>,
    pub ready: mpsc::Sender<io::Result<Connection>>,
    pub places: Arc<Semaphore>,
}

#[derive(Debug)]
pub struct Directory {
    entries: Vec<Entry>,
    /// The fleet of the data folder itself, if it is served.
    first: Option<usize>,
    names: BTreeMap<String, usize>,
    unknown: Arc<UnknownFleets>,
}

#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl Directory {
    pub fn new(unknown: Arc<UnknownFleets>) -> Self {
        Self { entries: Vec::new(), first: None, names: BTreeMap::new(), unknown }
    }

    /// Its connections come out of what is returned. The first fleet is also whoever's who names none.
    pub fn add(
        &mut self,
        controller: &Arc<Controller>,
        is_first: bool,
    ) -> Result<Connections, DirectoryError> {
        let pki = controller.pki();
        let tls = Arc::new(tls_config(pki)?);
        let (ready, connections) = mpsc::channel(QUEUE_DEPTH);
        let at = self.entries.len();
        self.names.insert(fleet_name(controller.fleet_name()), at);
        self.names.insert(root_name(&pki.root_pin()?), at);
        if is_first {
            self.first = Some(at);
        }
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        self.entries.push(Entry { controller: Arc::clone(controller), tls, ready, places });
        Ok(ReceiverStream::new(connections))
    }

    /// None: there is no such fleet, or it could not be opened. One whose store failed says so itself.
    pub fn find(&self, asked: Option<&str>) -> Option<&Entry> {
        let asked = asked.map(str::to_ascii_lowercase);
        let at = match asked.as_deref() {
            Some(name) if is_below_fixed(name) => self.names.get(name).copied(),
            _ => self.first,
        };
        self.entries.get(at?)
    }

    /// What belongs to no fleet is counted with the first that is served.
    pub fn count(&self, counter: &'static str) {
        if let Some(entry) = self.entries.first() {
            entry.controller.count(counter);
        }
    }

    pub fn refuse_unknown(&self, address: SocketAddr) {
        self.unknown.asked_by_tls(address);
    }
}

fn is_below_fixed(name: &str) -> bool {
    name.strip_suffix(CONTROLLER_NAME).is_some_and(|before| before.ends_with('.'))
}
