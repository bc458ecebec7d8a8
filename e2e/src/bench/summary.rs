//! The table at the end.

use super::report::Report;
use crate::report::Figures;
use crate::screen::Screen;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

pub(super) fn show(screen: &Screen, report: &Report) {
    screen.chapter("The figures");
    let mut table = table(&["", "runs", "p50", "p99", "max"]);
    for (name, figures) in figures(report) {
        let cell =
            |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.0}"));
        let Figures { runs, p50, p99, max } = figures;
        table.add_row([name.to_owned(), runs.to_string(), cell(*p50), cell(*p99), cell(*max)]);
    }
    align(&mut table, 1..5);
    screen.block(&table.to_string());
    let mut table = self::table(&["goal", "measured", "wanted", ""]);
    for (name, goal) in &report.goals {
        let value = match &goal.value {
            Value::Null => "–".to_owned(),
            value => value.to_string(),
        };
        table.add_row([name.clone(), value, goal.goal.clone(), screen.good_or_bad(goal.met)]);
    }
    align(&mut table, 1..2);
    screen.block(&table.to_string());
    screen.note(&format!(
        "{} runs repeated, {} unhealed; this machine stood still for up to {:.0} ms",
        report.runs_repeated, report.unhealed, report.host_stall_max_ms
    ));
    screen.note(&format!(
        "one-way faults: the other direction shared the link in {} runs, and moved in {}",
        report.one_way_other_direction_shared, report.one_way_other_direction_moved
    ));
}

fn figures(report: &Report) -> [(&'static str, &Figures); 10] {
    [
        ("blackhole_gap_ms", &report.blackhole_gap_ms),
        ("carrier_loss_gap_ms", &report.carrier_loss_gap_ms),
        ("one_way_blackhole_gap_ms", &report.one_way_blackhole_gap_ms),
        ("brownout_busy_move_ms", &report.brownout_busy_move_ms),
        ("brownout_idle_move_ms", &report.brownout_idle_move_ms),
        ("jitter_move_ms", &report.jitter_move_ms),
        ("hub_failover_gap_ms", &report.hub_failover_gap_ms),
        ("failback_lost_packets", &report.failback_lost_packets),
        ("duplicate_gap_ms", &report.duplicate_gap_ms),
        ("flapping_moves_per_hour", &report.flapping_moves_per_hour),
    ]
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(header.to_vec());
    table
}

fn align(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
