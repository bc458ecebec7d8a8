//! The fleet's CA is replaced under real links: one that is there, one that was away when it began.

use hawser_controller::pki;
use hawser_proto::operator::v1::{
    AuthorityStage, AuthorityStatus, GetAuthorityRequest, RetireAuthorityRequest,
    RotateAuthorityRequest,
};

use super::*;

impl World {
    async fn authority(&self) -> AuthorityStatus {
        let asked = self.operator().await.get_authority(GetAuthorityRequest {}).await;
        asked.unwrap().into_inner()
    }

    async fn rotate(&self, certificate_pem: String) -> AuthorityStatus {
        let request =
            RotateAuthorityRequest { certificate_pem, renew_within_s: 1, comment: String::new() };
        self.operator().await.rotate_authority(request).await.unwrap().into_inner()
    }

    async fn retire(&self) -> Result<AuthorityStatus, Status> {
        let request = RetireAuthorityRequest::default();
        Ok(self.operator().await.retire_authority(request).await?.into_inner())
    }

    /// What the holder of the root's key does.
    fn sign(&self, request_pem: &str) -> String {
        let read = |name: &str| {
            std::fs::read_to_string(self.data.path().join("controller").join(name)).unwrap()
        };
        pki::sign_next(&read("pki/root.pem"), &read("root-offline.key"), request_pem).unwrap()
    }

    async fn until_left(&self, wanted: &[&str]) {
        let waiting = async {
            while self.authority().await.left != wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(SOON, waiting).await.is_err() {
            panic!("not in time: {wanted:?} are left: {:#?}", self.authority().await);
        }
    }

    async fn link(&self, edge: &str) -> (Control, std::path::PathBuf) {
        let dir = self.data.path().join(edge);
        let token = self.token(edge).await;
        let identity = enrol(&dir, &token, &EnrolOptions::default()).await.unwrap();
        (start(Arc::new(identity), &dir), dir)
    }
}

/// What comes from the link is for an engine that is not there; it must not wait for one.
fn run(control: Control) -> (hawser_edge::control::ControlHandle, tokio::task::JoinHandle<()>) {
    let Control { handle, mut events, task } = control;
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    (handle, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_edge_moves_to_the_next_ca_and_the_one_before_is_retired() {
    let mut world = World::new().await;
    world.apply(FLEET).await;
    let (there, there_dir) = world.link("b1-1").await;
    let (there, _there) = run(there);
    let (away, away_dir) = world.link("b2-1").await;
    let (away, ended) = run(away);
    world.until("it was there", "b2-1", |edge| edge.connected).await;
    away.stop();
    ended.await.unwrap();
    let first = world.authority().await;
    assert_eq!((first.stage(), first.edges), (AuthorityStage::Steady, 2));

    let asked = world.rotate(String::new()).await;
    assert_eq!(asked.stage(), AuthorityStage::Requested);
    let rotated = world.rotate(world.sign(&asked.request_pem)).await;
    assert_eq!(rotated.stage(), AuthorityStage::Overlap);
    assert_eq!(rotated.retiring, first.issuing);
    world.until_left(&["b2-1"]).await;
    let moved = Identity::load(&there_dir).unwrap();
    let refused = world.retire().await.unwrap_err();
    assert!(refused.message().starts_with("CA_IN_USE"), "{refused:?}");

    // The controller starts again in the middle of it; the edge that was away knows nothing of all this.
    world.stop().await;
    world.start().await;
    let back = Arc::new(Identity::load(&away_dir).unwrap());
    let before = back.authority();
    let (back, ended) = run(start(back, &away_dir));
    world.until_left(&[]).await;
    assert_ne!(Identity::load(&away_dir).unwrap().authority(), before);
    assert_eq!(Identity::load(&away_dir).unwrap().authority(), moved.authority());

    let retired = world.retire().await.unwrap();
    assert_eq!((retired.stage(), retired.retiring), (AuthorityStage::Steady, None));
    assert_eq!(retired.issuing, rotated.issuing);
    for edge in ["b1-1", "b2-1"] {
        world.until("it has a session", edge, |edge| edge.connected).await;
    }
    // And again after a restart of either end, with nothing but the new one.
    back.stop();
    ended.await.unwrap();
    world.stop().await;
    world.start().await;
    let (_back, _ended) = run(start(Arc::new(Identity::load(&away_dir).unwrap()), &away_dir));
    for edge in ["b1-1", "b2-1"] {
        world.until("it has a session", edge, |edge| edge.connected).await;
    }
    drop(there);
}
