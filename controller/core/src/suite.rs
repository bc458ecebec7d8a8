//! What protects the packets of a tunnel.

/// A suite of ESP, by its name in documents and on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suite(&'static str);

impl Suite {
    /// First those for everyone, then those for old peers only.
    pub const ALL: [Suite; 20] = [
        Suite("aes-128-gcm"),
        Suite("aes-256-gcm"),
        Suite("chacha20-poly1305"),
        Suite("aes-128-cbc-sha256-128"),
        Suite("aes-256-cbc-sha256-128"),
        Suite("aes-128-cbc-sha512-256"),
        Suite("aes-256-cbc-sha512-256"),
        Suite("sm4-gcm"),
        Suite("sm4-cbc-sm3-128"),
        Suite("sm4-cbc-sm3-256"),
        Suite("null-sha256-128"),
        Suite("null-sha512-256"),
        Suite("aes-128-cbc-sha1-96"),
        Suite("aes-256-cbc-sha1-96"),
        Suite("null-sha1-96"),
        Suite("null-md5-96"),
        Suite("3des-cbc-sha1-96"),
        Suite("3des-cbc-md5-96"),
        Suite("des-cbc-sha1-96"),
        Suite("des-cbc-md5-96"),
    ];

    pub fn named(name: &str) -> Option<Suite> {
        Suite::ALL.into_iter().find(|suite| suite.0 == name)
    }

    /// Its name in documents and on the wire.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// An AEAD of a counter: two packets under one key and one nonce give its key away.
    pub fn counts(self) -> bool {
        ["gcm", "chacha20"].iter().any(|mode| self.0.contains(mode))
    }

    /// DES or 3DES: 8-octet blocks.
    pub fn wears_out(self) -> bool {
        self.0.contains("des-")
    }

    /// False: it authenticates alone.
    pub fn encrypts(self) -> bool {
        !self.0.starts_with("null-")
    }

    /// DES, 3DES, MD5 or SHA-1 is in it: only with a dated waiver.
    pub fn requires_waiver(self) -> bool {
        ["des-", "sha1-", "md5-"].iter().any(|old| self.0.contains(old))
    }
}

impl Default for Suite {
    fn default() -> Self {
        Suite::ALL[0]
    }
}
