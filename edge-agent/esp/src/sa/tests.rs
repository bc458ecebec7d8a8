use std::collections::BTreeSet;

use proptest::prelude::*;

use super::inbound::strip_trailer;
use super::*;
use crate::transform::Transform;
use crate::wire::{ESP_HEADER_LEN, PAYLOAD_OFFSET, sealed_len};
use crate::{DropReason, KeyError, KeyMaterial, Suite};

mod suites;
mod vectors;

fn material(suite: Suite) -> KeyMaterial {
    let bytes: Vec<u8> =
        (0..suite.key_material_len() as u8).map(|i| i.wrapping_mul(7).wrapping_add(1)).collect();
    KeyMaterial::new(suite, &bytes).unwrap()
}

/// Seals under a number and an IV of the caller's choice.
fn seal_as<T: Transform>(
    sa: &OutboundSa<T>,
    seq: u64,
    iv: &[u8],
    next_header: u8,
    datagram: &mut [u8],
    payload_len: usize,
) {
    let mut packet = Packet::new(datagram, payload_len, next_header);
    packet.check(T::LAYOUT).unwrap();
    packet.frame(T::LAYOUT, sa.spi(), seq);
    packet.datagram_mut()[ESP_HEADER_LEN..][..iv.len()].copy_from_slice(iv);
    sa.protect(std::slice::from_mut(&mut packet)).unwrap();
}

fn pair(suite: Suite, esn: bool) -> (OutboundSa, InboundSa) {
    let key = material(suite);
    let outbound = OutboundSa::new(0x1234_5678, &key, esn).unwrap();
    (outbound, InboundSa::new(0x1234_5678, &key, esn, 64).unwrap())
}

fn sealed(outbound: &OutboundSa, payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0xee; sealed_len(payload.len())];
    buffer[PAYLOAD_OFFSET..][..payload.len()].copy_from_slice(payload);
    assert_eq!(outbound.reserve(1).unwrap().seal(&mut buffer, payload.len()), Ok(buffer.len()));
    buffer
}

#[test]
fn debug_shows_no_key() {
    let key = KeyMaterial::new(Suite::Aes128Gcm, &[0xab; 20]).unwrap();
    let outbound = OutboundSa::new(300, &key, true).unwrap();
    let inbound = InboundSa::new(300, &key, true, 64).unwrap();
    let shown = format!("{key:?} {outbound:?} {:?} {inbound:?}", outbound.reserve(1).unwrap());
    assert!(!shown.contains("171") && !shown.to_lowercase().contains("abab"), "{shown}");
}

#[test]
fn bad_parameters_are_refused_with_the_mend() {
    let key = material(Suite::Aes128Gcm);
    assert_eq!(OutboundSa::new(255, &key, true).err(), Some(SaError::ReservedSpi(255)));
    assert_eq!(InboundSa::new(0, &key, true, 64).err(), Some(SaError::ReservedSpi(0)));
    assert_eq!(InboundSa::new(256, &key, true, 63).err(), Some(SaError::WindowSize(63)));
    let other = material(Suite::NullSha256);
    let refused = SaError::OtherTransform(Suite::NullSha256);
    assert_eq!(OutboundSa::new(256, &other, true).err(), Some(refused));
    assert_eq!(InboundSa::new(256, &other, true, 64).err(), Some(refused));
    let Err(KeyError::Length(error)) = KeyMaterial::new(Suite::Aes256Gcm, &[0; 32]) else {
        panic!("32 octets are no key and salt");
    };
    assert_eq!((error.expected_bytes, error.got_bytes), (36, 32));
}

#[test]
fn sequence_numbers_start_at_one_and_end_at_the_limit() {
    for (esn, limit) in [(false, u64::from(u32::MAX)), (true, u64::MAX)] {
        let (outbound, _) = pair(Suite::Aes128Gcm, esn);
        assert_eq!(sealed(&outbound, b"x")[4..8], [0, 0, 0, 1]);
        outbound.set_last_seq(limit - 3);
        assert_eq!(outbound.reserve(4).unwrap_err(), SeqExhausted { left: 3 });
        assert_eq!(outbound.reserve(3).unwrap().left(), 3);
        assert_eq!(outbound.reserve(1).unwrap_err(), SeqExhausted { left: 0 });
        assert_eq!(outbound.last_seq(), limit);
    }
}

#[test]
fn threads_never_get_the_same_number() {
    let (outbound, _) = pair(Suite::Aes128Gcm, true);
    let ranges: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let take = || (0..500).map(|_| sealed(&outbound, b"p")).collect::<Vec<_>>();
        let handles: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap()).collect()
    });
    let seqs: BTreeSet<&[u8]> = ranges.iter().map(|datagram| &datagram[8..16]).collect();
    assert_eq!(seqs.len(), 2000);
    assert_eq!(outbound.usage(), SaUsage { packets: 2000, bytes: 8000 });
}

#[test]
fn a_block_seals_as_many_packets_as_it_has_numbers() {
    let (outbound, _) = pair(Suite::Aes128Gcm, true);
    let mut block = outbound.reserve(2).unwrap();
    let mut buffer = [0; 64];
    let short = SealError::BufferTooShort { need_bytes: 36, have_bytes: 35 };
    assert_eq!(block.seal(&mut buffer[..35], 1), Err(short));
    assert_eq!(block.seal(&mut buffer, 1), Ok(36));
    assert_eq!(block.seal(&mut buffer, 1), Ok(36));
    assert_eq!(block.seal(&mut buffer, 1), Err(SealError::BlockUsedUp));
}

#[test]
fn every_fault_is_dropped_and_counted_by_its_reason() {
    let (outbound, inbound) = pair(Suite::Aes256Gcm, true);
    let good = sealed(&outbound, b"payload");
    let with = |at: usize, value: u8| {
        let mut bad = good.clone();
        bad[at] = value;
        bad
    };
    let with_seq = |low: u32| {
        let mut bad = good.clone();
        bad[4..8].copy_from_slice(&low.to_be_bytes());
        bad
    };
    let seal_raw = |next_header, plain: &[u8]| {
        // The payload's last octets stand in for padding of the sender's choice.
        let mut datagram = vec![0; PAYLOAD_OFFSET + plain.len() + 16];
        datagram[PAYLOAD_OFFSET..][..plain.len()].copy_from_slice(plain);
        seal_as(&outbound, 50, &[9; 8], next_header, &mut datagram, plain.len() - 2);
        datagram
    };
    assert!(inbound.open(&mut good.clone()).is_ok());
    let cases = [
        (good.clone(), DropReason::Replayed),
        (good[..35].to_vec(), DropReason::TooShort),
        (Vec::new(), DropReason::TooShort),
        (with(0, 0x99), DropReason::WrongSpi),
        (good[..good.len() - 1].to_vec(), DropReason::Misaligned),
        (with_seq(0), DropReason::ZeroSequence),
        (with_seq(u32::MAX), DropReason::TooOld),
        (with_seq(99), DropReason::BadIcv),
        (seal_raw(59, &[0; 8]), DropReason::Dummy),
        (seal_raw(41, &[0; 8]), DropReason::BadNextHeader),
    ];
    for (mut datagram, reason) in cases {
        let seen = inbound.drops().get(reason);
        // Dummy and BadNextHeader share a number: one of them would be a replay.
        let fresh = InboundSa::new(0x1234_5678, &material(Suite::Aes256Gcm), true, 64).unwrap();
        let sa = if datagram.get(7) == Some(&50) { &fresh } else { &inbound };
        assert_eq!(sa.open(&mut datagram), Err(reason));
        let expected = if std::ptr::eq(sa, &inbound) { seen + 1 } else { 1 };
        assert_eq!(sa.drops().get(reason), expected, "{reason}");
    }
    assert_eq!(inbound.usage(), SaUsage { packets: 1, bytes: 12 });
}

#[test]
fn padding_is_inspected() {
    // Octets: payload, then pad length and next header at the end of the text.
    for (text, expected) in [
        (&[7, 7, 0, 47][..], Ok((16..18, 47))),
        (&[1, 2, 2, 47], Ok((16..16, 47))),
        (&[7, 1, 1, 47], Ok((16..17, 47))),
        (&[7, 2, 1, 47], Err(DropReason::BadPadding)),
        (&[2, 1, 2, 47], Err(DropReason::BadPadding)),
        (&[1, 2, 3, 47], Err(DropReason::BadPadding)),
        (&[0, 0, 255, 47], Err(DropReason::BadPadding)),
    ] {
        let datagram = [&[0; 16][..], text, &[0; 16]].concat();
        assert_eq!(strip_trailer(Suite::Aes128Gcm.layout(), &datagram), expected, "{text:?}");
    }
    let longest: Vec<u8> = (1..=255).chain([255, 47]).collect();
    let datagram = [&[0; 16][..], &[7, 7, 7], &longest, &[0; 16]].concat();
    assert_eq!(strip_trailer(Suite::Aes128Gcm.layout(), &datagram), Ok((16..19, 47)));
}

#[test]
fn a_batch_tells_the_newest_and_counts_when_it_ends() {
    let (outbound, inbound) = pair(Suite::ChaCha20Poly1305, true);
    let mut datagrams: Vec<_> = (0..4).map(|_| sealed(&outbound, b"inner")).collect();
    datagrams.swap(1, 2);
    let mut batch = inbound.batch();
    let opened: Vec<_> = datagrams.iter_mut().map(|d| batch.open(d).unwrap()).collect();
    let seen: Vec<_> = opened.iter().map(|o| (o.seq, o.newest)).collect();
    assert_eq!(seen, [(1, true), (3, true), (2, false), (4, true)]);
    assert_eq!(batch.open(&mut sealed(&outbound, b"x")[..36].to_vec()).unwrap().seq, 5);
    assert_eq!(batch.open(&mut [0; 40]), Err(DropReason::WrongSpi));
    drop(batch);
    assert_eq!(inbound.usage().packets, 5);
    assert_eq!(inbound.drops().total(), 1);
    assert_eq!(inbound.highest_seq(), 5);
}

/// Opens the packets of these numbers (numbered from 1), a batch of its own for each slice.
fn evidence_of(batches: &[&[usize]]) -> SequenceEvidence {
    let (outbound, inbound) = pair(Suite::Aes128Gcm, true);
    let packets: Vec<_> = (0..300).map(|_| sealed(&outbound, b"inner")).collect();
    let mut sum = SequenceEvidence::default();
    for numbers in batches {
        let mut batch = inbound.batch();
        for &number in *numbers {
            let _ = batch.open(&mut packets[number - 1].clone());
        }
        sum.expected += batch.evidence().expected;
        sum.received += batch.evidence().received;
    }
    sum
}

#[test]
fn sequence_numbers_tell_what_was_sent_and_what_came() {
    for (what, batches, expected, received) in [
        ("all", &[&[1, 2, 3][..], &[4, 5]][..], 5, 5),
        ("a gap", &[&[1, 2], &[5]], 5, 3),
        ("a gap that fills", &[&[1, 2], &[5], &[4, 3]], 5, 5),
        ("reordered within a batch", &[&[1, 3, 2, 4]], 4, 4),
        ("replayed", &[&[1, 2, 2], &[2, 1, 3]], 3, 3),
        ("begins late", &[&[7, 8]], 2, 2),
        ("what is older than the first", &[&[7, 5, 8], &[6]], 2, 2),
        ("left of the window", &[&[1, 200], &[100, 2, 201]], 201, 3),
        ("nothing", &[&[]], 0, 0),
    ] {
        assert_eq!(evidence_of(batches), SequenceEvidence { expected, received }, "{what}");
    }
}

#[test]
fn forgeries_are_no_evidence_and_dummies_are() {
    let (outbound, inbound) = pair(Suite::Aes128Gcm, true);
    let mut batch = inbound.batch();
    batch.open(&mut sealed(&outbound, b"first")).unwrap();
    let mut forged = sealed(&outbound, b"second");
    forged[4..8].copy_from_slice(&1_000_u32.to_be_bytes());
    assert_eq!(batch.open(&mut forged), Err(DropReason::BadIcv));
    assert_eq!(batch.evidence(), SequenceEvidence { expected: 1, received: 1 });
    // Dropped for what is in it, but it came.
    let mut dummy = vec![0; PAYLOAD_OFFSET + 8 + 16];
    let mut packet = Packet::dummy(&mut dummy, 6);
    outbound.reserve(1).unwrap().seal_batch(std::slice::from_mut(&mut packet)).unwrap();
    assert_eq!(batch.open(&mut dummy), Err(DropReason::Dummy));
    assert_eq!(batch.evidence(), SequenceEvidence { expected: 3, received: 2 });
}

#[test]
fn traffic_crosses_two_to_the_32_with_esn() {
    let (outbound, inbound) = pair(Suite::Aes128Gcm, true);
    // Far too many to send: two jumps lead there, each less than 2^32 ahead.
    outbound.set_last_seq((1 << 32) - 200);
    let mut first = sealed(&outbound, b"first");
    outbound.set_last_seq((1 << 32) - 5);
    let mut late = sealed(&outbound, b"late");
    assert!(inbound.open(&mut first).unwrap().newest);
    for _ in 0..20 {
        let mut datagram = sealed(&outbound, b"payload");
        let opened = inbound.open(&mut datagram).unwrap();
        assert_eq!((opened.seq, opened.newest), (outbound.last_seq(), true));
    }
    let opened = inbound.open(&mut late).unwrap();
    assert_eq!((opened.seq, opened.newest), ((1 << 32) - 4, false));
}

#[test]
fn a_forged_packet_moves_no_window() {
    let (outbound, inbound) = pair(Suite::Aes128Gcm, true);
    let mut good = sealed(&outbound, b"payload");
    let mut forged = good.clone();
    forged[4..8].copy_from_slice(&1_000_000_u32.to_be_bytes());
    assert_eq!(inbound.open(&mut forged), Err(DropReason::BadIcv));
    assert_eq!(inbound.highest_seq(), 0);
    assert!(inbound.open(&mut good).unwrap().newest);
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened_again(
        suite in prop::sample::select(&Suite::AEADS[..]),
        esn in any::<bool>(),
        len in 0_usize..=9000,
        fill in any::<u8>(),
        tail in 0_usize..40,
    ) {
        let (outbound, inbound) = pair(suite, esn);
        let payload: Vec<u8> = (0..len).map(|i| fill.wrapping_add(i as u8)).collect();
        let mut buffer = vec![0x55; sealed_len(len) + tail];
        buffer[PAYLOAD_OFFSET..][..len].copy_from_slice(&payload);
        let total = outbound.reserve(1).unwrap().seal(&mut buffer, len).unwrap();
        prop_assert_eq!(total, sealed_len(len));
        prop_assert!(total % 4 == 0 && buffer[total..].iter().all(|octet| *octet == 0x55));
        let opened = inbound.open(&mut buffer[..total]).unwrap();
        prop_assert_eq!(&buffer[opened.payload], &payload[..]);
        prop_assert!(opened.newest && opened.seq == 1);
    }

    #[test]
    fn evidence_is_the_span_of_numbers_and_the_packets_in_it(
        numbers in prop::collection::vec(1_usize..=60, 1..80),
        cut in 0_usize..80,
    ) {
        let (a, b) = numbers.split_at(cut.min(numbers.len()));
        let told = evidence_of(&[a, b]);
        let first = numbers[0];
        let came: BTreeSet<usize> = numbers.iter().copied().filter(|n| *n >= first).collect();
        prop_assert_eq!(told.received as usize, came.len());
        prop_assert_eq!(told.expected as usize, came.last().unwrap() - first + 1);
    }

    #[test]
    fn one_changed_bit_is_never_opened(
        suite in prop::sample::select(&Suite::AEADS[..]),
        len in 0_usize..200,
        bit in any::<prop::sample::Index>(),
    ) {
        let (outbound, inbound) = pair(suite, true);
        let mut datagram = sealed(&outbound, &vec![1; len]);
        let bit = bit.index(datagram.len() * 8);
        datagram[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(inbound.open(&mut datagram).is_err());
        prop_assert_eq!((inbound.highest_seq(), inbound.usage().packets), (0, 0));
    }

    #[test]
    fn any_bytes_are_dropped_with_a_reason(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        ours in any::<bool>(),
        esn in any::<bool>(),
    ) {
        let (_, inbound) = pair(Suite::Aes128Gcm, esn);
        if ours && bytes.len() > 4 {
            bytes[..4].copy_from_slice(&0x1234_5678_u32.to_be_bytes());
        }
        let reason = inbound.open(&mut bytes).unwrap_err();
        prop_assert_eq!(inbound.drops().get(reason), 1);
    }
}
