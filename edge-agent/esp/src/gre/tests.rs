use proptest::prelude::*;

use super::*;

#[test]
fn the_header_has_the_octets_of_the_architecture_page() {
    let mut gre = Gre { protocol: Protocol::Ipv6, key: 0x0001_0203, sequence: None };
    assert_eq!(gre.encode()[..], [0x20, 0x00, 0x86, 0xdd, 0x00, 0x01, 0x02, 0x03]);
    assert_eq!(Gre::decode(&gre.encode()), Ok((gre, &[][..])));
    gre.sequence = Some(0x0a0b_0c0d);
    let octets = [0x30, 0x00, 0x86, 0xdd, 0x00, 0x01, 0x02, 0x03, 0x0a, 0x0b, 0x0c, 0x0d];
    assert_eq!(gre.encode()[..], octets);
    assert_eq!(Gre::decode(&octets), Ok((gre, &[][..])));
    assert_eq!(Gre::decode(&octets[..11]), Err(GreError::TooShort));
}

#[test]
fn every_other_flag_is_refused_with_its_reason() {
    for (flags, error) in [
        (0x2001, GreError::Version(1)),
        (0x6000, GreError::Routing),
        (0xa000, GreError::Checksum),
        (0xb000, GreError::Checksum),
        (0x1000, GreError::NoKey),
        (0x3800, GreError::Reserved(0x3800)),
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
            let header = gre.encode();
            prop_assert_eq!(&header[..], &bytes[..header.len()]);
            prop_assert_eq!(inner, &bytes[header.len()..]);
        }
    }
}
