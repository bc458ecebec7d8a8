use std::collections::BTreeSet;

use super::*;

#[test]
fn names_are_unique_well_formed_and_follow_one_scheme() {
    let mut names = BTreeSet::new();
    for metric in ALL {
        let words = |c: char| c.is_ascii_lowercase() || c == '.' || c == '_';
        assert!(metric.name.chars().all(words) && metric.name.starts_with("hawser."));
        for name in metric.series_names() {
            assert!(names.insert(name.clone()), "{name} twice");
        }
        let labels: BTreeSet<_> = metric.labels().collect();
        assert_eq!(labels.len(), metric.labels().count(), "{}: a label twice", metric.name);
        assert!(metric.help.ends_with('.') && metric.help.len() > 20, "{}", metric.name);
        assert!(!metric.help.contains('|'), "{}: the page is a table", metric.name);
    }
}

#[test]
fn prometheus_names_have_units_and_totals() {
    assert_eq!(PATH_RTT.prometheus(), "hawser_path_rtt_seconds");
    assert_eq!(PATH_IO.prometheus(), "hawser_path_io_bytes_total");
    assert_eq!(PATH_LOSS.prometheus(), "hawser_path_loss_ratio");
    assert_eq!(PATH_MOS.prometheus(), "hawser_path_mos");
    assert_eq!(CONTROLLER_PUSH.series_names()[0], "hawser_controller_push_duration_seconds_bucket");
}

#[test]
fn the_page_is_the_one_in_docs() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/METRICS.md");
    let kept = std::fs::read_to_string(file).expect("docs/METRICS.md");
    assert!(
        kept == page(),
        "docs/METRICS.md is old: cargo run -p hawser-telemetry --example metrics_page > docs/METRICS.md"
    );
}
