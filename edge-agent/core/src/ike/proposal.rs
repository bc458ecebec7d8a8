//! Our suites in strongSwan's words.

use hawser_esp::Suite;

/// What protects packets; `None`: strongSwan has no such suite.
#[must_use]
pub fn esp_proposal(suite: Suite) -> Option<&'static str> {
    Some(match suite {
        Suite::Aes128Gcm => "aes128gcm16",
        Suite::Aes256Gcm => "aes256gcm16",
        Suite::ChaCha20Poly1305 => "chacha20poly1305",
        Suite::Aes128CbcSha256 => "aes128-sha256",
        Suite::Aes256CbcSha256 => "aes256-sha256",
        Suite::Aes128CbcSha512 => "aes128-sha512",
        Suite::Aes256CbcSha512 => "aes256-sha512",
        Suite::NullSha256 => "null-sha256",
        Suite::NullSha512 => "null-sha512",
        Suite::Aes128CbcSha1 => "aes128-sha1",
        Suite::Aes256CbcSha1 => "aes256-sha1",
        Suite::NullSha1 => "null-sha1",
        Suite::NullMd5 => "null-md5",
        Suite::TripleDesCbcSha1 => "3des-sha1",
        Suite::TripleDesCbcMd5 => "3des-md5",
        Suite::DesCbcSha1 => "des-sha1",
        Suite::DesCbcMd5 => "des-md5",
        Suite::Sm4Gcm | Suite::Sm4CbcSm3Half | Suite::Sm4CbcSm3Full => return None,
    })
}

/// What protects IKE itself: as strong as what protects packets, and encrypted always. No AEAD: IKEv1 knows none, and
/// Debian has strongSwan's in a package of its own.
#[must_use]
pub fn ike_proposal(suite: Suite) -> &'static str {
    match suite {
        Suite::Aes256Gcm
        | Suite::ChaCha20Poly1305
        | Suite::Aes256CbcSha256
        | Suite::Aes256CbcSha512 => "aes256-sha256",
        Suite::Aes128CbcSha1 | Suite::NullSha1 => "aes128-sha1",
        Suite::Aes256CbcSha1 => "aes256-sha1",
        Suite::NullMd5 => "aes128-md5",
        Suite::TripleDesCbcSha1 => "3des-sha1",
        Suite::TripleDesCbcMd5 => "3des-md5",
        Suite::DesCbcSha1 => "des-sha1",
        Suite::DesCbcMd5 => "des-md5",
        _ => "aes128-sha256",
    }
}
