//! A store that fails while several fleets are served: its own fleet says so, the others go on.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once};
use std::time::Duration;

use hawser_controller::server::RunError;
use hawser_controller::store::failpoint;
use hawser_proto::agent::v1::GenerationState;
use hawser_proto::operator::v1::*;
use tonic::Code;

use crate::fleets::{FIXED, beta_data, operator_of, reach, scrape, two};
use crate::harness::*;
use crate::http::{Answer, Http, Method};

const BETA: &str = "beta.controller.hawser";
/// Longer than it takes to notice a store that failed.
const NOTICED: Duration = Duration::from_secs(3);

/// Folders whose stores fail with their next write.
static FAILING: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The hook is the whole process's, so it must be about one folder.
fn fail_store_of(data: &Path) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        failpoint::install(|place, exports| {
            let failing = place == "write-applied"
                && FAILING
                    .lock()
                    .unwrap()
                    .iter()
                    .any(|data| exports.starts_with(data.join("exports")));
            assert!(!failing, "this store is to fail");
        });
    });
    FAILING.lock().unwrap().push(data.to_owned());
}

fn mend_store_of(data: &Path) {
    FAILING.lock().unwrap().retain(|failing| failing != data);
}

/// The next write fails, and is not acknowledged.
async fn write(operator: &mut Operator) {
    let asked = CreateTokenRequest {
        kind: TokenKind::Api.into(),
        role: "viewer".into(),
        ..Default::default()
    };
    let refused = operator.create_token(asked).await.expect_err("its store fails");
    assert!(refused.message().starts_with("STORE_FAILED: "), "{refused}");
}

/// As the process does; it must go on while one store is whole.
async fn watch_stores(lab: &Lab) {
    let running = lab.running.as_ref().expect("running");
    let all_failed = tokio::time::timeout(NOTICED, running.failed()).await;
    assert!(all_failed.is_err(), "one store is whole");
}

async fn told_by_grpc(lab: &Lab, ca: &Admin, name: &str) -> (Code, String) {
    let mut operator = operator_of(lab, ca, name, &ca.token).await;
    let status = operator.get_status(GetStatusRequest {}).await.expect_err("not served");
    (status.code(), status.message().split(':').next().unwrap_or_default().to_owned())
}

async fn get(lab: &Lab, ca: &Admin, name: &str, path: &str, token: &str) -> Answer {
    Http::to(lab, ca, name, None, token).ask(Method::Get, path, &[], "").await
}

fn is_not_served(answer: &Answer) -> bool {
    answer.status == 503 && answer.json()["code"] == "FLEET_NOT_SERVED"
}

async fn beta_with_document(lab: &Lab, beta: &Admin) -> Operator {
    let mut operator = operator_of(lab, beta, BETA, &beta.token).await;
    apply(&mut operator, &fleet(&[("fleet: acme", "fleet: beta")])).await;
    operator
}

#[tokio::test(flavor = "multi_thread")]
async fn one_beside_the_first_fails_alone_and_a_restart_restores_it() {
    let (mut lab, beta) = two().await;
    let mut operator = beta_with_document(&lab, &beta).await;
    let keys = lab.enrol("b1-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    agent.take_generation().await;
    let http = Http::new(&lab, &beta.token);
    let mut watching = http.stream("/f/beta/v1/events/stream", &[]).await;
    watching.until("200 OK").await;

    fail_store_of(&beta_data(&lab));
    write(&mut operator).await;
    watch_stores(&lab).await;
    watching.end().await;
    let not_served = (Code::Unavailable, "FLEET_NOT_SERVED".to_owned());
    assert_eq!(told_by_grpc(&lab, &beta, BETA).await, not_served);
    // On a connection of before, too.
    let status = operator.get_status(GetStatusRequest {}).await.expect_err("not served");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(is_not_served(&get(&lab, &beta, BETA, "/v1/status", &beta.token).await));
    let by_path = get(&lab, &lab.admin, FIXED, "/f/beta/v1/status", &beta.token).await;
    assert!(is_not_served(&by_path), "{by_path:?}");
    let told = scrape(&lab).await;
    for line in [r#"hawser_fleet_served{fleet="acme"} 1"#, r#"hawser_fleet_served{fleet="beta"} 0"#]
    {
        assert!(told.lines().any(|told| told == line), "{line} is not in\n{told}");
    }

    // The first fleet's changes reach its agent in the session of before.
    lab.apply(&fleet(&[("cost: 21", "cost: 31")])).await;
    agent.take_generation().await;

    let stopped = lab.running.take().unwrap().stop().await;
    assert!(matches!(stopped, Err(RunError::StoreFailed)), "{stopped:?}");
    mend_store_of(&beta_data(&lab));
    lab.restart().await;
    let mut operator = operator_of(&lab, &beta, BETA, &beta.token).await;
    let status = operator.get_status(GetStatusRequest {}).await.expect("served").into_inner();
    assert_eq!((status.fleet.as_str(), status.revision), ("beta", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_fails_and_still_shows_the_way_to_the_others() {
    let (lab, beta) = two().await;
    let mut operator = beta_with_document(&lab, &beta).await;
    fail_store_of(&lab.data());
    write(&mut lab.operator().await).await;
    watch_stores(&lab).await;
    let acme = &lab.admin;
    assert_eq!(told_by_grpc(&lab, acme, FIXED).await.1, "FLEET_NOT_SERVED");
    for path in ["/v1/status", "/readyz", "/f/acme/v1/status", "/"] {
        let answer = get(&lab, acme, FIXED, path, &acme.token).await;
        assert!(is_not_served(&answer), "{path}: {answer:?}");
    }
    let alive = get(&lab, acme, FIXED, "/healthz", "").await;
    assert_eq!(alive.status, 200, "the process is well");
    let answer = get(&lab, acme, FIXED, "/f/beta/v1/status", &beta.token).await;
    assert_eq!((answer.status, answer.json()["fleet"].as_str()), (200, Some("beta")));
    let again = fleet(&[("fleet: acme", "fleet: beta"), ("cost: 21", "cost: 31")]);
    assert_eq!(apply(&mut operator, &again).await.revision, 2);
    assert!(reach(&lab, acme, "gamma.controller.hawser", None).await.is_none());

    // With the last one the process has nothing left to do.
    fail_store_of(&beta_data(&lab));
    write(&mut operator).await;
    let running = lab.running.as_ref().unwrap();
    tokio::time::timeout(NOTICED, running.failed()).await.expect("all have failed");
}
