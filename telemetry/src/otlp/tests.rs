use std::collections::BTreeMap;
use std::time::SystemTime;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;

use super::message::messages;
use super::settings::{Protocol, Settings};
use super::*;
use crate::catalogue::{PATH_IO, PATH_RTT, Scope};
use crate::snapshot::Snapshot;

fn read(flags: &TelemetryFlags, variables: &[(&str, &str)]) -> Result<Option<Settings>, OtlpError> {
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Settings::read(flags, Signal::Metrics, &|name| variables.get(name).cloned())
}

fn some(variables: &[(&str, &str)]) -> Settings {
    read(&TelemetryFlags::default(), variables).expect("good settings").expect("an endpoint")
}

#[test]
fn without_an_endpoint_nothing_is_pushed() {
    let set = [("OTEL_EXPORTER_OTLP_HEADERS", "a=b"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")];
    assert!(read(&TelemetryFlags::default(), &set).expect("good settings").is_none());
}

#[test]
fn flags_go_before_variables_and_those_for_metrics_before_those_for_all() {
    let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/otlp/");
    let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    assert_eq!(some(&[all, http]).endpoint, "http://all:4318/otlp/v1/metrics");
    let metrics = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://metrics/as-it-is");
    assert_eq!(some(&[all, http, metrics]).endpoint, "https://metrics/as-it-is");
    let flags = TelemetryFlags {
        otlp_endpoint: Some("http://flag:1".to_owned()),
        otlp_protocol: Some("grpc".to_owned()),
        otlp_interval_ms: Some(1_000),
        ..TelemetryFlags::default()
    };
    let interval = ("OTEL_METRIC_EXPORT_INTERVAL", "5000");
    let settings = read(&flags, &[all, http, metrics, interval]).expect("good").expect("some");
    assert_eq!(settings.protocol, Protocol::Grpc);
    assert_eq!(settings.endpoint, "http://flag:1");
    assert_eq!(settings.interval.as_millis(), 1_000);
    assert_eq!(some(&[all, interval]).interval.as_millis(), 5_000);
}

#[test]
fn headers_are_decoded_and_told_to_nobody() {
    let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
    let settings =
        some(&[all, ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20s3cret, x-a=b")]);
    let (name, value) = &settings.headers[0];
    assert_eq!((name.as_str(), value.as_bytes()), ("authorization", &b"Bearer s3cret"[..]));
    assert!(!format!("{value:?}").contains("s3cret"));
    for bad in ["s3cret", "a b=s3cret", "a=s3cret%2", "a=s3cret%0a"] {
        let error = read(&TelemetryFlags::default(), &[all, ("OTEL_EXPORTER_OTLP_HEADERS", bad)]);
        let error = error.err().expect(bad);
        assert_eq!(error.code(), "OTLP_HEADERS");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

#[test]
fn wrong_values_are_named_with_their_place() {
    let endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
    for (name, value) in [
        (endpoint, "collector:4317"),
        (endpoint, "ftp://c:4317"),
        (endpoint, "http://user:s3cret@c:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
    ] {
        let mut set = vec![(endpoint, "http://c:4317")];
        set.push((name, value));
        let error = read(&TelemetryFlags::default(), &set).err().expect(value);
        assert!(error.to_string().contains(name), "{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        assert!(!error.code().is_empty() && !error.mend().is_empty());
    }
}

fn about() -> About {
    About { service: "hawser-edge", version: "1", fleet: "acme".into(), instance: "b1-1".into() }
}

#[test]
fn messages_are_bounded_and_hold_every_point_once() {
    let mut snapshot = Snapshot::of_fleet("acme");
    for n in 0..25 {
        let set = snapshot.set(Scope::Path, &["b", "b-1", "a", "hq", "b", &n.to_string()]);
        snapshot.put(&PATH_RTT, set, &[], 0.5);
        snapshot.put(&PATH_IO, set, &["tx"], 7.0);
    }
    let about = about();
    let messages: Vec<_> = messages(&snapshot, &about, SystemTime::now(), 10).collect();
    let mut seen = BTreeMap::<String, usize>::new();
    for message in &messages {
        let metrics = &message.resource_metrics[0].scope_metrics[0].metrics;
        let mut points = 0;
        for metric in metrics {
            let count = match metric.data.as_ref().expect("data") {
                Data::Gauge(gauge) => gauge.data_points.len(),
                Data::Sum(sum) => {
                    assert!(sum.is_monotonic && sum.data_points[0].start_time_unix_nano > 0);
                    sum.data_points.len()
                }
                other => panic!("{other:?}"),
            };
            points += count;
            *seen.entry(metric.name.clone()).or_default() += count;
        }
        assert!((1..=10).contains(&points));
    }
    assert_eq!(
        seen,
        [("hawser.path.io".to_owned(), 25), ("hawser.path.rtt".to_owned(), 25)].into()
    );
}
