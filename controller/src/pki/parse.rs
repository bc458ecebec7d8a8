//! Reading certificates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hawser_proto::authority::issuer_key_id;
use hawser_proto::revocation::plain;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Advertised, CONTROLLER_NAME, Host, PkiError, fleet_name};
use crate::secret;

/// Who a client certificate says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeIdentity {
    pub fleet: String,
    pub edge: String,
    /// Hex SHA-256 of its SubjectPublicKeyInfo.
    pub key_sha256: String,
    /// Hexadecimal.
    pub serial: String,
    /// Key identifier of the CA that signed it, hexadecimal.
    pub authority: String,
}

pub fn edge_uri(fleet: &str, edge: &str) -> String {
    format!("hawser://{fleet}/edge/{edge}")
}

/// What peers verify an edge by.
pub fn edge_dns_name(fleet: &str, edge: &str) -> String {
    format!("{edge}.edge.{fleet}.hawser")
}

/// The edge that a verified client certificate names, by its one URI.
pub fn edge_identity(certificate: &CertificateDer<'_>) -> Result<EdgeIdentity, PkiError> {
    let problem = |problem| PkiError::Certificate { what: "edge", problem };
    let parsed = parse(certificate)?;
    let names = parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .ok_or_else(|| problem("it names nobody"))?;
    let mut uris = names.value.general_names.iter().filter_map(|n| match n {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(problem("it has not exactly one URI"));
    };
    let (fleet, edge) = uri
        .strip_prefix("hawser://")
        .and_then(|rest| rest.split_once("/edge/"))
        .filter(|(fleet, edge)| !fleet.is_empty() && !edge.is_empty() && !edge.contains('/'))
        .ok_or_else(|| problem("its URI is not hawser://FLEET/edge/EDGE"))?;
    Ok(EdgeIdentity {
        fleet: fleet.to_owned(),
        edge: edge.to_owned(),
        key_sha256: secret::hex(&spki_sha256(certificate)?),
        serial: secret::hex(plain(parsed.raw_serial())),
        authority: issuer_id(certificate),
    })
}

/// Key identifier of the CA that a certificate says has signed it, hexadecimal; empty: it says none.
pub fn issuer_id(certificate: &CertificateDer<'_>) -> String {
    issuer_key_id(certificate).map(|id| secret::hex(&id)).unwrap_or_default()
}

/// As it is in the certificate.
pub fn public_key(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, PkiError> {
    let parsed = parse(certificate)?;
    Ok(parsed.public_key().subject_public_key.data.to_vec())
}

/// Of the subject.
pub fn common_name(certificate: &CertificateDer<'_>) -> Result<String, PkiError> {
    let parsed = parse(certificate)?;
    let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    name.map(str::to_owned)
        .ok_or(PkiError::Certificate { what: "given", problem: "it has no common name" })
}

/// SHA-256 of the SubjectPublicKeyInfo, DER.
pub fn spki_sha256(certificate: &CertificateDer<'_>) -> Result<[u8; 32], PkiError> {
    let parsed = parse(certificate)?;
    Ok(secret::sha256(parsed.tbs_certificate.subject_pki.raw))
}

/// Not before, not after; seconds since 1970.
pub fn validity_unix_s(certificate: &CertificateDer<'_>) -> Result<(u64, u64), PkiError> {
    let parsed = parse(certificate)?;
    let validity = parsed.validity();
    let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
    Ok((seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp())))
}

/// The controller's certificate is good for its fixed name, its fleet's and for every advertised one.
pub fn names_all(certificate: &CertificateDer<'_>, fleet: &str, advertised: &[Advertised]) -> bool {
    let Ok(parsed) = parse(certificate) else {
        return false;
    };
    let Ok(Some(names)) = parsed.subject_alternative_name() else {
        return false;
    };
    let has_name = |wanted: &str| {
        names
            .value
            .general_names
            .iter()
            .any(|n| matches!(n, GeneralName::DNSName(name) if *name == wanted))
    };
    let has_address = |wanted: &[u8]| {
        names
            .value
            .general_names
            .iter()
            .any(|n| matches!(n, GeneralName::IPAddress(octets) if *octets == wanted))
    };
    has_name(CONTROLLER_NAME)
        && has_name(&fleet_name(fleet))
        && advertised.iter().all(|a| match &a.host {
            Host::Name(name) => has_name(name),
            Host::Address(std::net::IpAddr::V4(v4)) => has_address(&v4.octets()),
            Host::Address(std::net::IpAddr::V6(v6)) => has_address(&v6.octets()),
        })
}

pub fn to_pem(certificate: &CertificateDer<'_>) -> String {
    let body = STANDARD.encode(certificate);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, PkiError> {
    X509Certificate::from_der(certificate)
        .map(|(_, parsed)| parsed)
        .map_err(|_| PkiError::Certificate { what: "given", problem: "it is no X.509 certificate" })
}
