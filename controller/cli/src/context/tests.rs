use std::path::Path;

use super::{Context, parse};

const GOOD: &str = r#"{
    "controller": "https://192.0.2.1:7443",
    "ca_pem": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
    "token": "hawser-api1.secret"
}"#;

fn read(text: &str) -> Result<Context, String> {
    parse(text, Path::new("context.json")).map_err(|error| format!("{error}"))
}

#[test]
fn a_context_file_is_read() {
    let context = read(GOOD).unwrap();
    assert_eq!(context.controller, "https://192.0.2.1:7443");
    assert_eq!(context.token, "hawser-api1.secret");
}

#[test]
fn what_is_no_context_file_is_refused_without_showing_its_secrets() {
    let table = [
        "",
        "{}",
        "hawser-api1.secret",
        &GOOD.replace("https:", "http:"),
        &GOOD.replace("BEGIN CERTIFICATE", "BEGIN NOTHING"),
        &GOOD.replace("\"token\"", "\"tokne\""),
        &GOOD.replace("\"hawser-api1.secret\"", "{\"hawser-api1.secret\": 1}"),
        &GOOD.replace("\"hawser-api1.secret\"", "[\"hawser-api1.secret\"]"),
    ];
    for text in table {
        let error = read(text).unwrap_err();
        assert!(error.contains("context.json is no context file"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn debug_shows_no_token() {
    assert!(!format!("{:?}", read(GOOD).unwrap()).contains("secret"));
}
