use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use tower::ServiceExt as _;

use super::*;

const FILES: &[File] = &[
    File { name: "assets/index-abc.js", bytes: b"1" },
    File { name: "icon.svg", bytes: b"<svg/>" },
    File { name: PAGE, bytes: b"<html>" },
];

async fn ask(files: &'static [File], path: &str) -> Response {
    let request = Request::get(path).body(Body::empty()).unwrap();
    of(files).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn each_file_has_its_kind_and_the_policy() {
    for (path, kind, kept) in [
        ("/", "text/html; charset=utf-8", "no-cache"),
        ("/assets/index-abc.js", "text/javascript; charset=utf-8", FOR_EVER),
        ("/icon.svg", "image/svg+xml", "no-cache"),
    ] {
        let answer = ask(FILES, path).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!((header("content-type"), header("cache-control")), (kind.into(), kept.into()));
        assert!(header("content-security-policy").starts_with("default-src 'self';"));
        assert!(!header("content-security-policy").contains("unsafe"));
        assert_eq!(header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn what_is_no_file_of_the_console_is_not_found() {
    for path in ["/index.html", "/assets/", "/assets/other.js", "/../Cargo.toml", "/etc/passwd"] {
        assert_eq!(ask(FILES, path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn without_files_a_page_says_how_to_make_them() {
    let answer = ask(&[], "/").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().contains_key("content-security-policy"));
    let page = to_bytes(answer.into_body(), 1 << 16).await.unwrap();
    let page = String::from_utf8(page.to_vec()).unwrap();
    assert!(page.contains("has no console") && page.contains("make console"), "{page}");
    // Its policy forbids what is inline.
    assert!(!page.contains("<style") && !page.contains("<script") && !page.contains("style="));
    assert_eq!(ask(&[], "/missing.css").await.status(), StatusCode::OK);
}
