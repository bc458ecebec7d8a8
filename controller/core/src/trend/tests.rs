use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds {
    points: 300,
    series: 4,
    points_of_one: 90,
    step_ms: 5_000,
    fine_covers_ms: 0,
    keep_ms: 3_600_000,
};
const KEY: Key = Key { path_id: 7, end: End::A };
const START: u64 = 1_000_000_000_000;

fn sample(at_ms: u64, rtt_us: u32) -> Point {
    Point {
        at_ms,
        span_ms: 1_000,
        state: State::Up,
        carries: false,
        measured: true,
        rtt_us,
        jitter_us: 100,
        loss_tx_ppm: 0,
        loss_rx_ppm: 0,
    }
}

fn down(at_ms: u64) -> Point {
    Point { state: State::Down, measured: false, rtt_us: 0, ..sample(at_ms, 0) }
}

fn all(trends: &Trends) -> Vec<Point> {
    trends.between(KEY, 0, u64::MAX, usize::MAX).0
}

#[test]
fn samples_of_one_step_become_one_point_with_their_mean() {
    let mut trends = Trends::new(BOUNDS);
    for n in 0..10 {
        trends.take(KEY, sample(START + n * 1_000, 10_000 + 1_000 * n as u32));
    }
    let points = all(&trends);
    let told: Vec<_> = points.iter().map(|p| (p.at_ms - START, p.span_ms, p.rtt_us)).collect();
    assert_eq!(told, [(0, 5_000, 12_000), (5_000, 5_000, 17_000)]);
}

#[test]
fn a_change_of_state_begins_a_point_of_its_own_and_figures_of_darkness_do_not_count() {
    let mut trends = Trends::new(BOUNDS);
    trends.take(KEY, sample(START, 10_000));
    trends.take(KEY, down(START + 1_000));
    trends.take(KEY, sample(START + 2_000, 30_000));
    let points = all(&trends);
    assert_eq!(
        points.iter().map(|p| p.state).collect::<Vec<_>>(),
        [State::Up, State::Down, State::Up]
    );
    assert_eq!(points.iter().map(|p| p.measured).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn a_second_of_darkness_is_still_seen_when_its_bucket_is_wide() {
    let mut trends = Trends::new(BOUNDS);
    trends.take(KEY, down(START));
    for n in 1..1_200 {
        trends.take(KEY, sample(START + n * 1_000, 20_000));
    }
    let points = all(&trends);
    assert_eq!((points[0].at_ms, points[0].state), (START, State::Down));
    assert!(points[0].span_ms > 60_000 && points[0].rtt_us == 20_000, "{:?}", points[0]);
    assert!(trends.dropped().merged > 0);
}

#[test]
fn the_whole_time_is_kept_in_few_points_and_what_is_older_is_counted() {
    let mut trends = Trends::new(BOUNDS);
    for n in 0..3 * 3_600 {
        trends.take(KEY, sample(START + n * 1_000, 20_000));
        assert!(trends.points() <= BOUNDS.points_of_one);
    }
    let points = all(&trends);
    let covered = points.last().unwrap().ends_ms() - points[0].at_ms;
    assert!((3_300_000..=3_800_000).contains(&covered), "{covered}");
    assert!(points.is_sorted_by_key(|p| p.at_ms));
    assert!(trends.dropped().expired > 0);
}

#[test]
fn more_series_share_the_room_and_too_many_are_refused() {
    let mut trends = Trends::new(BOUNDS);
    for n in 0..2_000 {
        for path_id in 0..6 {
            trends.take(Key { path_id, end: End::A }, sample(START + n * 5_000, 1));
        }
    }
    assert!(trends.points() <= BOUNDS.points, "{}", trends.points());
    assert_eq!(trends.dropped().refused, 2 * 2_000);
    trends.retain(|path_id| path_id == 1);
    assert!(trends.points() <= BOUNDS.points_of_one && trends.points() > 0);
}

#[test]
fn a_large_fleet_has_wider_points_rather_than_a_shorter_past() {
    let bounds = Bounds { points: 64, series: 4, fine_covers_ms: 600_000, ..BOUNDS };
    let mut trends = Trends::new(bounds);
    for n in 0..3_600 {
        for path_id in 0..4 {
            trends.take(Key { path_id, end: End::A }, sample(START + n * 1_000, 20_000));
        }
    }
    let key = Key { path_id: 0, end: End::A };
    let points = trends.between(key, 0, u64::MAX, 1_000).0;
    assert!(points.len() <= 16);
    let fine: Vec<_> = points.iter().rev().take(11).collect();
    assert!(fine.iter().all(|p| p.span_ms <= 60_000), "{fine:?}");
    let reach = points.last().unwrap().ends_ms() - fine.last().unwrap().at_ms;
    assert!(reach >= 540_000, "{reach}");
    let whole = points.last().unwrap().ends_ms() - points[0].at_ms;
    assert!(whole >= 3_000_000, "{whole}");
}

#[test]
fn a_clock_that_goes_back_takes_away_what_it_has_not_reached() {
    let mut trends = Trends::new(BOUNDS);
    for n in 0..100 {
        trends.take(KEY, sample(START + n * 5_000, 1));
    }
    trends.take(KEY, sample(START + 50_000, 9));
    let points = all(&trends);
    assert!(points.iter().all(|p| p.at_ms <= START + 50_000));
    assert!(points.is_sorted_by_key(|p| p.at_ms));
}

#[test]
fn pages_follow_each_other_without_a_gap_or_a_repetition() {
    let mut trends = Trends::new(BOUNDS);
    for n in 0..40 {
        trends.take(KEY, sample(START + n * 5_000, n as u32));
    }
    let (mut since, mut read) = (START + 50_000, Vec::new());
    loop {
        let (page, next) = trends.between(KEY, since, START + 150_000, 7);
        read.extend(page);
        match next {
            Some(next) => since = next,
            None => break,
        }
    }
    assert_eq!(read, trends.between(KEY, START + 50_000, START + 150_000, 1_000).0);
    assert_eq!(read.len(), 21);
}

#[test]
fn what_was_written_is_read_back_and_what_is_damaged_is_refused() {
    let mut trends = Trends::new(BOUNDS);
    for n in 0..1_000 {
        trends.take(KEY, sample(START + n * 1_000, n as u32));
        trends.take(Key { end: End::B, ..KEY }, down(START + n * 1_000));
    }
    let bytes = trends.encode();
    let read = Trends::decode(&bytes, BOUNDS).unwrap();
    assert_eq!(read.series, trends.series);
    for cut in [0, 7, 8, 12, 20, bytes.len() - 1] {
        assert_eq!(Trends::decode(&bytes[..cut], BOUNDS), Err(Corrupt), "{cut}");
    }
    assert_eq!(Trends::decode(&[&bytes[..], &[0]].concat(), BOUNDS), Err(Corrupt));
}

fn any_point() -> impl Strategy<Value = Point> {
    let state = prop_oneof![Just(State::Up), Just(State::Connecting), Just(State::Down)];
    (any::<u64>(), any::<u32>(), state, any::<bool>(), any::<u32>()).prop_map(
        |(at_ms, span_ms, state, flag, figure)| Point {
            at_ms,
            span_ms,
            state,
            carries: flag,
            measured: !flag,
            rtt_us: figure,
            jitter_us: figure,
            loss_tx_ppm: figure,
            loss_rx_ppm: figure,
        },
    )
}

proptest! {
    #[test]
    fn no_sample_makes_it_panic_grow_or_lose_its_order(
        samples in prop::collection::vec((0..8u32, any_point()), 0..400),
    ) {
        let mut trends = Trends::new(BOUNDS);
        for (path_id, point) in samples {
            trends.take(Key { path_id, end: End::B }, point);
        }
        prop_assert!(trends.points() <= BOUNDS.series * BOUNDS.points_of_one);
        for path_id in 0..8 {
            let points = trends.between(Key { path_id, end: End::B }, 0, u64::MAX, 10_000).0;
            prop_assert!(points.is_sorted_by_key(|p| p.at_ms));
        }
        let again = Trends::decode(&trends.encode(), BOUNDS).unwrap();
        prop_assert_eq!(again.series, trends.series);
    }

    #[test]
    fn no_octets_make_reading_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), magic: bool) {
        if magic {
            bytes.splice(0..0, *b"HAWSTRE1");
        }
        let _ = Trends::decode(&bytes, BOUNDS);
    }
}
