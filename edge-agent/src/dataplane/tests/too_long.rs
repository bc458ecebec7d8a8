//! Packets that are longer than their tunnel takes, and shorter than what the LAN's device takes.

use super::fixture::Pair;
use crate::dataplane::{DropReason, Family};

const TUNNEL_MTU: u16 = 1_300;

/// The TUN takes 1430, the tunnel 1300.
fn pair() -> Pair {
    let pair = Pair::new(Family::V4);
    for edge in [&pair.a, &pair.b] {
        let mut spec = edge.spec(Family::V4);
        spec.tunnels[0].inner_mtu_bytes = TUNNEL_MTU;
        edge.apply(spec);
    }
    pair
}

#[test]
fn a_sender_that_forbids_fragments_is_told_what_fits() {
    let pair = pair();
    // 1400 octets with all headers.
    for (family, to, payload) in [("-4", "10.2.0.1", 1_372), ("-6", "fd00:2::1", 1_352)] {
        let ping = format!("ping {family} -n -c 1 -W 1 -M do -s {payload} {to}");
        assert!(!pair.a.net.run(&ping).status.success(), "the first one does not arrive");
        let route = pair.a.net.run(&format!("ip {family} route get {to}"));
        let said = String::from_utf8_lossy(&route.stdout).into_owned();
        assert!(said.contains(&format!("mtu {TUNNEL_MTU}")), "{family}: {said}");
        let fits = format!("ping {family} -n -c 1 -W 1 -M do -s {} {to}", payload - 100);
        assert!(pair.a.net.run(&fits).status.success(), "{family}: what fits passes");
    }
    assert_eq!(pair.a.dropped(DropReason::TooBig), 2);
    assert_eq!(pair.a.dropped(DropReason::TooBigTold), 2);
}

#[test]
fn what_may_be_fragmented_arrives_whole() {
    let pair = pair();
    // One packet; and three that the kernel cut for the device's MTU.
    for payload in [1_372, 4_000] {
        let ping = format!("ping -4 -n -c 3 -i 0.05 -W 1 -M dont -s {payload} 10.2.0.1");
        let output = pair.a.net.run(&ping);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    for edge in [&pair.a, &pair.b] {
        assert!(edge.dropped(DropReason::Fragmented) >= 3 + 2 * 3);
        assert_eq!(edge.dropped(DropReason::TooBig), 0);
    }
}

#[test]
fn errors_are_limited_and_what_gets_none_is_counted() {
    let pair = pair();
    let socket = pair.a.net.enter(|| std::net::UdpSocket::bind("10.1.0.1:0")).expect("bind");
    // The kernel knows nothing of each of these hosts: it forbids fragments.
    for host in 0..300 {
        let to = format!("10.2.{}.{}:9", 1 + host / 200, 1 + host % 200);
        socket.send_to(&[0; 1_372], to).expect("send");
    }
    pair.a.wait_for("all counted", |counters| {
        let of = |reason| counters.drops[&reason];
        of(DropReason::TooBigTold) + of(DropReason::TooBigUntold) == of(DropReason::TooBig)
            && of(DropReason::TooBig) > 200
    });
    assert!((1..200).contains(&pair.a.dropped(DropReason::TooBigTold)));
    assert!(pair.a.dropped(DropReason::TooBigUntold) > 0);
}
