//! A running controller: store, service, listener and the few timers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hawser_telemetry::{
    About, LogSink, Past, PastError, PastFlags, TelemetryError, TelemetryFlags,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::directory::{Connections, Directory, DirectoryError};
use crate::grpc;
use crate::init::InitError;
use crate::listener::{self, ListenError};
use crate::metrics::{self, Process, Told, UnknownFleets};
use crate::opened::{self, Found, Opened};
use crate::pki::PkiError;
use crate::rest::{self, Doors};
use crate::service::{AdviceMode, Controller, ServiceError};
use crate::store::{OpenReport, Store, StoreChoice, StoreError};

/// The store is exported this often, if it changed.
const EXPORT_EVERY: Duration = Duration::from_secs(60);
/// A crash loses at most so much of what charts show.
const TRENDS_SAVED_EVERY: Duration = Duration::from_secs(300);
/// How often the age of the controller's certificate is looked at.
const RENEWAL_CHECK_EVERY: Duration = Duration::from_secs(3_600);
/// How soon a store that failed stops the process.
const HEALTH_CHECK_EVERY: Duration = Duration::from_secs(1);
/// Open requests get this long when the controller stops.
const STOP_WITHIN: Duration = Duration::from_secs(5);
const RELEASE_CHECK_EVERY: Duration = Duration::from_millis(10);

#[derive(Debug, Clone)]
pub struct Options {
    pub data: PathBuf,
    pub store: StoreChoice,
    pub listen: SocketAddr,
    pub telemetry_interval: Duration,
    pub advice: AdviceMode,
    /// How long the certificates that edges get are good.
    pub edge_lifetime: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Setup(#[from] InitError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error("no fleet of {0} can be served; the log says why")]
    NoFleet(PathBuf),
    #[error("serving")]
    Serve(#[source] tonic::transport::Error),
    #[error("a part of the controller stopped unexpectedly")]
    Panicked,
    #[error("the store failed; start again to restore it")]
    StoreFailed,
}

/// Serves until [`Running::stop`].
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    /// Never empty; the first is the data folder's own, if that one could be opened.
    fleets: Vec<Fleet>,
    doors: Arc<Doors>,
    /// Names of those that could not be opened.
    left_out: Vec<String>,
    unknown: Arc<UnknownFleets>,
    started: Instant,
    closing: CancellationToken,
}

/// One fleet's controller: nothing of it is another's.
#[derive(Debug)]
struct Fleet {
    /// The data folder's own.
    is_first: bool,
    opened: OpenReport,
    controller: Arc<Controller>,
    store: Arc<dyn Store>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    /// Of the server.
    closing: CancellationToken,
    timers: JoinHandle<()>,
    data: PathBuf,
}

/// Starts serving what `init` made in the data folder, and the fleets that were added to it. One that can't be opened is left out, with its reason
/// in the log; the only one's reason is the error.
pub async fn start(options: Options) -> Result<Running, RunError> {
    let started = Instant::now();
    let Found { opened, left_out } = opened::open_all(&options).await?;
    let unknown = Arc::<UnknownFleets>::default();
    let mut directory = Directory::new(Arc::clone(&unknown));
    let doors = Arc::new(Doors::new(Arc::clone(&unknown)));
    left_out.iter().for_each(|fleet| doors.add_closed(fleet));
    let mut served = Vec::new();
    for fleet in opened {
        let rest = rest::router(&fleet.controller);
        doors.add(&fleet.controller, rest.clone());
        served.push((directory.add(&fleet.controller, fleet.is_first)?, rest, fleet));
    }
    let listener = listener::bind(options.listen).await?;
    let address = listener
        .local_addr()
        .map_err(|source| ListenError::Bind { address: options.listen, source })?;
    let closing = CancellationToken::new();
    listener::serve(listener, directory, closing.clone());
    let serve = |(connections, rest, fleet): (Connections, Router, Opened)| {
        let beside = fleet.is_first.then(|| doors.router());
        fleet.serve(connections, rest, beside)
    };
    let fleets = served.into_iter().map(serve).collect();
    Ok(Running { address, fleets, doors, left_out, unknown, started, closing })
}

impl Opened {
    fn serve(self, connections: Connections, rest: Router, beside: Option<Router>) -> Fleet {
        let Self { is_first, report, controller, store, data } = self;
        // Not with the controller: one whose store failed has yet to say so, and the first shows the way to the others.
        let closing = CancellationToken::new();
        let server = grpc::router(&controller, rest, beside)
            .serve_with_incoming_shutdown(connections, closing.clone().cancelled_owned());
        tokio::spawn(Arc::clone(&controller).follow_store());
        tokio::spawn(Arc::clone(&controller).run_slow_loop());
        tokio::spawn(Arc::clone(&controller).run_rollouts());
        Fleet {
            is_first,
            opened: report,
            server: tokio::spawn(server),
            closing,
            timers: tokio::spawn(timers(Arc::clone(&controller), data.clone())),
            data,
            controller,
            store,
        }
    }
}

impl Running {
    /// Where it listens; the port is the real one when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells metrics, traces and logs as the flags say, until the controller stops. Returns where metrics are scraped.
    ///
    /// # Errors
    /// The address is taken, or a setting is wrong.
    pub async fn tell(
        &self,
        flags: &TelemetryFlags,
        logs: &LogSink,
    ) -> Result<Option<SocketAddr>, TelemetryError> {
        let about = About {
            service: "hawser-controller",
            version: env!("CARGO_PKG_VERSION"),
            fleet: self.fleet().to_owned(),
            instance: self.address.to_string(),
        };
        let source = metrics::source(self.process(flags.metrics_max_series));
        let telling =
            hawser_telemetry::start(flags, about, source, logs, self.closing.clone()).await?;
        for fleet in &self.fleets {
            let name = fleet.controller.fleet_name();
            fleet.controller.collect_spans(telling.spans.of_fleet(name));
        }
        Ok(telling.listening)
    }

    fn process(&self, max_series: u32) -> Process {
        let open = self.fleets.iter().map(|fleet| Told {
            fleet: fleet.controller.fleet_name().to_owned(),
            controller: Some(Arc::downgrade(&fleet.controller)),
        });
        let left_out =
            self.left_out.iter().map(|name| Told { fleet: name.clone(), controller: None });
        Process {
            fleets: open.chain(left_out).collect(),
            unknown: Arc::clone(&self.unknown),
            started: self.started,
            max_series: usize::try_from(max_series).unwrap_or(usize::MAX),
        }
    }

    /// Charts reach back as far as the Prometheus of the flags does.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn reach_back(&self, flags: &PastFlags) -> Result<(), PastError> {
        if let Some(past) = Past::from_flags(flags)? {
            let past = Arc::new(past);
            for fleet in &self.fleets {
                fleet.controller.reach_back(&past, fleet.is_first);
            }
        }
        Ok(())
    }

    /// How the first fleet's store came up.
    pub fn opened(&self) -> &OpenReport {
        &self.first().opened
    }

    /// The first fleet's name.
    pub fn fleet(&self) -> &str {
        self.first().controller.fleet_name()
    }

    /// All that are served, with how their stores came up.
    pub fn fleets(&self) -> impl Iterator<Item = (&str, &OpenReport)> {
        self.fleets.iter().map(|fleet| (fleet.controller.fleet_name(), &fleet.opened))
    }

    fn first(&self) -> &Fleet {
        // `start` returns none without a fleet.
        &self.fleets[0]
    }

    /// Returns when no fleet's store can take more writes. A fleet whose store failed before the others' says that it is not served, and they go on.
    pub async fn failed(&self) {
        loop {
            for fleet in self.fleets.iter().filter(|fleet| fleet.store.has_failed()) {
                if !fleet.controller.stopping().is_cancelled() {
                    let fleet_name = fleet.controller.fleet_name();
                    tracing::error!(fleet = fleet_name, "its store failed: it is served no more");
                    fleet.controller.stop();
                    fleet.timers.abort();
                }
            }
            if self.fleets.iter().all(|fleet| fleet.store.has_failed()) {
                return;
            }
            tokio::time::sleep(HEALTH_CHECK_EVERY).await;
        }
    }

    /// Tells agents and watchers, lets open requests end, exports the stores. The first error is returned; no fleet is left for another's.
    pub async fn stop(self) -> Result<(), RunError> {
        self.closing.cancel();
        self.doors.close();
        let stopped = futures::future::join_all(self.fleets.into_iter().map(Fleet::stop)).await;
        stopped.into_iter().collect()
    }
}

impl Fleet {
    async fn stop(self) -> Result<(), RunError> {
        self.controller.stop();
        self.closing.cancel();
        let mut server = self.server;
        let served = match tokio::time::timeout(STOP_WITHIN, &mut server).await {
            Ok(Ok(result)) => result.map_err(RunError::Serve),
            Ok(Err(_)) => Err(RunError::Panicked),
            Err(_) => {
                tracing::warn!("connections that did not end are cut");
                server.abort();
                Ok(())
            }
        };
        self.timers.abort();
        if self.store.has_failed() {
            return Err(RunError::StoreFailed);
        }
        save_trends(&self.controller, &self.data).await;
        self.controller.checkpoint().await?;
        drop(self.controller);
        release(self.store).await;
        served
    }
}

/// Sessions and timers end by themselves; the store's folder is free once they have.
async fn release(store: Arc<dyn Store>) {
    store.close().await;
    let end = tokio::time::Instant::now() + STOP_WITHIN;
    while Arc::strong_count(&store) > 1 && tokio::time::Instant::now() < end {
        tokio::time::sleep(RELEASE_CHECK_EVERY).await;
    }
}

/// Charts are not worth stopping for.
async fn save_trends(controller: &Arc<Controller>, data: &Path) {
    let (controller, data) = (Arc::clone(controller), data.to_owned());
    let saved = tokio::task::spawn_blocking(move || controller.save_trends(&data)).await;
    if let Ok(Err(error)) = saved {
        tracing::error!(%error, "what paths measured can't be written");
    }
}

async fn timers(controller: Arc<Controller>, data: PathBuf) {
    let mut trends = tokio::time::interval(TRENDS_SAVED_EVERY);
    trends.tick().await;
    let mut exports = tokio::time::interval(EXPORT_EVERY);
    let mut renewals = tokio::time::interval(RENEWAL_CHECK_EVERY);
    loop {
        tokio::select! {
            _ = exports.tick() => {
                if let Err(error) = controller.checkpoint().await {
                    tracing::error!(%error, "exporting the store failed");
                }
            }
            _ = trends.tick() => save_trends(&controller, &data).await,
            _ = renewals.tick() => match controller.pki().renew_server() {
                Ok(false) => {}
                Ok(true) => tracing::info!("the controller's certificate was renewed"),
                Err(error) => tracing::error!(%error, "renewing the certificate failed"),
            },
        }
    }
}
