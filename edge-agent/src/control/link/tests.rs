use std::path::Path;
use std::time::Duration;

use hawser_edge_core::config::Fault;
use hawser_edge_core::generation::{ApplyReason, RefusedKind};
use hawser_proto::agent::v1 as wire;
use hawser_proto::agent::v1::agent_message::Message as Up;
use hawser_proto::agent::v1::controller_message::Message as Down;
use hawser_proto::config::v1 as config;
use prost::Message as _;
use tempfile::TempDir;

use super::*;
use crate::control::api::Order;
use crate::control::testing::{Ca, Peer, PeerSession, Pipe, edge_config, next, next_order, until};

fn agent(ca: &Ca, state_dir: &Path, controllers: &[&str]) -> Control {
    let controllers: Vec<String> = controllers.iter().map(|c| (*c).to_owned()).collect();
    let identity = ca.identity(state_dir, "b1-1", &controllers);
    start(Arc::new(identity), state_dir, Arc::new(Vec::new)).unwrap()
}

fn wire_id(number: u64) -> config::GenerationId {
    config::GenerationId { epoch: 1, number }
}

/// Generation 1.`number` of this configuration.
fn generation(number: u64, config: &config::EdgeConfig) -> wire::Generation {
    let bytes = config.encode_to_vec();
    wire::Generation {
        id: Some(wire_id(number)),
        revision: number,
        config_sha256: hawser_edge_core::generation::Digest::of(&bytes).0.to_vec(),
        traceparent: String::new(),
        config: bytes.into(),
    }
}

async fn offer(session: &PeerSession, number: u64) {
    session.send(Down::Generation(generation(number, &edge_config()))).await;
}

async fn ordered(control: &mut Control) -> Order {
    match next_order(&mut control.events).await {
        ControlEvent::ApplyGeneration(order) => order,
        other => panic!("no generation to apply but {other:?}"),
    }
}

async fn nack(session: &mut PeerSession) -> (u64, Vec<String>) {
    let nack = session.expect(|m| if let Up::Nack(n) = m { Some(n) } else { None }).await;
    let codes = nack.faults.iter().map(|f| f.code.clone()).collect();
    (nack.id.unwrap().number, codes)
}

fn fault() -> Fault {
    Fault {
        code: "INTERFACE_MISSING",
        path: "uplinks[0].interface".to_owned(),
        message: "there is no wan9".to_owned(),
        mend: "name one that exists".to_owned(),
    }
}

/// A running agent with generation 1.1 confirmed.
async fn confirmed() -> (Ca, TempDir, Peer, Control, PeerSession) {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let mut peer = Peer::start(&ca).await;
    let mut control = agent(&ca, dir.path(), &[&peer.address]);
    let first = peer.session().await;
    first.welcome(None).await;
    offer(&first, 1).await;
    ordered(&mut control).await.reply.send(Ok(())).unwrap();
    let second = peer.session().await;
    second.welcome(Some((1, 1))).await;
    let handle = control.handle.clone();
    until("confirmed", || handle.generations().confirmed_id().is_some()).await;
    (ca, dir, peer, control, second)
}

#[tokio::test]
async fn a_generation_is_confirmed_only_by_a_connection_opened_after_it_was_applied() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let mut peer = Peer::start(&ca).await;
    let mut control = agent(&ca, dir.path(), &[&peer.address]);
    let mut first = peer.session().await;
    assert_eq!((first.hello.fleet.as_str(), first.hello.edge.as_str()), ("acme", "b1-1"));
    assert_eq!(first.hello.generations, Some(wire::GenerationState::default()));
    first.welcome(None).await;
    offer(&first, 1).await;

    let order = ordered(&mut control).await;
    assert_eq!((order.reason, order.state.edge.as_str()), (ApplyReason::Offered, "b1-1"));
    assert_eq!(*order.bytes, *edge_config().encode_to_vec());
    order.reply.send(Ok(())).unwrap();
    let acked = first.expect(|m| if let Up::Ack(ack) = m { ack.id } else { None }).await;
    assert_eq!(acked, wire_id(1));

    // The old session is still there while the new one is not welcomed: make before break.
    let mut second = peer.session().await;
    assert_eq!(second.hello.generations.as_ref().unwrap().applied, Some(wire_id(1)));
    assert_eq!(second.hello.generations.as_ref().unwrap().confirmed, None);
    control.handle.event(wire::AgentEvent { code: "ON_THE_OLD".to_owned(), ..Default::default() });
    let has = |code: &'static str| {
        move |m| match m {
            Up::Events(e) => e.events.iter().any(|e| e.code == code).then_some(()),
            _ => None,
        }
    };
    first.expect(has("ON_THE_OLD")).await;
    assert!(control.handle.generations().provisional.is_some());
    second.welcome(Some((1, 1))).await;

    let handle = control.handle.clone();
    until("confirmed", || handle.generations().confirmed_id().is_some()).await;
    while first.next().await.is_some() {}
    control.handle.event(wire::AgentEvent { code: "ON_THE_NEW".to_owned(), ..Default::default() });
    second.expect(has("ON_THE_NEW")).await;
}

#[tokio::test]
async fn a_rejected_generation_is_reverted_nacked_with_every_fault_and_remembered() {
    let (ca, dir, peer, mut control, mut session) = confirmed().await;
    offer(&session, 2).await;
    ordered(&mut control).await.reply.send(Err(vec![fault(), fault()])).unwrap();
    let ControlEvent::Revert(revert) = next_order(&mut control.events).await else {
        panic!("no revert")
    };
    assert_eq!(revert.to.as_ref().map(|(id, _)| id.number), Some(1));
    revert.reply.send(Ok(())).unwrap();
    let faults = nack(&mut session).await;
    assert_eq!(faults, (2, vec!["INTERFACE_MISSING".to_owned(), "INTERFACE_MISSING".to_owned()]));

    offer(&session, 2).await;
    assert_eq!(nack(&mut session).await, (2, vec!["GENERATION_REJECTED_BEFORE".to_owned()]));

    control.handle.stop();
    control.task.await.unwrap();
    drop(control.events);
    let mut again = agent(&ca, dir.path(), &[&peer.address]);
    let state = again.handle.generations();
    assert_eq!(state.applied_id().map(|id| id.number), Some(1));
    assert_eq!(state.refused.iter().map(|(_, k)| k).collect::<Vec<_>>(), [RefusedKind::Rejected]);
    assert_eq!(ordered(&mut again).await.reason, ApplyReason::Boot);
}

#[tokio::test]
async fn without_any_controller_the_agent_boots_into_what_was_confirmed() {
    let (ca, dir, peer, control, session) = confirmed().await;
    control.handle.stop();
    control.task.await.unwrap();
    drop((peer, session, control.events));
    let mut control = agent(&ca, dir.path(), &["127.0.0.1:9"]);
    let order = match next(&mut control.events).await {
        ControlEvent::ApplyGeneration(order) => order,
        other => panic!("the first event is {other:?}"),
    };
    assert_eq!((order.id.number, order.reason), (1, ApplyReason::Boot));
    assert_eq!(*order.bytes, *edge_config().encode_to_vec());
    order.reply.send(Ok(())).unwrap();
    let handle = control.handle.clone();
    until("attempts failed", || handle.link_status().failed_attempts >= 2).await;
    assert!(handle.link_status().last_error.contains("127.0.0.1:9"));
    assert_eq!(handle.generations().confirmed_id().map(|id| id.number), Some(1));
}

#[tokio::test]
async fn a_generation_that_is_damaged_or_not_for_this_edge_never_reaches_the_engine() {
    let (_ca, _dir, _peer, mut control, mut session) = confirmed().await;
    let mut damaged = generation(2, &edge_config());
    damaged.config_sha256[0] ^= 1;
    let other = generation(3, &config::EdgeConfig { edge: "b2-1".to_owned(), ..edge_config() });
    let mut unreadable = generation(4, &edge_config());
    unreadable.config = vec![0xff; 20].into();
    unreadable.config_sha256 =
        hawser_edge_core::generation::Digest::of(&unreadable.config).0.to_vec();
    let feature = vec!["time-travel".to_owned()];
    let feature =
        generation(5, &config::EdgeConfig { required_features: feature, ..edge_config() });
    let table = [
        (damaged, "GENERATION_CORRUPT", false),
        (other, "GENERATION_OF_OTHER_EDGE", true),
        (unreadable, "GENERATION_UNREADABLE", true),
        (feature, "FEATURE_MISSING", true),
    ];
    for (generation, code, seen) in table {
        let number = generation.id.unwrap().number;
        session.send(Down::Generation(generation)).await;
        assert_eq!(nack(&mut session).await, (number, vec![code.to_owned()]));
        if seen {
            match next_order(&mut control.events).await {
                ControlEvent::Revert(revert) => revert.reply.send(Ok(())).unwrap(),
                other => panic!("{code}: {other:?}"),
            }
        }
    }
    assert_eq!(control.handle.generations().applied_id().map(|id| id.number), Some(1));
}

#[tokio::test]
async fn while_one_generation_is_applied_only_the_newest_offer_waits() {
    let (_ca, _dir, _peer, mut control, session) = confirmed().await;
    offer(&session, 2).await;
    let second = ordered(&mut control).await;
    for number in [3, 4] {
        offer(&session, number).await;
    }
    // Facts come in the same order: once they are here, so are the offers.
    session.send(Down::Facts(wire::Facts { version: 1, ..Default::default() })).await;
    assert!(matches!(next_order(&mut control.events).await, ControlEvent::Facts(_)));
    second.reply.send(Ok(())).unwrap();
    assert_eq!(ordered(&mut control).await.id.number, 4);
}

#[tokio::test]
async fn an_engine_that_drops_the_order_counts_as_a_fault() {
    let (_ca, _dir, _peer, mut control, mut session) = confirmed().await;
    offer(&session, 2).await;
    drop(ordered(&mut control).await);
    assert_eq!(nack(&mut session).await, (2, vec!["APPLY_ABANDONED".to_owned()]));
}

#[tokio::test]
async fn decisions_are_sent_until_they_are_acknowledged() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let mut peer = Peer::start(&ca).await;
    let control = agent(&ca, dir.path(), &[&peer.address]);
    for _ in 0..3 {
        control.handle.decision(wire::Decision::default());
    }
    let decisions = |m| match m {
        Up::Decisions(d) => Some(d.decisions),
        _ => None,
    };
    let mut first = peer.session().await;
    first.welcome(None).await;
    let got = first.expect(decisions).await;
    assert_eq!(got.iter().map(|d| d.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(got.iter().all(|d| d.edge == "b1-1" && d.boot_id == first.hello.boot_id));
    let boot_id = first.hello.boot_id.clone();
    // One of another life of this agent counts for nothing.
    let other = wire::DecisionsAck { boot_id: "before".to_owned(), sequence: 9 };
    first.send(Down::DecisionsAck(other)).await;
    first.send(Down::DecisionsAck(wire::DecisionsAck { boot_id, sequence: 1 })).await;
    let handle = control.handle.clone();
    until("acknowledged", || handle.counters()["control_decisions_waiting"] == 2).await;
    drop(first);

    let mut second = peer.session().await;
    second.welcome(None).await;
    let again = second.expect(decisions).await;
    assert_eq!(again.iter().map(|d| d.sequence).collect::<Vec<_>>(), [2, 3]);
}

#[tokio::test]
async fn facts_are_merged_acknowledged_and_there_after_a_restart() {
    let (ca, dir, mut peer, mut control, mut session) = confirmed().await;
    let endpoint = |uplink_id, at: &str| wire::PeerEndpoint {
        edge_id: 1,
        uplink_id,
        endpoints: vec![at.to_owned()],
    };
    let news = |version, endpoints| wire::Facts { version, endpoints, ..Default::default() };
    for facts in
        [news(1, vec![endpoint(1, "a:1"), endpoint(2, "b:1")]), news(2, vec![endpoint(2, "c:1")])]
    {
        session.send(Down::Facts(facts)).await;
        let acked = session.expect(|m| if let Up::FactsAck(a) = m { Some(a) } else { None }).await;
        let ControlEvent::Facts(merged) = next_order(&mut control.events).await else {
            panic!("no facts")
        };
        assert_eq!(acked.version, merged.version);
    }
    control.handle.stop();
    control.task.await.unwrap();
    drop(control.events);
    let mut control = agent(&ca, dir.path(), &[&peer.address]);
    drop(ordered(&mut control).await);
    let ControlEvent::Facts(merged) = next_order(&mut control.events).await else {
        panic!("no facts")
    };
    assert_eq!(merged.endpoints, [endpoint(1, "a:1"), endpoint(2, "c:1")]);
    assert_eq!(peer.session().await.hello.facts_version, 2);
}

#[tokio::test]
async fn a_refusal_ends_the_attempt_and_is_shown() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let mut peer = Peer::start(&ca).await;
    let control = agent(&ca, dir.path(), &[&peer.address]);
    let refused = peer.session().await;
    let refusal = wire::Refusal {
        code: "EDGE_UNKNOWN".to_owned(),
        message: "no such edge".to_owned(),
        mend: "enrol again".to_owned(),
    };
    refused.send(Down::Refusal(refusal)).await;
    let handle = control.handle.clone();
    until("shown", || handle.link_status().last_error.contains("EDGE_UNKNOWN")).await;
    let again = peer.session().await;
    again.welcome(None).await;
    until("connected", || handle.link_status().connected.is_some()).await;
}

#[tokio::test]
async fn a_wire_that_goes_dead_in_silence_is_left_for_the_next_controller() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let (mut first, mut second) = (Peer::start(&ca).await, Peer::start(&ca).await);
    let pipe = Pipe::to(&first.address).await;
    let _control = agent(&ca, dir.path(), &[&pipe.address, &second.address]);
    first.session().await.welcome(None).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    pipe.cut();
    let cut = std::time::Instant::now();
    second.session().await.welcome(None).await;
    assert!(cut.elapsed() < Duration::from_secs(12), "took {:?}", cut.elapsed());
}

#[tokio::test]
async fn a_controller_that_says_nothing_is_left_for_the_next() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut good = Peer::start(&ca).await;
    let mute_address = mute.local_addr().unwrap().to_string();
    let control = agent(&ca, dir.path(), &[&mute_address, &good.address]);
    good.session().await.welcome(None).await;
    assert_eq!(control.handle.link_status().failed_attempts, 1);
}

#[tokio::test]
async fn a_controller_that_welcomes_nobody_is_left_after_a_while() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let (mut sullen, mut good) = (Peer::start(&ca).await, Peer::start(&ca).await);
    let _control = agent(&ca, dir.path(), &[&sullen.address, &good.address]);
    let _unanswered = sullen.session().await;
    good.session().await.welcome(None).await;
}

#[tokio::test]
async fn a_controller_that_reads_nothing_is_left_and_never_holds_the_engine_up() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let mut peer = Peer::start(&ca).await;
    let control = agent(&ca, dir.path(), &[&peer.address]);
    let stalled = peer.session().await;
    stalled.welcome(None).await;
    let words = "x".repeat(4096);
    for _ in 0..6000 {
        control.handle.decision(wire::Decision { summary: words.clone(), ..Default::default() });
        control.handle.event(wire::AgentEvent { message: words.clone(), ..Default::default() });
    }
    let counters = control.handle.counters();
    assert_eq!(counters["control_decisions_waiting"], 4096);
    assert_eq!(counters["control_decisions_dropped"], 6000 - 4096);
    assert!(counters["control_events_dropped"] > 0);
    // It is left, though its end of the connection answers every ping.
    peer.session().await.welcome(None).await;
    drop(stalled);
}

#[tokio::test]
async fn the_controller_of_another_fleet_is_never_told_anything() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let dir = tempfile::tempdir().unwrap();
    let mut peer = Peer::start(&theirs).await;
    let control = agent(&ours, dir.path(), &[&peer.address]);
    let handle = control.handle.clone();
    until("refused", || handle.link_status().last_error.contains("does not prove")).await;
    assert!(peer.stays_alone(Duration::from_secs(1)).await);
}

#[tokio::test]
async fn a_session_moves_to_the_uplinks_that_the_engine_names() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let mut peer = Peer::start(&ca).await;
    let mut control = agent(&ca, dir.path(), &[&peer.address]);
    let unbound = peer.session().await;
    unbound.welcome(None).await;
    let ControlEvent::Connected(first) = next(&mut control.events).await else { panic!("not up") };
    assert_eq!(first.uplink, None);
    // The first does not exist; the loopback interface does, and reaches the controller.
    control.handle.set_uplinks(vec!["hwnone0".to_owned(), "lo".to_owned()]);
    let bound = peer.session().await;
    bound.welcome(None).await;
    let ControlEvent::Connected(second) = next(&mut control.events).await else { panic!("not up") };
    assert_eq!(second.uplink.as_deref(), Some("lo"));
    assert_eq!(control.handle.link_status().failed_attempts, 1);
}

#[tokio::test]
async fn the_controllers_that_a_generation_names_are_tried_first() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let (mut old, mut new) = (Peer::start(&ca).await, Peer::start(&ca).await);
    let mut control = agent(&ca, dir.path(), &[&old.address]);
    let first = old.session().await;
    first.welcome(None).await;
    let config = config::EdgeConfig { controllers: vec![new.address.clone()], ..edge_config() };
    first.send(Down::Generation(generation(1, &config))).await;
    ordered(&mut control).await.reply.send(Ok(())).unwrap();
    new.session().await.welcome(Some((1, 1))).await;
    let handle = control.handle.clone();
    until("confirmed", || handle.generations().confirmed_id().is_some()).await;
    drop(new);
    // And the one of the enrolment is not forgotten.
    old.session().await.welcome(None).await;
}

#[tokio::test]
async fn what_can_t_be_written_is_not_applied_until_it_can() {
    let (_ca, dir, _peer, mut control, session) = confirmed().await;
    let generations = dir.path().join("generations");
    let moved = dir.path().join("moved");
    std::fs::rename(&generations, &moved).unwrap();
    offer(&session, 2).await;
    let nothing = tokio::time::timeout(Duration::from_secs(1), control.events.recv()).await;
    assert!(matches!(nothing, Err(_) | Ok(Some(ControlEvent::Connected(_)))), "{nothing:?}");
    std::fs::rename(&moved, &generations).unwrap();
    assert_eq!(ordered(&mut control).await.id.number, 2);
}

#[tokio::test]
async fn two_agents_never_share_a_state_directory() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let first = agent(&ca, dir.path(), &["127.0.0.1:9"]);
    let identity = Arc::new(ca.identity(dir.path(), "b1-1", &[]));
    let second = start(identity.clone(), dir.path(), Arc::new(Vec::new));
    assert_eq!(second.err().map(|e| e.code()), Some("STATE_IN_USE"));
    first.handle.stop();
    first.task.await.unwrap();
    assert!(start(identity, dir.path(), Arc::new(Vec::new)).is_ok());
}
