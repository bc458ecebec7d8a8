//! Figures that no lab can give in an hour: the agent's own core on a virtual clock, run by a program of its crate.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::stop::Stop;

const PROGRAM: &str = "examples/selection_figures";
/// Days of false moves, runs of each loss.
const FULL: (&str, &str) = ("30", "200");
const QUICK: (&str, &str) = ("10", "30");
/// Virtual days take a while.
const LIMIT: Duration = Duration::from_secs(1_800);

/// What the program prints.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Simulated {
    /// Virtual ones, for false moves.
    pub days: f64,
    /// On a link with 0.1 % random loss and 2 ms jitter.
    pub false_moves_per_30_days: f64,
    /// From the beginning of that loss to the verdict; a number, or figures.
    pub detect_loss_2pct_s: Value,
    pub detect_loss_5pct_s: Value,
    /// Of one probe's result, all that it causes included.
    pub update_ns: f64,
    /// At 10 Hz.
    pub paths_per_core: f64,
    pub probe_bytes_per_path_per_day_used: f64,
    pub probe_bytes_per_path_per_day_idle: f64,
}

/// Runs it.
///
/// # Errors
/// It is not built, fails, or says something else; one line.
pub(super) fn run(quick: bool, stop: &Stop) -> Result<Simulated, String> {
    let program = find()?;
    let at = |error: std::io::Error| format!("{}: {error}", program.display());
    let (days, runs) = if quick { QUICK } else { FULL };
    let mut command = Command::new(&program);
    command.args([days, runs]).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(at)?;
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        stdout.map(std::io::read_to_string).unwrap_or_else(|| Ok(String::new()))
    });
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(at)? {
            break status;
        }
        if stop.is_set() || Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{PROGRAM} was ended before its figures were there"));
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let text = reader.join().map_err(|_| format!("{PROGRAM} can't be read"))?.map_err(at)?;
    if !status.success() {
        return Err(format!("{PROGRAM} failed: {status}"));
    }
    serde_json::from_str(&text)
        .map_err(|error| format!("what {PROGRAM} says can't be read: {error}"))
}

/// Beside this program, or one folder up: tests run in `deps/`.
fn find() -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut places = this.ancestors().skip(1).take(2).map(|folder| folder.join(PROGRAM));
    places.find(|path| path.is_file()).ok_or_else(|| {
        format!(
            "{PROGRAM} is not built; build it: cargo build -p hawser-edge-core --example selection_figures"
        )
    })
}
