//! Findings for people and for programs.

use std::fmt::Write as _;

use hawser_edge_core::doctor::{Finding, Level};
use serde::Serialize;

#[derive(Serialize)]
struct Report<'a> {
    /// `null`: nothing at all was found.
    worst: Option<Level>,
    findings: &'a [Finding],
}

/// For programs: `{"worst": ..., "findings": [...]}`.
#[must_use]
pub fn to_json(findings: &[Finding]) -> String {
    let worst = findings.first().map(|finding| finding.level);
    let mut text = serde_json::to_string_pretty(&Report { worst, findings }).unwrap_or_default();
    text.push('\n');
    text
}

/// For people.
#[must_use]
pub fn render(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let level = match finding.level {
            Level::Broken => "BROKEN",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        let subject = match finding.subject.as_str() {
            "" => String::new(),
            subject => format!("{subject}: "),
        };
        let _ = writeln!(text, "{level:8}{} {subject}{}", finding.code, finding.message);
        let _ = writeln!(text, "        costs: {}", finding.cost);
        if !finding.mend.is_empty() {
            let _ = writeln!(text, "        mend:  {}", finding.mend);
        }
    }
    let of = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (broken, warnings) = (of(Level::Broken), of(Level::Warning));
    let _ = if broken + warnings == 0 {
        writeln!(text, "nothing is wrong")
    } else {
        writeln!(text, "{broken} broken, {warnings} to be warned of")
    };
    text
}
