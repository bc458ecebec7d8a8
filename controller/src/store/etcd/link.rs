//! Asking an etcd cluster: TLS, one endpoint after the other, and patience with what passes.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::Rng as _;
use tokio::time::Instant;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};
use tonic::{Code, Response, Status};

use super::{EtcdOptions, MAX_ANSWER_BYTES};
use crate::store::StoreError;
use crate::store::etcd::wire::{
    kv_client::KvClient, lease_client::LeaseClient, watch_client::WatchClient,
};

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// etcd itself gives up on a proposal after seven seconds; it is asked again, which does no harm.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(5);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
const FIRST_WAIT: Duration = Duration::from_millis(20);
pub const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Connections are made when they are needed, and again after they broke.
#[derive(Debug)]
pub struct Link {
    channels: Vec<Channel>,
    current: AtomicUsize,
    patience: Duration,
}

impl Link {
    pub fn new(options: &EtcdOptions) -> Result<Self, StoreError> {
        let tls = tls(options)?;
        let channels = options.endpoints.iter().map(|endpoint| channel(endpoint, tls.as_ref()));
        let channels = channels.collect::<Result<Vec<_>, _>>()?;
        if channels.is_empty() {
            return Err(setting("--etcd-endpoints", "names none"));
        }
        Ok(Self { channels, current: AtomicUsize::new(0), patience: options.patience })
    }

    pub fn kv(&self) -> KvClient<Channel> {
        KvClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    pub fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel())
    }

    pub fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// For a request that may be repeated.
    pub async fn ask<T, F>(
        &self,
        doing: &'static str,
        request: impl Fn() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut patience = self.patience();
        loop {
            match self.once(request()).await {
                Ok(answer) => return Ok(answer),
                Err(status) => patience.after(doing, status).await?,
            }
        }
    }

    /// One attempt. If it fails the next one goes to the next endpoint.
    pub async fn once<T>(
        &self,
        request: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        let current = self.current.load(Ordering::Relaxed);
        let answer = match tokio::time::timeout(ANSWER_WITHIN, request).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        };
        if answer.as_ref().is_err_and(passes) {
            self.leave(current);
        }
        answer.map(Response::into_inner)
    }

    /// The endpoint that was asked does not serve.
    pub fn leave_current(&self) {
        self.leave(self.current.load(Ordering::Relaxed));
    }

    pub fn patience(&self) -> Patience {
        Patience { until: Instant::now() + self.patience, wait: FIRST_WAIT }
    }

    fn leave(&self, endpoint: usize) {
        let next = (endpoint + 1) % self.channels.len();
        // Somebody else has moved on already: good.
        let _ = self.current.compare_exchange(endpoint, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn channel(&self) -> Channel {
        self.channels[self.current.load(Ordering::Relaxed) % self.channels.len()].clone()
    }
}

/// How long one request may go on being tried.
#[derive(Debug)]
pub struct Patience {
    until: Instant,
    wait: Duration,
}

impl Patience {
    pub fn until(&self) -> Instant {
        self.until
    }

    /// Waits before the next attempt; the error, if there is to be none.
    pub async fn after(&mut self, doing: &'static str, status: Status) -> Result<(), StoreError> {
        let reason = reason(&status);
        if !passes(&status) {
            return Err(StoreError::Refused { doing, reason });
        }
        let wait = jittered(self.wait);
        if Instant::now() + wait >= self.until {
            return Err(StoreError::Unavailable { doing, reason });
        }
        tokio::time::sleep(wait).await;
        self.wait = (self.wait * 2).min(LONGEST_WAIT);
        Ok(())
    }
}

/// Half of it to all of it: controllers and tasks that lost the same endpoint come back one by one.
pub fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(0.5..1.0))
}

/// Trouble of the way or of the cluster, not of the request.
fn passes(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Aborted
            | Code::Unknown
            | Code::Internal
            | Code::ResourceExhausted
    )
}

/// With what is behind "transport error".
pub fn reason(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn channel(endpoint: &str, tls: Option<&ClientTlsConfig>) -> Result<Channel, StoreError> {
    let wrong = |_| setting("--etcd-endpoints", "is no URL");
    let uri: Uri = endpoint.parse().map_err(wrong)?;
    let encrypted = match uri.scheme_str() {
        Some("https") => true,
        Some("http") if is_loopback(uri.host().unwrap_or_default()) => false,
        Some("http") => {
            return Err(setting("--etcd-endpoints", "is http: outside of this machine use https"));
        }
        _ => return Err(setting("--etcd-endpoints", "is no URL that starts with https://")),
    };
    let mut builder = Endpoint::from(uri)
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(ANSWER_WITHIN)
        .keep_alive_while_idle(true);
    if encrypted {
        let tls = tls.ok_or_else(|| setting("--etcd-ca", "is needed for https"))?;
        let wrong = |_| setting("--etcd-ca", "or the client's certificate or key can't be used");
        builder = builder.tls_config(tls.clone()).map_err(wrong)?;
    }
    Ok(builder.connect_lazy())
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback())
}

fn tls(options: &EtcdOptions) -> Result<Option<ClientTlsConfig>, StoreError> {
    let Some(ca) = &options.ca else { return Ok(None) };
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
    if let Some((certificate, key)) = &options.identity {
        config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(Some(config))
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    let failed = |source| StoreError::File { doing: "reading", path: path.to_owned(), source };
    std::fs::read(path).map_err(failed)
}

fn setting(flag: &'static str, problem: &'static str) -> StoreError {
    StoreError::Setting { flag, problem }
}
