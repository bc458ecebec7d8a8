//! The fleet's CA is replaced: the edge moves to one that its root has signed, and trusts the one before no more once it is retired.

use std::sync::Arc;

use hawser_proto::agent::v1 as wire;
use hawser_proto::agent::v1::agent_message::Message as Up;
use hawser_proto::agent::v1::controller_message::Message as Down;
use tempfile::TempDir;

use crate::control::testing::{Ca, Peer, PeerSession, until};
use crate::control::{Control, Identity, start};

fn agent(ca: &Ca, dir: &TempDir, controllers: &[&str]) -> Control {
    let controllers: Vec<String> = controllers.iter().map(|c| (*c).to_owned()).collect();
    let identity = ca.identity(dir.path(), "b1-1", &controllers);
    identity.save(dir.path()).unwrap();
    start(Arc::new(identity), dir.path(), Arc::new(Vec::new)).unwrap()
}

fn told(of: &Ca) -> Down {
    Down::Authorities(wire::Authorities {
        issuing_der: of.authority_der(),
        trusted_der: Vec::new(),
        renew_within_s: 0,
    })
}

async fn event(session: &mut PeerSession, code: &str) -> wire::AgentEvent {
    session
        .expect(|message| match message {
            Up::Events(told) => told.events.into_iter().find(|event| event.code == code),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn an_edge_moves_to_another_ca_if_its_root_has_signed_it() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let mut peer = Peer::start(&ca).await;
    let _control = agent(&ca, &dir, &[&peer.address]);
    let mut session = peer.session().await;
    session.welcome(None).await;
    session.send(told(&Ca::new())).await;
    let refused = event(&mut session, "AUTHORITY_REFUSED").await;
    assert_eq!(refused.subject, "CA_NOT_TRUSTED");

    let next = ca.next();
    session.send(told(&next)).await;
    let wanted = |message| match message {
        Up::RenewalRequest(request) => Some(request.csr_der),
        _ => None,
    };
    let csr = session.expect(wanted).await;
    let certificate_chain_der = next.sign_edge(&csr, "acme", "b1-1");
    let answer = wire::Certificate { certificate_chain_der, fault: None };
    session.send(Down::Certificate(answer)).await;
    // The next connection shows it, and so does the next start.
    let moved = peer.session().await;
    moved.welcome(None).await;
    let stored = Identity::load(dir.path()).unwrap();
    assert_eq!(stored.authority(), Some(next.authority().key_id));
}

#[tokio::test]
async fn a_controller_and_a_list_of_a_retired_ca_are_not_trusted() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let next = ca.next();
    let (mut old, mut new) = (Peer::start(&ca).await, Peer::start(&next).await);
    let control = agent(&ca, &dir, &[&old.address, &new.address]);
    let mut session = old.session().await;
    session.welcome(None).await;
    session.send(Down::RevocationList(next.list(1, &[ca.authority().serial]))).await;
    event(&mut session, "REVOCATIONS_TAKEN").await;
    // Whoever has the retired CA's key can't take it back.
    session.send(Down::RevocationList(ca.list(9, &[]))).await;
    let refused = event(&mut session, "REVOCATIONS_REFUSED").await;
    assert_eq!(refused.subject, "REVOCATIONS_CA_RETIRED");

    drop(session);
    let session = new.session().await;
    session.welcome(None).await;
    let handle = control.handle.clone();
    until("the new controller's session", || handle.link_status().connected.is_some()).await;
    assert!(old.stays_alone(std::time::Duration::ZERO).await, "it got no second session");
}
