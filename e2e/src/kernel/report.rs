//! Runs scenarios one after the other, and tells how each went.

use super::boot::{Boot, Kernel, Scratch};
use super::scenarios::{self, Scenario};
use super::{KernelLabError, io};
use crate::lab::start;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Handed on into the lab's kernel.
const ENVIRONMENT: [&str; 3] = ["RUST_LOG", "RUST_BACKTRACE", "HAWSER_EDGE_DRIVER"];
const LOG_LINES: usize = 60;
const HEAR_EVERY: Duration = Duration::from_millis(200);

/// How a scenario went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub pass: bool,
    /// From its start inside the kernel to its end; of a kernel that did not come up, from the boot.
    pub seconds: f64,
    /// Figures; of a failure, why, and where the logs are.
    pub details: Value,
}

/// The report: `target/reports/kernel.json`.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub scenarios: BTreeMap<&'static str, Outcome>,
}

/// The scenarios of these names; without names all, or only the quick ones.
///
/// # Errors
/// One that does not exist.
pub fn choose(names: &[String], quick: bool) -> Result<Vec<&'static Scenario>, KernelLabError> {
    if names.is_empty() {
        let runs = |scenario: &&Scenario| scenario.quick || !quick;
        return Ok(scenarios::ALL.iter().filter(runs).collect());
    }
    let known = || scenarios::ALL.iter().map(|scenario| scenario.name).collect();
    let find = |name: &String| {
        scenarios::find(name)
            .ok_or_else(|| KernelLabError::NoScenario { name: name.clone(), known: known() })
    };
    names.iter().map(find).collect()
}

/// Runs them in order; `told` hears each outcome.
///
/// # Errors
/// The lab can't run at all. What goes wrong with one scenario is its outcome.
pub fn run_all(
    chosen: &[&'static Scenario],
    mut told: impl FnMut(&str, &Outcome),
) -> Result<Report, KernelLabError> {
    let mut report = Report::default();
    for scenario in chosen {
        let outcome = run(scenario)?;
        told(scenario.name, &outcome);
        report.scenarios.insert(scenario.name, outcome);
    }
    Ok(report)
}

/// Runs one in a kernel of its own.
///
/// # Errors
/// As [`run_all`].
pub fn run(scenario: &Scenario) -> Result<Outcome, KernelLabError> {
    let mut scratch = Scratch::new(scenario.name)?;
    let result = scratch.path().join("result.json");
    let lab = start::binary()?;
    let boot = Boot {
        argv: [
            &lab.to_string_lossy(),
            "kernel",
            "inside",
            scenario.name,
            &result.to_string_lossy(),
        ]
        .map(str::to_owned)
        .to_vec(),
        env: environment(),
        interactive: false,
    };
    let began = Instant::now();
    let ended = Kernel::start(&scratch, &boot)?.wait(Some(scenario.limit))?;
    let told = std::fs::read(&result).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let mut outcome: Outcome = told.unwrap_or_else(|| {
        let why = if ended {
            "it ended without a result".to_owned()
        } else {
            format!("it did not end within {:?}, and was killed", scenario.limit)
        };
        let details = json!({"failure": why, "console": scratch.console_tail()});
        Outcome { pass: false, seconds: began.elapsed().as_secs_f64(), details }
    });
    if !outcome.pass {
        scratch.keep();
        let log = std::fs::read_to_string(scratch.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_LINES)..];
        if let Some(details) = outcome.details.as_object_mut() {
            details.insert("log".into(), json!(tail));
            details.insert("folder".into(), json!(scratch.path()));
        }
    }
    Ok(outcome)
}

/// A command in a kernel: what it said, and its exit status; 124 if it did not end within `limit`.
///
/// # Errors
/// The kernel can't be started.
pub fn exec(argv: Vec<String>, limit: Duration) -> Result<(String, u8), KernelLabError> {
    let scratch = Scratch::new("exec")?;
    let boot = Boot { argv, env: environment(), interactive: false };
    let ended = Kernel::start(&scratch, &boot)?.wait(Some(limit))?;
    let read = |name| std::fs::read(scratch.path().join(name)).unwrap_or_default();
    let said = String::from_utf8_lossy(&read("log")).into_owned();
    let status = String::from_utf8_lossy(&read("status")).trim().parse().unwrap_or(1);
    Ok((said, if ended { status } else { 124 }))
}

/// What a command in a kernel left.
#[derive(Debug)]
pub struct Streamed {
    pub scratch: Scratch,
    /// Its exit status; 124 if it did not end in time.
    pub status: u8,
}

/// A command in a kernel, with `reports` of the shared folder for its reports; `told` hears what it says as it says it.
///
/// # Errors
/// The kernel can't be started.
pub fn stream(
    name: &str,
    argv: Vec<String>,
    reports: &str,
    limit: Duration,
    mut told: impl FnMut(&[u8]) + Send,
) -> Result<Streamed, KernelLabError> {
    let scratch = Scratch::new(name)?;
    let mut env = environment();
    let folder = scratch.path().join(reports);
    env.push(("HAWSER_REPORTS".to_owned(), folder.to_string_lossy().into_owned()));
    let boot = Boot { argv, env, interactive: false };
    let kernel = Kernel::start(&scratch, &boot)?;
    let over = AtomicBool::new(false);
    let log = scratch.path().join("log");
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut from = 0;
            loop {
                // Before the look: what is said until then is heard by it.
                let last = over.load(Ordering::Acquire);
                from += hear(&log, from, &mut told);
                if last {
                    return;
                }
                std::thread::sleep(HEAR_EVERY);
            }
        });
        let ended = kernel.wait(Some(limit));
        over.store(true, Ordering::Release);
        ended
    })?;
    let status = std::fs::read_to_string(scratch.path().join("status")).unwrap_or_default();
    let status = if ended { status.trim().parse().unwrap_or(1) } else { 124 };
    Ok(Streamed { scratch, status })
}

/// What the file has from there on; how much that was.
fn hear(log: &Path, from: u64, told: &mut impl FnMut(&[u8])) -> u64 {
    let mut said = Vec::new();
    let read = std::fs::File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_end(&mut said)
    });
    // Not there yet, or gone: there is nothing to hear.
    if read.is_ok() && !said.is_empty() {
        told(&said);
    }
    said.len() as u64
}

/// A shell in a kernel, at this terminal.
///
/// # Errors
/// The kernel can't be started.
pub fn shell() -> Result<(), KernelLabError> {
    let scratch = Scratch::new("shell")?;
    let boot = Boot { argv: vec!["/bin/bash".to_owned()], env: environment(), interactive: true };
    let kernel = Kernel::start(&scratch, &boot)?;
    kernel.wait(None)?;
    // What the kernel did to the terminal.
    let sane = std::process::Command::new("stty").arg("sane").status();
    sane.map(drop).map_err(io("stty can't be run"))
}

fn environment() -> Vec<(String, String)> {
    let set =
        ENVIRONMENT.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    let terminal = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
    set.chain([("TERM".to_owned(), terminal)]).collect()
}
