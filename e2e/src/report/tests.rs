use super::*;
use serde_json::json;

#[test]
fn figures_are_by_nearest_rank_and_a_run_that_never_healed_is_the_worst() {
    let healed =
        |values: &[f64]| -> Vec<Option<f64>> { values.iter().copied().map(Some).collect() };
    let of = |runs: &[Option<f64>]| {
        let figures = Figures::of(runs);
        (figures.runs, figures.p50, figures.p99, figures.max)
    };
    assert_eq!(of(&[]), (0, None, None, None));
    assert_eq!(of(&healed(&[7.0])), (1, Some(7.0), None, Some(7.0)));
    assert_eq!(of(&healed(&[4.0, 1.0, 3.0, 2.0])), (4, Some(2.0), None, Some(4.0)));
    assert_eq!(of(&[Some(1.0), None, Some(2.0)]), (3, Some(2.0), None, None));
    assert_eq!(of(&[None, None, Some(2.0)]), (3, None, None, None));
    let many: Vec<f64> = (1..=200).map(f64::from).collect();
    assert_eq!(of(&healed(&many)), (200, Some(100.0), Some(198.0), Some(200.0)));
}

#[test]
fn goals_are_met_only_by_values_that_exist() {
    assert!(Goal::at_most(700.0, Some(700.0)).met);
    assert!(!Goal::at_most(700.0, Some(700.1)).met);
    assert!(!Goal::at_most(700.0, None).met);
    assert!(Goal::exactly(0, 0).met);
    assert!(!Goal::exactly(true, false).met);
    assert!(!Goal::at_least(1_000, 999).met);
    assert!(!Goal::at_least(1_000, None).met);
}

#[test]
fn every_schema_is_a_schema() {
    for name in names() {
        match check(name, &json!(null)) {
            Err(ReportError::Invalid { .. }) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
    assert!(matches!(check("nothing", &json!({})), Err(ReportError::NoSchema { .. })));
}

#[test]
fn a_report_that_breaks_its_schema_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = json!({"sites": "three"});
    let error = write_to(folder.path(), "demo", &wrong).unwrap_err();
    assert!(matches!(&error, ReportError::Invalid { faults, .. } if faults.len() > 1), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
