//! Probes: what a peer sends through segment 0 of a path.

#![no_main]

use hawser_edge_core::id::EdgeId;
use hawser_edge_core::stamp::{
    BASE_BYTES, ErrorEstimate, Kind, MAX_TLVS, Reflected, ReflectorPacket, SenderPacket, Timestamp,
    TimestampFormat, Tlvs, decapsulate, encapsulate, reflect,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // As it came, and in headers that lead to the probe's own reader.
    let _ = decapsulate(data);
    let kind =
        if data.first().is_some_and(|octet| octet & 1 == 1) { Kind::Reply } else { Kind::Request };
    let packet = encapsulate(EdgeId(1), EdgeId(2), kind, data);
    decapsulate(&packet).expect("what one end encapsulates the other opens");

    assert_eq!(SenderPacket::decode(data).is_ok(), data.len() >= BASE_BYTES);
    assert_eq!(ReflectorPacket::decode(data).is_ok(), data.len() >= BASE_BYTES);
    if let Some(tlvs) = data.get(BASE_BYTES..) {
        let mut walk = Tlvs::new(tlvs);
        assert!(walk.by_ref().count() <= MAX_TLVS);
        assert!(walk.malformed_at().is_none_or(|at| at < tlvs.len()));
    }
    let ours = Reflected {
        sequence: None,
        timestamp: Timestamp(1),
        error: ErrorEstimate::unsynchronised(TimestampFormat::Ptp),
        received: Timestamp(2),
        digest: &[],
    };
    if let Ok(reply) = reflect(data, 255, &ours) {
        // RFC 8762 section 4.3: never more than it got.
        assert_eq!(reply.len(), data.len());
        ReflectorPacket::decode(&reply).expect("a reply is one");
    }
});
