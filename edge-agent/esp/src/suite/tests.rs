use std::collections::BTreeSet;

use super::*;

#[test]
fn names_are_those_of_the_contracts_and_lead_back() {
    for (suite, name, len) in [
        (Suite::Aes128Gcm, "aes-128-gcm", 20),
        (Suite::Aes256Gcm, "aes-256-gcm", 36),
        (Suite::ChaCha20Poly1305, "chacha20-poly1305", 36),
        (Suite::Aes256CbcSha512, "aes-256-cbc-sha512-256", 96),
        (Suite::Sm4Gcm, "sm4-gcm", 20),
        (Suite::Sm4CbcSm3Half, "sm4-cbc-sm3-128", 48),
        (Suite::TripleDesCbcMd5, "3des-cbc-md5-96", 40),
        (Suite::DesCbcSha1, "des-cbc-sha1-96", 28),
        (Suite::NullSha256, "null-sha256-128", 32),
    ] {
        assert_eq!((suite.to_string().as_str(), suite.key_material_len()), (name, len));
    }
    for suite in Suite::ALL {
        assert_eq!(suite.name().parse(), Ok(suite));
    }
    let names: BTreeSet<_> = Suite::ALL.map(Suite::name).into();
    assert_eq!(names.len(), Suite::ALL.len());
    let error = "aes-128-cbc".parse::<Suite>().unwrap_err().to_string();
    assert!(error.contains("aes-128-cbc-sha256-128"), "{error}");
}

#[test]
fn a_waiver_is_needed_for_des_3des_md5_and_sha1_and_for_nothing_else() {
    for suite in Suite::ALL {
        let name = suite.name();
        let old = ["des-", "-md5-", "-sha1-"].iter().any(|part| name.contains(part));
        assert_eq!(suite.requires_waiver(), old, "{name}");
        assert_eq!(suite.encrypts(), !name.starts_with("null"));
        // RFC 8221 section 4.
        let aead = name.ends_with("gcm") || name.ends_with("poly1305");
        assert_eq!(suite.allows_manual_keys(), !aead, "{name}");
    }
    assert_eq!(Suite::ALL.iter().filter(|suite| suite.requires_waiver()).count(), 8);
}

#[test]
fn numbers_of_ikev2_are_those_of_iana() {
    let ids = |suite: Suite| {
        (suite.encryption().ikev2_id(), suite.integrity().and_then(Integrity::ikev2_id))
    };
    assert_eq!(ids(Suite::Aes256Gcm), (Some(20), None));
    assert_eq!(ids(Suite::ChaCha20Poly1305), (Some(28), None));
    assert_eq!(ids(Suite::Aes128CbcSha256), (Some(12), Some(12)));
    assert_eq!(ids(Suite::Aes128CbcSha512), (Some(12), Some(14)));
    assert_eq!(ids(Suite::TripleDesCbcSha1), (Some(3), Some(2)));
    assert_eq!(ids(Suite::DesCbcMd5), (Some(2), Some(1)));
    assert_eq!(ids(Suite::NullSha256), (Some(11), Some(12)));
    assert_eq!(ids(Suite::Sm4CbcSm3Half), (None, None));
}

#[test]
fn key_material_of_another_length_is_refused_with_both_lengths() {
    for suite in Suite::ALL {
        for len in [0, suite.key_material_len() - 1, suite.key_material_len() + 1] {
            let error = KeyMaterial::new(suite, &vec![0x5a; len]).unwrap_err();
            let expected_bytes = suite.key_material_len();
            let expected = KeyLengthError { suite, expected_bytes, got_bytes: len };
            assert_eq!(error, KeyError::Length(expected));
        }
    }
}

#[test]
fn weak_des_keys_are_refused_with_any_parity() {
    let material = |suite: Suite, key: &[u8]| {
        let rest = vec![3; suite.key_material_len() - key.len()];
        KeyMaterial::new(suite, &[key, &rest].concat()).map(|_| ())
    };
    let weak = |suite| Err(KeyError::Weak { suite });
    let (a, b, c) = ([0x2b_u8; 8], [0x4d_u8; 8], [0x67_u8; 8]);
    // A weak key, the same with even parity, a semi-weak one (RFC 2405 section 2.1).
    for key in [[0x01; 8], [0x00; 8], [0x01, 0xfe, 0x01, 0xfe, 0x01, 0xfe, 0x01, 0xfe]] {
        assert_eq!(material(Suite::DesCbcMd5, &key), weak(Suite::DesCbcMd5));
        let triple = [a, key, c].concat();
        assert_eq!(material(Suite::TripleDesCbcSha1, &triple), weak(Suite::TripleDesCbcSha1));
    }
    assert_eq!(material(Suite::DesCbcMd5, &a), Ok(()));
    assert_eq!(material(Suite::TripleDesCbcMd5, &[a, b, c].concat()), Ok(()));
    // RFC 2451 section 2.3: with two keys equal it is DES. 0x2a is 0x2b with the other parity.
    for triple in [[a, a, c], [a, b, b], [a, b, a], [a, [0x2a; 8], c]] {
        let verdict = material(Suite::TripleDesCbcMd5, &triple.concat());
        assert_eq!(verdict, weak(Suite::TripleDesCbcMd5));
    }
}
