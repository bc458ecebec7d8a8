//! Pushing by OTLP: settings, messages, the connection, the loop.

mod message;
mod queue;
mod records;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::flags::{Signal, TelemetryFlags};
use crate::logs::LogLine;
use crate::run::{About, Collector};
use crate::trace::Span;
pub use queue::Queue;
pub use settings::OtlpError;
use settings::Settings;
use stream::Stream;
pub use stream::StreamCounts;
use transport::{Export, Transport};

/// Points in one message: well below the 4 MiB that receivers take by default.
const POINTS_PER_MESSAGE: usize = 4_000;

/// From this process's environment.
fn settings(flags: &TelemetryFlags, signal: Signal) -> Result<Option<Settings>, OtlpError> {
    Settings::read(flags, signal, &|name| std::env::var(name).ok())
}

/// A signal whose items go out as they come.
#[derive(Debug)]
pub struct Streamed<T> {
    pub queue: Queue<T>,
    pub counts: Arc<StreamCounts>,
}

/// Starts what pushes spans; `None`: nobody asked for it.
///
/// # Errors
/// A setting is wrong.
pub fn spans(
    flags: &TelemetryFlags,
    about: &About,
    stop: &CancellationToken,
) -> Result<Option<Streamed<Span>>, OtlpError> {
    streamed(settings(flags, Signal::Traces)?, "traces", about, records::spans, stop)
}

/// The same for log lines.
///
/// # Errors
/// A setting is wrong.
pub fn logs(
    flags: &TelemetryFlags,
    about: &About,
    stop: &CancellationToken,
) -> Result<Option<Streamed<LogLine>>, OtlpError> {
    streamed(settings(flags, Signal::Logs)?, "logs", about, records::logs, stop)
}

fn streamed<T: Send + 'static, E: Export + Clone>(
    settings: Option<Settings>,
    what: &'static str,
    about: &About,
    to_message: fn(&About, Vec<T>) -> E,
    stop: &CancellationToken,
) -> Result<Option<Streamed<T>>, OtlpError> {
    let Some(settings) = settings else { return Ok(None) };
    let (stream, queue) = Stream::new(what, settings, about, to_message)?;
    let counts = stream.counts();
    tokio::spawn(stream.run(stop.clone()));
    Ok(Some(Streamed { queue, counts }))
}

#[derive(Debug, Default)]
pub struct PushCounts {
    pub ok: AtomicU64,
    pub failed: AtomicU64,
}

/// Pushes every interval. What a push loses is lost: counters go on, and the next one is as new as can be.
pub struct Pusher {
    about: About,
    interval: Duration,
    transport: Transport,
}

impl Pusher {
    /// `None`: nobody asked for it.
    ///
    /// # Errors
    /// A setting is wrong.
    pub fn from_flags(flags: &TelemetryFlags, about: About) -> Result<Option<Self>, OtlpError> {
        let Some(settings) = settings(flags, Signal::Metrics)? else { return Ok(None) };
        let interval = settings.interval;
        Ok(Some(Pusher { about, interval, transport: Transport::new(settings)? }))
    }

    pub(crate) async fn run(self, collector: Arc<Collector>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let pushed = tokio::select! {
                () = stop.cancelled() => return,
                pushed = self.push(&collector) => pushed,
            };
            match pushed {
                Ok(()) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("metrics are pushed again");
                    }
                    collector.pushes.ok.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    collector.pushes.failed.fetch_add(1, Ordering::Relaxed);
                    // Once: a collector that is away for a day is one line.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(error, "metrics can't be pushed; it is tried on");
                    }
                }
            }
        }
    }

    async fn push(&self, collector: &Collector) -> Result<(), String> {
        let snapshot = collector.collect().await.ok_or("nothing could be collected")?;
        let messages =
            message::messages(&snapshot, &self.about, collector.started(), POINTS_PER_MESSAGE);
        for message in messages {
            self.transport.send(message).await?;
        }
        Ok(())
    }
}
