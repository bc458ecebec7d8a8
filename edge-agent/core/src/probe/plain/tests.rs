use proptest::prelude::*;

use super::*;
use crate::policy;
use crate::probe::{Outcome, Settled, Way};
use crate::stamp::{Reflected, reflect};

const RTT: Duration = Duration::from_millis(40);

fn local() -> Ipv6Addr {
    "2001:db8::1".parse().unwrap()
}

fn remote() -> Ipv6Addr {
    "2001:db8::2".parse().unwrap()
}

fn protocols() -> [PlainProtocol; 3] {
    let identifier = 0x4857;
    [
        PlainProtocol::Stamp,
        PlainProtocol::Icmp4 { identifier },
        PlainProtocol::Icmp6 { identifier, local: local(), remote: remote() },
    ]
}

fn prober(protocol: PlainProtocol) -> PlainProber {
    let config = PlainConfig {
        protocol,
        intervals: Intervals::default(),
        cadence: Cadence::Used,
        seed: 0xabcd_0000_0000_0000,
        unix_at_zero: Duration::from_secs(1_700_000_000),
    };
    PlainProber::new(config, Micros(0))
}

/// Sends the probe that is due next.
fn next(prober: &mut PlainProber) -> (Vec<u8>, Micros) {
    for _ in 0..1_000 {
        let at = prober.next_deadline();
        if let Some(packet) = prober.poll_transmit(at) {
            return (packet, at);
        }
    }
    panic!("no probe within 1,000 deadlines");
}

fn icmp_reply(protocol: PlainProtocol, request: &[u8]) -> Vec<u8> {
    let sums = |out: &mut Vec<u8>, between| {
        out[2..4].copy_from_slice(&[0, 0]);
        let sum = icmp::checksum(out, between);
        out[2..4].copy_from_slice(&sum.to_be_bytes());
    };
    let mut out = request.to_vec();
    match protocol {
        PlainProtocol::Icmp6 { .. } => {
            assert_eq!(icmp::checksum(request, Some((local(), remote()))), 0);
            out[0] = 129;
            sums(&mut out, Some((remote(), local())));
        }
        _ => {
            assert_eq!((request[0], icmp::checksum(request, None)), (8, 0));
            out[0] = 0;
            sums(&mut out, None);
        }
    }
    out
}

/// A reflector of its own: `count` is its number, none: it is stateless.
fn stamp_reply(request: &[u8], count: Option<u32>) -> Vec<u8> {
    let error = ErrorEstimate::unsynchronised(FORMAT);
    let (received, timestamp) = (Timestamp(5 << 32), Timestamp(5 << 32));
    let ours = Reflected { sequence: count, received, timestamp, error, digest: &[] };
    reflect(request, 64, &ours).unwrap()
}

fn reply(protocol: PlainProtocol, request: &[u8]) -> Vec<u8> {
    match protocol {
        PlainProtocol::Stamp => stamp_reply(request, None),
        _ => icmp_reply(protocol, request),
    }
}

#[test]
fn every_protocol_gives_round_trips_and_losses() {
    for protocol in protocols() {
        let mut prober = prober(protocol);
        for lost in [false, false, true, false] {
            let (packet, at) = next(&mut prober);
            if !lost {
                let answer = prober.handle_reply(&reply(protocol, &packet), at + RTT);
                assert_eq!(answer, Ok(ReplyKind::Answer { rtt: RTT }), "{protocol:?}");
            }
        }
        // The loss is known once its timeout has passed.
        next(&mut prober);
        let samples: Vec<Sample> = std::iter::from_fn(|| prober.poll_sample()).collect();
        let lost: Vec<u64> = samples
            .iter()
            .filter(|s| s.outcome == Outcome::Lost { way: None })
            .map(|s| s.sequence)
            .collect();
        assert_eq!(lost, [2], "{protocol:?}: {samples:?}");
        assert!(samples.iter().all(|sample| sample.settled == Settled::default()));
        assert_eq!(prober.counters().answered, 3);
        assert!(prober.timeout() <= policy::MAX_TIMEOUT);
    }
}

#[test]
fn a_plain_request_has_44_octets_without_ssid_and_tlvs() {
    let (packet, _) = next(&mut prober(PlainProtocol::Stamp));
    assert_eq!(packet.len(), BASE_BYTES);
    assert_eq!(&packet[..4], [0; 4], "RFC 8762 section 4.2.1: it begins with zero");
    assert!(packet[14..].iter().all(|octet| *octet == 0));
}

#[test]
fn the_way_of_a_loss_is_told_only_by_a_reflector_that_counts() {
    // Probe 2 is lost on the way there.
    for (counts, way) in [(true, Some(Way::Forward)), (false, None)] {
        let mut prober = prober(PlainProtocol::Stamp);
        let mut count = 0;
        for sequence in 0..6 {
            let (packet, at) = next(&mut prober);
            if sequence == 2 {
                continue;
            }
            let back = stamp_reply(&packet, counts.then_some(count));
            count += 1;
            prober.handle_reply(&back, at + RTT).unwrap();
        }
        next(&mut prober);
        let samples: Vec<Sample> = std::iter::from_fn(|| prober.poll_sample()).collect();
        let forward: u32 = samples.iter().map(|s| s.settled.forward).sum();
        let found = samples.iter().find(|s| s.sequence == 2).map(|s| s.outcome);
        let at_once = found == Some(Outcome::Lost { way: Some(Way::Forward) });
        assert_eq!(at_once || forward == 1, way.is_some(), "{samples:?}");
    }
}

#[test]
fn the_time_that_a_reflector_holds_a_probe_does_not_count() {
    let mut prober = prober(PlainProtocol::Stamp);
    let (packet, at) = next(&mut prober);
    let mut back = stamp_reply(&packet, None);
    // A quarter of a second between its two timestamps.
    back[4..12].copy_from_slice(&(5u64 << 32 | 1 << 30).to_be_bytes());
    let answer = prober.handle_reply(&back, at + Duration::from_millis(290));
    assert_eq!(answer, Ok(ReplyKind::Answer { rtt: RTT }));
}

#[test]
fn a_twamp_light_reply_without_padding_is_taken() {
    let mut prober = prober(PlainProtocol::Stamp);
    let (packet, at) = next(&mut prober);
    let back = stamp_reply(&packet, None);
    assert_eq!(
        prober.handle_reply(&back[..40], at + RTT).map_err(|e| e.code()),
        Err("probe_short")
    );
    assert!(prober.handle_reply(&back[..TWAMP_BYTES], at + RTT).is_ok());
}

#[test]
fn what_is_not_an_answer_to_a_probe_of_ours_is_refused() {
    for protocol in protocols() {
        let mut prober = prober(protocol);
        let (packet, at) = next(&mut prober);
        let good = reply(protocol, &packet);
        assert!(
            prober.handle_reply(&packet, at + RTT).is_err() || protocol == PlainProtocol::Stamp
        );
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 0x10;
            let free = match protocol {
                // The reflector's own fields, and what is reserved.
                PlainProtocol::Stamp => !(24..36).contains(&index),
                _ => false,
            };
            assert!(free || prober.handle_reply(&bad, at + RTT).is_err(), "{protocol:?} {index}");
        }
        let fresh = prober.counters().answered == 0;
        if fresh {
            assert!(prober.handle_reply(&good, at + RTT).is_ok(), "{protocol:?}");
        }
        assert_eq!(prober.handle_reply(&good, at + RTT), Ok(ReplyKind::Duplicate));
    }
}

proptest! {
    #[test]
    fn no_octets_make_a_prober_panic(octets in prop::collection::vec(any::<u8>(), 0..80)) {
        for protocol in protocols() {
            let mut prober = prober(protocol);
            next(&mut prober);
            let _ = prober.handle_reply(&octets, Micros(500_000));
        }
    }
}
