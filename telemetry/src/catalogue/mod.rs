//! Every metric of Hawser, once. Whatever is measured, drawn, alerted on or documented names one of these.

mod page;
mod table;
#[cfg(test)]
mod tests;

pub use page::page;
pub use table::*;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only rises, but for a restart of the process or of what is counted.
    Counter,
    Gauge,
    /// Observations in buckets; bounds in the metric's unit.
    Histogram(&'static [Micro]),
}

/// A millionth of the unit: bounds that compare as integers.
pub type Micro = u64;

/// Whose figures a series has: the labels that all metrics of a kind of thing share. The fleet comes first; only the process is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Process,
    Fleet,
    Site,
    Uplink,
    Path,
    Class,
    IkeTunnel,
}

impl Scope {
    pub const fn labels(self) -> &'static [&'static str] {
        match self {
            Scope::Process => &[],
            Scope::Fleet => &["fleet"],
            Scope::Site => &["fleet", "site", "edge"],
            Scope::Uplink => &["fleet", "site", "edge", "uplink"],
            Scope::Path => &["fleet", "site", "edge", "uplink", "peer_site", "peer_uplink", "path"],
            Scope::Class => &["fleet", "site", "edge", "peer_site", "peer_edge", "class"],
            Scope::IkeTunnel => &["fleet", "site", "edge", "tunnel"],
        }
    }
}

/// Who tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    Edge,
    Controller,
    /// The agent about its own edge, and the controller about every edge, with the same labels.
    Both,
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// As OpenTelemetry names it.
    pub name: &'static str,
    /// UCUM; empty: a flag or a number without a unit.
    pub unit: &'static str,
    pub kind: Kind,
    pub scope: Scope,
    /// Labels beside those of its scope.
    pub own: &'static [&'static str],
    pub teller: Teller,
    pub help: &'static str,
}

impl Metric {
    /// As Prometheus names it, by OpenTelemetry's rules of translation: the unit spelt out, counters end in `_total`.
    pub fn prometheus(&self) -> String {
        let mut name = self.name.replace('.', "_");
        let suffix = match self.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            "By/s" => "_bytes_per_second",
            "1" => "_ratio",
            _ => "",
        };
        name.push_str(suffix);
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }

    /// The names of all its series in Prometheus.
    pub fn series_names(&self) -> Vec<String> {
        let name = self.prometheus();
        match self.kind {
            Kind::Counter | Kind::Gauge => vec![name],
            Kind::Histogram(_) => {
                ["_bucket", "_sum", "_count"].iter().map(|end| format!("{name}{end}")).collect()
            }
        }
    }

    pub fn labels(&self) -> impl Iterator<Item = &'static str> {
        self.scope.labels().iter().chain(self.own).copied()
    }

    /// Its place in [`ALL`].
    pub fn index(&self) -> usize {
        ALL.iter().position(|m| std::ptr::eq(*m, self)).expect("every metric is in the table")
    }
}
