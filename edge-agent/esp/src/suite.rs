//! Algorithms of a security association, and its key material.

use std::fmt;
use std::str::FromStr;

use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::{Zeroize, Zeroizing};

use crate::wire::{ICV_LEN, IV_LEN};

/// Octets of salt that follow the key in the key material (RFC 4106 section 8.1, RFC 7634
/// section 2).
pub const SALT_LEN: usize = 4;

/// An AEAD for ESP with a 16-octet ICV and an 8-octet explicit IV.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// RFC 4106, 128-bit key.
    Aes128Gcm,
    /// RFC 4106, 256-bit key.
    Aes256Gcm,
    /// RFC 7634.
    ChaCha20Poly1305,
}

/// The name is none of a suite's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("suite {0:?} is unknown; use aes-128-gcm, aes-256-gcm or chacha20-poly1305")]
pub struct UnknownSuite(pub String);

/// Key material of the wrong length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{suite} takes {expected_bytes} octets of key material (key, then salt), not {got_bytes}")]
pub struct KeyLengthError {
    pub suite: Suite,
    pub expected_bytes: usize,
    pub got_bytes: usize,
}

impl Suite {
    /// Every suite, by name in the order of preference on hardware with AES.
    pub const ALL: [Suite; 3] = [Suite::Aes128Gcm, Suite::Aes256Gcm, Suite::ChaCha20Poly1305];

    /// The name used in contracts and intent.
    pub const fn name(self) -> &'static str {
        match self {
            Suite::Aes128Gcm => "aes-128-gcm",
            Suite::Aes256Gcm => "aes-256-gcm",
            Suite::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }

    /// Octets of the key alone.
    pub const fn key_len(self) -> usize {
        match self {
            Suite::Aes128Gcm => 16,
            Suite::Aes256Gcm | Suite::ChaCha20Poly1305 => 32,
        }
    }

    /// Octets of the key and the salt after it.
    pub const fn key_material_len(self) -> usize {
        self.key_len() + SALT_LEN
    }

    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Suite::Aes128Gcm => &aead::AES_128_GCM,
            Suite::Aes256Gcm => &aead::AES_256_GCM,
            Suite::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
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

/// Key and salt of one direction of one SA. Wiped on drop; `Debug` shows the suite only.
pub struct KeyMaterial {
    suite: Suite,
    bytes: Zeroizing<Vec<u8>>,
}

impl KeyMaterial {
    /// Copies `bytes`: the key, then the salt. The caller wipes its own copy.
    pub fn new(suite: Suite, bytes: &[u8]) -> Result<Self, KeyLengthError> {
        let expected_bytes = suite.key_material_len();
        if bytes.len() != expected_bytes {
            return Err(KeyLengthError { suite, expected_bytes, got_bytes: bytes.len() });
        }
        Ok(KeyMaterial { suite, bytes: Zeroizing::new(bytes.to_vec()) })
    }

    pub fn suite(&self) -> Suite {
        self.suite
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyMaterial({})", self.suite)
    }
}

/// A keyed cipher. ring keeps the expanded key in its own memory, which it does not wipe.
pub(crate) struct Cipher {
    suite: Suite,
    key: LessSafeKey,
    salt: [u8; SALT_LEN],
}

impl Cipher {
    pub(crate) fn new(material: &KeyMaterial) -> Self {
        let (key, salt) = material.bytes.split_at(material.suite.key_len());
        let key = UnboundKey::new(material.suite.algorithm(), key)
            .expect("KeyMaterial has the length of its suite");
        let salt = salt.try_into().expect("KeyMaterial ends in a salt");
        Cipher { suite: material.suite, key: LessSafeKey::new(key), salt }
    }

    pub(crate) fn suite(&self) -> Suite {
        self.suite
    }

    /// Encrypts `text` in place; gives the ICV. `None` if the text is longer than the cipher takes.
    pub(crate) fn seal(
        &self,
        iv: [u8; IV_LEN],
        aad: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; ICV_LEN]> {
        let nonce = self.nonce(iv);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(aad), text).ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Authenticates and decrypts `text` (ciphertext, then ICV) in place; false if it is forged.
    pub(crate) fn open(&self, iv: [u8; IV_LEN], aad: &[u8], text: &mut [u8]) -> bool {
        self.key.open_in_place(self.nonce(iv), Aad::from(aad), text).is_ok()
    }

    /// Salt, then explicit IV: RFC 4106 section 4, RFC 7634 section 2.
    fn nonce(&self, iv: [u8; IV_LEN]) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..SALT_LEN].copy_from_slice(&self.salt);
        nonce[SALT_LEN..].copy_from_slice(&iv);
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Drop for Cipher {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cipher({})", self.suite)
    }
}
