//! Flags first, then OpenTelemetry's variables: those for the signal, then those for all.

use std::path::PathBuf;
use std::time::Duration;

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Uri};

use crate::flags::{Signal, TelemetryFlags};
use crate::tls::{Asked, TlsError};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// Why OTLP can't be set up. Values that may be secret are not told.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    #[error("{place}: {value:?} {problem}")]
    Value { place: String, value: String, problem: &'static str },
    #[error("{place}: entry {entry} of the headers {problem}")]
    Headers { place: String, entry: usize, problem: &'static str },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl OtlpError {
    /// Stable, upper case.
    pub fn code(&self) -> &'static str {
        match self {
            OtlpError::Value { .. } => "OTLP_SETTING",
            OtlpError::Headers { .. } => "OTLP_HEADERS",
            OtlpError::Tls(TlsError::File { .. }) => "OTLP_FILE",
            OtlpError::Tls(_) => "OTLP_TLS",
        }
    }

    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            OtlpError::Value { .. } => "mend the value, or leave it out",
            OtlpError::Headers { .. } => {
                "write them as name=value,name=value, values percent-encoded"
            }
            OtlpError::Tls(error) => error.mend(),
        }
    }
}

/// What is pushed where.
pub struct Settings {
    pub protocol: Protocol,
    /// With the path, for HTTP.
    pub endpoint: Uri,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub timeout: Duration,
    pub interval: Duration,
    pub ca: Option<Asked>,
    pub client_certificate: Option<Asked>,
    pub client_key: Option<Asked>,
}

impl Signal {
    fn variable(self) -> &'static str {
        match self {
            Signal::Metrics => "METRICS",
            Signal::Traces => "TRACES",
            Signal::Logs => "LOGS",
        }
    }

    fn http_path(self) -> &'static str {
        match self {
            Signal::Metrics => "/v1/metrics",
            Signal::Traces => "/v1/traces",
            Signal::Logs => "/v1/logs",
        }
    }
}

type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// `None`: there is no endpoint, or the signal is not asked for, so nothing is pushed.
    ///
    /// # Errors
    /// A value is wrong.
    pub fn read(
        flags: &TelemetryFlags,
        signal: Signal,
        variables: Variables<'_>,
    ) -> Result<Option<Self>, OtlpError> {
        if !flags.otlp_signals.contains(&signal) {
            return Ok(None);
        }
        let of_all = |name: &str| {
            let name = format!("OTEL_EXPORTER_OTLP_{name}");
            variables(&name).filter(|v| !v.is_empty()).map(|value| (name, value))
        };
        let given =
            |name: &str| of_all(&format!("{}_{name}", signal.variable())).or_else(|| of_all(name));
        let flag = |name: &str, value: &Option<String>| value.clone().map(|v| (name.to_owned(), v));

        // An endpoint for one signal alone is taken as it is; others get the signal's path.
        let (endpoint, whole) = match (
            flag("--otlp-endpoint", &flags.otlp_endpoint),
            of_all(&format!("{}_ENDPOINT", signal.variable())),
            of_all("ENDPOINT"),
        ) {
            (Some(endpoint), ..) | (None, None, Some(endpoint)) => (endpoint, false),
            (None, Some(endpoint), _) => (endpoint, true),
            (None, None, None) => return Ok(None),
        };
        let protocol = flag("--otlp-protocol", &flags.otlp_protocol).or_else(|| given("PROTOCOL"));
        let protocol = match &protocol {
            None => Protocol::Grpc,
            Some((_, name)) if name == "grpc" => Protocol::Grpc,
            Some((_, name)) if name == "http/protobuf" => Protocol::HttpProtobuf,
            Some((place, name)) => {
                return Err(wrong(place, name, "is no protocol; there are grpc and http/protobuf"));
            }
        };
        let interval = match flags.otlp_interval_ms {
            Some(ms) => Duration::from_millis(ms.into()),
            None => {
                let name = "OTEL_METRIC_EXPORT_INTERVAL";
                let value = variables(name).map(|v| (name.to_owned(), v));
                milliseconds(value, DEFAULT_INTERVAL)?
            }
        };
        let path = |name: &str| given(name).map(|(place, path)| (place, PathBuf::from(path)));
        let ca_flag = flags.otlp_ca_file.clone().map(|path| ("--otlp-ca-file".to_owned(), path));
        Ok(Some(Settings {
            protocol,
            endpoint: uri(&endpoint, protocol, (!whole).then(|| signal.http_path()))?,
            headers: given("HEADERS").map_or(Ok(Vec::new()), |given| headers(&given))?,
            timeout: milliseconds(given("TIMEOUT"), DEFAULT_TIMEOUT)?,
            interval,
            ca: ca_flag.or_else(|| path("CERTIFICATE")),
            client_certificate: path("CLIENT_CERTIFICATE"),
            client_key: path("CLIENT_KEY"),
        }))
    }
}

fn wrong(place: &str, value: &str, problem: &'static str) -> OtlpError {
    OtlpError::Value { place: place.to_owned(), value: value.to_owned(), problem }
}

fn uri(
    (place, text): &(String, String),
    protocol: Protocol,
    signal_path: Option<&str>,
) -> Result<Uri, OtlpError> {
    let no_url = || wrong(place, text, "is no URL like http://HOST:PORT or https://HOST:PORT");
    let uri: Uri = text.parse().map_err(|_| no_url())?;
    let http = uri.scheme() == Some(&Scheme::HTTP) || uri.scheme() == Some(&Scheme::HTTPS);
    let authority = uri.authority().map_or("", |a| a.as_str());
    if !http || authority.is_empty() {
        return Err(no_url());
    }
    if authority.contains('@') {
        // Not shown: what stands before it is a password, perhaps.
        return Err(wrong(place, "...@...", "must hold no user; use headers"));
    }
    let Some(signal_path) = signal_path.filter(|_| protocol == Protocol::HttpProtobuf) else {
        return Ok(uri);
    };
    let path = format!("{}{signal_path}", uri.path().trim_end_matches('/'));
    let mut parts = uri.into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|_| no_url())?);
    Uri::from_parts(parts).map_err(|_| no_url())
}

fn milliseconds(given: Option<(String, String)>, default: Duration) -> Result<Duration, OtlpError> {
    let Some((place, text)) = given else { return Ok(default) };
    match text.trim().parse::<u32>() {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms.into())),
        _ => Err(wrong(&place, &text, "is no number of milliseconds")),
    }
}

/// `name=value,name=value`, values percent-encoded (W3C baggage). Sensitive: they are never logged.
fn headers((place, text): &(String, String)) -> Result<Vec<(HeaderName, HeaderValue)>, OtlpError> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .enumerate()
        .map(|(index, entry)| {
            let error =
                |problem| OtlpError::Headers { place: place.clone(), entry: index + 1, problem };
            let (name, value) = entry.split_once('=').ok_or_else(|| error("has no ="))?;
            let name = name.trim().to_ascii_lowercase();
            let name = HeaderName::try_from(name).map_err(|_| error("has no valid name"))?;
            let value = percent_decode(value.trim()).ok_or_else(|| error("ends in half a %"))?;
            let mut value =
                HeaderValue::from_bytes(&value).map_err(|_| error("has no valid value"))?;
            value.set_sensitive(true);
            Ok((name, value))
        })
        .collect()
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut octets = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(octet) = octets.next() {
        decoded.push(match octet {
            b'%' => {
                let digits = [octets.next()?, octets.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            octet => octet,
        });
    }
    Some(decoded)
}
