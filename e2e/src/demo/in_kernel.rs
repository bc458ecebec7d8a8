//! The same story inside the kernel lab, where the kernel has what the kernel driver needs; told and reported out here.

use super::Cli;
use crate::kernel::KernelLabError;
use crate::kernel::report::{Streamed, stream};
use crate::report::{self, ReportError};
use crate::screen::Screen;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The emulated processors are some twenty times slower than this machine's.
const LIMIT: Duration = Duration::from_secs(3 * 3600);
/// In the folder that the kernel shares with its host.
const REPORTS: &str = "reports";

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("this program's path is not known")]
    Program(#[source] std::io::Error),
    #[error(transparent)]
    Lab(#[from] KernelLabError),
    #[error("it left no report; its console and logs are in {}", .0.display())]
    NoReport(PathBuf),
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// Boots, tells, and takes the report over.
pub(super) fn run(screen: &Screen, cli: &Cli) -> ExitCode {
    screen.title(
        "Hawser in the kernel lab: emulated processors, right for behaviour, slow in everything",
    );
    match boot(screen, cli.runs) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            screen.bad(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn boot(screen: &Screen, runs: u32) -> Result<u8, Failed> {
    let program = std::env::current_exe().map_err(Failed::Program)?;
    let runs = runs.to_string();
    let argv = [&program.to_string_lossy(), "--driver", "kernel", "--inside", "--runs", &runs];
    let argv = argv.map(str::to_owned).to_vec();
    let Streamed { mut scratch, status } = stream("demo", argv, REPORTS, LIMIT, |said| {
        use std::io::Write;
        let mut out = std::io::stdout();
        // Nobody listens any more: the report is still written.
        let _ = out.write_all(said).and_then(|()| out.flush());
    })?;
    let told = std::fs::read(scratch.path().join(REPORTS).join("demo.json")).ok();
    let told = told.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    let Some(told) = told else {
        scratch.keep();
        return Err(Failed::NoReport(scratch.path().to_owned()));
    };
    let path = report::write("demo", &told)?;
    screen.note(&format!("Report: {}", path.display()));
    Ok(status)
}
