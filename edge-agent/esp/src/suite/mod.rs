//! Algorithms of a security association, and its key material.

mod algorithm;
mod material;

use std::fmt;
use std::str::FromStr;

pub use algorithm::{Encryption, Integrity};
pub use material::{KeyError, KeyLengthError, KeyMaterial};

use crate::layout::Layout;

/// Octets of salt that follow the key of an AEAD in the key material (RFC 4106 section 8.1, RFC 7634
/// section 2).
pub const SALT_LEN: usize = 4;

/// Octets that the AEADs' nonces leave for the explicit IV.
pub(crate) const AEAD_IV_LEN: usize = 8;

/// How the packets of an SA are encrypted and authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// RFC 4106, 128-bit key.
    Aes128Gcm,
    /// RFC 4106, 256-bit key.
    Aes256Gcm,
    /// RFC 7634.
    ChaCha20Poly1305,
    /// AES-CBC (RFC 3602) with HMAC-SHA-256-128 (RFC 4868).
    Aes128CbcSha256,
    Aes256CbcSha256,
    /// AES-CBC with HMAC-SHA-512-256 (RFC 4868).
    Aes128CbcSha512,
    Aes256CbcSha512,
    /// SM4 (GB/T 32907) in GCM as RFC 8998 has it, with IV and salt as in RFC 4106.
    Sm4Gcm,
    /// SM4-CBC with HMAC-SM3 (GB/T 32905), ICV cut to the left half, as RFC 4868 cuts.
    Sm4CbcSm3Half,
    /// SM4-CBC with HMAC-SM3, the ICV whole, as Linux has it unless told otherwise.
    Sm4CbcSm3Full,
    /// NULL encryption (RFC 2410) with HMAC-SHA-256-128.
    NullSha256,
    NullSha512,
    /// AES-CBC with HMAC-SHA-1-96 (RFC 2404).
    Aes128CbcSha1,
    Aes256CbcSha1,
    NullSha1,
    NullMd5,
    /// 3DES-CBC (RFC 2451) with HMAC-SHA-1-96.
    TripleDesCbcSha1,
    /// 3DES-CBC with HMAC-MD5-96 (RFC 2403).
    TripleDesCbcMd5,
    /// DES-CBC (RFC 2405).
    DesCbcSha1,
    DesCbcMd5,
}

/// The name is none of a suite's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("suite {0:?} is unknown; use one of {names}", names = names())]
pub struct UnknownSuite(pub String);

impl Suite {
    /// Every suite: first those for everyone, then those that need a waiver.
    pub const ALL: [Suite; 20] = [
        Suite::Aes128Gcm,
        Suite::Aes256Gcm,
        Suite::ChaCha20Poly1305,
        Suite::Aes128CbcSha256,
        Suite::Aes256CbcSha256,
        Suite::Aes128CbcSha512,
        Suite::Aes256CbcSha512,
        Suite::Sm4Gcm,
        Suite::Sm4CbcSm3Half,
        Suite::Sm4CbcSm3Full,
        Suite::NullSha256,
        Suite::NullSha512,
        Suite::Aes128CbcSha1,
        Suite::Aes256CbcSha1,
        Suite::NullSha1,
        Suite::NullMd5,
        Suite::TripleDesCbcSha1,
        Suite::TripleDesCbcMd5,
        Suite::DesCbcSha1,
        Suite::DesCbcMd5,
    ];

    /// The suites that [`OutboundSa::new`](crate::OutboundSa::new) takes as it is.
    pub const AEADS: [Suite; 3] = [Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::ChaCha20Poly1305];

    /// The name used in contracts and intent.
    pub const fn name(self) -> &'static str {
        match self {
            Suite::Aes128Gcm => "aes-128-gcm",
            Suite::Aes256Gcm => "aes-256-gcm",
            Suite::ChaCha20Poly1305 => "chacha20-poly1305",
            Suite::Aes128CbcSha256 => "aes-128-cbc-sha256-128",
            Suite::Aes256CbcSha256 => "aes-256-cbc-sha256-128",
            Suite::Aes128CbcSha512 => "aes-128-cbc-sha512-256",
            Suite::Aes256CbcSha512 => "aes-256-cbc-sha512-256",
            Suite::Sm4Gcm => "sm4-gcm",
            Suite::Sm4CbcSm3Half => "sm4-cbc-sm3-128",
            Suite::Sm4CbcSm3Full => "sm4-cbc-sm3-256",
            Suite::NullSha256 => "null-sha256-128",
            Suite::NullSha512 => "null-sha512-256",
            Suite::Aes128CbcSha1 => "aes-128-cbc-sha1-96",
            Suite::Aes256CbcSha1 => "aes-256-cbc-sha1-96",
            Suite::NullSha1 => "null-sha1-96",
            Suite::NullMd5 => "null-md5-96",
            Suite::TripleDesCbcSha1 => "3des-cbc-sha1-96",
            Suite::TripleDesCbcMd5 => "3des-cbc-md5-96",
            Suite::DesCbcSha1 => "des-cbc-sha1-96",
            Suite::DesCbcMd5 => "des-cbc-md5-96",
        }
    }

    /// What encrypts.
    pub const fn encryption(self) -> Encryption {
        match self {
            Suite::Aes128Gcm => Encryption::Aes128Gcm,
            Suite::Aes256Gcm => Encryption::Aes256Gcm,
            Suite::ChaCha20Poly1305 => Encryption::ChaCha20Poly1305,
            Suite::Sm4Gcm => Encryption::Sm4Gcm,
            Suite::Aes128CbcSha1 | Suite::Aes128CbcSha256 | Suite::Aes128CbcSha512 => {
                Encryption::Aes128Cbc
            }
            Suite::Aes256CbcSha1 | Suite::Aes256CbcSha256 | Suite::Aes256CbcSha512 => {
                Encryption::Aes256Cbc
            }
            Suite::Sm4CbcSm3Half | Suite::Sm4CbcSm3Full => Encryption::Sm4Cbc,
            Suite::TripleDesCbcSha1 | Suite::TripleDesCbcMd5 => Encryption::TripleDesCbc,
            Suite::DesCbcSha1 | Suite::DesCbcMd5 => Encryption::DesCbc,
            Suite::NullSha256 | Suite::NullSha512 | Suite::NullSha1 | Suite::NullMd5 => {
                Encryption::Null
            }
        }
    }

    /// What authenticates; `None` if the encryption does so itself.
    pub const fn integrity(self) -> Option<Integrity> {
        match self {
            Suite::Aes128Gcm | Suite::Aes256Gcm | Suite::ChaCha20Poly1305 | Suite::Sm4Gcm => None,
            Suite::Aes128CbcSha256 | Suite::Aes256CbcSha256 | Suite::NullSha256 => {
                Some(Integrity::HmacSha256)
            }
            Suite::Aes128CbcSha512 | Suite::Aes256CbcSha512 | Suite::NullSha512 => {
                Some(Integrity::HmacSha512)
            }
            Suite::Sm4CbcSm3Half => Some(Integrity::HmacSm3Half),
            Suite::Sm4CbcSm3Full => Some(Integrity::HmacSm3Full),
            Suite::Aes128CbcSha1
            | Suite::Aes256CbcSha1
            | Suite::NullSha1
            | Suite::TripleDesCbcSha1
            | Suite::DesCbcSha1 => Some(Integrity::HmacSha1),
            Suite::NullMd5 | Suite::TripleDesCbcMd5 | Suite::DesCbcMd5 => Some(Integrity::HmacMd5),
        }
    }

    /// DES, 3DES, MD5 or SHA-1 is in it: it starts only with a dated waiver in the intent.
    pub const fn requires_waiver(self) -> bool {
        let integrity = match self.integrity() {
            Some(integrity) => integrity.is_legacy(),
            None => false,
        };
        integrity || self.encryption().is_legacy()
    }

    /// False for NULL encryption: integrity alone.
    pub const fn encrypts(self) -> bool {
        !matches!(self.encryption(), Encryption::Null)
    }

    /// Whether one key may serve for two SAs whose sequence numbers both start at 1, as manual keys do after
    /// every restart. The AEADs must not (RFC 8221 section 4): a nonce would be used twice.
    pub const fn allows_manual_keys(self) -> bool {
        self.integrity().is_some()
    }

    /// Octets of the encryption key alone.
    pub const fn key_len(self) -> usize {
        self.encryption().key_len()
    }

    /// Octets of all key material: encryption key, then salt or integrity key (RFC 4301 section 4.5.2).
    pub const fn key_material_len(self) -> usize {
        self.key_len()
            + match self.integrity() {
                Some(integrity) => integrity.key_len(),
                None => SALT_LEN,
            }
    }

    /// The sizes on the wire.
    pub const fn layout(self) -> Layout {
        let encryption = self.encryption();
        Layout {
            iv_len: encryption.iv_len(),
            icv_len: match self.integrity() {
                Some(integrity) => integrity.icv_len(),
                None => 16,
            },
            alignment: encryption.alignment(),
        }
    }

    /// The most octets that one key should encrypt; `None` where sequence numbers end first. A cipher of 8-octet
    /// blocks leaks plaintext near 2^32 blocks; NIST SP 800-67 revision 2 section 3.3 stops at 2^20. CBC of
    /// 16-octet blocks is stopped where a collision has a chance of 2^-32: 2^48 blocks.
    pub const fn byte_limit(self) -> Option<u64> {
        match self.encryption() {
            Encryption::DesCbc | Encryption::TripleDesCbc => Some(8 << 20),
            Encryption::Aes128Cbc | Encryption::Aes256Cbc | Encryption::Sm4Cbc => Some(16 << 48),
            _ => None,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Suite {
    type Err = UnknownSuite;

    fn from_str(name: &str) -> Result<Self, UnknownSuite> {
        let known = Suite::ALL.into_iter().find(|suite| suite.name() == name);
        known.ok_or_else(|| UnknownSuite(name.chars().take(32).collect()))
    }
}

fn names() -> String {
    Suite::ALL.map(Suite::name).join(", ")
}

#[cfg(test)]
mod tests;
