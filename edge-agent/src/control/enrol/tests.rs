use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use hawser_proto::token::EnrolmentToken;
use tonic::Status;

use super::*;
use crate::control::testing::{Ca, Peer};

const SECRET: [u8; 16] = [9; 16];

fn token(ca: &Ca, controllers: &[&str]) -> EnrolmentToken {
    EnrolmentToken {
        controllers: controllers.iter().map(|c| (*c).to_owned()).collect(),
        root_pin: ca.pin(),
        secret: SECRET,
        edge: "b1-1".to_owned(),
    }
}

fn patience(seconds: u64) -> EnrolOptions {
    EnrolOptions { patience: Duration::from_secs(seconds), replace: false }
}

/// The honest answer to a request.
fn issue(ca: &Ca, request: &wire::EnrolRequest) -> Result<wire::EnrolResponse, Status> {
    if request.secret != SECRET {
        return Err(Status::permission_denied("the token is not known"));
    }
    Ok(wire::EnrolResponse {
        fleet: "acme".to_owned(),
        site: "b1".to_owned(),
        edge: "b1-1".to_owned(),
        certificate_chain_der: ca.sign_edge(&request.csr_der, "acme", "b1-1"),
        root_ca_der: ca.root().to_vec(),
        controllers: vec!["controller.example:7443".to_owned()],
    })
}

async fn honest(ca: &Arc<Ca>) -> Peer {
    let signer = ca.clone();
    Peer::start_with(ca, move |request| issue(&signer, &request)).await
}

#[tokio::test]
async fn a_token_becomes_an_identity_that_survives_on_disk() {
    let (ca, dir) = (Arc::new(Ca::new()), tempfile::tempdir().unwrap());
    let peer = honest(&ca).await;
    let token = token(&ca, &[&peer.address]);
    let identity = enrol(dir.path(), &token, &patience(20)).await.unwrap();
    assert_eq!((identity.fleet(), identity.edge()), ("acme", "b1-1"));
    let loaded = Identity::load(dir.path()).unwrap();
    assert_eq!((loaded.fleet(), loaded.edge()), ("acme", "b1-1"));
    assert_eq!(loaded.chain(), identity.chain());
    assert_eq!(loaded.root(), &ca.root());
    assert_eq!(loaded.controllers(), ["controller.example:7443"]);
    let again = enrol(dir.path(), &token, &patience(20)).await;
    assert_eq!(again.err().map(|e| e.code()), Some("ALREADY_ENROLLED"));
    let replace = EnrolOptions { replace: true, ..patience(20) };
    let replaced = enrol(dir.path(), &token, &replace).await.unwrap();
    assert_ne!(replaced.chain(), identity.chain());
}

#[tokio::test]
async fn a_controller_that_is_away_is_tried_again_and_others_too_with_the_same_key() {
    let (ca, dir) = (Arc::new(Ca::new()), tempfile::tempdir().unwrap());
    let keys = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::new(AtomicU32::new(0));
    let (signer, seen, counter) = (ca.clone(), keys.clone(), calls.clone());
    let peer = Peer::start_with(&ca, move |request| {
        let der = request.csr_der.clone().into();
        let csr = rcgen::CertificateSigningRequestParams::from_der(&der).unwrap();
        let key = rcgen::PublicKeyData::der_bytes(&csr.public_key).to_vec();
        seen.lock().unwrap().push(key);
        match counter.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Err(Status::unavailable("not yet")),
            _ => issue(&signer, &request),
        }
    })
    .await;
    let token = token(&ca, &["127.0.0.1:9", &peer.address]);
    // The first life of the agent ends before the answer.
    let early = EnrolOptions { patience: Duration::from_millis(700), replace: false };
    let _ = enrol(dir.path(), &token, &early).await;
    enrol(dir.path(), &token, &patience(20)).await.unwrap();
    let keys = keys.lock().unwrap();
    assert!(keys.len() >= 3);
    assert!(keys.iter().all(|key| *key == keys[0]));
}

#[tokio::test]
async fn a_refusal_is_final_and_leaves_no_identity() {
    let (ca, dir) = (Arc::new(Ca::new()), tempfile::tempdir().unwrap());
    let peer = honest(&ca).await;
    let token = EnrolmentToken { secret: [0; 16], ..token(&ca, &[&peer.address]) };
    let error = enrol(dir.path(), &token, &patience(20)).await.unwrap_err();
    assert_eq!(error.code(), "ENROL_REFUSED");
    assert!(error.to_string().contains("not known"));
    assert!(!Identity::exists(dir.path()));
    assert_eq!(Identity::load(dir.path()).unwrap_err().code(), "NOT_ENROLLED");
}

#[tokio::test]
async fn a_controller_without_the_pinned_root_never_sees_the_secret() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let dir = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let counter = asked.clone();
    let impostor = Peer::start_with(&theirs, move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Err(Status::internal("thanks for the secret"))
    })
    .await;
    let token = token(&ours, &[&impostor.address]);
    let before = Instant::now();
    let error = enrol(dir.path(), &token, &patience(60)).await.unwrap_err();
    assert_eq!(error.code(), "CONTROLLER_NOT_TRUSTED");
    assert!(before.elapsed() < Duration::from_secs(30), "no time is wasted on it");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_answer_that_the_token_or_the_key_contradicts_is_not_believed() {
    type Spoil = fn(&Ca, &wire::EnrolRequest, &mut wire::EnrolResponse);
    let table: [(&str, Spoil); 6] = [
        ("another root", |_, _, r| r.root_ca_der = Ca::new().root().to_vec()),
        ("a chain of another CA", |_, request, r| {
            r.certificate_chain_der = Ca::new().sign_edge(&request.csr_der, "acme", "b1-1");
        }),
        ("another edge", |ca, request, r| {
            r.certificate_chain_der = ca.sign_edge(&request.csr_der, "acme", "b2-1");
        }),
        ("another fleet", |ca, request, r| {
            r.certificate_chain_der = ca.sign_edge(&request.csr_der, "evil", "b1-1");
        }),
        ("no chain", |_, _, r| r.certificate_chain_der.clear()),
        ("another key", |ca, _, r| {
            let key = rcgen::KeyPair::generate().unwrap();
            let csr = CertificateParams::default().serialize_request(&key).unwrap();
            r.certificate_chain_der = ca.sign_edge(csr.der(), "acme", "b1-1");
        }),
    ];
    for (name, spoil) in table {
        let (ca, dir) = (Arc::new(Ca::new()), tempfile::tempdir().unwrap());
        let signer = ca.clone();
        let peer = Peer::start_with(&ca, move |request| {
            let mut response = issue(&signer, &request)?;
            spoil(&signer, &request, &mut response);
            Ok(response)
        })
        .await;
        let token = token(&ca, &[&peer.address]);
        let error = enrol(dir.path(), &token, &patience(20)).await.unwrap_err();
        assert!(["ENROL_BAD_ANSWER", "IDENTITY_OTHER_KEY"].contains(&error.code()), "{name}");
        assert!(!Identity::exists(dir.path()), "{name}");
    }
}
