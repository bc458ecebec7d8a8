//! What a Prometheus server has kept for longer than this process does: one range of one query.
//!
//! Prometheus HTTP API, `/api/v1/query_range`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::tls::{self, TlsError};
use crate::words::{chain, words};

const TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// Questions under way; more are refused.
const QUESTIONS_MAX: usize = 4;

/// Where older figures are; nowhere until it is asked for.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Long history")]
pub struct PastFlags {
    /// Show charts of weeks from this Prometheus, which scrapes this controller or its agents, e.g. http://127.0.0.1:9090
    #[arg(long, value_name = "URL", env = "HAWSER_PROMETHEUS_URL")]
    pub prometheus_url: Option<String>,
    /// Trust this CA (PEM) for an https Prometheus, instead of the system's
    #[arg(long, value_name = "FILE", requires = "prometheus_url")]
    pub prometheus_ca_file: Option<PathBuf>,
    /// Send what this file holds as a bearer token
    #[arg(long, value_name = "FILE", requires = "prometheus_url")]
    pub prometheus_token_file: Option<PathBuf>,
}

/// Why the server can't be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    #[error("--prometheus-url: {0:?} is no URL like http://HOST:PORT or https://HOST:PORT")]
    Url(String),
    #[error("--prometheus-url must hold no user; use --prometheus-token-file")]
    User,
    #[error("--prometheus-token-file: {} holds no token", .0.display())]
    Token(PathBuf),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl PastError {
    /// Stable, upper case.
    pub fn code(&self) -> &'static str {
        match self {
            PastError::Url(_) | PastError::User => "PROMETHEUS_URL",
            PastError::Token(_) => "PROMETHEUS_TOKEN",
            PastError::Tls(TlsError::File { .. }) => "PROMETHEUS_FILE",
            PastError::Tls(_) => "PROMETHEUS_TLS",
        }
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("too many questions are under way")]
    Busy,
    #[error("it did not answer in time")]
    Timeout,
    #[error("{0}")]
    Unreachable(String),
    #[error("it answered {0}")]
    Refused(String),
    #[error("it answered with something else than a matrix")]
    Answer,
}

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct PastSeries {
    pub labels: BTreeMap<String, String>,
    /// Unix time in milliseconds, and what it was.
    pub values: Vec<(u64, f64)>,
}

/// The times asked for: from the first to the last, both ends too.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    pub first_ms: u64,
    pub last_ms: u64,
    pub step_ms: u32,
}

/// A client of one server.
#[derive(Debug)]
pub struct Past {
    endpoint: Uri,
    token: Option<HeaderValue>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    gate: Semaphore,
}

impl Past {
    /// `None`: there is no such server.
    ///
    /// # Errors
    /// A flag's value can't be used.
    pub fn from_flags(flags: &PastFlags) -> Result<Option<Self>, PastError> {
        let Some(url) = &flags.prometheus_url else { return Ok(None) };
        let endpoint = endpoint(url)?;
        let ca = flags.prometheus_ca_file.clone().map(|path| ("--prometheus-ca-file".into(), path));
        let encrypted = endpoint.scheme_str() == Some("https");
        let tls = tls::client_config(encrypted, ca.as_ref(), (None, None))?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Some(Self {
            endpoint,
            token: flags.prometheus_token_file.clone().map(token).transpose()?,
            client: Client::builder(TokioExecutor::new()).build(connector),
            gate: Semaphore::new(QUESTIONS_MAX),
        }))
    }

    /// What `query` was at each step.
    ///
    /// # Errors
    /// There is no answer, or none that makes sense.
    pub async fn range(&self, query: &str, range: Range) -> Result<Vec<PastSeries>, AskError> {
        let _place = self.gate.try_acquire().map_err(|_| AskError::Busy)?;
        let asked = tokio::time::timeout(TIMEOUT, self.ask(query, range));
        parse(&asked.await.map_err(|_| AskError::Timeout)??)
    }

    async fn ask(&self, query: &str, range: Range) -> Result<Bytes, AskError> {
        let seconds = |ms: u64| format!("{}.{:03}", ms / 1_000, ms % 1_000);
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("query", query)
            .append_pair("start", &seconds(range.first_ms))
            .append_pair("end", &seconds(range.last_ms))
            .append_pair("step", &seconds(range.step_ms.into()))
            .finish();
        let mut request = Request::post(self.endpoint.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))
            .map_err(|error| AskError::Unreachable(error.to_string()))?;
        if let Some(token) = &self.token {
            request.headers_mut().insert(header::AUTHORIZATION, token.clone());
        }
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| AskError::Unreachable(chain(&error)))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| AskError::Unreachable(error.to_string()))?.to_bytes();
        if !status.is_success() {
            let said = String::from_utf8_lossy(&body);
            return Err(AskError::Refused(format!("{status}: {}", words(&said))));
        }
        Ok(body)
    }
}

fn endpoint(url: &str) -> Result<Uri, PastError> {
    let bad = || PastError::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| bad())?;
    let authority = uri.authority().ok_or_else(bad)?;
    if authority.as_str().contains('@') {
        return Err(PastError::User);
    }
    let Some(scheme @ ("http" | "https")) = uri.scheme_str() else { return Err(bad()) };
    let path = uri.path().trim_end_matches('/');
    format!("{scheme}://{authority}{path}/api/v1/query_range").parse().map_err(|_| bad())
}

fn token(path: PathBuf) -> Result<HeaderValue, PastError> {
    let asked = ("--prometheus-token-file".to_owned(), path);
    let text = tls::read(&asked)?;
    let text = text.trim_ascii();
    let value = [b"Bearer ", text].concat();
    match HeaderValue::from_bytes(&value) {
        Ok(mut value) if !text.is_empty() => {
            value.set_sensitive(true);
            Ok(value)
        }
        _ => Err(PastError::Token(asked.1)),
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Matrix(Vec<Told>),
}

#[derive(Deserialize)]
struct Told {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

fn parse(body: &[u8]) -> Result<Vec<PastSeries>, AskError> {
    let Data::Matrix(all) =
        serde_json::from_slice::<Answer>(body).map_err(|_| AskError::Answer)?.data;
    let series = |told: Told| {
        let value = |(at, text): (f64, String)| {
            let value = text.parse().map_err(|_| AskError::Answer)?;
            Ok(((at * 1_000.0).round() as u64, value))
        };
        let values = told.values.into_iter().map(value).collect::<Result<_, AskError>>()?;
        Ok(PastSeries { labels: told.metric, values })
    };
    all.into_iter().map(series).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(url: &str) -> PastFlags {
        PastFlags { prometheus_url: Some(url.to_owned()), ..PastFlags::default() }
    }

    #[test]
    fn an_address_may_have_a_path_but_no_user() {
        assert!(Past::from_flags(&PastFlags::default()).expect("nothing asked").is_none());
        let past = Past::from_flags(&with("http://[::1]:9090/prom/")).expect("good").expect("one");
        assert_eq!(past.endpoint, "http://[::1]:9090/prom/api/v1/query_range");
        for bad in ["prometheus:9090", "ftp://p:1", "", "http://"] {
            assert_eq!(Past::from_flags(&with(bad)).expect_err(bad).code(), "PROMETHEUS_URL");
        }
        let error = Past::from_flags(&with("http://u:s3cret@p:9090")).expect_err("a user");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn a_token_is_read_once_and_never_shown() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("token");
        let flags =
            PastFlags { prometheus_token_file: Some(file.clone()), ..with("http://p:9090") };
        assert_eq!(Past::from_flags(&flags).expect_err("no file").code(), "PROMETHEUS_FILE");
        for (text, good) in [("s3cret\n", true), (" \n", false), ("s3\u{7}cret", false)] {
            std::fs::write(&file, text).expect("written");
            match Past::from_flags(&flags) {
                Ok(past) => assert!(good && !format!("{past:?}").contains("s3cret")),
                Err(error) => assert!(!good && !error.to_string().contains("s3"), "{error}"),
            }
        }
    }

    #[test]
    fn an_answer_is_a_matrix_or_an_error() {
        let body = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"edge":"hq"},"values":[[1700000000,"0.04"],[1700000060.5,"NaN"]]}]}}"#;
        let series = parse(body).expect("a matrix");
        assert_eq!(series[0].labels["edge"], "hq");
        assert_eq!(series[0].values[0], (1_700_000_000_000, 0.04));
        assert!(series[0].values[1].0 == 1_700_000_060_500 && series[0].values[1].1.is_nan());
        for bad in [
            &b"{}"[..],
            b"<html>",
            br#"{"data":{"resultType":"vector","result":[]}}"#,
            br#"{"data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"x"]]}]}}"#,
        ] {
            assert!(matches!(parse(bad), Err(AskError::Answer)));
        }
    }
}
