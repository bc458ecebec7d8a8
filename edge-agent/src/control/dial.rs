//! One connection to a controller: TCP over a chosen uplink, TLS, HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hawser_proto::revocation::RevocationList;
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use super::enrol::pin::{PinnedRoot, spki_sha256};
use super::identity::{CONTROLLER_NAME, Identity};

/// A name has so long to be resolved, an address to answer, TLS to be shaken.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that is silent is pinged after so long...
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// ...and given up when the ping is not answered in so long: a dead uplink is noticed in 10 s.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Of a name that stands for more addresses, only these are tried.
const MAX_ADDRESSES: usize = 4;
/// Octets of the root's pin in the name that a controller is asked for.
const PIN_IN_NAME_BYTES: usize = 16;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("can't resolve {address}")]
    Resolve {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("can't bind to the interface {interface}")]
    Bind {
        interface: String,
        #[source]
        source: io::Error,
    },
    #[error("can't reach {address}")]
    Connect {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("{address} does not prove that it is the controller")]
    Tls {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("no HTTP/2 with {address}")]
    Http {
        address: String,
        #[source]
        source: tonic::transport::Error,
    },
}

impl DialError {
    /// A stable code, upper case.
    pub fn code(&self) -> &'static str {
        match self {
            DialError::Resolve { .. } => "CONTROLLER_NAME_UNRESOLVED",
            DialError::Bind { .. } => "UPLINK_UNUSABLE",
            DialError::Connect { .. } => "CONTROLLER_UNREACHABLE",
            DialError::Tls { .. } => "CONTROLLER_NOT_TRUSTED",
            DialError::Http { .. } => "CONTROLLER_NO_HTTP2",
        }
    }
}

/// The newest list of certificates that are good no more.
pub type Ended = watch::Receiver<Option<Arc<RevocationList>>>;

/// How a controller is talked to: TLS, and the name that it is asked for.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    asked: ServerName<'static>,
}

impl Tls {
    /// `pin`: of the fleet's root. A controller of several fleets takes the name for the one whose root it is; others look at no name.
    fn new(config: ClientConfig, pin: &[u8; 32]) -> Result<Self, rustls::Error> {
        let root: String = pin[..PIN_IN_NAME_BYTES].iter().map(|b| format!("{b:02x}")).collect();
        let asked = ServerName::try_from(format!("{root}.root.{CONTROLLER_NAME}"))
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        Ok(Self { config: Arc::new(config), asked })
    }
}

/// The name that the certificate must have, whatever was asked for: the root is the fleet's alone, so no other name would prove more, and
/// controllers from before there were several fleets have it too.
pub(super) fn proven_name() -> Result<ServerName<'static>, rustls::Error> {
    ServerName::try_from(CONTROLLER_NAME).map_err(|error| rustls::Error::General(error.to_string()))
}

/// TLS of an enrolled edge: its own certificate, and none but the fleet's root, under which no CA is that the fleet has retired.
///
/// # Errors
/// The identity's root, chain or key can't be used.
pub fn enrolled_tls(
    identity: &Identity,
    time: Arc<dyn TimeProvider>,
    ended: Ended,
) -> Result<Tls, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.root().clone())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = builder(time)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NotEnded { inner, ended }))
        .with_client_auth_cert(identity.chain().to_vec(), identity.key().der())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    let pin = spki_sha256(identity.root());
    Tls::new(config, &pin.ok_or(rustls::Error::General("the root can't be read".to_owned()))?)
}

/// webpki's verdict; then no certificate of the chain may be one that has ended.
#[derive(Debug)]
struct NotEnded {
    inner: Arc<WebPkiServerVerifier>,
    ended: Ended,
}

impl ServerCertVerifier for NotEnded {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _asked: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            &proven_name()?,
            ocsp_response,
            now,
        )?;
        let ended = self.ended.borrow();
        let mut chain = std::iter::once(end_entity).chain(intermediates);
        match ended.as_deref() {
            Some(list) if chain.any(|certificate| list.names(certificate)) => {
                Err(CertificateError::Revoked.into())
            }
            _ => Ok(verified),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// TLS of an edge that has no certificate yet.
///
/// # Errors
/// The TLS library refuses its own defaults.
pub fn anonymous_tls(
    verifier: PinnedRoot,
    time: Arc<dyn TimeProvider>,
) -> Result<Tls, rustls::Error> {
    let pin = *verifier.pin();
    let mut config = builder(time)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Tls::new(config, &pin)
}

fn builder(
    time: Arc<dyn TimeProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_details(provider, time)
        .with_protocol_versions(&[&rustls::version::TLS13])
}

/// Connects to `address` (`host:port`), over `interface` if one is given. The channel is this one
/// connection: when it breaks, so do the calls on it.
///
/// # Errors
/// The step that failed.
pub async fn dial(address: &str, interface: Option<&str>, tls: &Tls) -> Result<Channel, DialError> {
    let tcp = connect(address, interface).await?;
    let stream = shake_hands(address, tcp, tls).await?;
    let stream = Arc::new(Mutex::new(Some(stream)));
    let once = tower::service_fn(move |_| {
        let taken = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move { taken.map(TokioIo::new).ok_or(io::Error::from(io::ErrorKind::NotConnected)) }
    });
    // The scheme says only that tonic shall add no TLS of its own.
    Endpoint::from_static("http://controller.hawser")
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(once)
        .await
        .map_err(|source| DialError::Http { address: address.to_owned(), source })
}

async fn connect(address: &str, interface: Option<&str>) -> Result<TcpStream, DialError> {
    let failed = |source| DialError::Connect { address: address.to_owned(), source };
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for candidate in resolve(address).await? {
        let socket = socket(candidate, interface)?;
        match within(socket.connect(candidate)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}

async fn resolve(address: &str) -> Result<Vec<SocketAddr>, DialError> {
    let found = within(tokio::net::lookup_host(address)).await;
    let found =
        found.map_err(|source| DialError::Resolve { address: address.to_owned(), source })?;
    Ok(found.take(MAX_ADDRESSES).collect())
}

fn socket(to: SocketAddr, interface: Option<&str>) -> Result<TcpSocket, DialError> {
    let bind =
        |source| DialError::Bind { interface: interface.unwrap_or("(any)").to_owned(), source };
    let socket =
        Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP)).map_err(bind)?;
    socket.set_nonblocking(true).map_err(bind)?;
    socket.set_tcp_nodelay(true).map_err(bind)?;
    let give_up = KEEPALIVE_INTERVAL + KEEPALIVE_TIMEOUT;
    socket.set_tcp_user_timeout(Some(give_up)).map_err(bind)?;
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes())).map_err(bind)?;
    }
    Ok(TcpSocket::from_std_stream(socket.into()))
}

async fn shake_hands(
    address: &str,
    tcp: TcpStream,
    tls: &Tls,
) -> Result<TlsStream<TcpStream>, DialError> {
    let failed = |source| DialError::Tls { address: address.to_owned(), source };
    let connector = TlsConnector::from(tls.config.clone());
    within(connector.connect(tls.asked.clone(), tcp)).await.map_err(failed)
}

async fn within<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STEP_TIMEOUT, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
