//! Starts every part, then runs the engine until it is told to stop.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use hawser_edge_core::ike::Change;
use hawser_edge_core::reach::Reach;
use hawser_proto::agent::v1::{AgentEvent, IkeSample};
use hawser_telemetry::{About, LogSink, TelemetryError, TelemetryFlags};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use super::clock::{Clock, unix_ms};
use super::peering::{Parts, Peering};
use super::{Engine, Own, Timer, gateways, host_task, metrics};
use crate::abilities;
use crate::cli::{Driver, EXIT_FAILED, EXIT_NO_AGENT, RunArgs, complain};
use crate::control::{
    self, ControlEvent, ControlHandle, Identity, IdentityError, StartError, local,
};
use crate::dataplane::{DataPlane, Event, EventReceivers, Lanes, UserspaceDataPlane};
use crate::host::{Carriers, HostError};
use crate::ike::{CharonOptions, Echo, IkeHandle};
use crate::kernel::{KernelDataPlane, Lack, UNTRIED, lacks};
use crate::manual::ManualHandle;
use crate::peer::PeerRoutes;

/// Until the controller says otherwise.
const TELEMETRY_INTERVAL: Duration = Duration::from_secs(10);
/// How often key usage is looked at: far less than a budget of bytes lasts.
const USAGE_INTERVAL: Duration = Duration::from_secs(1);
/// The same while a suite is in use whose keys last a few megabytes.
const SHORT_LIVED_USAGE_INTERVAL: Duration = Duration::from_millis(100);
/// After a change: long enough to gather what changes with it.
const REPORT_SOON: Duration = Duration::from_millis(200);
const INTERNAL_EVENTS: usize = 16;
const OBSERVATIONS: usize = 4;
/// Events of the data plane taken in a row before timers get their turn.
const BATCH: usize = 64;

/// What `hawser-edge run` was told.
#[derive(Debug, Clone)]
pub struct Options {
    pub state_dir: PathBuf,
    /// `None`: as the controller wishes.
    pub telemetry_interval: Option<Duration>,
    pub metrics: TelemetryFlags,
    /// Where this process's log lines go, beside standard error.
    pub logs: LogSink,
    pub driver: Driver,
    /// Of the userspace driver.
    pub dataplane_lanes: Lanes,
    pub charon: CharonOptions,
}

/// Why the agent can't run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the state directory can't be used")]
    Control(#[from] StartError),
    #[error("the local socket can't be opened")]
    Local(#[from] control::FileError),
    #[error("the kernel can't be reached")]
    Host(#[from] HostError),
    #[error(transparent)]
    Metrics(#[from] TelemetryError),
    #[error("the kernel driver can't run here: {0}")]
    Driver(String),
}

impl EngineError {
    /// Stable, upper case.
    pub fn code(&self) -> &'static str {
        match self {
            EngineError::Identity(error) => error.code(),
            EngineError::Control(error) => error.code(),
            EngineError::Local(_) => "LOCAL_SOCKET",
            EngineError::Host(_) => "HOST",
            EngineError::Metrics(error) => error.code(),
            EngineError::Driver(_) => "DRIVER",
        }
    }

    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            EngineError::Identity(error) => error.mend(),
            EngineError::Control(StartError::InUse(_)) => "stop the other agent first",
            EngineError::Control(_) | EngineError::Local(_) => {
                "check the state directory's owner and free space"
            }
            EngineError::Host(_) => "run as root, or with CAP_NET_ADMIN",
            EngineError::Metrics(error) => error.mend(),
            EngineError::Driver(_) => "load what is missing, or run with --driver userspace",
        }
    }
}

/// `hawser-edge run`: logs, a runtime, signals, and [`run`] between them.
pub fn start(state_dir: &Path, arguments: RunArgs) -> ExitCode {
    let logs = init_logs(arguments.log_json);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let interval = u64::from(arguments.telemetry_interval_ms);
    let options = Options {
        state_dir: state_dir.to_owned(),
        telemetry_interval: (interval > 0).then(|| Duration::from_millis(interval)),
        metrics: arguments.metrics,
        logs,
        driver: arguments.driver,
        dataplane_lanes: arguments.dataplane_lanes,
        charon: CharonOptions { socket: arguments.charon_socket, program: arguments.charon },
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain("RUNTIME", &error, "raise the limit of open files or threads");
            return EXIT_FAILED.into();
        }
    };
    match runtime.block_on(run_until_signal(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error.code(), &error, error.mend());
            match error {
                EngineError::Identity(_) => EXIT_NO_AGENT.into(),
                _ => EXIT_FAILED.into(),
            }
        }
    }
}

async fn run_until_signal(options: Options) -> Result<(), EngineError> {
    let stop = CancellationToken::new();
    let signalled = stop.clone();
    tokio::spawn(async move {
        let terminate = async {
            match signal(SignalKind::terminate()) {
                Ok(mut terminate) => terminate.recv().await,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate => {}
        }
        signalled.cancel();
    });
    run(options, stop).await
}

fn init_logs(json: bool) -> LogSink {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if json { lines.json().boxed() } else { lines.with_target(false).boxed() };
    let sink = LogSink::default();
    tracing_subscriber::registry().with(filter).with(lines).with(sink.layer()).init();
    sink
}

/// Runs the agent until `stop`. Tunnels' guards stay behind; the TUN and its keys go with the process.
///
/// # Errors
/// A part can't be started. What happens later is mended or reported, and ends nothing.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), EngineError> {
    let identity = Arc::new(Identity::load(&options.state_dir)?);
    // Before the controller is called: what the kernel can do may take it seconds to find out (it loads modules), and an
    // offered generation must be applied in time.
    let (dataplane, EventReceivers { events, datagrams }, kernel_forwards) = data_plane(&options)?;
    let abilities = abilities::of(kernel_forwards, options.charon.clone());
    let control = control::start(identity.clone(), &options.state_dir, abilities)?;
    let (asks, metrics_inbox) = mpsc::channel(metrics::ASKS);
    let about = About {
        service: "hawser-edge",
        version: env!("CARGO_PKG_VERSION"),
        fleet: identity.fleet().to_owned(),
        instance: identity.edge().to_owned(),
    };
    let source = metrics::source(asks);
    let telemetry =
        hawser_telemetry::start(&options.metrics, about, source, &options.logs, stop.clone());
    let spans = telemetry.await?.spans;
    let (queries, query_inbox) = mpsc::channel(local::LOCAL_QUERIES);
    let socket = local::serve(&options.state_dir, queries, stop.clone())?;
    let (observed, observations) = mpsc::channel(OBSERVATIONS);
    let (host, carriers) = host_task::start(observed)?;
    let routes = Arc::new(PeerRoutes::new());
    let peers = Peering::new(Parts {
        identity: identity.clone(),
        boot_id: control.handle.boot_id().to_owned(),
        dataplane: dataplane.clone(),
        datagrams,
        routes: routes.clone(),
    });
    let (history, history_task) = crate::history::start(&options.state_dir);
    let (ike, ike_task) = start_ike(&options, &control.handle, &stop);
    let ike_changes = ike.changes();
    let manual = start_manual(&options, &control.handle, kernel_forwards)?;
    let (echoes, echo_inbox) = mpsc::channel(gateways::ECHOES);
    let (internal, internal_inbox) = mpsc::channel(INTERNAL_EVENTS);
    let clock = Clock::start();
    let engine = Engine {
        metrics: metrics::Metrics::new(options.metrics.metrics_max_series, clock.now()),
        spans,
        ike,
        manual,
        gateways: BTreeMap::new(),
        echoes,
        held_links: crate::ike::held::read(&options.state_dir),
        ike_begun: false,
        state_dir: options.state_dir.clone(),
        told_peers: BTreeMap::new(),
        reach: Reach::new(clock.now()),
        clock,
        own: Own { fleet: identity.fleet().to_owned(), edge: identity.edge().to_owned() },
        control: control.handle.clone(),
        host,
        dataplane,
        peers,
        routes,
        internal,
        generation: None,
        edge: None,
        departures: Default::default(),
        former: None,
        former_terms: Default::default(),
        pairings: Default::default(),
        leaving_of: Default::default(),
        applies_under_way: 0,
        uplinks: Default::default(),
        seen: Default::default(),
        carriers: carriers.clone(),
        peer_mtus: Default::default(),
        hello_endpoints: Default::default(),
        fact_endpoints: Default::default(),
        peers_up: Default::default(),
        paths: Default::default(),
        selections: Default::default(),
        pacer: Default::default(),
        timers: Default::default(),
        decisions: Default::default(),
        counters: Default::default(),
        telemetry_interval: options.telemetry_interval.unwrap_or(TELEMETRY_INTERVAL),
        report_soon: false,
        advice: Default::default(),
        history,
        adopted: Default::default(),
        told: Default::default(),
        waivers_told_day: 0,
        short_lived_keys: false,
        telemetry_fixed: options.telemetry_interval.is_some(),
    };
    let inboxes = Inboxes {
        control: control.events,
        dataplane: events,
        internal: internal_inbox,
        carriers,
        observations,
        queries: query_inbox,
        metrics: metrics_inbox,
        ike: ike_changes,
        echoes: echo_inbox,
    };
    tracing::info!(
        fleet = identity.fleet(),
        edge = identity.edge(),
        version = env!("CARGO_PKG_VERSION"),
        "agent started"
    );
    engine.run(inboxes, stop.clone()).await;
    stop.cancel();
    let _ = ike_task.await;
    control.handle.stop();
    let _ = control.task.await;
    let _ = socket.await;
    let _ = history_task.await;
    tracing::info!("agent stopped; overlay prefixes stay unreachable until it runs again");
    Ok(())
}

fn start_ike(
    options: &Options,
    control: &ControlHandle,
    stop: &CancellationToken,
) -> (IkeHandle, JoinHandle<()>) {
    let tell = teller(control.clone());
    crate::ike::start(&options.state_dir, options.charon.clone(), tell, stop.clone())
}

fn start_manual(
    options: &Options,
    control: &ControlHandle,
    kernel_forwards: bool,
) -> Result<ManualHandle, EngineError> {
    crate::manual::start(&options.state_dir, kernel_forwards, teller(control.clone()))
        .map_err(|error| EngineError::Driver(format!("no thread for manual tunnels: {error}")))
}

/// What becomes of tunnels with gateways goes to the controller as events.
fn teller(control: ControlHandle) -> impl Fn(Change) + Send + Sync + 'static {
    move |change| {
        let Change { code, tunnel, message } = change;
        tracing::info!(code, tunnel, "{message}");
        let (code, subject) = (code.to_owned(), tunnel);
        control.event(AgentEvent { unix_ms: unix_ms(), code, subject, message });
    }
}

/// The driver that was asked for, or that this host can run; true: the kernel's.
fn data_plane(
    options: &Options,
) -> Result<(Arc<dyn DataPlane>, EventReceivers, bool), EngineError> {
    let lacks: Option<Vec<Lack>> = match options.driver {
        Driver::Userspace => None,
        Driver::Auto => Some(lacks()),
        // Who asks for it gets it, also where nothing can be tried: the first generation will tell.
        Driver::Kernel => Some(lacks().into_iter().filter(|l| l.code != UNTRIED).collect()),
    };
    match (options.driver, lacks) {
        (_, Some(lacks)) if lacks.is_empty() => {
            let fault = |error: std::io::Error| EngineError::Driver(error.to_string());
            let (driver, receivers) =
                KernelDataPlane::start(Some(&options.state_dir)).map_err(fault)?;
            tracing::info!("the kernel driver forwards");
            Ok((Arc::new(driver), receivers, true))
        }
        (Driver::Kernel, Some(lacks)) => {
            let what = lacks.iter().map(|lack| format!("{}: {}", lack.code, lack.message));
            Err(EngineError::Driver(what.collect::<Vec<_>>().join("; ")))
        }
        (_, lacks) => {
            for lack in lacks.iter().flatten() {
                tracing::info!(lack = lack.code, mend = lack.mend, "{}", lack.message);
            }
            let lanes = options.dataplane_lanes;
            tracing::info!(lanes = lanes.count(), "the userspace driver forwards");
            let (driver, receivers) = UserspaceDataPlane::with_lanes(lanes);
            Ok((Arc::new(driver), receivers, false))
        }
    }
}

/// Where everything comes in. All bounded by their makers.
struct Inboxes {
    control: mpsc::Receiver<ControlEvent>,
    dataplane: mpsc::Receiver<Event>,
    internal: mpsc::Receiver<super::apply::Done>,
    carriers: watch::Receiver<Carriers>,
    observations: mpsc::Receiver<hawser_edge_core::reconcile::Observed>,
    queries: mpsc::Receiver<local::LocalQuery>,
    metrics: mpsc::Receiver<metrics::Ask>,
    ike: watch::Receiver<Arc<Vec<IkeSample>>>,
    echoes: mpsc::Receiver<Echo>,
}

impl Engine {
    async fn run(mut self, mut inboxes: Inboxes, stop: CancellationToken) {
        let mut usage = interval(USAGE_INTERVAL);
        usage.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut usage_of_old = interval(SHORT_LIVED_USAGE_INTERVAL);
        usage_of_old.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut next_report = Instant::now() + self.telemetry_interval;
        loop {
            let timer = self.timers.next().map(|at| Instant::from_std(self.clock.instant(at)));
            // Carriers and probes first: what they say of time must not wait in a queue.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Ok(()) = inboxes.carriers.changed() => self.on_carriers(),
                Some(event) = inboxes.dataplane.recv() => {
                    self.on_dataplane(event);
                    for _ in 0..BATCH {
                        let Ok(event) = inboxes.dataplane.try_recv() else { break };
                        self.on_dataplane(event);
                    }
                }
                () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => {}
                event = self.peers.event() => self.on_peer(event),
                Some(done) = inboxes.internal.recv() => self.on_done(done),
                Some(seen) = inboxes.observations.recv() => self.on_observed(seen),
                event = inboxes.control.recv() => match event {
                    Some(event) => self.on_control(event),
                    None => return,
                },
                Some(query) = inboxes.queries.recv() => self.on_query(query),
                Some(ask) = inboxes.metrics.recv() => self.on_metrics(ask),
                Some(echo) = inboxes.echoes.recv() => self.on_echo(&echo),
                Ok(()) = inboxes.ike.changed() => {
                    self.report_soon = true;
                    self.drive_gateways();
                }
                _ = usage.tick() => {
                    self.report_usage();
                    self.tell_waivers_daily();
                    self.forget_former();
                    self.history.hand_over();
                }
                _ = usage_of_old.tick(), if self.short_lived_keys => self.report_usage(),
                () = sleep_until(next_report) => {
                    self.report();
                    next_report = Instant::now() + self.telemetry_interval;
                }
            }
            self.run_timers();
            let soon = if std::mem::take(&mut self.report_soon) {
                REPORT_SOON
            } else {
                self.telemetry_interval
            };
            next_report = next_report.min(Instant::now() + soon);
        }
    }

    fn run_timers(&mut self) {
        let now = self.clock.now();
        // Each key at most once a round: a deadline that does not move on can't hold the loop.
        let mut due = Vec::new();
        while let Some(timer) = self.timers.pop_due(now) {
            due.push(timer);
        }
        for timer in due {
            match timer {
                Timer::Path(id) => self.on_path_timer(id),
                Timer::Selection(tunnel, _) => self.on_selection_timer(tunnel),
                Timer::Reach => self.drive_reach(now),
                Timer::Pace(tunnel) => self.refresh_cadence(tunnel, now),
                Timer::Keepalive(uplink) => self.on_keepalive_timer(uplink),
                Timer::Pmtu(id) => self.on_pmtu_timer(id),
                Timer::Departures => self.on_departures_timer(),
                Timer::Gateways => self.drive_gateways(),
            }
        }
    }

    fn on_control(&mut self, event: ControlEvent) {
        match event {
            ControlEvent::ApplyGeneration(order) => self.on_order(order),
            ControlEvent::Revert(order) => self.on_revert(order),
            ControlEvent::Facts(facts) => self.on_facts(&facts),
            ControlEvent::Advice(advice) => self.on_advice(&advice),
            ControlEvent::Revocations(list) => self.on_revocations(&list),
            ControlEvent::Renewed(identity) => self.peers.set_identity(identity),
            ControlEvent::Connected(connected) => {
                tracing::info!(controller = connected.controller, "connected");
                self.metrics.connected(true, self.clock.now());
                if !self.telemetry_fixed && connected.telemetry_interval_ms > 0 {
                    let wish = Duration::from_millis(u64::from(connected.telemetry_interval_ms));
                    self.telemetry_interval = wish.max(Duration::from_millis(100));
                }
                self.report_local_facts();
                self.told.forget();
                self.report();
            }
            ControlEvent::Disconnected => {
                self.metrics.connected(false, self.clock.now());
                tracing::info!(
                    unix_ms = unix_ms(),
                    "controller lost; everything goes on without it"
                );
            }
        }
    }
}
