use hawser_proto::agent::v1::agent_message::Message as FromAgent;
use hawser_proto::agent::v1::controller_message::Message as ToAgent;
use hawser_proto::agent::v1::*;
use hawser_proto::operator::v1::*;
use tonic::{Code, Status, Streaming};

use crate::harness::*;

async fn record(lab: &Lab, site: &str) -> Result<Streaming<RecordPart>, Status> {
    let asked = RecordRequest { site: site.into(), since_unix_ms: 5, until_unix_ms: 9 };
    lab.operator().await.record(asked).await.map(tonic::Response::into_inner)
}

async fn question(agent: &mut Agent) -> HistoryRequest {
    match agent.next().await {
        ToAgent::HistoryRequest(request) => request,
        other => panic!("no question but {other:?}"),
    }
}

async fn ready(lab: &Lab, edge: &str) -> Agent {
    let keys = lab.enrol(edge).await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    agent.generation().await;
    agent
}

fn chunk(id: u64, blocks: &[u8], cursor: &[u8]) -> HistoryChunk {
    HistoryChunk { id, blocks: blocks.to_vec(), cursor: cursor.to_vec(), fault: None }
}

#[tokio::test]
async fn a_history_comes_piece_by_piece_from_the_edge_that_was_asked() {
    let lab = Lab::with_fleet().await;
    let mut b1 = ready(&lab, "b1-1").await;
    let b2 = ready(&lab, "b2-1").await;
    let mut parts = record(&lab, "b1").await.unwrap();
    let next = tokio::spawn(async move { (parts.message().await, parts) });
    let first = question(&mut b1).await;
    assert_eq!((first.since_unix_ms, first.until_unix_ms, first.cursor.len()), (5, 9, 0));
    // Another edge's answer, and one to nothing that was asked, are no answers.
    b2.say(FromAgent::HistoryChunk(chunk(first.id, b"forged", b""))).await;
    b1.say(FromAgent::HistoryChunk(chunk(first.id + 1_000, b"stray", b""))).await;
    b1.say(FromAgent::HistoryChunk(chunk(first.id, b"one", b"here"))).await;
    let (part, mut parts) = next.await.unwrap();
    let part = part.unwrap().unwrap();
    assert_eq!((&*part.edge, &*part.blocks), ("b1-1", &b"one"[..]));
    let next = tokio::spawn(async move { (parts.message().await, parts) });
    let second = question(&mut b1).await;
    assert_eq!(second.cursor, b"here");
    b1.say(FromAgent::HistoryChunk(chunk(second.id, b"two", b""))).await;
    let (part, mut parts) = next.await.unwrap();
    assert_eq!(part.unwrap().unwrap().blocks, b"two");
    assert!(parts.message().await.unwrap().is_none());
    eventually("what was not asked for is counted", async || {
        let status = lab.operator().await.get_status(GetStatusRequest {}).await;
        status.unwrap().into_inner().counters.get("history_chunks_dropped") == Some(&2)
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_has_no_history_says_why_and_one_that_is_away_is_named() {
    let lab = Lab::with_fleet().await;
    let away = record(&lab, "b1").await.unwrap().message().await.unwrap_err();
    assert_eq!(away.code(), Code::Aborted);
    assert!(away.message().starts_with("EDGE_AWAY: edge \"b1-1\""), "{away}");
    let unknown = record(&lab, "nowhere").await.unwrap_err();
    assert!(unknown.message().starts_with("SITE_UNKNOWN: "), "{unknown}");
    let mut b1 = ready(&lab, "b1-1").await;
    let mut parts = record(&lab, "b1").await.unwrap();
    let next = tokio::spawn(async move { parts.message().await });
    let id = question(&mut b1).await.id;
    let fault = Fault {
        code: "HISTORY_EMPTY".into(),
        message: "this agent has no probe history yet".into(),
        mend: "wait a minute".into(),
        ..Default::default()
    };
    let refused = HistoryChunk { id, fault: Some(fault), ..Default::default() };
    b1.say(FromAgent::HistoryChunk(refused)).await;
    let error = next.await.unwrap().unwrap_err();
    assert_eq!(
        error.message(),
        "AGENT_REFUSED: edge \"b1-1\" says HISTORY_EMPTY: this agent has no probe history yet; \
         wait a minute"
    );
}
