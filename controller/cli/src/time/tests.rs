use std::time::Duration;

use super::{At, Since, ago, parse_at, parse_duration, parse_since, span, utc};

#[test]
fn durations_are_read() {
    let table = [
        ("90s", Some(90_000)),
        ("10m", Some(600_000)),
        ("24h", Some(86_400_000)),
        ("7d", Some(604_800_000)),
        ("1h30m", Some(5_400_000)),
        ("500ms", Some(500)),
        ("", None),
        ("0s", None),
        ("10", None),
        ("h", None),
        ("-1h", None),
        ("1.5h", None),
        ("10 m", None),
        ("5w", None),
        ("99999999999999999999s", None),
        ("18446744073709551615d", None),
        ("9999999d", None),
    ];
    for (text, expected) in table {
        assert_eq!(parse_duration(text).ok(), expected.map(Duration::from_millis), "{text}");
    }
}

#[test]
fn points_in_time_are_read() {
    let table = [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2000-02-29", Some(951_782_400_000)),
        ("2026-01-31T12:00:01Z", Some(1_769_860_801_000)),
        ("2026-01-31 12:00Z", Some(1_769_860_800_000)),
        ("2026-02-29", None),
        ("2026-13-01", None),
        ("2026-00-10", None),
        ("2026-01-00", None),
        ("2026-01-31T24:00:00Z", None),
        ("2026-01-31T12:00:00", None),
        ("26-01-31", None),
        ("1969-12-31", None),
        ("yesterday", None),
    ];
    for (text, expected) in table {
        assert_eq!(parse_since(text).ok(), expected.map(Since::UnixMs), "{text}");
    }
}

#[test]
fn how_long_ago_becomes_a_point_in_time() {
    assert_eq!(Since::Ago(Duration::from_secs(60)).unix_ms(100_000), 40_000);
    // 0 would mean: only what comes.
    assert_eq!(Since::Ago(Duration::from_secs(600)).unix_ms(100_000), 1);
}

#[test]
fn what_is_written_reads_back_over_leap_years() {
    for day in (0..40_000u64).step_by(7) {
        let ms = day * 86_400_000 + 3_661_000;
        let text = utc(ms);
        let (whole, _) = text.split_once('.').unwrap();
        let found = if ms == 0 { Ok(Since::UnixMs(0)) } else { parse_since(&format!("{whole}Z")) };
        assert_eq!(found, Ok(Since::UnixMs(ms)), "{text}");
    }
}

#[test]
fn spans_have_their_two_largest_units() {
    let table = [(0, "0s"), (59, "59s"), (61, "1m 1s"), (3_600, "1h"), (90_061, "1d 1h")];
    for (seconds, text) in table {
        assert_eq!(span(seconds), text);
    }
    assert_eq!(ago(0, 10_000), "never");
    assert_eq!(ago(5_000, 10_000), "5s ago");
}

#[test]
fn moments_are_read_in_every_way_that_people_write_them() {
    let noon = 1_769_860_800_000;
    let table = [
        ("-15m", Some(At::Ago(Duration::from_secs(900)))),
        ("90s", Some(At::Ago(Duration::from_secs(90)))),
        ("12:00", Some(At::OfDay(43_200_000))),
        ("23:59:59.5", Some(At::OfDay(86_399_500))),
        ("2026-01-31T12:00:00Z", Some(At::UnixMs(noon))),
        ("2026-01-31t12:00:00.25z", Some(At::UnixMs(noon + 250))),
        ("2026-01-31 12:00:00.250", Some(At::UnixMs(noon + 250))),
        ("2026-01-31T13:30:00+01:30", Some(At::UnixMs(noon))),
        ("2026-01-31T07:00:00.1239-05:00", Some(At::UnixMs(noon + 123))),
        ("2026-01-31T12:00:00+1", None),
        ("2026-02-30T12:00:00Z", None),
        ("1970-01-01T00:00:00+01:00", None),
        ("25:00", None),
        ("12:60", None),
        ("12:00:00.", None),
        ("12:00:00.x", None),
        ("1200", None),
        ("12", None),
        ("--15m", None),
        ("now", None),
        ("", None),
    ];
    for (text, expected) in table {
        assert_eq!(parse_at(text).ok(), expected, "{text}");
    }
}

#[test]
fn a_time_of_day_is_its_last_one() {
    let day = 86_400_000;
    let now = 20_000 * day + 43_200_000;
    assert_eq!(At::OfDay(43_100_000).unix_ms(now), now - 100_000);
    assert_eq!(At::OfDay(43_300_000).unix_ms(now), now + 100_000 - day);
    assert_eq!(At::Ago(Duration::from_secs(60)).unix_ms(now), now - 60_000);
}
