//! Metrics, traces and logs of Hawser's processes. Of metrics: what there is to tell ([`catalogue`]), a collection of it
//! ([`Snapshot`]), and how it leaves the process: scraped by Prometheus, pushed by OTLP. Of traces: [`Spans`], of logs:
//! [`LogSink`], both pushed by OTLP as they come.
//!
//! A [`Source`] is asked for a snapshot when somebody wants one, at most once a collection, and nothing is kept between:
//! what is no longer told of is gone. Why this is not the OpenTelemetry SDK: `docs/decisions/0020-metrics.md`.

pub mod catalogue;
mod flags;
mod histogram;
mod ike;
mod logs;
mod otlp;
mod past;
mod paths;
mod run;
mod scrape;
mod snapshot;
mod text;
mod tls;
mod trace;
mod words;

pub use flags::{Signal, TelemetryFlags};
pub use histogram::Histogram;
pub use ike::put_ike;
pub use logs::{LogLayer, LogLine, LogSink};
pub use otlp::OtlpError;
pub use past::{AskError, Past, PastError, PastFlags, PastSeries, Range};
pub use paths::{PathNames, PathRow, put_paths};
pub use run::{About, Running, Source, TelemetryError, start};
pub use snapshot::{Point, SetId, Snapshot, Value};
pub use text::chunks;
pub use tls::TlsError;
pub use trace::{OpenSpan, Span, Spans, TraceContext};
