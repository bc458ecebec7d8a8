//! `target/reports/selection.json`; its schema describes the fields.

use super::outcome::{MARKERS_AT_LEAST, Outcome, bucket_moves};
use super::plan::{Order, What};
use super::simulation::Simulated;
use crate::report::{Figures, Goal, Goals, one_decimal};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub quick: bool,
    /// All that was wanted has been measured.
    pub complete: bool,
    pub branches: usize,
    pub seed: u64,
    pub blackhole_gap_ms: Figures,
    pub carrier_loss_gap_ms: Figures,
    pub one_way_blackhole_gap_ms: Figures,
    pub one_way_other_direction_shared: usize,
    pub one_way_other_direction_moved: usize,
    pub brownout_busy_move_ms: Figures,
    pub brownout_idle_move_ms: Figures,
    pub jitter_move_ms: Figures,
    pub hub_failover_gap_ms: Figures,
    pub hub_failover_by_variant: BTreeMap<String, Figures>,
    pub failback_lost_packets: Figures,
    pub duplicate_gap_ms: Figures,
    pub flapping_moves_per_hour: Figures,
    pub flapping_run_s: u64,
    pub flapping_voluntary_moves_max: usize,
    pub flapping_voluntary_moves_allowed: usize,
    #[serde(flatten)]
    pub simulated: Computed,
    pub cleartext_packets_on_wan: u64,
    pub marker_packets_on_lan: u64,
    pub goals: Goals,
    pub host_stall_max_ms: f64,
    pub runs_repeated: usize,
    pub unhealed: usize,
    pub failures: BTreeMap<String, Vec<String>>,
}

/// [`Simulated`], or nulls.
#[derive(Debug, Default, Serialize)]
pub(super) struct Computed {
    pub simulated_days: Option<f64>,
    pub false_moves_per_30_days: Option<f64>,
    pub detect_loss_2pct_s: Value,
    pub detect_loss_5pct_s: Value,
    pub update_ns: Option<f64>,
    pub paths_per_core: Option<f64>,
    pub probe_bytes_per_path_per_day_used: Option<f64>,
    pub probe_bytes_per_path_per_day_idle: Option<f64>,
}

impl Report {
    pub(super) fn of(outcome: &Outcome, order: &Order) -> Self {
        let figures = |what| Figures::of(&outcome.values(what));
        let one_way = outcome.of(What::OneWay);
        let failures = outcome.failed.iter();
        let mut report = Self {
            quick: order.quick,
            complete: !outcome.interrupted && is_complete(outcome, order),
            branches: order.branches,
            seed: order.seed,
            blackhole_gap_ms: figures(What::Blackhole),
            carrier_loss_gap_ms: figures(What::CarrierLoss),
            one_way_blackhole_gap_ms: figures(What::OneWay),
            one_way_other_direction_shared: one_way.iter().filter(|r| r.other_shared).count(),
            one_way_other_direction_moved: one_way.iter().filter(|r| r.other_moved).count(),
            brownout_busy_move_ms: figures(What::BrownoutBusy),
            brownout_idle_move_ms: figures(What::BrownoutIdle),
            jitter_move_ms: figures(What::Jitter),
            hub_failover_gap_ms: figures(What::Hub),
            hub_failover_by_variant: by_variant(outcome),
            failback_lost_packets: figures(What::FailBack),
            duplicate_gap_ms: figures(What::Duplicate),
            flapping_moves_per_hour: figures(What::Flapping),
            flapping_run_s: order.flap_s,
            flapping_voluntary_moves_max: outcome.voluntary_moves(),
            flapping_voluntary_moves_allowed: bucket_moves(order.flap_s),
            simulated: outcome.simulated.clone().map(Computed::from).unwrap_or_default(),
            cleartext_packets_on_wan: outcome.clear.on_wan,
            marker_packets_on_lan: outcome.clear.on_lan,
            goals: Goals::new(),
            host_stall_max_ms: one_decimal(outcome.host_stall_max_ms),
            runs_repeated: outcome.repeated,
            unhealed: outcome.unhealed(),
            failures: failures.map(|(what, why)| (what.name().to_owned(), why.clone())).collect(),
        };
        report.goals = report.goals(order, outcome.searched);
        report
    }

    /// Only of what was wanted.
    fn goals(&self, order: &Order, searched: bool) -> Goals {
        let mut goals = Goals::new();
        let mut goal = |what: What, name: &str, goal: Goal| {
            if order.runs.contains_key(&what) {
                goals.insert(name.to_owned(), goal);
            }
        };
        let most = Goal::at_most;
        let figures = &self.blackhole_gap_ms;
        goal(What::Blackhole, "blackhole_gap_p50_ms", most(350.0, figures.p50));
        goal(What::Blackhole, "blackhole_gap_p99_ms", most(500.0, figures.p99));
        goal(
            What::CarrierLoss,
            "carrier_loss_gap_p99_ms",
            most(100.0, self.carrier_loss_gap_ms.p99),
        );
        goal(
            What::OneWay,
            "one_way_blackhole_gap_p99_ms",
            most(600.0, self.one_way_blackhole_gap_ms.p99),
        );
        goal(
            What::BrownoutBusy,
            "brownout_busy_move_p50_ms",
            most(3_000.0, self.brownout_busy_move_ms.p50),
        );
        goal(
            What::BrownoutIdle,
            "brownout_idle_move_p50_ms",
            most(10_000.0, self.brownout_idle_move_ms.p50),
        );
        goal(What::Jitter, "jitter_move_p50_ms", most(3_000.0, self.jitter_move_ms.p50));
        let hub = &self.hub_failover_gap_ms;
        goal(What::Hub, "hub_failover_gap_p50_ms", most(1_000.0, hub.p50));
        goal(What::Hub, "hub_failover_gap_max_ms", most(1_500.0, hub.max));
        goal(What::FailBack, "failback_lost_packets", most(0.0, self.failback_lost_packets.max));
        goal(What::Duplicate, "duplicate_gap_max_ms", most(20.0, self.duplicate_gap_ms.max));
        let allowed = hourly(2 * self.flapping_voluntary_moves_allowed + 1, self.flapping_run_s);
        goal(
            What::Flapping,
            "flapping_moves_per_hour",
            most(allowed, self.flapping_moves_per_hour.max),
        );
        let computed = &self.simulated;
        goal(
            What::Simulation,
            "false_moves_per_30_days",
            most(1.0, computed.false_moves_per_30_days),
        );
        let paths = Goal::at_least(50_000, computed.paths_per_core.map(|paths| paths as u64));
        goal(What::Simulation, "paths_per_core", paths);
        if searched {
            let (clear, control) = (self.cleartext_packets_on_wan, self.marker_packets_on_lan);
            goals.insert("cleartext_packets_on_wan".to_owned(), Goal::exactly(0, clear));
            let control = Goal::at_least(MARKERS_AT_LEAST, control);
            goals.insert("marker_packets_on_lan".to_owned(), control);
        }
        goals
    }
}

impl From<Simulated> for Computed {
    fn from(simulated: Simulated) -> Self {
        Self {
            simulated_days: Some(simulated.days),
            false_moves_per_30_days: Some(simulated.false_moves_per_30_days),
            detect_loss_2pct_s: simulated.detect_loss_2pct_s,
            detect_loss_5pct_s: simulated.detect_loss_5pct_s,
            update_ns: Some(simulated.update_ns),
            paths_per_core: Some(simulated.paths_per_core),
            probe_bytes_per_path_per_day_used: Some(simulated.probe_bytes_per_path_per_day_used),
            probe_bytes_per_path_per_day_idle: Some(simulated.probe_bytes_per_path_per_day_idle),
        }
    }
}

/// Each voluntary move may be followed by a forced one, and the first is forced.
fn hourly(moves: usize, lasts_s: u64) -> f64 {
    one_decimal(moves as f64 * 3_600.0 / lasts_s.max(1) as f64)
}

fn is_complete(outcome: &Outcome, order: &Order) -> bool {
    order.runs.iter().all(|(&what, &wanted)| match what {
        What::Simulation => outcome.simulated.is_some(),
        _ => outcome.of(what).len() >= wanted,
    })
}

fn by_variant(outcome: &Outcome) -> BTreeMap<String, Figures> {
    let mut values: BTreeMap<&str, Vec<Option<f64>>> = BTreeMap::new();
    for run in outcome.of(What::Hub) {
        values.entry(run.variant).or_default().push(run.value);
    }
    let figures = values.into_iter();
    figures.map(|(variant, values)| (variant.to_owned(), Figures::of(&values))).collect()
}
