use proptest::prelude::*;

use super::*;

/// RFC 1071 section 4.1, word by word.
fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) << 8 | word.get(1).map_or(0, |octet| u32::from(*octet));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[test]
fn the_example_of_rfc_1071_section_3_sums_up() {
    let sum = Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
    assert_eq!(sum.partial(), 0xddf2);
    assert_eq!(sum.finish(), 0x220d);
}

#[test]
fn the_example_of_rfc_1624_section_4_never_gives_minus_zero() {
    assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn a_pseudo_header_is_its_octets() {
    let (src, dst) = (Ipv4Addr::new(10, 1, 2, 3), Ipv4Addr::new(192, 168, 255, 254));
    let octets = [10, 1, 2, 3, 192, 168, 255, 254, 0, 6, 0x12, 0x34];
    assert_eq!(Sum::pseudo_v4(src, dst, 6, 0x1234).finish(), naive(&octets));
    let (src, dst): (Ipv6Addr, Ipv6Addr) =
        ("2001:db8::1".parse().unwrap(), "fe80::ffff:2".parse().unwrap());
    let mut octets = [src.octets(), dst.octets()].concat();
    octets.extend([0, 1, 0x23, 0x45, 0, 0, 0, 17]);
    assert_eq!(Sum::pseudo_v6(src, dst, 17, 0x12345).finish(), naive(&octets));
}

proptest! {
    #[test]
    fn it_is_the_naive_checksum(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert_eq!(checksum(&bytes), naive(&bytes));
    }

    #[test]
    fn all_ones_carry_around(len in 0_usize..300) {
        prop_assert_eq!(checksum(&vec![0xff; len]), naive(&vec![0xff; len]));
    }

    #[test]
    fn sums_of_even_pieces_add_up(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        at in 0_usize..150,
    ) {
        let (a, b) = bytes.split_at((at * 2).min(bytes.len() / 2 * 2));
        prop_assert_eq!(Sum::of(a).and(Sum::of(b)).finish(), naive(&bytes));
    }

    #[test]
    fn an_update_is_a_new_sum(
        mut bytes in prop::collection::vec(any::<u8>(), 4..60),
        at in 0_usize..60,
        new in any::<[u8; 2]>(),
    ) {
        // With a word that is not zero, so that no other way to write zero comes out.
        bytes.splice(..0, [0x12, 0x34]);
        let at = 2 + at % (bytes.len() - 3);
        let before = checksum(&bytes);
        let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        bytes[at..at + 2].copy_from_slice(&new);
        prop_assert_eq!(update_at(before, at, old, u16::from_be_bytes(new)), naive(&bytes));
    }
}
