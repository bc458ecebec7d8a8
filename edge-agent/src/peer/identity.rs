//! Who this edge is, and what a certificate says of a peer.
//!
//! An edge's certificate names it twice: SAN DNS `<edge>.edge.<fleet>.hawser`, SAN URI `hawser://<fleet>/edge/<edge>`.

use std::fmt;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::api::KeyFingerprint;

/// This edge's certificate and key, and the fleet's root.
pub struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) root: CertificateDer<'static>,
}

/// What is wrong with an identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A PEM file can't be read as what it should be.
    #[error("{what} is not readable PEM")]
    Pem {
        /// Chain, key or root.
        what: &'static str,
        /// Where it breaks.
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate can't be read.
    #[error("{what} is not a certificate of an edge: {fault}")]
    Certificate {
        /// Which one.
        what: &'static str,
        /// What is missing or wrong.
        fault: String,
    },
    /// The TLS stack refuses it: key and certificate differ, or of an unknown kind.
    #[error("certificate and key can't be used")]
    Tls(#[from] rustls::Error),
    /// A verifier can't be made from the root.
    #[error("the root certificate can't be used: {0}")]
    Root(String),
}

impl Identity {
    /// From DER: this edge's certificate, then the intermediates; its key; the root that peers must chain to.
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        root: CertificateDer<'static>,
    ) -> Self {
        Identity { chain, key, root }
    }

    /// From PEM, as kept in the state directory.
    pub fn from_pem(chain: &[u8], key: &[u8], root: &[u8]) -> Result<Self, IdentityError> {
        let pem = |what| move |source| IdentityError::Pem { what, source };
        Ok(Identity {
            chain: CertificateDer::pem_slice_iter(chain)
                .collect::<Result<_, _>>()
                .map_err(pem("the certificate chain"))?,
            key: PrivateKeyDer::from_pem_slice(key).map_err(pem("the key"))?,
            root: CertificateDer::from_pem_slice(root).map_err(pem("the root"))?,
        })
    }

    /// Can it be used?
    pub fn check(&self) -> Result<(), IdentityError> {
        let leaf = self.chain.first().ok_or(IdentityError::Certificate {
            what: "the certificate chain",
            fault: "it is empty".into(),
        })?;
        EdgeCertificate::parse(leaf)?;
        self.roots()?;
        super::tls::certified_key(self)?;
        Ok(())
    }

    /// Serials of the CAs in its chain.
    pub(super) fn authorities(&self) -> Vec<Vec<u8>> {
        self.chain.iter().skip(1).filter_map(|der| serial(der)).collect()
    }

    pub(super) fn roots(&self) -> Result<RootCertStore, IdentityError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone())?;
        Ok(roots)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates, ..)", self.chain.len())
    }
}

/// What matters of a peer's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EdgeCertificate {
    pub(super) fleet: String,
    pub(super) edge: String,
    pub(super) key: KeyFingerprint,
    pub(super) serial: Vec<u8>,
}

impl EdgeCertificate {
    /// Reads names that both SANs agree on. Does not verify anything.
    pub(super) fn parse(der: &[u8]) -> Result<Self, IdentityError> {
        let fault = |fault: String| IdentityError::Certificate { what: "the first one", fault };
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|e| fault(format!("not X.509: {e}")))?;
        let mut dns = None;
        let mut uri = None;
        for extension in certificate.extensions() {
            let ParsedExtension::SubjectAlternativeName(san) = extension.parsed_extension() else {
                continue;
            };
            for name in &san.general_names {
                match name {
                    GeneralName::DNSName(name) => dns = dns.or_else(|| from_dns(name)),
                    GeneralName::URI(name) => uri = uri.or_else(|| from_uri(name)),
                    _ => {}
                }
            }
        }
        let names = dns.ok_or_else(|| fault("no SAN <edge>.edge.<fleet>.hawser".into()))?;
        if uri.is_some_and(|uri| uri != names) {
            return Err(fault("its SAN URI and SAN DNS name different edges".into()));
        }
        let spki = certificate.public_key().raw;
        let digest = ring::digest::digest(&ring::digest::SHA256, spki);
        let mut key = [0; 32];
        key.copy_from_slice(digest.as_ref());
        Ok(EdgeCertificate {
            fleet: names.0.to_owned(),
            edge: names.1.to_owned(),
            key: KeyFingerprint(key),
            serial: certificate.raw_serial().to_vec(),
        })
    }
}

/// The serial number of any certificate.
pub(super) fn serial(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.raw_serial().to_vec())
}

/// The DNS name that stands for an edge.
pub(super) fn dns_name(fleet: &str, edge: &str) -> String {
    format!("{edge}.edge.{fleet}.hawser")
}

/// (fleet, edge).
fn from_dns(name: &str) -> Option<(&str, &str)> {
    let (edge, fleet) = name.strip_suffix(".hawser")?.split_once(".edge.")?;
    (!edge.is_empty() && !fleet.is_empty()).then_some((fleet, edge))
}

fn from_uri(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("hawser://")?.split_once("/edge/")
}
