use hawser_proto::agent::v1::agent_message::Message as FromAgent;
use hawser_proto::agent::v1::controller_message::Message as ToAgent;
use hawser_proto::agent::v1::*;
use hawser_proto::operator::v1::*;

use crate::harness::*;

fn decision(sequence: u64, unix_ms: u64, class: &str) -> Decision {
    Decision {
        sequence,
        unix_ms,
        peer_edge: "hq-1".into(),
        tunnel_id: 1,
        traffic_class: class.into(),
        cause: "PATH_DOWN".into(),
        boot_id: "boot".into(),
        ..Default::default()
    }
}

fn explained(unix_ms: u64, class: &str, summary: &str) -> FromAgent {
    let explanation = Explanation {
        tunnel_id: 1,
        peer_edge: "hq-1".into(),
        traffic_class: class.into(),
        summary: summary.into(),
        ..Default::default()
    };
    let explanations = vec![explanation];
    FromAgent::Telemetry(Telemetry { unix_ms, explanations, ..Default::default() })
}

async fn explain(lab: &Lab, asked: ExplainRequest) -> ExplainResponse {
    lab.operator().await.explain(asked).await.expect("an explanation").into_inner()
}

fn at(at_unix_ms: u64) -> ExplainRequest {
    ExplainRequest { site: "b1".into(), at_unix_ms, ..Default::default() }
}

/// Decisions at 10 s and 20 s, and what was said around them.
async fn with_history(lab: &Lab) -> Agent {
    let keys = lab.enrol("b1-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    agent.generation().await;
    for (unix_ms, summary) in [(11_000, "first"), (15_000, "second"), (25_000, "third")] {
        agent.say(explained(unix_ms, "voice", summary)).await;
    }
    let decisions = vec![decision(1, 10_000, "voice"), decision(2, 20_000, "voice")];
    agent.say(FromAgent::Decisions(Decisions { decisions })).await;
    assert!(matches!(agent.next().await, ToAgent::DecisionsAck(_)));
    agent
}

#[tokio::test]
async fn a_moment_is_explained_by_what_was_in_force_and_what_was_said_then() {
    let lab = Lab::with_fleet().await;
    let _agent = with_history(&lab).await;
    let table = [
        (5_000, None, Some(1), None),
        (12_000, Some(1), Some(2), Some("first")),
        (14_000, Some(1), Some(2), Some("second")),
        (19_999, Some(1), Some(2), Some("second")),
        // What was said before the move says nothing of what came after it.
        (20_000, Some(2), None, Some("third")),
        (0, Some(2), None, Some("third")),
    ];
    for (moment, in_force, next, said) in table {
        let answer = explain(&lab, at(moment)).await;
        assert_eq!(answer.accounts.len(), 1, "{moment}");
        let account = &answer.accounts[0];
        let names = (&*account.edge, &*account.peer_edge, &*account.peer_site);
        assert_eq!(names, ("b1-1", "hq-1", "hq"));
        let sequence = |d: &Option<Decision>| d.as_ref().map(|d| d.sequence);
        let found = account.explanation.as_ref().map(|e| e.summary.as_str());
        let all = (sequence(&account.in_force), sequence(&account.next), found);
        assert_eq!(all, (in_force, next, said), "{moment}");
        assert_eq!(answer.remembered_since_unix_ms, 11_000);
    }
}

#[tokio::test]
async fn accounts_are_chosen_by_peer_and_class_and_bounded() {
    let lab = Lab::with_fleet().await;
    let agent = with_history(&lab).await;
    agent.say(explained(26_000, "bulk", "other")).await;
    eventually("both classes are known", async || explain(&lab, at(0)).await.accounts.len() == 2)
        .await;
    let count = async |peer: &str, class: &str| {
        let (peer, traffic_class) = (peer.into(), class.into());
        explain(&lab, ExplainRequest { peer, traffic_class, ..at(0) }).await.accounts.len()
    };
    for (peer, class, expected) in
        [("hq", "", 2), ("hq-1", "bulk", 1), ("b2", "", 0), ("", "voice", 1), ("", "nothing", 0)]
    {
        assert_eq!(count(peer, class).await, expected, "{peer} {class}");
    }
    let one = explain(&lab, ExplainRequest { limit: 1, ..at(0) }).await;
    assert_eq!((one.accounts.len(), one.left_out), (1, 1));
    assert_eq!(one.accounts[0].traffic_class, "voice", "what was decided last comes first");
    let nowhere = ExplainRequest { site: "nowhere".into(), ..Default::default() };
    let unknown = lab.operator().await.explain(nowhere).await.unwrap_err();
    assert!(unknown.message().starts_with("SITE_UNKNOWN: "), "{unknown}");
}

#[tokio::test]
async fn decisions_about_next_hops_are_told_apart_by_their_prefixes() {
    let lab = Lab::with_fleet().await;
    let mut agent = with_history(&lab).await;
    let hop = |sequence, unix_ms, prefix: &str| Decision {
        prefixes: vec![prefix.into()],
        to_next_hop: "hq-1".into(),
        ..decision(sequence, unix_ms, "")
    };
    let decisions = vec![
        hop(3, 30_000, "10.0.0.0/8"),
        hop(4, 31_000, "10.9.0.0/16"),
        hop(5, 40_000, "10.0.0.0/8"),
    ];
    agent.say(FromAgent::Decisions(Decisions { decisions })).await;
    assert!(matches!(agent.next().await, ToAgent::DecisionsAck(_)));
    let sequences = async |moment| {
        let answer = explain(&lab, at(moment)).await;
        assert_eq!(answer.accounts.len(), 1);
        answer.next_hops.into_iter().map(|d| d.sequence).collect::<Vec<_>>()
    };
    assert_eq!(sequences(0).await, [5, 4, 3]);
    assert_eq!(sequences(30_500).await, [5, 4, 3], "in force, and the first ones after it");
    assert_eq!(sequences(50_000).await, [5, 4]);
}

#[tokio::test]
async fn an_agent_is_told_which_of_its_decisions_are_known_so_that_a_restart_loses_none() {
    let mut lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    agent.generation().await;
    let held = |agent: &Agent| agent.welcome.as_ref().unwrap().decisions_held.clone().unwrap();
    let ack = |sequence| DecisionsAck { boot_id: "boot".into(), sequence };
    assert_eq!(held(&agent), ack(0));
    let decisions = vec![decision(7, 1, "voice")];
    agent.say(FromAgent::Decisions(Decisions { decisions })).await;
    assert!(matches!(agent.next().await, ToAgent::DecisionsAck(_)));
    let again = lab.connect(&keys, GenerationState::default()).await;
    assert_eq!(held(&again), ack(7));
    lab.restart().await;
    let after = lab.connect(&keys, GenerationState::default()).await;
    assert_eq!(held(&after), ack(0));
}

#[tokio::test]
async fn the_slow_loop_says_that_it_runs_and_that_nothing_is_wrong() {
    let lab = Lab::with_fleet().await;
    let answer = lab.operator().await.list_advice(ListAdviceRequest {}).await;
    let answer = answer.unwrap().into_inner();
    assert_eq!((&*answer.mode, answer.troubles.len(), answer.advice.len()), ("on", 0, 0));
    assert_eq!(answer.counters["given"], 0);
}
