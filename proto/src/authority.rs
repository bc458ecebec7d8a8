//! The fleet's CAs: intermediates that its root has signed. Everybody checks them against the root alone, whoever brought them.

use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::revocation::{plain, signed};

/// Longest certificate that is looked at, in bytes.
const MAX_BYTES: usize = 16 * 1024;

/// What is known of a CA that the root has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Its key identifier: the certificates that it signs carry it.
    pub key_id: Vec<u8>,
    /// Big-endian, without leading zeros.
    pub serial: Vec<u8>,
    /// SubjectPublicKey, as it is in the certificate.
    pub public_key: Vec<u8>,
    pub not_before_unix_s: i64,
    pub not_after_unix_s: i64,
}

/// Why a certificate is not a CA of this fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityFault {
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("the {0} can't be read")]
    Unreadable(&'static str),
    #[error("it is not signed by the fleet's root")]
    NotTrusted,
    #[error("it is no CA for edges: it must sign certificates and lists, and no other CA")]
    NotAuthority,
    #[error("it has no key identifier")]
    NoKeyId,
}

impl AuthorityFault {
    /// A stable code, upper case.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLong => "CA_TOO_LONG",
            Self::Unreadable(_) => "CA_UNREADABLE",
            Self::NotTrusted => "CA_NOT_TRUSTED",
            Self::NotAuthority => "CA_NO_AUTHORITY",
            Self::NoKeyId => "CA_NO_KEY_ID",
        }
    }
}

impl Authority {
    /// Checks who signed it, and what it may do; not whether it is its time.
    ///
    /// # Errors
    /// It is not a CA that `root_der` has signed for a fleet.
    pub fn verify(der: &[u8], root_der: &[u8]) -> Result<Self, AuthorityFault> {
        if der.len() > MAX_BYTES {
            return Err(AuthorityFault::TooLong);
        }
        let root = parse(root_der, "root")?;
        let parsed = parse(der, "certificate")?;
        if !signed(&root, parsed.tbs_certificate.as_ref(), &parsed.signature_value.data) {
            return Err(AuthorityFault::NotTrusted);
        }
        let leads_to_edges = matches!(
            parsed.basic_constraints(),
            Ok(Some(basic)) if basic.value.ca && basic.value.path_len_constraint == Some(0)
        );
        let may_sign = matches!(
            parsed.key_usage(),
            Ok(Some(usage)) if usage.value.key_cert_sign() && usage.value.crl_sign()
        );
        if !leads_to_edges || !may_sign {
            return Err(AuthorityFault::NotAuthority);
        }
        Ok(Self {
            key_id: own_key_id(&parsed).ok_or(AuthorityFault::NoKeyId)?,
            serial: plain(parsed.raw_serial()).to_vec(),
            public_key: parsed.public_key().subject_public_key.data.to_vec(),
            not_before_unix_s: parsed.validity().not_before.timestamp(),
            not_after_unix_s: parsed.validity().not_after.timestamp(),
        })
    }
}

/// The key identifier of the CA that a certificate says has signed it. Nothing is verified.
pub fn issuer_key_id(der: &[u8]) -> Option<Vec<u8>> {
    let parsed = parse(der, "certificate").ok()?;
    parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            id.key_identifier.as_ref().map(|id| id.0.to_vec())
        }
        _ => None,
    })
}

fn own_key_id(parsed: &X509Certificate<'_>) -> Option<Vec<u8>> {
    parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

fn parse<'a>(der: &'a [u8], what: &'static str) -> Result<X509Certificate<'a>, AuthorityFault> {
    match X509Certificate::from_der(der) {
        Ok((rest, parsed)) if rest.is_empty() => Ok(parsed),
        _ => Err(AuthorityFault::Unreadable(what)),
    }
}

#[cfg(test)]
mod tests;
