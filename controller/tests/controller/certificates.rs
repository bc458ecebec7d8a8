//! Renewed over the stream, revoked everywhere, learned back from agents after a restore.

use hawser_controller::backup::{self, Restored};
use hawser_controller::store::StoreChoice;
use hawser_proto::agent::v1::agent_message::Message as FromAgent;
use hawser_proto::agent::v1::controller_message::Message as ToAgent;
use hawser_proto::agent::v1::*;
use hawser_proto::operator::v1::*;
use hawser_proto::revocation::{RevocationList as Verified, plain};
use prost::Message as _;
use rcgen::KeyPair;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::harness::*;

fn serial(keys: &EdgeKeys) -> Vec<u8> {
    let (_, certificate) = X509Certificate::from_der(&keys.chain[0]).expect("a certificate");
    plain(certificate.raw_serial()).to_vec()
}

/// The list that comes next on the stream, verified as agents do it.
async fn list(lab: &Lab, agent: &mut Agent) -> Verified {
    match agent.next().await {
        ToAgent::RevocationList(list) => verified(lab, &list),
        other => panic!("no list but {other:?}"),
    }
}

fn verified(lab: &Lab, list: &RevocationList) -> Verified {
    use rustls_pki_types::pem::PemObject as _;
    let root = rustls_pki_types::CertificateDer::from_pem_slice(lab.admin.ca_pem.as_bytes());
    Verified::verify(&list.encode_to_vec(), &root.expect("the root")).expect("a good list")
}

async fn revoke(lab: &Lab, target: &str) -> RevokeResponse {
    let asked = RevokeRequest { target: target.into(), comment: "stolen".into() };
    lab.operator().await.revoke(asked).await.expect("revoked").into_inner()
}

async fn renew(agent: &mut Agent, key: &KeyPair) -> hawser_proto::agent::v1::Certificate {
    let request = rcgen::CertificateParams::default().serialize_request(key).expect("a request");
    let csr_der = request.der().to_vec();
    agent.say(FromAgent::RenewalRequest(RenewalRequest { csr_der })).await;
    match agent.next().await {
        ToAgent::Certificate(answer) => answer,
        other => panic!("no certificate but {other:?}"),
    }
}

#[tokio::test]
async fn a_new_key_is_certified_over_the_stream_and_the_old_one_stays_good_until_it_ends() {
    let lab = Lab::with_fleet().await;
    let old = lab.enrol("hq-1").await;
    let mut agent = lab.connect(&old, GenerationState::default()).await;
    agent.take_generation().await;
    let key = new_key();
    let answer = renew(&mut agent, &key).await;
    assert_eq!(answer.fault, None);
    let new = EdgeKeys { edge: "hq-1".into(), chain: answer.certificate_chain_der, key };
    assert_ne!(serial(&old), serial(&new));
    agent.hears_nothing().await;
    // The agent may crash before it has stored the new one, or use it at once.
    lab.connect(&old, GenerationState::default()).await;
    lab.connect(&new, GenerationState::default()).await;
    lab.event("EDGE_RENEWED").await;
    // Revoking the edge ends both.
    let done = revoke(&lab, "hq-1").await;
    assert_eq!(done.serials.len(), 2);
    for keys in [&old, &new] {
        let hello = hello("acme", "hq-1", GenerationState::default());
        let refusal = lab.open(Some(keys), hello).await.expect("a stream").refusal().await;
        assert_eq!(refusal.code, "CERTIFICATE_REVOKED");
    }
}

#[tokio::test]
async fn a_request_that_is_none_gets_a_reason_and_the_stream_goes_on() {
    let lab = Lab::with_fleet().await;
    let keys = lab.enrol("hq-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    agent.take_generation().await;
    let csr_der = b"no request".to_vec();
    agent.say(FromAgent::RenewalRequest(RenewalRequest { csr_der })).await;
    match agent.next().await {
        ToAgent::Certificate(answer) => {
            assert_eq!(answer.fault.expect("a reason").code, "CSR_INVALID");
            assert!(answer.certificate_chain_der.is_empty());
        }
        other => panic!("no answer but {other:?}"),
    }
    assert_eq!(renew(&mut agent, &new_key()).await.fault, None);
}

#[tokio::test]
async fn a_revoked_edge_is_cut_off_and_every_other_gets_the_signed_list_now_and_after_a_restart() {
    let mut lab = Lab::with_fleet().await;
    let (hub, branch) = (lab.enrol("hq-1").await, lab.enrol("b1-1").await);
    let mut at_hub = lab.connect(&hub, GenerationState::default()).await;
    let mut at_branch = lab.connect(&branch, GenerationState::default()).await;
    at_hub.take_generation().await;
    at_branch.take_generation().await;

    let done = revoke(&lab, "b1").await;
    assert_eq!(done.serials.len(), 1);
    assert_eq!(at_branch.refusal().await.code, "CERTIFICATE_REVOKED");
    let told = list(&lab, &mut at_hub).await;
    assert_eq!(told.number(), done.list_number);
    assert_eq!(told.serials().iter().collect::<Vec<_>>(), [&serial(&branch)]);
    let status = lab.edge_status("b1-1").await;
    assert!(status.revoked && status.certificate_ends_unix_s > 0);
    lab.event("EDGE_REVOKED").await;
    // Nothing more to revoke is no error, and no new list.
    assert_eq!(revoke(&lab, "b1").await, RevokeResponse::default());
    at_hub.hears_nothing().await;

    drop((at_hub, at_branch));
    lab.restart().await;
    let knows = |number| Hello { revocations: number, ..hello("acme", "hq-1", Default::default()) };
    let mut behind = lab.open(Some(&hub), knows(0)).await.expect("a session");
    let mut found = None;
    while found.is_none() {
        match behind.next().await {
            ToAgent::RevocationList(list) => found = Some(verified(&lab, &list)),
            ToAgent::Welcome(welcome) => assert_eq!(welcome.revocations, told.number()),
            _ => {}
        }
    }
    assert_eq!(found.map(|list| list.serials().clone()), Some(told.serials().clone()));
    let again = hello("acme", "b1-1", GenerationState::default());
    let refusal = lab.open(Some(&branch), again).await.expect("a stream").refusal().await;
    assert_eq!(refusal.code, "CERTIFICATE_REVOKED");
}

#[tokio::test]
async fn a_replaced_box_enrols_with_its_token_and_the_old_one_stays_out() {
    let lab = Lab::with_fleet().await;
    let old = lab.enrol("b1-1").await;
    let asked = ReplaceRequest { target: "b1".into(), ..Default::default() };
    let replaced = lab.operator().await.replace(asked).await.expect("replaced").into_inner();
    assert_eq!(replaced.revoked.expect("what was revoked").serials.len(), 1);
    let token = replaced.tokens[0].token.clone().expect("a token").token;
    let key = new_key();
    let answer = lab.enrol_with(&token, &key).await.expect("a certificate");
    let new = EdgeKeys { edge: "b1-1".into(), chain: answer.certificate_chain_der, key };
    lab.connect(&new, GenerationState::default()).await;
    let hello = hello("acme", "b1-1", GenerationState::default());
    let refusal = lab.open(Some(&old), hello).await.expect("a stream").refusal().await;
    assert_eq!(refusal.code, "CERTIFICATE_REVOKED");
    assert!(!lab.edge_status("b1-1").await.revoked);
}

#[tokio::test]
async fn enrolling_another_device_ends_what_the_one_before_could_show() {
    let lab = Lab::with_fleet().await;
    let hub = lab.enrol("hq-1").await;
    let mut at_hub = lab.connect(&hub, GenerationState::default()).await;
    at_hub.take_generation().await;
    let old = lab.enrol("b1-1").await;
    lab.enrol("b1-1").await;
    let told = list(&lab, &mut at_hub).await;
    assert!(told.serials().contains(&serial(&old)) && told.serials().len() == 1);
}

#[tokio::test]
async fn what_a_restored_controller_has_forgotten_comes_back_from_an_agent_and_forgeries_do_not() {
    let lab = Lab::with_fleet().await;
    let (hub, branch) = (lab.enrol("hq-1").await, lab.enrol("b1-1").await);
    // A controller of the same CA that has revoked more: this one, before it is made to forget.
    let mut at_hub = lab.connect(&hub, GenerationState::default()).await;
    at_hub.take_generation().await;
    let backup = lab.dir.path().join("backup");
    backup::backup(&lab.data(), &StoreChoice::Sled, &backup).await.expect("a backup");
    revoke(&lab, "b1-1").await;
    let ToAgent::RevocationList(newest) = at_hub.next().await else { panic!("no list") };
    drop(at_hub);

    let mut lab = lab;
    lab.stop().await;
    std::fs::remove_dir_all(lab.data()).expect("the folder goes");
    let filled = Restored::Filled(&StoreChoice::Sled);
    backup::restore(&backup, &lab.data(), filled).await.expect("a restore");
    lab.running = Some(start(&lab.data()).await);
    let state = GenerationState::default();
    let restored = lab.connect(&hub, state).await;
    assert_eq!(restored.welcome.as_ref().map(|welcome| welcome.revocations), Some(0));
    let mut forged = newest.clone();
    let at = forged.crl_der.len() / 2;
    forged.crl_der[at] ^= 1;
    restored.say(FromAgent::RevocationList(forged)).await;
    restored.say(FromAgent::RevocationList(newest.clone())).await;
    eventually("the list is learned", async || {
        let hello = hello("acme", "b1-1", GenerationState::default());
        let mut stream = lab.open(Some(&branch), hello).await.expect("a stream");
        matches!(stream.next().await, ToAgent::Refusal(r) if r.code == "CERTIFICATE_REVOKED")
    })
    .await;
    let status = lab.operator().await.get_status(GetStatusRequest {}).await;
    let counters = status.expect("status").into_inner().counters;
    assert_eq!(counters.get("revocation_lists_refused"), Some(&1));
}
