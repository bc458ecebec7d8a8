//! What an edge makes of packets of a LAN that are too long, and of marks on packets of a peer.

#![no_main]

use hawser_esp::ip::{
    Decapsulated, Fragments, MAX_ERROR_BYTES, Packet, decapsulate_ecn, too_big,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [high, low, outer, packet @ ..] = data else { return };
    let mtu = usize::from(u16::from_be_bytes([*high, *low]));

    let mut error = [0; MAX_ERROR_BYTES];
    if let Some(length) = too_big(packet, mtu, &mut error) {
        let error = &error[..length];
        let (told, of) = (Packet::parse(error).expect("IP"), Packet::parse(packet).expect("IP"));
        assert_eq!((told.src(), told.dst()), (of.dst(), of.src()));
        assert_eq!(too_big(error, 1, &mut [0; MAX_ERROR_BYTES]), None, "an error of an error");
    }
    if let Some(fragments) = Fragments::new(packet, mtu) {
        let whole = Packet::parse(packet).expect("IP");
        let mut octets = 0;
        for index in 0..fragments.count() {
            let mut out = vec![0; fragments.len_of(index)];
            assert_eq!(fragments.write(index, &mut out), Some(out.len()));
            assert!(out.len() <= mtu);
            octets += out.len() - Packet::parse(&out).expect("IP").transport_offset();
        }
        assert_eq!(octets, whole.bytes().len() - whole.transport_offset());
    }
    let mut marked = packet.to_vec();
    if decapsulate_ecn(&mut marked, *outer) != Decapsulated::Marked {
        assert_eq!(marked, packet);
    }
});
