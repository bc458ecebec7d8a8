use hawser_edge_core::id::Spi;
use proptest::prelude::*;

use super::super::counters::DropReason;
use super::{Kind, kind};

#[test]
fn the_first_octets_tell_what_a_datagram_is() {
    let table: [(&[u8], Kind); 10] = [
        (&[], Kind::Dropped(DropReason::Short)),
        (&[0xff], Kind::Dropped(DropReason::Keepalive)),
        (&[0xfe], Kind::Dropped(DropReason::Short)),
        (&[0xff; 3], Kind::Dropped(DropReason::Short)),
        (&[0; 4], Kind::Dropped(DropReason::Short)),
        (&[0, 0, 0, 0, 9], Kind::Fabric),
        (&[0, 0, 0, 1, 9], Kind::Dropped(DropReason::BadSpi)),
        (&[0, 0, 0, 255, 9], Kind::Dropped(DropReason::BadSpi)),
        (&[0, 0, 1, 0], Kind::Esp(Spi(256))),
        (&[0xff; 5], Kind::Esp(Spi(u32::MAX))),
    ];
    for (datagram, want) in table {
        assert_eq!(kind(datagram), want, "{datagram:?}");
    }
}

proptest! {
    #[test]
    fn any_octets_are_something(datagram in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Kind::Esp(spi) = kind(&datagram) {
            prop_assert!(spi.0 >= 256 && datagram.starts_with(&spi.0.to_be_bytes()));
        }
    }
}
