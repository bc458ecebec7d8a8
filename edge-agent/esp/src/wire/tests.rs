use super::*;

#[test]
fn inner_mtu_is_what_kernel_peers_measured() {
    for (outer_mtu, ipv6_outer, inner) in [
        (1500, false, 1430),
        (1500, true, 1410),
        (1492, false, 1422),
        (1499, false, 1426),
        (1280, true, 1190),
        (9000, false, 8930),
        (0, false, 0),
        (68, true, 0),
        (72, true, 0),
    ] {
        assert_eq!(inner_mtu(outer_mtu, ipv6_outer), inner, "{outer_mtu} {ipv6_outer}");
    }
}

#[test]
fn inner_mtu_fits_and_one_octet_more_does_not() {
    for ipv6_outer in [false, true] {
        for outer_mtu in 120..2000 {
            let inner = inner_mtu(outer_mtu, ipv6_outer);
            assert!(inner + overhead(inner, ipv6_outer) <= outer_mtu);
            assert!(inner + 1 + overhead(inner + 1, ipv6_outer) > outer_mtu);
            let fits = |inner: usize| {
                let datagram = sealed_len(GRE_SEQUENCED_LEN + inner);
                outer_ip_len(ipv6_outer) + UDP_LEN + datagram <= outer_mtu
            };
            let sequenced = inner_mtu_sequenced(outer_mtu, ipv6_outer);
            assert!((fits(sequenced) || sequenced == 0) && !fits(sequenced + 1));
        }
    }
}

#[test]
fn mss_leaves_room_for_both_headers() {
    assert_eq!(tcp_mss(1430, false), 1390);
    assert_eq!(tcp_mss(1430, true), 1370);
    assert_eq!(tcp_mss(30, true), 0);
    assert_eq!(tcp_mss(100_000, true), u16::MAX);
}
