//! Another CA takes over: what is refused on the way, what is told, what is left behind by force.

use hawser_controller::pki;
use hawser_proto::agent::v1::GenerationState;
use hawser_proto::agent::v1::agent_message::Message as FromAgent;
use hawser_proto::agent::v1::controller_message::Message as ToAgent;
use hawser_proto::agent::v1::{Authorities, RenewalRequest};
use hawser_proto::authority::{Authority as Verified, issuer_key_id};
use hawser_proto::operator::v1::*;
use hawser_proto::revocation::RevocationList;
use prost::Message as _;
use tonic::Status;

use crate::harness::*;
use crate::http::{Http, Method};

async fn rotate(lab: &Lab, certificate_pem: &str) -> Result<AuthorityStatus, Status> {
    let request = RotateAuthorityRequest {
        certificate_pem: certificate_pem.to_owned(),
        renew_within_s: 7,
        comment: "yearly".to_owned(),
    };
    Ok(lab.operator().await.rotate_authority(request).await?.into_inner())
}

async fn retire(lab: &Lab, force: bool) -> Result<AuthorityStatus, Status> {
    let request = RetireAuthorityRequest { force, comment: "yearly".to_owned() };
    Ok(lab.operator().await.retire_authority(request).await?.into_inner())
}

fn sign(lab: &Lab, request_pem: &str) -> String {
    let read = |name: &str| std::fs::read_to_string(lab.data().join(name)).expect("a file");
    pki::sign_next(&read("pki/root.pem"), &read("root-offline.key"), request_pem).expect("signed")
}

fn root(lab: &Lab) -> Vec<u8> {
    use rustls_pki_types::pem::PemObject as _;
    let root = rustls_pki_types::CertificateDer::from_pem_slice(lab.admin.ca_pem.as_bytes());
    root.expect("the root").to_vec()
}

async fn authorities(agent: &mut Agent) -> Authorities {
    match agent.next().await {
        ToAgent::Authorities(told) => told,
        other => panic!("no authorities but {other:?}"),
    }
}

async fn moved(agent: &mut Agent, edge: &str) -> EdgeKeys {
    let key = new_key();
    let request = rcgen::CertificateParams::default().serialize_request(&key).expect("a request");
    let csr_der = request.der().to_vec();
    agent.say(FromAgent::RenewalRequest(RenewalRequest { csr_der })).await;
    match agent.next().await {
        ToAgent::Certificate(answer) if answer.fault.is_none() => {
            EdgeKeys { edge: edge.to_owned(), chain: answer.certificate_chain_der, key }
        }
        other => panic!("no certificate but {other:?}"),
    }
}

fn code(refused: Result<AuthorityStatus, Status>) -> String {
    let status = refused.expect_err("a refusal");
    status.message().split(':').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn agents_are_told_of_the_next_ca_move_to_it_and_no_other_way_leads_there() {
    let mut lab = Lab::with_fleet().await;
    let (hub, branch) = (lab.enrol("hq-1").await, lab.enrol("b1-1").await);
    let mut at_hub = lab.connect(&hub, GenerationState::default()).await;
    at_hub.take_generation().await;
    assert_eq!(code(retire(&lab, true).await), "CA_NOTHING_TO_RETIRE");
    assert_eq!(code(rotate(&lab, &lab.admin.ca_pem).await), "CA_NOT_ASKED");
    let asked = rotate(&lab, "").await.expect("a request");
    assert_eq!(rotate(&lab, "").await.expect("the same").request_pem, asked.request_pem);
    assert_eq!(code(rotate(&lab, &lab.admin.ca_pem).await), "CA_REFUSED");
    at_hub.hears_nothing().await;

    let signed = sign(&lab, &asked.request_pem);
    let overlap = rotate(&lab, &signed).await.expect("installed");
    assert_eq!(overlap.stage(), AuthorityStage::Overlap);
    assert_eq!((overlap.edges, &overlap.left[..]), (2, &["b1-1".into(), "hq-1".into()][..]));
    assert_eq!(
        rotate(&lab, &signed).await.expect("once more").rotated_unix_ms,
        overlap.rotated_unix_ms
    );
    assert_eq!(code(rotate(&lab, "").await), "CA_OVERLAP");
    let told = authorities(&mut at_hub).await;
    assert_eq!(told.renew_within_s, 7);
    let issuing = Verified::verify(&told.issuing_der, &root(&lab)).expect("of the root");
    let before = issuer_key_id(&hub.chain[0]).expect("of a CA");
    assert_ne!(issuing.key_id, before);
    assert_eq!(told.trusted_der, [hub.chain[1].clone()]);
    at_hub.hears_nothing().await;

    // The edge has moved when it shows the new certificate, not when it got it.
    let new = moved(&mut at_hub, "hq-1").await;
    assert_eq!(issuer_key_id(&new.chain[0]), Some(issuing.key_id));
    let looked = || async {
        Http::new(&lab, &lab.admin.token).ask(Method::Get, "/v1/authority", &[], "").await
    };
    assert_eq!(looked().await.json()["left"], serde_json::json!(["b1-1", "hq-1"]));
    let mut again = lab.connect(&new, GenerationState::default()).await;
    again.take_generation().await;
    authorities(&mut again).await;
    assert_eq!(looked().await.json()["left"], serde_json::json!(["b1-1"]));
    assert_eq!(code(retire(&lab, false).await), "CA_IN_USE");

    // What is known of it outlives the controller; the edge that was away is told as it comes.
    lab.restart().await;
    let mut late = lab.connect(&branch, GenerationState::default()).await;
    late.take_generation().await;
    assert_eq!(authorities(&mut late).await.issuing_der, told.issuing_der);
    let late_new = moved(&mut late, "b1-1").await;
    let mut late = lab.connect(&late_new, GenerationState::default()).await;
    late.take_generation().await;
    authorities(&mut late).await;
    let done = retire(&lab, false).await.expect("nobody is left");
    assert_eq!((done.stage(), done.edges_left), (AuthorityStage::Steady, 0));
    match late.next().await {
        ToAgent::RevocationList(list) => {
            let list = RevocationList::verify(&list.encode_to_vec(), &root(&lab)).expect("a list");
            assert!(list.names(&hub.chain[1]) && !list.names(&late_new.chain[1]));
            assert!(!list.is_by_one_of(list.serials()), "the new one has signed it");
        }
        other => panic!("no list but {other:?}"),
    }
    late.hears_nothing().await;
    let hello = hello("acme", "b1-1", GenerationState::default());
    assert!(lab.open(Some(&branch), hello).await.is_err(), "TLS refuses the old certificate");
    for code in ["CA_REQUESTED", "CA_ROTATED", "CA_RETIRED"] {
        let asked = ListAuditRequest { page_size: 1_000, ..Default::default() };
        let log = lab.operator().await.list_audit(asked).await.expect("the log").into_inner();
        let count = log.entries.iter().filter(|entry| entry.action == code).count();
        assert_eq!(count, 1, "{code}");
    }
}

#[tokio::test]
async fn who_is_left_behind_by_force_is_cut_off_and_enrols_again() {
    let lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    agent.take_generation().await;
    let asked = rotate(&lab, "").await.expect("a request");
    rotate(&lab, &sign(&lab, &asked.request_pem)).await.expect("installed");
    authorities(&mut agent).await;
    retire(&lab, true).await.expect("forced");
    let refusal = loop {
        match agent.next().await {
            ToAgent::Refusal(refusal) => break refusal,
            ToAgent::RevocationList(_) => {}
            other => panic!("no refusal but {other:?}"),
        }
    };
    assert_eq!(refusal.code, "CA_RETIRED");
    let again = lab.enrol("b1-1").await;
    lab.connect(&again, GenerationState::default()).await;
    lab.event("CA_RETIRED").await;
}
