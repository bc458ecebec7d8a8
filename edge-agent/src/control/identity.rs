//! Who this edge is: its key, its certificate chain, the fleet's root. On disk since enrolment.

use std::fmt;
use std::path::{Path, PathBuf};

use hawser_proto::authority::issuer_key_id;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use super::files::{self, FileError};

const KEY_FILE: &str = "identity.key";
const CHAIN_FILE: &str = "identity.pem";
const ROOT_FILE: &str = "root-ca.pem";
/// Key and chain of a renewed certificate in one file, so that they change together.
const RENEWED_FILE: &str = "renewed.pem";
const CONTROLLERS_FILE: &str = "controllers";
/// Largest identity file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// Name of the controller in its certificate, whatever address it is reached at.
pub const CONTROLLER_NAME: &str = "controller.hawser";

/// The identity of an enrolled edge.
pub struct Identity {
    fleet: String,
    edge: String,
    key: EdgeKey,
    chain: Vec<CertificateDer<'static>>,
    root: CertificateDer<'static>,
    controllers: Vec<String>,
    not_before_unix_s: i64,
    not_after_unix_s: i64,
}

/// Why there is no usable identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("this edge is not enrolled: {0} is missing")]
    NotEnrolled(PathBuf),
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{path} does not hold {what}")]
    Unreadable { path: PathBuf, what: &'static str },
    #[error("the certificate does not name an edge (URI SAN hawser://<fleet>/edge/<edge>)")]
    NoName,
    #[error("the certificate is for another key than identity.key")]
    OtherKey,
    #[error("the certificate is valid from {not_before_unix_s} to {not_after_unix_s} (Unix time)")]
    Expired { not_before_unix_s: i64, not_after_unix_s: i64 },
}

impl IdentityError {
    /// A stable code, upper case.
    pub fn code(&self) -> &'static str {
        match self {
            IdentityError::NotEnrolled(_) => "NOT_ENROLLED",
            IdentityError::File(_) => "STATE_FILE",
            IdentityError::Unreadable { .. } => "IDENTITY_UNREADABLE",
            IdentityError::NoName => "IDENTITY_NO_NAME",
            IdentityError::OtherKey => "IDENTITY_OTHER_KEY",
            IdentityError::Expired { .. } => "IDENTITY_EXPIRED",
        }
    }

    /// What to do about it.
    pub fn mend(&self) -> &'static str {
        match self {
            IdentityError::NotEnrolled(_) => {
                "create a token with `hawser token create`, then run `hawser-edge enrol`"
            }
            IdentityError::File(_) => "check the state directory's owner, mode and free space",
            IdentityError::Expired { .. } => "check the clock; if it is right, enrol again",
            _ => "enrol again with a new token",
        }
    }
}

/// The edge's private key: ECDSA P-256, PKCS#8. Wiped when dropped, never shown.
pub struct EdgeKey(Zeroizing<Vec<u8>>);

impl EdgeKey {
    /// Reads the key, or makes and stores one: a retried enrolment must bring the same key.
    ///
    /// # Errors
    /// The file can't be read, written or understood.
    pub fn load_or_create(state_dir: &Path) -> Result<Self, IdentityError> {
        if state_dir.join(KEY_FILE).exists() {
            return Self::load(state_dir);
        }
        let unreadable = || IdentityError::Unreadable {
            path: state_dir.join(KEY_FILE),
            what: "a new ECDSA P-256 key",
        };
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| unreadable())?;
        let key = EdgeKey(Zeroizing::new(pair.serialize_der()));
        let pem = Zeroizing::new(pair.serialize_pem());
        files::write_synced(&state_dir.join(KEY_FILE), pem.as_bytes())?;
        Ok(key)
    }

    /// A new one, for a renewal; it is not stored.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn generate() -> Result<Self, rcgen::Error> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        Ok(EdgeKey(Zeroizing::new(pair.serialize_der())))
    }

    fn load(state_dir: &Path) -> Result<Self, IdentityError> {
        let path = state_dir.join(KEY_FILE);
        let pem = Zeroizing::new(read(&path)?);
        match PrivatePkcs8KeyDer::from_pem_slice(&pem) {
            Ok(der) => Ok(EdgeKey(Zeroizing::new(der.secret_pkcs8_der().to_vec()))),
            Err(_) => Err(IdentityError::Unreadable { path, what: "a PKCS#8 private key" }),
        }
    }

    /// For signing requests.
    ///
    /// # Errors
    /// The key is of another kind than ECDSA P-256.
    pub fn pair(&self) -> Result<KeyPair, rcgen::Error> {
        let der = PrivatePkcs8KeyDer::from(self.0.as_slice());
        KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)
    }

    /// For TLS.
    pub fn der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.to_vec()))
    }
}

impl fmt::Debug for EdgeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EdgeKey(redacted)")
    }
}

impl Identity {
    /// Puts together what enrolment brought.
    ///
    /// # Errors
    /// The certificate names no edge, or is for another key.
    pub fn new(
        key: EdgeKey,
        chain: Vec<CertificateDer<'static>>,
        root: CertificateDer<'static>,
        controllers: Vec<String>,
    ) -> Result<Self, IdentityError> {
        let unreadable = || IdentityError::Unreadable {
            path: PathBuf::from(CHAIN_FILE),
            what: "a certificate chain",
        };
        let leaf = chain.first().ok_or_else(unreadable)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| unreadable())?;
        let (fleet, edge) = edge_name(&parsed).ok_or(IdentityError::NoName)?;
        let pair = key.pair().map_err(|_| IdentityError::OtherKey)?;
        if *parsed.public_key().subject_public_key.data != *pair.public_key_raw() {
            return Err(IdentityError::OtherKey);
        }
        let validity = parsed.validity();
        let not_before_unix_s = validity.not_before.timestamp();
        let not_after_unix_s = validity.not_after.timestamp();
        Ok(Identity {
            fleet,
            edge,
            key,
            chain,
            root,
            controllers,
            not_before_unix_s,
            not_after_unix_s,
        })
    }

    /// Reads what [`Self::save`] wrote.
    ///
    /// # Errors
    /// Not enrolled, or a file is damaged.
    pub fn load(state_dir: &Path) -> Result<Self, IdentityError> {
        let chain_path = state_dir.join(CHAIN_FILE);
        let chain = certificates(&chain_path)?;
        let root_path = state_dir.join(ROOT_FILE);
        let root = certificates(&root_path)?.into_iter().next();
        let root =
            root.ok_or(IdentityError::Unreadable { path: root_path, what: "a root certificate" })?;
        let controllers = read(&state_dir.join(CONTROLLERS_FILE))?;
        let controllers = String::from_utf8_lossy(&controllers);
        let controllers = controllers.lines().map(str::to_owned).collect();
        let enrolled = Self::new(EdgeKey::load(state_dir)?, chain, root, controllers)?;
        Ok(enrolled.renewed_on_disk(state_dir).unwrap_or(enrolled))
    }

    /// The renewed identity, if there is one that can be used, and is of another CA or lasts longer. (What enrolment brings begins without one.)
    fn renewed_on_disk(&self, state_dir: &Path) -> Option<Self> {
        let path = state_dir.join(RENEWED_FILE);
        let pem = Zeroizing::new(files::read_bounded(&path, MAX_FILE_BYTES).ok()??);
        let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).ok()?;
        let key = EdgeKey(Zeroizing::new(key.secret_pkcs8_der().to_vec()));
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let renewed = self.renewed(key, chain.ok()?).ok()?;
        // Of another CA: that of enrolment may have been retired meanwhile.
        let moved = renewed.authority() != self.authority();
        (moved || renewed.not_after_unix_s >= self.not_after_unix_s).then_some(renewed)
    }

    /// The same edge with another key and certificate.
    ///
    /// # Errors
    /// The certificate is of another key, or of another edge.
    pub fn renewed(
        &self,
        key: EdgeKey,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<Self, IdentityError> {
        let renewed = Self::new(key, chain, self.root.clone(), self.controllers.clone())?;
        if (renewed.fleet(), renewed.edge()) == (self.fleet(), self.edge()) {
            Ok(renewed)
        } else {
            Err(IdentityError::NoName)
        }
    }

    /// Stores a renewed identity; the one before is there until the new one is whole.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn save_renewed(&self, state_dir: &Path) -> Result<(), IdentityError> {
        let key = self.key.pair().map_err(|_| IdentityError::OtherKey)?;
        let mut text = Zeroizing::new(key.serialize_pem());
        text.push_str(&pem("CERTIFICATE", &self.chain));
        files::write_synced(&state_dir.join(RENEWED_FILE), text.as_bytes())?;
        Ok(())
    }

    /// Stores all but the key, which [`EdgeKey::load_or_create`] stored. The chain comes last: an
    /// edge whose chain is on disk is enrolled.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn save(&self, state_dir: &Path) -> Result<(), IdentityError> {
        let controllers = self.controllers.join("\n");
        files::write_synced(&state_dir.join(CONTROLLERS_FILE), controllers.as_bytes())?;
        let root = pem("CERTIFICATE", std::slice::from_ref(&self.root));
        files::write_synced(&state_dir.join(ROOT_FILE), root.as_bytes())?;
        let chain = pem("CERTIFICATE", &self.chain);
        files::write_synced(&state_dir.join(CHAIN_FILE), chain.as_bytes())?;
        Ok(())
    }

    /// Whether a chain is on disk.
    pub fn exists(state_dir: &Path) -> bool {
        state_dir.join(CHAIN_FILE).exists()
    }

    pub fn fleet(&self) -> &str {
        &self.fleet
    }

    pub fn edge(&self) -> &str {
        &self.edge
    }

    pub fn key(&self) -> &EdgeKey {
        &self.key
    }

    /// The edge's own certificate, then the intermediates.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Key identifier of the CA that signed the certificate.
    pub fn authority(&self) -> Option<Vec<u8>> {
        self.chain.first().and_then(|leaf| issuer_key_id(leaf))
    }

    /// As enrolment gave them; a generation may name newer ones.
    pub fn controllers(&self) -> &[String] {
        &self.controllers
    }

    pub fn not_before_unix_s(&self) -> i64 {
        self.not_before_unix_s
    }

    pub fn not_after_unix_s(&self) -> i64 {
        self.not_after_unix_s
    }

    /// When half of the certificate's life is over: from then on it is renewed.
    pub fn half_life_unix_s(&self) -> i64 {
        self.not_before_unix_s + (self.not_after_unix_s - self.not_before_unix_s) / 2
    }

    /// # Errors
    /// The certificate is not valid at this time.
    pub fn check_validity(&self, now_unix_s: i64) -> Result<(), IdentityError> {
        let Identity { not_before_unix_s, not_after_unix_s, .. } = *self;
        if (not_before_unix_s..=not_after_unix_s).contains(&now_unix_s) {
            Ok(())
        } else {
            Err(IdentityError::Expired { not_before_unix_s, not_after_unix_s })
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(hawser://{}/edge/{})", self.fleet, self.edge)
    }
}

/// Fleet and edge of a certificate: its URI SAN `hawser://<fleet>/edge/<edge>`.
pub fn edge_name(certificate: &X509Certificate<'_>) -> Option<(String, String)> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => {
            let (fleet, edge) = uri.strip_prefix("hawser://")?.split_once("/edge/")?;
            let plain = |s: &str| !s.is_empty() && !s.contains('/');
            (plain(fleet) && plain(edge)).then(|| (fleet.to_owned(), edge.to_owned()))
        }
        _ => None,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    files::read_bounded(path, MAX_FILE_BYTES)?
        .ok_or_else(|| IdentityError::NotEnrolled(path.to_owned()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let pem = read(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match read {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(IdentityError::Unreadable { path: path.to_owned(), what: "certificates" }),
    }
}

fn pem(label: &str, blocks: &[CertificateDer<'_>]) -> String {
    use base64::Engine as _;
    let mut out = String::new();
    for block in blocks {
        let text = base64::engine::general_purpose::STANDARD.encode(block);
        out.push_str(&format!("-----BEGIN {label}-----\n"));
        for line in text.as_bytes().chunks(64) {
            out.extend(line.iter().map(|b| char::from(*b)));
            out.push('\n');
        }
        out.push_str(&format!("-----END {label}-----\n"));
    }
    out
}
