//! The suites that fabric keys can make keys for.

use std::fmt;

/// How an SA's packets are protected, as the intent, `KeyOffer` and the key schedule name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeySuite {
    /// AES-128-GCM, RFC 4106.
    Aes128Gcm,
    /// AES-256-GCM, RFC 4106.
    Aes256Gcm,
    /// ChaCha20-Poly1305, RFC 7634.
    ChaCha20Poly1305,
}

impl KeySuite {
    /// Every suite, for tables and tests.
    pub const ALL: [KeySuite; 3] =
        [KeySuite::Aes128Gcm, KeySuite::Aes256Gcm, KeySuite::ChaCha20Poly1305];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            KeySuite::Aes128Gcm => "aes-128-gcm",
            KeySuite::Aes256Gcm => "aes-256-gcm",
            KeySuite::ChaCha20Poly1305 => "chacha20-poly1305",
        }
    }

    /// The suite of that name, if it is known.
    pub fn from_name(name: &str) -> Option<KeySuite> {
        KeySuite::ALL.into_iter().find(|suite| suite.name() == name)
    }

    /// Octets of key and salt together (RFC 4106 section 8.1, RFC 7634 section 4: 4 octets of salt).
    pub fn material_bytes(self) -> usize {
        match self {
            KeySuite::Aes128Gcm => 16 + 4,
            KeySuite::Aes256Gcm | KeySuite::ChaCha20Poly1305 => 32 + 4,
        }
    }
}

impl fmt::Display for KeySuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
