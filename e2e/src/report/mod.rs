//! Reports of the demo, the scenarios and the benchmarks: `target/reports/NAME.json`, each valid by its own schema in
//! `e2e/reports/`.

mod figures;
mod goals;
mod schema;

#[cfg(test)]
mod tests;

pub use figures::{Figures, one_decimal};
pub use goals::{Goal, Goals};
pub use schema::{check, names};

use serde::Serialize;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Where reports go unless `$HAWSER_REPORTS` says otherwise.
pub const FOLDER: &str = "target/reports";

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("there is no schema for a report `{name}`; there are: {}", names().join(", "))]
    NoSchema { name: String },
    #[error("the schema of `{name}` is broken: {message}")]
    Schema { name: String, message: String },
    #[error("the report `{name}` is not what its schema says:{}", list(.faults))]
    Invalid { name: String, faults: Vec<String> },
    #[error("the report `{name}` can't be put into JSON")]
    Json { name: String, source: serde_json::Error },
    #[error("{} can't be written", .path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

fn list(faults: &[String]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

/// Checks a report against its schema, and writes it. Returns where.
///
/// # Errors
/// No schema of that name, a report that breaks it (nothing is written then), or a file that can't be written.
pub fn write(name: &str, report: &impl Serialize) -> Result<PathBuf, ReportError> {
    let folder = std::env::var_os("HAWSER_REPORTS").map_or_else(|| FOLDER.into(), PathBuf::from);
    write_to(&folder, name, report)
}

/// As [`write`], into a given folder.
///
/// # Errors
/// As [`write`].
pub fn write_to(
    folder: &Path,
    name: &str,
    report: &impl Serialize,
) -> Result<PathBuf, ReportError> {
    let json = |source| ReportError::Json { name: name.to_owned(), source };
    let value: Value = serde_json::to_value(report).map_err(json)?;
    check(name, &value)?;
    let mut text = serde_json::to_vec_pretty(&value).map_err(json)?;
    text.push(b'\n');
    let path = folder.join(format!("{name}.json"));
    let unfinished = folder.join(format!(".{name}.json.new"));
    let failed = |source| ReportError::Write { path: path.clone(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    fs::write(&unfinished, &text).map_err(failed)?;
    fs::rename(&unfinished, &path).map_err(failed)?;
    Ok(path)
}
