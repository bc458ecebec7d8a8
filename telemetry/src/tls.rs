//! TLS towards collectors and stores: their CA, or the system's, and perhaps a certificate of ours.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A file, with where it was asked for.
pub type Asked = (String, PathBuf);

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{place}: {} can't be read", path.display())]
    File {
        place: String,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{place}: {} holds no usable PEM", path.display())]
    Pem { place: String, path: PathBuf },
    #[error("a client certificate needs its key, and a key its certificate")]
    HalfIdentity,
    #[error("the certificates for the other side can't be used")]
    Unusable(#[source] rustls::Error),
}

impl TlsError {
    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            TlsError::File { .. } => "check the path and who may read it",
            TlsError::Pem { .. } => "give a PEM file",
            TlsError::HalfIdentity => {
                "set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and ..._CLIENT_KEY"
            }
            TlsError::Unusable(_) => "check that certificate and key belong together",
        }
    }
}

/// `encrypted`: without it the system's CAs are not looked for, so a host without any can still speak in clear.
pub fn client_config(
    encrypted: bool,
    ca: Option<&Asked>,
    identity: (Option<&Asked>, Option<&Asked>),
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .with_root_certificates(roots(encrypted, ca)?);
    let (certificate, key) = match identity {
        (None, None) => return Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => (certificate, key),
        _ => return Err(TlsError::HalfIdentity),
    };
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| bad_pem(key))?;
    builder.with_client_auth_cert(chain, secret).map_err(TlsError::Unusable)
}

fn roots(encrypted: bool, ca: Option<&Asked>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(ca) => {
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(TlsError::Unusable)?;
            }
        }
        None if encrypted => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        None => {}
    }
    Ok(roots)
}

fn certificates(file: &Asked) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(file)?;
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    parsed.ok().filter(|c| !c.is_empty()).ok_or_else(|| bad_pem(file))
}

pub fn read((place, path): &Asked) -> Result<Vec<u8>, TlsError> {
    let file = |source| TlsError::File { place: place.clone(), path: path.clone(), source };
    std::fs::read(path).map_err(file)
}

fn bad_pem((place, path): &Asked) -> TlsError {
    TlsError::Pem { place: place.clone(), path: path.clone() }
}
