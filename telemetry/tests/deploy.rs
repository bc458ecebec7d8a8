//! What is deployed beside Hawser names only what Hawser tells.

#[path = "../examples/dashboards/build.rs"]
mod build;
#[path = "../examples/dashboards/query.rs"]
mod query;
#[path = "../examples/dashboards/view.rs"]
mod view;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use hawser_telemetry::catalogue::ALL;

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");

#[test]
fn the_dashboards_are_those_that_the_program_writes() {
    for (name, text) in view::all() {
        let file = Path::new(DEPLOY).join("grafana/dashboards").join(&name);
        let kept = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            kept == text,
            "{name} is old: cargo run -p hawser-telemetry --example dashboards deploy/grafana/dashboards"
        );
    }
}

/// Words like `hawser_path_state` or `hawser:x:rate1m`.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !word(c));
    words
        .map(|w| w.trim_end_matches(':'))
        .filter(|w| w.starts_with("hawser_") || w.starts_with("hawser:"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn dashboards_and_rules_name_only_metrics_that_exist() {
    let rules = fs::read_to_string(Path::new(DEPLOY).join("prometheus/hawser.rules.yml"))
        .expect("the rules");
    let mut known: BTreeSet<String> = ALL.iter().flat_map(|m| m.series_names()).collect();
    let recorded = rules.lines().filter_map(|l| l.trim().strip_prefix("- record: "));
    known.extend(recorded.map(str::to_owned));
    let mut named = names(&rules);
    for (_, text) in view::all() {
        named.append(&mut names(&text));
    }
    assert!(named.len() > 40);
    let unknown: Vec<&String> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn every_metric_is_on_a_dashboard() {
    let mut shown: BTreeSet<String> = BTreeSet::new();
    for (_, text) in view::all() {
        shown.append(&mut names(&text));
    }
    for metric in ALL {
        assert!(
            metric.series_names().iter().any(|name| shown.contains(name)),
            "{} is on no dashboard",
            metric.name
        );
    }
}

/// Debian's package `prometheus` has it; `make test` installs that.
#[test]
fn the_rules_fire_and_clear() {
    let tests = Path::new(DEPLOY).join("prometheus/hawser.rules.test.yml");
    let output = Command::new("promtool").args(["test", "rules"]).arg(tests).output();
    let output = output.expect("promtool (Debian package prometheus)");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("SUCCESS"), "{said}");
}
