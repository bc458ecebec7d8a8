//! What holds for every suite.

use super::*;
use crate::gre::Protocol;
use crate::layout::Layout;
use crate::{IvSeed, Opener, Sealer, opener, sealer};

const SPI: u32 = 0x8765_4321;

fn seed(octet: u8) -> IvSeed {
    IvSeed::new([octet; IvSeed::LEN])
}

fn ends(suite: Suite, esn: bool, mode: Mode) -> (Box<dyn Sealer>, Box<dyn Opener>) {
    let key = material(suite);
    let sealer = sealer(SPI, &key, esn, &seed(1)).unwrap();
    (sealer, opener(mode, SPI, &key, esn, 64).unwrap())
}

/// A buffer with a payload in its place.
fn buffer(layout: Layout, payload: &[u8], tfc_len: usize) -> Vec<u8> {
    let mut buffer = vec![0xee; layout.sealed_len(payload.len() + tfc_len)];
    buffer[layout.payload_offset()..][..payload.len()].copy_from_slice(payload);
    buffer
}

fn sealed_by(sealer: &dyn Sealer, payload: &[u8]) -> Vec<u8> {
    let mut buffer = buffer(sealer.layout(), payload, 0);
    sealer.seal(&mut [Packet::gre(&mut buffer, payload.len())]).unwrap();
    buffer
}

/// An IP packet, as far as tunnel mode looks at it.
fn ip_packet(ipv6: bool, len: usize) -> Vec<u8> {
    let mut packet: Vec<u8> = (0..len).map(|at| (at * 11) as u8).collect();
    if ipv6 {
        packet[0] = 0x60;
        packet[4..6].copy_from_slice(&(len as u16 - 40).to_be_bytes());
    } else {
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    }
    packet
}

#[test]
fn an_sa_knows_what_it_is() {
    for suite in Suite::ALL {
        let (sealer, opener) = ends(suite, true, Mode::Gre);
        assert_eq!((sealer.suite(), sealer.spi(), sealer.esn()), (suite, SPI, true));
        assert_eq!((opener.suite(), opener.spi(), opener.esn()), (suite, SPI, true));
        assert_eq!((sealer.layout(), opener.layout()), (suite.layout(), suite.layout()));
        let shown = format!("{sealer:?} {opener:?}");
        assert!(shown.contains(&format!("{suite:?}")) && !shown.contains("[1, 8, 15"), "{shown}");
    }
}

#[test]
fn a_batch_is_sealed_as_its_packets_one_by_one() {
    for suite in Suite::ALL {
        let (one, _) = ends(suite, true, Mode::Gre);
        let (all, opener) = ends(suite, true, Mode::Gre);
        let payloads: Vec<Vec<u8>> =
            (0..45_u8).map(|i| vec![i; usize::from(i) * 53 % 1500]).collect();
        let singly: Vec<_> = payloads.iter().map(|payload| sealed_by(&*one, payload)).collect();
        let mut together: Vec<_> =
            payloads.iter().map(|payload| buffer(suite.layout(), payload, 0)).collect();
        let mut packets: Vec<_> = together
            .iter_mut()
            .zip(&payloads)
            .map(|(buffer, payload)| Packet::gre(buffer, payload.len()))
            .collect();
        all.seal(&mut packets).unwrap();
        assert!(packets.iter().zip(1..).all(|(packet, seq)| packet.seq() == seq));
        assert!(packets.iter().zip(&singly).all(|(packet, one)| packet.sealed() == one));
        assert_eq!(together, singly, "{suite}");
        assert_eq!(all.usage(), one.usage());
        let mut received: Vec<_> =
            together.iter_mut().map(|datagram| Received::new(datagram)).collect();
        opener.open_batch(&mut received);
        for ((received, payload), seq) in received.iter().zip(&payloads).zip(1..) {
            let opened = received.outcome.clone().unwrap().unwrap();
            assert_eq!((opened.seq, opened.newest, opened.next_header), (seq, true, 47));
            assert_eq!(&received.datagram[opened.payload], payload);
        }
        assert_eq!(opener.usage(), all.usage());
    }
}

#[test]
fn a_batch_that_does_not_fit_is_left_alone() {
    let (sealer, _) = ends(Suite::Aes128CbcSha256, true, Mode::Gre);
    let mut good = buffer(sealer.layout(), &[1; 20], 0);
    let mut short = buffer(sealer.layout(), &[2; 20], 0);
    short.pop();
    let (before, have_bytes) = (good.clone(), short.len());
    let mut packets = [Packet::gre(&mut good, 20), Packet::gre(&mut short, 20)];
    let need_bytes = have_bytes + 1;
    let expected = BatchError::Seal(SealError::BufferTooShort { need_bytes, have_bytes });
    assert_eq!(sealer.seal(&mut packets), Err(expected));
    let absurd = sealer.seal(&mut [Packet::gre(&mut short, usize::MAX).with_tfc_padding(9)]);
    assert!(matches!(absurd, Err(BatchError::Seal(SealError::BufferTooShort { .. }))));
    assert_eq!(good, before);
    assert_eq!(sealer.usage(), SaUsage::default());
}

#[test]
fn ivs_of_cbc_can_neither_be_told_from_the_number_nor_from_another_run() {
    for suite in Suite::ALL {
        let iv_len = suite.layout().iv_len;
        let ivs = |seed_octet| -> Vec<Vec<u8>> {
            let sealer = sealer(SPI, &material(suite), true, &seed(seed_octet)).unwrap();
            (0..40).map(|_| sealed_by(&*sealer, b"same")[8..8 + iv_len].to_vec()).collect()
        };
        let (first, second) = (ivs(1), ivs(2));
        let distinct: BTreeSet<_> = first.iter().chain(&second).collect();
        match suite.integrity() {
            Some(_) if suite.encrypts() => {
                assert_eq!(distinct.len(), 80, "{suite}");
                // Neighbours differ in about half of their bits, as random ones do.
                let differing = |pair: &[Vec<u8>]| -> u32 {
                    pair[0].iter().zip(&pair[1]).map(|(a, b)| (a ^ b).count_ones()).sum()
                };
                let bits: u32 = first.windows(2).map(differing).sum();
                let all = 39 * 8 * iv_len as u32;
                assert!((all * 2 / 5..all * 3 / 5).contains(&bits), "{suite}: {bits} of {all}");
            }
            Some(_) => assert_eq!(iv_len, 0),
            None => assert!(first.iter().zip(1_u64..).all(|(iv, seq)| iv[..] == seq.to_be_bytes())),
        }
    }
}

#[test]
fn a_forged_packet_is_not_decrypted() {
    // ring leaves the content of a forged packet open; here it is as it came.
    for suite in Suite::ALL.into_iter().filter(|suite| !Suite::AEADS.contains(suite)) {
        let (sealer, opener) = ends(suite, true, Mode::Gre);
        let mut datagram = sealed_by(&*sealer, &[0x42; 100]);
        *datagram.last_mut().unwrap() ^= 1;
        let before = datagram.clone();
        assert_eq!(opener.open(&mut datagram), Err(DropReason::BadIcv));
        assert_eq!(datagram, before, "{suite}");
    }
}

#[test]
fn the_high_half_of_the_number_is_authenticated_though_never_sent() {
    fn check<T: Transform>(suite: Suite) {
        let key = material(suite);
        let outbound = OutboundSa::<T>::seeded(SPI, &key, true, &seed(1)).unwrap();
        let seal_at = |last_seq| {
            outbound.set_last_seq(last_seq);
            let mut datagram = buffer(T::LAYOUT, b"esn", 0);
            let mut block = outbound.reserve(1).unwrap();
            block.seal_batch(&mut [Packet::gre(&mut datagram, 3)]).unwrap();
            datagram
        };
        let fresh = || InboundSa::<T>::carrying(Mode::Gre, SPI, &key, true, 64).unwrap();
        // The same 32 bits on the wire; the receiver infers a high half of 0.
        let low = seal_at(6);
        let high = seal_at((1 << 32) + 6);
        assert_eq!(low[4..8], high[4..8]);
        assert_eq!(fresh().open(&mut low.clone()).unwrap().seq, 7);
        assert_eq!(fresh().open(&mut high.clone()), Err(DropReason::BadIcv), "{suite}");
        // A receiver that has followed infers a high half of 1.
        let inbound = fresh();
        inbound.open(&mut seal_at((1 << 32) - 200)).unwrap();
        assert_eq!(inbound.open(&mut high.clone()).unwrap().seq, (1 << 32) + 7);
    }
    use crate::transform::*;
    check::<Aead>(Suite::ChaCha20Poly1305);
    check::<Sm4Gcm>(Suite::Sm4Gcm);
    check::<Composed<Aes256Cbc, HmacSha512>>(Suite::Aes256CbcSha512);
    check::<Composed<Sm4Cbc, HmacSm3Full>>(Suite::Sm4CbcSm3Full);
    check::<Composed<TripleDesCbc, HmacMd5>>(Suite::TripleDesCbcMd5);
    check::<Composed<Null, HmacSha1>>(Suite::NullSha1);
}

#[test]
fn esn_changes_every_icv() {
    for suite in Suite::ALL {
        let (with, _) = ends(suite, true, Mode::Gre);
        let (without, opener) = ends(suite, false, Mode::Gre);
        let mut datagram = sealed_by(&*with, b"payload");
        assert_ne!(datagram, sealed_by(&*without, b"payload"), "{suite}");
        assert_eq!(opener.open(&mut datagram), Err(DropReason::BadIcv), "{suite}");
    }
}

#[test]
fn dummy_packets_are_dropped_and_counted_in_every_mode() {
    for mode in [Mode::Gre, Mode::Tunnel, Mode::Transport] {
        for suite in Suite::ALL {
            let (sealer, opener) = ends(suite, true, mode);
            let mut datagram = buffer(suite.layout(), &[0; 90], 0);
            sealer.seal(&mut [Packet::dummy(&mut datagram, 90)]).unwrap();
            assert_eq!(opener.open(&mut datagram), Err(DropReason::Dummy));
            assert_eq!(opener.drops().get(DropReason::Dummy), 1);
            // It has used its number up.
            assert_eq!((opener.highest_seq(), opener.usage().packets), (1, 0));
        }
    }
}

#[test]
fn an_sa_carries_what_its_mode_says_and_nothing_else() {
    let (v4, v6) = (ip_packet(false, 60), ip_packet(true, 60));
    for (mode, next_header, payload, carried) in [
        (Mode::Gre, 47, &v4, true),
        (Mode::Gre, 4, &v4, false),
        (Mode::Gre, 41, &v6, false),
        (Mode::Tunnel, 4, &v4, true),
        (Mode::Tunnel, 41, &v6, true),
        (Mode::Tunnel, 41, &v4, false),
        (Mode::Tunnel, 4, &v6, false),
        (Mode::Tunnel, 47, &v4, false),
        (Mode::Tunnel, 4, &Vec::new(), false),
        (Mode::Transport, 17, &v4, true),
        (Mode::Transport, 47, &v4, true),
    ] {
        let (sealer, opener) = ends(Suite::Aes128CbcSha256, true, mode);
        let mut datagram = buffer(sealer.layout(), payload, 0);
        sealer.seal(&mut [Packet::new(&mut datagram, payload.len(), next_header)]).unwrap();
        match opener.open(&mut datagram) {
            Ok(opened) => {
                assert!(carried && opened.next_header == next_header, "{mode:?} {next_header}");
                assert_eq!(&datagram[opened.payload], payload);
            }
            Err(reason) => {
                assert!(!carried, "{mode:?} {next_header}");
                assert_eq!(reason, DropReason::BadNextHeader);
            }
        }
    }
}

#[test]
fn tfc_padding_hides_the_length_and_tunnel_mode_cuts_it_off() {
    for suite in Suite::ALL {
        for (ipv6, protocol) in [(false, Protocol::Ipv4), (true, Protocol::Ipv6)] {
            let (sealer, opener) = ends(suite, true, Mode::Tunnel);
            let packet = ip_packet(ipv6, 60);
            let mut plain = buffer(suite.layout(), &packet, 0);
            let mut padded = buffer(suite.layout(), &packet, 1340);
            let tunnelled = Packet::tunnelled(&mut padded, 60, protocol).with_tfc_padding(1340);
            sealer.seal(&mut [Packet::tunnelled(&mut plain, 60, protocol), tunnelled]).unwrap();
            for mut datagram in [plain, padded] {
                let opened = opener.open(&mut datagram).unwrap();
                assert_eq!(datagram[opened.payload], packet, "{suite}");
            }
        }
    }
}

#[test]
fn datagrams_that_are_too_short_or_misaligned_are_dropped_before_anything_else() {
    for suite in Suite::ALL {
        let (sealer, opener) = ends(suite, true, Mode::Gre);
        let layout = suite.layout();
        let good = sealed_by(&*sealer, &[1; 64]);
        for len in 0..good.len() {
            let reason = opener.open(&mut good[..len].to_vec()).unwrap_err();
            let text = len.saturating_sub(layout.payload_offset() + layout.icv_len);
            let expected = match () {
                () if len < layout.min_datagram_len() => DropReason::TooShort,
                () if text % layout.alignment != 0 => DropReason::Misaligned,
                () => DropReason::BadIcv,
            };
            assert_eq!(reason, expected, "{suite} {len}");
        }
        assert!(opener.open(&mut good.clone()).is_ok());
    }
}

proptest! {
    #[test]
    fn whatever_a_suite_seals_in_any_mode_it_opens(
        suite in prop::sample::select(&Suite::ALL[..]),
        mode in prop::sample::select(&[Mode::Gre, Mode::Tunnel, Mode::Transport][..]),
        esn in any::<bool>(),
        ipv6 in any::<bool>(),
        len in 0_usize..=9000,
        tfc_len in prop_oneof![3 => Just(0_usize), 1 => 0_usize..300],
    ) {
        let (sealer, opener) = ends(suite, esn, mode);
        let payload = ip_packet(ipv6, len.max(40));
        let protocol = if ipv6 { Protocol::Ipv6 } else { Protocol::Ipv4 };
        let mut datagram = buffer(suite.layout(), &payload, tfc_len);
        let packet = match mode {
            Mode::Gre => Packet::gre(&mut datagram, payload.len()),
            Mode::Tunnel => Packet::tunnelled(&mut datagram, payload.len(), protocol),
            Mode::Transport => Packet::new(&mut datagram, payload.len(), 17),
        };
        sealer.seal(&mut [packet.with_tfc_padding(tfc_len)]).unwrap();
        prop_assert!(!suite.encrypts() || !datagram.windows(40).any(|at| at == &payload[..40]));
        let opened = opener.open(&mut datagram).unwrap();
        prop_assert!(opened.newest && opened.seq == 1);
        let opened = &datagram[opened.payload];
        let padding = if mode == Mode::Tunnel { 0 } else { tfc_len };
        prop_assert_eq!(&opened[..payload.len()], &payload[..]);
        prop_assert_eq!(&opened[payload.len()..], &vec![0; padding][..]);
    }

    #[test]
    fn one_changed_bit_is_never_opened_under_any_suite(
        suite in prop::sample::select(&Suite::ALL[..]),
        esn in any::<bool>(),
        len in 0_usize..200,
        bit in any::<prop::sample::Index>(),
    ) {
        let (sealer, opener) = ends(suite, esn, Mode::Transport);
        let mut datagram = sealed_by(&*sealer, &vec![1; len]);
        let bit = bit.index(datagram.len() * 8);
        datagram[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(opener.open(&mut datagram).is_err());
        prop_assert_eq!((opener.highest_seq(), opener.usage().packets), (0, 0));
    }

    #[test]
    fn any_bytes_are_dropped_with_a_reason_under_any_suite(
        suite in prop::sample::select(&Suite::ALL[..]),
        mut bytes in prop::collection::vec(any::<u8>(), 0..300),
        ours in any::<bool>(),
    ) {
        let (_, opener) = ends(suite, true, Mode::Transport);
        if ours && bytes.len() > 4 {
            bytes[..4].copy_from_slice(&SPI.to_be_bytes());
        }
        let reason = opener.open(&mut bytes).unwrap_err();
        prop_assert_eq!(opener.drops().get(reason), 1);
    }
}
