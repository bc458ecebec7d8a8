//! Which certificates of a fleet are good no more: an X.509 CRL (RFC 5280 §5) signed by one of the
//! fleet's intermediates, which comes with it. Agents get it from the controller or from each other,
//! so nothing is believed of who brought it: only the root counts.
//!
//! Time is left out: a controller may be away for weeks, and an old list is better than none. What
//! orders lists is the CRL number alone, and it only rises.

use std::collections::BTreeSet;
use std::sync::Arc;

use prost::Message as _;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use crate::agent::v1::RevocationList as Wire;
use crate::peer::v1::RevocationPart;

/// Longest serialised list that is looked at, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;
/// Most serials in one list.
pub const MAX_SERIALS: usize = 4_096;
/// Octets of the list in one message between agents, which are at most 16 KiB.
pub const PART_BYTES: usize = 12 * 1024;
const MAX_PARTS: usize = MAX_BYTES.div_ceil(PART_BYTES);

/// A list whose signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    number: u64,
    serials: BTreeSet<Vec<u8>>,
    /// Serial of the CA that signed it.
    issuer: Vec<u8>,
    bytes: Arc<[u8]>,
}

/// Why octets are not a list of this fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListFault {
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("the {0} can't be read")]
    Unreadable(&'static str),
    #[error("it is not signed by a CA of this fleet's root")]
    NotTrusted,
    #[error("it has no number from 1 to 2^63")]
    NoNumber,
    #[error("it names more than {MAX_SERIALS} certificates")]
    TooMany,
    #[error("it has a critical extension that is not known here")]
    Critical,
}

impl ListFault {
    /// A stable code, upper case.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLong => "REVOCATIONS_TOO_LONG",
            Self::Unreadable(_) => "REVOCATIONS_UNREADABLE",
            Self::NotTrusted => "REVOCATIONS_NOT_TRUSTED",
            Self::NoNumber => "REVOCATIONS_NO_NUMBER",
            Self::TooMany => "REVOCATIONS_TOO_MANY",
            Self::Critical => "REVOCATIONS_CRITICAL",
        }
    }
}

impl RevocationList {
    /// Reads a serialised `hawser.agent.v1.RevocationList` and checks who signed it.
    ///
    /// # Errors
    /// It is not a list that a CA under `root_der` has signed, or is beyond the bounds.
    pub fn verify(bytes: &[u8], root_der: &[u8]) -> Result<Self, ListFault> {
        if bytes.len() > MAX_BYTES {
            return Err(ListFault::TooLong);
        }
        let wire = Wire::decode(bytes).map_err(|_| ListFault::Unreadable("message"))?;
        let root = certificate(root_der, "root")?;
        let issuer = certificate(&wire.issuer_der, "issuer")?;
        let tbs = issuer.tbs_certificate.as_ref();
        if !signed(&root, tbs, &issuer.signature_value.data) || !may_sign_lists(&issuer) {
            return Err(ListFault::NotTrusted);
        }
        let (rest, list) = CertificateRevocationList::from_der(&wire.crl_der)
            .map_err(|_| ListFault::Unreadable("list"))?;
        if !rest.is_empty() {
            return Err(ListFault::Unreadable("list"));
        }
        if !signed(&issuer, list.tbs_cert_list.as_ref(), &list.signature_value.data) {
            return Err(ListFault::NotTrusted);
        }
        Self::of(&list, plain(issuer.raw_serial()), bytes)
    }

    fn of(
        list: &CertificateRevocationList<'_>,
        issuer: &[u8],
        bytes: &[u8],
    ) -> Result<Self, ListFault> {
        let digits = list.crl_number().map(|number| number.to_u64_digits()).unwrap_or_default();
        let number = match digits[..] {
            [number] if (1..=1 << 63).contains(&number) => number,
            _ => return Err(ListFault::NoNumber),
        };
        let entries = &list.tbs_cert_list.revoked_certificates;
        if entries.len() > MAX_SERIALS {
            return Err(ListFault::TooMany);
        }
        let of_entries = entries.iter().flat_map(|entry| entry.extensions());
        if list.extensions().iter().chain(of_entries).any(|extension| extension.critical) {
            return Err(ListFault::Critical);
        }
        let serials = entries.iter().map(|entry| plain(entry.raw_serial()).to_vec()).collect();
        Ok(Self { number, serials, issuer: issuer.to_vec(), bytes: bytes.into() })
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    /// Big-endian, without leading zeros.
    pub fn serials(&self) -> &BTreeSet<Vec<u8>> {
        &self.serials
    }

    /// As it was received.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it takes the place of the one that is held: its number is higher, and the CA that signed it is not one that the held one has
    /// ended.
    pub fn supersedes(&self, held: Option<&Self>) -> bool {
        held.is_none_or(|held| self.number > held.number && !self.is_by_one_of(&held.serials))
    }

    /// Whether one of these has signed it.
    pub fn is_by_one_of(&self, serials: &BTreeSet<Vec<u8>>) -> bool {
        serials.contains(&self.issuer)
    }

    /// Of the CA that signed it: big-endian, without leading zeros.
    pub fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// Whether it names this certificate; what can't be read it does not name.
    pub fn names(&self, certificate_der: &[u8]) -> bool {
        let parsed = X509Certificate::from_der(certificate_der);
        parsed.is_ok_and(|(_, parsed)| self.serials.contains(plain(parsed.raw_serial())))
    }

    /// For a peer.
    pub fn parts(&self) -> Vec<RevocationPart> {
        let pieces: Vec<&[u8]> = self.bytes.chunks(PART_BYTES).collect();
        let parts = pieces.len() as u32;
        let part = |(part, octets): (u32, &&[u8])| RevocationPart {
            number: self.number,
            part,
            parts,
            octets: octets.to_vec(),
        };
        (0..).zip(&pieces).map(part).collect()
    }
}

/// Puts the pieces of one list together again. What is out of order begins anew.
#[derive(Debug, Default)]
pub struct Assembly {
    number: u64,
    next: u32,
    octets: Vec<u8>,
}

impl Assembly {
    /// The whole, when this was the last piece. It is not verified yet.
    pub fn take(&mut self, piece: RevocationPart) -> Option<Vec<u8>> {
        let bounded = piece.parts as usize <= MAX_PARTS && piece.octets.len() <= PART_BYTES;
        if piece.part == 0 {
            *self = Self { number: piece.number, ..Self::default() };
        }
        if !bounded || piece.number != self.number || piece.part != self.next {
            *self = Self::default();
            return None;
        }
        self.octets.extend_from_slice(&piece.octets);
        self.next += 1;
        (self.next == piece.parts).then(|| std::mem::take(self).octets)
    }
}

fn certificate<'a>(der: &'a [u8], what: &'static str) -> Result<X509Certificate<'a>, ListFault> {
    X509Certificate::from_der(der)
        .map(|(_, parsed)| parsed)
        .map_err(|_| ListFault::Unreadable(what))
}

/// All keys of the fleet's CAs are ECDSA P-256.
pub(crate) fn signed(by: &X509Certificate<'_>, message: &[u8], signature: &[u8]) -> bool {
    let key = &by.public_key().subject_public_key.data;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key).verify(message, signature).is_ok()
}

fn may_sign_lists(issuer: &X509Certificate<'_>) -> bool {
    issuer.is_ca() && matches!(issuer.key_usage(), Ok(Some(usage)) if usage.value.crl_sign())
}

/// Without leading zeros, of which DER has one before a high bit.
pub fn plain(serial: &[u8]) -> &[u8] {
    let first = serial.iter().position(|&octet| octet != 0).unwrap_or(serial.len());
    &serial[first..]
}

#[cfg(test)]
mod tests;
