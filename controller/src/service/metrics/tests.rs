use std::sync::Arc;
use std::time::{Duration, Instant};

use hawser_proto::agent::v1::Decision;

use super::tally::{Metrics, Moved};
use crate::service::generation::Generation;
use crate::store::StoreTimes;

fn metrics() -> Metrics {
    Metrics::new(Arc::<StoreTimes>::default())
}

fn decision(class: &str, cause: &str) -> Decision {
    Decision {
        peer_edge: "hq-1".into(),
        traffic_class: class.into(),
        cause: cause.into(),
        ..Decision::default()
    }
}

#[test]
fn moves_count_by_class_and_by_causes_that_are_known() {
    let metrics = metrics();
    for (class, cause) in [("voice", "PATH_DOWN"), ("voice", "PATH_DOWN"), ("voice", "x\"y")] {
        assert!(metrics.decided("b1-1", &decision(class, cause)));
    }
    let hop = Decision { to_next_hop: "hq-2".into(), ..decision("", "PATH_DOWN") };
    assert!(metrics.decided("b1-1", &hop));
    let moved = Moved { edge: "b1-1".into(), peer_edge: "hq-1".into(), class: "voice".into() };
    let moves = metrics.moves();
    assert_eq!(moves.len(), 1);
    assert_eq!(moves[&moved], [("OTHER", 1), ("PATH_DOWN", 2)].into());
    metrics.retain(|edge| edge != "hq-1");
    assert!(metrics.moves().is_empty());
}

#[test]
fn lag_counts_from_the_first_wish_that_was_not_met() {
    let metrics = metrics();
    let at = |number| Generation { epoch: 1, number };
    let now = Instant::now();
    let later = |s| now + Duration::from_secs(s);
    assert_eq!(metrics.lag("b1-1", at(1), at(1), now).as_secs(), 0);
    assert_eq!(metrics.lag("b1-1", at(2), at(1), later(1)).as_secs(), 0);
    assert_eq!(metrics.lag("b1-1", at(3), at(1), later(5)).as_secs(), 4);
    assert_eq!(metrics.lag("b1-1", at(3), at(3), later(6)).as_secs(), 0);
    assert_eq!(metrics.lag("b1-1", at(4), at(3), later(9)).as_secs(), 0);
}
