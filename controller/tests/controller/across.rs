//! Every operation of a fleet with every kind of credential of another one: refused, recorded as a refusal, and nothing else has happened.

use hawser_proto::agent::v1::enrolment_client::EnrolmentClient;
use hawser_proto::agent::v1::{EnrolRequest, EnrolResponse};
use hawser_proto::operator::v1::*;
use hawser_proto::token::EnrolmentToken;
use prost::Message as _;
use tonic::{Code, Status};

use crate::fleets::{FIXED, operator_of, reach, two};
use crate::harness::*;
use crate::http::{Http, Method};
use crate::roles::ROUTES;
use crate::roles::raw::{Raw, with_token};

const OURS: (&str, &str) = ("hawser-console", "1");
/// Routes that are not in the table: they make something.
const MAKING: [(&str, &str); 2] =
    [("/v1/tokens", r#"{"role": "admin"}"#), ("/v1/session", r#"{"token": "TOKEN"}"#)];
const SESSION: &str = "/hawser.agent.v1.AgentLink/Session";
const ENROL: &str = "/hawser.agent.v1.Enrolment/Enrol";
const STATUS: &str = "/hawser.operator.v1.Operator/GetStatus";
/// All that may be in the log of a fleet whose door was tried.
const REFUSALS: [&str; 6] = [
    "API_TOKEN_INVALID",
    "API_TOKEN_MISSING",
    "CERTIFICATE_MISSING",
    "SESSION_ENDED",
    "TLS_CERTIFICATE_REFUSED",
    "TOKEN_UNKNOWN",
];

/// A fleet as one reaches it.
struct Side {
    fleet: &'static str,
    name: &'static str,
    admin: Admin,
    /// Paths before those of REST at the first fleet's name.
    below: &'static [&'static str],
}

/// One of each kind.
struct Credentials {
    api: String,
    enrolment: String,
    edge: EdgeKeys,
    /// What the console's cookie holds.
    session: String,
}

impl Side {
    async fn operator(&self, lab: &Lab) -> Operator {
        operator_of(lab, &self.admin, self.name, &self.admin.token).await
    }

    async fn enrolment_token(&self, lab: &Lab, edge: &str) -> String {
        let (kind, edge) = (TokenKind::Enrolment.into(), edge.to_owned());
        let asked = CreateTokenRequest { kind, edge, ..Default::default() };
        self.operator(lab).await.create_token(asked).await.expect("a token").into_inner().token
    }

    async fn enrol(&self, lab: &Lab, asked: EnrolRequest) -> Result<EnrolResponse, Status> {
        let channel = reach(lab, &self.admin, self.name, None).await.expect("a connection");
        EnrolmentClient::new(channel).enrol(asked).await.map(tonic::Response::into_inner)
    }

    async fn session(&self, lab: &Lab) -> String {
        let http = Http::to(lab, &self.admin, self.name, None, "");
        let body = format!(r#"{{"token": "{}"}}"#, self.admin.token);
        let answer = http.ask(Method::Post, "/v1/session", &[OURS], &body).await;
        let set = answer.header("set-cookie").to_owned();
        set.strip_prefix("__Host-hawser=")
            .and_then(|rest| rest.split(';').next())
            .unwrap()
            .to_owned()
    }

    async fn credentials(&self, lab: &Lab) -> Credentials {
        let key = new_key();
        let asked = enrol_request(&self.enrolment_token(lab, "hq-1").await, &key);
        let chain = self.enrol(lab, asked).await.expect("a certificate").certificate_chain_der;
        Credentials {
            api: self.admin.token.clone(),
            enrolment: self.enrolment_token(lab, "b1-1").await,
            edge: EdgeKeys { edge: "hq-1".into(), chain, key },
            session: self.session(lab).await,
        }
    }
}

fn enrol_request(token: &str, key: &rcgen::KeyPair) -> EnrolRequest {
    let token: EnrolmentToken = token.parse().expect("a token");
    let csr = rcgen::CertificateParams::default().serialize_request(key).expect("a request");
    EnrolRequest {
        secret: token.secret.to_vec(),
        csr_der: csr.der().to_vec(),
        agent_version: "test".into(),
    }
}

/// Every call of every service, as they are described: `/SERVICE/CALL`.
fn every_call() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(hawser_proto::DESCRIPTORS).unwrap();
    let calls = set.file.iter().flat_map(|file| {
        file.service.iter().flat_map(|service| {
            let name = format!("{}.{}", file.package(), service.name());
            service.method.iter().map(move |method| format!("/{name}/{}", method.name()))
        })
    });
    calls.collect()
}

/// With a message that would do something, if there is one; an empty one is a message of every type.
async fn call(
    channel: tonic::transport::Channel,
    path: &str,
    token: &str,
    enrolment: &str,
) -> Result<(), Status> {
    let message = if path == ENROL {
        enrol_request(enrolment, &new_key()).encode_to_vec()
    } else {
        Vec::new()
    };
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let asked = with_token(token).map(|_| tokio_stream::once(message));
    grpc.streaming(asked, path.parse().unwrap(), Raw).await.map(drop)
}

/// Asks the fleet for these by gRPC. Returns how often it refused.
async fn try_grpc(lab: &Lab, at: &Side, with: &Credentials, calls: &[String]) -> u64 {
    let mut refused = 0;
    for path in calls {
        let channel = reach(lab, &at.admin, at.name, Some(&with.edge)).await;
        if let Some(channel) = channel {
            let asked = call(channel, path, &with.api, &with.enrolment).await;
            asked.expect_err(&format!("{path} with a certificate"));
        }
        let channel = reach(lab, &at.admin, at.name, None).await.expect("a connection");
        let session = format!("hawser-api1.{}", with.session);
        for (what, token) in [
            ("nothing", ""),
            ("API", &*with.api),
            ("enrolment", &*with.enrolment),
            ("session", &*session),
        ] {
            let told = call(channel.clone(), path, token, &with.enrolment).await;
            let status = told.expect_err(&format!("{path} with {what}"));
            assert_eq!(status.code(), Code::Unauthenticated, "{path} with {what}: {status:?}");
            refused += 1;
        }
    }
    refused
}

type Route = (Method, &'static str, &'static str);

fn every_route() -> Vec<Route> {
    let table = ROUTES.map(|(method, path, body, _)| (method, path, body));
    let making = MAKING.map(|(path, body)| (Method::Post, path, body));
    table.into_iter().chain(making).collect()
}

/// The same by REST, at one of its doors.
async fn try_rest(lab: &Lab, door: &Door<'_>, with: &Credentials, routes: &[Route]) -> u64 {
    let mut refused = 0;
    let http = |token: &str| Http::to(lab, door.ca, door.name, None, token);
    let cookie = format!("__Host-hawser={0}; {1}={0}", with.session, door.cookie);
    let certified = Http::to(lab, door.ca, door.name, Some(&with.edge), "");
    for &(method, path, body) in routes {
        let body = body.replace("TOKEN", &with.api);
        let path = format!("{}{path}", door.below);
        let mut answers = vec![
            ("API", http(&with.api).ask(method, &path, &[OURS], &body).await),
            ("enrolment", http(&with.enrolment).ask(method, &path, &[OURS], &body).await),
            ("session", http("").ask(method, &path, &[OURS, ("cookie", &cookie)], &body).await),
        ];
        if door.takes_certificates {
            answers.push(("certificate", certified.ask(method, &path, &[OURS], &body).await));
        } else {
            assert!(certified.is_refused(method, &path).await, "{path} with a certificate");
        }
        for (what, answer) in answers {
            assert_eq!(answer.status, 401, "{path} with {what}: {answer:?}");
            assert_eq!(answer.header("set-cookie"), "", "{path} with {what}");
            refused += 1;
        }
    }
    refused
}

/// A way to a fleet's REST.
struct Door<'a> {
    ca: &'a Admin,
    name: &'a str,
    below: &'a str,
    /// The name of the cookie that counts there.
    cookie: String,
    /// The TLS there is the credential's own fleet's.
    takes_certificates: bool,
}

/// What must not change.
async fn picture(operator: &mut Operator) -> String {
    let mut tokens = operator.list_tokens(ListTokensRequest {}).await.unwrap().into_inner().tokens;
    tokens.iter_mut().for_each(|token| token.last_used_unix_ms = 0);
    let fleet = operator.get_fleet(GetFleetRequest::default()).await.unwrap().into_inner();
    let drains = operator.list_drains(ListDrainsRequest::default()).await.unwrap().into_inner();
    let authority =
        operator.get_authority(GetAuthorityRequest::default()).await.unwrap().into_inner();
    let revisions =
        operator.list_revisions(ListRevisionsRequest::default()).await.unwrap().into_inner();
    let sites = operator.list_sites(ListSitesRequest::default()).await.unwrap().into_inner();
    format!("{tokens:#?}{fleet:#?}{drains:#?}{authority:#?}{revisions:#?}{sites:#?}")
}

async fn log_after(operator: &mut Operator, sequence: u64) -> (u64, Vec<AuditEntry>) {
    let asked = ListAuditRequest { page_size: 1_000, ..Default::default() };
    let log = operator.list_audit(asked).await.unwrap().into_inner();
    let new = log.entries.into_iter().filter(|entry| entry.sequence > sequence);
    (log.head_sequence, new.collect())
}

async fn refusals(operator: &mut Operator) -> u64 {
    let status = operator.get_status(GetStatusRequest {}).await.unwrap().into_inner();
    status.counters.get("refusals").copied().unwrap_or_default()
}

async fn try_all(lab: &Lab, of: &Side, at: &Side, first: &Side) {
    let with = of.credentials(lab).await;
    let mut operator = at.operator(lab).await;
    let before = picture(&mut operator).await;
    let (head, _) = log_after(&mut operator, 0).await;
    let refused_before = refusals(&mut operator).await;

    let by_name = Door {
        ca: &at.admin,
        name: at.name,
        below: "",
        cookie: "__Host-hawser".to_owned(),
        takes_certificates: false,
    };
    // The log takes so many refusals and no more: first one of each kind.
    let mut refused = try_grpc(lab, at, &with, &[SESSION, ENROL, STATUS].map(str::to_owned)).await;
    refused += try_rest(lab, &by_name, &with, &every_route()[..1]).await;
    let (_, log) = log_after(&mut operator, head).await;
    for action in REFUSALS {
        assert!(log.iter().any(|entry| entry.action == action), "{action} was not recorded");
    }
    refused += try_grpc(lab, at, &with, &every_call()).await;
    refused += try_rest(lab, &by_name, &with, &every_route()).await;
    for below in at.below {
        let cookie = format!("__Secure-hawser-{}", at.fleet);
        let takes_certificates = of.fleet == first.fleet;
        let door = Door { ca: &first.admin, name: FIXED, below, cookie, takes_certificates };
        refused += try_rest(lab, &door, &with, &every_route()).await;
    }

    assert_eq!(picture(&mut operator).await, before, "{} was changed", at.fleet);
    let (_, log) = log_after(&mut operator, head).await;
    for entry in &log {
        let expected = REFUSALS.contains(&&*entry.action) && entry.actor.starts_with("address:");
        assert!(expected, "{entry:?}");
    }
    let counted = refusals(&mut operator).await - refused_before;
    assert!(counted >= refused, "{counted} of {refused} were counted");

    // Each is good where it belongs, and none was spent.
    let mut operator = of.operator(lab).await;
    operator.get_status(GetStatusRequest {}).await.expect("the API token");
    let cookie = format!("__Host-hawser={}", with.session);
    let http = Http::to(lab, &of.admin, of.name, None, "");
    let who = http.ask(Method::Get, "/v1/session", &[("cookie", &cookie)], "").await;
    assert_eq!((who.status, who.json()["fleet"].as_str()), (200, Some(of.fleet)));
    of.enrol(lab, enrol_request(&with.enrolment, &new_key())).await.expect("the enrolment token");
    let channel = reach(lab, &of.admin, of.name, Some(&with.edge)).await.expect("a connection");
    call(channel, SESSION, "", &with.enrolment).await.expect("the certificate");
}

#[test]
fn the_calls_of_all_services_are_known() {
    let calls = every_call();
    for call in [SESSION, ENROL, STATUS] {
        assert!(calls.iter().any(|known| known == call), "{call}");
    }
    assert!(calls.len() > 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_of_one_fleet_is_worth_anything_at_another() {
    let (lab, beta) = two().await;
    let acme = Side { fleet: "acme", name: FIXED, admin: lab.admin.clone(), below: &["/f/acme"] };
    let beta =
        Side { fleet: "beta", name: "beta.controller.hawser", admin: beta, below: &["/f/beta"] };
    apply(&mut beta.operator(&lab).await, &fleet(&[("fleet: acme", "fleet: beta")])).await;
    try_all(&lab, &acme, &beta, &acme).await;
    try_all(&lab, &beta, &acme, &acme).await;
}
