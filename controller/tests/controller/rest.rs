use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::harness::*;
use crate::http::{Http, Method};

fn admin(lab: &Lab) -> Http {
    Http::new(lab, &lab.admin.token)
}

#[tokio::test]
async fn a_document_goes_in_and_comes_out_under_its_etag() {
    let lab = Lab::new("acme").await;
    let http = admin(&lab);
    let empty = http.ask(Method::Get, "/v1/fleet", &[], "").await;
    assert_eq!((empty.status, empty.json()["code"].as_str()), (404, Some("FLEET_EMPTY")));

    let first = fleet(&[]);
    let blind = http.ask(Method::Put, "/v1/fleet", &[], &first).await;
    assert_eq!((blind.status, blind.json()["code"].as_str()), (428, Some("PRECONDITION_REQUIRED")));
    let none = [("if-none-match", "*")];
    let made = http.ask(Method::Put, "/v1/fleet?comment=first", &none, &first).await;
    assert_eq!((made.status, made.header("etag")), (200, "\"1\""), "{made:?}");
    assert_eq!(made.json()["revision"], 1);
    let again = http.ask(Method::Put, "/v1/fleet", &none, &first).await;
    assert_eq!((again.status, again.json()["code"].as_str()), (412, Some("REVISION_CONFLICT")));

    let read = http.ask(Method::Get, "/v1/fleet", &[], "").await;
    assert_eq!((read.status, read.header("etag")), (200, "\"1\""));
    assert_eq!(read.header("content-type"), "application/yaml");
    assert_eq!(read.body, first.as_bytes());
    let same = http.ask(Method::Get, "/v1/fleet", &[("if-none-match", "\"1\"")], "").await;
    assert_eq!((same.status, same.body.len()), (304, 0));

    let second = fleet(&[("cost: 21", "cost: 31")]);
    let moved = http.ask(Method::Put, "/v1/fleet", &[("if-match", "\"9\"")], &second).await;
    assert_eq!(moved.status, 412);
    let done = http.ask(Method::Put, "/v1/fleet", &[("if-match", "\"1\"")], &second).await;
    assert_eq!((done.status, done.json()["changed"][0]["edge"].as_str()), (200, Some("b1-1")));
    let odd = http.ask(Method::Put, "/v1/fleet", &[("if-match", "nonsense")], &second).await;
    assert_eq!((odd.status, odd.json()["code"].as_str()), (400, Some("REQUEST_INVALID")));
}

#[tokio::test]
async fn faults_are_problem_details_with_every_fault_in_them() {
    let lab = Lab::with_fleet().await;
    let http = admin(&lab);
    let broken = fleet(&[("10.1.0.0/24", "10.0.0.0/24"), ("hubs: [hq]", "hubs: [nowhere]")]);
    let any = [("if-match", "*")];
    for (path, method) in [("/v1/fleet", Method::Put), ("/v1/fleet/plan", Method::Post)] {
        let refused = http.ask(method, path, &any, &broken).await;
        let problem = refused.json();
        assert_eq!(refused.status, 422, "{problem}");
        assert_eq!(refused.header("content-type"), "application/problem+json");
        assert_eq!(problem["type"], "urn:hawser:problem:DOCUMENT_FAULTY");
        assert_eq!(problem["status"], 422);
        assert!(problem["faults"].as_array().unwrap().len() >= 2);
        assert!(!problem["faults"][0]["mend"].as_str().unwrap().is_empty());
    }
    let checked = http.ask(Method::Post, "/v1/fleet/validation", &[], &broken).await.json();
    assert_eq!(checked["valid"], json!(false));
}

#[tokio::test]
async fn what_is_not_there_too_big_or_not_understood_is_a_problem_too() {
    let lab = Lab::with_fleet().await;
    let http = admin(&lab);
    let big = "#".repeat((4 << 20) + 2);
    for (method, path, body, status, code) in [
        (Method::Get, "/v2/nothing", "", 404, "ROUTE_UNKNOWN"),
        (Method::Delete, "/v1/status", "", 405, "METHOD_UNKNOWN"),
        (Method::Get, "/v1/paths?page_size=many", "", 400, "REQUEST_INVALID"),
        (Method::Get, "/v1/paths?sites=hq", "", 400, "REQUEST_INVALID"),
        (Method::Get, "/v1/paths?page_token=x", "", 400, "ARGUMENT_INVALID"),
        (Method::Get, "/v1/paths?site=nowhere", "", 404, "SITE_UNKNOWN"),
        (Method::Get, "/v1/revisions/99", "", 404, "REVISION_UNKNOWN"),
        (Method::Get, "/v1/revisions/one", "", 400, "REQUEST_INVALID"),
        (Method::Post, "/v1/tokens", "{\"rule\": 1}", 400, "REQUEST_INVALID"),
        (Method::Post, "/v1/tokens", "{}", 400, "REQUEST_INVALID"),
        (Method::Post, "/v1/rollout/abort", "[", 400, "REQUEST_INVALID"),
        (Method::Delete, "/v1/tokens/none", "", 404, "NO_SUCH_TOKEN"),
        (Method::Post, "/v1/fleet/validation", &*big, 413, "BODY_TOO_LARGE"),
    ] {
        let answer = http.ask(method, path, &[], body).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{path}");
        assert_eq!(problem["status"], status);
        assert!(problem["detail"].is_string() && problem["mend"].is_string());
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let lab = Lab::with_fleet().await;
    let http = admin(&lab);
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let path = format!("/v1/sites?page_size=2&page_token={token}");
        let page = http.ask(Method::Get, &path, &[], "").await.json();
        let sites = page["sites"].as_array().unwrap();
        names.extend(sites.iter().map(|site| site["name"].as_str().unwrap().to_owned()));
        token = page["next_page_token"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["b1", "b2", "hq"]);
    let paths = http.ask(Method::Get, "/v1/paths?site=b1", &[], "").await.json();
    assert_eq!(paths["paths"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn a_request_with_an_idempotency_key_is_done_once() {
    let lab = Lab::with_fleet().await;
    let http = admin(&lab);
    let key = [("idempotency-key", "k-1")];
    let body = r#"{"role": "viewer", "comment": "for the screen"}"#;
    let first = http.ask(Method::Post, "/v1/tokens", &key, body).await;
    let second = http.ask(Method::Post, "/v1/tokens", &key, body).await;
    assert_eq!((first.status, &first.body), (201, &second.body));
    let tokens = http.ask(Method::Get, "/v1/tokens", &[], "").await.json();
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 2);
    let other = http.ask(Method::Post, "/v1/tokens", &key, r#"{"role": "admin"}"#).await;
    assert_eq!(
        (other.status, other.json()["code"].as_str()),
        (422, Some("IDEMPOTENCY_KEY_REUSED"))
    );
    // What failed is tried again.
    let key = [("idempotency-key", "k-2")];
    let body = r#"{"edge": "none"}"#;
    assert_eq!(http.ask(Method::Post, "/v1/tokens", &key, body).await.status, 404);
    assert_eq!(http.ask(Method::Post, "/v1/tokens", &key, body).await.status, 404);
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_finds_its_request_done_once() {
    let lab = Lab::with_fleet().await;
    let http = admin(&lab);
    let key = [("idempotency-key", "k-1")];
    let body = r#"{"role": "viewer", "comment": "for the screen"}"#;
    let made = async || {
        let tokens = http.ask(Method::Get, "/v1/tokens", &[], "").await.json();
        tokens["tokens"].as_array().unwrap().len() - 1
    };
    // It may be gone before its request has come through: then nothing was begun, and it asks again, with more patience.
    let patience_ms = AtomicU64::new(0);
    eventually("the token is made, though nobody waits for it", async || {
        let after = Duration::from_millis(patience_ms.fetch_add(1, Ordering::Relaxed));
        http.leave(Method::Post, "/v1/tokens", &key, body, after).await;
        made().await > 0
    })
    .await;
    // Several at once, all of which leave but one.
    let leaving = (0..5)
        .map(|ms| http.leave(Method::Post, "/v1/tokens", &key, body, Duration::from_millis(ms)));
    futures::future::join_all(leaving).await;
    let answer = http.ask(Method::Post, "/v1/tokens", &key, body).await;
    assert_eq!((answer.status, made().await), (201, 1), "{answer:?}");
    let id = answer.json()["id"].clone();
    let tokens = http.ask(Method::Get, "/v1/tokens", &[], "").await.json();
    assert!(tokens["tokens"].as_array().unwrap().iter().any(|token| token["id"] == id));
}

#[tokio::test]
async fn an_idempotency_key_holds_over_a_restart() {
    let mut lab = Lab::with_fleet().await;
    let change = [("idempotency-key", "k-1"), ("if-match", "\"1\"")];
    let document = fleet(&[("cost: 21", "cost: 31")]);
    let first = admin(&lab).ask(Method::Put, "/v1/fleet", &change, &document).await;
    assert_eq!((first.status, first.header("etag")), (200, "\"2\""), "{first:?}");
    let key = [("idempotency-key", "k-2")];
    let body = r#"{"role": "viewer"}"#;
    let made = admin(&lab).ask(Method::Post, "/v1/tokens", &key, body).await;
    assert_eq!(made.status, 201);

    lab.restart().await;
    let http = admin(&lab);
    let second = http.ask(Method::Put, "/v1/fleet", &change, &document).await;
    assert_eq!((second.status, second.header("etag")), (200, "\"2\""), "{second:?}");
    assert_eq!(second.body, first.body);
    // A token's text is nowhere any more, but no second token is made.
    let again = http.ask(Method::Post, "/v1/tokens", &key, body).await;
    let problem = again.json();
    assert_eq!((again.status, &problem["code"]), (409, &json!("IDEMPOTENCY_ANSWER_NOT_KEPT")));
    let tokens = http.ask(Method::Get, "/v1/tokens", &[], "").await.json();
    assert_eq!(tokens["tokens"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn events_are_watched_and_a_watcher_goes_on_where_it_was() {
    let lab = Lab::with_fleet().await;
    let http = admin(&lab);
    let mut watch = http.stream("/v1/events/stream?since_unix_ms=1", &[]).await;
    let text = watch.until("REVISION_APPLIED").await;
    assert!(text.contains("text/event-stream"));
    lab.apply(&fleet(&[("cost: 21", "cost: 31")])).await;
    let text = watch.until("revision 2").await;
    let id = text.rmatch_indices("id: ").next().map(|(at, _)| &text[at + 4..]).unwrap();
    let id: u64 = id.lines().next().unwrap().trim().parse().unwrap();
    lab.apply(&fleet(&[("cost: 21", "cost: 41")])).await;
    let last = id.to_string();
    let mut again = http.stream("/v1/events/stream", &[("last-event-id", &last)]).await;
    let text = again.until("revision 3").await;
    assert!(!text.contains("revision 2"), "{text}");
}

#[tokio::test]
async fn revisions_are_listed_compared_and_rolled_back() {
    let lab = Lab::with_fleet().await;
    let http = admin(&lab);
    lab.apply(&fleet(&[("cost: 21", "cost: 31")])).await;
    let listed = http.ask(Method::Get, "/v1/revisions", &[], "").await.json();
    assert_eq!(listed["revisions"][0]["revision"], 2);
    assert_eq!(listed["revisions"][0]["current"], json!(true));
    let one = http.ask(Method::Get, "/v1/revisions?page_size=1", &[], "").await.json();
    assert_eq!(one["next_page_token"], "2");
    let rest =
        http.ask(Method::Get, "/v1/revisions?page_size=1&page_token=2", &[], "").await.json();
    assert_eq!(
        (&rest["revisions"][0]["revision"], &rest["next_page_token"]),
        (&json!(1), &json!(""))
    );
    let diff = http.ask(Method::Get, "/v1/revisions/1/diff/2", &[], "").await.json();
    let change = &diff["sites"][0]["edges"][0]["changes"][0];
    assert_eq!(change["detail"], "cost 21 → 31", "{diff}");
    let back =
        http.ask(Method::Post, "/v1/revisions/1/rollback", &[("if-match", "\"2\"")], "").await;
    assert_eq!((back.status, &back.json()["revision"]), (200, &json!(3)));
    let read = http.ask(Method::Get, "/v1/fleet", &[], "").await;
    assert_eq!(read.body, fleet(&[]).into_bytes());
}

#[tokio::test]
async fn health_and_the_page_need_no_token() {
    let lab = Lab::new("acme").await;
    let http = Http::new(&lab, "");
    for (path, kind) in [
        ("/healthz", "application/json"),
        ("/readyz", "application/json"),
        ("/openapi.json", "application/json"),
        ("/docs/", "text/html"),
        ("/docs/swagger-ui.css", "text/css"),
    ] {
        let answer = http.ask(Method::Get, path, &[], "").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(answer.header("content-type").starts_with(kind), "{path}: {answer:?}");
    }
    let page = http.ask(Method::Get, "/docs/", &[], "").await;
    assert!(!String::from_utf8_lossy(&page.body).contains("https://"), "it asks nobody else");
}
