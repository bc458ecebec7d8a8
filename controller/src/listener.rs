//! The one listener: TCP, then TLS 1.3 with an optional client certificate of the CA of the fleet that was asked for.
//!
//! The client's hello says the fleet by the server's name; from there on nothing of the connection is another fleet's.
//! Handshakes run beside each other, each bounded in time; connections are bounded in number. What
//! is refused is counted and, when a certificate was the reason, audited.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{Acceptor, ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::error::Elapsed;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::directory::Directory;
use crate::grpc::Connection;
use crate::pki::Pki;
use crate::service::Controller;

/// Of all fleets together, until it is known whose they are.
const MAX_HANDSHAKES: usize = 8_192;
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// After an error of `accept` (out of descriptors, usually).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("listening on {address}")]
    Bind {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("setting up TLS")]
    Tls(#[source] rustls::Error),
}

pub async fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
}

/// Accepts until it is closed; each fleet's stream yields connections whose handshake is done.
pub fn serve(listener: TcpListener, fleets: Directory, closing: CancellationToken) {
    let fleets = Arc::new(fleets);
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        loop {
            let accepted = tokio::select! {
                () = closing.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                fleets.count("connections_over_limit");
                continue;
            };
            let fleets = Arc::clone(&fleets);
            tokio::spawn(async move {
                hand_on(&fleets, stream, address).await;
                drop(place);
            });
        }
    });
}

/// Bounded in time: the hello, which says the fleet, and then the handshake with that fleet.
async fn hand_on(fleets: &Directory, stream: TcpStream, address: SocketAddr) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let end = tokio::time::Instant::now() + HANDSHAKE_WITHIN;
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
    let hello = match tokio::time::timeout_at(end, hello).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(_)) => return fleets.count("tls_handshakes_failed"),
        Err(_) => return fleets.count("tls_handshakes_timed_out"),
    };
    let asked = hello.client_hello().server_name().map(str::to_owned);
    let Some(fleet) = fleets.find(asked.as_deref()) else {
        fleets.refuse_unknown(address);
        return;
    };
    let Ok(place) = Arc::clone(&fleet.places).try_acquire_owned() else {
        fleet.controller.count("connections_over_limit");
        return;
    };
    let shaking = hello.into_stream(Arc::clone(&fleet.tls));
    let done = tokio::time::timeout_at(end, shaking).await;
    if let Some(stream) = judged(&fleet.controller, done, address).await {
        // An error only says that the server is stopping.
        let _ = fleet.ready.send(Ok(Connection::new(stream, address, place))).await;
    }
}

async fn judged(
    controller: &Controller,
    shaken: Result<io::Result<TlsStream<TcpStream>>, Elapsed>,
    address: SocketAddr,
) -> Option<TlsStream<TcpStream>> {
    match shaken {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            controller.count("tls_handshakes_failed");
            if let Some(problem) = certificate_problem(&error) {
                let actor = format!("address:{}", address.ip().to_canonical());
                controller.refused(actor, "TLS_CERTIFICATE_REFUSED", "", problem).await;
            }
            None
        }
        Err(_) => {
            controller.count("tls_handshakes_timed_out");
            None
        }
    }
}

/// Why the client's certificate was refused, if it was; a scan or a broken connection is nothing to
/// record.
fn certificate_problem(error: &io::Error) -> Option<String> {
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match tls {
        rustls::Error::InvalidCertificate(problem) => Some(format!("{problem:?}")),
        rustls::Error::NoCertificatesPresented => Some("no certificate".into()),
        _ => None,
    }
}

pub(crate) fn tls_config(pki: &Arc<Pki>) -> Result<rustls::ServerConfig, ListenError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(ListenError::Tls)?
        .with_client_cert_verifier(Arc::new(Clients(Arc::clone(pki))))
        .with_cert_resolver(Arc::new(Present(Arc::clone(pki))));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The certificate is looked up at each handshake, so that a renewed one is used at once.
#[derive(Debug)]
struct Present(Arc<Pki>);

impl ResolvesServerCert for Present {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.server_key())
    }
}

/// Who judges clients is looked up at each handshake, so that a CA is trusted, or is no more, at once. A client without a certificate is an operator, or
/// an edge that enrols.
#[derive(Debug)]
struct Clients(Arc<Pki>);

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Agents have one certificate, and show it whatever is hinted.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.clients().verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.clients().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.clients().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clients().supported_verify_schemes()
    }
}
