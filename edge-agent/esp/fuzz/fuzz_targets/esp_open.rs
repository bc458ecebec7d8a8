//! Datagrams of an attacker, who knows the SPI, and of a peer, who knows the key too.

#![no_main]

use hawser_esp::layout::Layout;
use hawser_esp::transform::{HmacSha256, Mac, SuiteMac};
use hawser_esp::{DropReason, KeyMaterial, Mode, Suite, opener};
use libfuzzer_sys::fuzz_target;

const SPI: u32 = 0x1234_5678;

fuzz_target!(|data: &[u8]| {
    let Some(([choice, mode], rest)) = data.split_first_chunk::<2>() else { return };
    let suite = Suite::ALL[usize::from(*choice) % Suite::ALL.len()];
    let esn = mode & 4 != 0;
    let mode = [Mode::Gre, Mode::Tunnel, Mode::Transport][usize::from(mode & 3) % 3];

    let opener_of = |suite: Suite| {
        let octets: Vec<u8> = (0..suite.key_material_len()).map(|at| (at * 7 + 3) as u8).collect();
        let key = KeyMaterial::new(suite, &octets).expect("a good key");
        opener(mode, SPI, &key, esn, 64).expect("good parameters")
    };
    let mut forged = [&SPI.to_be_bytes(), rest].concat();
    opener_of(suite).open(&mut forged).expect_err("nobody forges an ICV");

    // What a peer with the key may send: any text under a good ICV, here without encryption.
    let suite = Suite::NullSha256;
    let layout: Layout = suite.layout();
    let octets: Vec<u8> = (0..suite.key_material_len()).map(|at| (at * 7 + 3) as u8).collect();
    let mac = HmacSha256::new(&octets).expect("a key of its length");
    let text = &rest[..rest.len() - rest.len() % layout.alignment];
    let mut datagram = [&SPI.to_be_bytes()[..], &7_u32.to_be_bytes(), text].concat();
    let mut icv = [0; 16];
    let high: &[u8] = if esn { &[0; 4] } else { &[] };
    mac.write_icv(&[&datagram, high], &mut icv);
    datagram.extend(icv);
    match opener_of(suite).open(&mut datagram) {
        Ok(opened) => {
            assert_eq!(opened.seq, 7);
            assert!(opened.payload.start >= layout.payload_offset());
            assert!(opened.payload.end + 2 + layout.icv_len <= datagram.len());
        }
        Err(
            DropReason::TooShort
            | DropReason::BadPadding
            | DropReason::Dummy
            | DropReason::BadNextHeader,
        ) => {}
        Err(reason) => panic!("{reason}"),
    }
});
