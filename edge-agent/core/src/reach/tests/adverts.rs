//! What neighbours are told, and when.

use super::*;

fn names(told: &[(String, Vec<u32>)]) -> Vec<&str> {
    told.iter().map(|(prefix, _)| prefix.as_str()).collect()
}

#[test]
fn a_neighbour_is_told_what_goes_through_others_and_never_what_goes_through_itself() {
    let bench = Bench::new(&generation());
    assert_eq!(names(&bench.last_told(HUB)), [OWN]);
    assert_eq!(
        bench.last_told(BACKUP),
        [
            (OWN.to_owned(), vec![ME]),
            (FAR.to_owned(), vec![HUB.0, ME]),
            (FAR_TOO.to_owned(), vec![HUB.0, ME]),
        ]
    );
    let mut bench = bench;
    bench.says_all(HUB, false);
    bench.pass(1_000);
    assert_eq!(bench.last_told(BACKUP)[1], (FAR.to_owned(), vec![BRANCH, HUB.0, ME]));
    // What the backup itself is on the way of, it would not take.
    bench.says(HUB, false, vec![reachable(FAR, &[BRANCH, BACKUP.0, HUB.0])]);
    bench.tunnel(VIA_BACKUP, SlaState::Down);
    bench.pass(1_000);
    assert_eq!(names(&bench.last_told(BACKUP)), [OWN]);
}

#[test]
fn a_leaf_tells_of_its_own_lans_alone() {
    let bench = Bench::new(&config::EdgeConfig { leaf: true, ..generation() });
    for edge in [HUB, BACKUP] {
        assert_eq!(bench.last_told(edge), [(OWN.to_owned(), vec![ME])]);
    }
}

#[test]
fn a_lan_without_a_link_is_withdrawn_at_once_and_told_again_when_it_has_one() {
    let mut bench = Bench::new(&generation());
    bench.told.clear();
    bench.reach.handle_dark_lans(["lan0".to_owned()].into(), bench.now);
    bench.pump();
    assert!(bench.told.iter().all(|(at, ..)| *at == bench.now) && bench.told.len() == 2);
    assert!(names(&bench.last_told(HUB)).is_empty());
    bench.reach.handle_dark_lans(["lan0".to_owned()].into(), bench.now);
    bench.reach.handle_dark_lans(["eth7".to_owned()].into(), bench.now);
    bench.pass(1_000);
    assert_eq!(names(&bench.last_told(HUB)), [OWN]);
    assert_eq!(bench.events.iter().filter(|code| code.starts_with("LAN_")).count(), 2);
}

#[test]
fn bad_news_is_told_at_once_and_good_news_is_gathered() {
    let mut bench = Bench::new(&generation());
    bench.told.clear();
    bench.tunnel(VIA_BACKUP, SlaState::Down);
    bench.tunnel(VIA_HUB, SlaState::Down);
    let at: Vec<_> = bench.told.iter().map(|(at, to, _)| (*at, *to)).collect();
    assert_eq!(at, [(bench.now, BACKUP)], "the backup loses what went through the hub");
    assert_eq!(names(&bench.last_told(BACKUP)), [OWN]);

    bench.pass(10_000);
    bench.told.clear();
    let from = bench.now;
    bench.tunnel(VIA_HUB, SlaState::Meets);
    bench.pass(5);
    bench.tunnel(VIA_BACKUP, SlaState::Meets);
    bench.pass(1_000);
    let told: Vec<_> =
        bench.told.iter().map(|(at, to, _)| (at.since(from).as_millis(), *to)).collect();
    assert_eq!(told, [(30, BACKUP)]);
}

#[test]
fn what_changes_and_changes_back_is_not_told() {
    let mut bench = Bench::new(&generation());
    bench.says_all(HUB, false);
    bench.pass(1_000);
    bench.told.clear();
    bench.says(HUB, false, vec![reachable(FAR, &[BRANCH, HUB.0]), reachable(FAR_TOO, &[HUB.0])]);
    bench.says_all(HUB, false);
    bench.pass(10_000);
    assert_eq!(bench.told, []);
}

#[test]
fn whatever_flaps_a_neighbour_is_told_no_more_than_it_can_use() {
    let mut bench = Bench::new(&generation());
    bench.told.clear();
    for _ in 0..2_000 {
        bench.tunnel(VIA_HUB, SlaState::Down);
        bench.tunnel(VIA_BACKUP, SlaState::Down);
        bench.pass(5);
        bench.tunnel(VIA_HUB, SlaState::Meets);
        bench.tunnel(VIA_BACKUP, SlaState::Meets);
        bench.pass(5);
    }
    // 20 s: the bucket, and four a second to each of two.
    assert!(bench.told.len() <= 2 * (16 + 4 * 20 + 1), "{}", bench.told.len());
    assert!(bench.events.len() <= 32 + 21, "{}", bench.events.len());
    assert!(bench.count("reachability_events_dropped") > 0);
    let mut gaps = bench.told.iter().filter(|(_, to, _)| *to == BACKUP).map(|(at, _, _)| *at);
    let mut last = gaps.next().expect("told");
    for at in gaps {
        assert!(at.since(last).as_millis() >= 30);
        last = at;
    }
}

#[test]
fn a_session_without_room_is_offered_the_same_again() {
    let mut bench = Bench::new(&generation());
    bench.told.clear();
    bench.reach.not_sent(HUB, bench.now);
    bench.pass(1_000);
    assert_eq!(bench.told.len(), 1);
    assert_eq!(names(&bench.last_told(HUB)), [OWN]);
    assert_eq!(bench.count("reachability_not_sent"), 1);
}

#[test]
fn drain_is_told_at_once() {
    let mut bench = Bench::new(&generation());
    bench.told.clear();
    let drained = config::EdgeConfig { drained: true, ..generation() };
    bench.reach.set_generation(&state(&drained), bench.now);
    bench.pump();
    assert_eq!(bench.told.len(), 2);
    assert!(bench.told.iter().all(|(_, _, messages)| messages[0].drained));
}

#[test]
fn what_fits_into_no_message_goes_in_parts_that_a_peer_takes_whole() {
    let mut config = generation();
    config.lans[0].prefixes =
        (0..4_000u32).map(|n| format!("10.{}.{}.0/24", 100 + n / 256, n % 256)).collect();
    let mut bench = Bench::new(&config);
    bench.pass(1_000);
    let (_, _, messages) =
        bench.told.iter().rev().find(|(_, to, _)| *to == HUB).expect("told").clone();
    assert!(messages.len() > 5, "{}", messages.len());
    assert!(messages.iter().all(|m| m.parts == messages.len() as u32));

    // As the hub hears it.
    let mut hub = Bench::new(&generation());
    for message in &messages {
        hub.reach.handle_message(BACKUP, message, hub.now);
    }
    hub.pass(1_000);
    assert_eq!(hub.count("reachability_bad_part"), 0);
    let lost = hub.next_hops(FAR);
    assert_eq!(lost, [VIA_HUB], "it was taken: what is not in it can't be reached");
}
