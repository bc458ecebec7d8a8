//! Spans and log lines as OTLP messages.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{self as otlp, ResourceSpans, ScopeSpans, Status};
use tracing::Level;

use super::message::{attribute, resource, scope};
use crate::logs::LogLine;
use crate::run::About;
use crate::trace::Span;

/// W3C trace flags: sampled.
const SAMPLED: u32 = 1;

pub fn spans(about: &About, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let spans = spans.into_iter().map(span).collect();
    let scope_spans =
        vec![ScopeSpans { scope: Some(scope(about)), spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource(about)),
            scope_spans,
            ..ResourceSpans::default()
        }],
    }
}

fn span(span: Span) -> otlp::Span {
    let status = span
        .error
        .map_or_else(Status::default, |message| Status { message, code: StatusCode::Error.into() });
    otlp::Span {
        trace_id: span.context.trace.to_vec(),
        span_id: span.context.span.to_vec(),
        parent_span_id: span.parent.map(|parent| parent.span.to_vec()).unwrap_or_default(),
        flags: SAMPLED,
        name: span.name.to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: nanos(span.start),
        end_time_unix_nano: nanos(span.end),
        attributes: attributes(span.attributes),
        status: Some(status),
        ..otlp::Span::default()
    }
}

pub fn logs(about: &About, lines: Vec<LogLine>) -> ExportLogsServiceRequest {
    let log_records = lines.into_iter().map(log_record).collect();
    let scope_logs =
        vec![ScopeLogs { scope: Some(scope(about)), log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource(about)),
            scope_logs,
            ..ResourceLogs::default()
        }],
    }
}

fn log_record(line: LogLine) -> LogRecord {
    let severity = match line.level {
        Level::ERROR => SeverityNumber::Error,
        Level::WARN => SeverityNumber::Warn,
        Level::INFO => SeverityNumber::Info,
        Level::DEBUG => SeverityNumber::Debug,
        Level::TRACE => SeverityNumber::Trace,
    };
    let mut attributes = attributes(line.fields);
    attributes.push(attribute("code.namespace", line.target));
    LogRecord {
        time_unix_nano: nanos(line.time),
        observed_time_unix_nano: nanos(line.time),
        severity_number: severity.into(),
        severity_text: line.level.to_string(),
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(line.message)) }),
        attributes,
        ..LogRecord::default()
    }
}

fn attributes(pairs: Vec<(&'static str, String)>) -> Vec<KeyValue> {
    pairs.iter().map(|(name, value)| attribute(name, value)).collect()
}

pub fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
