//! Whole packets that documents have printed. Those of single ciphers and MACs are beside their code.

use super::*;
use crate::testing::hex;
use crate::transform::{Aead, Aes128Cbc, Composed, HmacSha256};

struct Vector {
    name: &'static str,
    suite: Suite,
    key: &'static str,
    spi: u32,
    seq: u32,
    iv: &'static str,
    next_header: u8,
    payload: &'static str,
    datagram: &'static str,
}

/// Without ESN; next header and IV as each document has them. RFC 3602 has neither integrity key nor ICV.
const VECTORS: [Vector; 5] = [
    Vector {
        name: "draft-mcgrew-gcm-test-01 section 4, case 2",
        suite: Suite::Aes128Gcm,
        key: "feffe9928665731c6d6a8f9467308308 cafebabe",
        spi: 0x0000_a5f8,
        seq: 10,
        iv: "facedbaddecaf888",
        next_header: 4,
        payload: "4500003e698f000080114dccc0a80102 c0a801010a980035002a2343b2d00100
                  00010000000000000373697009637962 65726369747902646b0000010001",
        datagram: "0000a5f80000000a facedbaddecaf888
                   deb22cd9b07c72c16e3a65beeb8df304 a5a5897d33ae530f1ba76d5d114d2a5c
                   3de81827c10e9a4f51330d0eec416642 cfbb85a5b47e48a4ec3b9ba95d918bd4
                   26f8391b9927d0fcc984561bbbce9fc0",
    },
    Vector {
        name: "draft-mcgrew-gcm-test-01 section 4, case 3",
        suite: Suite::Aes256Gcm,
        key: "abbccddef001122334455667788 99aababbccddef00112233445566778899aab 11223344",
        spi: 0x4a2c_bfe3,
        seq: 2,
        iv: "0102030405060708",
        next_header: 4,
        payload: "4500003069a6400080062690c0a80102 9389155e0a9e008b2dc57ee000000000
                  7002400020bf0000020405b401010402",
        datagram: "4a2cbfe300000002 0102030405060708
                   ff425c9b724599df7a3bcd510194e00d 6a78107f1b0b1cbf06efae9d65a5d763
                   748a637985771d347f0545659f14e99d ef842d8b42f564f52dfdd6eef4f92ead
                   bac23990",
    },
    Vector {
        name: "RFC 7634 appendix A",
        suite: Suite::ChaCha20Poly1305,
        key: "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3",
        spi: 0x0102_0304,
        seq: 5,
        iv: "1011121314151617",
        next_header: 4,
        payload: "45000054a6f200004001e778c6336405 c000020508005b7a3a080000553bec10
                  0007362708090a0b0c0d0e0f10111213 1415161718191a1b1c1d1e1f20212223
                  2425262728292a2b2c2d2e2f30313233 34353637",
        datagram: "0102030400000005 1011121314151617
                   24039428b97f417e3c13753a4f05087b 67c352e6a7fab1b982d466ef407ae5c6
                   14ee8099d52844eb61aa95dfab4c02f7 2aa71e7c4c4f64c9befe2facc638e8f3
                   cbec163fac469b502773f6fb94e664da 9165b82829f641e076aaa8266b7fb0f7
                   b11b369907e1ad43",
    },
    Vector {
        name: "RFC 3602 section 4, case 5",
        suite: Suite::Aes128CbcSha256,
        key: "90d382b410eeba7ad938c46cec1a82bf",
        spi: 0x4321,
        seq: 1,
        iv: "e96e8c08ab465763fd098d45dd3ff893",
        next_header: 1,
        payload: "08000ebda70a00008e9c083db95b0700 08090a0b0c0d0e0f1011121314151617
                  18191a1b1c1d1e1f2021222324252627 28292a2b2c2d2e2f3031323334353637",
        datagram: "0000432100000001 e96e8c08ab465763fd098d45dd3ff893
                   f663c25d325c18c6a9453e194e120849 a4870b66cc6b9965330013b4898dc856
                   a4699e523a55db080b59ec3a8e4b7e52 775b07d1db34ed9c538ab50c551b874a
                   a269add047ad2d5913ac19b7cfbad4a6",
    },
    Vector {
        name: "RFC 3602 section 4, case 6",
        suite: Suite::Aes128CbcSha256,
        key: "90d382b410eeba7ad938c46cec1a82bf",
        spi: 0x4321,
        seq: 8,
        iv: "69d08df7d203329db093fc4924e5bd80",
        next_header: 1,
        payload: "0800b5e8a80a0500a69c083d0b660e00 777777777777777777777777",
        datagram: "0000432100000008 69d08df7d203329db093fc4924e5bd80
                   f51995881ec4e0c4488987ce742e8109 689bb379d2d750c0d915dca346a89f75",
    },
];

fn check<T: Transform>(vector: &Vector, rest_of_key: &[u8]) {
    let key = [&hex(vector.key), rest_of_key].concat();
    let key = KeyMaterial::new(vector.suite, &key).unwrap();
    let (payload, expected) = (hex(vector.payload), hex(vector.datagram));
    let mut datagram = vec![0; T::LAYOUT.sealed_len(payload.len())];
    datagram[T::LAYOUT.payload_offset()..][..payload.len()].copy_from_slice(&payload);
    let seed = crate::IvSeed::new([0; 32]);
    let outbound = OutboundSa::<T>::seeded(vector.spi, &key, false, &seed).unwrap();
    let (seq, iv) = (u64::from(vector.seq), hex(vector.iv));
    seal_as(&outbound, seq, &iv, vector.next_header, &mut datagram, payload.len());
    assert_eq!(datagram[..expected.len()], expected, "{}", vector.name);

    let mode = Mode::Transport;
    let inbound = InboundSa::<T>::carrying(mode, vector.spi, &key, false, 64).unwrap();
    let opened = inbound.open(&mut datagram).unwrap();
    assert_eq!(opened.next_header, vector.next_header, "{}", vector.name);
    assert_eq!(datagram[opened.payload], payload, "{}", vector.name);
}

#[test]
fn published_packets_are_sealed_and_opened_octet_by_octet() {
    for vector in &VECTORS[..3] {
        check::<Aead>(vector, &[]);
        assert_eq!(hex(vector.datagram).len(), sealed_len(hex(vector.payload).len()));
    }
    for vector in &VECTORS[3..] {
        check::<Composed<Aes128Cbc, HmacSha256>>(vector, &[7; 32]);
    }
}
