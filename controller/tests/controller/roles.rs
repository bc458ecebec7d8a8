//! Every route by every role: what is allowed is what the table says, and every refusal is told and recorded.

use hawser_controller::service::{Operation, Role};
use hawser_proto::operator::v1::*;
use prost::Message as _;
use raw::*;
use tonic::{Code, Status};

use crate::harness::*;
use crate::http::{Http, Method};

/// Helpers without a client of any one call.
pub mod raw {
    use bytes::{Buf, BufMut};
    use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
    use tonic::{Request, Status};

    /// Messages as octets.
    #[derive(Default)]
    pub struct Raw;

    impl Codec for Raw {
        type Encode = Vec<u8>;
        type Decode = Vec<u8>;
        type Encoder = Raw;
        type Decoder = Raw;

        fn encoder(&mut self) -> Raw {
            Raw
        }

        fn decoder(&mut self) -> Raw {
            Raw
        }
    }

    impl Encoder for Raw {
        type Item = Vec<u8>;
        type Error = Status;

        fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
            buffer.put_slice(&item);
            Ok(())
        }
    }

    impl Decoder for Raw {
        type Item = Vec<u8>;
        type Error = Status;

        fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
            let bytes = buffer.copy_to_bytes(buffer.remaining());
            Ok(Some(bytes.to_vec()))
        }
    }

    pub fn with_token(token: &str) -> Request<Vec<u8>> {
        let mut request = Request::new(Vec::new());
        if !token.is_empty() {
            let value = format!("Bearer {token}").parse().expect("a token is ASCII");
            request.metadata_mut().insert("authorization", value);
        }
        request
    }
}

/// Names of the calls of the Operator service, as it is described.
fn methods() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(hawser_proto::DESCRIPTORS).unwrap();
    let services = set.file.into_iter().flat_map(|file| file.service);
    let operator = services.into_iter().find(|service| service.name() == "Operator").unwrap();
    operator.method.iter().map(|method| method.name().to_owned()).collect()
}

async fn call(lab: &Lab, token: &str, method: &str) -> Result<(), Status> {
    let channel = channel(&lab.admin, lab.port(), None).await?;
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = format!("/hawser.operator.v1.Operator/{method}").parse().unwrap();
    // An empty message is a message of every type; the first answer of a stream may not come for long.
    grpc.server_streaming(with_token(token), path, Raw).await.map(drop)
}

async fn api_token(lab: &Lab, role: Role) -> String {
    let asked = CreateTokenRequest {
        kind: TokenKind::Api.into(),
        role: role.name().into(),
        ..Default::default()
    };
    lab.operator().await.create_token(asked).await.unwrap().into_inner().token
}

const ROLES: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

#[test]
fn the_table_has_every_call_and_no_other() {
    let mut described = methods();
    let mut listed: Vec<String> =
        Operation::ALL.iter().map(|operation| operation.name().to_owned()).collect();
    described.sort();
    listed.sort();
    assert_eq!(listed, described);
}

#[tokio::test]
async fn every_call_by_every_role_is_allowed_or_refused_as_the_table_says() {
    let lab = Lab::with_fleet().await;
    for role in ROLES {
        let token = api_token(&lab, role).await;
        for operation in Operation::ALL {
            let refused = call(&lab, &token, operation.name()).await.err();
            let forbidden = refused.as_ref().is_some_and(|s| s.code() == Code::PermissionDenied);
            let name = operation.name();
            assert_eq!(forbidden, role < operation.needs(), "{name} by {role:?}: {refused:?}");
            let unknown = refused.is_some_and(|s| s.code() == Code::Unauthenticated);
            assert!(!unknown, "{name} by {role:?}");
        }
    }
    for token in ["", "hawser-api1.wrong"] {
        for operation in Operation::ALL {
            let refused = call(&lab, token, operation.name()).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{}", operation.name());
        }
    }
}

/// Routes of REST with the operation that each is, and a body that changes nothing.
pub const ROUTES: [(Method, &str, &str, Operation); 34] = [
    (Method::Get, "/v1/status", "", Operation::GetStatus),
    (Method::Get, "/v1/fleet", "", Operation::GetFleet),
    (Method::Put, "/v1/fleet", "no: document", Operation::Apply),
    (Method::Post, "/v1/fleet/validation", "no: document", Operation::Validate),
    (Method::Post, "/v1/fleet/plan", "no: document", Operation::Plan),
    (Method::Get, "/v1/revisions", "", Operation::ListRevisions),
    (Method::Get, "/v1/revisions/1", "", Operation::ListRevisions),
    (Method::Get, "/v1/revisions/1/document", "", Operation::GetFleet),
    (Method::Get, "/v1/revisions/1/diff/1", "", Operation::Diff),
    (Method::Post, "/v1/revisions/1/rollback", "{}", Operation::Rollback),
    (Method::Get, "/v1/sites", "", Operation::ListSites),
    (Method::Get, "/v1/sites/hq/explanations", "", Operation::Explain),
    (Method::Get, "/v1/paths", "", Operation::ListPaths),
    (Method::Get, "/v1/paths/1/history", "", Operation::ListPaths),
    (Method::Get, "/v1/decisions", "", Operation::ListDecisions),
    (Method::Get, "/v1/events", "", Operation::ListEvents),
    (Method::Get, "/v1/events/stream", "", Operation::Watch),
    (Method::Get, "/v1/advice", "", Operation::ListAdvice),
    (Method::Get, "/v1/rollout", "", Operation::GetRollout),
    (Method::Post, "/v1/rollout/confirmation", "", Operation::ConfirmRollout),
    (Method::Post, "/v1/rollout/abort", "{}", Operation::AbortRollout),
    (Method::Get, "/v1/drains", "", Operation::ListDrains),
    (Method::Put, "/v1/drains/nowhere", "{}", Operation::SetDrain),
    (Method::Delete, "/v1/drains/nowhere", "", Operation::SetDrain),
    (Method::Post, "/v1/sites/nowhere/revocation", "{}", Operation::Revoke),
    (Method::Post, "/v1/sites/nowhere/replacement", "{}", Operation::Replace),
    (Method::Get, "/v1/authority", "", Operation::GetAuthority),
    (Method::Post, "/v1/authority/rotation", "{}", Operation::RotateAuthority),
    (Method::Post, "/v1/authority/retirement", "{}", Operation::RetireAuthority),
    (Method::Get, "/v1/tokens", "", Operation::ListTokens),
    (Method::Delete, "/v1/tokens/none", "", Operation::RevokeToken),
    (Method::Get, "/v1/audit", "", Operation::ListAudit),
    (Method::Get, "/v1/session", "", Operation::GetStatus),
    (Method::Delete, "/v1/session", "", Operation::GetStatus),
];

#[tokio::test]
async fn every_route_by_every_role_is_allowed_or_refused_as_the_table_says() {
    let lab = Lab::with_fleet().await;
    for role in ROLES {
        let token = api_token(&lab, role).await;
        let http = Http::new(&lab, &token);
        for (method, path, body, operation) in ROUTES {
            let answer = http.ask(method, path, &[], body).await;
            let allowed = role >= operation.needs();
            assert_eq!(answer.status != 403, allowed, "{path} by {role:?}: {answer:?}");
            assert!(answer.status != 401 && answer.status < 500, "{path} by {role:?}: {answer:?}");
            if !allowed {
                assert_eq!(answer.json()["code"], "ROLE_TOO_LOW");
            }
        }
        let made = http.ask(Method::Post, "/v1/tokens", &[], r#"{"role": "viewer"}"#).await;
        assert_eq!(made.status, if role == Role::Admin { 201 } else { 403 }, "{made:?}");
    }
    for token in ["", "hawser-api1.wrong"] {
        let http = Http::new(&lab, token);
        for (method, path, body, _) in ROUTES {
            let answer = http.ask(method, path, &[], body).await;
            assert_eq!(answer.status, 401, "{path}: {answer:?}");
            assert_eq!(answer.header("content-type"), "application/problem+json");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
}

#[tokio::test]
async fn the_table_of_routes_is_that_of_the_description() {
    let lab = Lab::new("acme").await;
    let answer = Http::new(&lab, "").ask(Method::Get, "/openapi.json", &[], "").await;
    let description = answer.json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut described = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            described.push(format!("{method} {path}"));
        }
    }
    let filled = |template: &str, path: &str| {
        let (a, b): (Vec<&str>, Vec<&str>) =
            (template.split('/').collect(), path.split('/').collect());
        a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| a == b || a.starts_with('{'))
    };
    let open = ["get /healthz", "get /readyz", "post /v1/tokens", "post /v1/session"];
    for route in described.iter().filter(|route| !open.contains(&route.as_str())) {
        let (method, template) = route.split_once(' ').unwrap();
        let walked =
            ROUTES.iter().any(|(m, path, ..)| m.name() == method && filled(template, path));
        assert!(walked, "{route} is not walked");
    }
    assert_eq!(described.len(), ROUTES.len() + open.len());
}

#[tokio::test]
async fn sign_ins_changes_and_refusals_are_recorded_in_a_chain_and_uses_are_shown() {
    let lab = Lab::with_fleet().await;
    let viewer = api_token(&lab, Role::Viewer).await;
    call(&lab, &viewer, "GetStatus").await.unwrap();
    call(&lab, &viewer, "GetStatus").await.unwrap();
    call(&lab, &viewer, "Apply").await.unwrap_err();
    let mut operator = lab.operator().await;
    let asked = ListAuditRequest { page_size: 1_000, ..Default::default() };
    let log = operator.list_audit(asked).await.unwrap().into_inner();
    let of = |action: &str| log.entries.iter().filter(|entry| entry.action == action).count();
    // The admin's and the viewer's.
    assert_eq!(of("SIGNED_IN"), 2, "{:#?}", log.entries);
    assert_eq!((of("REVISION_APPLIED"), of("ROLE_TOO_LOW"), of("TOKEN_CREATED")), (1, 1, 2));
    let refused = log.entries.iter().find(|entry| entry.action == "ROLE_TOO_LOW").unwrap();
    assert!(refused.actor.starts_with("token:") && refused.detail.starts_with("Apply: "));
    let mut verifier = hawser_controller_core::audit::Verifier::default();
    for entry in &log.entries {
        verifier.take(&entry_of(entry)).unwrap();
    }
    assert_eq!(verifier.last(), Some((log.head_sequence, log.head_hash.as_str())));

    let tokens = operator.list_tokens(ListTokensRequest {}).await.unwrap().into_inner().tokens;
    let viewer = tokens.iter().find(|token| token.role == "viewer").unwrap();
    assert!(viewer.last_used_unix_ms > 0 && viewer.last_used_from == "127.0.0.1");
    assert_eq!(viewer.fleet, "acme");
    assert!(tokens.iter().all(|token| !token.id.is_empty()));
}

fn entry_of(told: &AuditEntry) -> hawser_controller_core::audit::Entry {
    let told = told.clone();
    hawser_controller_core::audit::Entry {
        sequence: told.sequence,
        unix_ms: told.unix_ms,
        record: hawser_controller_core::audit::Record {
            actor: told.actor,
            action: told.action,
            subject: told.subject,
            detail: told.detail,
        },
        suppressed: told.suppressed,
        previous: told.previous,
        hash: told.hash,
    }
}
