//! The fleet's certificates.
//!
//! ```text
//! root (offline, 20 years)
//!  └─ intermediate of the fleet (5 years, the controller's)
//!      ├─ controller (90 days, serverAuth)
//!      └─ edges (90 days, clientAuth + serverAuth)
//! ```
//! Keys are ECDSA P-256. The TLS server presents its whole chain with the root in it, so that an
//! agent that has only the root's pin can check it.

mod issue;
mod parse;
mod trust;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use hawser_proto::agent::v1::RevocationList;
use hawser_proto::authority::AuthorityFault;
use rcgen::{Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::VerifierBuilderError;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;

pub use self::parse::{EdgeIdentity, edge_identity, spki_sha256, validity_unix_s};
pub use self::trust::AuthorityFacts;
use self::trust::Trust;
use crate::clock::now_unix_ms;
use crate::files::{self, Access, FileError};

/// Name that agents and operators verify the controller by, whatever its address.
pub const CONTROLLER_NAME: &str = "controller.hawser";
/// Octets of the root's pin by which agents ask for their fleet.
const PIN_IN_NAME_BYTES: usize = 16;

/// Name by which commands ask for one fleet of several.
pub fn fleet_name(fleet: &str) -> String {
    format!("{fleet}.{CONTROLLER_NAME}")
}

/// Name by which agents ask for the fleet whose root this is the pin of: it is all that a token tells of the fleet, and it tells nobody on the way its name.
pub fn root_name(pin: &[u8; 32]) -> String {
    format!("{}.root.{CONTROLLER_NAME}", crate::secret::hex(&pin[..PIN_IN_NAME_BYTES]))
}

/// How long an edge's certificate is good, unless the operator says otherwise.
pub const EDGE_LIFETIME: Duration = Duration::from_secs(90 * 86_400);
const CONTROLLER_DAYS: u64 = 90;
const MAX_PEM_BYTES: u64 = 64 * 1024;
/// Before this remains of the intermediate its holder is warned.
const INTERMEDIATE_WARNING: Duration = Duration::from_secs(180 * 86_400);

/// `HOST:PORT` at which agents reach the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    pub host: Host,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    Name(String),
    Address(IpAddr),
}

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("making the {what} certificate")]
    Issue {
        what: &'static str,
        #[source]
        source: rcgen::Error,
    },
    #[error("the {what} in {path} can't be read")]
    Unreadable { what: &'static str, path: PathBuf },
    #[error("the {what} certificate is not as it should be: {problem}")]
    Certificate { what: &'static str, problem: &'static str },
    #[error("the certificate request is refused: {problem}")]
    Request { problem: &'static str },
    #[error("the key of the controller's certificate can't be used")]
    Key(#[source] rustls::Error),
    #[error("the CA's certificate is refused: {0}")]
    Authority(AuthorityFault),
    #[error("the fleet's CA can't be trusted")]
    Anchor(#[source] rustls::Error),
    #[error("nothing judges clients")]
    Verifier(#[source] VerifierBuilderError),
    #[error("the CA before the present one is still trusted")]
    Overlap,
    #[error("no request for another CA waits")]
    NotAsked,
}

/// A certificate for an edge's key.
#[derive(Debug, Clone)]
pub struct IssuedEdge {
    /// The edge's certificate, then the intermediate.
    pub chain: Vec<CertificateDer<'static>>,
    pub serial: String,
    /// Hex SHA-256 of the edge's SubjectPublicKeyInfo.
    pub key_sha256: String,
    pub not_after_unix_s: u64,
    /// Key identifier of the CA that signed it, hexadecimal.
    pub authority: String,
}

/// A certificate that is good no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Big-endian.
    pub serial: Vec<u8>,
    pub at_unix_s: u64,
}

/// The controller's part of the PKI.
pub struct Pki {
    fleet: String,
    dir: PathBuf,
    advertised: Vec<Advertised>,
    root: CertificateDer<'static>,
    edge_lifetime: Duration,
    trust: RwLock<Arc<Trust>>,
    server: RwLock<Server>,
}

struct Server {
    certified: Arc<CertifiedKey>,
    renew_at_unix_s: u64,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki").field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

/// Makes root, intermediate and the controller's first certificate in `data`. Nothing is
/// overwritten by the caller's own check; see [`crate::init`].
pub fn create(data: &Path, fleet: &str, advertised: &[Advertised]) -> Result<Pki, PkiError> {
    let dir = data.join("pki");
    files::create_private_dir(&dir)?;
    let root = issue::root(fleet)?;
    let intermediate = issue::intermediate(fleet, &root)?;
    let write = |path: &Path, text: String, access| {
        files::write_atomic(path, text.as_bytes(), access).map_err(PkiError::from)
    };
    write(&root_key_path(data), root.key_pem(), Access::Secret)?;
    write(&dir.join("root.pem"), root.pem(), Access::Public)?;
    write(&dir.join("intermediate.key"), intermediate.key_pem(), Access::Secret)?;
    write(&dir.join("intermediate.pem"), intermediate.pem(), Access::Public)?;
    Pki::load(data, fleet, advertised)
}

/// Where [`create`] leaves the root's key. It signs intermediates and nothing else, and belongs off
/// the machine.
pub fn root_key_path(data: &Path) -> PathBuf {
    data.join("root-offline.key")
}

impl Pki {
    /// Reads what [`create`] made; renews the controller's certificate if it is past half of its
    /// life, or names other addresses.
    pub fn load(data: &Path, fleet: &str, advertised: &[Advertised]) -> Result<Self, PkiError> {
        let dir = data.join("pki");
        let root = read_certificate(&dir.join("root.pem"), "root")?;
        let trust = Trust::load(&dir, &root)?;
        warn_of_expiry(&trust.issuing_facts);
        let chain = [root.clone(), trust.issuing.clone()];
        let server = match load_server(&dir, &chain, &trust.issuing_facts.id, fleet, advertised) {
            Some(server) => server,
            None => make_server(&dir, &chain, &trust.issuer, fleet, advertised)?,
        };
        Ok(Self {
            fleet: fleet.to_owned(),
            dir,
            advertised: advertised.to_vec(),
            root,
            edge_lifetime: EDGE_LIFETIME,
            trust: RwLock::new(Arc::new(trust)),
            server: RwLock::new(server),
        })
    }

    /// How long the certificates that it gives to edges are good.
    pub fn with_edge_lifetime(self, edge_lifetime: Duration) -> Self {
        Self { edge_lifetime, ..self }
    }

    /// Signs an edge's PKCS#10 request (DER). Of the request only its key is taken; names are the
    /// controller's to give.
    pub fn issue_edge(&self, request_der: &[u8], edge: &str) -> Result<IssuedEdge, PkiError> {
        let trust = self.trust();
        let certificate =
            issue::edge(&trust.issuer, request_der, &self.fleet, edge, self.edge_lifetime)?;
        let (_, not_after_unix_s) = validity_unix_s(&certificate.der)?;
        let key_sha256 = crate::secret::hex(&spki_sha256(&certificate.der)?);
        Ok(IssuedEdge {
            chain: vec![certificate.der, trust.issuing.clone()],
            serial: certificate.serial,
            key_sha256,
            not_after_unix_s,
            authority: trust.issuing_facts.id.clone(),
        })
    }

    /// A signed list, serialised as agents take it.
    pub fn revocation_list(
        &self,
        number: u64,
        revoked: &[Revoked],
    ) -> Result<RevocationList, PkiError> {
        let trust = self.trust();
        let crl_der = issue::revocation_list(&trust.issuer, number, revoked)?;
        Ok(RevocationList { crl_der, issuer_der: trust.issuing.to_vec() })
    }

    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// The fleet's CA: what certificates are signed by from now on.
    pub fn intermediate(&self) -> CertificateDer<'static> {
        self.trust().issuing.clone()
    }

    pub fn issuing(&self) -> AuthorityFacts {
        self.trust().issuing_facts.clone()
    }

    /// The CA before, while its certificates are good.
    pub fn retiring(&self) -> Option<(CertificateDer<'static>, AuthorityFacts)> {
        self.trust().retiring.clone()
    }

    /// Whether certificates of the CA with this key identifier are good.
    pub fn trusts(&self, authority: &str) -> bool {
        self.trust().knows(authority)
    }

    /// What judges clients now.
    pub fn clients(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.trust().clients)
    }

    /// What waits for the root's signature.
    pub fn request(&self) -> Result<Option<String>, PkiError> {
        trust::request(&self.dir)
    }

    /// Makes a key for another CA; what it gives is for the holder of the root's key to sign. Asked again, it gives the same.
    pub fn ask_for_next(&self) -> Result<String, PkiError> {
        match self.trust().retiring {
            Some(_) => Err(PkiError::Overlap),
            None => trust::ask(&self.dir, &self.fleet),
        }
    }

    /// The CA that was asked for signs from now on, the controller's own certificate at first; the one before stays trusted until
    /// [`Pki::retire`]. Given the present one, it changes nothing.
    pub fn install(&self, certificate_pem: &str) -> Result<(), PkiError> {
        trust::install(&self.dir, &self.root, certificate_pem)?;
        self.reload()?;
        self.present_anew()
    }

    /// Certificates of the CA before are good no more.
    pub fn retire(&self) -> Result<(), PkiError> {
        trust::retire(&self.dir)?;
        self.reload()
    }

    fn trust(&self) -> Arc<Trust> {
        Arc::clone(&self.trust.read().unwrap_or_else(|e| e.into_inner()))
    }

    fn reload(&self) -> Result<(), PkiError> {
        let trust = Arc::new(Trust::load(&self.dir, &self.root)?);
        *self.trust.write().unwrap_or_else(|e| e.into_inner()) = trust;
        Ok(())
    }

    fn present_anew(&self) -> Result<(), PkiError> {
        let trust = self.trust();
        let chain = [self.root.clone(), trust.issuing.clone()];
        let made = make_server(&self.dir, &chain, &trust.issuer, &self.fleet, &self.advertised)?;
        *self.server.write().unwrap_or_else(|e| e.into_inner()) = made;
        Ok(())
    }

    pub fn root_pem(&self) -> String {
        parse::to_pem(&self.root)
    }

    /// SHA-256 of the root's SubjectPublicKeyInfo, as enrolment tokens carry it.
    pub fn root_pin(&self) -> Result<[u8; 32], PkiError> {
        spki_sha256(&self.root)
    }

    /// What the TLS server presents now.
    pub fn server_key(&self) -> Arc<CertifiedKey> {
        let server = self.server.read().unwrap_or_else(|e| e.into_inner());
        Arc::clone(&server.certified)
    }

    /// Makes a new certificate for the controller if the present one is past half of its life.
    /// True: it did.
    pub fn renew_server(&self) -> Result<bool, PkiError> {
        let due = {
            let server = self.server.read().unwrap_or_else(|e| e.into_inner());
            server.renew_at_unix_s
        };
        if now_unix_ms() / 1000 < due {
            return Ok(false);
        }
        self.present_anew()?;
        Ok(true)
    }
}

/// The stored certificate, if it is whole, of the present CA, names every address and is in the first half of its life.
fn load_server(
    dir: &Path,
    chain: &[CertificateDer<'static>; 2],
    authority: &str,
    fleet: &str,
    advertised: &[Advertised],
) -> Option<Server> {
    let certificate = read_certificate(&dir.join("controller.pem"), "controller").ok()?;
    let key = files::read_text(&dir.join("controller.key"), MAX_PEM_BYTES).ok()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok()?;
    if !parse::names_all(&certificate, fleet, advertised)
        || parse::issuer_id(&certificate) != authority
    {
        return None;
    }
    let server = certified(certificate, key, chain).ok()?;
    (now_unix_ms() / 1000 < server.renew_at_unix_s).then_some(server)
}

fn make_server(
    dir: &Path,
    chain: &[CertificateDer<'static>; 2],
    issuer: &Issuer<'static, KeyPair>,
    fleet: &str,
    advertised: &[Advertised],
) -> Result<Server, PkiError> {
    let made = issue::controller(issuer, fleet, advertised, CONTROLLER_DAYS)?;
    let key_path = dir.join("controller.key");
    // Key first: a crash between the two leaves a pair that does not match, which is then made
    // anew.
    files::write_atomic(&key_path, made.key_pem().as_bytes(), Access::Secret)?;
    let pem = made.pem();
    files::write_atomic(&dir.join("controller.pem"), pem.as_bytes(), Access::Public)?;
    let key = PrivateKeyDer::from_pem_slice(made.key_pem().as_bytes())
        .map_err(|_| PkiError::Unreadable { what: "key", path: key_path })?;
    certified(made.certificate, key, chain)
}

fn certified(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    [root, intermediate]: &[CertificateDer<'static>; 2],
) -> Result<Server, PkiError> {
    let (not_before, not_after) = validity_unix_s(&certificate)?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(PkiError::Key)?;
    let certified = CertifiedKey::new(vec![certificate, intermediate.clone(), root.clone()], key);
    certified.keys_match().map_err(PkiError::Key)?;
    Ok(Server {
        certified: Arc::new(certified),
        renew_at_unix_s: not_before + (not_after - not_before) / 2,
    })
}

fn read_certificate(path: &Path, what: &'static str) -> Result<CertificateDer<'static>, PkiError> {
    let text = files::read_text(path, MAX_PEM_BYTES)?;
    CertificateDer::from_pem_slice(text.as_bytes())
        .map_err(|_| PkiError::Unreadable { what, path: path.to_owned() })
}

fn warn_of_expiry(intermediate: &AuthorityFacts) {
    let left_s = intermediate.ends_unix_s.saturating_sub(now_unix_ms() / 1000);
    if left_s < INTERMEDIATE_WARNING.as_secs() {
        let days = left_s / 86_400;
        tracing::warn!(days, "the fleet's CA ends soon; replace it: hawser ca rotate");
    }
}

/// The root's signature on a fleet's next CA; done where the root's key is, not where the controller is. Everything is PEM.
pub fn sign_next(
    root_pem: &str,
    root_key_pem: &str,
    request_pem: &str,
) -> Result<String, PkiError> {
    let unreadable = |problem| PkiError::Certificate { what: "root", problem };
    let root = CertificateDer::from_pem_slice(root_pem.as_bytes())
        .map_err(|_| unreadable("it is not one PEM certificate"))?;
    let key = KeyPair::from_pem(root_key_pem).map_err(|_| unreadable("its key can't be read"))?;
    let signed = issue::next_intermediate(&root, key, request_pem)?;
    Ok(parse::to_pem(&signed))
}

impl std::fmt::Display for Advertised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
        }
    }
}

/// A text that is not `HOST:PORT`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not HOST:PORT (a DNS name, an IPv4 address, or an IPv6 address in brackets)")]
pub struct AdvertisedError(String);

impl std::str::FromStr for Advertised {
    type Err = AdvertisedError;

    fn from_str(text: &str) -> Result<Self, AdvertisedError> {
        let bad = || AdvertisedError(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port = port.parse().ok().filter(|&p| p != 0).ok_or_else(bad)?;
        let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = match (inner, host.parse()) {
            (Some(inner), _) => Host::Address(IpAddr::V6(inner.parse().map_err(|_| bad())?)),
            (None, Ok(IpAddr::V4(address))) => Host::Address(IpAddr::V4(address)),
            (None, Ok(IpAddr::V6(_))) => return Err(bad()),
            (None, Err(_)) if is_dns_name(host) => Host::Name(host.to_ascii_lowercase()),
            (None, Err(_)) => return Err(bad()),
        };
        Ok(Self { host, port })
    }
}

fn is_dns_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

/// A DNS label, which is also what a fleet's name must be (RFC 1123 §2.1).
pub fn is_label(label: &str) -> bool {
    let inner = |b: &u8| b.is_ascii_alphanumeric() || *b == b'-';
    (1..=63).contains(&label.len())
        && label.as_bytes().iter().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests;
