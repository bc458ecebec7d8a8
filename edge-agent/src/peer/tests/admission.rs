use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::peer::admission::{Admission, AdmissionControl, FULL, LOADED};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_source_gets_its_share_then_must_prove_itself_then_waits() {
    let mut control = AdmissionControl::new();
    let (source, t0) = (ip("192.0.2.1"), Instant::now());
    let verdicts = |control: &mut AdmissionControl, proven, now| {
        let mut all: Vec<_> = (0..12).map(|_| control.judge(source, proven, 0, now)).collect();
        all.dedup();
        all
    };
    assert_eq!(verdicts(&mut control, false, t0), [Admission::Accept, Admission::Retry]);
    assert_eq!(verdicts(&mut control, true, t0), [Admission::Accept, Admission::Ignore]);
    assert_eq!(control.judge(ip("192.0.2.2"), false, 0, t0), Admission::Accept, "not its fault");
    let later = t0 + Duration::from_secs(1);
    let granted = (0..12).filter(|_| control.judge(source, true, 0, later) == Admission::Accept);
    assert_eq!(granted.count(), 2, "two a second");
    let much_later = t0 + Duration::from_secs(3600);
    let granted =
        (0..30).filter(|_| control.judge(source, false, 0, much_later) == Admission::Accept);
    assert_eq!(granted.count(), 10, "never more than the burst");
}

#[test]
fn a_host_has_one_share_for_its_whole_ipv6_network() {
    let mut control = AdmissionControl::new();
    let now = Instant::now();
    let granted = (0..50_u16)
        .map(|n| ip(&format!("2001:db8:1:2::{n:x}")))
        .filter(|source| control.judge(*source, true, 0, now) == Admission::Accept);
    assert_eq!(granted.count(), 10);
    assert_eq!(control.judge(ip("2001:db8:1:3::1"), true, 0, now), Admission::Accept);
}

#[test]
fn under_load_only_proven_sources_get_in_and_at_the_limit_nobody() {
    let mut control = AdmissionControl::new();
    let (source, now) = (ip("192.0.2.1"), Instant::now());
    for (unfinished, proven, want) in [
        (LOADED - 1, false, Admission::Accept),
        (LOADED, false, Admission::Retry),
        (LOADED, true, Admission::Accept),
        (FULL, true, Admission::Ignore),
        (FULL, false, Admission::Ignore),
    ] {
        assert_eq!(control.judge(source, proven, unfinished, now), want, "{unfinished} {proven}");
    }
}
