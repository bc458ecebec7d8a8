//! Making certificates.

use std::time::Duration;

use hawser_proto::revocation::plain;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams,
    CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    SigningKey,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};

use super::{Advertised, CONTROLLER_NAME, Host, PkiError, Revoked, fleet_name, parse};
use crate::clock::now_unix_ms;
use crate::secret;

const ROOT_DAYS: u64 = 20 * 365;
const INTERMEDIATE_DAYS: u64 = 5 * 365;
const DAY: Duration = Duration::from_secs(86_400);
/// A list of revoked certificates says that the next one comes within this time.
const NEXT_LIST: Duration = Duration::from_secs(30 * 86_400);
/// Longest certificate request that is parsed, in bytes.
const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// A certificate and its key.
pub struct Made {
    params: CertificateParams,
    pub certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Made {
    pub fn pem(&self) -> String {
        parse::to_pem(&self.certificate)
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

pub struct EdgeCertificate {
    pub der: CertificateDer<'static>,
    pub serial: String,
}

pub fn root(fleet: &str) -> Result<Made, PkiError> {
    let failed = issue_error("root");
    let mut params = template(&format!("{fleet} Hawser root"), ROOT_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = new_key().map_err(&failed)?;
    let certificate = params.self_signed(&key).map_err(&failed)?.into();
    Ok(Made { params, certificate, key })
}

pub fn intermediate(fleet: &str, root: &Made) -> Result<Made, PkiError> {
    let mut params = template(&format!("{fleet} Hawser fleet CA"), INTERMEDIATE_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = Issuer::from_params(&root.params, &root.key);
    signed(params, &issuer, "intermediate")
}

/// A key for the fleet's next CA, and what its holder asks of the root's. PEM both.
pub fn intermediate_request(fleet: &str) -> Result<(String, String), PkiError> {
    let failed = issue_error("intermediate");
    let key = new_key().map_err(&failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("{fleet} Hawser fleet CA"));
    let request = params.serialize_request(&key).and_then(|request| request.pem());
    Ok((key.serialize_pem(), request.map_err(&failed)?))
}

/// The root's signature on the next CA. Of the request only its key is taken.
pub fn next_intermediate(
    root: &CertificateDer<'static>,
    root_key: KeyPair,
    request_pem: &str,
) -> Result<CertificateDer<'static>, PkiError> {
    let what = "intermediate";
    let problem = |problem| PkiError::Request { problem };
    if request_pem.len() > MAX_REQUEST_BYTES {
        return Err(problem("longer than 16 KiB"));
    }
    let request = CertificateSigningRequestParams::from_pem(request_pem)
        .map_err(|_| problem("not a PKCS#10 request with a good signature"))?;
    if request.public_key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
        return Err(problem("its key is not ECDSA P-256"));
    }
    if parse::public_key(root)? != root_key.public_key_raw() {
        return Err(PkiError::Certificate { what: "root", problem: "it is of another key" });
    }
    let name = parse::common_name(root)?;
    let name = name.strip_suffix(" root").unwrap_or(&name);
    let issuer = Issuer::from_ca_cert_der(root, root_key).map_err(issue_error("root"))?;
    // Two CAs of one fleet are told apart by people, too.
    let day = now_unix_ms() / 1000 / 86_400;
    let mut params = template(&format!("{name} fleet CA {day}"), INTERMEDIATE_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params.signed_by(&request.public_key, &issuer).map_err(issue_error(what))?.into())
}

pub fn controller(
    issuer: &Issuer<'static, KeyPair>,
    fleet: &str,
    advertised: &[Advertised],
    days: u64,
) -> Result<Made, PkiError> {
    let what = "controller";
    let mut params = template("Hawser controller", days);
    params.subject_alt_names = vec![dns(CONTROLLER_NAME, what)?, dns(&fleet_name(fleet), what)?];
    for Advertised { host, .. } in advertised {
        let name = match host {
            Host::Name(name) => dns(name, what)?,
            Host::Address(address) => SanType::IpAddress(*address),
        };
        if !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    signed(params, issuer, what)
}

/// Takes the key of a request that proves possession of it, and nothing else of the request.
pub fn edge(
    issuer: &Issuer<'static, KeyPair>,
    request_der: &[u8],
    fleet: &str,
    edge: &str,
    lifetime: Duration,
) -> Result<EdgeCertificate, PkiError> {
    let what = "edge";
    let problem = |problem| PkiError::Request { problem };
    if request_der.len() > MAX_REQUEST_BYTES {
        return Err(problem("longer than 16 KiB"));
    }
    let request =
        CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request_der))
            .map_err(|_| problem("not a PKCS#10 request with a good signature"))?;
    let accepted =
        [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
    if !accepted.contains(&request.public_key.algorithm()) {
        return Err(problem("its key is not ECDSA P-256, P-384 or Ed25519"));
    }
    let serial = secret_serial();
    let mut params = template_for(edge, lifetime);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let uri = parse::edge_uri(fleet, edge);
    let uri = uri.try_into().map_err(issue_error(what))?;
    params.subject_alt_names =
        vec![SanType::URI(uri), dns(&parse::edge_dns_name(fleet, edge), what)?];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let der = params.signed_by(&request.public_key, issuer).map_err(issue_error(what))?.into();
    Ok(EdgeCertificate { der, serial: secret::hex(&serial) })
}

fn signed<S: SigningKey>(
    params: CertificateParams,
    issuer: &Issuer<'_, S>,
    what: &'static str,
) -> Result<Made, PkiError> {
    let key = new_key().map_err(issue_error(what))?;
    let certificate = params.signed_by(&key, issuer).map_err(issue_error(what))?.into();
    Ok(Made { params, certificate, key })
}

/// Signs which certificates are good no more (RFC 5280 §5). Agents keep a list for as long as they
/// have no newer one, whatever it says of the next update.
pub fn revocation_list(
    issuer: &Issuer<'static, KeyPair>,
    number: u64,
    revoked: &[Revoked],
) -> Result<Vec<u8>, PkiError> {
    let at = |unix_s: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_s);
    let now = now_unix_ms() / 1000;
    let params = CertificateRevocationListParams {
        this_update: at(now),
        next_update: at(now + NEXT_LIST.as_secs()),
        crl_number: SerialNumber::from_slice(plain(&number.to_be_bytes())),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .iter()
            .map(|entry| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&entry.serial),
                revocation_time: at(entry.at_unix_s),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let signed = params.signed_by(issuer).map_err(issue_error("revocation list"))?;
    Ok(signed.der().to_vec())
}

fn template(common_name: &str, days: u64) -> CertificateParams {
    template_for(common_name, DAY * u32::try_from(days).unwrap_or(u32::MAX))
}

/// Valid from a day ago, because clocks differ, until `lifetime` from now; of short ones from a
/// tenth of their life ago, so that their half is still to come.
fn template_for(common_name: &str, lifetime: Duration) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = epoch + Duration::from_secs(now_unix_ms() / 1000);
    let mut params = CertificateParams::default();
    params.not_before = now - DAY.min(lifetime / 10);
    params.not_after = now + lifetime;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(SerialNumber::from_slice(&secret_serial()));
    params.use_authority_key_identifier_extension = true;
    params
}

/// 127 random bits: positive, and unique without a counter to keep (RFC 5280 §4.1.2.2).
fn secret_serial() -> [u8; 16] {
    let mut serial = secret::random::<16>();
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}

fn new_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
}

fn dns(name: &str, what: &'static str) -> Result<SanType, PkiError> {
    let name = name.to_owned().try_into().map_err(issue_error(what))?;
    Ok(SanType::DnsName(name))
}

fn issue_error(what: &'static str) -> impl Fn(rcgen::Error) -> PkiError {
    move |source| PkiError::Issue { what, source }
}
