//! `/f/FLEET/…` at the first fleet's name: browsers and REST of every fleet.

use hawser_proto::operator::v1::*;
use tonic::codegen::Service as _;

use crate::fleets::{FIXED, beta_data, operator_of, reach, two};
use crate::harness::*;
use crate::http::{Answer, Http, Method};

const OURS: (&str, &str) = ("hawser-console", "1");
const BETA: &str = "beta.controller.hawser";

async fn get(lab: &Lab, token: &str, path: &str) -> Answer {
    Http::new(lab, token).ask(Method::Get, path, &[], "").await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn each_fleet_is_below_its_name_with_its_own_tokens_only() {
    let (lab, beta) = two().await;
    for (path, token, fleet) in [
        ("/v1/status", &lab.admin.token, "acme"),
        ("/f/acme/v1/status", &lab.admin.token, "acme"),
        ("/f/beta/v1/status", &beta.token, "beta"),
    ] {
        let answer = get(&lab, token, path).await;
        assert_eq!((answer.status, answer.json()["fleet"].as_str()), (200, Some(fleet)), "{path}");
    }
    for (path, token) in [
        ("/v1/status", &beta.token),
        ("/f/acme/v1/status", &beta.token),
        ("/f/beta/v1/status", &lab.admin.token),
    ] {
        assert_eq!(
            code(&get(&lab, token, path).await),
            (401, "API_TOKEN_INVALID".into()),
            "{path}"
        );
    }
    // What a path holds reaches handlers as it does without the prefix.
    let at_beta = get(&lab, &beta.token, "/f/beta/v1/sites/nowhere/explanations?limit=1").await;
    assert_eq!(code(&at_beta), (404, "SITE_UNKNOWN".into()));
    // At the name of another fleet than the first nobody else is.
    let http = Http::to(&lab, &beta, BETA, None, &beta.token);
    let answer = http.ask(Method::Get, "/f/beta/v1/status", &[], "").await;
    assert_eq!(code(&answer), (404, "ROUTE_UNKNOWN".into()));
}

#[tokio::test]
async fn page_description_and_redirections_stay_below_the_prefix() {
    let (lab, _) = two().await;
    let page = get(&lab, "", "/f/beta/").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let text = String::from_utf8(page.body).unwrap();
    let absolute = ["href=\"/", "src=\"/"].into_iter().find(|absolute| text.contains(absolute));
    assert_eq!(absolute, None, "{text}");
    for (path, to) in [("/f/beta", "/f/beta/"), ("/f/beta/docs", "/f/beta/docs/")] {
        let answer = get(&lab, "", path).await;
        assert!((300..400).contains(&answer.status), "{answer:?}");
        assert_eq!(answer.header("location"), to);
    }
    for (path, servers) in [
        ("/f/beta/openapi.json", serde_json::json!([{"url": "/f/beta"}])),
        ("/openapi.json", serde_json::Value::Null),
    ] {
        assert_eq!(get(&lab, "", path).await.json()["servers"], servers, "{path}");
    }
    let script = get(&lab, "", "/f/beta/docs/swagger-initializer.js").await;
    let script = String::from_utf8(script.body).unwrap();
    assert!(script.contains("\"../openapi.json\""), "{script}");
}

#[tokio::test]
async fn a_session_is_of_its_fleet_and_its_path() {
    let (lab, beta) = two().await;
    let http = Http::new(&lab, "");
    let sign_in = async |below: &str, token: &str| {
        let body = format!(r#"{{"token": "{token}"}}"#);
        let answer = http.ask(Method::Post, &format!("{below}/v1/session"), &[OURS], &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("set-cookie").to_owned()
    };
    let (acmes, betas) =
        (sign_in("", &lab.admin.token).await, sign_in("/f/beta", &beta.token).await);
    assert!(acmes.starts_with("__Host-hawser=") && acmes.contains("; Path=/; "), "{acmes}");
    assert!(betas.starts_with("__Secure-hawser-beta="), "{betas}");
    for attribute in ["; Path=/f/beta/; ", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
        assert!(betas.contains(attribute), "{betas}");
    }
    // A browser sends the first fleet's cookie everywhere.
    let pair = |set: &str| set.split(';').next().unwrap().to_owned();
    let both = format!("{}; {}", pair(&acmes), pair(&betas));
    let who = async |below: &str, cookie: &str| {
        let path = format!("{below}/v1/session");
        let answer = http.ask(Method::Get, &path, &[("cookie", cookie)], "").await;
        (answer.status, answer.json()["fleet"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(who("/f/beta", &both).await, (200, "beta".into()));
    assert_eq!(who("", &both).await, (200, "acme".into()));
    assert_eq!(who("/f/acme", &both).await.0, 401, "the cookie there has another name");
    assert_eq!(who("/f/beta", &pair(&acmes)).await.0, 401);
    // Its change must come from the console, too.
    let cookie = pair(&betas);
    let path = "/f/beta/v1/session";
    let foreign = http.ask(Method::Delete, path, &[("cookie", &cookie)], "").await;
    assert_eq!(code(&foreign), (403, "NOT_FROM_CONSOLE".into()));
    let out = http.ask(Method::Delete, path, &[OURS, ("cookie", &cookie)], "").await;
    assert_eq!(out.status, 204);
    let set = out.header("set-cookie");
    assert!(set.starts_with("__Secure-hawser-beta=; Max-Age=0; Path=/f/beta/"), "{set}");
    assert_eq!(who("/f/beta", &both).await.0, 401);
    assert_eq!(who("", &both).await, (200, "acme".into()));
}

#[tokio::test]
async fn events_are_streamed_by_path() {
    let (lab, beta) = two().await;
    let http = Http::new(&lab, &beta.token);
    let mut lines = http.stream("/f/beta/v1/events/stream", &[]).await;
    lines.until("200 OK").await;
    lab.apply(&fleet(&[("cost: 21", "cost: 31")])).await;
    let mut operator = operator_of(&lab, &beta, BETA, &beta.token).await;
    apply(&mut operator, &fleet(&[("fleet: acme", "fleet: beta")])).await;
    let text = lines.until("REVISION_").await;
    assert_eq!(text.matches("REVISION_").count(), 2, "its name and its data: {text}");
    assert!(text.contains("revision 1") && !text.contains("revision 2"), "{text}");
}

#[tokio::test]
async fn what_is_no_fleet_is_not_found_and_what_is_not_served_says_so() {
    let (mut lab, beta) = two().await;
    let token = &beta.token.clone();
    for (path, expected) in [
        ("/f/gamma/v1/status", "FLEET_UNKNOWN"),
        ("/f/Beta/v1/status", "FLEET_UNKNOWN"),
        ("/f/%62eta/v1/status", "FLEET_UNKNOWN"),
        ("/f/../v1/status", "FLEET_UNKNOWN"),
        ("/f//v1/status", "FLEET_UNKNOWN"),
        ("/f/beta/f/beta/v1/status", "ROUTE_UNKNOWN"),
        ("/f/beta/../acme/v1/status", "ROUTE_UNKNOWN"),
        ("/f/beta//v1/status", "ROUTE_UNKNOWN"),
        ("/f/", "ROUTE_UNKNOWN"),
        ("/f", "ROUTE_UNKNOWN"),
    ] {
        let answer = get(&lab, token, path).await;
        assert_eq!(code(&answer), (404, expected.to_owned()), "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    let grpc = [("content-type", "application/grpc")];
    let path = "/f/beta/hawser.operator.v1.Operator/GetStatus";
    let answer = Http::new(&lab, token).ask(Method::Post, path, &grpc, "").await;
    assert_eq!(answer.header("grpc-status"), "12", "unimplemented");
    let told = crate::fleets::scrape(&lab).await;
    let counted = r#"hawser_controller_unknown_fleet_names_total{by="path"} 5"#;
    assert!(told.lines().any(|line| line == counted), "{told}");

    lab.stop().await;
    std::fs::write(beta_data(&lab).join("pki/intermediate.pem"), "damaged").unwrap();
    lab.restart().await;
    let answer = get(&lab, token, "/f/beta/v1/status").await;
    assert_eq!(code(&answer), (503, "FLEET_NOT_SERVED".into()));
    assert_eq!(get(&lab, &lab.admin.token, "/v1/status").await.status, 200);
}

/// Asks by one of a connection's streams.
async fn open(
    channel: &mut tonic::transport::Channel,
    path: &str,
    token: &str,
) -> axum::http::Response<tonic::body::Body> {
    let request = axum::http::Request::get(path)
        .header("authorization", format!("Bearer {token}"))
        .body(tonic::body::Body::empty())
        .unwrap();
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("ready");
    channel.call(request).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fleets_requests_by_path_leave_room_for_the_others() {
    const STREAMS: usize = 64;
    let (lab, beta) = two().await;
    let mut operator = operator_of(&lab, &beta, BETA, &beta.token).await;
    // Each token may ask only so often.
    let mut tokens = Vec::new();
    for _ in 0..4 {
        let (kind, role) = (TokenKind::Api.into(), "viewer".to_owned());
        let asked = CreateTokenRequest { kind, role, ..Default::default() };
        tokens.push(operator.create_token(asked).await.unwrap().into_inner().token);
    }
    let path = "/f/beta/v1/events/stream";
    let (mut channels, mut streams) = (Vec::new(), Vec::new());
    for n in 0..1_024 / STREAMS {
        let mut channel = reach(&lab, &lab.admin, FIXED, None).await.expect("a connection");
        for _ in 0..STREAMS {
            let answer = open(&mut channel, path, &tokens[n % 4]).await;
            assert_eq!(answer.status(), 200);
            streams.push(answer);
        }
        channels.push(channel);
    }
    let refused = get(&lab, &beta.token, path).await;
    assert_eq!(code(&refused), (429, "BUSY".into()));
    for (path, token) in [("/v1/status", &lab.admin.token), ("/f/acme/v1/status", &lab.admin.token)]
    {
        assert_eq!(get(&lab, token, path).await.status, 200, "{path}");
    }
    let status = operator.get_status(GetStatusRequest {}).await.expect("by its name").into_inner();
    assert_eq!(status.counters["requests_by_path_over_limit"], 1);
    drop((streams, channels));
    eventually("room again", async || {
        get(&lab, &beta.token, "/f/beta/v1/status").await.status == 200
    })
    .await;
}
