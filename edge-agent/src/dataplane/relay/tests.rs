use std::net::IpAddr;

use hawser_edge_core::config::{ManualTunnel, Profile};
use hawser_edge_core::id::{SegmentId, UplinkId};
use hawser_edge_core::manual::{KeyName, Keys, Mode, Protocol, Wanted, read};
use hawser_esp::Suite;
use ipnet::IpNet;

use super::packets::{HEADROOM, Inbound, Outbound, TAILROOM};

const SEED: [u8; 32] = [7; 32];

/// One end of a tunnel whose other end is `!here`.
fn end(here: bool, suite: Suite, protocol: Protocol, mode: Mode, outer_v6: bool) -> Wanted {
    let address = |end: bool| -> IpAddr {
        let last = if end { 1 } else { 2 };
        if outer_v6 {
            [0x2001, 0xdb8, 0, 0, 0, 0, 0, last].into()
        } else {
            [192, 0, 2, last as u8].into()
        }
    };
    let net = |end: bool| -> Vec<IpNet> {
        let nets = if end { ["10.1.0.0/24", "fd01::/64"] } else { ["10.2.0.0/24", "fd02::/64"] };
        nets.map(|net| net.parse().expect("a prefix")).to_vec()
    };
    let key =
        |of: bool| KeyName { spi: if of { 0x1000 } else { 0x2000 }, name: format!("to-{of}") };
    Wanted {
        tunnel: ManualTunnel {
            name: "old".into(),
            uplink: UplinkId(1),
            peer_address: address(!here),
            protocol,
            mode,
            profile: profile(suite),
            segment: SegmentId(1),
            local_prefixes: net(here),
            remote_prefixes: net(!here),
            inbound: key(here),
            outbound: key(!here),
        },
        local: Some(address(here)),
        interface: "wan0".into(),
        outer_mtu_bytes: 1500,
    }
}

fn profile(suite: Suite) -> Profile {
    Profile {
        name: "by-hand".into(),
        suite,
        waiver: None,
        rekey_after_s: 3600,
        rekey_after_bytes: 1 << 36,
        replay_window_packets: 1024,
        esn: true,
        probe_interval_ms: 100,
        probe_idle_interval_ms: 500,
        down_after_probes: 0,
    }
}

fn keys(wanted: &Wanted) -> Keys {
    let text = |name: &str| {
        let seed = name.len() * 5;
        let octets = 0..wanted.tunnel.key_len();
        octets.map(|n| format!("{:02x}", (n * n * 31 + n * 7 + seed) as u8)).collect::<String>()
    };
    let (own, peers) = (&wanted.tunnel.inbound.name, &wanted.tunnel.outbound.name);
    read(&wanted.tunnel, text(own).as_bytes(), text(peers).as_bytes()).expect("keys")
}

fn outbound(wanted: &Wanted, seed: [u8; 32]) -> Outbound {
    Outbound::new(wanted, wanted.local.expect("one"), &keys(wanted), seed).expect("keys that fit")
}

fn inbound(wanted: &Wanted) -> Inbound {
    Inbound::new(wanted, wanted.local.expect("one"), &keys(wanted)).expect("keys that fit")
}

/// IPv4 and UDP of that much, from net to net.
fn packet(from: u8, to: u8, payload: usize) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 9, 0, 0, 64, 17, 0, 0, 10, from, 0, 9, 10, to, 0, 9];
    packet.extend((0..payload).map(|n| n as u8));
    let length = (packet.len() as u16).to_be_bytes();
    packet[2..4].copy_from_slice(&length);
    packet
}

fn protect(outbound: &mut Outbound, inner: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut buffer = vec![0; HEADROOM];
    buffer.extend_from_slice(inner);
    buffer.resize(buffer.len() + TAILROOM, 0xee);
    let at = HEADROOM..HEADROOM + inner.len();
    outbound.protect(&mut buffer, at, || SEED).map(|range| buffer[range].to_vec())
}

/// As the raw socket shows it.
fn open(inbound: &Inbound, outer: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut received = outer.to_vec();
    received[..inbound.header_bytes()].fill(0);
    inbound.open(&mut received).map(|range| received[range].to_vec())
}

const KINDS: [(Suite, Protocol, Mode); 6] = [
    (Suite::Aes128CbcSha256, Protocol::Esp, Mode::Tunnel),
    (Suite::Aes256CbcSha512, Protocol::Esp, Mode::Gre),
    (Suite::NullSha256, Protocol::Esp, Mode::Tunnel),
    (Suite::NullSha256, Protocol::Ah, Mode::Tunnel),
    (Suite::NullSha256, Protocol::Ah, Mode::Gre),
    (Suite::NullSha512, Protocol::Ah, Mode::Gre),
];

#[test]
fn what_one_end_protects_the_other_opens_whatever_the_mode_and_family() {
    for (suite, protocol, mode) in KINDS {
        for outer_v6 in [false, true] {
            let (here, there) = (
                end(true, suite, protocol, mode, outer_v6),
                end(false, suite, protocol, mode, outer_v6),
            );
            let (mut out, into) = (outbound(&here, SEED), inbound(&there));
            for payload in [0, 1, 13, 1300] {
                let inner = packet(1, 2, payload);
                let outer = protect(&mut out, &inner).expect("protected");
                let (proto, length) = if outer_v6 {
                    (outer[6], usize::from(u16::from_be_bytes([outer[4], outer[5]])) + 40)
                } else {
                    (outer[9], usize::from(u16::from_be_bytes([outer[2], outer[3]])))
                };
                assert_eq!((proto, length), (protocol.number(), outer.len()), "{suite} {mode:?}");
                assert!(
                    outer.len() <= inner.len() + 1500 - here.tunnel.inner_mtu_bytes(1500) as usize
                );
                assert_eq!(
                    open(&into, &outer).as_deref(),
                    Ok(&inner[..]),
                    "{suite} {mode:?} {outer_v6}"
                );
                let mut other = outer.clone();
                *other.last_mut().expect("octets") ^= 1;
                assert!(open(&into, &other).is_err(), "{suite} {mode:?}: not authentic");
            }
        }
    }
}

#[test]
fn nothing_goes_out_or_comes_in_that_the_tunnel_is_not_for() {
    for (suite, protocol, mode) in KINDS {
        let here = end(true, suite, protocol, mode, false);
        let mut out = outbound(&here, SEED);
        for (from, to) in [(2, 1), (1, 3), (3, 2)] {
            assert_eq!(protect(&mut out, &packet(from, to, 9)), Err("not_for_the_peer"));
        }
        assert_eq!(protect(&mut out, &[0xff; 40]), Err("not_ip"));
        // The peer protects what is not its own.
        let mut liar = end(true, suite, protocol, mode, false);
        liar.tunnel.local_prefixes = vec!["10.7.0.0/24".parse().expect("a prefix")];
        let into = inbound(&end(false, suite, protocol, mode, false));
        let outer = protect(&mut outbound(&liar, SEED), &packet(7, 2, 9)).expect("protected");
        assert_eq!(open(&into, &outer), Err("not_of_the_peer"));
        for cut in 0..outer.len() {
            assert!(open(&into, &outer[..cut]).is_err(), "{suite} {mode:?}: {cut} octets");
        }
    }
}

#[test]
fn a_peer_that_starts_again_is_heard_and_its_packets_do_not_look_the_same() {
    for (suite, protocol, mode) in KINDS {
        let here = end(true, suite, protocol, mode, false);
        let into = inbound(&end(false, suite, protocol, mode, false));
        let inner = packet(1, 2, 100);
        let first = protect(&mut outbound(&here, [1; 32]), &inner).expect("protected");
        let again = protect(&mut outbound(&here, [2; 32]), &inner).expect("protected");
        for outer in [&first, &again, &first] {
            assert_eq!(open(&into, outer).as_deref(), Ok(&inner[..]), "{suite} {mode:?}");
        }
        // Both have the number 1: what differs is the IV.
        assert_eq!(first == again, !suite.encrypts(), "{suite}");
    }
}
