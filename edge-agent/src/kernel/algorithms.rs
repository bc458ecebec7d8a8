//! Suites in the kernel's words (the names of `net/xfrm/xfrm_algo.c`).

use hawser_esp::{Encryption, Integrity};
use netlink_packet_xfrm::{Alg, AlgAead, AlgAuth, XfrmAttrs};

use crate::dataplane::Suite;

/// How a suite is told to the kernel: attributes that hold the keys. `None`: the kernel has no such suite.
pub fn attributes(suite: Suite, key: &[u8]) -> Option<Vec<XfrmAttrs>> {
    let icv_bits = suite.layout().icv_len as u32 * 8;
    let cipher = match suite.encryption() {
        // The salt is part of the key there.
        Encryption::Aes128Gcm | Encryption::Aes256Gcm => {
            return Some(vec![aead("rfc4106(gcm(aes))", key, icv_bits)]);
        }
        Encryption::ChaCha20Poly1305 => {
            return Some(vec![aead("rfc7539esp(chacha20,poly1305)", key, icv_bits)]);
        }
        Encryption::Aes128Cbc | Encryption::Aes256Cbc => "cbc(aes)",
        Encryption::Sm4Cbc => "cbc(sm4)",
        Encryption::TripleDesCbc => "cbc(des3_ede)",
        Encryption::DesCbc => "cbc(des)",
        Encryption::Null => "ecb(cipher_null)",
        Encryption::Sm4Gcm => return None,
    };
    let (encryption, integrity) = key.split_at_checked(suite.key_len())?;
    Some(vec![
        XfrmAttrs::EncryptionAlg(Alg {
            alg_name: name(cipher),
            alg_key_len: encryption.len() as u32 * 8,
            alg_key: encryption.to_vec(),
        }),
        authentication(suite.integrity()?, integrity),
    ])
}

/// Of an HMAC alone, as AH has it.
pub fn authentication(integrity: Integrity, key: &[u8]) -> XfrmAttrs {
    let hash = match integrity {
        Integrity::HmacSha256 => "hmac(sha256)",
        Integrity::HmacSha512 => "hmac(sha512)",
        Integrity::HmacSm3Half | Integrity::HmacSm3Full => "hmac(sm3)",
        Integrity::HmacSha1 => "hmac(sha1)",
        Integrity::HmacMd5 => "hmac(md5)",
    };
    // Without a length of its own the kernel cuts SHA-256 to 96 bits, which no standard does.
    XfrmAttrs::AuthenticationAlgTrunc(AlgAuth {
        alg_name: name(hash),
        alg_key_len: key.len() as u32 * 8,
        alg_trunc_len: integrity.icv_len() as u32 * 8,
        alg_key: key.to_vec(),
    })
}

fn aead(called: &str, key: &[u8], icv_bits: u32) -> XfrmAttrs {
    XfrmAttrs::EncryptionAlgAead(AlgAead {
        alg_name: name(called),
        alg_key_len: key.len() as u32 * 8,
        alg_icv_len: icv_bits,
        alg_key: key.to_vec(),
    })
}

fn name(text: &str) -> [u8; 64] {
    let mut octets = [0; 64];
    octets[..text.len()].copy_from_slice(text.as_bytes());
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_split_where_its_suite_says() {
        for suite in Suite::ALL {
            let key: Vec<u8> = (0..suite.key_material_len() as u8).collect();
            let Some(told) = attributes(suite, &key) else {
                assert_eq!(suite, Suite::Sm4Gcm);
                continue;
            };
            let (mut octets, mut icv_bits) = (Vec::new(), 0);
            for attribute in told {
                match attribute {
                    XfrmAttrs::EncryptionAlgAead(aead) => {
                        icv_bits = aead.alg_icv_len;
                        octets.extend(aead.alg_key);
                    }
                    XfrmAttrs::EncryptionAlg(cipher) => {
                        assert_eq!(cipher.alg_key_len as usize, suite.key_len() * 8, "{suite}");
                        octets.extend(cipher.alg_key);
                    }
                    XfrmAttrs::AuthenticationAlgTrunc(hash) => {
                        icv_bits = hash.alg_trunc_len;
                        octets.extend(hash.alg_key);
                    }
                    other => panic!("{suite}: {other:?}"),
                }
            }
            assert_eq!(octets, key, "{suite}");
            assert_eq!(icv_bits as usize, suite.layout().icv_len * 8, "{suite}");
        }
    }
}
