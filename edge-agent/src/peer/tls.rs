//! TLS 1.3 between edges: both show certificates of the fleet's CA; no resumption, no 0-RTT.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, SignatureScheme};
use tokio::sync::watch;

use super::api::RevokedSerials;
use super::identity::{EdgeCertificate, Identity, IdentityError, serial};

/// The peer protocol, version 1.
pub(super) const ALPN: &[u8] = b"hawser-peer/1";

/// A set of revoked serials that may change at any time.
pub type Revocations = watch::Receiver<Arc<RevokedSerials>>;

/// Both ends' configurations.
pub(super) struct TlsConfigs {
    pub(super) client: Arc<QuicClientConfig>,
    pub(super) server: Arc<QuicServerConfig>,
}

/// From our identity, the fleet's name, what is revoked, and the time that certificates are judged by.
pub(super) fn configs(
    identity: &Identity,
    fleet: &str,
    revoked: &Revocations,
    clock: &Arc<dyn TimeProvider>,
) -> Result<TlsConfigs, IdentityError> {
    let provider = provider();
    let roots = Arc::new(identity.roots()?);
    let own = Arc::new(SingleCertAndKey::from(certified_key(identity)?));
    let rules = Rules { fleet: fleet.to_owned(), revoked: revoked.clone() };

    let server_verifier =
        WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|e| IdentityError::Root(e.to_string()))?;
    let mut client = rustls::ClientConfig::builder_with_details(provider.clone(), clock.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptorVerifier {
            inner: server_verifier,
            rules: rules.clone(),
        }))
        .with_client_cert_resolver(own.clone());
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.resumption = Resumption::disabled();
    client.enable_early_data = false;

    let client_verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|e| IdentityError::Root(e.to_string()))?;
    let mut server = rustls::ServerConfig::builder_with_details(provider, clock.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(OpenerVerifier { inner: client_verifier, rules }))
        .with_cert_resolver(own);
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.max_early_data_size = 0;

    let no_suite = |_| IdentityError::Root("no cipher suite for QUIC's first packets".into());
    Ok(TlsConfigs {
        client: Arc::new(QuicClientConfig::try_from(client).map_err(no_suite)?),
        server: Arc::new(QuicServerConfig::try_from(server).map_err(no_suite)?),
    })
}

/// ring, named: with several providers in one program none is the default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Certificate and key, which must belong together.
pub(super) fn certified_key(identity: &Identity) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(identity.chain.clone(), identity.key.clone_key(), &provider())
}

/// What both ends ask of a certificate beyond its chain.
#[derive(Debug, Clone)]
struct Rules {
    fleet: String,
    revoked: Revocations,
}

impl Rules {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), CertificateError> {
        let revoked = self.revoked.borrow();
        for certificate in std::iter::once(end_entity).chain(intermediates) {
            let serial = serial(certificate).ok_or(CertificateError::BadEncoding)?;
            if revoked.contains(&serial) {
                return Err(CertificateError::Revoked);
            }
        }
        let named =
            EdgeCertificate::parse(end_entity).map_err(|_| CertificateError::NotValidForName)?;
        if named.fleet != self.fleet {
            // Becomes alert access_denied, which nothing else does: `close` calls it wrong_fleet.
            return Err(CertificateError::ApplicationVerificationFailure);
        }
        Ok(())
    }
}

/// How the opener of a connection judges the acceptor. webpki checks chain, usage and name.
#[derive(Debug)]
struct AcceptorVerifier {
    inner: Arc<WebPkiServerVerifier>,
    rules: Rules,
}

impl ServerCertVerifier for AcceptorVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        self.rules.check(end_entity, intermediates)?;
        Ok(verified)
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

/// How the acceptor judges the opener: who it is must still be looked up among the configured peers.
#[derive(Debug)]
struct OpenerVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    rules: Rules,
}

impl ClientCertVerifier for OpenerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        self.rules.check(end_entity, intermediates)?;
        Ok(verified)
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
