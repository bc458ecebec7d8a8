//! Policies side by side.

use super::style::{Shade, Style};
use crate::command::replay::Replayed;

pub fn replayed(style: &Style, replayed: &[Replayed], files: usize) -> String {
    let mut table =
        style.table(&["POLICY", "HURT", "OF", "MOVES", "MOVES/H", "OUT OF SLA", "UNSERVED"]);
    for Replayed { policy, score } in replayed {
        table.add_row([
            style.cell(&policy.name, Shade::Plain),
            style.cell(&format!("{:.3} %", score.bad_pct()), Shade::Plain),
            style.cell(&score.ticks.to_string(), Shade::Plain),
            style.cell(&score.switches.to_string(), Shade::Plain),
            style.cell(&format!("{:.1}", score.switches_per_hour()), Shade::Plain),
            style.cell(&format!("{:.2} %", score.out_of_sla_pct()), Shade::Plain),
            style.cell(&score.unserved.to_string(), Shade::Plain),
        ]);
    }
    let hours = replayed.first().map_or(0.0, |one| one.score.time.as_secs_f64() / 3_600.0);
    format!("{table}\n{files} recordings, each from every one of its uplinks: {hours:.1} h in all.")
}
