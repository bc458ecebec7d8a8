use proptest::prelude::*;

use super::*;

const HOME: &str = "192.0.2.1:4510";
const NEW: &str = "198.51.100.7:4510";
const EVIL: &str = "203.0.113.66:4510";

fn at(ms: u64) -> Micros {
    Micros::from_millis(ms)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn tracker() -> EndpointTracker {
    EndpointTracker::new(Some(address(HOME)), at(0))
}

#[test]
fn a_peer_that_moved_is_asked_and_then_followed() {
    let mut tracker = tracker();
    let challenge = tracker.handle_packet(address(NEW), true, at(10), || [7; 8]).unwrap();
    assert_eq!(challenge, Challenge { to: address(NEW), octets: [7; 8] });
    assert_eq!(tracker.current(), Some(address(HOME)), "not before the answer");
    let changed = tracker.handle_answer(address(NEW), [7; 8], at(90)).unwrap();
    assert_eq!(changed.to, address(NEW));
    assert_eq!(tracker.current(), Some(address(NEW)));
    assert_eq!(tracker.handle_packet(address(NEW), true, at(100), || [8; 8]), None);
}

#[test]
fn a_faster_copy_from_another_address_moves_nothing() {
    let mut tracker = tracker();
    // The copy comes first, so it is the newest; the challenge goes to the attacker, who can't open it.
    assert!(tracker.handle_packet(address(EVIL), true, at(10), || [7; 8]).is_some());
    // The peer's own packets go on coming from home.
    assert_eq!(tracker.handle_packet(address(HOME), true, at(11), || [9; 8]), None);
    // Even if the attacker has the peer answer, the answer comes from the peer's address.
    assert_eq!(tracker.handle_answer(address(HOME), [7; 8], at(60)), Err(Refusal::NotChallenged));
    assert_eq!(tracker.handle_answer(address(EVIL), [0; 8], at(70)), Err(Refusal::WrongAnswer));
    assert_eq!(tracker.current(), Some(address(HOME)));
}

#[test]
fn an_older_packet_from_elsewhere_is_only_counted() {
    let mut tracker = tracker();
    assert_eq!(tracker.handle_packet(address(NEW), false, at(10), || unreachable!()), None);
    assert_eq!(tracker.counters().not_newest, 1);
}

#[test]
fn an_answer_after_a_second_is_too_late() {
    let mut tracker = tracker();
    tracker.handle_packet(address(NEW), true, at(10), || [7; 8]).unwrap();
    assert_eq!(tracker.handle_answer(address(NEW), [7; 8], at(1_010)), Err(Refusal::TooLate));
    assert_eq!(tracker.handle_answer(address(NEW), [7; 8], at(1_011)), Err(Refusal::NotChallenged));
}

#[test]
fn a_lost_challenge_is_repeated_with_the_same_octets() {
    let mut tracker = tracker();
    tracker.handle_packet(address(NEW), true, at(0), || [7; 8]).unwrap();
    assert_eq!(tracker.handle_packet(address(NEW), true, at(100), || unreachable!()), None);
    let again = tracker.handle_packet(address(NEW), true, at(250), || unreachable!()).unwrap();
    assert_eq!(again.octets, [7; 8]);
    assert_eq!(tracker.counters().awaiting_answer, 1);
}

#[test]
fn a_flood_of_copies_makes_a_bounded_number_of_challenges_and_starves_the_peer_for_a_second_only() {
    let mut tracker = tracker();
    let mut challenges = 0;
    for n in 0..10_000u64 {
        let from = SocketAddr::from(([203, 0, 113, (n % 250) as u8], (n % 60_000) as u16));
        challenges += u32::from(tracker.handle_packet(from, true, at(n), || [1; 8]).is_some());
    }
    assert!(challenges <= 10 * policy::CHALLENGES_PER_S + policy::CHALLENGES_PER_S, "{challenges}");
    let c = tracker.counters();
    assert_eq!(u64::from(challenges) + c.table_full + c.rate_limited + c.awaiting_answer, 10_000);
    assert!(tracker.handle_packet(address(NEW), true, at(11_500), || [7; 8]).is_some());
}

proptest! {
    #[test]
    fn it_moves_only_to_an_address_that_gave_the_right_answer_in_time(
        events in proptest::collection::vec((any::<bool>(), 0u8..6, any::<bool>(), 0u64..400), 1..200),
    ) {
        let mut tracker = tracker();
        let (mut now, mut asked) = (0, std::collections::BTreeMap::new());
        for (n, (is_answer, from, good, step)) in events.into_iter().enumerate() {
            now += step;
            let from = SocketAddr::from(([192, 0, 2, from], 4510));
            let before = tracker.current();
            if is_answer {
                let octets: [u8; 8] = if good { asked.get(&from).map_or([0xee; 8], |&(o, _)| o) } else { [0xff; 8] };
                let moved = tracker.handle_answer(from, octets, at(now)).is_ok();
                prop_assert_eq!(moved, tracker.current() != before || moved && before == Some(from));
                if moved {
                    let (_, issued) = asked[&from];
                    prop_assert!(good && now - issued < 1_000);
                    asked.clear();
                }
            } else if let Some(challenge) = tracker.handle_packet(from, good, at(now), || [n as u8; 8]) {
                prop_assert!(good && challenge.to == from && Some(from) != before);
                asked.entry(from).and_modify(|e: &mut ([u8; 8], u64)| {
                    if e.0 != challenge.octets { *e = (challenge.octets, now); }
                }).or_insert((challenge.octets, now));
                prop_assert_eq!(tracker.current(), before);
            }
        }
    }
}
