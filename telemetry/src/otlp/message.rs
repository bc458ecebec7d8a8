//! A snapshot as OTLP messages of a bounded number of points.

use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1 as otlp;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::records::nanos;
use crate::catalogue::{self, Kind, Metric};
use crate::run::About;
use crate::snapshot::{Point, Snapshot, Value};

const CUMULATIVE: i32 = otlp::AggregationTemporality::Cumulative as i32;

/// Each made when it is asked for.
pub fn messages<'a>(
    snapshot: &'a Snapshot,
    about: &'a About,
    started: SystemTime,
    points: usize,
) -> impl Iterator<Item = ExportMetricsServiceRequest> + 'a {
    let times = Times { start: nanos(started), now: nanos(snapshot.taken) };
    // Slices of columns, gathered until a message is full.
    let mut slices = catalogue::ALL.iter().enumerate().flat_map(move |(index, metric)| {
        snapshot.point_column(index).chunks(points).map(move |points| (*metric, points))
    });
    let mut carried: Option<(&'static Metric, &'a [Point])> = None;
    std::iter::from_fn(move || {
        let (mut metrics, mut room) = (Vec::new(), points);
        while let Some((metric, slice)) = carried.take().or_else(|| slices.next()) {
            if slice.len() > room {
                carried = Some((metric, slice));
                break;
            }
            room -= slice.len();
            metrics.push(to_metric(snapshot, metric, slice, times));
        }
        (!metrics.is_empty()).then(|| request(about, metrics))
    })
}

#[derive(Clone, Copy)]
struct Times {
    start: u64,
    now: u64,
}

fn request(about: &About, metrics: Vec<otlp::Metric>) -> ExportMetricsServiceRequest {
    let scope_metrics =
        otlp::ScopeMetrics { scope: Some(scope(about)), metrics, ..Default::default() };
    ExportMetricsServiceRequest {
        resource_metrics: vec![otlp::ResourceMetrics {
            resource: Some(resource(about)),
            scope_metrics: vec![scope_metrics],
            ..Default::default()
        }],
    }
}

/// Who tells.
pub fn resource(about: &About) -> Resource {
    let attributes = [
        ("service.name", about.service),
        ("service.version", about.version),
        ("service.namespace", &about.fleet),
        ("service.instance.id", &about.instance),
    ];
    Resource {
        attributes: attributes.iter().map(|(key, value)| attribute(key, value)).collect(),
        ..Resource::default()
    }
}

pub fn scope(about: &About) -> InstrumentationScope {
    InstrumentationScope {
        name: "hawser".to_owned(),
        version: about.version.to_owned(),
        ..InstrumentationScope::default()
    }
}

pub fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn to_metric(
    snapshot: &Snapshot,
    metric: &'static Metric,
    points: &[Point],
    times: Times,
) -> otlp::Metric {
    let numbers = || points.iter().filter_map(|p| number(snapshot, metric, p, times)).collect();
    let data = match metric.kind {
        Kind::Gauge => Data::Gauge(otlp::Gauge { data_points: numbers() }),
        Kind::Counter => Data::Sum(otlp::Sum {
            data_points: numbers(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        Kind::Histogram(_) => Data::Histogram(otlp::Histogram {
            data_points: points
                .iter()
                .filter_map(|p| histogram(snapshot, metric, p, times))
                .collect(),
            aggregation_temporality: CUMULATIVE,
        }),
    };
    otlp::Metric {
        name: metric.name.to_owned(),
        description: metric.help.to_owned(),
        unit: metric.unit.to_owned(),
        data: Some(data),
        ..otlp::Metric::default()
    }
}

fn attributes(snapshot: &Snapshot, metric: &'static Metric, point: &Point) -> Vec<KeyValue> {
    snapshot.labels(metric, point).map(|(name, value)| attribute(name, value)).collect()
}

fn number(
    snapshot: &Snapshot,
    metric: &'static Metric,
    point: &Point,
    times: Times,
) -> Option<otlp::NumberDataPoint> {
    let Value::Number(value) = point.value else { return None };
    Some(otlp::NumberDataPoint {
        attributes: attributes(snapshot, metric, point),
        start_time_unix_nano: if metric.kind == Kind::Counter { times.start } else { 0 },
        time_unix_nano: times.now,
        value: Some(otlp::number_data_point::Value::AsDouble(value)),
        ..Default::default()
    })
}

fn histogram(
    snapshot: &Snapshot,
    metric: &'static Metric,
    point: &Point,
    times: Times,
) -> Option<otlp::HistogramDataPoint> {
    let Value::Histogram(reading) = &point.value else { return None };
    Some(otlp::HistogramDataPoint {
        attributes: attributes(snapshot, metric, point),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        count: reading.count(),
        sum: Some(reading.sum_s),
        bucket_counts: reading.counts.clone(),
        explicit_bounds: reading.bounds_s.clone(),
        ..Default::default()
    })
}
