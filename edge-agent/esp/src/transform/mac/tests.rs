use super::*;

fn hex(digits: &str) -> Vec<u8> {
    crate::testing::hex(digits)
}

/// Of an integrity algorithm: key, message, ICV.
struct Vector {
    name: &'static str,
    integrity: Integrity,
    key: Vec<u8>,
    message: Vec<u8>,
    icv: &'static str,
}

fn vectors() -> Vec<Vector> {
    let vector = |name, integrity, key: &[u8], message: &[u8], icv| Vector {
        name,
        integrity,
        key: key.to_vec(),
        message: message.to_vec(),
        icv,
    };
    let want = b"what do ya want for nothing?";
    let counting: Vec<u8> = (1..=32).collect();
    let letters = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".repeat(2);
    vec![
        vector(
            "RFC 2202 section 2, test case 5, digest-96",
            Integrity::HmacMd5,
            &[0x0c; 16],
            b"Test With Truncation",
            "56461ef2342edc00f9bab995",
        ),
        vector(
            "RFC 2202 section 3, test case 5, digest-96",
            Integrity::HmacSha1,
            &[0x0c; 20],
            b"Test With Truncation",
            "4c1a03424b55e07fe7f27be1",
        ),
        vector(
            "RFC 4868 section 2.7.2.1, AUTH256-1",
            Integrity::HmacSha256,
            &[0x0b; 32],
            b"Hi There",
            "198a607eb44bfbc69903a0f1cf2bbdc5",
        ),
        vector(
            "RFC 4868 section 2.7.2.1, AUTH256-2",
            Integrity::HmacSha256,
            &b"Jefe".repeat(8),
            want,
            "167f928588c5cc2eef8e3093caa0e87c",
        ),
        vector(
            "RFC 4868 section 2.7.2.3, AUTH512-1",
            Integrity::HmacSha512,
            &[0x0b; 64],
            b"Hi There",
            "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8",
        ),
        vector(
            "RFC 4868 section 2.7.2.3, AUTH512-2",
            Integrity::HmacSha512,
            &b"Jefe".repeat(16),
            want,
            "cb370917ae8a7ce28cfd1d8f4705d6141c173b2a9362c15df235dfb251b15454",
        ),
        vector(
            "GM/T 0042-2015 appendix D.3, first, cut to half",
            Integrity::HmacSm3Half,
            &counting,
            &letters,
            "ca05e144ed05d1857840d1f318a4a866",
        ),
        vector(
            "GM/T 0042-2015 appendix D.3, first",
            Integrity::HmacSm3Full,
            &counting,
            &letters,
            "ca05e144ed05d1857840d1f318a4a8669e559fc8391f414485bfdf7bb408963a",
        ),
        vector(
            "GM/T 0042-2015 appendix D.3, third",
            Integrity::HmacSm3Full,
            &[0x0b; 32],
            b"Hi There",
            "c0ba18c68b90c88bc07de794bfc7d2c8d19ec31ed8773bc2b390c9604e0be11e",
        ),
    ]
}

#[test]
fn published_icvs_are_made_and_verified_in_any_cut() {
    for Vector { name, integrity, key, message, icv } in vectors() {
        let mac = mac_of(integrity, &key).unwrap();
        let expected = hex(icv);
        for cut in [0, 1, message.len() / 2, message.len()] {
            let parts = [&message[..cut], &message[cut..]];
            let mut made = vec![0; integrity.icv_len()];
            mac.write_icv(&parts, &mut made);
            assert_eq!(made, expected, "{name}");
            assert!(mac.verify(&parts, &expected), "{name}");
        }
    }
    for integrity in Integrity::ALL {
        assert!(vectors().iter().any(|vector| vector.integrity == integrity));
    }
}

#[test]
fn an_icv_with_any_octet_changed_or_of_another_length_is_refused() {
    for Vector { name, integrity, key, message, icv } in vectors() {
        let mac = mac_of(integrity, &key).unwrap();
        let good = hex(icv);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(!mac.verify(&[&message], &bad), "{name} {at}");
        }
        assert!(!mac.verify(&[&message], &good[1..]), "{name}");
        assert!(!mac.verify(&[&message], &[]), "{name}");
    }
}

#[test]
fn a_key_of_another_length_makes_no_mac() {
    for integrity in Integrity::ALL {
        let len = integrity.key_len();
        assert_eq!(mac_of(integrity, &vec![1; len]).unwrap().integrity(), integrity);
        for wrong in [0, len - 1, len + 1] {
            assert!(mac_of(integrity, &vec![1; wrong]).is_none(), "{integrity:?}");
        }
    }
}
