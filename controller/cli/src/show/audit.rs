//! The audit log.

use hawser_proto::operator::v1::AuditEntry;

use super::style::{Shade, Style};
use crate::time::utc;

pub fn audit(style: &Style, entries: &[AuditEntry]) -> String {
    if entries.is_empty() {
        return "Nothing was recorded yet.".to_owned();
    }
    let mut table = style.table(&["NUMBER", "TIME (UTC)", "WHO", "WHAT", "ABOUT", "DETAIL"]);
    for entry in entries {
        let detail = match entry.suppressed {
            0 => entry.detail.clone(),
            count => format!("{} ({count} refusals before it are not written)", entry.detail),
        };
        table.add_row([
            style.cell(&entry.sequence.to_string(), Shade::Faint),
            style.cell(&utc(entry.unix_ms), Shade::Plain),
            style.cell(&entry.actor, Shade::Plain),
            style.cell(&entry.action, Shade::Plain),
            style.cell(&entry.subject, Shade::Plain),
            style.cell(&detail, Shade::Plain),
        ]);
    }
    style.finish(&table)
}

pub fn audit_whole(style: &Style, checked: u64, first: u64, last: u64, hash: &str) -> String {
    if checked == 0 {
        return "Nothing was recorded yet.".to_owned();
    }
    let head = style.good(&format!("The log is whole: {checked} entries, {first} to {last}."));
    format!(
        "{head}\nKeep this elsewhere; `verify --known` proves later that it is still there:\n{last}:{hash}"
    )
}
