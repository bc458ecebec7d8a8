//! The link selection benchmark itself, as small as it gets. Needs root. Nothing here is about speed.

use hawser_e2e::bench::{self, Order, Stop, What};
use hawser_e2e::report;

#[test]
fn a_tiny_benchmark_measures_what_it_is_told_to() {
    let mut order = Order::new(true, &[What::Blackhole, What::CarrierLoss], 1, 1);
    order.runs = [(What::Blackhole, 2), (What::CarrierLoss, 2)].into();
    let measured = bench::measure(&order, &Stop::default(), false);
    report::check("selection", &measured.report).expect("the report is what its schema says");
    assert_eq!(measured.wrong, Vec::<String>::new(), "{:#}", measured.report);
    for name in ["blackhole_gap_ms", "carrier_loss_gap_ms"] {
        assert_eq!(measured.report[name]["runs"], 2, "{:#}", measured.report);
        assert!(measured.report[name]["max"].is_number(), "{:#}", measured.report);
    }
    assert_eq!(measured.report["complete"], true);
    assert_eq!(measured.report["jitter_move_ms"]["runs"], 0);
}
