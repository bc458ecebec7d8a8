//! Edges A and B, and what a test does with them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use hawser_edge_core::id::{ClassId, EdgeId, PathId, SegmentId, Spi, TunnelId, UplinkId};
use hawser_edge_core::keys::{Lanes, MAX_LANES};
use hawser_esp::wire::inner_mtu;
use nix::sys::socket::{setsockopt, sockopt};

use super::net::Net;
use crate::dataplane::{
    Choice, ClassSpec, Counters, DataPlane, DropReason, EventReceivers, Family, ForwardingSpec,
    InboundSaSpec, KeyMaterial, OutboundSaSpec, PathSpec, RouteSpec, SegmentSpec, Suite,
    TunnelSpec, UplinkSpec, UserspaceDataPlane,
};

pub const SEGMENT: SegmentId = SegmentId(1);
pub const TUNNEL: TunnelId = TunnelId(5);
pub const CLASS: ClassId = ClassId(1);
/// Over the first veth and over the second.
pub const PATHS: [PathId; 2] = [PathId(0x00ab_cdef), PathId(7)];
pub const UPLINKS: [UplinkId; 2] = [UplinkId(1), UplinkId(2)];
pub const PORT: u16 = 4510;
pub const SUITE: Suite = Suite::Aes128Gcm;
pub const WINDOW: u32 = 1024;

/// Everything at one end. Its number is 1 or 2; its LAN addresses are 10.N.0.1 and fd00:N::1, on its loopback.
pub struct Edge {
    pub number: u8,
    pub net: Net,
    pub driver: UserspaceDataPlane,
    pub receivers: EventReceivers,
    /// What its SAs have.
    agreed: Lanes,
}

pub struct Pair {
    pub a: Edge,
    pub b: Edge,
    pub family: Family,
}

/// The outer address of an edge on a veth (0 or 1).
pub fn wan(family: Family, veth: usize, edge: u8) -> IpAddr {
    let address = match family {
        Family::V4 => format!("192.0.{veth}.{edge}"),
        Family::V6 => format!("2001:db8:{veth}::{edge}"),
    };
    address.parse().expect("address")
}

pub fn lan(edge: u8, ipv6: bool) -> IpAddr {
    let address = if ipv6 { format!("fd00:{edge}::1") } else { format!("10.{edge}.0.1") };
    address.parse().expect("address")
}

/// The key of one direction and epoch of a path: fresh for each, as GCM asks.
pub fn key(path: PathId, sender: u8, epoch: u8) -> KeyMaterial {
    key_of(SUITE, path, sender, epoch)
}

fn key_of(suite: Suite, path: PathId, sender: u8, epoch: u8) -> KeyMaterial {
    key_of_lane(suite, path, sender, epoch, 0)
}

fn key_of_lane(suite: Suite, path: PathId, sender: u8, epoch: u8, lane: u8) -> KeyMaterial {
    let octet = |place: u8| {
        let mix = [path.0 as u8, sender, epoch, lane, place];
        mix.iter().fold(7u8, |sum, value| sum.wrapping_mul(31).wrapping_add(*value))
    };
    KeyMaterial::new((0..suite.key_material_len() as u8).map(octet).collect())
}

/// The first SPI of the block that `receiver` picked.
pub fn spi(path: PathId, receiver: u8, epoch: u8) -> Spi {
    let block = 0x1000 + (path.0 & 0xff) * 0x100 + u32::from(receiver) * 0x10 + u32::from(epoch);
    Spi(block * u32::from(MAX_LANES))
}

/// The key of a lane.
pub fn lane_key(path: PathId, sender: u8, epoch: u8, lane: u8) -> KeyMaterial {
    key_of_lane(SUITE, path, sender, epoch, lane)
}

impl Pair {
    /// Connected, routed, keyed, the first path selected at both ends.
    pub fn new(family: Family) -> Pair {
        Pair::with_lanes(family, [Lanes::ONE; 2])
    }

    /// The same, with these lanes at A and at B.
    pub fn with_lanes(family: Family, lanes: [Lanes; 2]) -> Pair {
        let (a, b) = (Net::new(), Net::new());
        for veth in 0..2 {
            let addresses = |edge: u8| {
                [Family::V4, Family::V6].map(|family| {
                    let length = if family == Family::V4 { 24 } else { 64 };
                    format!("{}/{length}", wan(family, veth, edge))
                })
            };
            let (of_a, of_b) = (addresses(1), addresses(2));
            let name = format!("wan{veth}");
            let [a4, a6] = &of_a;
            let [b4, b6] = &of_b;
            a.connect(&name, &[a4, a6], &b, &name, &[b4, b6]);
        }
        for veth in 0..2 {
            settle(&a, wan(family, veth, 2));
        }
        let agreed = lanes[0].min(lanes[1]);
        let edge = |number: u8, net| {
            Edge::new(number, net, family, lanes[usize::from(number) - 1], agreed)
        };
        let pair = Pair { a: edge(1, a), b: edge(2, b), family };
        for (veth, path) in PATHS.into_iter().enumerate() {
            pair.rekey(path, 0);
            pair.a.driver.set_remote(path, Some((wan(family, veth, 2), PORT).into()));
            pair.b.driver.set_remote(path, Some((wan(family, veth, 1), PORT).into()));
        }
        pair.select(0);
        pair
    }

    /// Installs an epoch's SAs in the order of the architecture: inbound at both ends first.
    pub fn rekey(&self, path: PathId, epoch: u8) {
        self.rekey_to(SUITE, path, epoch);
    }

    pub fn rekey_to(&self, suite: Suite, path: PathId, epoch: u8) {
        self.b.install_inbound_of(suite, path, epoch);
        self.a.install_inbound_of(suite, path, epoch);
        self.a.install_outbound_of(suite, path, epoch);
        self.b.install_outbound_of(suite, path, epoch);
    }

    pub fn select(&self, veth: usize) {
        self.choose(Choice::Path(PATHS[veth]));
    }

    /// At both ends.
    pub fn choose(&self, choice: Choice) {
        self.a.driver.select(TUNNEL, CLASS, choice.clone());
        self.b.driver.select(TUNNEL, CLASS, choice);
    }

    pub fn inner_mtu(&self) -> u16 {
        inner_mtu(1500, self.family == Family::V6) as u16
    }

    /// `ping` from A to B; panics unless all are answered.
    pub fn ping(&self, ipv6: bool, count: u32) {
        let (from, to) = (lan(1, ipv6), lan(2, ipv6));
        let line = format!("ping -n -c {count} -i 0.01 -W 2 -I {from} {to}");
        let output = self.a.net.run(&line);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains(" 0% packet loss"), "{said}");
    }

    /// A UDP socket at A's LAN address, connected to one at B's, which waits at most a second.
    pub fn lan_sockets(&self) -> (UdpSocket, UdpSocket) {
        let open = |edge: &Edge| {
            let address: SocketAddr = (lan(edge.number, false), 0).into();
            edge.net.enter(|| UdpSocket::bind(address)).expect("bind to the LAN address")
        };
        let (from, to) = (open(&self.a), open(&self.b));
        from.connect(to.local_addr().expect("address")).expect("connect");
        to.set_read_timeout(Some(Duration::from_secs(1))).expect("timeout");
        // A receiver that is held up must not look like a path that loses.
        setsockopt(&to, sockopt::RcvBufForce, &(8 << 20)).expect("buffer");
        (from, to)
    }
}

/// The kernel may take a second to believe that a new veth has carrier.
pub fn settle(net: &Net, to: IpAddr) {
    let line = format!("ping -n -c 1 -W 0.2 {to}");
    let answered = (0..25).any(|_| net.run(&line).status.success());
    assert!(answered, "{to} does not answer");
}

impl Edge {
    fn new(number: u8, net: Net, family: Family, lanes: Lanes, agreed: Lanes) -> Edge {
        for ipv6 in [false, true] {
            let flags = if ipv6 { "nodad" } else { "" };
            net.ip(&format!("address add {} dev lo {flags}", lan(number, ipv6)));
        }
        let (driver, receivers) = UserspaceDataPlane::with_lanes(lanes);
        assert_eq!(driver.lanes(), lanes);
        let edge = Edge { number, net, driver, receivers, agreed };
        for (veth, id) in UPLINKS.into_iter().enumerate() {
            let interface = format!("wan{veth}");
            let spec = UplinkSpec { id, interface, port: PORT, v4: true, v6: true };
            edge.net.enter(|| edge.driver.add_uplink(spec)).expect("uplink");
        }
        edge.apply(edge.spec(family));
        let peer = edge.peer();
        edge.net.ip(&format!("route add 10.{peer}.0.0/16 dev hawser1 src 10.{number}.0.1"));
        edge.net.ip(&format!("route add fd00:{peer}::/32 dev hawser1 src fd00:{number}::1"));
        edge
    }

    fn peer(&self) -> u8 {
        3 - self.number
    }

    pub fn apply(&self, spec: ForwardingSpec) {
        self.net.enter(|| self.driver.apply(spec)).expect("apply");
    }

    pub fn spec(&self, family: Family) -> ForwardingSpec {
        let peer = self.peer();
        let mtu_bytes = inner_mtu(1500, family == Family::V6) as u16;
        let prefixes = [format!("10.{peer}.0.0/16"), format!("fd00:{peer}::/32")];
        let prefixes = prefixes.map(|prefix| prefix.parse().expect("prefix"));
        let paths = PATHS.into_iter().zip(UPLINKS);
        ForwardingSpec {
            segments: vec![SegmentSpec { id: SEGMENT, tun_name: "hawser1".into(), mtu_bytes }],
            tunnels: vec![TunnelSpec {
                id: TUNNEL,
                peer: EdgeId(u32::from(peer)),
                paths: paths.map(|(id, uplink)| PathSpec { id, uplink, family }).collect(),
                peer_sources: [(SEGMENT, prefixes.to_vec())].into(),
                inner_mtu_bytes: mtu_bytes,
            }],
            routes: prefixes
                .map(|prefix| RouteSpec { segment: SEGMENT, prefix, next_hops: vec![TUNNEL] })
                .to_vec(),
            classes: vec![ClassSpec { id: CLASS, segment: None, matches: vec![], wan_dscp: None }],
            lans: vec![],
        }
    }

    fn further_lanes(&self, suite: Suite, path: PathId, sender: u8, epoch: u8) -> Vec<KeyMaterial> {
        let of = |lane| key_of_lane(suite, path, sender, epoch, lane);
        self.agreed.all().skip(1).map(of).collect()
    }

    pub fn install_inbound(&self, path: PathId, epoch: u8) {
        self.install_inbound_of(SUITE, path, epoch);
    }

    fn install_inbound_of(&self, suite: Suite, path: PathId, epoch: u8) {
        let sa = InboundSaSpec {
            spi: spi(path, self.number, epoch),
            path,
            suite,
            key_material: key_of(suite, path, self.peer(), epoch),
            further_lanes: self.further_lanes(suite, path, self.peer(), epoch),
            esn: true,
            replay_window_packets: WINDOW,
        };
        self.driver.install_inbound(sa).expect("inbound SA");
    }

    fn install_outbound_of(&self, suite: Suite, path: PathId, epoch: u8) {
        let sa = OutboundSaSpec {
            path,
            spi: spi(path, self.peer(), epoch),
            suite,
            key_material: key_of(suite, path, self.number, epoch),
            further_lanes: self.further_lanes(suite, path, self.number, epoch),
            esn: true,
        };
        self.driver.install_outbound(sa).expect("outbound SA");
    }

    /// Adds a rule of nft to what comes in here.
    pub fn filter(&self, rule: &str) {
        for line in [
            "add table inet test",
            "add chain inet test in { type filter hook input priority 0 ; }",
            &format!("add rule inet test in {rule}"),
        ] {
            let output = self.net.run(&format!("nft {line}"));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "nft {line}: {said}");
        }
    }

    /// Takes all rules away.
    pub fn unfilter(&self) {
        assert!(self.net.run("nft delete table inet test").status.success());
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.driver.counters().drops[&reason]
    }

    /// Waits until the counters fit; panics with them after two seconds.
    pub fn wait_for(&self, what: &str, fit: impl Fn(&Counters) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let counters = self.driver.counters();
            if fit(&counters) {
                return;
            }
            assert!(Instant::now() < deadline, "{what} at edge {}: {counters:?}", self.number);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
