//! Log lines on their way to OTLP: a layer of `tracing` that hands them to whoever pushes them, once somebody does.

use std::fmt::{self, Write as _};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::otlp::Queue;

/// Octets of one value; a longer one is cut.
const MAX_VALUE_BYTES: usize = 4_096;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    pub time: SystemTime,
    pub level: Level,
    /// The module that says it.
    pub target: &'static str,
    pub message: String,
    pub fields: Vec<(&'static str, String)>,
}

/// The two ends: a layer for the subscriber, and what [`start`](crate::start) connects to a collector.
#[derive(Debug, Clone, Default)]
pub struct LogSink(Arc<OnceLock<Queue<LogLine>>>);

impl LogSink {
    /// For the subscriber, behind its filter.
    pub fn layer(&self) -> LogLayer {
        LogLayer(self.clone())
    }

    /// From now on lines go there; the first call counts.
    pub(crate) fn connect(&self, queue: Queue<LogLine>) {
        let _ = self.0.set(queue);
    }
}

/// See [`LogSink::layer`].
#[derive(Debug)]
pub struct LogLayer(LogSink);

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(queue) = self.0.0.get() else { return };
        let mut line = LogLine {
            time: SystemTime::now(),
            level: *event.metadata().level(),
            target: event.metadata().target(),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut line);
        queue.push(line);
    }
}

impl Visit for LogLine {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.take(field, text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned());
    }
}

impl LogLine {
    fn take(&mut self, field: &Field, mut value: String) {
        if value.len() > MAX_VALUE_BYTES {
            value.truncate(value.floor_char_boundary(MAX_VALUE_BYTES));
        }
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn a_line_goes_out_with_its_fields_once_somebody_collects() {
        let sink = LogSink::default();
        let subscriber = tracing_subscriber::registry().with(sink.layer());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("nobody hears this");
            let (queue, mut lines) = Queue::new(1);
            sink.connect(queue.clone());
            tracing::warn!(code = "A_CODE", n = 3, long = "ä".repeat(4_000), "said {}", "so");
            tracing::info!("there is no room for this");
            let line = lines.try_recv().expect("a line");
            assert_eq!((line.level, line.message.as_str()), (Level::WARN, "said so"));
            let [code, n, long] = &line.fields[..] else { panic!("{:?}", line.fields) };
            assert_eq!(code, &("code", "A_CODE".to_owned()));
            assert_eq!(n, &("n", "3".to_owned()));
            assert_eq!(long.1.len(), MAX_VALUE_BYTES);
            assert!(lines.try_recv().is_err());
            assert_eq!(queue.dropped(), 1);
        });
    }
}
