//! The schemas of all reports.

use super::ReportError;
use serde_json::Value;

const SCHEMAS: &[(&str, &str)] = &[
    ("demo", include_str!("../../reports/demo.schema.json")),
    ("selection", include_str!("../../reports/selection.schema.json")),
    ("telemetry", include_str!("../../reports/telemetry.schema.json")),
    ("console", include_str!("../../reports/console.schema.json")),
    ("kernel", include_str!("../../reports/kernel.schema.json")),
    ("bench-dataplane", include_str!("../../reports/bench-dataplane.schema.json")),
    ("crash", include_str!("../../reports/crash.schema.json")),
    ("controller", include_str!("../../reports/controller.schema.json")),
];

/// Names of the reports that have a schema.
#[must_use]
pub fn names() -> Vec<&'static str> {
    SCHEMAS.iter().map(|(name, _)| *name).collect()
}

/// Checks a report against the schema of its name.
///
/// # Errors
/// No such schema, or all that the schema forbids, at once.
pub fn check(name: &str, report: &Value) -> Result<(), ReportError> {
    let found = SCHEMAS.iter().find(|(known, _)| *known == name);
    let (_, text) = found.ok_or_else(|| ReportError::NoSchema { name: name.to_owned() })?;
    let broken = |message: String| ReportError::Schema { name: name.to_owned(), message };
    let schema: Value = serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
    let validator =
        jsonschema::validator_for(&schema).map_err(|error| broken(error.to_string()))?;
    let faults: Vec<String> = validator
        .iter_errors(report)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(ReportError::Invalid { name: name.to_owned(), faults })
}
