use hawser_proto::agent::v1::agent_message::Message as FromAgent;
use hawser_proto::agent::v1::controller_message::Message as ToAgent;
use hawser_proto::agent::v1::*;
use hawser_proto::config::v1::{EdgeConfig, GenerationId};
use prost::Message as _;
use tonic::Code;

use crate::harness::*;

#[tokio::test]
async fn an_edge_gets_its_generation_acknowledges_it_and_is_confirmed_by_the_next_stream() {
    let lab = Lab::with_fleet().await;
    let keys = lab.enrol("hq-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    let welcome = agent.welcome.clone().unwrap();
    assert_eq!(welcome.confirmed, None);
    assert_eq!(welcome.telemetry_interval_ms, 200);
    assert!(welcome.observed_address.starts_with("127.0.0.1:"));

    let generation = agent.generation().await;
    let id = generation.id.unwrap();
    assert_eq!((id.epoch, id.number, generation.revision), (1, 1, 1));
    let config = EdgeConfig::decode(&generation.config[..]).unwrap();
    assert_eq!((&*config.edge, config.tunnels.len()), ("hq-1", 2));
    assert_eq!(config.controllers, ["127.0.0.1:4511"]);
    let digest = ring::digest::digest(&ring::digest::SHA256, &generation.config);
    assert_eq!(generation.config_sha256, digest.as_ref());
    agent.say(FromAgent::Ack(Ack { id: Some(id) })).await;
    lab.event("GENERATION_ACKED").await;

    let mut fresh = lab.connect(&keys, applied(Some(id))).await;
    assert_eq!(fresh.welcome.clone().unwrap().confirmed, Some(id));
    fresh.hears_nothing().await;
    let status = lab.edge_status("hq-1").await;
    assert!(status.connected && status.enrolled);
    assert_eq!(status.generations.unwrap().confirmed, Some(id));
    assert_eq!(status.desired, Some(id));
}

#[tokio::test]
async fn a_newer_stream_of_an_edge_ends_the_older() {
    let lab = Lab::with_fleet().await;
    let keys = lab.enrol("hq-1").await;
    let mut old = lab.connect(&keys, GenerationState::default()).await;
    old.generation().await;
    let mut new = lab.connect(&keys, GenerationState::default()).await;
    assert_eq!(old.refusal().await.code, "SUPERSEDED");
    assert_eq!(old.try_next().await, None);
    new.generation().await;
    assert!(lab.edge_status("hq-1").await.connected);
}

#[tokio::test]
async fn a_change_is_pushed_to_those_it_concerns_and_no_change_to_nobody() {
    let lab = Lab::with_fleet().await;
    let mut agents = Vec::new();
    for edge in ["hq-1", "b1-1", "b2-1"] {
        let keys = lab.enrol(edge).await;
        let mut agent = lab.connect(&keys, GenerationState::default()).await;
        agent.take_generation().await;
        agents.push(agent);
    }
    let same = lab.apply(&fleet(&[])).await;
    assert!(same.unchanged && same.changed.is_empty());
    assert_eq!(same.revision, 1);
    let reworded = format!("# a remark\n{}", fleet(&[]));
    assert!(lab.apply(&reworded).await.unchanged);
    for agent in &mut agents {
        agent.hears_nothing().await;
    }

    let changed = lab.apply(&fleet(&[("cost: 21", "cost: 99")])).await;
    let names: Vec<&str> = changed.changed.iter().map(|c| &*c.edge).collect();
    assert_eq!((changed.revision, names), (2, vec!["b1-1"]));
    let generation = agents[1].generation().await;
    assert_eq!((number(generation.id), generation.revision), (2, 2));
    agents[0].hears_nothing().await;
    agents[2].hears_nothing().await;

    let changed = lab.apply(&fleet(&[("10.2.0.0/24", "10.9.0.0/24")])).await;
    assert_eq!(changed.changed.len(), 3);
    for (agent, expected) in agents.iter_mut().zip([2, 3, 2]) {
        assert_eq!(number(agent.generation().await.id), expected);
    }
}

#[tokio::test]
async fn an_edge_that_returns_gets_what_it_missed() {
    let lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    let first = agent.take_generation().await;
    lab.event("GENERATION_ACKED").await;
    drop(agent);
    lab.event("EDGE_DISCONNECTED").await;
    lab.apply(&fleet(&[("cost: 21", "cost: 99")])).await;
    let mut agent = lab.connect(&keys, applied(first.id)).await;
    assert_eq!(agent.welcome.clone().unwrap().confirmed, None);
    assert_eq!(number(agent.generation().await.id), 2);
}

#[tokio::test]
async fn a_rejected_generation_is_shown_with_its_faults_and_not_offered_again() {
    let mut lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    let id = agent.generation().await.id;
    let fault = Fault {
        code: "INTERFACE_MISSING".into(),
        path: "uplinks[0].interface".into(),
        message: "there is no wan0".into(),
        mend: "name an interface that exists".into(),
    };
    let nack = Nack { id, kind: NackKind::Rejected.into(), faults: vec![fault.clone()] };
    agent.say(FromAgent::Nack(nack)).await;
    lab.event("GENERATION_NACKED").await;
    agent.hears_nothing().await;
    assert_eq!(lab.edge_status("b1-1").await.last_nack, std::slice::from_ref(&fault));

    lab.restart().await;
    assert_eq!(lab.edge_status("b1-1").await.last_nack, [fault]);
    let state = GenerationState {
        highest_seen: id,
        refused: vec![RefusedGeneration { id, kind: NackKind::Rejected.into() }],
        ..Default::default()
    };
    let mut agent = lab.connect(&keys, state).await;
    agent.hears_nothing().await;
    lab.apply(&fleet(&[("cost: 21", "cost: 99")])).await;
    agent.take_generation().await;
    eventually("the fault is forgotten", async || {
        lab.edge_status("b1-1").await.last_nack.is_empty()
    })
    .await;
}

#[tokio::test]
async fn an_unconfirmed_generation_is_offered_once_more_under_a_new_name() {
    let lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    let first = agent.take_generation().await;
    let unconfirmed =
        |id| FromAgent::Nack(Nack { id, kind: NackKind::Unconfirmed.into(), faults: Vec::new() });
    agent.say(unconfirmed(first.id)).await;
    let second = agent.take_generation().await;
    assert_eq!(number(second.id), 2);
    assert_eq!(second.config, first.config);
    agent.say(unconfirmed(second.id)).await;
    agent.hears_nothing().await;
}

#[tokio::test]
async fn an_agent_that_has_seen_more_than_the_controller_gets_a_number_above_it() {
    let lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    let seen = GenerationId { epoch: 1, number: 41 };
    let mut agent = lab.connect(&keys, applied(Some(seen))).await;
    assert_eq!(agent.welcome.clone().unwrap().confirmed, None);
    assert_eq!(number(agent.generation().await.id), 42);
}

#[tokio::test]
async fn hello_must_name_the_certificates_own_edge_and_fleet() {
    let lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    for (fleet, edge, major, code) in [
        ("acme", "hq-1", 1, "EDGE_MISMATCH"),
        ("other", "b1-1", 1, "FLEET_MISMATCH"),
        ("acme", "b1-1", 2, "PROTOCOL_UNSUPPORTED"),
    ] {
        let mut hello = hello(fleet, edge, GenerationState::default());
        hello.protocol_major = major;
        let mut agent = lab.open(Some(&keys), hello).await.unwrap();
        assert_eq!(agent.refusal().await.code, code);
        assert_eq!(agent.try_next().await, None);
    }
    lab.event("EDGE_MISMATCH").await;
    lab.event("FLEET_MISMATCH").await;
    assert!(!lab.edge_status("hq-1").await.connected);
    assert!(!lab.edge_status("b1-1").await.connected);
}

#[tokio::test]
async fn without_a_certificate_or_with_one_of_another_fleet_there_is_no_session() {
    let lab = Lab::with_fleet().await;
    let hello = || hello("acme", "hq-1", GenerationState::default());
    let Err(refused) = lab.open(None, hello()).await else {
        panic!("a session without a certificate");
    };
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().starts_with("CERTIFICATE_MISSING: "), "{refused}");

    let other = Lab::with_fleet().await;
    let foreign = other.enrol("hq-1").await;
    assert!(lab.open(Some(&foreign), hello()).await.is_err());
    lab.event("TLS_CERTIFICATE_REFUSED").await;
    assert!(!lab.edge_status("hq-1").await.connected);
}

#[tokio::test]
async fn an_edge_enrolled_anew_ends_the_session_of_its_old_key() {
    let lab = Lab::with_fleet().await;
    let old = lab.enrol("hq-1").await;
    let mut agent = lab.connect(&old, GenerationState::default()).await;
    agent.generation().await;
    lab.enrol("hq-1").await;
    lab.event("EDGE_KEY_CHANGED").await;
    // Whichever of the two it hears first.
    let code = agent.refusal().await.code;
    assert!(["SUPERSEDED", "CERTIFICATE_REVOKED"].contains(&&*code), "{code}");
    let hello = hello("acme", "hq-1", GenerationState::default());
    let mut again = lab.open(Some(&old), hello).await.unwrap();
    assert_eq!(again.refusal().await.code, "CERTIFICATE_REVOKED");
}

#[tokio::test]
async fn an_edge_that_leaves_the_fleet_is_told_and_its_numbers_never_come_back() {
    let lab = Lab::with_fleet().await;
    let keys = lab.enrol("b2-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    let before = agent.take_generation().await;
    let start = fleet(&[]).find("  - name: b2").unwrap();
    let end = fleet(&[]).find("topologies:").unwrap();
    let mut without = fleet(&[]);
    without.replace_range(start..end, "");
    lab.apply(&without).await;
    assert_eq!(agent.refusal().await.code, "EDGE_UNKNOWN");
    let back = lab.apply(&fleet(&[])).await;
    let id = back.changed.iter().find(|c| c.edge == "b2-1").unwrap().id;
    assert!(number(id) > number(before.id));
    let mut agent = lab.connect(&keys, applied(before.id)).await;
    assert_eq!(agent.generation().await.id, id);
}

#[tokio::test]
async fn agents_are_told_when_the_controller_stops() {
    let mut lab = Lab::with_fleet().await;
    let keys = lab.enrol("hq-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    agent.generation().await;
    let running = lab.running.take().unwrap();
    let (stopped, told) = tokio::join!(running.stop(), agent.next());
    stopped.unwrap();
    let ToAgent::Refusal(refusal) = told else {
        panic!("{told:?}");
    };
    assert_eq!(refusal.code, "CONTROLLER_STOPPING");
}
