//! `hawser-telemetry-check`: a fleet with a failover, scraped by a real Prometheus and pushed to a real OTLP receiver.
//! Every query of every dashboard and of every rule must return data, and the move must be seen when it happened.

mod long_history;
mod prometheus;
mod queries;
mod receiver;
mod story;

use crate::report;
use crate::screen::Screen;
use clap::Parser;
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(
    name = "hawser-telemetry-check",
    version,
    about = "Dashboards, rules and pushes against a real Prometheus and a real OTLP receiver"
)]
struct Cli {
    /// The program of an OTLP receiver (PyPI's rotel); without it nothing is pushed
    #[arg(long, value_name = "FILE")]
    receiver: Option<PathBuf>,
    /// The repository's folder `deploy`
    #[arg(long, value_name = "DIR", default_value = "deploy")]
    deploy: PathBuf,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    panels: usize,
    panels_with_data: usize,
    /// Dashboard, panel and query of those without.
    panels_without_data: Vec<String>,
    rules: usize,
    rules_ok: usize,
    rules_not_ok: Vec<String>,
    /// From the failure of the uplink until the dashboard's query shows the move.
    move_shown_after_ms: Option<u64>,
    /// Points of a path's history that a controller without any of its own got from Prometheus.
    long_history_points: u64,
    /// Series that Prometheus has of ours.
    series: u64,
    /// Pushes that arrived, as each sender counts those that the receiver acknowledged; null: there was no receiver.
    otlp_grpc_pushes: Option<u64>,
    otlp_http_pushes: Option<u64>,
    /// Spans and log lines likewise: of agents by gRPC, of the controller by HTTP.
    otlp_spans_of_edges: Option<u64>,
    otlp_spans_of_controller: Option<u64>,
    otlp_log_lines: Option<u64>,
    /// Messages of metrics that the receiver logged.
    otlp_messages_received: Option<u64>,
}

impl Report {
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.panels == 0 || self.panels_with_data < self.panels {
            wrong.push(format!("panels without data: {}", self.panels_without_data.join("; ")));
        }
        if self.rules == 0 || self.rules_ok < self.rules {
            wrong.push(format!("rules not in order: {}", self.rules_not_ok.join("; ")));
        }
        if self.move_shown_after_ms.is_none() {
            wrong.push("the move was not shown".to_owned());
        }
        if self.long_history_points == 0 {
            wrong.push("no history came from Prometheus".to_owned());
        }
        for (how, pushes) in [
            ("gRPC", self.otlp_grpc_pushes),
            ("HTTP", self.otlp_http_pushes),
            ("spans of agents", self.otlp_spans_of_edges),
            ("spans of the controller", self.otlp_spans_of_controller),
            ("log lines", self.otlp_log_lines),
            ("log", self.otlp_messages_received),
        ] {
            if pushes == Some(0) {
                wrong.push(format!("nothing arrived by OTLP: {how}"));
            }
        }
        wrong
    }
}

/// Runs the program; its arguments are the process's.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let screen = Screen::new();
    screen.title("Hawser: what people see of it");
    let mut outcome = Report::default();
    let mut wrong = match story::tell(&screen, &cli, &mut outcome) {
        Ok(()) => outcome.wrong(),
        Err(error) => vec![error.line()],
    };
    match report::write("telemetry", &outcome) {
        Ok(path) => screen.note(&format!("Report: {}", path.display())),
        Err(error) => wrong.push(error.to_string()),
    }
    wrong.iter().for_each(|line| screen.bad(line));
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
