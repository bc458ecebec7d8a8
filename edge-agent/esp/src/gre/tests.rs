use proptest::prelude::*;

use super::*;

#[test]
fn the_header_has_the_octets_of_the_architecture_page() {
    let gre = Gre { protocol: Protocol::Ipv6, key: 0x0001_0203 };
    assert_eq!(gre.encode(), [0x20, 0x00, 0x86, 0xdd, 0x00, 0x01, 0x02, 0x03]);
    assert_eq!(Gre::decode(&gre.encode()), Ok((gre, &[][..])));
}

#[test]
fn every_other_flag_is_refused_with_its_reason() {
    for (flags, error) in [
        (0x2001, GreError::Version(1)),
        (0x6000, GreError::Routing),
        (0xa000, GreError::Checksum),
        (0x3000, GreError::Sequence),
        (0x0000, GreError::NoKey),
        (0x2800, GreError::Reserved(0x2800)),
        (0x2008, GreError::Reserved(0x2008)),
    ] {
        let [a, b] = u16::to_be_bytes(flags);
        assert_eq!(Gre::decode(&[a, b, 8, 0, 0, 0, 0, 1]), Err(error), "{flags:#06x}");
    }
    assert_eq!(Gre::decode(&[0x20, 0, 0x88, 0x0b, 0, 0, 0, 0]), Err(GreError::Protocol(0x880b)));
    assert_eq!(Gre::decode(&[0x20, 0, 8, 0, 0, 0, 0]), Err(GreError::TooShort));
}

proptest! {
    #[test]
    fn what_is_accepted_is_what_encode_writes(bytes in prop::collection::vec(any::<u8>(), 0..32)) {
        if let Ok((gre, inner)) = Gre::decode(&bytes) {
            prop_assert_eq!(&gre.encode()[..], &bytes[..8]);
            prop_assert_eq!(inner, &bytes[8..]);
        }
    }
}
