//! `hawser-console-check`: the console in a real browser, against a live fleet that loses an uplink.

mod story;

use crate::report::{self, Goals};
use crate::screen::Screen;
use clap::Parser;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(
    name = "hawser-console-check",
    version,
    about = "The console in a real browser, against a live fleet that loses an uplink"
)]
struct Cli {
    /// What the browser is told to do: the repository's console/check/main.mjs
    #[arg(long, value_name = "FILE", default_value = "console/check/main.mjs")]
    script: PathBuf,
    /// Where screenshots go
    #[arg(long, value_name = "DIR", default_value = "target/reports/console")]
    images: PathBuf,
}

/// What the browser saw; its own words.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Seen {
    steps: Vec<Step>,
    /// From the failure of the uplink until the map shows it.
    failure_shown_after_ms: Option<f64>,
    console_errors: Vec<String>,
    foreign_requests: Vec<String>,
    pages_checked_by_axe: u32,
    /// Rule, page and element of each finding that is serious or critical.
    axe_serious: Vec<String>,
    axe_minor: Vec<String>,
    /// Pages that are wider than a phone's screen.
    too_wide: Vec<String>,
    screenshots: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Step {
    name: String,
    ok: bool,
    /// Why not.
    why: String,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    seen: Seen,
    goals: Goals,
}

impl Seen {
    fn wrong(&self) -> Vec<String> {
        let failed = self.steps.iter().filter(|step| !step.ok);
        let mut wrong: Vec<String> =
            failed.map(|step| format!("{}: {}", step.name, step.why)).collect();
        let lists = [
            ("console error", &self.console_errors),
            ("request to another origin", &self.foreign_requests),
            ("axe", &self.axe_serious),
            ("too wide for a phone", &self.too_wide),
        ];
        for (what, list) in lists {
            wrong.extend(list.iter().map(|line| format!("{what}: {line}")));
        }
        if self.steps.is_empty() || self.pages_checked_by_axe == 0 {
            wrong.push("the browser did nothing".to_owned());
        }
        wrong
    }
}

/// Runs the program; its arguments are the process's.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let screen = Screen::new();
    screen.title("Hawser: the console");
    let mut wrong = match story::tell(&screen, &cli) {
        Ok(seen) => {
            let wrong = seen.wrong();
            let goals = story::goals(&seen);
            match report::write("console", &Report { seen, goals }) {
                Ok(path) => screen.note(&format!("Report: {}", path.display())),
                Err(error) => screen.bad(&error.to_string()),
            }
            wrong
        }
        Err(error) => vec![error.line()],
    };
    wrong.iter().for_each(|line| screen.bad(line));
    wrong.truncate(1);
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
