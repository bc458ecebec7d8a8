//! Prometheus's text format, version 0.0.4, a piece at a time: a large fleet's text is never in memory as a whole.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::catalogue::{self, Kind, Metric};
use crate::histogram::Reading;
use crate::snapshot::{Point, Snapshot, Value};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// A piece ends with the first series after so many octets.
const PIECE_BYTES: usize = 64 * 1024;

/// The snapshot's text, in pieces of about 64 KiB, each made when it is asked for.
pub fn chunks(snapshot: Arc<Snapshot>) -> impl Iterator<Item = String> + Send {
    Pieces { snapshot, metric: 0, point: 0, name: String::new() }
}

struct Pieces {
    snapshot: Arc<Snapshot>,
    metric: usize,
    point: usize,
    name: String,
}

impl Iterator for Pieces {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut piece = String::new();
        while piece.len() < PIECE_BYTES {
            let Some(&metric) = catalogue::ALL.get(self.metric) else { break };
            let Some(point) = self.snapshot.point_column(self.metric).get(self.point) else {
                (self.metric, self.point) = (self.metric + 1, 0);
                continue;
            };
            if self.point == 0 {
                piece.reserve(PIECE_BYTES + 1_024);
                self.name = metric.prometheus();
                head(&mut piece, metric, &self.name);
            }
            write_point(&mut piece, &self.snapshot, metric, &self.name, point);
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

fn write_point(
    out: &mut String,
    snapshot: &Snapshot,
    metric: &'static Metric,
    name: &str,
    point: &Point,
) {
    match &point.value {
        Value::Number(value) => {
            out.push_str(name);
            labels(out, snapshot, metric, point, None);
            let _ = writeln!(out, " {value}");
        }
        Value::Histogram(reading) => write_histogram(out, snapshot, metric, name, point, reading),
    }
}

fn write_histogram(
    out: &mut String,
    snapshot: &Snapshot,
    metric: &'static Metric,
    name: &str,
    point: &Point,
    reading: &Reading,
) {
    let mut below = 0;
    let bounds = reading.bounds_s.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(&reading.counts) {
        below += count;
        let _ = write!(out, "{name}_bucket");
        labels(out, snapshot, metric, point, Some(&bound));
        let _ = writeln!(out, " {below}");
    }
    for (end, value) in [("sum", reading.sum_s), ("count", below as f64)] {
        let _ = write!(out, "{name}_{end}");
        labels(out, snapshot, metric, point, None);
        let _ = writeln!(out, " {value}");
    }
}

fn labels(
    out: &mut String,
    snapshot: &Snapshot,
    metric: &'static Metric,
    point: &Point,
    bound: Option<&str>,
) {
    let mut open = '{';
    for (name, value) in snapshot.labels(metric, point).chain(bound.map(|le| ("le", le))) {
        out.push(open);
        out.push_str(name);
        out.push_str("=\"");
        escape(out, value);
        out.push('"');
        open = ',';
    }
    if open == ',' {
        out.push('}');
    }
}

fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
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
        let mut snapshot = Snapshot::default();
        let odd = snapshot.set(Scope::Path, &["b\"1", "b\\1", "a\nb", "hq", "isp-a", "7"]);
        snapshot.put(&PATH_LOSS, odd, &["tx".into()], 0.25);
        snapshot.put(&PATH_LOSS, odd, &["rx".into()], f64::NAN);
        let text = text(snapshot);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("# HELP hawser_path_loss_ratio Share of"));
        assert_eq!(lines[1], "# TYPE hawser_path_loss_ratio gauge");
        assert_eq!(
            lines[2],
            r#"hawser_path_loss_ratio{site="b\"1",edge="b\\1",uplink="a\nb",peer_site="hq",peer_uplink="isp-a",path="7",direction="tx"} 0.25"#
        );
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_histogram_cumulates() {
        let histogram = Histogram::new(&CONTROLLER_PUSH);
        histogram.observe(Duration::from_micros(900));
        histogram.observe(Duration::from_secs(2));
        let mut snapshot = Snapshot::default();
        snapshot.put_histogram(
            &CONTROLLER_PUSH,
            Snapshot::PROCESS,
            &["acked".into()],
            histogram.read(),
        );
        let text = text(snapshot);
        let name = "hawser_controller_push_duration_seconds";
        for line in [
            format!("{name}_bucket{{outcome=\"acked\",le=\"0.001\"}} 1"),
            format!("{name}_bucket{{outcome=\"acked\",le=\"1\"}} 1"),
            format!("{name}_bucket{{outcome=\"acked\",le=\"2.5\"}} 2"),
            format!("{name}_bucket{{outcome=\"acked\",le=\"+Inf\"}} 2"),
            format!("{name}_sum{{outcome=\"acked\"}} 2.0009"),
            format!("{name}_count{{outcome=\"acked\"}} 2"),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} not in\n{text}");
        }
    }

    #[test]
    fn pieces_are_bounded_and_lose_nothing() {
        let mut snapshot = Snapshot::default();
        for n in 0..5_000 {
            let set = snapshot.set(Scope::Path, &["b", "b-1", "a", "hq", "b", &n.to_string()]);
            snapshot.put(&PATH_LOSS, set, &["tx".into()], 0.0);
        }
        let pieces: Vec<String> = chunks(Arc::new(snapshot)).collect();
        assert!(pieces.len() > 5);
        assert!(pieces.iter().all(|p| p.len() < PIECE_BYTES + 1_024));
        assert_eq!(pieces.concat().lines().count(), 5_002);
    }
}
