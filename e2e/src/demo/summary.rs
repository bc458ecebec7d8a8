//! The table at the end.

use super::outcome::Report;
use crate::report::Figures;
use crate::screen::Screen;
use comfy_table::{CellAlignment, Table, presets};

pub(super) fn show(screen: &Screen, report: &Report) {
    screen.chapter("The figures");
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["", "measured", "goal", ""]);
    for (what, measured, goal) in rows(report) {
        let goal = goal.and_then(|name| report.goals.get(name));
        let mark = goal.map_or(String::new(), |goal| screen.good_or_bad(goal.met));
        let goal = goal.map_or(String::new(), |goal| goal.goal.clone());
        table.add_row([what.to_owned(), measured, goal, mark]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    screen.block(&table.to_string());
}

type Row = (&'static str, String, Option<&'static str>);

fn rows(report: &Report) -> Vec<Row> {
    let Figures { p50, max, runs, .. } = &report.blackhole_gap_ms;
    let headless = &report.headless_gap_ms;
    let paths = format!("{} of {}", report.paths_up, report.paths_expected);
    let lost = report.rekey_lost_packets.map_or("–".to_owned(), |lost| lost.to_string());
    vec![
        ("paths up", paths, Some("all_paths_up")),
        ("  from the agents' start", with_unit(report.time_to_all_up_ms, "ms"), None),
        ("uplink goes dark: silence, median", with_unit(*p50, "ms"), Some("blackhole_gap_p50_ms")),
        ("  longest", with_unit(*max, "ms"), Some("blackhole_gap_max_ms")),
        ("  runs (repeated)", format!("{runs} ({})", report.runs_repeated), None),
        ("  without the controller, longest", with_unit(headless.max, "ms"), None),
        ("5 % loss: off the uplink after", with_unit(report.brownout_move_ms, "ms"), None),
        ("  moved back, once clean, after", with_unit(report.failback_s, "s"), None),
        ("new keys under traffic", report.rekeys.to_string(), Some("rekeys")),
        ("  packets lost meanwhile", lost, Some("rekey_lost_packets")),
        (
            "killed agent back in its tunnels",
            yes_or_no(report.restart_recovered),
            Some("restart_recovered"),
        ),
        (
            "LAN packets in clear on any WAN link",
            report.cleartext_packets_on_wan.to_string(),
            Some("cleartext_packets_on_wan"),
        ),
        (
            "  found by the same search on a LAN",
            report.marker_packets_on_lan.to_string(),
            Some("marker_packets_on_lan"),
        ),
        (
            "this machine stood still for up to",
            with_unit(Some(report.host_stall_max_ms), "ms"),
            None,
        ),
    ]
}

fn with_unit(value: Option<f64>, unit: &str) -> String {
    value.map_or("–".to_owned(), |value| match unit {
        "ms" => format!("{value:.0} ms"),
        _ => format!("{value:.1} {unit}"),
    })
}

fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}
