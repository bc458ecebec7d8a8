//! Signing in to the console, and what its pages may and may not do.

use hawser_controller::service::Role;
use hawser_proto::agent::v1::*;
use hawser_proto::operator::v1::*;

use crate::harness::*;
use crate::http::{Answer, Http, Method};

const OURS: (&str, &str) = ("hawser-console", "1");

async fn token(lab: &Lab, role: Role) -> CreateTokenResponse {
    let asked = CreateTokenRequest {
        kind: TokenKind::Api.into(),
        role: role.name().into(),
        ..Default::default()
    };
    lab.operator().await.create_token(asked).await.unwrap().into_inner()
}

async fn sign_in(lab: &Lab, token: &str) -> Answer {
    let body = format!(r#"{{"token": "{token}"}}"#);
    Http::new(lab, "").ask(Method::Post, "/v1/session", &[OURS], &body).await
}

/// `name=value`, as a browser sends it back.
async fn cookie(lab: &Lab, token: &str) -> String {
    let answer = sign_in(lab, token).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_signs_in_once_and_a_cookie_that_no_script_can_read_stands_for_it() {
    let lab = Lab::with_fleet().await;
    let answer = sign_in(&lab, &lab.admin.token).await;
    assert_eq!((answer.status, answer.json()["role"].as_str()), (200, Some("admin")));
    let set = answer.header("set-cookie");
    for attribute in ["__Host-hawser=", "; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(set.contains(attribute), "{set}");
    }
    assert!(set.contains("Max-Age=43") && !set.contains(&lab.admin.token), "{set}");
    assert!(!String::from_utf8_lossy(&answer.body).contains(&lab.admin.token));
    let cookie = set.split(';').next().unwrap();
    let http = Http::new(&lab, "");
    let who = http.ask(Method::Get, "/v1/session", &[("cookie", cookie)], "").await;
    assert_eq!((who.status, who.json()["fleet"].as_str()), (200, Some("acme")));
    assert!(who.json()["ends_unix_ms"].as_u64().unwrap() > 0);
    // What the cookie holds is no token.
    let value = cookie.split_once('=').unwrap().1;
    assert_eq!(Http::new(&lab, value).ask(Method::Get, "/v1/status", &[], "").await.status, 401);
}

#[tokio::test]
async fn a_wrong_token_signs_nobody_in() {
    let lab = Lab::with_fleet().await;
    for wrong in ["", "hawser-api1.wrong"] {
        let answer = sign_in(&lab, wrong).await;
        assert_eq!((answer.status, answer.header("set-cookie")), (401, ""), "{answer:?}");
    }
}

#[tokio::test]
async fn a_session_does_what_its_tokens_role_may_and_no_more() {
    let lab = Lab::with_fleet().await;
    lab.apply(&fleet(&[("cost: 21", "cost: 31")])).await;
    let http = Http::new(&lab, "");
    for (role, status) in [(Role::Viewer, 403), (Role::Operator, 200)] {
        let cookie = cookie(&lab, &token(&lab, role).await.token).await;
        let headers = [OURS, ("cookie", cookie.as_str())];
        let seen = http.ask(Method::Get, "/v1/paths", &headers, "").await;
        assert_eq!(seen.status, 200);
        let back = http.ask(Method::Post, "/v1/revisions/1/rollback", &headers, "{}").await;
        assert_eq!(back.status, status, "{role:?}: {back:?}");
        let made = http.ask(Method::Post, "/v1/tokens", &headers, r#"{"role": "admin"}"#).await;
        assert_eq!(made.status, 403, "{role:?}: {made:?}");
    }
}

#[tokio::test]
async fn another_sites_page_can_change_nothing_by_the_cookie() {
    let lab = Lab::with_fleet().await;
    let cookie = cookie(&lab, &lab.admin.token).await;
    let http = Http::new(&lab, "");
    let with = ("cookie", cookie.as_str());
    let token = format!(r#"{{"token": "{}"}}"#, lab.admin.token);
    let foreign = ("sec-fetch-site", "cross-site");
    for (path, body, headers) in [
        ("/v1/tokens", r#"{"role": "viewer"}"#, vec![with]),
        ("/v1/tokens", r#"{"role": "viewer"}"#, vec![with, OURS, foreign]),
        ("/v1/revisions/1/rollback", "{}", vec![with]),
        ("/v1/session", token.as_str(), vec![]),
    ] {
        let refused = http.ask(Method::Post, path, &headers, body).await;
        assert_eq!(refused.status, 403, "{path}: {refused:?}");
        assert_eq!(refused.json()["code"], "NOT_FROM_CONSOLE");
    }
    // Nobody is told that other origins may ask.
    let origin = [with, ("origin", "https://elsewhere.example")];
    let answer = http.ask(Method::Get, "/v1/status", &origin, "").await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let here = [with, OURS, ("sec-fetch-site", "same-origin")];
    let made = http.ask(Method::Post, "/v1/tokens", &here, r#"{"role": "viewer"}"#).await;
    assert_eq!(made.status, 201, "{made:?}");
}

#[tokio::test]
async fn signing_out_ends_the_session_and_what_is_streamed_in_it() {
    let lab = Lab::with_fleet().await;
    let cookie = cookie(&lab, &lab.admin.token).await;
    let http = Http::new(&lab, "");
    let with = ("cookie", cookie.as_str());
    let mut stream = http.stream("/v1/events/stream?since_unix_ms=1", &[with]).await;
    stream.until("REVISION_APPLIED").await;
    let out = http.ask(Method::Delete, "/v1/session", &[with, OURS], "").await;
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    stream.end().await;
    let after = http.ask(Method::Get, "/v1/status", &[with], "").await;
    assert_eq!((after.status, after.json()["code"].as_str()), (401, Some("SESSION_ENDED")));
}

#[tokio::test]
async fn a_revoked_token_ends_its_sessions() {
    let lab = Lab::with_fleet().await;
    let made = token(&lab, Role::Viewer).await;
    let cookie = cookie(&lab, &made.token).await;
    let asked = RevokeTokenRequest { id: made.id };
    lab.operator().await.revoke_token(asked).await.unwrap();
    let with = [("cookie", cookie.as_str())];
    let after = Http::new(&lab, "").ask(Method::Get, "/v1/status", &with, "").await;
    assert_eq!(after.status, 401, "{after:?}");
}

#[tokio::test]
async fn the_page_is_served_under_a_strict_policy_with_or_without_a_console() {
    let lab = Lab::new("acme").await;
    let page = Http::new(&lab, "").ask(Method::Get, "/", &[], "").await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.header("content-type").starts_with("text/html"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let text = String::from_utf8_lossy(&page.body).into_owned();
    assert!(!text.contains("https://") && !text.contains("<style"), "{text}");
    // Each script and style that it names is there, and none is inline.
    for tag in text.split('<').filter(|tag| tag.starts_with("script") || tag.starts_with("link")) {
        let name = ["src=\"", "href=\""].iter().find_map(|key| tag.split_once(key));
        let name = name.expect("it is a file").1.split('"').next().unwrap();
        let path = format!("/{}", name.trim_start_matches("./"));
        let file = Http::new(&lab, "").ask(Method::Get, &path, &[], "").await;
        assert_eq!(file.status, 200, "{path}");
        assert!(!file.body.is_empty());
    }
}

#[tokio::test]
async fn what_paths_measured_is_asked_for_in_pages_and_outlives_a_restart() {
    let mut lab = Lab::with_fleet().await;
    let keys = lab.enrol("b1-1").await;
    let mut agent = lab.connect(&keys, GenerationState::default()).await;
    agent.take_generation().await;
    let paths =
        Http::new(&lab, &lab.admin.token).ask(Method::Get, "/v1/paths?site=b1", &[], "").await;
    let id = u32::try_from(paths.json()["paths"][0]["id"].as_u64().unwrap()).unwrap();
    let path = format!("/v1/paths/{id}/history");
    let tell = |state: PathState, rtt_us| {
        let sample = PathSample { path_id: id, state: state.into(), rtt_us, ..Default::default() };
        let telemetry = Telemetry { paths: vec![sample], ..Default::default() };
        agent_message::Message::Telemetry(telemetry)
    };
    agent.say(tell(PathState::Up, 20_000)).await;
    agent.say(tell(PathState::Down, 0)).await;
    agent.say(tell(PathState::Up, 30_000)).await;
    let points = async |lab: &Lab, query: &str| {
        let http = Http::new(lab, &lab.admin.token);
        let answer = http.ask(Method::Get, &format!("{path}{query}"), &[], "").await.json();
        assert_eq!(answer["limits"][0]["max_rtt_us"], 300_000, "{answer}");
        let mut ends = answer["ends"].as_array().unwrap().clone();
        ends.retain(|end| end["edge"] == "b1-1");
        ends.remove(0)
    };
    eventually("three points", async || {
        points(&lab, "").await["points"].as_array().unwrap().len() == 3
    })
    .await;
    let end = points(&lab, "").await;
    let told: Vec<_> = end["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["state"].as_str().unwrap(), p["rtt_us"].as_u64()))
        .collect();
    assert_eq!(told, [("up", Some(20_000)), ("down", None), ("up", Some(30_000))]);
    let first = points(&lab, "?limit=1").await;
    assert_eq!(first["points"].as_array().unwrap().len(), 1);
    assert!(first["next_since_unix_ms"].as_u64().unwrap() > 0);
    drop(agent);
    lab.restart().await;
    assert_eq!(points(&lab, "").await["points"], end["points"]);
    let none = Http::new(&lab, &lab.admin.token)
        .ask(Method::Get, "/v1/paths/999999/history", &[], "")
        .await;
    assert_eq!((none.status, none.json()["code"].as_str()), (404, Some("PATH_UNKNOWN")));
}
