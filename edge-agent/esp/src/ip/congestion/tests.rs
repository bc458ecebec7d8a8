use super::ecn::{CE, ECT_0, ECT_1, NOT_ECT};
use super::*;
use crate::checksum::checksum;
use crate::ip::Packet;

fn packet(ipv6: bool, tos: u8) -> Vec<u8> {
    if ipv6 {
        let mut packet = vec![0; 40];
        packet[..4].copy_from_slice(&[0x60 | tos >> 4, tos << 4 | 0x0a, 0xbc, 0xde]);
        packet[6] = 59;
        packet
    } else {
        let mut packet = vec![0; 20];
        packet[..4].copy_from_slice(&[0x45, tos, 0, 20]);
        (packet[8], packet[9]) = (64, 17);
        let sum = checksum(&packet);
        put16(&mut packet, 10, sum);
        packet
    }
}

#[test]
fn rfc_6040_figure_4() {
    use Decapsulated::{Dropped, Marked, Unchanged};
    // By inner mark, then by outer: Not-ECT, ECT(0), ECT(1), CE.
    let table = [
        (
            NOT_ECT,
            [(NOT_ECT, Unchanged), (NOT_ECT, Unchanged), (NOT_ECT, Unchanged), (NOT_ECT, Dropped)],
        ),
        (ECT_0, [(ECT_0, Unchanged), (ECT_0, Unchanged), (ECT_1, Marked), (CE, Marked)]),
        (ECT_1, [(ECT_1, Unchanged), (ECT_1, Unchanged), (ECT_1, Unchanged), (CE, Marked)]),
        (CE, [(CE, Unchanged), (CE, Unchanged), (CE, Unchanged), (CE, Unchanged)]),
    ];
    for ipv6 in [false, true] {
        for (inner, outcomes) in table {
            for (outer, (mark, outcome)) in [NOT_ECT, ECT_0, ECT_1, CE].into_iter().zip(outcomes) {
                let dscp = 46 << 2;
                let mut packet = packet(ipv6, dscp | inner);
                // The outer DSCP says nothing.
                let done = decapsulate_ecn(&mut packet, 10 << 2 | outer);
                assert_eq!(done, outcome, "{inner} in {outer}");
                assert_eq!(Packet::parse(&packet).unwrap().traffic_class(), dscp | mark);
                if ipv6 {
                    assert_eq!(packet[1] & 0x0f, 0x0a, "the flow label stays");
                } else {
                    assert_eq!(checksum(&packet), 0, "the checksum follows");
                }
            }
        }
    }
}

#[test]
fn what_is_no_packet_stays_as_it_is() {
    for bytes in [&[][..], &[0x45], &[0x60; 39], &[0x50; 60]] {
        let mut packet = bytes.to_vec();
        assert_eq!(decapsulate_ecn(&mut packet, CE), Decapsulated::Unchanged);
        assert_eq!(packet, bytes);
    }
}
