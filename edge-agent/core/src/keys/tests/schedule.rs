//! The vectors were computed with Python's hmac and hashlib from the text of ARCHITECTURE, not with this code.

use proptest::prelude::*;

use super::super::*;
use crate::id::{EdgeId, PathId, Spi};

fn context(suite: KeySuite) -> SaContext {
    SaContext {
        fleet: "acme".into(),
        client: EdgeId(1),
        server: EdgeId(2),
        path: PathId(7),
        sender: EdgeId(1),
        spi: Spi(0x1234_abcd),
        suite,
        epoch: 1,
        nonce_client: [0xc1; 32],
        nonce_server: [0x5e; 32],
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|o| format!("{o:02x}")).collect()
}

fn exported() -> [u8; 32] {
    std::array::from_fn(|i| i as u8)
}

#[test]
fn the_encoded_context_is_the_one_of_the_architecture_page() {
    let want = concat!(
        "000c6861777365722d73612d7631",
        "000461636d65",
        "00080000000000000001",
        "00080000000000000002",
        "00080000000000000007",
        "00080000000000000001",
        "0008000000001234abcd",
        "000b6165732d3132382d67636d",
        "00080000000000000001",
        "0020c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1",
        "00205e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e",
    );
    assert_eq!(hex(&context(KeySuite::Aes128Gcm).encode()), want);
}

#[test]
fn keys_are_those_that_python_computes() {
    let second = SaContext {
        sender: EdgeId(2),
        spi: Spi(0xffff_fffe),
        epoch: 2,
        ..context(KeySuite::Aes256Gcm)
    };
    let third = SaContext {
        fleet: "long-fleet-name".into(),
        client: EdgeId(70_000),
        server: EdgeId(5),
        path: PathId(0xff_ffff),
        sender: EdgeId(5),
        spi: Spi(256),
        epoch: 1 << 40,
        ..context(KeySuite::ChaCha20Poly1305)
    };
    let none: &[&[u8]] = &[];
    let table: [(SaContext, &[&[u8]], &str); 3] = [
        (context(KeySuite::Aes128Gcm), none, "e64ff662c918e94505a452110cac8932f2228fe7"),
        (
            second,
            &[b"quantum"],
            "60b8b87e4830687b7fad06799b6e6bca5ba9a2a1b16ea74247c7159960dd0e7a608b1185",
        ),
        (
            third,
            &[b"a", &[0; 64]],
            "6149d9995797dd2a862f525144f72ede4f58771e998af8bf4ae528fd13cb2d9aa53fb34b",
        ),
    ];
    for (context, further, want) in table {
        let bytes = context.suite.key_material_len();
        let key = derive(&exported(), &context.encode(), further, bytes).unwrap();
        assert_eq!(hex(&key), want, "{context:?}");
        let exporter = |out: &mut [u8], label: &[u8], encoded: &[u8]| -> Result<(), ()> {
            assert_eq!(label, b"EXPORTER-hawser-sa-1");
            assert_eq!(&encoded[2..14], b"hawser-sa-v1");
            out.copy_from_slice(&exported());
            Ok(())
        };
        assert_eq!(hex(&context.into_keys(Lanes::ONE, further, exporter).unwrap()[0]), want);
    }
}

/// Lanes 1 and 2 by Python from the text of ARCHITECTURE; lane 0 is the first vector of above.
#[test]
fn each_lane_has_a_key_of_its_own_from_one_export() {
    let mut exports = 0;
    let keys = context(KeySuite::Aes128Gcm).into_keys(Lanes::clamped(8), &[], |out, _, encoded| {
        exports += 1;
        assert_eq!(encoded, context(KeySuite::Aes128Gcm).encode());
        out.copy_from_slice(&exported());
        Ok::<_, ()>(())
    });
    let keys: Vec<String> = keys.unwrap().iter().map(|key| hex(key)).collect();
    assert_eq!(exports, 1);
    let vectors = [
        "e64ff662c918e94505a452110cac8932f2228fe7",
        "9440793fbf4b5680f9b5a01ec3763b2f05780959",
        "b568491ae6ac0f72feab8301fb70d74485e12ed2",
    ];
    assert_eq!(keys[..3], vectors);
    assert_eq!(keys.iter().collect::<std::collections::BTreeSet<_>>().len(), 8);
}

#[test]
fn bad_secrets_are_refused_with_their_place() {
    let encoded = context(KeySuite::Aes128Gcm).encode();
    let long = vec![1; MAX_FURTHER_SECRET_BYTES + 1];
    type Case<'a> = (&'a [u8], &'a [&'a [u8]], usize, ScheduleError);
    let cases: [Case; 4] = [
        (&[0; 31], &[], 20, ScheduleError::ExporterLength { found: 31 }),
        (&[0; 32], &[b"x", b""], 20, ScheduleError::FurtherSecret { index: 1, found: 0 }),
        (&[0; 32], &[&long], 20, ScheduleError::FurtherSecret { index: 0, found: 4097 }),
        (&[0; 32], &[], 255 * 32 + 1, ScheduleError::Length { wanted: 255 * 32 + 1 }),
    ];
    for (exported, further, bytes, want) in cases {
        assert_eq!(derive(exported, &encoded, further, bytes).unwrap_err(), want);
    }
    let refused = context(KeySuite::Aes128Gcm).into_keys(Lanes::ONE, &[], |_, _, _| Err(()));
    assert_eq!(refused.unwrap_err(), ScheduleError::Exporter);
}

#[test]
fn suites_are_found_by_the_names_they_have() {
    for suite in KeySuite::ALL {
        assert_eq!(suite.name().parse(), Ok(suite));
        let lanes = Lanes::clamped(3);
        let keys = context(suite).into_keys(lanes, &[], |_, _, _| Ok::<_, ()>(())).unwrap();
        assert_eq!(keys.len(), 3);
        assert!(keys.iter().all(|key| key.len() == suite.key_material_len()), "{suite}");
    }
    assert!("AES-128-GCM".parse::<KeySuite>().is_err());
}

fn any_context() -> impl Strategy<Value = SaContext> {
    (
        "[a-z]{1,8}",
        any::<[u32; 5]>(),
        0..KeySuite::ALL.len(),
        any::<u64>(),
        any::<[u8; 32]>(),
        any::<[u8; 32]>(),
    )
        .prop_map(|(fleet, ids, suite, epoch, nonce_client, nonce_server)| SaContext {
            fleet,
            client: EdgeId(ids[0]),
            server: EdgeId(ids[1]),
            path: PathId(ids[2]),
            sender: EdgeId(ids[3]),
            spi: Spi(ids[4]),
            suite: KeySuite::ALL[suite],
            epoch,
            nonce_client,
            nonce_server,
        })
}

/// Tests may copy one, the agreement may not.
fn copy(context: &SaContext) -> SaContext {
    SaContext {
        fleet: context.fleet.clone(),
        client: context.client,
        server: context.server,
        path: context.path,
        sender: context.sender,
        spi: context.spi,
        suite: context.suite,
        epoch: context.epoch,
        nonce_client: context.nonce_client,
        nonce_server: context.nonce_server,
    }
}

fn key(context: &SaContext, further: &[&[u8]]) -> Vec<u8> {
    derive(&exported(), &context.encode(), further, 36).unwrap().to_vec()
}

proptest! {
    #[test]
    fn any_field_that_changes_changes_the_key(base in any_context(), flip in 1..=u32::MAX) {
        let again = |change: &dyn Fn(&mut SaContext)| {
            let mut other = copy(&base);
            change(&mut other);
            key(&other, &[])
        };
        let mut keys = vec![
            again(&|_| ()),
            again(&|c| c.fleet.push('x')),
            again(&|c| c.client.0 ^= flip),
            again(&|c| c.server.0 ^= flip),
            again(&|c| c.path.0 ^= flip),
            again(&|c| c.sender.0 ^= flip),
            again(&|c| c.spi.0 ^= flip),
            again(&|c| {
                let index = KeySuite::ALL.iter().position(|s| *s == c.suite).unwrap();
                c.suite = KeySuite::ALL[(index + 1) % KeySuite::ALL.len()];
            }),
            again(&|c| c.epoch ^= u64::from(flip)),
            again(&|c| c.nonce_client[(flip % 32) as usize] ^= 1),
            again(&|c| c.nonce_server[(flip % 32) as usize] ^= 1),
            key(&base, &[b"secret"]),
            key(&base, &[b"sec", b"ret"]),
            key(&base, &[b"ret", b"sec"]),
        ];
        prop_assert_eq!(&keys[0], &key(&base, &[]));
        let count = keys.len();
        keys.sort();
        keys.dedup();
        prop_assert_eq!(keys.len(), count);
    }

    #[test]
    fn the_two_directions_of_an_epoch_have_different_keys(base in any_context(), spi in any::<u32>()) {
        prop_assume!(base.client != base.server);
        let mut one = copy(&base);
        one.sender = base.client;
        let mut other = copy(&base);
        (other.sender, other.spi) = (base.server, Spi(spi));
        prop_assert_ne!(key(&one, &[]), key(&other, &[]));
    }

    #[test]
    fn two_contexts_have_one_encoding_only_if_they_are_equal(a in any_context(), b in any_context()) {
        prop_assert_eq!(a == b, a.encode() == b.encode());
    }
}
