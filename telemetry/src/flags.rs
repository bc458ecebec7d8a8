//! The flags of `hawser-edge run` and `hawser-controller run`.

use std::net::SocketAddr;
use std::path::PathBuf;

/// What OTLP carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Signal {
    Metrics,
    Traces,
    Logs,
}

/// Everything is off until asked for.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryFlags {
    /// Serve metrics to Prometheus at http://ADDR:PORT/metrics, in clear and to anybody who reaches it; a port alone: on loopback
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = parse_listen)]
    pub metrics_listen: Option<SocketAddr>,
    /// Series of paths told at most, of each fleet; if there would be more, sites stand for them
    #[arg(long, value_name = "COUNT", default_value_t = 400_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub metrics_max_series: u32,
    /// Push metrics, traces and logs by OTLP to this collector, e.g. http://127.0.0.1:4317; headers and timeouts come from OTEL_EXPORTER_OTLP_*
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// What is pushed by OTLP; a variable like OTEL_EXPORTER_OTLP_TRACES_ENDPOINT has a signal pushed elsewhere
    #[arg(
        long,
        value_name = "SIGNALS",
        value_delimiter = ',',
        default_value = "metrics,traces,logs"
    )]
    pub otlp_signals: Vec<Signal>,
    /// How OTLP is spoken: grpc or http/protobuf [default: OTEL_EXPORTER_OTLP_PROTOCOL, else grpc]
    #[arg(long, value_name = "PROTOCOL")]
    pub otlp_protocol: Option<String>,
    /// Trust this CA (PEM) for an https collector, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub otlp_ca_file: Option<PathBuf>,
    /// Milliseconds between pushes of metrics [default: OTEL_METRIC_EXPORT_INTERVAL, else 60000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(500..=3_600_000))]
    pub otlp_interval_ms: Option<u32>,
}

impl Default for TelemetryFlags {
    fn default() -> Self {
        TelemetryFlags {
            metrics_listen: None,
            metrics_max_series: 400_000,
            otlp_endpoint: None,
            otlp_signals: vec![Signal::Metrics, Signal::Traces, Signal::Logs],
            otlp_protocol: None,
            otlp_ca_file: None,
            otlp_interval_ms: None,
        }
    }
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.parse().map_err(|_| format!("{text:?} is neither a port nor an address and a port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_loopback() {
        assert_eq!(parse_listen("9464"), Ok("127.0.0.1:9464".parse().expect("an address")));
        assert_eq!(parse_listen("[::]:9464"), Ok("[::]:9464".parse().expect("an address")));
        assert!(parse_listen("host:9464").is_err() && parse_listen("99999").is_err());
    }
}
