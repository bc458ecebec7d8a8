//! A scenario's process, inside the lab's kernel.

use super::report::Outcome;
use super::scenarios;
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

/// Runs a scenario and leaves its outcome in `result`.
#[must_use]
pub fn run(name: &str, result: &Path) -> ExitCode {
    let Some(scenario) = scenarios::find(name) else {
        eprintln!("there is no scenario {name}");
        return ExitCode::FAILURE;
    };
    let began = Instant::now();
    let verdict = catch_unwind(AssertUnwindSafe(scenario.run))
        .unwrap_or_else(|panic| Err(format!("it panicked: {}", words_of(panic.as_ref()))));
    let seconds = began.elapsed().as_secs_f64();
    let outcome = match verdict {
        Ok(details) => Outcome { pass: true, seconds, details },
        Err(failure) => Outcome { pass: false, seconds, details: json!({"failure": failure}) },
    };
    let text = serde_json::to_string(&outcome).unwrap_or_default();
    match std::fs::write(result, text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the result can't be written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| Value::Null.to_string())
}
