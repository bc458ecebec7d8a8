//! What charon's VICI socket says.

#![no_main]

use hawser_edge_core::ike::ike_sas;
use hawser_edge_core::ike::vici::{LENGTH_BYTES, Packet};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(packet) = Packet::decode(data) else { return };
    let again = packet.encode().expect("no more nested than what was read");
    assert_eq!(Packet::decode(&again[LENGTH_BYTES..]).as_ref(), Ok(&packet));
    if let Packet::Event { message, .. } = packet {
        assert!(ike_sas(&message).count() <= message.0.len());
    }
});
