//! Packets with AH of an attacker, and packets of a LAN that are to get one.

#![no_main]

use hawser_esp::Integrity;
use hawser_esp::ah::{AhKey, AhMode, InboundAh, OutboundAh, PROTOCOL_AH, ah_len};
use hawser_esp::ip::Packet;
use libfuzzer_sys::fuzz_target;

const SPI: u32 = 0x1234_5678;
const ROOM: usize = 64;

fuzz_target!(|data: &[u8]| {
    let Some((choice, packet)) = data.split_first() else { return };
    let integrity = Integrity::ALL[usize::from(choice >> 2) % Integrity::ALL.len()];
    let esn = choice & 1 != 0;
    let mode = if choice & 2 != 0 { AhMode::Tunnel } else { AhMode::Transport };
    let key = AhKey::new(integrity, &vec![0x5a; integrity.key_len()]).expect("a good key");
    let inbound = || InboundAh::new(SPI, &key, esn, 64, mode).expect("good parameters");
    let outbound = OutboundAh::new(SPI, &key, esn).expect("good parameters");

    // As it came, and with what leads to the ICV put in.
    let mut forged = packet.to_vec();
    inbound().open(&mut forged).expect_err("nobody forges an ICV");
    let (number_at, ah_at) = match packet.first().map(|octet| octet >> 4) {
        Some(4) => (9, usize::from(packet[0] & 0xf) * 4),
        _ => (6, 40),
    };
    if forged.len() > ah_at + 12 {
        forged[number_at] = PROTOCOL_AH;
        forged[ah_at + 1] = (ah_len(integrity, number_at == 6) / 4 - 2) as u8;
        forged[ah_at + 4..ah_at + 8].copy_from_slice(&SPI.to_be_bytes());
        let before = forged.clone();
        inbound().open(&mut forged).expect_err("nobody forges an ICV");
        assert_eq!(forged, before);
    }

    let mut buffer = [&[0; ROOM], packet].concat();
    let end = buffer.len();
    let Ok(range) = outbound.protect(&mut buffer, ROOM..end) else { return };
    let mut protected = buffer[range].to_vec();
    let inbound = InboundAh::new(SPI, &key, esn, 64, AhMode::Transport).expect("good parameters");
    let opened = inbound.open(&mut protected).expect("what one end protects the other accepts");
    let opened = &protected[opened.packet];
    assert_eq!(
        opened.len(),
        Packet::parse(packet).map_or(opened.len(), |whole| whole.bytes().len())
    );
    // All but the checksum of an IPv4 header, which is made anew.
    let same =
        |at: usize| packet[0] >> 4 == 4 && (10..12).contains(&at) || opened[at] == packet[at];
    assert!((0..opened.len()).all(same));
});
