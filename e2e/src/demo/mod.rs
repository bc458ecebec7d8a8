//! `hawser-demo`: the main job as an operator sees it, measured.
//!
//! Three sites come up, lose uplinks, the controller and an agent, and go on. What is wrong ends in exit status 1; a
//! goal of time that is missed does not.

mod bar;
mod faults;
mod in_kernel;
mod keep;
mod outcome;
mod pace;
mod rekey;
mod restart;
mod story;
mod summary;

#[cfg(test)]
mod tests;

use crate::report;
use crate::screen::Screen;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use outcome::Outcome;
use pace::Pace;
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
    /// Who forwards at the edges. With `kernel` everything happens inside the kernel lab
    #[arg(long, value_enum, default_value_t = Driver::Userspace)]
    driver: Driver,
    /// This is inside the kernel lab already
    #[arg(long, hide = true)]
    inside: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Driver {
    Userspace,
    Kernel,
}

/// Runs the program; its arguments are the process's.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let in_kernel = cli.driver == Driver::Kernel;
    if in_kernel && cli.keep {
        let why = "--keep needs a lab on this machine: leave --driver kernel out";
        Cli::command().error(ErrorKind::ArgumentConflict, why).exit();
    }
    let screen = Screen::new();
    if in_kernel && !cli.inside {
        return in_kernel::run(&screen, &cli);
    }
    let pace = if in_kernel { Pace::in_kernel_lab() } else { Pace::usual() };
    screen.title("Hawser: a WAN that heals itself");
    let mut outcome = Outcome::default();
    let told = story::tell(&screen, pace, cli.runs, cli.keep, &mut outcome);
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
