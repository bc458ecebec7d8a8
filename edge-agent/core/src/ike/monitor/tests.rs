use std::collections::{BTreeMap, BTreeSet};

use super::*;

const NOW: Micros = Micros(1_000_000);

fn watched(start: Start) -> Watched {
    Watched { start, children: BTreeSet::from(["net".to_owned()]), blocked: None }
}

fn monitor(start: Start) -> Monitor {
    let mut monitor = Monitor::default();
    let wanted = BTreeMap::from([("dc".to_owned(), watched(start))]);
    assert_eq!(monitor.configure(&wanted, NOW), []);
    monitor
}

fn child(unique_id: u64, octets: u64) -> ChildSa {
    let (name, state) = ("net".to_owned(), "INSTALLED".to_owned());
    ChildSa {
        name,
        state,
        unique_id,
        bytes_in: octets,
        bytes_out: 2 * octets,
        ..ChildSa::default()
    }
}

fn sa(state: &str, children: Vec<ChildSa>) -> IkeSa {
    let connection = "hawser-dc".to_owned();
    IkeSa { connection, state: state.to_owned(), children, ..IkeSa::default() }
}

fn sample(monitor: &Monitor) -> Sample {
    monitor.samples().next().expect("one").clone()
}

fn after(seconds: u64) -> Micros {
    NOW + Duration::from_secs(seconds)
}

#[test]
fn a_tunnel_comes_up_goes_down_and_says_so_once() {
    let mut monitor = monitor(Start::Now);
    let codes = |changes: Vec<Change>| changes.iter().map(|c| c.code).collect::<Vec<_>>();
    assert_eq!(codes(monitor.observe(&[], NOW)), [""; 0]);
    assert_eq!(sample(&monitor).state, State::Connecting);
    monitor.observe(&[sa("ESTABLISHED", vec![])], after(1));
    assert_eq!(sample(&monitor).state, State::Authenticated);
    let up = [sa("ESTABLISHED", vec![child(1, 10)])];
    assert_eq!(codes(monitor.observe(&up, after(2))), ["IKE_UP"]);
    assert_eq!(codes(monitor.observe(&up, after(3))), [""; 0]);
    assert_eq!((sample(&monitor).state, sample(&monitor).since), (State::Up, after(2)));
    assert_eq!(codes(monitor.observe(&[], after(4))), ["IKE_DOWN"]);
    let other = IkeSa { connection: "dc".into(), ..up[0].clone() };
    assert_eq!(codes(monitor.observe(&[other], after(5))), [""; 0], "another's of the same name");
}

#[test]
fn counters_go_on_over_a_rekey_and_a_loss() {
    let mut monitor = monitor(Start::Now);
    monitor.observe(&[sa("ESTABLISHED", vec![child(1, 10)])], NOW);
    monitor.observe(&[sa("ESTABLISHED", vec![child(1, 30), child(2, 1)])], NOW);
    monitor.observe(&[sa("ESTABLISHED", vec![child(2, 5)])], NOW);
    assert_eq!(sample(&monitor).rekeys, 1);
    assert_eq!((sample(&monitor).traffic.rx_bytes, sample(&monitor).traffic.tx_bytes), (35, 70));
    monitor.observe(&[], NOW);
    monitor.observe(&[sa("ESTABLISHED", vec![child(3, 1)])], NOW);
    assert_eq!((sample(&monitor).traffic.rx_bytes, sample(&monitor).rekeys), (36, 1));
}

#[test]
fn what_charon_gave_up_is_tried_again_ever_more_seldom() {
    let mut monitor = monitor(Start::Now);
    let (mut at, mut tried) = (0, Vec::new());
    while at < 600 {
        monitor.observe(&[], after(at));
        if let [attempt] = monitor.attempts(after(at), || u32::MAX).as_slice() {
            assert_eq!((attempt.connection.as_str(), attempt.child.as_str()), ("hawser-dc", "net"));
            tried.push(at);
        }
        at += 1;
    }
    let gaps: Vec<u64> = tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(tried[0], 2);
    assert_eq!(gaps[..6], [4, 8, 16, 32, 60, 60]);
    assert_eq!(sample(&monitor).retries, tried.len() as u64);
    // While charon is at it, it is left alone; once it was up, waits are short again.
    monitor.observe(&[sa("CONNECTING", vec![])], after(600));
    assert_eq!((monitor.next_attempt(), monitor.attempts(after(700), || 0)), (None, vec![]));
    monitor.observe(&[sa("ESTABLISHED", vec![child(1, 1)])], after(700));
    assert_eq!(monitor.next_attempt(), None);
    monitor.observe(&[], after(701));
    assert_eq!(monitor.next_attempt(), Some(after(703)));
}

#[test]
fn a_trap_waits_for_its_packet_and_is_never_tried_for() {
    let mut monitor = monitor(Start::Trap);
    monitor.observe(&[], NOW);
    assert_eq!(sample(&monitor).state, State::Waiting);
    assert_eq!((monitor.next_attempt(), monitor.attempts(after(999), || 0)), (None, vec![]));
    monitor.observe(&[sa("ESTABLISHED", vec![child(1, 1)])], NOW);
    assert_eq!(sample(&monitor).state, State::Up);
}

#[test]
fn what_blocks_is_told_once_and_goes() {
    let mut monitor = monitor(Start::Now);
    let blocked =
        Blocked { code: "IKE_SECRET_MISSING", message: "no key".into(), mend: "m".into() };
    let blocked = Watched { blocked: Some(blocked), ..watched(Start::Now) };
    let wanted = BTreeMap::from([("dc".to_owned(), blocked)]);
    assert_eq!(monitor.configure(&wanted, NOW)[0].code, "IKE_SECRET_MISSING");
    assert_eq!(monitor.configure(&wanted, NOW), []);
    monitor.observe(&[], after(9));
    assert_eq!((sample(&monitor).state, monitor.next_attempt()), (State::Blocked, None));
    assert_eq!(sample(&monitor).reason, "no key");
    let wanted = BTreeMap::from([("dc".to_owned(), watched(Start::Now))]);
    assert_eq!(monitor.configure(&wanted, after(10)), []);
    assert_eq!((sample(&monitor).state, sample(&monitor).reason.as_str()), (State::Connecting, ""));
    monitor.configure(&BTreeMap::new(), after(11));
    assert_eq!(monitor.samples().count(), 0);
}

#[test]
fn charons_log_says_why() {
    let mut monitor = monitor(Start::Now);
    monitor.observe(&[], NOW);
    let refused = "received AUTHENTICATION_FAILED notify error";
    for quiet in
        ["establishing CHILD_SA net{1}", "received MOBIKE_SUPPORTED notify", "parsed IKE_AUTH"]
    {
        assert_eq!(monitor.heard("hawser-dc", quiet), None, "{quiet}");
    }
    assert_eq!(monitor.heard("other", refused), None);
    let change = monitor.heard("hawser-dc", refused).expect("told");
    assert_eq!((change.code, change.message.as_str()), ("IKE_FAILED", refused));
    assert_eq!(monitor.heard("hawser-dc", refused), None, "told once");
    assert_eq!(sample(&monitor).reason, refused);
    let codes = ["(2/0)", "(3/0)"].map(|n| {
        monitor.heard("hawser-dc", &format!("peer not responding, trying again {n}")).is_some()
    });
    assert_eq!(codes, [true, false], "the same with another number is no news");
    assert_eq!(sample(&monitor).reason, "peer not responding, trying again (3/0)");
    assert_eq!(monitor.heard("hawser-dc", refused), None);
    monitor.observe(&[sa("ESTABLISHED", vec![child(1, 1)])], NOW);
    assert_eq!(sample(&monitor).reason, "");
}
