//! Which CA signs, which is trusted besides, and how one takes the place of the other.
//!
//! ```text
//! pki/intermediate.{pem,key}   the one that signs
//! pki/next.{key,csr}           asked for, not signed by the root yet
//! pki/previous.pem             the one before, until it is retired; its key is gone
//! ```
//! `intermediate.pem` is the point of no return: a crash before it changes nothing, and one after it is settled at the next start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hawser_proto::authority::Authority;
use rcgen::{Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::{MAX_PEM_BYTES, PkiError, issue, parse, read_certificate};
use crate::clock::now_unix_ms;
use crate::files::{self, Access, FileError};
use crate::secret;

const KEY: &str = "intermediate.key";
const CERTIFICATE: &str = "intermediate.pem";
const NEXT_KEY: &str = "next.key";
const REQUEST: &str = "next.csr";
const PREVIOUS: &str = "previous.pem";

/// A CA of the fleet, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityFacts {
    /// Its key identifier, hexadecimal.
    pub id: String,
    /// Hexadecimal.
    pub serial: String,
    pub starts_unix_s: u64,
    pub ends_unix_s: u64,
}

/// What is in force; replaced as a whole.
pub(super) struct Trust {
    pub issuing: CertificateDer<'static>,
    pub issuing_facts: AuthorityFacts,
    pub issuer: Issuer<'static, KeyPair>,
    pub retiring: Option<(CertificateDer<'static>, AuthorityFacts)>,
    /// Judges clients: the CAs are its anchors, not the root, so that an edge of another fleet under the same root has no business here.
    pub clients: Arc<dyn ClientCertVerifier>,
}

impl Trust {
    pub fn load(dir: &Path, root: &CertificateDer<'static>) -> Result<Self, PkiError> {
        let issuing = read_certificate(&dir.join(CERTIFICATE), "intermediate")?;
        settle(dir, &issuing)?;
        let key = read_key(&dir.join(KEY))?;
        let issuer = Issuer::from_ca_cert_der(&issuing, key)
            .map_err(|source| PkiError::Issue { what: "intermediate", source })?;
        let previous = dir.join(PREVIOUS);
        let retiring = if previous.exists() {
            let previous = read_certificate(&previous, "previous intermediate")?;
            let facts = facts(&previous, root)?;
            Some((previous, facts))
        } else {
            None
        };
        let mut anchors = RootCertStore::empty();
        for anchor in [Some(&issuing), retiring.as_ref().map(|(der, _)| der)].into_iter().flatten()
        {
            anchors.add(anchor.clone()).map_err(PkiError::Anchor)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), provider).build();
        let clients = clients.map_err(PkiError::Verifier)?;
        Ok(Self { issuing_facts: facts(&issuing, root)?, issuing, issuer, retiring, clients })
    }

    /// Whether it is one whose certificates are good.
    pub fn knows(&self, id: &str) -> bool {
        let retiring = self.retiring.as_ref().is_some_and(|(_, facts)| facts.id == id);
        self.issuing_facts.id == id || retiring
    }
}

/// The request that waits for the root's signature.
pub(super) fn request(dir: &Path) -> Result<Option<String>, PkiError> {
    let path = dir.join(REQUEST);
    match path.exists() && dir.join(NEXT_KEY).exists() {
        true => Ok(Some(files::read_text(&path, MAX_PEM_BYTES)?)),
        false => Ok(None),
    }
}

/// Makes a key and a request, unless there are some.
pub(super) fn ask(dir: &Path, fleet: &str) -> Result<String, PkiError> {
    if let Some(request) = request(dir)? {
        return Ok(request);
    }
    let (key, request) = issue::intermediate_request(fleet)?;
    files::write_atomic(&dir.join(NEXT_KEY), key.as_bytes(), Access::Secret)?;
    files::write_atomic(&dir.join(REQUEST), request.as_bytes(), Access::Public)?;
    Ok(request)
}

/// The certificate that was asked for takes the present one's place on disk.
pub(super) fn install(
    dir: &Path,
    root: &CertificateDer<'static>,
    certificate_pem: &str,
) -> Result<(), PkiError> {
    let refused = |problem| PkiError::Certificate { what: "CA", problem };
    let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
        .map_err(|_| refused("it is not one PEM certificate"))?;
    let present = read_certificate(&dir.join(CERTIFICATE), "intermediate")?;
    if certificate == present {
        return Ok(());
    }
    if dir.join(PREVIOUS).exists() {
        return Err(PkiError::Overlap);
    }
    if request(dir)?.is_none() {
        return Err(PkiError::NotAsked);
    }
    let authority = Authority::verify(&certificate, root).map_err(PkiError::Authority)?;
    let key = read_key(&dir.join(NEXT_KEY))?;
    if authority.public_key != key.public_key_raw() {
        return Err(refused("it is not for the key of the request that waits"));
    }
    let now = i64::try_from(now_unix_ms() / 1000).unwrap_or(i64::MAX);
    if !(authority.not_before_unix_s..authority.not_after_unix_s).contains(&now) {
        return Err(refused("it is not valid at this time"));
    }
    let pem = |der: &CertificateDer<'_>| parse::to_pem(der);
    files::write_atomic(&dir.join(PREVIOUS), pem(&present).as_bytes(), Access::Public)?;
    files::write_atomic(&dir.join(CERTIFICATE), pem(&certificate).as_bytes(), Access::Public)?;
    settle(dir, &certificate)
}

/// Nothing trusts the CA before any more.
pub(super) fn retire(dir: &Path) -> Result<(), PkiError> {
    remove(&dir.join(PREVIOUS))
}

/// After a crash between two files of [`install`]: the next key belongs to the certificate that is there already.
fn settle(dir: &Path, issuing: &CertificateDer<'_>) -> Result<(), PkiError> {
    let next = dir.join(NEXT_KEY);
    if next.exists() {
        let key = read_key(&next)?;
        if key.public_key_raw() == parse::public_key(issuing)? {
            let pem = files::read_text(&next, MAX_PEM_BYTES)?;
            files::write_atomic(&dir.join(KEY), pem.as_bytes(), Access::Secret)?;
            remove(&dir.join(REQUEST))?;
            remove(&next)?;
        }
    }
    // The crash was before the point of no return.
    let previous = dir.join(PREVIOUS);
    if previous.exists() && read_certificate(&previous, "previous intermediate")? == *issuing {
        remove(&previous)?;
    }
    Ok(())
}

fn facts(der: &CertificateDer<'_>, root: &CertificateDer<'_>) -> Result<AuthorityFacts, PkiError> {
    let authority = Authority::verify(der, root).map_err(PkiError::Authority)?;
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    Ok(AuthorityFacts {
        id: secret::hex(&authority.key_id),
        serial: secret::hex(&authority.serial),
        starts_unix_s: seconds(authority.not_before_unix_s),
        ends_unix_s: seconds(authority.not_after_unix_s),
    })
}

fn read_key(path: &Path) -> Result<KeyPair, PkiError> {
    KeyPair::from_pem(&files::read_text(path, MAX_PEM_BYTES)?)
        .map_err(|_| PkiError::Unreadable { what: "key", path: PathBuf::from(path) })
}

fn remove(path: &Path) -> Result<(), PkiError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(FileError { doing: "removing", path: path.to_owned(), source }.into())
        }
        _ => Ok(()),
    }
}
