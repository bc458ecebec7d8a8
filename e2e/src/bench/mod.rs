//! `hawser-bench-selection`: how fast traffic leaves what is broken, and how calm it is otherwise.
//!
//! Real agents in labs; the branches of one hub are broken side by side, by a worker each. Figures that take days come from
//! a program of the agent's core on a virtual clock. What behaves wrong ends in exit status 1; a missed goal of time does
//! not.

mod board;
mod branch;
mod calm;
mod gaps;
mod hubs;
mod labs;
mod moves;
mod outcome;
mod plan;
mod pool;
mod report;
mod run;
mod simulation;
mod star;
mod steady;
mod stop;
mod summary;

#[cfg(test)]
mod tests;

pub use plan::{Order, What};
pub use star::MAX_BRANCHES;
pub use stop::Stop;

use crate::report as reports;
use crate::screen::Screen;
use crate::watchdog::Watchdog;
use board::Board;
use clap::Parser;
use report::Report;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes: 0 it works, whatever its timing; 1 something behaved wrong, or could not be measured; 2 bad usage;
130 interrupted: the report holds what was measured until then.
The figures are in target/reports/selection.json.";

#[derive(Debug, Parser)]
#[command(name = "hawser-bench-selection", version, about = "How fast and how calm link selection is", after_help = EXIT_CODES)]
struct Cli {
    /// Fewer runs: at most 10 minutes
    #[arg(long)]
    quick: bool,
    /// Only figures whose names begin so, e.g. blackhole,jitter
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Sites that are broken side by side; twice as many where there is no traffic
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=MAX_BRANCHES as i64))]
    branches: u8,
    /// Of the faults' times and the links' luck
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What came of an order.
#[derive(Debug)]
pub struct Measured {
    /// As it is written to `target/reports/selection.json`.
    pub report: serde_json::Value,
    /// What behaved wrong, or could not be measured.
    pub wrong: Vec<String>,
    pub interrupted: bool,
}

/// Runs the program; its arguments are the process's.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let named: Result<Vec<Vec<What>>, String> =
        cli.only.iter().map(|word| What::named(word)).collect();
    let only = match named {
        Ok(found) => found.concat(),
        Err(message) => {
            eprintln!("hawser-bench-selection: {message}");
            return ExitCode::from(2);
        }
    };
    let stop = Stop::at_signals();
    let order = Order::new(cli.quick, &only, cli.branches.into(), cli.seed);
    let mut measured = measure(&order, &stop, true);
    let screen = Screen::new();
    match reports::write("selection", &measured.report) {
        Ok(path) => screen.note(&format!("Report: {}", path.display())),
        Err(error) => measured.wrong.push(error.to_string()),
    }
    measured.wrong.iter().for_each(|line| screen.bad(line));
    match (measured.interrupted, measured.wrong.is_empty()) {
        (true, _) => ExitCode::from(130),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    }
}

/// Measures all that is ordered, and shows it. `saves`: the report's file grows meanwhile.
#[must_use]
pub fn measure(order: &Order, stop: &Stop, saves: bool) -> Measured {
    let screen = Screen::new();
    screen.title("Hawser: how fast, and how calm, is link selection?");
    let watchdog = Watchdog::start();
    let mut board = Board::new(order, &screen, saves);
    for star in &labs::STARS {
        star.measure(&mut board, &watchdog, stop);
    }
    hubs::measure(&mut board, &watchdog, stop);
    simulate(&mut board, stop);
    board.outcome.interrupted = stop.is_set();
    board.outcome.host_stall_max_ms = watchdog.host_stall_max_ms();
    let report = Report::of(&board.outcome, order);
    summary::show(&screen, &report);
    let wrong = board.outcome.wrong(order);
    // Maps with text keys and numbers: nothing in it can fail.
    let report = serde_json::to_value(&report).unwrap_or_default();
    Measured { report, wrong, interrupted: board.outcome.interrupted }
}

fn simulate(board: &mut Board<'_>, stop: &Stop) {
    let wanted = board.order.of(&[What::Simulation]);
    if wanted.is_empty() || stop.is_set() {
        return;
    }
    board.screen.chapter("What takes days, on a virtual clock");
    let step = board.screen.step("simulation");
    step.now("the agent's core, day after day");
    match simulation::run(board.order.quick, stop) {
        Ok(simulated) => {
            step.done(&format!("{} false moves in 30 days", simulated.false_moves_per_30_days));
            board.outcome.simulated = Some(simulated);
        }
        Err(why) => {
            drop(step);
            board.fail(&wanted, &why);
        }
    }
}
