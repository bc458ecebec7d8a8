//! The halves of a suite, with their numbers in IKEv2 (IANA, "IKEv2 Parameters").

/// What encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encryption {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
    Sm4Gcm,
    Aes128Cbc,
    Aes256Cbc,
    Sm4Cbc,
    TripleDesCbc,
    DesCbc,
    Null,
}

/// What authenticates: an HMAC (RFC 2104) and how many of its octets are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Integrity {
    /// HMAC-SHA-256-128, RFC 4868.
    HmacSha256,
    /// HMAC-SHA-512-256, RFC 4868.
    HmacSha512,
    /// HMAC-SM3-128. No standard fixes how HMAC-SM3 is cut in ESP; half is what RFC 4868 does.
    HmacSm3Half,
    /// HMAC-SM3-256, what Linux does unless told otherwise.
    HmacSm3Full,
    /// HMAC-SHA-1-96, RFC 2404.
    HmacSha1,
    /// HMAC-MD5-96, RFC 2403.
    HmacMd5,
}

impl Encryption {
    /// Octets of the key, without salt.
    pub const fn key_len(self) -> usize {
        match self {
            Encryption::Aes256Gcm | Encryption::ChaCha20Poly1305 | Encryption::Aes256Cbc => 32,
            Encryption::TripleDesCbc => 24,
            Encryption::Aes128Gcm
            | Encryption::Sm4Gcm
            | Encryption::Aes128Cbc
            | Encryption::Sm4Cbc => 16,
            Encryption::DesCbc => 8,
            Encryption::Null => 0,
        }
    }

    /// Octets of the IV in each packet.
    pub const fn iv_len(self) -> usize {
        match self {
            Encryption::Aes128Cbc | Encryption::Aes256Cbc | Encryption::Sm4Cbc => 16,
            Encryption::Null => 0,
            _ => 8,
        }
    }

    /// What the encrypted text is a multiple of.
    pub const fn alignment(self) -> usize {
        match self {
            Encryption::Aes128Cbc | Encryption::Aes256Cbc | Encryption::Sm4Cbc => 16,
            Encryption::TripleDesCbc | Encryption::DesCbc => 8,
            _ => 4,
        }
    }

    /// For old peers only.
    pub const fn is_legacy(self) -> bool {
        matches!(self, Encryption::TripleDesCbc | Encryption::DesCbc)
    }

    /// Transform type 1; `None` for SM4, which has no number yet.
    pub const fn ikev2_id(self) -> Option<u16> {
        match self {
            Encryption::DesCbc => Some(2),
            Encryption::TripleDesCbc => Some(3),
            Encryption::Null => Some(11),
            Encryption::Aes128Cbc | Encryption::Aes256Cbc => Some(12),
            Encryption::Aes128Gcm | Encryption::Aes256Gcm => Some(20),
            Encryption::ChaCha20Poly1305 => Some(28),
            Encryption::Sm4Gcm | Encryption::Sm4Cbc => None,
        }
    }
}

impl Integrity {
    pub const ALL: [Integrity; 6] = [
        Integrity::HmacSha256,
        Integrity::HmacSha512,
        Integrity::HmacSm3Half,
        Integrity::HmacSm3Full,
        Integrity::HmacSha1,
        Integrity::HmacMd5,
    ];

    /// Octets of the key: the hash's own length (RFC 2403, RFC 2404, RFC 4868 section 2.1.1).
    pub const fn key_len(self) -> usize {
        match self {
            Integrity::HmacSha512 => 64,
            Integrity::HmacSha256 | Integrity::HmacSm3Half | Integrity::HmacSm3Full => 32,
            Integrity::HmacSha1 => 20,
            Integrity::HmacMd5 => 16,
        }
    }

    /// Octets of the ICV.
    pub const fn icv_len(self) -> usize {
        match self {
            Integrity::HmacSha512 | Integrity::HmacSm3Full => 32,
            Integrity::HmacSha256 | Integrity::HmacSm3Half => 16,
            Integrity::HmacSha1 | Integrity::HmacMd5 => 12,
        }
    }

    /// For old peers only.
    pub const fn is_legacy(self) -> bool {
        matches!(self, Integrity::HmacSha1 | Integrity::HmacMd5)
    }

    /// Transform type 3; `None` for SM3, which has no number yet.
    pub const fn ikev2_id(self) -> Option<u16> {
        match self {
            Integrity::HmacMd5 => Some(1),
            Integrity::HmacSha1 => Some(2),
            Integrity::HmacSha256 => Some(12),
            Integrity::HmacSha512 => Some(14),
            Integrity::HmacSm3Half | Integrity::HmacSm3Full => None,
        }
    }

    /// The name used in contracts and intent, for AH.
    pub const fn name(self) -> &'static str {
        match self {
            Integrity::HmacSha256 => "sha256-128",
            Integrity::HmacSha512 => "sha512-256",
            Integrity::HmacSm3Half => "sm3-128",
            Integrity::HmacSm3Full => "sm3-256",
            Integrity::HmacSha1 => "sha1-96",
            Integrity::HmacMd5 => "md5-96",
        }
    }
}
