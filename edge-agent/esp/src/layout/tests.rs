use super::*;
use crate::wire;
use crate::{Suite, wire::GRE_LEN};

#[test]
fn the_aead_layout_is_that_of_the_wire_module() {
    let layout = Suite::Aes128Gcm.layout();
    assert_eq!(layout.payload_offset(), wire::PAYLOAD_OFFSET);
    assert_eq!(layout.min_datagram_len(), wire::MIN_DATAGRAM_LEN);
    for len in 0..3000 {
        assert_eq!(layout.sealed_len(len), wire::sealed_len(len));
        let mtu = layout.inner_mtu(len, true, Carrier::Udp, GRE_LEN);
        assert_eq!(mtu, wire::inner_mtu(len, true));
    }
}

#[test]
fn the_longest_payload_fits_and_one_octet_more_does_not() {
    for suite in Suite::ALL {
        let layout = suite.layout();
        for room in layout.min_datagram_len()..1600 {
            let longest = layout.max_payload(room);
            assert!(layout.sealed_len(longest) <= room, "{suite} {room}");
            assert!(layout.sealed_len(longest + 1) > room, "{suite} {room}");
        }
        assert_eq!(layout.max_payload(10), 0);
    }
}

#[test]
fn the_inner_mtus_of_a_1500_octet_path_are_those_that_were_measured() {
    for (suite, carrier, shim_len, expected) in [
        // GRE without key, as a kernel has it: 1434 and 1418.
        (Suite::Aes128Gcm, Carrier::Udp, 4, 1434),
        (Suite::Aes128CbcSha256, Carrier::Udp, 4, 1418),
        (Suite::Aes128Gcm, Carrier::Raw, 4, 1442),
        (Suite::Aes128Gcm, Carrier::Udp, 0, 1438),
        (Suite::NullSha256, Carrier::Raw, 0, 1454),
    ] {
        assert_eq!(suite.layout().inner_mtu(1500, false, carrier, shim_len), expected, "{suite}");
    }
}
