//! The console's files, out of the binary: nothing is read from a disk, nothing is asked of another origin.

#[cfg(test)]
mod tests;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// One file that `make console` made.
#[derive(Debug, Clone, Copy)]
struct File {
    /// As it is asked for, without the first `/`.
    name: &'static str,
    bytes: &'static [u8],
}

mod built {
    use super::File;
    include!(concat!(env!("OUT_DIR"), "/console.rs"));
}

const PAGE: &str = "index.html";
const MISSING: &str = include_str!("missing.html");
const MISSING_STYLE: &str = include_str!("missing.css");

/// Nothing inline, nothing from elsewhere, in nobody's frame.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";
/// Names of files below `assets/` hold a hash of what is in them.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// The console, or a page that says how to get one.
pub fn router() -> Router {
    of(built::FILES)
}

fn of(files: &'static [File]) -> Router {
    let mut router = Router::new();
    if !files.iter().any(|file| file.name == PAGE) {
        let answer = |name, text: &'static str| {
            let answer = move || std::future::ready(answer(name, text.as_bytes()));
            get(answer)
        };
        return router
            .route("/", answer(PAGE, MISSING))
            .route("/missing.css", answer("missing.css", MISSING_STYLE));
    }
    for file in files {
        let path = match file.name {
            PAGE => "/".to_owned(),
            name => format!("/{name}"),
        };
        router = router.route(&path, get(|| std::future::ready(answer(file.name, file.bytes))));
    }
    router
}

fn answer(name: &str, bytes: &'static [u8]) -> Response {
    let kept = if name.starts_with("assets/") { FOR_EVER } else { "no-cache" };
    let headers = [
        (header::CONTENT_TYPE, kind_of(name)),
        (header::CACHE_CONTROL, kept),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    let isolated = [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ];
    (headers, isolated, bytes).into_response()
}

fn kind_of(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        Some("png") => "image/png",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
