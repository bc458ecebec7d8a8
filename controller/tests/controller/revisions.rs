use hawser_proto::operator::v1::*;
use tonic::Code;

use crate::harness::*;

fn plan_of(document: &str) -> PlanRequest {
    PlanRequest { document: document.as_bytes().to_vec(), revision: 0 }
}

#[tokio::test]
async fn a_plan_tells_what_would_change_and_changes_nothing() {
    let lab = Lab::new("acme").await;
    let mut operator = lab.operator().await;
    let first = operator.plan(plan_of(&fleet(&[]))).await.unwrap().into_inner();
    assert_eq!((first.base_revision, first.unchanged, first.sites.len()), (0, false, 3));
    assert!(first.sites.iter().all(|site| site.action == "made"));
    assert!(first.findings.iter().any(|f| f.code == "HUB_WITHOUT_BACKUP" && f.subject == "hq"));
    assert_eq!(operator.get_status(GetStatusRequest {}).await.unwrap().into_inner().revision, 0);

    lab.apply(&fleet(&[])).await;
    let same = operator.plan(plan_of(&fleet(&[]))).await.unwrap().into_inner();
    assert!(same.unchanged && same.sites.is_empty() && same.blinks.is_empty());
    let moved = fleet(&[(
        "interface: wan0, addresses: [\"192.0.2.11\"]",
        "interface: wan9, addresses: [\"192.0.2.11\"]",
    )]);
    let plan = operator.plan(plan_of(&moved)).await.unwrap().into_inner();
    assert_eq!((plan.base_revision, plan.sites.len(), plan.blinks.len()), (1, 1, 2));
    let change = &plan.sites[0].edges[0].changes[0];
    assert_eq!((&*change.what, &*change.detail), ("uplink isp-a", "interface wan0 → wan9"));
    assert!(plan.blinks.iter().all(|blink| !blink.stops_traffic && blink.about_ms > 0));
    let broken = fleet(&[("hubs: [hq]", "hubs: [nowhere]")]);
    let plan = operator.plan(plan_of(&broken)).await.unwrap().into_inner();
    assert!(!plan.faults.is_empty() && plan.sites.is_empty());
}

#[tokio::test]
async fn a_plan_for_an_empty_fleet_is_refused_once_there_is_a_revision() {
    let lab = Lab::with_fleet().await;
    let asked = ApplyRequest {
        document: fleet(&[("cost: 21", "cost: 31")]).into_bytes(),
        expect_none: true,
        ..Default::default()
    };
    let refused = lab.operator().await.apply(asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert!(refused.message().starts_with("REVISION_CONFLICT: "), "{refused}");
}

#[tokio::test]
async fn a_rollback_is_a_new_revision_with_new_generations() {
    let lab = Lab::with_fleet().await;
    let mut operator = lab.operator().await;
    lab.apply(&fleet(&[("cost: 21", "cost: 31")])).await;
    let asked = |revision, expected_revision| RollbackRequest {
        revision,
        expected_revision,
        ..Default::default()
    };
    for (revision, expected, code) in
        [(7, 0, "REVISION_UNKNOWN"), (1, 9, "REVISION_CONFLICT"), (0, 0, "REVISION_UNKNOWN")]
    {
        let refused = operator.rollback(asked(revision, expected)).await.unwrap_err();
        assert!(refused.message().starts_with(code), "{refused}");
    }
    let back = operator.rollback(asked(1, 2)).await.unwrap().into_inner();
    assert_eq!((back.revision, back.changed.len()), (3, 1));
    assert_eq!(number(back.changed[0].id), 3);
    let again = operator.rollback(asked(1, 0)).await.unwrap().into_inner();
    assert!(again.unchanged);
    let history = operator.list_revisions(ListRevisionsRequest::default()).await.unwrap();
    let history = history.into_inner().revisions;
    assert_eq!(history.iter().map(|r| r.revision).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(history[0].comment, "rollback to revision 1");
    assert_eq!(history[0].document_sha256, history[2].document_sha256);
    assert!(history[0].current && !history[1].current);
    lab.event("REVISION_ROLLED_BACK").await;
}

#[tokio::test]
async fn two_revisions_are_compared_as_the_edges_would_see_them() {
    let lab = Lab::with_fleet().await;
    lab.apply(&fleet(&[("cost: 21", "cost: 31")])).await;
    lab.apply(&fleet(&[("10.2.0.0/24", "10.9.0.0/24")])).await;
    let mut operator = lab.operator().await;
    let diff = operator.diff(DiffRequest { from: 1, to: 2 }).await.unwrap().into_inner();
    assert_eq!(diff.sites.len(), 1);
    let diff = operator.diff(DiffRequest { from: 3, to: 1 }).await.unwrap().into_inner();
    assert_eq!(diff.sites.len(), 3);
    let newest = operator.diff(DiffRequest { from: 2, to: 0 }).await.unwrap().into_inner();
    assert_eq!(newest.sites.len(), 3);
    let unknown = operator.diff(DiffRequest { from: 0, to: 1 }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn traffic_is_led_away_from_a_target_and_comes_back_and_no_revision_is_made() {
    let mut lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    let mut agent = lab.connect(&keys, Default::default()).await;
    agent.take_generation().await;
    let asked = |target: &str, drained| SetDrainRequest {
        target: target.into(),
        drained,
        comment: "new fans".into(),
    };
    let mut operator = lab.operator().await;
    let done = operator.set_drain(asked("b1-1/isp-a", true)).await.unwrap().into_inner();
    assert!(done.changed.iter().any(|changed| changed.edge == "b1-1"));
    let generation = agent.take_generation().await;
    let config = decode(&generation);
    assert!(config.uplinks.iter().any(|u| u.name == "isp-a" && u.drained));
    assert_eq!(generation.revision, 1);
    assert!(operator.set_drain(asked("b1-1/isp-a", true)).await.unwrap().into_inner().unchanged);
    let unknown = operator.set_drain(asked("b1-1/isp-z", true)).await.unwrap_err();
    assert!(unknown.message().starts_with("TARGET_UNKNOWN: "), "{unknown}");

    // It outlives a restart and a new revision.
    lab.restart().await;
    let mut operator = lab.operator().await;
    let drains = operator.list_drains(ListDrainsRequest {}).await.unwrap().into_inner().drains;
    assert_eq!((&*drains[0].target, &*drains[0].comment), ("b1-1/isp-a", "new fans"));
    let mut agent = lab.connect(&keys, applied(generation.id)).await;
    agent.hears_nothing().await;
    lab.apply(&fleet(&[("cost: 21", "cost: 31")])).await;
    let generation = agent.take_generation().await;
    assert!(decode(&generation).uplinks.iter().any(|u| u.name == "isp-a" && u.drained));
    operator.set_drain(asked("b1-1/isp-a", false)).await.unwrap();
    let generation = agent.take_generation().await;
    assert!(decode(&generation).uplinks.iter().all(|u| !u.drained));
    assert!(
        operator.list_drains(ListDrainsRequest {}).await.unwrap().into_inner().drains.is_empty()
    );
}
