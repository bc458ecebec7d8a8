//! SM4 and SM3, from the parts that the `openssl` command has.

use hawser_esp::Suite;

use super::tools::{Carried, hex, inner, key_octets, run, sealed, texts, unhex};

fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    run("openssl", "openssl", args, input).stdout
}

fn without_trailer(text: &[u8]) -> &[u8] {
    let pad_len = usize::from(text[text.len() - 2]);
    assert!(text[..text.len() - 2].ends_with(&(1..=pad_len as u8).collect::<Vec<_>>()));
    assert_eq!(text[text.len() - 1], 4);
    &text[..text.len() - 2 - pad_len]
}

/// High half of the sequence number, as it is authenticated.
fn implicit(esn: bool) -> &'static [u8] {
    if esn { &[0; 4] } else { &[] }
}

#[test]
fn openssl_verifies_and_decrypts_sm4_cbc_with_hmac_sm3() {
    for (suite, icv_len) in [(Suite::Sm4CbcSm3Half, 16), (Suite::Sm4CbcSm3Full, 32)] {
        let key = key_octets(suite);
        let (cipher_key, mac_key) = key.split_at(16);
        let mac_key = format!("hexkey:{}", hex(mac_key));
        for esn in [false, true] {
            let inners: Vec<_> = texts().iter().map(|text| inner(text)).collect();
            let datagrams = sealed(suite, esn, Carried::Tunnel, &inners);
            for (datagram, inner) in datagrams.iter().zip(&inners) {
                let (covered, icv) = datagram.split_at(datagram.len() - icv_len);
                let mac = openssl(
                    &["dgst", "-sm3", "-mac", "HMAC", "-macopt", &mac_key, "-binary"],
                    &[covered, implicit(esn)].concat(),
                );
                assert_eq!(&mac[..icv_len], icv, "{suite}");
                let iv = hex(&covered[8..24]);
                let text = openssl(
                    &["enc", "-d", "-sm4-cbc", "-K", &hex(cipher_key), "-iv", &iv, "-nopad"],
                    &covered[24..],
                );
                assert_eq!(without_trailer(&text), inner, "{suite}");
            }
        }
    }
}

#[test]
fn openssl_decrypts_sm4_gcm_and_its_tag_follows_from_sm4_alone() {
    let key = key_octets(Suite::Sm4Gcm);
    let (cipher_key, salt) = key.split_at(16);
    let cipher_key = hex(cipher_key);
    let ecb = |block: &[u8]| openssl(&["enc", "-sm4-ecb", "-K", &cipher_key, "-nopad"], block);
    let hash_key = number(&ecb(&[0; 16]));
    for esn in [false, true] {
        let inners: Vec<_> = texts().iter().map(|text| inner(text)).collect();
        let datagrams = sealed(Suite::Sm4Gcm, esn, Carried::Tunnel, &inners);
        for (datagram, inner) in datagrams.iter().zip(&inners) {
            let (covered, icv) = datagram.split_at(datagram.len() - 16);
            let nonce = [salt, &covered[8..16]].concat();
            let counter = hex(&[&nonce[..], &[0, 0, 0, 2]].concat());
            let text = openssl(
                &["enc", "-d", "-sm4-ctr", "-K", &cipher_key, "-iv", &counter],
                &covered[16..],
            );
            assert_eq!(without_trailer(&text), inner);
            let aad = [&covered[..4], implicit(esn), &covered[4..8]].concat();
            let mask = ecb(&[&nonce[..], &[0, 0, 0, 1]].concat());
            let tag = ghash(hash_key, &aad, &covered[16..]) ^ number(&mask);
            assert_eq!(icv, tag.to_be_bytes());
        }
    }
}

#[test]
fn the_parts_put_together_agree_with_rfc_8998_appendix_a_1() {
    let key = "0123456789abcdeffedcba9876543210";
    let ecb = |block: &[u8]| openssl(&["enc", "-sm4-ecb", "-K", key, "-nopad"], block);
    let text = unhex(
        "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735\
         d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d",
    );
    let aad = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let mask = ecb(&unhex("00001234567800000000abcd00000001"));
    let tag = ghash(number(&ecb(&[0; 16])), &aad, &text) ^ number(&mask);
    assert_eq!(tag, 0x83de_3541_e4c2_b581_77e0_65a9_bf7b_62ec);
}

fn number(block: &[u8]) -> u128 {
    u128::from_be_bytes(block.try_into().expect("one block"))
}

/// NIST SP 800-38D section 6.4, bit by bit.
fn ghash(hash_key: u128, aad: &[u8], text: &[u8]) -> u128 {
    let lengths = ((aad.len() as u128 * 8) << 64) | (text.len() as u128 * 8);
    let blocks = aad.chunks(16).chain(text.chunks(16)).map(|chunk| {
        let mut block = [0; 16];
        block[..chunk.len()].copy_from_slice(chunk);
        u128::from_be_bytes(block)
    });
    blocks.chain([lengths]).fold(0, |hash, block| product(hash ^ block, hash_key))
}

/// Section 6.3.
fn product(x: u128, y: u128) -> u128 {
    let (mut z, mut v) = (0, y);
    for bit in (0..128).rev() {
        if x >> bit & 1 == 1 {
            z ^= v;
        }
        v = if v & 1 == 1 { v >> 1 ^ 0xe1 << 120 } else { v >> 1 };
    }
    z
}
