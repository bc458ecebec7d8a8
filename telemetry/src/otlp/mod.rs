//! Pushing by OTLP: settings, messages, the connection, the loop.

mod message;
mod settings;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::flags::MetricsFlags;
use crate::run::{About, Collector};
pub use settings::OtlpError;
use settings::Settings;
use transport::Transport;

/// Points in one message: well below the 4 MiB that receivers take by default.
const POINTS_PER_MESSAGE: usize = 4_000;

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
    pub fn from_flags(flags: &MetricsFlags, about: About) -> Result<Option<Self>, OtlpError> {
        let variables = |name: &str| std::env::var(name).ok();
        let Some(settings) = Settings::read(flags, &variables)? else { return Ok(None) };
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
