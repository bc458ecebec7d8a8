use std::time::Duration;

use hawser_proto::operator::v1::*;
use hawser_proto::token::EnrolmentToken;
use sha2_of::spki_sha256;
use tonic::Code;

use crate::harness::*;

mod sha2_of {
    use x509_parser::prelude::{FromDer, X509Certificate};

    pub fn spki_sha256(der: &[u8]) -> Vec<u8> {
        let (_, certificate) = X509Certificate::from_der(der).expect("a certificate");
        let spki = certificate.tbs_certificate.subject_pki.raw;
        ring::digest::digest(&ring::digest::SHA256, spki).as_ref().to_vec()
    }
}

#[tokio::test]
async fn a_token_gives_a_certificate_that_names_the_edge_and_ends_in_the_pinned_root() {
    let lab = Lab::with_fleet().await;
    let text = lab.enrolment_token("hq-1").await;
    let token: EnrolmentToken = text.parse().unwrap();
    assert_eq!(token.edge, "hq-1");
    assert_eq!(token.controllers, ["127.0.0.1:4511"]);
    let answer = lab.enrol_with(&text, &new_key()).await.unwrap();
    assert_eq!((&*answer.fleet, &*answer.site, &*answer.edge), ("acme", "hq", "hq-1"));
    assert_eq!(answer.certificate_chain_der.len(), 2);
    assert_eq!(spki_sha256(&answer.root_ca_der), token.root_pin);
    let status = lab.edge_status("hq-1").await;
    assert!(status.enrolled && !status.connected);
}

#[tokio::test]
async fn the_first_key_consumes_the_token_and_may_retry_another_key_may_not() {
    let lab = Lab::with_fleet().await;
    let token = lab.enrolment_token("hq-1").await;
    let key = new_key();
    let first = lab.enrol_with(&token, &key).await.unwrap();
    let again = lab.enrol_with(&token, &key).await.unwrap();
    assert_ne!(
        first.certificate_chain_der[0], again.certificate_chain_der[0],
        "each certificate has a serial of its own"
    );
    let refused = lab.enrol_with(&token, &new_key()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().starts_with("TOKEN_USED: "), "{refused}");
    lab.event("TOKEN_USED").await;
}

#[tokio::test]
async fn wrong_expired_revoked_and_foreign_tokens_are_refused_by_code() {
    let lab = Lab::with_fleet().await;
    let key = new_key();
    let unknown = lab.enrol_secret(&[7; 16], &key).await.unwrap_err();
    assert!(unknown.message().starts_with("TOKEN_UNKNOWN: "), "{unknown}");
    let api = lab.admin.token.clone();
    let api = lab.enrol_secret(api.as_bytes(), &key).await.unwrap_err();
    assert!(api.message().starts_with("TOKEN_UNKNOWN: "), "{api}");

    let mut operator = lab.operator().await;
    let asked = CreateTokenRequest {
        kind: TokenKind::Enrolment.into(),
        edge: "b1-1".into(),
        valid_for_s: 1,
        ..Default::default()
    };
    let short = operator.create_token(asked.clone()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let short = short.into_inner().token;
    let expired = lab.enrol_with(&short, &key).await.unwrap_err();
    assert!(expired.message().starts_with("TOKEN_EXPIRED: "), "{expired}");

    let asked = CreateTokenRequest { valid_for_s: 60, ..asked };
    let made = operator.create_token(asked).await.unwrap().into_inner();
    let revoke = RevokeTokenRequest { id: made.id };
    operator.revoke_token(revoke).await.unwrap();
    let revoked = lab.enrol_with(&made.token, &key).await.unwrap_err();
    assert!(revoked.message().starts_with("TOKEN_REVOKED: "), "{revoked}");
    for code in ["TOKEN_UNKNOWN", "TOKEN_EXPIRED", "TOKEN_REVOKED"] {
        lab.event(code).await;
    }
}

#[tokio::test]
async fn a_request_that_is_no_csr_does_not_consume_the_token() {
    let lab = Lab::with_fleet().await;
    let text = lab.enrolment_token("hq-1").await;
    let token: EnrolmentToken = text.parse().unwrap();
    let asked = hawser_proto::agent::v1::EnrolRequest {
        secret: token.secret.to_vec(),
        csr_der: b"no request".to_vec(),
        agent_version: String::new(),
    };
    let channel = channel(&lab.admin, lab.port(), None).await.unwrap();
    let mut client = hawser_proto::agent::v1::enrolment_client::EnrolmentClient::new(channel);
    let refused = client.enrol(asked).await.unwrap_err();
    assert!(refused.message().starts_with("CSR_INVALID: "), "{refused}");
    lab.enrol_with(&text, &new_key()).await.unwrap();
}

#[tokio::test]
async fn one_source_can_not_try_tokens_without_end() {
    let lab = Lab::with_fleet().await;
    let key = new_key();
    let mut limited = 0;
    for n in 0..20_u8 {
        let refused = lab.enrol_secret(&[n; 16], &key).await.unwrap_err();
        if refused.code() == Code::ResourceExhausted {
            assert!(refused.message().starts_with("RATE_LIMITED: "), "{refused}");
            limited += 1;
        }
    }
    assert!(limited >= 5, "{limited}");
}

#[tokio::test]
async fn a_token_for_an_edge_that_is_not_in_the_fleet_is_not_made() {
    let lab = Lab::with_fleet().await;
    let asked = CreateTokenRequest {
        kind: TokenKind::Enrolment.into(),
        edge: "nobody".into(),
        ..Default::default()
    };
    let refused = lab.operator().await.create_token(asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().starts_with("EDGE_UNKNOWN: "), "{refused}");
}
