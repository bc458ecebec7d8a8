//! Enrolment: a token becomes an identity. The key stays on the edge; a retry brings the same one.

pub(super) mod pin;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hawser_proto::agent::v1 as wire;
use hawser_proto::agent::v1::enrolment_client::EnrolmentClient;
use hawser_proto::token::EnrolmentToken;
use rcgen::{CertificateParams, DistinguishedName, DnType};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::CertificateDer;
use tokio::time::{Instant, timeout_at};

use super::backoff;
use super::clock::Calendar;
use super::dial::{self, DialError};
use super::files::{self, FileError};
use super::identity::{EdgeKey, Identity, IdentityError};

pub use pin::spki_sha256;

/// How to enrol.
#[derive(Debug, Clone)]
pub struct EnrolOptions {
    /// Controllers that don't answer are tried again for so long.
    pub patience: Duration,
    /// Forget an identity that is there, with its generations.
    pub replace: bool,
}

impl Default for EnrolOptions {
    fn default() -> Self {
        EnrolOptions { patience: Duration::from_secs(120), replace: false }
    }
}

/// Why there is no new identity.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error("this edge is enrolled already")]
    Already,
    #[error("a running agent uses {0}")]
    InUse(PathBuf),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("can't make a signing request")]
    Request(#[source] rcgen::Error),
    #[error("can't set up TLS")]
    Tls(#[source] rustls::Error),
    #[error(transparent)]
    Dial(DialError),
    #[error("the controller refused: {}", .0.message())]
    Refused(tonic::Status),
    #[error("the controller did not answer: {}", .0.message())]
    NoAnswer(tonic::Status),
    #[error("no controller answered in time")]
    TimedOut,
    #[error("the controller's answer is wrong: {0}")]
    BadAnswer(&'static str),
}

impl EnrolError {
    /// A stable code, upper case.
    pub fn code(&self) -> &'static str {
        match self {
            EnrolError::Already => "ALREADY_ENROLLED",
            EnrolError::InUse(_) => "STATE_IN_USE",
            EnrolError::File(_) => "STATE_FILE",
            EnrolError::Identity(error) => error.code(),
            EnrolError::Request(_) | EnrolError::Tls(_) => "ENROL_INTERNAL",
            EnrolError::Dial(error) => error.code(),
            EnrolError::Refused(_) => "ENROL_REFUSED",
            EnrolError::NoAnswer(_) | EnrolError::TimedOut => "CONTROLLER_UNREACHABLE",
            EnrolError::BadAnswer(_) => "ENROL_BAD_ANSWER",
        }
    }

    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            EnrolError::Already => "use --replace to forget the present identity",
            EnrolError::InUse(_) => "stop the agent first",
            EnrolError::File(_) => "check the state directory's owner, mode and free space",
            EnrolError::Identity(error) => error.mend(),
            EnrolError::Dial(DialError::Tls { .. }) => {
                "the token is of another controller, or someone is in between: create a new token"
            }
            EnrolError::Dial(_) | EnrolError::NoAnswer(_) | EnrolError::TimedOut => {
                "check that this edge reaches the controller's addresses; the token stays good"
            }
            EnrolError::Refused(_) => "create a new token with `hawser token create`",
            EnrolError::Request(_) | EnrolError::Tls(_) | EnrolError::BadAnswer(_) => {
                "compare the controller's version with the agent's"
            }
        }
    }

    /// Who answers is not the token's controller; time does not change that.
    fn is_distrust(&self) -> bool {
        // How rustls's own errors come out of the stream; timeouts and resets are of other kinds.
        matches!(self, EnrolError::Dial(DialError::Tls { source, .. })
            if source.kind() == std::io::ErrorKind::InvalidData)
    }

    /// Another controller, or a later attempt, may do better.
    fn is_transient(&self) -> bool {
        matches!(self, EnrolError::Dial(_) | EnrolError::NoAnswer(_))
    }
}

/// Enrols this edge and stores the identity.
///
/// # Errors
/// A refusal at once; of controllers that don't answer the last error, after
/// [`EnrolOptions::patience`].
pub async fn enrol(
    state_dir: &Path,
    token: &EnrolmentToken,
    options: &EnrolOptions,
) -> Result<Identity, EnrolError> {
    files::private_dir(state_dir)?;
    let Some(_lock) = files::lock_dir(state_dir)? else {
        return Err(EnrolError::InUse(state_dir.to_owned()));
    };
    if Identity::exists(state_dir) {
        if !options.replace {
            return Err(EnrolError::Already);
        }
        forget(state_dir)?;
    }
    let calendar: Arc<Calendar> = Arc::new(Calendar::open(state_dir));
    // Stored before the first attempt: whoever answers, a retry brings the same key.
    let key = EdgeKey::load_or_create(state_dir)?;
    let request = wire::EnrolRequest {
        secret: token.secret.to_vec(),
        csr_der: signing_request(&key, &token.edge).map_err(EnrolError::Request)?,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let verifier = pin::PinnedRoot::new(token.root_pin);
    let tls = dial::anonymous_tls(verifier, calendar.clone()).map_err(EnrolError::Tls)?;
    let response = ask_until(&token.controllers, &tls, &request, options.patience).await?;
    let identity = accept(response, key, token, &*calendar)?;
    identity.save(state_dir)?;
    Ok(identity)
}

/// What belongs to the identity before. Generations too: their numbers are of another life.
fn forget(state_dir: &Path) -> Result<(), FileError> {
    for name in ["renewed.pem", "identity.pem", "identity.key", "facts", "revocations"] {
        remove(&state_dir.join(name))?;
    }
    for name in ["a", "b"] {
        remove(&state_dir.join("generations").join(name))?;
    }
    Ok(())
}

fn remove(path: &PathBuf) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(files::at("remove", path)(error))
        }
        _ => Ok(()),
    }
}

pub(super) fn signing_request(key: &EdgeKey, edge: &str) -> Result<Vec<u8>, rcgen::Error> {
    let pair = key.pair()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, edge);
    let request = params.serialize_request(&pair)?;
    Ok(request.der().to_vec())
}

async fn ask_until(
    controllers: &[String],
    tls: &dial::Tls,
    request: &wire::EnrolRequest,
    patience: Duration,
) -> Result<wire::EnrolResponse, EnrolError> {
    let end = Instant::now() + patience;
    let mut last = EnrolError::TimedOut;
    let mut impostors = 0;
    for (failures, controller) in (0..).zip(controllers.iter().cycle()) {
        match timeout_at(end, ask(controller, tls, request)).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) if error.is_transient() => last = error,
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(last),
        }
        impostors = if last.is_distrust() { impostors + 1 } else { 0 };
        if impostors == controllers.len() {
            break;
        }
        tracing::debug!(controller, code = last.code(), "enrolment attempt failed: {last}");
        let wait = backoff::wait(failures, controllers.len(), rand::random());
        if Instant::now() + wait >= end {
            break;
        }
        tokio::time::sleep(wait).await;
    }
    Err(last)
}

async fn ask(
    controller: &str,
    tls: &dial::Tls,
    request: &wire::EnrolRequest,
) -> Result<wire::EnrolResponse, EnrolError> {
    let channel = dial::dial(controller, None, tls).await.map_err(EnrolError::Dial)?;
    let answer = EnrolmentClient::new(channel).enrol(request.clone()).await;
    answer.map(tonic::Response::into_inner).map_err(|status| match status.code() {
        tonic::Code::Unavailable
        | tonic::Code::DeadlineExceeded
        | tonic::Code::Cancelled
        | tonic::Code::Unknown
        | tonic::Code::ResourceExhausted
        | tonic::Code::Aborted
        | tonic::Code::Internal => EnrolError::NoAnswer(status),
        _ => EnrolError::Refused(status),
    })
}

/// Believes nothing of the answer that the token or the key can check.
fn accept(
    response: wire::EnrolResponse,
    key: EdgeKey,
    token: &EnrolmentToken,
    time: &dyn TimeProvider,
) -> Result<Identity, EnrolError> {
    let root = CertificateDer::from(response.root_ca_der);
    if spki_sha256(&root) != Some(token.root_pin) {
        return Err(EnrolError::BadAnswer("the root is not the token's"));
    }
    let chain: Vec<_> =
        response.certificate_chain_der.into_iter().map(CertificateDer::from).collect();
    check_chain(&chain, &root, time)?;
    let controllers = match response.controllers {
        none if none.is_empty() => token.controllers.clone(),
        some => some,
    };
    let identity = Identity::new(key, chain, root, controllers)?;
    if identity.edge() != token.edge || identity.edge() != response.edge {
        return Err(EnrolError::BadAnswer("the certificate names another edge"));
    }
    if identity.fleet() != response.fleet {
        return Err(EnrolError::BadAnswer("the certificate names another fleet"));
    }
    Ok(identity)
}

fn check_chain(
    chain: &[CertificateDer<'static>],
    root: &CertificateDer<'static>,
    time: &dyn TimeProvider,
) -> Result<(), EnrolError> {
    const BAD: EnrolError = EnrolError::BadAnswer("the certificate does not lead to the root");
    let (leaf, intermediates) = chain.split_first().ok_or(BAD)?;
    let now = time.current_time().ok_or(BAD)?;
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).map_err(|_| BAD)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.build().map_err(|_| BAD)?;
    verifier.verify_client_cert(leaf, intermediates, now).map(|_| ()).map_err(|_| BAD)
}
