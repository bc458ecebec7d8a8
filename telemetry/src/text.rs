//! Prometheus's text format, version 0.0.4, a piece at a time: a large fleet's text is never in memory as a whole.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::catalogue::{self, Kind, Metric};
use crate::histogram::Reading;
use crate::snapshot::{Snapshot, Value};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// A piece ends with the first series after so many octets.
const PIECE_BYTES: usize = 64 * 1024;
/// Room for that series.
const PIECE_SPARE_BYTES: usize = 1_024;

/// The snapshot's text, in pieces of about 64 KiB, each made when it is asked for.
pub fn chunks(snapshot: Arc<Snapshot>) -> impl Iterator<Item = String> + Send {
    Pieces {
        snapshot,
        metric: 0,
        point: 0,
        name: String::new(),
        sets: Texts::default(),
        own: Texts::default(),
    }
}

struct Pieces {
    snapshot: Arc<Snapshot>,
    metric: usize,
    point: usize,
    name: String,
    /// Of things, and of the present metric itself.
    sets: Texts,
    own: Texts,
}

impl Iterator for Pieces {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut piece = String::with_capacity(PIECE_BYTES + PIECE_SPARE_BYTES);
        while piece.len() < PIECE_BYTES {
            let Some(&metric) = catalogue::ALL.get(self.metric) else { break };
            let Some(point) = self.snapshot.point_column(self.metric).get(self.point) else {
                (self.metric, self.point) = (self.metric + 1, 0);
                continue;
            };
            if self.point == 0 {
                self.name = metric.prometheus();
                self.own = Texts::default();
                head(&mut piece, metric, &self.name);
            }
            let snapshot = &self.snapshot;
            let series = Series {
                name: &self.name,
                shared: self.sets.get(point.set.index(), || snapshot.set_labels(point.set)),
                own: self.own.get(point.own as usize, || snapshot.own_labels(metric, point)),
            };
            match &point.value {
                Value::Number(value) => series.write(&mut piece, "", "", *value),
                Value::Histogram(reading) => write_histogram(&mut piece, &series, reading),
            }
            self.point += 1;
        }
        (!piece.is_empty()).then_some(piece)
    }
}

fn head(out: &mut String, metric: &Metric, name: &str) {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let help = metric.help.replace('\\', "\\\\").replace('\n', "\\n");
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// Labels as text, each made once: a path has twenty series, and their labels are most of a scrape.
#[derive(Default)]
struct Texts(Vec<Option<Box<str>>>);

impl Texts {
    fn get<'a, L>(&mut self, index: usize, labels: impl FnOnce() -> L) -> &str
    where
        L: Iterator<Item = (&'static str, &'a str)>,
    {
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        self.0[index].get_or_insert_with(|| {
            let mut text = String::new();
            for (name, value) in labels() {
                label(&mut text, name, value);
            }
            text.into()
        })
    }
}

/// A name, and labels as text.
struct Series<'a> {
    name: &'a str,
    shared: &'a str,
    own: &'a str,
}

impl Series<'_> {
    fn write(&self, out: &mut String, end: &str, le: &str, value: f64) {
        out.push_str(self.name);
        out.push_str(end);
        let mut open = '{';
        for labels in [self.shared, self.own, le] {
            if !labels.is_empty() {
                out.push(open);
                out.push_str(labels);
                open = ',';
            }
        }
        out.push_str(if open == '{' { " " } else { "} " });
        number(out, value);
        out.push('\n');
    }
}

fn write_histogram(out: &mut String, series: &Series<'_>, reading: &Reading) {
    let mut below = 0;
    let bounds = reading.bounds_s.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(&reading.counts) {
        below += count;
        series.write(out, "_bucket", &format!("le=\"{bound}\""), below as f64);
    }
    series.write(out, "_sum", "", reading.sum_s);
    series.write(out, "_count", "", below as f64);
}

fn number(out: &mut String, value: f64) {
    /// Below it every whole number is exact. Most values are whole, and whole ones are written in a fraction of the time.
    const WHOLE_BELOW: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < WHOLE_BELOW {
        out.push_str(itoa::Buffer::new().format(value as i64));
    } else if value.is_finite() {
        out.push_str(ryu::Buffer::new().format_finite(value));
    } else {
        let _ = write!(out, "{value}");
    }
}

/// `NAME="VALUE"`, after a comma if something stands before it.
fn label(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    let mut rest = value;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        out.push_str(&rest[..at]);
        out.push('\\');
        out.push(if rest.as_bytes()[at] == b'\n' { 'n' } else { rest.as_bytes()[at] as char });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Histogram;
    use crate::catalogue::{CONTROLLER_PUSH, PATH_LOSS, Scope};

    fn text(snapshot: Snapshot) -> String {
        chunks(Arc::new(snapshot)).collect()
    }

    #[test]
    fn a_series_has_help_type_labels_and_escapes() {
        let mut snapshot = Snapshot::of_fleet("acme");
        let odd = snapshot.set(Scope::Path, &["b\"1", "b\\1", "a\nb", "hq", "isp-a", "7"]);
        snapshot.put(&PATH_LOSS, odd, &["tx"], 0.25);
        snapshot.put(&PATH_LOSS, odd, &["rx"], f64::NAN);
        let text = text(snapshot);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("# HELP hawser_path_loss_ratio Share of"));
        assert_eq!(lines[1], "# TYPE hawser_path_loss_ratio gauge");
        assert_eq!(
            lines[2],
            r#"hawser_path_loss_ratio{fleet="acme",site="b\"1",edge="b\\1",uplink="a\nb",peer_site="hq",peer_uplink="isp-a",path="7",direction="tx"} 0.25"#
        );
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_histogram_cumulates() {
        let histogram = Histogram::new(&CONTROLLER_PUSH);
        histogram.observe(Duration::from_micros(900));
        histogram.observe(Duration::from_secs(2));
        let mut snapshot = Snapshot::default();
        let fleet = snapshot.enter_fleet("acme");
        snapshot.put_histogram(&CONTROLLER_PUSH, fleet, &["acked"], histogram.read());
        let text = text(snapshot);
        let name = "hawser_controller_push_duration_seconds";
        for line in [
            format!("{name}_bucket{{fleet=\"acme\",outcome=\"acked\",le=\"0.001\"}} 1"),
            format!("{name}_bucket{{fleet=\"acme\",outcome=\"acked\",le=\"1\"}} 1"),
            format!("{name}_bucket{{fleet=\"acme\",outcome=\"acked\",le=\"2.5\"}} 2"),
            format!("{name}_bucket{{fleet=\"acme\",outcome=\"acked\",le=\"+Inf\"}} 2"),
            format!("{name}_sum{{fleet=\"acme\",outcome=\"acked\"}} 2.0009"),
            format!("{name}_count{{fleet=\"acme\",outcome=\"acked\"}} 2"),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        }
    }

    #[test]
    fn pieces_are_bounded_and_lose_nothing() {
        let mut snapshot = Snapshot::of_fleet("acme");
        for n in 0..5_000 {
            let set = snapshot.set(Scope::Path, &["b", "b-1", "a", "hq", "b", &n.to_string()]);
            snapshot.put(&PATH_LOSS, set, &["tx"], 0.0);
        }
        let pieces: Vec<String> = chunks(Arc::new(snapshot)).collect();
        assert!(pieces.len() > 5);
        assert!(pieces.iter().all(|p| p.len() < PIECE_BYTES + 1_024));
        assert_eq!(pieces.concat().lines().count(), 5_002);
    }
}
