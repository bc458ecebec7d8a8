//! Staged rollouts with the real controller; the agents here say what a test wants them to say.

use hawser_proto::agent::v1::agent_message::Message as FromAgent;
use hawser_proto::agent::v1::*;
use hawser_proto::config::v1::GenerationId;
use hawser_proto::operator::v1::*;

use crate::harness::*;

const EDGES: [&str; 3] = ["b1-1", "b2-1", "hq-1"];

/// Every edge connected, with the first generation confirmed.
async fn connected(lab: &Lab) -> (Vec<EdgeKeys>, Vec<Agent>) {
    let (mut keys, mut agents) = (Vec::new(), Vec::new());
    for edge in EDGES {
        let own = lab.enrol(edge).await;
        let mut agent = lab.connect(&own, GenerationState::default()).await;
        let id = agent.take_generation().await.id;
        agents.push(lab.connect(&own, confirmed(id)).await);
        keys.push(own);
    }
    (keys, agents)
}

fn confirmed(id: Option<GenerationId>) -> GenerationState {
    GenerationState { highest_seen: id, applied: id, confirmed: id, ..Default::default() }
}

/// A change that concerns every edge, as short a wait as there is.
fn staged(confirm_within_s: u32) -> ApplyRequest {
    ApplyRequest {
        document: fleet(&[("max_rtt_ms: 300", "max_rtt_ms: 299")]).into_bytes(),
        rollout: Some(RolloutPolicy { soak_s: 1, confirm_within_s, ..Default::default() }),
        ..Default::default()
    }
}

async fn rollout(lab: &Lab) -> Rollout {
    lab.operator().await.get_rollout(GetRolloutRequest {}).await.unwrap().into_inner()
}

async fn phase(lab: &Lab, wanted: &str) {
    eventually(&format!("phase {wanted}"), async || rollout(lab).await.phase == wanted).await;
}

/// The agent applies what comes, and connects anew to have it confirmed.
async fn follows(lab: &Lab, keys: &EdgeKeys, agent: &mut Agent) {
    let id = agent.take_generation().await.id;
    *agent = lab.connect(keys, applied(id)).await;
    assert_eq!(agent.welcome.clone().unwrap().confirmed, id);
}

#[tokio::test]
async fn a_revision_goes_wave_by_wave_the_hub_last() {
    let lab = Lab::with_fleet().await;
    let (keys, mut agents) = connected(&lab).await;
    let applied = lab.operator().await.apply(staged(0)).await.unwrap().into_inner();
    let first: Vec<&str> = applied.changed.iter().map(|c| &*c.edge).collect();
    assert_eq!(first, ["b1-1"]);
    let begun = applied.rollout.unwrap();
    assert_eq!((begun.waves, begun.wave, &*begun.phase), (3, 1, "settling"));
    agents[1].hears_nothing().await;

    let refused = lab.operator().await.apply(staged(0)).await.unwrap_err();
    assert!(refused.message().starts_with("ROLLOUT_RUNS: "), "{refused}");
    for wave in 0..3 {
        follows(&lab, &keys[wave], &mut agents[wave]).await;
    }
    phase(&lab, "done").await;
    let done = rollout(&lab).await;
    assert!(done.edges.iter().all(|edge| edge.state == "confirmed"), "{done:?}");
    let status = lab.operator().await.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.revision, status.edges_converged), (2, 3));
}

#[tokio::test]
async fn a_canary_that_rejects_it_halts_it_and_nobody_else_has_seen_it() {
    let lab = Lab::with_fleet().await;
    let (_, mut agents) = connected(&lab).await;
    lab.operator().await.apply(staged(0)).await.unwrap();
    let id = agents[0].generation().await.id;
    let nack = Nack { id, kind: NackKind::Rejected.into(), faults: Vec::new() };
    agents[0].say(FromAgent::Nack(nack)).await;
    phase(&lab, "rolled-back").await;
    let ended = rollout(&lab).await;
    assert!(ended.reason.contains("b1-1 rejected it"), "{ended:?}");
    let back = agents[0].take_generation().await;
    assert!(number(back.id) > number(id));
    assert_eq!(
        decode(&back).sla_classes.iter().find(|s| s.name == "business").unwrap().max_rtt_us,
        300_000
    );
    agents[1].hears_nothing().await;
    agents[2].hears_nothing().await;
    lab.event("ROLLOUT_ROLLED_BACK").await;
    let read =
        lab.operator().await.get_fleet(GetFleetRequest { revision: 0 }).await.unwrap().into_inner();
    assert_eq!((read.revision, read.document), (3, fleet(&[]).into_bytes()));
}

#[tokio::test]
async fn a_canary_that_lost_the_controller_with_it_halts_it() {
    let lab = Lab::with_fleet().await;
    let (keys, mut agents) = connected(&lab).await;
    lab.operator().await.apply(staged(0)).await.unwrap();
    let before = Some(GenerationId { epoch: 1, number: 1 });
    let id = agents[0].take_generation().await.id;
    lab.event("GENERATION_ACKED").await;
    // It went dark, went back after 90 s by itself, and is here again.
    let returned = GenerationState {
        highest_seen: id,
        refused: vec![RefusedGeneration { id, kind: NackKind::Unconfirmed.into() }],
        ..confirmed(before)
    };
    agents[0] = lab.connect(&keys[0], returned).await;
    phase(&lab, "rolled-back").await;
    let back = agents[0].take_generation().await;
    assert!(number(back.id) > number(id), "the same is not offered again: {back:?}");
    assert_eq!(
        decode(&back).sla_classes.iter().find(|s| s.name == "business").unwrap().max_rtt_us,
        300_000
    );
    agents[1].hears_nothing().await;
}

#[tokio::test]
async fn a_controller_that_was_away_blames_nobody_and_the_rollout_goes_on() {
    let mut lab = Lab::with_fleet().await;
    let (keys, mut agents) = connected(&lab).await;
    lab.operator().await.apply(staged(0)).await.unwrap();
    let before = Some(GenerationId { epoch: 1, number: 1 });
    let id = agents[0].take_generation().await.id;
    lab.event("GENERATION_ACKED").await;
    drop(agents);
    lab.restart().await;
    assert_eq!(rollout(&lab).await.phase, "settling");
    let returned = GenerationState {
        highest_seen: id,
        refused: vec![RefusedGeneration { id, kind: NackKind::Unconfirmed.into() }],
        ..confirmed(before)
    };
    let mut agents = vec![lab.connect(&keys[0], returned).await];
    for own in &keys[1..] {
        agents.push(lab.connect(own, confirmed(before)).await);
    }
    for wave in 0..3 {
        follows(&lab, &keys[wave], &mut agents[wave]).await;
    }
    phase(&lab, "done").await;
}

#[tokio::test]
async fn without_a_confirmation_in_time_everybody_goes_back_and_with_it_nobody() {
    for confirm in [false, true] {
        let lab = Lab::with_fleet().await;
        let (keys, mut agents) = connected(&lab).await;
        lab.operator().await.apply(staged(2)).await.unwrap();
        for wave in 0..3 {
            follows(&lab, &keys[wave], &mut agents[wave]).await;
        }
        phase(&lab, "awaiting-confirmation").await;
        if confirm {
            let asked = ConfirmRolloutRequest {};
            let done = lab.operator().await.confirm_rollout(asked).await.unwrap().into_inner();
            assert_eq!(done.phase, "done");
            let asked = AbortRolloutRequest::default();
            let refused = lab.operator().await.abort_rollout(asked).await.unwrap_err();
            assert!(refused.message().starts_with("NO_ROLLOUT: "), "{refused}");
        } else {
            phase(&lab, "rolled-back").await;
            for agent in &mut agents {
                assert_eq!(agent.take_generation().await.revision, 3);
            }
        }
    }
}

#[tokio::test]
async fn an_operator_takes_it_back_and_what_waits_is_left_alone() {
    let lab = Lab::with_fleet().await;
    let (_, mut agents) = connected(&lab).await;
    lab.operator().await.apply(staged(0)).await.unwrap();
    agents[0].take_generation().await;
    let asked = AbortRolloutRequest { reason: "wrong day".into() };
    let ended = lab.operator().await.abort_rollout(asked).await.unwrap().into_inner();
    assert_eq!((&*ended.phase, &*ended.reason), ("rolled-back", "wrong day"));
    assert_eq!(agents[0].take_generation().await.revision, 3);
    agents[1].hears_nothing().await;
    // The next revision is not in the way of the old one.
    lab.apply(&fleet(&[("cost: 21", "cost: 31")])).await;
}
