//! Inner packets: of a LAN, and of a peer.

#![no_main]

use hawser_esp::ip::{FlowKey, Packet, clamp_mss};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let parsed = Packet::parse(data);
    if let Ok(packet) = &parsed {
        assert!(packet.transport_offset() <= packet.bytes().len());
        assert!(packet.bytes().len() <= data.len());
        assert!(packet.dscp() < 64);
        let _ = (packet.src(), packet.dst(), packet.hop_limit(), packet.tcp(), packet.udp());
    }
    if let Ok(flow) = FlowKey::parse(data) {
        let packet = parsed.as_ref().expect("a flow is of a packet");
        assert_eq!((flow.src, flow.dst), (packet.src(), packet.dst()));
    }
    let mut clamped = data.to_vec();
    let _ = clamp_mss(&mut clamped, 1400);
    assert_eq!(clamped.len(), data.len());
});
