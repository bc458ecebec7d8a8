//! `hawser-demo`: the main job as an operator sees it, measured.
//!
//! Three sites come up, lose uplinks, the controller and an agent, and go on. What is wrong ends in exit status 1; a
//! goal of time that is missed does not.

mod bar;
mod faults;
mod keep;
mod outcome;
mod rekey;
mod restart;
mod story;
mod summary;

#[cfg(test)]
mod tests;

use crate::report;
use crate::screen::Screen;
use clap::Parser;
use outcome::Outcome;
use std::process::ExitCode;

const EXIT_CODES: &str = "\
Exit codes: 0 it works, whatever its timing; 1 something behaved wrong, or the demo could not be run; 2 bad usage.
The figures are in target/reports/demo.json.";

#[derive(Debug, Parser)]
#[command(name = "hawser-demo", version, about = "Three sites, two uplinks each: connect, break, heal, explain", after_help = EXIT_CODES)]
struct Cli {
    /// Leave everything running at the end, and say what to try
    #[arg(long)]
    keep: bool,
    /// How often the path in use is made to drop everything
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=200))]
    runs: u32,
}

/// Runs the program; its arguments are the process's.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let screen = Screen::new();
    screen.title("Hawser: a WAN that heals itself");
    let mut outcome = Outcome::default();
    let told = story::tell(&screen, cli.runs, cli.keep, &mut outcome);
    let kept = match told {
        Ok(kept) => kept,
        Err(error) => {
            screen.bad(&error.line());
            outcome.failed = Some(error.line());
            None
        }
    };
    let report = outcome.report();
    summary::show(&screen, &report);
    match report::write("demo", &report) {
        Ok(path) => screen.note(&format!("Report: {}", path.display())),
        Err(error) => {
            screen.bad(&error.to_string());
            outcome.failed = Some(error.to_string());
        }
    }
    if let Some(hints) = kept {
        screen.block(&hints);
    }
    let wrong = outcome.wrong();
    wrong.iter().for_each(|line| screen.bad(line));
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
