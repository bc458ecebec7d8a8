//! What was measured before the rings begin, from a Prometheus server that the operator named.

use std::collections::BTreeMap;
use std::sync::Arc;

use hawser_controller_core::trend::Point;
use hawser_controller_core::trend::past::{self, Figure, Steps};
use hawser_telemetry::catalogue::{PATH_JITTER, PATH_LOSS, PATH_RTT, PATH_SELECTED, PATH_STATE};
use hawser_telemetry::{Past, PastSeries, Range};

use super::TrendQuestion;
use crate::service::Controller;

/// Of each end.
const POINTS_MAX: u32 = 480;
/// Prometheus scrapes every 15 to 60 s as a rule: a narrower step would have holes.
const NARROWEST_STEP_MS: u32 = 60_000;
/// Nobody asks for more; a question for "everything" is one for this.
const REACHES_BACK_MS: u64 = 400 * 86_400_000;
/// The label that tells the figures of one answer apart.
const FIGURE: &str = "hawser_figure";

/// What became of the question to the long store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongStore {
    /// There is none.
    None,
    /// Everything asked for is in the rings.
    NotAsked,
    Answered,
    /// Why is in the log.
    Failed,
}

/// A server, and which of its series are this fleet's.
#[derive(Debug)]
pub(super) struct Reach {
    past: Arc<Past>,
    /// What matches the label `fleet`.
    fleets: String,
}

impl Controller {
    /// Charts reach further back from now on. `unnamed`: series that say no fleet are this one's; versions before told such of the first fleet alone.
    pub fn reach_back(&self, past: &Arc<Past>, unnamed: bool) {
        let fleets = format!("{}{}", self.fleet_name(), if unnamed { "|" } else { "" });
        if self.trends.past.set(Reach { past: Arc::clone(past), fleets }).is_err() {
            tracing::warn!("a second Prometheus is left aside");
        }
    }

    /// The points of each edge before `until_ms`.
    pub(super) async fn older(
        &self,
        asked: &TrendQuestion,
        edges: [&str; 2],
        until_ms: u64,
    ) -> (BTreeMap<String, Vec<Point>>, LongStore) {
        let Some(Reach { past, fleets }) = self.trends.past.get() else {
            return (BTreeMap::new(), LongStore::None);
        };
        let since_ms = asked.since_unix_ms.max(until_ms.saturating_sub(REACHES_BACK_MS));
        let most = POINTS_MAX.min(if asked.limit == 0 { POINTS_MAX } else { asked.limit });
        let Some(steps) = past::steps(since_ms, until_ms, NARROWEST_STEP_MS, most) else {
            return (BTreeMap::new(), LongStore::NotAsked);
        };
        let range = Range {
            first_ms: steps.first_ends_ms,
            last_ms: steps.last_ends_ms,
            step_ms: steps.step_ms,
        };
        match past.range(&query(fleets, asked.path_id, edges, steps), range).await {
            Ok(series) => (by_edge(&series, steps.step_ms), LongStore::Answered),
            Err(error) => {
                self.count("long_history_failed");
                tracing::warn!(path_id = asked.path_id, %error, "Prometheus has no older figures for a chart");
                (BTreeMap::new(), LongStore::Failed)
            }
        }
    }
}

/// All figures at once. An agent and the controller may both tell of a path: `max` takes either.
fn query(fleets: &str, path_id: u32, edges: [&str; 2], steps: Steps) -> String {
    let edges = edges.map(|edge| edge.replace('.', "\\\\.")).join("|");
    let step = format!("{}s", steps.step_ms / 1_000);
    let one = |figure: &str, over: &str, name: &str, more: &str, fold: &str| {
        let series =
            format!(r#"{name}{{fleet=~"{fleets}",path="{path_id}",edge=~"{edges}"{more}}}"#);
        let folded = format!("{fold} by (edge) ({over}({series}[{step}]))");
        format!(r#"label_replace({folded}, "{FIGURE}", "{figure}", "", "")"#)
    };
    let loss = PATH_LOSS.prometheus();
    [
        one("rtt", "avg_over_time", &PATH_RTT.prometheus(), "", "max"),
        one("jitter", "avg_over_time", &PATH_JITTER.prometheus(), "", "max"),
        one("loss_tx", "avg_over_time", &loss, r#",direction="tx""#, "max"),
        one("loss_rx", "avg_over_time", &loss, r#",direction="rx""#, "max"),
        one("state", "min_over_time", &PATH_STATE.prometheus(), "", "min"),
        one("carries", "max_over_time", &PATH_SELECTED.prometheus(), "", "max"),
    ]
    .join(" or ")
}

fn by_edge(series: &[PastSeries], step_ms: u32) -> BTreeMap<String, Vec<Point>> {
    let mut told: BTreeMap<String, Vec<(Figure, u64, f64)>> = BTreeMap::new();
    for one in series {
        let Some(edge) = one.labels.get("edge") else { continue };
        let Some(figure) = one.labels.get(FIGURE).and_then(|name| figure(name)) else { continue };
        let values = one.values.iter().map(|(at, value)| (figure, *at, *value));
        told.entry(edge.clone()).or_default().extend(values);
    }
    told.into_iter().map(|(edge, told)| (edge, past::points(step_ms, told))).collect()
}

fn figure(name: &str) -> Option<Figure> {
    Some(match name {
        "rtt" => Figure::RttSeconds,
        "jitter" => Figure::JitterSeconds,
        "loss_tx" => Figure::LossTxRatio,
        "loss_rx" => Figure::LossRxRatio,
        "state" => Figure::LeastState,
        "carries" => Figure::Carries,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_of_the_question_is_known_in_the_answer() {
        let steps = Steps { first_ends_ms: 0, last_ends_ms: 0, step_ms: 60_000 };
        let asked = query("acme|", 7, ["hq.1", "b1"], steps);
        let names = asked.split(FIGURE).skip(1).map(|rest| rest.split('"').nth(2).unwrap());
        let names: Vec<&str> = names.collect();
        assert_eq!(names.len(), 6);
        assert!(names.iter().all(|name| figure(name).is_some()), "{names:?}");
        assert!(asked.contains(r#"{fleet=~"acme|",path="7",edge=~"hq\\.1|b1"}[60s]"#), "{asked}");
    }

    #[test]
    fn each_edge_has_its_own_points() {
        let one = |edge: &str, figure: &str, value: f64| PastSeries {
            labels: [("edge".into(), edge.into()), (FIGURE.into(), figure.into())].into(),
            values: vec![(120_000, value)],
        };
        let series = [
            one("a", "state", 2.0),
            one("a", "rtt", 0.02),
            one("b", "state", 0.0),
            one("b", "news", 1.0),
        ];
        let points = by_edge(&series, 60_000);
        assert_eq!(points["a"][0].rtt_us, 20_000);
        assert!(!points["b"][0].measured);
    }
}
