//! DSCP and ECN, outside and inside (RFC 6040).

use std::io::Read;
use std::time::Duration;

use hawser_esp::ip::Packet;

use super::fixture::{PORT, Pair, lan, wan};
use super::net::Net;
use crate::dataplane::{DropReason, Family};

/// What passes in a namespace, from now on.
struct Sniffer(socket2::Socket);

impl Sniffer {
    fn open(net: &Net) -> Sniffer {
        use socket2::{Domain, Protocol, Socket, Type};
        let protocol = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
        let socket =
            net.enter(|| Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))).expect("socket");
        socket.set_read_timeout(Some(Duration::from_secs(2))).expect("timeout");
        Sniffer(socket)
    }

    /// The traffic class of the first packet that fits.
    fn class_of(&self, fits: impl Fn(&Packet<'_>) -> bool) -> u8 {
        let mut packet = vec![0; 4_000];
        loop {
            let length = (&self.0).read(&mut packet).expect("a packet");
            match Packet::parse(&packet[..length]) {
                Ok(parsed) if fits(&parsed) => return parsed.traffic_class(),
                _ => {}
            }
        }
    }
}

fn ping(pair: &Pair, ipv6: bool, class: u8) -> bool {
    let to = lan(2, ipv6);
    pair.a.net.run(&format!("ping -n -c 1 -W 1 -Q {class} {to}")).status.success()
}

#[test]
fn the_outer_header_has_the_inner_ones_marks_or_its_class_own() {
    for family in [Family::V4, Family::V6] {
        let pair = Pair::new(family);
        for (wan_dscp, ipv6, inner, outer) in [
            (None, false, 46 << 2, 46 << 2),
            (None, true, 46 << 2 | 2, 46 << 2 | 2),
            (Some(10), false, 46 << 2 | 1, 10 << 2 | 1),
            (Some(0), true, 46 << 2, 0),
        ] {
            let mut spec = pair.a.spec(family);
            spec.classes[0].wan_dscp = wan_dscp;
            pair.a.apply(spec);
            let sniffer = Sniffer::open(&pair.b.net);
            assert!(ping(&pair, ipv6, inner));
            let from = wan(family, 0, 1);
            let to_us = |p: &Packet<'_>| {
                p.src() == from && p.udp().is_some_and(|udp| udp.dst_port() == PORT)
            };
            assert_eq!(sniffer.class_of(to_us), outer, "{family:?} {wan_dscp:?}");
            let sniffer = Sniffer::open(&pair.b.net);
            assert!(ping(&pair, ipv6, inner));
            assert_eq!(sniffer.class_of(|p| p.dst() == lan(2, ipv6)), inner, "inside it stays");
        }
    }
}

#[test]
fn congestion_on_the_way_reaches_the_packet_inside_or_drops_it() {
    let pair = Pair::new(Family::V4);
    pair.b.filter(&format!("meta nfproto ipv4 udp dport {PORT} ip ecn set ce"));
    for ipv6 in [false, true] {
        let sniffer = Sniffer::open(&pair.b.net);
        assert!(ping(&pair, ipv6, 8 << 2 | 2), "its sender knows marks");
        assert_eq!(sniffer.class_of(|p| p.dst() == lan(2, ipv6)), 8 << 2 | 3);
    }
    assert_eq!(pair.b.dropped(DropReason::CongestionUntold), 0);
    assert!(!ping(&pair, false, 8 << 2), "its sender can be told by a loss only");
    assert_eq!(pair.b.dropped(DropReason::CongestionUntold), 1);
}
