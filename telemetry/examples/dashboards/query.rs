//! PromQL from the catalogue. What agents and a controller both tell is one series: `max by` of the labels drops who told it.

use hawser_telemetry::catalogue::{Kind, Metric};

pub const RATE: &str = "[$__rate_interval]";

fn by(metric: &Metric) -> String {
    metric.labels().collect::<Vec<_>>().join(", ")
}

/// The metric's series, each once.
pub fn each(metric: &Metric, filter: &str) -> String {
    format!("max by ({}) ({}{{{filter}}})", by(metric), metric.prometheus())
}

/// Of a counter, per second.
pub fn rate(metric: &Metric, filter: &str) -> String {
    assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
    format!("max by ({}) (rate({}{{{filter}}}{RATE}))", by(metric), metric.prometheus())
}

/// A quantile of a histogram's observations.
pub fn quantile(metric: &Metric, filter: &str, quantile: &str) -> String {
    let own = metric.own.join(", ");
    let bucket = &metric.series_names()[0];
    format!("histogram_quantile({quantile}, sum by (le, {own}) (rate({bucket}{{{filter}}}{RATE})))")
}

pub fn sum(labels: &str, inner: &str) -> String {
    match labels {
        "" => format!("sum({inner})"),
        labels => format!("sum by ({labels}) ({inner})"),
    }
}
