//! Every suite carries traffic, up to the last octet of its inner MTU.

use std::net::UdpSocket;

use hawser_esp::wire::GRE_LEN;
use hawser_esp::{Carrier, Suite};

use super::fixture::{PATHS, Pair, lan};
use super::traffic::{lost_while, udp_bursts_arrive_intact};
use crate::dataplane::{DataPlane, DropReason, Family};

/// Both ends agree on a suite: its MTU, its keys.
fn change_to(pair: &Pair, suite: Suite, epoch: u8) -> usize {
    let ipv6 = pair.family == Family::V6;
    let mtu_bytes = suite.layout().inner_mtu(1500, ipv6, Carrier::Udp, GRE_LEN);
    for edge in [&pair.a, &pair.b] {
        let mut spec = edge.spec(pair.family);
        spec.tunnels[0].inner_mtu_bytes = mtu_bytes as u16;
        spec.segments[0].mtu_bytes = mtu_bytes as u16;
        edge.apply(spec);
    }
    pair.rekey_to(suite, PATHS[0], epoch);
    mtu_bytes
}

#[test]
fn every_suite_carries_both_families_and_the_longest_packets() {
    let pair = Pair::new(Family::V4);
    for (suite, epoch) in Suite::ALL.into_iter().zip(1..) {
        let mtu_bytes = change_to(&pair, suite, epoch % 15);
        // The epoch's place in the SPI is four bits wide.
        for (edge, number) in [(&pair.a, 1), (&pair.b, 2)] {
            edge.driver.remove_inbound(super::fixture::spi(PATHS[0], number, (epoch - 1) % 15));
        }
        for ipv6 in [false, true] {
            udp_bursts_arrive_intact(&pair, ipv6);
        }
        let sockets = [1, 2].map(|edge| {
            let net = if edge == 1 { &pair.a.net } else { &pair.b.net };
            net.enter(|| UdpSocket::bind((lan(edge, false), 0))).expect("bind")
        });
        let [from, to] = sockets;
        to.set_read_timeout(Some(std::time::Duration::from_secs(1))).expect("timeout");
        from.connect(to.local_addr().expect("address")).expect("connect");
        let longest: Vec<u8> = (0..mtu_bytes - 28).map(|place| place as u8).collect();
        from.send(&longest).expect("send");
        let mut got = vec![0; 2_000];
        let length = to.recv(&mut got).unwrap_or_else(|error| panic!("{suite}: {error}"));
        assert_eq!(&got[..length], longest, "{suite}");
        let sa = pair.a.driver.counters().outbound_sas[&PATHS[0]][0];
        assert!(sa.packets > 20 && sa.bytes > 40_000, "{suite}: {sa:?}");
    }
    for reason in
        [DropReason::BadIcv, DropReason::BadInner, DropReason::Short, DropReason::SendFailed]
    {
        assert_eq!((pair.a.dropped(reason), pair.b.dropped(reason)), (0, 0), "{reason:?}");
    }
}

#[test]
fn a_suite_is_changed_under_traffic_without_loss() {
    const SUITES: [Suite; 5] = [
        Suite::Aes256CbcSha512,
        Suite::Sm4Gcm,
        Suite::TripleDesCbcSha1,
        Suite::NullSha256,
        Suite::Aes256Gcm,
    ];
    let pair = Pair::new(Family::V6);
    let lost = lost_while(&pair, |step| {
        pair.rekey_to(SUITES[usize::from(step) % SUITES.len()], PATHS[0], step + 1);
    });
    assert_eq!(lost, 0);
    let used = pair.b.driver.counters().inbound_sas.values().filter(|sa| sa.packets > 0).count();
    assert!(used >= 5, "{used} SAs were used");
}
