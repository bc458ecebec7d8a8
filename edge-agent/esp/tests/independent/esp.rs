//! ESP, by tshark and by scapy.

use hawser_esp::Suite;
use hawser_esp::suite::{Encryption, Integrity};

use super::tools::{
    Carried, DST, SPI, SRC, hex, inner, ip, key_octets, pcap, run, scapy, sealed, texts,
};

/// tshark's names of a suite's halves; `None` for SM4, and for ChaCha20-Poly1305, which tshark 4.0 lacks.
fn tshark_names(suite: Suite) -> Option<(&'static str, &'static str)> {
    let encryption = match suite.encryption() {
        Encryption::Aes128Gcm | Encryption::Aes256Gcm => "AES-GCM with 16 octet ICV [RFC4106]",
        Encryption::Aes128Cbc | Encryption::Aes256Cbc => "AES-CBC [RFC3602]",
        Encryption::TripleDesCbc => "TripleDES-CBC [RFC2451]",
        Encryption::DesCbc => "DES-CBC [RFC2405]",
        Encryption::Null => "NULL",
        Encryption::ChaCha20Poly1305 | Encryption::Sm4Gcm | Encryption::Sm4Cbc => return None,
    };
    let integrity = match suite.integrity() {
        None => "NULL",
        Some(Integrity::HmacSha256) => "HMAC-SHA-256-128 [RFC4868]",
        Some(Integrity::HmacSha512) => "HMAC-SHA-512-256 [RFC4868]",
        Some(Integrity::HmacSha1) => "HMAC-SHA-1-96 [RFC2404]",
        Some(Integrity::HmacMd5) => "HMAC-MD5-96 [RFC2403]",
        Some(Integrity::HmacSm3Half | Integrity::HmacSm3Full) => return None,
    };
    Some((encryption, integrity))
}

/// scapy's names; `None` for SM4.
fn scapy_names(suite: Suite) -> Option<(&'static str, &'static str)> {
    let encryption = match suite.encryption() {
        Encryption::Aes128Gcm | Encryption::Aes256Gcm => "AES-GCM",
        Encryption::ChaCha20Poly1305 => "CHACHA20-POLY1305",
        Encryption::Aes128Cbc | Encryption::Aes256Cbc => "AES-CBC",
        Encryption::TripleDesCbc => "3DES",
        Encryption::DesCbc => "DES",
        Encryption::Null => "NULL",
        Encryption::Sm4Gcm | Encryption::Sm4Cbc => return None,
    };
    Some((encryption, suite.integrity().map_or(Some("-"), super::ah::scapy_name)?))
}

/// Encryption key and integrity key; the salt of an AEAD goes with the encryption key.
fn keys(suite: Suite) -> (Vec<u8>, Vec<u8>) {
    let mut key = key_octets(suite);
    let rest = match suite.integrity() {
        Some(_) => key.split_off(suite.key_len()),
        None => Vec::new(),
    };
    (key, rest)
}

fn udp_encapsulated(datagram: &[u8]) -> Vec<u8> {
    let mut udp = Vec::new();
    for field in [4500, 4500, 8 + datagram.len() as u16, 0_u16] {
        udp.extend(field.to_be_bytes());
    }
    ip(false, 17, &[&udp, datagram].concat())
}

/// What tshark prints of each packet: next header, whether the ICV is good, the innermost UDP payload.
fn tshark(suite: Suite, packets: &[Vec<u8>]) -> Vec<(String, String, String)> {
    let (encryption, integrity) = tshark_names(suite).expect("tshark has it");
    let (key, integrity_key) = keys(suite);
    let dotted = |address: [u8; 4]| address.map(|octet| octet.to_string()).join(".");
    let quoted =
        |key: &[u8]| if key.is_empty() { String::new() } else { format!("0x{}", hex(key)) };
    let association = format!(
        "uat:esp_sa:\"IPv4\",\"{}\",\"{}\",\"{SPI:#010x}\",\"{encryption}\",\"{}\",\"{integrity}\",\"{}\"",
        dotted(SRC),
        dotted(DST),
        quoted(&key),
        quoted(&integrity_key),
    );
    let args = [
        "-r",
        "-",
        "-T",
        "fields",
        "-E",
        "occurrence=l",
        "-e",
        "esp.protocol",
        "-e",
        "esp.icv_good",
        "-e",
        "udp.payload",
        "-o",
        "esp.enable_encryption_decode:TRUE",
        "-o",
        "esp.enable_authentication_check:TRUE",
        "-o",
        &association,
    ];
    let output = run("tshark", "tshark", &args, &pcap(packets));
    let lines = String::from_utf8(output.stdout).expect("text");
    lines
        .lines()
        .map(|line| {
            let mut fields = line.split('\t').map(str::to_owned);
            let mut next = || fields.next().unwrap_or_default();
            (next(), next(), next())
        })
        .collect()
}

#[test]
fn tshark_decrypts_every_suite_that_it_has_and_finds_a_forged_icv() {
    // Not the empty one: of it tshark prints the outer UDP's payload.
    let texts: Vec<_> = texts().into_iter().filter(|text| !text.is_empty()).collect();
    let inners: Vec<_> = texts.iter().map(|text| inner(text)).collect();
    let mut seen = 0;
    for suite in Suite::ALL.into_iter().filter(|suite| tshark_names(*suite).is_some()) {
        let (mut packets, mut expected) = (Vec::new(), Vec::new());
        for (carried, next_header) in [(Carried::Gre, "0x2f"), (Carried::Tunnel, "0x04")] {
            // tshark 4.0 knows no extended sequence numbers; scapy does.
            let datagrams = sealed(suite, false, carried, &inners);
            packets.extend(datagrams.iter().map(|datagram| ip(false, 50, datagram)));
            packets.extend(datagrams.iter().map(|datagram| udp_encapsulated(datagram)));
            expected.extend(texts.iter().chain(&texts).map(|text| (next_header, hex(text))));
        }
        let mut forged = packets[0].clone();
        *forged.last_mut().expect("an ICV") ^= 1;
        packets.push(forged);
        let printed = tshark(suite, &packets);
        assert_eq!(printed.len(), packets.len(), "{suite}");
        for ((protocol, good, payload), (next_header, text)) in printed.iter().zip(&expected) {
            assert_eq!((protocol.as_str(), payload), (*next_header, text), "{suite}");
            assert_eq!(good, "1", "{suite}: tshark checked the ICV");
            seen += 1;
        }
        assert_ne!(printed[expected.len()].1, "1", "{suite}: the forged one");
    }
    assert_eq!(seen, 16 * 2 * 2 * texts.len());
}

#[test]
fn scapy_verifies_and_decrypts_every_suite_that_it_has_with_and_without_esn() {
    let mut cases = Vec::new();
    for suite in Suite::ALL {
        let Some((encryption, integrity)) = scapy_names(suite) else { continue };
        let (key, integrity_key) = keys(suite);
        let or_dash = |key: &[u8]| if key.is_empty() { "-".to_owned() } else { hex(key) };
        for esn in [false, true] {
            let inners: Vec<_> = texts().iter().map(|text| inner(text)).collect();
            for (datagram, inner) in
                sealed(suite, esn, Carried::Tunnel, &inners).iter().zip(&inners)
            {
                // scapy tells tunnel mode by the outer addresses.
                let mut packet = ip(false, 50, datagram);
                packet[15] = 99;
                cases.push(format!(
                    "ESP {SPI:08x} {encryption} {} {integrity} {} {} {} {}",
                    or_dash(&key),
                    or_dash(&integrity_key),
                    if esn { "0" } else { "-" },
                    hex(&packet),
                    hex(inner),
                ));
            }
        }
    }
    assert_eq!(cases.len(), 17 * 2 * texts().len());
    scapy(&cases);
}
