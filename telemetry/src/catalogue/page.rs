//! `docs/METRICS.md`.

use std::fmt::Write as _;

use super::{ALL, Kind, Metric, Scope, Teller};

const HEAD: &str = "# Metrics

Generated from `telemetry/src/catalogue/table.rs` by `cargo run -p hawser-telemetry --example metrics_page`; a test compares.

Both `hawser-edge run` and `hawser-controller run` tell them, to be scraped (`--metrics-listen`), pushed (`--otlp-endpoint`), or both.
What an agent tells of its own edge and what a controller tells of every edge has the same name and labels: scrape either, or both and
take `max by (...)` of the labels below without `instance` and `job`, as the dashboards do. With thousands of sites scrape the controller alone.

The first name is OpenTelemetry's, the second Prometheus's. Units are UCUM; a unit in braces counts things.
A series that is no longer told of (a removed path, a site that left) is gone with the next collection. What a controller tells of an
edge that it has not heard for three telemetry intervals is gone too, except `hawser.edge.*` and `hawser.selection.moves`.

All but the process's own series have the label `fleet`, from agents and from a controller of one fleet too: a controller may serve several, and their sites
may have the same names. Versions before told none; a query or rule of one's own that names no fleet goes on as it was where there is one.

Label sets are bounded: names come from the fleet's document, reasons and causes from code. If the series of a fleet's paths would be more than
`--metrics-max-series`, they are left out, its `hawser.telemetry.aggregated` is 1, and `hawser.site.*` (always there) stands for them. Each fleet has that many of its own.

Spans have the attribute `fleet` too. The resource of what a controller pushes by OTLP has its first fleet in `service.namespace`.
";

/// The page, as Markdown.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    let scopes = [
        (Scope::Path, "Paths, as one end sees them"),
        (Scope::Site, "Edges"),
        (Scope::Uplink, "Uplinks"),
        (Scope::Class, "Selection: a traffic class of a tunnel"),
        (Scope::IkeTunnel, "Tunnels with gateways that are not Hawser"),
        (Scope::Fleet, "Fleets"),
        (Scope::Process, "The process itself"),
    ];
    for (scope, title) in scopes {
        let _ = write!(page, "\n## {title}\n\n");
        if !scope.labels().is_empty() {
            let labels: Vec<String> = scope.labels().iter().map(|l| format!("`{l}`")).collect();
            let _ = write!(page, "All have the labels {}.\n\n", labels.join(", "));
        }
        page.push_str("| metric | unit | kind | labels | told by | |\n|---|---|---|---|---|---|\n");
        for metric in ALL.iter().filter(|m| m.scope == scope) {
            page.push_str(&row(metric));
        }
    }
    page
}

fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let teller = match metric.teller {
        Teller::Edge => "agent",
        Teller::Controller => "controller",
        Teller::Both => "both",
    };
    let own: Vec<String> = metric.own.iter().map(|l| format!("`{l}`")).collect();
    let unit = match metric.unit {
        "" => String::new(),
        unit => format!("`{unit}`"),
    };
    format!(
        "| `{}`<br>`{}` | {unit} | {kind} | {} | {teller} | {} |\n",
        metric.name,
        metric.prometheus(),
        own.join(", "),
        metric.help,
    )
}
