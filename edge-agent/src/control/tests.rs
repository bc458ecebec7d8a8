//! The small parts: outbox, backoff, facts, clocks, identity, files.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use hawser_proto::agent::v1 as wire;
use hawser_proto::agent::v1::agent_message::Message as Up;

use super::backoff::{self, Rotation};
use super::clock::{self, Calendar};
use super::facts::{FactsStore, merge};
use super::identity::{EdgeKey, Identity};
use super::outbox::{MAX_ACKED, MAX_ANSWERS, MAX_DECISIONS, MAX_EVENTS, MAX_EXPLANATIONS, Outbox};
use super::testing::Ca;

fn outbox() -> Outbox {
    Outbox::new("b1-1", "boot")
}

fn taken(outbox: &Outbox) -> Vec<String> {
    let name = |m: wire::AgentMessage| match m.message.unwrap() {
        Up::Ack(_) => "ack".to_owned(),
        Up::LocalFacts(_) => "local facts".to_owned(),
        Up::Decisions(d) => {
            let (first, last) = (d.decisions.first().unwrap(), d.decisions.last().unwrap());
            format!("decisions {}..={}", first.sequence, last.sequence)
        }
        Up::Events(e) => format!("{} events", e.events.len()),
        Up::Telemetry(t) => format!("telemetry {}", t.unix_ms),
        other => panic!("{other:?}"),
    };
    std::iter::from_fn(|| outbox.take()).map(name).collect()
}

fn telemetry(unix_ms: u64) -> wire::Telemetry {
    wire::Telemetry { unix_ms, ..Default::default() }
}

#[test]
fn the_most_urgent_leaves_the_outbox_first_and_telemetry_only_if_it_is_the_newest() {
    let outbox = outbox();
    outbox.telemetry(telemetry(1));
    outbox.telemetry(telemetry(2));
    outbox.event(wire::AgentEvent::default());
    for _ in 0..130 {
        outbox.decision(wire::Decision::default());
    }
    outbox.local_facts(wire::LocalFacts::default());
    outbox.answer(Up::Ack(wire::Ack::default()));
    let expected = [
        "ack",
        "local facts",
        "decisions 1..=128",
        "decisions 129..=130",
        "1 events",
        "telemetry 2",
    ];
    assert_eq!(taken(&outbox), expected);
    assert_eq!(outbox.counters()["control_telemetry_replaced"], 1);
}

#[test]
fn explanations_outlive_the_telemetry_that_brought_them_and_are_bounded() {
    let outbox = outbox();
    for unix_ms in 1..=MAX_EXPLANATIONS as u64 + 5 {
        let explanation = wire::Explanation { unix_ms, ..Default::default() };
        outbox.telemetry(wire::Telemetry { explanations: vec![explanation], ..telemetry(unix_ms) });
    }
    let sent = match outbox.take().and_then(|message| message.message) {
        Some(Up::Telemetry(telemetry)) => telemetry,
        other => panic!("{other:?}"),
    };
    assert_eq!(sent.unix_ms, MAX_EXPLANATIONS as u64 + 5);
    let times: Vec<u64> = sent.explanations.iter().map(|e| e.unix_ms).collect();
    assert_eq!(times, (6..=MAX_EXPLANATIONS as u64 + 5).collect::<Vec<_>>());
}

#[test]
fn a_new_session_gets_unacknowledged_decisions_and_local_facts_again_and_nothing_else() {
    let outbox = outbox();
    outbox.local_facts(wire::LocalFacts::default());
    outbox.event(wire::AgentEvent::default());
    for _ in 0..5 {
        outbox.decision(wire::Decision::default());
    }
    taken(&outbox);
    outbox.decisions_acked(&wire::DecisionsAck { boot_id: "boot".to_owned(), sequence: 3 });
    assert_eq!(taken(&outbox), Vec::<String>::new());
    outbox.new_session();
    assert_eq!(taken(&outbox), ["local facts", "decisions 4..=5"]);
}

#[test]
fn a_controller_that_lost_its_memory_gets_what_it_had_acknowledged_again() {
    let outbox = outbox();
    for _ in 0..6 {
        outbox.decision(wire::Decision::default());
    }
    taken(&outbox);
    let ack = |boot: &str, sequence| wire::DecisionsAck { boot_id: boot.to_owned(), sequence };
    outbox.decisions_acked(&ack("boot", 4));
    let again = |held| {
        outbox.new_session();
        outbox.decisions_held(&held);
        taken(&outbox)
    };
    assert_eq!(again(ack("boot", 4)), ["decisions 5..=6"]);
    assert_eq!(again(ack("other", 0)), ["decisions 5..=6"]);
    assert_eq!(again(ack("boot", 2)), ["decisions 3..=6"]);
    assert_eq!(again(ack("boot", 0)), ["decisions 1..=6"]);
    for _ in 0..MAX_ACKED {
        outbox.decision(wire::Decision::default());
    }
    taken(&outbox);
    let all = MAX_ACKED as u64 + 6;
    outbox.decisions_acked(&ack("boot", all));
    let expected: Vec<String> = (0..MAX_ACKED as u64 / 128)
        .map(|n| format!("decisions {}..={}", n * 128 + 7, n * 128 + 134))
        .collect();
    assert_eq!(again(ack("boot", 0)), expected);
}

#[test]
fn every_queue_of_the_outbox_is_bounded_and_counts_what_it_drops() {
    let outbox = outbox();
    for _ in 0..10 + MAX_DECISIONS {
        outbox.decision(wire::Decision::default());
    }
    for _ in 0..20 + MAX_EVENTS {
        outbox.event(wire::AgentEvent::default());
    }
    for _ in 0..30 + MAX_ANSWERS {
        outbox.answer(Up::Ack(wire::Ack::default()));
    }
    let counters = outbox.counters();
    assert_eq!(counters["control_decisions_dropped"], 10);
    assert_eq!(counters["control_events_dropped"], 20);
    assert_eq!(counters["control_answers_dropped"], 30);
    assert_eq!(counters["control_decisions_waiting"], MAX_DECISIONS as u64);
}

#[test]
fn the_wait_doubles_with_every_round_and_stays_within_its_bounds() {
    let ms = |failures, round, random| backoff::wait(failures, round, random).as_millis();
    // (failures, round, least, most) in ms.
    let table = [
        (0, 1, 100, 200),
        (1, 1, 200, 400),
        (3, 4, 100, 200),
        (4, 4, 200, 400),
        (6, 1, 6400, 12_800),
        (7, 1, 7500, 15_000),
        (u32::MAX, 1, 7500, 15_000),
        (1, 0, 200, 400),
    ];
    for (failures, round, least, most) in table {
        assert_eq!(ms(failures, round, 0), least, "{failures} of {round}");
        assert_eq!(ms(failures, round, u32::MAX), most, "{failures} of {round}");
    }
}

#[test]
fn every_controller_is_tried_over_every_uplink_and_the_uplink_changes_first() {
    let names = |all: &[&str]| all.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let walk = |controllers: &[&str], uplinks: &[&str], count| {
        let (controllers, uplinks) = (names(controllers), names(uplinks));
        let mut rotation = Rotation::default();
        let mut walked = Vec::new();
        for _ in 0..count {
            if let Some((controller, uplink)) = rotation.pick(&controllers, &uplinks) {
                walked.push(format!("{controller}/{}", uplink.unwrap_or("-")));
            }
            rotation.advance();
        }
        walked
    };
    assert_eq!(walk(&["c1", "c2"], &["a", "b"], 5), ["c1/a", "c1/b", "c2/a", "c2/b", "c1/a"]);
    assert_eq!(walk(&["c1", "c2"], &[], 3), ["c1/-", "c2/-", "c1/-"]);
    assert_eq!(walk(&[], &["a"], 2), Vec::<String>::new());
}

fn endpoint(edge_id: u32, uplink_id: u32, at: &[&str]) -> wire::PeerEndpoint {
    let endpoints = at.iter().map(|a| (*a).to_owned()).collect();
    wire::PeerEndpoint { edge_id, uplink_id, endpoints }
}

#[test]
fn facts_replace_what_they_name_and_full_ones_replace_everything() {
    let before = wire::Facts {
        version: 3,
        full: true,
        endpoints: vec![endpoint(1, 1, &["a:1"]), endpoint(1, 2, &["b:1"])],
    };
    let news = wire::Facts {
        version: 4,
        full: false,
        endpoints: vec![endpoint(2, 1, &["d:1"]), endpoint(1, 2, &[]), endpoint(1, 1, &["c:1"])],
    };
    let after = merge(&before, news.clone());
    assert_eq!(after.endpoints, [endpoint(1, 1, &["c:1"]), endpoint(2, 1, &["d:1"])]);
    let after = merge(&before, wire::Facts { full: true, ..news });
    assert_eq!((after.version, after.endpoints.len()), (4, 2));
}

#[test]
fn old_news_is_no_news_and_damaged_facts_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = FactsStore::open(dir.path());
    let news = |version| wire::Facts { version, ..Default::default() };
    assert!(store.take(news(5)).unwrap());
    assert!(!store.take(news(5)).unwrap());
    assert!(!store.take(news(4)).unwrap());
    assert_eq!(FactsStore::open(dir.path()).version(), 5);
    // A controller that starts over says so by sending all.
    assert!(store.take(wire::Facts { full: true, ..news(1) }).unwrap());
    let file = dir.path().join("facts");
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(FactsStore::open(dir.path()).version(), 0);
}

#[test]
fn time_is_never_before_the_last_stored() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("boot-time");
    // Far ahead of this machine's clock, as if that had lost its battery.
    std::fs::write(&file, "32503680000000\n").unwrap();
    assert_eq!(Calendar::open(dir.path()).unix_ms(), 32_503_680_000_000);
    std::fs::write(&file, "rubbish").unwrap();
    let calendar = Calendar::open(dir.path());
    assert!(calendar.unix_ms() > 1_600_000_000_000);
    calendar.store().unwrap();
    let stored: u64 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    assert!(stored <= calendar.unix_ms() && stored > 1_600_000_000_000);
}

#[test]
fn the_clock_since_boot_runs_and_the_boot_has_a_name() {
    let before = clock::since_boot();
    std::thread::sleep(Duration::from_millis(5));
    assert!(clock::since_boot().since(before) >= Duration::from_millis(5));
    assert_ne!(clock::boot_id().0, [0; 16]);
    assert_eq!(clock::boot_id(), clock::boot_id());
}

#[test]
fn the_key_is_made_once_and_only_its_owner_can_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = EdgeKey::load_or_create(dir.path()).unwrap();
    let second = EdgeKey::load_or_create(dir.path()).unwrap();
    let public = |key: &EdgeKey| key.pair().unwrap().public_key_raw().to_vec();
    assert_eq!(public(&first), public(&second));
    let mode = std::fs::metadata(dir.path().join("identity.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(format!("{first:?}"), "EdgeKey(redacted)");
}

#[test]
fn an_identity_is_read_back_and_checked() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    assert_eq!(Identity::load(dir.path()).unwrap_err().code(), "NOT_ENROLLED");
    let identity = ca.identity(dir.path(), "b1-1", &["c:1".to_owned(), "d:2".to_owned()]);
    identity.save(dir.path()).unwrap();
    let loaded = Identity::load(dir.path()).unwrap();
    assert_eq!((loaded.fleet(), loaded.edge()), ("acme", "b1-1"));
    assert_eq!(loaded.controllers(), identity.controllers());
    assert_eq!(loaded.chain(), identity.chain());
    loaded.check_validity(1_700_000_000).unwrap();
    let expired = loaded.check_validity(i64::MAX).unwrap_err();
    assert_eq!(expired.code(), "IDENTITY_EXPIRED");

    let chain = dir.path().join("identity.pem");
    let good = std::fs::read(&chain).unwrap();
    std::fs::write(&chain, "no PEM").unwrap();
    assert_eq!(Identity::load(dir.path()).unwrap_err().code(), "IDENTITY_UNREADABLE");
    std::fs::write(&chain, good).unwrap();
    std::fs::remove_file(dir.path().join("identity.key")).unwrap();
    EdgeKey::load_or_create(dir.path()).unwrap();
    assert_eq!(Identity::load(dir.path()).unwrap_err().code(), "IDENTITY_OTHER_KEY");
}
