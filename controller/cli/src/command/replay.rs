//! `replay`: what a policy would have done over recorded probes, by the agent's own selection.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hawser_controller_core as intent;
use hawser_controller_core::{Fleet, TrafficClass, WhenNoneMeets};
use hawser_edge_core::config::{BalanceBy, ClassMode, Sensitivity, SlaLimits};
use hawser_edge_core::replay::{ReplayPolicy, Score, Trace, run};
use serde_json::{Value, json};

use crate::args::{Mode, ReplayArgs};
use crate::command::document;
use crate::error::{CliError, Exit};
use crate::output::Output;
use crate::show;

/// A recording of a week at 5 Hz and four uplinks.
const MAX_FILE_BYTES: u64 = 256 << 20;
const MAX_FILES: usize = 100_000;

/// One policy's score over all recordings.
pub struct Replayed {
    pub policy: ReplayPolicy,
    pub score: Score,
}

pub fn replay(arguments: &ReplayArgs, output: &Output) -> Result<(), CliError> {
    let mut policies = vec![policy(arguments.fleet.as_deref(), &arguments.class)?];
    if let Some(other) = &arguments.against {
        policies.push(policy(Some(other), &arguments.class)?);
    }
    if let Some(mode) = arguments.mode {
        policies.iter_mut().for_each(|policy| policy.mode = class_mode(mode));
    }
    let files = files(&arguments.traces)?;
    let mut replayed: Vec<Replayed> =
        policies.into_iter().map(|policy| Replayed { policy, score: Score::default() }).collect();
    let bad_above = Duration::from_millis(arguments.bad_above_ms.into());
    for file in &files {
        let trace = read(file)?;
        for one in &mut replayed {
            for start in 0..trace.uplinks.len() {
                one.score.add(&run(&trace, start, &one.policy, bad_above));
            }
        }
    }
    let programs = || {
        let mut value = as_json(&replayed[0], files.len());
        if let Some(other) = replayed.get(1) {
            value["against"] = as_json(other, files.len());
        }
        value
    };
    output.answer(|style| show::replayed(style, &replayed, files.len()), programs)
}

fn as_json(replayed: &Replayed, files: usize) -> Value {
    let Replayed { policy, score } = replayed;
    let round = |value: f64| (value * 1e4).round() / 1e4;
    json!({
        "policy": policy.name,
        "files": files,
        "runs": score.runs,
        "ticks": score.ticks,
        "packets_hurt": score.bad,
        "bad_pct": round(score.bad_pct()),
        "moves": score.switches,
        "switches_per_hour": round(score.switches_per_hour()),
        "out_of_sla_pct": round(score.out_of_sla_pct()),
        "unserved": score.unserved,
        "hours": round(score.time.as_secs_f64() / 3_600.0),
    })
}

/// A document's class, or what a class gets that says nothing.
fn policy(fleet: Option<&Path>, class: &str) -> Result<ReplayPolicy, CliError> {
    let Some(file) = fleet else { return Ok(ReplayPolicy::built_in()) };
    let fleet = document::parse_fleet(file)?;
    let Some(found) = fleet.traffic_classes.iter().find(|c| c.name.as_str() == class) else {
        let names: Vec<&str> = fleet.traffic_classes.iter().map(|c| c.name.as_str()).collect();
        let message = format!("{} has no traffic class {class}", file.display());
        let mend = format!("name one of: {}", names.join(", "));
        return Err(CliError::new(Exit::Usage, "CLASS_UNKNOWN", message, &mend));
    };
    Ok(ReplayPolicy {
        name: format!("{} {class}", file.display()),
        limits: limits(&fleet, found),
        failback_hold: Duration::from_millis(found.failback_hold_ms.into()),
        dwell: Duration::from_millis(found.dwell_ms.into()),
        drop_when_none_meets: found.when_none_meets == WhenNoneMeets::Drop,
        mode: mode_of(found),
        prefer_uplinks: found.prefer_uplinks.iter().map(ToString::to_string).collect(),
    })
}

/// None where the class names no SLA, as at the agent.
fn limits(fleet: &Fleet, class: &TrafficClass) -> SlaLimits {
    let sla =
        class.sla.as_ref().and_then(|name| fleet.sla_classes.iter().find(|s| s.name == *name));
    sla.map_or_else(SlaLimits::default, |sla| SlaLimits {
        max_rtt_us: sla.max_rtt_us.unwrap_or(0),
        max_jitter_us: sla.max_jitter_us.unwrap_or(0),
        max_loss_ppm: sla.max_loss_ppm.unwrap_or(0),
        sensitivity: Sensitivity {
            loss_confidence_ppm: sla.loss_confidence_ppm.unwrap_or(0),
            loss_mended_ms: sla.loss_mended_ms.unwrap_or(0),
            delay_damage_ms: sla.delay_damage_ms.unwrap_or(0),
            delay_mended_ms: sla.delay_mended_ms.unwrap_or(0),
        },
    })
}

fn mode_of(class: &TrafficClass) -> ClassMode {
    match class.mode {
        intent::ClassMode::Best => ClassMode::Best,
        intent::ClassMode::Balance(_) => ClassMode::Balance(BalanceBy::Bandwidth),
        intent::ClassMode::Duplicate => ClassMode::Duplicate,
    }
}

fn class_mode(mode: Mode) -> ClassMode {
    match mode {
        Mode::Best => ClassMode::Best,
        Mode::Balance => ClassMode::Balance(BalanceBy::Bandwidth),
        Mode::Duplicate => ClassMode::Duplicate,
    }
}

/// The folder's recordings in order of their names, those below it too; or the one file.
fn files(place: &Path) -> Result<Vec<PathBuf>, CliError> {
    if place.is_file() {
        return Ok(vec![place.to_owned()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![place.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| unreadable(&folder, &e))? {
            let path = entry.map_err(|e| unreadable(&folder, &e))?.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "csv") {
                found.push(path);
            }
        }
    }
    found.sort();
    if found.is_empty() || found.len() > MAX_FILES {
        let message = format!("{} holds {} recordings (*.csv)", place.display(), found.len());
        let mend = format!("name a folder with 1 to {MAX_FILES}; `hawser record` makes them");
        return Err(CliError::new(Exit::Usage, "NO_TRACES", message, &mend));
    }
    Ok(found)
}

fn read(file: &Path) -> Result<Trace, CliError> {
    let bytes = fs::metadata(file).map_err(|e| unreadable(file, &e))?.len();
    if bytes > MAX_FILE_BYTES {
        let message = format!("{}: {bytes} bytes are too many", file.display());
        return Err(CliError::new(Exit::Usage, "TRACE_TOO_LONG", message, "split the recording"));
    }
    let text = fs::read_to_string(file).map_err(|e| unreadable(file, &e))?;
    Trace::parse(&text).map_err(|error| {
        let message = format!("{}: {error}", file.display());
        let mend = "the columns are t_ms and one per uplink with its RTT in ms; empty is lost";
        CliError::new(Exit::Usage, error.code(), message, mend)
    })
}

fn unreadable(place: &Path, error: &std::io::Error) -> CliError {
    let message = format!("{} can't be read: {error}", place.display());
    CliError::new(Exit::Usage, "FILE_UNREADABLE", message, "name a folder of recordings")
}
