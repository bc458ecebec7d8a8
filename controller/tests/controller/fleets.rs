//! Two fleets in one process: what is one's is nothing to the other.

use std::path::PathBuf;

use hawser_controller::init;
use hawser_controller::store::StoreChoice;
use hawser_proto::operator::v1::operator_client::OperatorClient;
use hawser_proto::operator::v1::*;
use hawser_telemetry::{LogSink, TelemetryFlags};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::harness::*;

pub const FIXED: &str = "controller.hawser";

/// acme first, beta beside it, both served at one port.
pub async fn two() -> (Lab, Admin) {
    let mut lab = Lab::with_fleet().await;
    let made = init::add_fleet(&lab.data(), "beta", Vec::new(), &StoreChoice::Sled)
        .await
        .expect("another fleet");
    let context = std::fs::read(&made.admin_context).expect("its context");
    let beta = serde_json::from_slice(&context).expect("its JSON");
    lab.restart().await;
    (lab, beta)
}

pub fn beta_data(lab: &Lab) -> PathBuf {
    lab.data().join("fleets/beta")
}

/// Trusting `ca`, asking for `name`.
pub async fn reach(lab: &Lab, ca: &Admin, name: &str, keys: Option<&EdgeKeys>) -> Option<Channel> {
    let mut tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&ca.ca_pem)).domain_name(name);
    if let Some(keys) = keys {
        let chain: String = keys.chain.iter().map(|der| pem(der)).collect();
        tls = tls.identity(Identity::from_pem(chain, keys.key.serialize_pem()));
    }
    let endpoint = Endpoint::from_shared(format!("https://127.0.0.1:{}", lab.port())).unwrap();
    endpoint.tls_config(tls).unwrap().connect().await.ok()
}

pub async fn operator_of(lab: &Lab, ca: &Admin, name: &str, token: &str) -> Operator {
    let channel = reach(lab, ca, name, None).await.expect("a connection");
    OperatorClient::with_interceptor(channel, Bearer(token.to_owned()))
}

async fn fleet_of(operator: &mut Operator) -> Result<String, tonic::Code> {
    let status = operator.get_status(GetStatusRequest {}).await;
    status.map(|status| status.into_inner().fleet).map_err(|status| status.code())
}

#[tokio::test]
async fn each_fleet_answers_to_its_own_name_and_the_first_to_the_fixed_one() {
    let (lab, beta) = two().await;
    for name in [FIXED, "acme.controller.hawser"] {
        let mut operator = operator_of(&lab, &lab.admin, name, &lab.admin.token).await;
        assert_eq!(fleet_of(&mut operator).await.as_deref(), Ok("acme"), "{name}");
    }
    let mut operator = operator_of(&lab, &beta, "beta.controller.hawser", &beta.token).await;
    assert_eq!(fleet_of(&mut operator).await.as_deref(), Ok("beta"));
    // Neither is believed to be the other, nor is there an answer for who is not there.
    for (ca, name) in [
        (&lab.admin, "beta.controller.hawser"),
        (&beta, FIXED),
        (&beta, "acme.controller.hawser"),
        (&lab.admin, "gamma.controller.hawser"),
        (&beta, "gamma.controller.hawser"),
    ] {
        assert!(reach(&lab, ca, name, None).await.is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_token_of_one_fleet_is_a_guess_at_the_other() {
    let (lab, beta) = two().await;
    let own = &lab.admin;
    let guess = "hawser-api1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let told = async |token: &str| {
        let mut operator = operator_of(&lab, &beta, "beta.controller.hawser", token).await;
        let status = operator.get_status(GetStatusRequest {}).await.expect_err("refused");
        (status.code(), status.message().to_owned())
    };
    let refused = told(&own.token).await;
    assert_eq!(refused.0, tonic::Code::Unauthenticated, "{refused:?}");
    assert_eq!(refused, told(guess).await);
    // And the other way round.
    let mut operator = operator_of(&lab, own, FIXED, &beta.token).await;
    assert_eq!(fleet_of(&mut operator).await, Err(tonic::Code::Unauthenticated));
}

#[tokio::test]
async fn an_edge_of_one_fleet_is_no_client_of_the_other() {
    let (lab, beta) = two().await;
    let keys = lab.enrol("hq-1").await;
    // Trusting beta's CA, so that only beta's judgement of the client is at stake.
    let channel = reach(&lab, &beta, "beta.controller.hawser", Some(&keys)).await;
    if let Some(channel) = channel {
        // TLS 1.3 tells a client only with its first request.
        let mut operator = OperatorClient::with_interceptor(channel, Bearer(beta.token.clone()));
        assert!(fleet_of(&mut operator).await.is_err());
    }
    // An enrolment token of one is unknown to the other, and unspent by that.
    let token: hawser_proto::token::EnrolmentToken =
        lab.enrolment_token("b1-1").await.parse().expect("a token");
    let elsewhere = reach(&lab, &beta, "beta.controller.hawser", None).await.expect("reached");
    let key = new_key();
    let request = rcgen::CertificateParams::default().serialize_request(&key).expect("a request");
    let asked = hawser_proto::agent::v1::EnrolRequest {
        secret: token.secret.to_vec(),
        csr_der: request.der().to_vec(),
        agent_version: "test".into(),
    };
    use hawser_proto::agent::v1::enrolment_client::EnrolmentClient;
    assert!(EnrolmentClient::new(elsewhere).enrol(asked).await.is_err());
    lab.enrol_secret(&token.secret, &key).await.expect("its own fleet takes it");
}

#[tokio::test]
async fn a_fleet_that_cannot_be_opened_stops_no_other() {
    let (mut lab, beta) = two().await;
    lab.stop().await;
    std::fs::write(beta_data(&lab).join("pki/intermediate.pem"), "damaged").unwrap();
    lab.restart().await;
    let running = lab.running.as_ref().unwrap();
    assert_eq!(running.fleets().map(|(fleet, _)| fleet).collect::<Vec<_>>(), ["acme"]);
    let mut operator = lab.operator().await;
    assert_eq!(fleet_of(&mut operator).await.as_deref(), Ok("acme"));
    assert!(reach(&lab, &beta, "beta.controller.hawser", None).await.is_none());
}

#[tokio::test]
async fn if_the_first_cannot_be_opened_its_name_is_nobody_elses() {
    let (mut lab, beta) = two().await;
    lab.stop().await;
    std::fs::write(lab.data().join("pki/intermediate.pem"), "damaged").unwrap();
    lab.restart().await;
    let mut operator = operator_of(&lab, &beta, "beta.controller.hawser", &beta.token).await;
    assert_eq!(fleet_of(&mut operator).await.as_deref(), Ok("beta"));
    for ca in [&lab.admin, &beta] {
        assert!(reach(&lab, ca, FIXED, None).await.is_none());
    }
}

#[tokio::test]
async fn a_fleet_is_added_once_and_under_a_proper_name() {
    let (lab, _) = two().await;
    for name in ["acme", "beta", "../gamma", "Gamma", ""] {
        assert!(
            init::add_fleet(&lab.data(), name, Vec::new(), &StoreChoice::Sled).await.is_err(),
            "{name}"
        );
    }
}

/// What Prometheus gets.
pub async fn scrape(lab: &Lab) -> String {
    let flags = TelemetryFlags {
        metrics_listen: Some(([127, 0, 0, 1], 0).into()),
        ..TelemetryFlags::default()
    };
    let running = lab.running.as_ref().expect("running");
    let address =
        running.tell(&flags, &LogSink::default()).await.expect("told").expect("an address");
    let mut socket = tokio::net::TcpStream::connect(address).await.expect("it listens");
    socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("asked");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("an answer");
    answer
}

fn has(told: &str, line: &str) -> bool {
    told.lines().any(|told| told == line)
}

#[tokio::test]
async fn every_fleet_is_told_under_its_name_and_one_that_is_not_served_as_such() {
    let (mut lab, beta) = two().await;
    let mut operator = operator_of(&lab, &beta, "beta.controller.hawser", &beta.token).await;
    apply(&mut operator, &fleet(&[("fleet: acme", "fleet: beta")])).await;
    apply(&mut operator, &fleet(&[("fleet: acme", "fleet: beta"), ("cost: 21", "cost: 31")])).await;
    assert!(reach(&lab, &lab.admin, "gamma.controller.hawser", None).await.is_none());
    let told = scrape(&lab).await;
    for line in [
        r#"hawser_fleet_served{fleet="acme"} 1"#,
        r#"hawser_fleet_served{fleet="beta"} 1"#,
        r#"hawser_fleet_revision{fleet="acme"} 1"#,
        r#"hawser_fleet_revision{fleet="beta"} 2"#,
        r#"hawser_controller_edges{fleet="beta",state="known"} 3"#,
        r#"hawser_edge_connected{fleet="acme",site="b1",edge="b1-1"} 0"#,
        r#"hawser_edge_connected{fleet="beta",site="b1",edge="b1-1"} 0"#,
        r#"hawser_controller_unknown_fleet_names_total{by="tls"} 1"#,
        r#"hawser_controller_unknown_fleet_names_total{by="path"} 0"#,
    ] {
        assert!(has(&told, line), "{line} is not in\n{told}");
    }
    assert_eq!(told.matches("# TYPE hawser_fleet_revision ").count(), 1, "one head for all");

    lab.stop().await;
    std::fs::write(beta_data(&lab).join("pki/intermediate.pem"), "damaged").unwrap();
    lab.restart().await;
    let told = scrape(&lab).await;
    assert!(has(&told, r#"hawser_fleet_served{fleet="acme"} 1"#), "{told}");
    assert!(has(&told, r#"hawser_fleet_served{fleet="beta"} 0"#), "{told}");
    assert!(!told.contains(r#"hawser_fleet_revision{fleet="beta"}"#), "{told}");
}
