//! A running controller: store, service, listener and the few timers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hawser_telemetry::{
    About, LogSink, Past, PastError, PastFlags, TelemetryError, TelemetryFlags,
};
use tokio::task::JoinHandle;

use crate::grpc;
use crate::init::{self, InitError};
use crate::listener::{self, ListenError};
use crate::pki::{Pki, PkiError};
use crate::service::{AdviceMode, Controller, ServiceError, Settings, metrics_source};
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
    opened: OpenReport,
    controller: Arc<Controller>,
    store: Arc<dyn Store>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    timers: JoinHandle<()>,
    data: PathBuf,
}

/// Starts serving what `init` made in the data folder.
pub async fn start(options: Options) -> Result<Running, RunError> {
    let setup = init::read_setup(&options.data)?;
    let pki = Pki::load(&options.data, &setup.fleet, &setup.advertised)?;
    let pki = Arc::new(pki.with_edge_lifetime(options.edge_lifetime));
    let (store, opened) = options.store.open(&options.data, &setup.fleet, true).await?;
    let settings = Settings {
        fleet: setup.fleet,
        controllers: setup.advertised.iter().map(ToString::to_string).collect(),
        telemetry_interval: options.telemetry_interval,
        advice: options.advice,
    };
    let controller = Controller::open(settings, Arc::clone(&store), pki).await?;
    controller.load_trends(&options.data);
    let listener = listener::bind(options.listen).await?;
    let address = listener
        .local_addr()
        .map_err(|source| ListenError::Bind { address: options.listen, source })?;
    let connections = listener::serve(listener, Arc::clone(&controller))?;
    let stopping = controller.stopping().clone();
    let server = grpc::router(&controller)
        .serve_with_incoming_shutdown(connections, stopping.cancelled_owned());
    tokio::spawn(Arc::clone(&controller).follow_store());
    tokio::spawn(Arc::clone(&controller).run_slow_loop());
    tokio::spawn(Arc::clone(&controller).run_rollouts());
    Ok(Running {
        address,
        opened,
        server: tokio::spawn(server),
        timers: tokio::spawn(timers(Arc::clone(&controller), options.data.clone())),
        data: options.data,
        controller,
        store,
    })
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
        let source = metrics_source(&self.controller, flags.metrics_max_series);
        let stop = self.controller.stopping().clone();
        let telling = hawser_telemetry::start(flags, about, source, logs, stop).await?;
        self.controller.collect_spans(telling.spans);
        Ok(telling.listening)
    }

    /// Charts reach back as far as the Prometheus of the flags does.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn reach_back(&self, flags: &PastFlags) -> Result<(), PastError> {
        if let Some(past) = Past::from_flags(flags)? {
            self.controller.reach_back(past);
        }
        Ok(())
    }

    /// How the store came up.
    pub fn opened(&self) -> &OpenReport {
        &self.opened
    }

    pub fn fleet(&self) -> &str {
        self.controller.fleet_name()
    }

    /// Returns when the store can take no more writes.
    pub async fn failed(&self) {
        while !self.store.has_failed() {
            tokio::time::sleep(HEALTH_CHECK_EVERY).await;
        }
    }

    /// Tells agents and watchers, lets open requests end, exports the store.
    pub async fn stop(self) -> Result<(), RunError> {
        self.controller.stop();
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
