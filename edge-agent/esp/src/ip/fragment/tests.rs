use proptest::prelude::*;

use super::super::Packet;
use super::*;

fn packet(options: &[u8], data: &[u8], word: u16) -> Vec<u8> {
    let header_len = 20 + options.len();
    let mut packet = vec![0; header_len];
    packet[0] = 0x40 | (header_len / 4) as u8;
    put16(&mut packet, 2, (header_len + data.len()) as u16);
    put16(&mut packet, 4, 0x1234);
    put16(&mut packet, 6, word);
    (packet[8], packet[9]) = (64, 17);
    packet[12..20].copy_from_slice(&[10, 1, 0, 1, 10, 2, 0, 1]);
    packet[20..header_len].copy_from_slice(options);
    packet.extend_from_slice(data);
    packet
}

fn cut(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let fragments = Fragments::new(packet, mtu).expect("may be cut");
    (0..fragments.count())
        .map(|index| {
            let mut out = vec![0; mtu];
            let len = fragments.write(index, &mut out).expect("there is such a fragment");
            assert_eq!(len, fragments.len_of(index));
            out.truncate(len);
            out
        })
        .collect()
}

#[test]
fn options_that_are_not_copied_stand_in_the_first_fragment_alone() {
    // Record route (7) is not copied, router alert (148) is.
    let options = [7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 0];
    let pieces = cut(&packet(&options, &[9; 100], 0), 72);
    let lengths: Vec<usize> = pieces.iter().map(Vec::len).collect();
    assert_eq!(lengths, [72, 72, 36]);
    assert_eq!(pieces[0][20..32], options);
    assert_eq!((pieces[1][0], &pieces[1][20..24]), (0x46, &[148, 4, 0, 0][..]));
}

#[test]
fn what_must_stay_whole_is_not_cut() {
    assert!(Fragments::new(&packet(&[], &[0; 100], DONT_FRAGMENT), 60).is_none());
    assert!(Fragments::new(&packet(&[], &[0; 100], 0), 27).is_none(), "no room for eight octets");
    assert!(Fragments::new(&[0x60; 80], 60).is_none(), "IPv6");
    let whole = packet(&[], &[7; 40], 0);
    assert_eq!(cut(&whole, 60).len(), 1);
}

proptest! {
    #[test]
    fn the_pieces_fit_and_make_the_packet(
        data in prop::collection::vec(any::<u8>(), 0..3_000),
        words in 0..=10_usize,
        mtu in 68..1_500_usize,
        offset in 0..1_000_u16,
        more in any::<bool>(),
    ) {
        let word = offset | if more { MORE_FRAGMENTS } else { 0 };
        let original = packet(&vec![NO_OPERATION; words * 4], &data, word);
        let pieces = cut(&original, mtu);
        let mut rebuilt = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            prop_assert!(piece.len() <= mtu);
            let parsed = Packet::parse(piece).unwrap();
            let header = match parsed.header() {
                super::super::Header::V4(header) => header,
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(checksum(&piece[..header.header_len()]), 0);
            prop_assert_eq!(header.id(), 0x1234);
            let word = be16(piece, 6);
            prop_assert_eq!(usize::from(word & OFFSET), usize::from(offset) + rebuilt.len() / 8);
            let last = index + 1 == pieces.len();
            prop_assert_eq!(word & MORE_FRAGMENTS != 0, more || !last);
            rebuilt.extend_from_slice(&piece[header.header_len()..]);
        }
        prop_assert_eq!(rebuilt, data);
    }

    #[test]
    fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..300), mtu in 0..400_usize) {
        if let Some(fragments) = Fragments::new(&bytes, mtu) {
            let mut out = vec![0; 400];
            for index in 0..fragments.count() {
                prop_assert!(fragments.write(index, &mut out).is_some());
            }
            prop_assert!(fragments.write(fragments.count(), &mut out).is_none());
        }
    }
}
