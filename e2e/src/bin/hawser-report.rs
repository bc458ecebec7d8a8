//! `hawser-report NAME < REPORT`: checks what a benchmark printed against the schema of its name, and writes it to
//! `target/reports/NAME.json`. For programs that can't link this crate.

use hawser_e2e::report;
use std::io::Read;
use std::process::ExitCode;

/// More than any report has.
const MAX_REPORT_BYTES: u64 = 16 << 20;

fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("hawser-report: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), None) = (arguments.next(), arguments.next()) else {
        return Err(format!(
            "usage: hawser-report NAME < REPORT, NAME one of: {}",
            report::names().join(", ")
        ));
    };
    let mut text = String::new();
    let mut input = std::io::stdin().lock().take(MAX_REPORT_BYTES);
    input
        .read_to_string(&mut text)
        .map_err(|error| format!("the report can't be read: {error}"))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("this is no JSON: {error}"))?;
    report::write(&name, &value).map_err(|error| error.to_string())?;
    Ok(format!("{value:#}"))
}
