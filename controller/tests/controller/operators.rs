use hawser_proto::operator::v1::*;
use tonic::Code;

use crate::harness::*;

async fn api_token(lab: &Lab, role: &str) -> CreateTokenResponse {
    let asked =
        CreateTokenRequest { kind: TokenKind::Api.into(), role: role.into(), ..Default::default() };
    let made = lab.operator().await.create_token(asked).await;
    made.expect("a token").into_inner()
}

#[tokio::test]
async fn every_fault_is_reported_and_nothing_is_applied() {
    let lab = Lab::with_fleet().await;
    let mut operator = lab.operator().await;
    let broken = fleet(&[("10.1.0.0/24", "10.0.0.0/24"), ("hubs: [hq]", "hubs: [nowhere]")]);
    let applied = apply(&mut operator, &broken).await;
    assert!(applied.faults.len() >= 2, "{:?}", applied.faults);
    assert!(applied.faults.iter().all(|f| !f.code.is_empty() && !f.mend.is_empty()));
    let asked = ValidateRequest { document: broken.into_bytes() };
    let validated = operator.validate(asked).await.unwrap().into_inner();
    assert_eq!(validated.faults, applied.faults);
    let status = operator.get_status(GetStatusRequest {}).await.unwrap();
    assert_eq!(status.into_inner().revision, 1);

    let other = fleet(&[("fleet: acme", "fleet: other")]);
    let applied = apply(&mut operator, &other).await;
    assert_eq!(applied.faults[0].code, "FLEET_MISMATCH");
}

#[tokio::test]
async fn a_document_of_ten_megabytes_is_refused() {
    let lab = Lab::with_fleet().await;
    let mut operator = lab.operator().await;
    let asked = ApplyRequest { document: vec![b'#'; 10 << 20], ..Default::default() };
    assert!(operator.apply(asked).await.is_err());
    let asked = ApplyRequest { document: vec![b'#'; (4 << 20) + 1], ..Default::default() };
    let applied = operator.apply(asked).await.unwrap().into_inner();
    assert_eq!(applied.faults[0].code, "DOCUMENT_TOO_LARGE");
}

#[tokio::test]
async fn an_apply_that_expects_another_revision_is_refused() {
    let lab = Lab::with_fleet().await;
    let mut operator = lab.operator().await;
    let document = fleet(&[("cost: 21", "cost: 31")]).into_bytes();
    let asked = |expected_revision| ApplyRequest {
        document: document.clone(),
        comment: "dearer".into(),
        expected_revision,
        ..Default::default()
    };
    let refused = operator.apply(asked(7)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert!(refused.message().starts_with("REVISION_CONFLICT: "), "{refused}");
    let applied = operator.apply(asked(1)).await.unwrap().into_inner();
    assert_eq!(applied.revision, 2);

    let get = |revision| GetFleetRequest { revision };
    let newest = operator.get_fleet(get(0)).await.unwrap().into_inner();
    assert_eq!((newest.revision, &*newest.comment), (2, "dearer"));
    assert_eq!(newest.document, document);
    assert!(newest.committed_by.starts_with("token:"));
    let first = operator.get_fleet(get(1)).await.unwrap().into_inner();
    assert_eq!(first.document, fleet(&[]).into_bytes());
    let unknown = operator.get_fleet(get(9)).await.unwrap_err();
    assert!(unknown.message().starts_with("REVISION_UNKNOWN: "), "{unknown}");
}

#[tokio::test]
async fn applies_at_the_same_time_come_one_after_the_other() {
    let lab = Lab::with_fleet().await;
    let applies = (0..8).map(|n| {
        let mut operator = lab.admin.clone();
        operator.token.clone_from(&lab.admin.token);
        let port = lab.port();
        tokio::spawn(async move {
            let token = operator.token.clone();
            let mut client = crate::harness::operator(&operator, port, &token).await;
            let cost = format!("cost: {}", 100 + n);
            apply(&mut client, &fleet(&[("cost: 21", &cost)])).await.revision
        })
    });
    let mut revisions = Vec::new();
    for apply in applies.collect::<Vec<_>>() {
        revisions.push(apply.await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (2..=9).collect::<Vec<u64>>());
    let edge = lab.edge_status("b1-1").await;
    assert_eq!(number(edge.desired), 9);
}

#[tokio::test]
async fn each_role_may_do_its_own_and_no_more() {
    let lab = Lab::with_fleet().await;
    let viewer = api_token(&lab, "viewer").await.token;
    let operator = api_token(&lab, "operator").await.token;
    let new_enrolment = CreateTokenRequest {
        kind: TokenKind::Enrolment.into(),
        edge: "hq-1".into(),
        ..Default::default()
    };
    let new_api = CreateTokenRequest {
        kind: TokenKind::Api.into(),
        role: "viewer".into(),
        ..Default::default()
    };
    for (token, may_apply, may_give) in
        [(&viewer, false, false), (&operator, true, false), (&lab.admin.token, true, true)]
    {
        let mut client = crate::harness::operator(&lab.admin, lab.port(), token).await;
        client.get_status(GetStatusRequest {}).await.unwrap();
        let document = fleet(&[]).into_bytes();
        let asked = ApplyRequest { document, ..Default::default() };
        let results = [
            client.apply(asked).await.err(),
            client.create_token(new_enrolment.clone()).await.err(),
            client.list_tokens(ListTokensRequest {}).await.err(),
        ];
        for refused in &results {
            assert_eq!(refused.is_none(), may_apply, "{refused:?}");
        }
        let given = client.create_token(new_api.clone()).await.err();
        assert_eq!(given.is_none(), may_give, "{given:?}");
        for refused in results.iter().chain([&given]).flatten() {
            assert_eq!(refused.code(), Code::PermissionDenied);
            assert!(refused.message().starts_with("ROLE_TOO_LOW: "), "{refused}");
        }
    }
    lab.event("ROLE_TOO_LOW").await;
}

#[tokio::test]
async fn no_token_a_wrong_one_an_enrolment_token_and_a_revoked_one_are_refused() {
    let lab = Lab::with_fleet().await;
    let gone = api_token(&lab, "viewer").await;
    let revoke = RevokeTokenRequest { id: gone.id };
    lab.operator().await.revoke_token(revoke).await.unwrap();
    let enrolment = lab.enrolment_token("hq-1").await;
    for (token, code) in [
        ("", "API_TOKEN_MISSING"),
        ("hawser-api1.wrong", "API_TOKEN_INVALID"),
        (&*enrolment, "API_TOKEN_INVALID"),
        (&*gone.token, "API_TOKEN_INVALID"),
    ] {
        let mut client = crate::harness::operator(&lab.admin, lab.port(), token).await;
        let refused = client.get_status(GetStatusRequest {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert!(refused.message().starts_with(code), "{refused}");
    }
}

#[tokio::test]
async fn the_last_admin_can_not_be_locked_out() {
    let lab = Lab::with_fleet().await;
    let mut operator = lab.operator().await;
    let tokens = operator.list_tokens(ListTokensRequest {}).await.unwrap();
    let own = tokens.into_inner().tokens.remove(0);
    assert_eq!((&*own.role, own.expires_unix_ms), ("admin", 0));
    let revoke = RevokeTokenRequest { id: own.id };
    let refused = operator.revoke_token(revoke.clone()).await.unwrap_err();
    assert!(refused.message().starts_with("LAST_ADMIN: "), "{refused}");
    let second = api_token(&lab, "admin").await.token;
    let mut second = crate::harness::operator(&lab.admin, lab.port(), &second).await;
    second.revoke_token(revoke).await.unwrap();
    let refused = operator.get_status(GetStatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}
