//! Plans, revisions and what differs between them.

use std::fmt::Write as _;

use hawser_proto::operator::v1::{
    Blink, EdgePlan, Finding, GetFleetResponse, PlanResponse, Revision, SitePlan,
};

use super::style::{Shade, Style, clean};
use crate::time::utc;

/// Edges of a site that are told one by one.
const EDGES_TOLD: usize = 8;
/// Sites that are told one by one; of more their names.
const SITES_TOLD: usize = 50;
/// Paths that are told one by one.
const BLINKS_TOLD: usize = 20;

pub fn plan(style: &Style, plan: &PlanResponse) -> String {
    let mut text = match plan.base_revision {
        _ if plan.unchanged => "Nothing would change.\n".to_owned(),
        0 => "Compared with nothing: no document was applied yet.\n".to_owned(),
        revision => format!("Compared with revision {revision}:\n"),
    };
    if !plan.unchanged && plan.sites.is_empty() {
        text.push_str("\nThe document changes, but no edge gets anything else.\n");
    }
    text.push_str(&sites(style, &plan.sites));
    text.push_str(&blinks(style, &plan.blinks));
    text.push_str(&findings(style, &plan.findings));
    if !plan.unchanged {
        let count = |action: &str| plan.sites.iter().filter(|s| s.action == action).count();
        let (made, changed, removed) = (count("made"), count("changed"), count("removed"));
        let _ = write!(text, "\nSites: {made} made, {changed} changed, {removed} removed.");
    }
    text
}

fn sites(style: &Style, sites: &[SitePlan]) -> String {
    let mut text = String::new();
    for site in sites.iter().take(SITES_TOLD) {
        let name = marked(style, &site.action, &clean(&site.site));
        let _ = write!(text, "\n{name}\n");
        for edge in site.edges.iter().take(EDGES_TOLD) {
            text.push_str(&edge_changes(style, edge));
        }
        if let more @ 1.. = site.edges.len().saturating_sub(EDGES_TOLD) {
            let _ = writeln!(text, "    and {more} edges more");
        }
    }
    if let more @ 1.. = sites.len().saturating_sub(SITES_TOLD) {
        let _ = write!(text, "\nand {more} sites more (--json tells them all)\n");
    }
    text
}

fn edge_changes(style: &Style, edge: &EdgePlan) -> String {
    let mut text = format!("  {}\n", marked(style, &edge.action, &clean(&edge.edge)));
    for change in &edge.changes {
        let what = marked(style, &change.action, &clean(&change.what));
        match change.detail.as_str() {
            "" => _ = writeln!(text, "    {what}"),
            detail => _ = writeln!(text, "    {what}: {}", clean(detail)),
        }
    }
    text
}

fn marked(style: &Style, action: &str, what: &str) -> String {
    match action {
        "made" => style.good(&format!("+ {what}")),
        "removed" => style.bad(&format!("- {what}")),
        _ => format!("~ {what}"),
    }
}

fn blinks(style: &Style, blinks: &[Blink]) -> String {
    if blinks.is_empty() {
        return String::new();
    }
    let mut text = String::from("\nPaths that are interrupted:\n");
    for blink in blinks.iter().take(BLINKS_TOLD) {
        let how_long = match blink.about_ms {
            0 => "for good".to_owned(),
            ms => format!("for about {:.1} s", f64::from(ms) / 1_000.0),
        };
        let traffic = match (blink.stops_traffic, blink.about_ms) {
            (false, _) => "other paths carry on".to_owned(),
            (true, 0) => style.bad("the tunnel ends with it"),
            (true, _) => style.bad("its tunnel carries nothing meanwhile"),
        };
        let (name, why) = (clean(&blink.name), clean(&blink.why));
        let _ = writeln!(text, "  {name}, {how_long}: {why}; {traffic}");
    }
    if let more @ 1.. = blinks.len().saturating_sub(BLINKS_TOLD) {
        let _ = writeln!(text, "  and {more} more");
    }
    text
}

fn findings(style: &Style, findings: &[Finding]) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let mut table = style.table(&["FINDING", "ABOUT", "WHAT", "MEND"]);
    for finding in findings {
        table.add_row([
            style.cell(&finding.code, Shade::Middling),
            style.cell(&finding.subject, Shade::Plain),
            style.cell(&finding.message, Shade::Plain),
            style.cell(&finding.mend, Shade::Plain),
        ]);
    }
    format!("\n{}\n", style.finish(&table))
}

pub fn history(style: &Style, revisions: &[Revision]) -> String {
    if revisions.is_empty() {
        return "There is no revision yet: apply a document.".to_owned();
    }
    let mut table = style.table(&["REVISION", "COMMITTED (UTC)", "BY", "DOCUMENT", "COMMENT"]);
    for revision in revisions {
        let number = match revision.current {
            true => format!("{} (current)", revision.revision),
            false => revision.revision.to_string(),
        };
        let shade = if revision.current { Shade::Good } else { Shade::Plain };
        let document: String = revision.document_sha256.chars().take(12).collect();
        table.add_row([
            style.cell(&number, shade),
            style.cell(&utc(revision.committed_unix_ms), Shade::Plain),
            style.cell(&revision.committed_by, Shade::Plain),
            style.cell(&document, Shade::Faint),
            style.cell(&revision.comment, Shade::Plain),
        ]);
    }
    style.finish(&table)
}

pub fn diff(
    style: &Style,
    old: &GetFleetResponse,
    new: &GetFleetResponse,
    plan: &PlanResponse,
) -> String {
    let text = unified(old, new);
    let lines = text.lines().map(|line| match line.as_bytes().first() {
        Some(b'+') => style.good(&clean(line)),
        Some(b'-') => style.bad(&clean(line)),
        _ => clean(line),
    });
    let mut shown = lines.collect::<Vec<_>>().join("\n");
    if shown.is_empty() {
        shown.push_str("The documents are the same.");
    }
    format!("{shown}\n{}{}", sites(style, &plan.sites), blinks(style, &plan.blinks))
}

/// As `diff -u` has it.
pub(super) fn unified(old: &GetFleetResponse, new: &GetFleetResponse) -> String {
    let text =
        |response: &GetFleetResponse| String::from_utf8_lossy(&response.document).into_owned();
    let (before, after) = (text(old), text(new));
    let names = [old.revision, new.revision].map(|revision| format!("revision {revision}"));
    let diff = similar::TextDiff::from_lines(&before, &after);
    diff.unified_diff().context_radius(3).header(&names[0], &names[1]).to_string()
}
