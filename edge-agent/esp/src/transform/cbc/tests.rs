use super::*;
use crate::testing::hex;

/// Encrypts in the place of a datagram's text, beside other packets.
fn encrypt<C: Cipher>(cipher: &C, iv: &[u8], texts: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut datagrams: Vec<Vec<u8>> =
        texts.iter().map(|text| [&[0; 8], iv, text, &[0xee; 12]].concat()).collect();
    let mut packets: Vec<_> =
        datagrams.iter_mut().map(|datagram| Packet::framed_elsewhere(datagram)).collect();
    cipher.encrypt(12, &mut packets);
    let start = 8 + iv.len();
    datagrams
        .iter()
        .map(|datagram| {
            assert!(datagram.ends_with(&[0xee; 12]), "the ICV's place is left alone");
            datagram[start..datagram.len() - 12].to_vec()
        })
        .collect()
}

fn check<C: Cipher>(name: &str, key: &str, iv: &str, clear: &str, secret: &str) {
    let cipher = C::new(&hex(key)).unwrap();
    let (iv, clear, secret) = (hex(iv), hex(clear), hex(secret));
    assert_eq!(encrypt(&cipher, &iv, &[&clear]), [&secret[..]], "{name}");
    let mut text = secret;
    cipher.decrypt(&iv, &mut text);
    assert_eq!(text, clear, "{name}");
}

#[test]
fn nist_sp_800_38a_f_2_1_and_f_2_5_are_aes_cbc() {
    let clear = "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
                 30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710";
    let iv = "000102030405060708090a0b0c0d0e0f";
    check::<Aes128Cbc>(
        "F.2.1",
        "2b7e151628aed2a6abf7158809cf4f3c",
        iv,
        clear,
        "7649abac8119b246cee98e9b12e9197d 5086cb9b507219ee95db113a917678b2
         73bed6b8e3c1743b7116e69e22229516 3ff1caa1681fac09120eca307586e1a7",
    );
    check::<Aes256Cbc>(
        "F.2.5",
        "603deb1015ca71be2b73aef0857d7781 1f352c073b6108d72d9810a30914dff4",
        iv,
        clear,
        "f58c4c04d6e5f1ba779eabfb5f7bfbd6 9cfc4e967edb808d679f777bc6702c7d
         39f23369a9d9bacfa530e26304231461 b2eb05e2c39be9fcda6c19078c6a9d1b",
    );
}

#[test]
fn draft_ribose_cfrg_sm4_10_a_2_2_is_sm4_cbc() {
    let clear = "aaaaaaaabbbbbbbbccccccccdddddddd eeeeeeeeffffffffaaaaaaaabbbbbbbb";
    let iv = "000102030405060708090a0b0c0d0e0f";
    check::<Sm4Cbc>(
        "A.2.2.1",
        "0123456789abcdeffedcba9876543210",
        iv,
        clear,
        "78ebb11cc40b0a48312aaeb2040244cb 4cb7016951909226979b0d15dc6a8f6d",
    );
    check::<Sm4Cbc>(
        "A.2.2.2",
        "fedcba98765432100123456789abcdef",
        iv,
        clear,
        "0d3a6ddc2d21c698857215587b7bb59a 91f2c147911a4144665e1fa1d40bae38",
    );
}

#[test]
fn fips_81_table_c1_is_des_cbc() {
    check::<DesCbc>(
        "FIPS 81",
        "0123456789abcdef",
        "1234567890abcdef",
        "4e6f77206973207468652074696d6520666f7220616c6c20",
        "e5c7cdde872bf27c43e934008c389c0f683788499a7c05f6",
    );
}

#[test]
fn nist_sp_800_67_appendix_b_is_3des() {
    // The example has no chain: each block is one of its own, from zero.
    for (clear, secret) in [
        ("5468652071756663", "a826fd8ce53b855f"),
        ("6b2062726f776e20", "cce21c8112256fe6"),
        ("666f78206a756d70", "68d5c05dd9b6b900"),
    ] {
        let key = "0123456789abcdef 23456789abcdef01 456789abcdef0123";
        check::<TripleDesCbc>("appendix B", key, "0000000000000000", clear, secret);
    }
}

#[test]
fn rfc_2410_section_2_3_null_changes_nothing() {
    let null = Null::new(&[]).unwrap();
    for text in
        [&hex("123456789abcdef0")[..], b"Network Security People Have A Strange Sense Of Humor"]
    {
        assert_eq!(encrypt(&null, &[], &[text]), [text]);
        let mut opened = text.to_vec();
        null.decrypt(&[], &mut opened);
        assert_eq!(opened, text);
    }
    assert!(Null::new(&[1]).is_none());
}

/// For every number of packets around every backend's number of lanes, and for unequal lengths.
fn side_by_side_is_as_alone<C: Cipher>(key: &[u8]) {
    let cipher = C::new(key).unwrap();
    let block = C::ENCRYPTION.alignment();
    let iv = vec![0x39; block];
    let texts: Vec<Vec<u8>> = (0..70_usize)
        .map(|i| (0..block * (i * 7 % 11)).map(|at| (at * 31 + i * 17) as u8).collect())
        .collect();
    let alone: Vec<Vec<u8>> =
        texts.iter().flat_map(|text| encrypt(&cipher, &iv, &[text])).collect();
    for count in [2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 70] {
        let some: Vec<&[u8]> = texts[..count].iter().map(Vec::as_slice).collect();
        assert_eq!(encrypt(&cipher, &iv, &some), alone[..count], "{:?} {count}", C::ENCRYPTION);
    }
    for (secret, text) in alone.iter().zip(&texts) {
        let mut opened = secret.clone();
        cipher.decrypt(&iv, &mut opened);
        assert_eq!(&opened, text);
    }
}

#[test]
fn packets_side_by_side_are_encrypted_as_each_alone() {
    side_by_side_is_as_alone::<Aes128Cbc>(&[1; 16]);
    side_by_side_is_as_alone::<Aes256Cbc>(&[2; 32]);
    side_by_side_is_as_alone::<Sm4Cbc>(&[3; 16]);
    side_by_side_is_as_alone::<DesCbc>(&[0x2b; 8]);
    let triple: Vec<u8> = (1..=24).collect();
    side_by_side_is_as_alone::<TripleDesCbc>(&triple);
}

#[test]
fn a_long_text_is_decrypted_whole() {
    let cipher = Aes128Cbc::new(&[9; 16]).unwrap();
    for blocks in [1, 7, 8, 63, 64, 65, 89, 128, 563] {
        let text: Vec<u8> = (0..blocks * 16).map(|at| (at * 13) as u8).collect();
        let mut secret = encrypt(&cipher, &[4; 16], &[&text]).remove(0);
        cipher.decrypt(&[4; 16], &mut secret);
        assert_eq!(secret, text, "{blocks}");
    }
}
