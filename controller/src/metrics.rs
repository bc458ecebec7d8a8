//! Metrics of the process: those of every fleet that it serves, and what belongs to none.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use hawser_telemetry::catalogue as c;
use hawser_telemetry::{Snapshot, Source};

use crate::bucket::Bucket;
use crate::clock::now_unix_ms;
use crate::service::Controller;

/// Lines of the log about unknown names.
const UNKNOWN_LOGGED_BURST: u32 = 5;
const UNKNOWN_LOGGED_PER_SECOND: f64 = 0.1;

/// Who asked for fleets that are not here.
#[derive(Debug)]
pub struct UnknownFleets {
    by_tls: AtomicU64,
    by_path: AtomicU64,
    logged: Mutex<Bucket>,
}

impl Default for UnknownFleets {
    fn default() -> Self {
        let logged = Mutex::new(Bucket::new(UNKNOWN_LOGGED_BURST, UNKNOWN_LOGGED_PER_SECOND));
        Self { by_tls: AtomicU64::new(0), by_path: AtomicU64::new(0), logged }
    }
}

impl UnknownFleets {
    pub fn asked_by_tls(&self, address: SocketAddr) {
        self.by_tls.fetch_add(1, Ordering::Relaxed);
        self.log(address, "a connection asked for a fleet that is not served here");
    }

    pub fn asked_by_path(&self, address: SocketAddr) {
        self.by_path.fetch_add(1, Ordering::Relaxed);
        self.log(address, "a request by path asked for a fleet that is not here");
    }

    fn log(&self, address: SocketAddr, message: &str) {
        let mut logged = self.logged.lock().unwrap_or_else(|e| e.into_inner());
        if logged.take(now_unix_ms()) {
            let address = address.ip().to_canonical();
            tracing::info!(%address, "{message}");
        }
    }
}

/// A fleet that this process should serve.
#[derive(Debug)]
pub struct Told {
    pub fleet: String,
    /// Of one that could not be opened there is none.
    pub controller: Option<Weak<Controller>>,
}

impl Told {
    /// One whose store failed is served no more.
    fn served(&self) -> Option<Arc<Controller>> {
        let controller = self.controller.as_ref()?.upgrade()?;
        (!controller.stopping().is_cancelled()).then_some(controller)
    }
}

/// What a collection asks.
#[derive(Debug)]
pub struct Process {
    pub fleets: Vec<Told>,
    pub unknown: Arc<UnknownFleets>,
    pub started: Instant,
    /// Of the paths of each fleet.
    pub max_series: usize,
}

impl Process {
    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for told in &self.fleets {
            let own = snapshot.enter_fleet(&told.fleet);
            let controller = told.served();
            let served = f64::from(u8::from(controller.is_some()));
            snapshot.put(&c::FLEET_SERVED, own, &[], served);
            if let Some(controller) = controller {
                controller.put_metrics(&mut snapshot, self.max_series);
            }
        }
        let process = Snapshot::PROCESS;
        let (unknown, count) = (&self.unknown, |n: &AtomicU64| n.load(Ordering::Relaxed) as f64);
        for (by, count) in [("tls", count(&unknown.by_tls)), ("path", count(&unknown.by_path))] {
            snapshot.put(&c::CONTROLLER_UNKNOWN_FLEETS, process, &[by], count);
        }
        let uptime = self.started.elapsed().as_secs_f64();
        snapshot.put(&c::CONTROLLER_UPTIME, process, &[], uptime);
        snapshot
    }
}

/// Asks every fleet in turn, each for as long as it is served.
pub fn source(process: Process) -> Source {
    let process = Arc::new(process);
    Arc::new(move || {
        let process = Arc::clone(&process);
        Box::pin(async move {
            // Of a large fleet it takes a while.
            tokio::task::spawn_blocking(move || process.snapshot()).await.ok()
        })
    })
}
