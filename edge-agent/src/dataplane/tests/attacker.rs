//! A sender of the test's own, that holds a key.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use hawser_edge_core::id::{PathId, SegmentId, gre_key};
use hawser_esp::checksum::checksum;
use hawser_esp::gre::{Gre, Protocol};
use hawser_esp::wire::{PAYLOAD_OFFSET, sealed_len};
use hawser_esp::{KeyMaterial, OutboundSa};

use super::fixture::{PATHS, PORT, Pair, SEGMENT, SUITE, lane_key, spi, wan};

/// The first epoch whose sending key the test holds.
pub const EPOCH: u8 = 9;

/// Stands on one of A's WANs, with a key that B accepts for the path over it, and sends from another port.
pub struct Attacker {
    pub socket: UdpSocket,
    path: PathId,
    sa: OutboundSa,
    to: SocketAddr,
}

impl Attacker {
    /// On the first path.
    pub fn new(pair: &Pair) -> Attacker {
        Attacker::on(pair, 0, EPOCH)
    }

    /// On either path, with the key of an epoch that is not in use yet.
    pub fn on(pair: &Pair, veth: usize, epoch: u8) -> Attacker {
        pair.b.install_inbound(PATHS[veth], epoch);
        Attacker::of_lane(pair, veth, epoch, 0)
    }

    /// On a lane of SAs that are installed.
    pub fn of_lane(pair: &Pair, veth: usize, epoch: u8, lane: u8) -> Attacker {
        let path = PATHS[veth];
        let material = KeyMaterial::new(SUITE, lane_key(path, 1, epoch, lane).octets());
        let material = material.expect("key");
        let spi = spi(path, 2, epoch).0 + u32::from(lane);
        let from: SocketAddr = (wan(pair.family, veth, 1), 0).into();
        Attacker {
            socket: pair.a.net.enter(|| UdpSocket::bind(from)).expect("bind"),
            path,
            sa: OutboundSa::new(spi, &material, true).expect("SA"),
            to: (wan(pair.family, veth, 2), PORT).into(),
        }
    }

    pub fn send(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.to).expect("send");
    }

    pub fn seal(&self, path: PathId, segment: SegmentId, inner: &[u8]) -> Vec<u8> {
        let gre = Gre { protocol: Protocol::Ipv4, key: gre_key(path, segment), sequence: None };
        self.seal_payload(&[&gre.encode()[..], inner].concat())
    }

    pub fn seal_payload(&self, payload: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0; sealed_len(payload.len())];
        datagram[PAYLOAD_OFFSET..PAYLOAD_OFFSET + payload.len()].copy_from_slice(payload);
        let mut block = self.sa.reserve(1).expect("numbers");
        block.seal(&mut datagram, payload.len()).expect("seal");
        datagram
    }

    /// One copy of a duplicated packet.
    pub fn sealed_copy(&self, sequence: u32, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
        let key = gre_key(self.path, SEGMENT);
        let gre = Gre { protocol: Protocol::Ipv4, key, sequence: Some(sequence) };
        self.seal_payload(&[&gre.encode()[..], &udp_packet("10.1.0.1", to, payload)].concat())
    }

    pub fn sealed_udp(&self, from: &str, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
        self.seal(self.path, SEGMENT, &udp_packet(from, to, payload))
    }
}

/// IPv4 and UDP (without a checksum: RFC 768 allows it) around a payload.
pub fn udp_packet(from: &str, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let from: Ipv4Addr = from.parse().expect("address");
    let SocketAddr::V4(to) = to else { panic!("IPv4 only") };
    let length = (28 + payload.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet.extend(from.octets());
    packet.extend(to.ip().octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(9999u16.to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend((length - 20).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(payload);
    packet
}
