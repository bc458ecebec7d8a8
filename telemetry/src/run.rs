//! Starts what the flags ask for.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::catalogue as c;
use crate::flags::TelemetryFlags;
use crate::logs::{LogLine, LogSink};
use crate::otlp::{self, OtlpError, PushCounts, Streamed};
use crate::scrape::{self, ScrapeCounts};
use crate::snapshot::Snapshot;
use crate::trace::{Span, Spans};

/// A source that takes longer is told of as failed.
const COLLECT_WITHIN: Duration = Duration::from_secs(10);

/// Takes a snapshot; `None` when it can't.
pub type Source =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<Snapshot>> + Send>> + Send + Sync>;

/// Whose telemetry this is: OTLP's resource.
#[derive(Debug, Clone)]
pub struct About {
    /// `hawser-edge` or `hawser-controller`.
    pub service: &'static str,
    pub version: &'static str,
    /// Of a controller that serves several: its first. Points and spans say each its own.
    pub fleet: String,
    /// The edge's name, or the controller's address: unique in the fleet.
    pub instance: String,
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("metrics can't be served on {address}")]
    Bind {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Otlp(#[from] OtlpError),
}

impl TelemetryError {
    /// Stable, upper case.
    pub fn code(&self) -> &'static str {
        match self {
            TelemetryError::Bind { .. } => "METRICS_LISTEN",
            TelemetryError::Otlp(error) => error.code(),
        }
    }

    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            TelemetryError::Bind { .. } => {
                "give --metrics-listen an address of this host and a free port"
            }
            TelemetryError::Otlp(error) => error.mend(),
        }
    }
}

/// A source with what the telling itself counts.
pub(crate) struct Collector {
    source: Source,
    version: &'static str,
    started: SystemTime,
    pub scrapes: ScrapeCounts,
    pub pushes: PushCounts,
    spans: Option<Streamed<Span>>,
    logs: Option<Streamed<LogLine>>,
}

impl Collector {
    pub(crate) async fn collect(&self) -> Option<Arc<Snapshot>> {
        let mut snapshot = tokio::time::timeout(COLLECT_WITHIN, (self.source)()).await.ok()??;
        let process = Snapshot::PROCESS;
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed) as f64;
        let (scrapes, pushes) = (&self.scrapes, &self.pushes);
        for (metric, outcome, n) in [
            (&c::TELEMETRY_SCRAPES, "answered", count(&scrapes.answered)),
            (&c::TELEMETRY_SCRAPES, "refused", count(&scrapes.refused)),
            (&c::TELEMETRY_PUSHES, "ok", count(&pushes.ok)),
            (&c::TELEMETRY_PUSHES, "failed", count(&pushes.failed)),
        ] {
            snapshot.put(metric, process, &[outcome], n);
        }
        let mut streamed = |signal: &'static str, outcome: &'static str, n: f64| {
            snapshot.put(&c::TELEMETRY_RECORDS, process, &[signal, outcome], n);
        };
        let of_spans = self.spans.as_ref().map(|s| ("traces", &s.counts, s.queue.dropped()));
        let of_logs = self.logs.as_ref().map(|s| ("logs", &s.counts, s.queue.dropped()));
        for (signal, counts, dropped) in of_spans.into_iter().chain(of_logs) {
            streamed(signal, "ok", count(&counts.ok));
            streamed(signal, "failed", count(&counts.failed));
            streamed(signal, "dropped", dropped as f64);
        }
        snapshot.put(&c::BUILD_INFO, process, &[self.version], 1.0);
        let series = snapshot.series() + 1;
        snapshot.put(&c::TELEMETRY_SERIES, process, &[], series as f64);
        Some(Arc::new(snapshot))
    }

    /// When its counters began.
    pub(crate) fn started(&self) -> SystemTime {
        self.started
    }
}

/// What serves and pushes; it ends with `stop`.
#[derive(Debug)]
pub struct Running {
    /// Where metrics are scraped; the port is the real one when 0 was asked for.
    pub listening: Option<SocketAddr>,
    /// Where spans of that fleet go.
    pub spans: Spans,
}

/// Serves and pushes as the flags say, until `stop`. Without flags it does nothing.
///
/// # Errors
/// The address is taken, or OTLP's settings are wrong. A collector that can't be reached is no error: it may come.
pub async fn start(
    flags: &TelemetryFlags,
    about: About,
    source: Source,
    logs: &LogSink,
    stop: CancellationToken,
) -> Result<Running, TelemetryError> {
    // Before anything is served: wrong settings must not leave half of it running.
    let pusher = otlp::Pusher::from_flags(flags, about.clone())?;
    let streamed_spans = otlp::spans(flags, &about, &stop)?;
    let streamed_logs = otlp::logs(flags, &about, &stop)?;
    let spans = streamed_spans.as_ref().map(|streamed| streamed.queue.clone());
    let spans = Spans::new(spans, &about.fleet);
    if let Some(streamed) = &streamed_logs {
        logs.connect(streamed.queue.clone());
    }
    let collector = Arc::new(Collector {
        source,
        version: about.version,
        started: SystemTime::now(),
        scrapes: ScrapeCounts::default(),
        pushes: PushCounts::default(),
        spans: streamed_spans,
        logs: streamed_logs,
    });
    let mut listening = None;
    if let Some(address) = flags.metrics_listen {
        let bind = |source| TelemetryError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        listening = Some(listener.local_addr().map_err(bind)?);
        tokio::spawn(scrape::serve(listener, collector.clone(), stop.clone()));
    }
    if let Some(pusher) = pusher {
        tokio::spawn(pusher.run(collector, stop));
    }
    if let Some(address) = listening {
        tracing::info!(%address, "metrics are served");
    }
    Ok(Running { listening, spans })
}
