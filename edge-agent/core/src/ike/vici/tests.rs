use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;

fn values() -> impl Strategy<Value = Value> {
    let octets = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Zeroizing::new);
    let leaf = prop_oneof![
        octets().prop_map(Value::Scalar),
        prop::collection::vec(octets(), 0..4).prop_map(Value::List),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop::collection::vec(("[a-z_0-9-]{0,20}", inner), 0..5)
            .prop_map(|entries| Value::Section(Section(entries)))
    })
}

fn sections() -> impl Strategy<Value = Section> {
    prop::collection::vec(("[a-z_0-9-]{0,20}", values()), 0..6).prop_map(Section)
}

fn request(message: Section) -> Packet {
    Packet::Request { command: "load-conn".into(), message }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_the_same(message in sections()) {
        for packet in [request(message.clone()), Packet::Response(message)] {
            let encoded = packet.encode().expect("small enough");
            let (length, body) = encoded.split_at(LENGTH_BYTES);
            prop_assert_eq!(body_bytes(length.try_into().expect("four")), Ok(body.len()));
            prop_assert_eq!(Packet::decode(body), Ok(packet));
        }
    }

    #[test]
    fn any_octets_are_decoded_or_refused(body in prop::collection::vec(0_u8..12, 0..200)) {
        if let Ok(packet) = Packet::decode(&body) {
            let again = packet.encode().expect("was short enough");
            prop_assert_eq!(Packet::decode(&again[LENGTH_BYTES..]), Ok(packet));
        }
    }

    #[test]
    fn a_message_cut_short_inside_a_section_is_refused(cut in 1_usize..20) {
        let inner = Section::default().scalar("abc", "some words").list("l", ["x", "y"]);
        let encoded = request(Section::default().section("s", inner)).encode().expect("short");
        prop_assert!(Packet::decode(&encoded[LENGTH_BYTES..encoded.len() - cut]).is_err());
    }
}

#[test]
fn the_octets_are_those_of_the_protocol_description() {
    let message = Section::default()
        .scalar("key1", "value1")
        .section("section1", Section::default().list("list1", ["item1", "item2"]));
    let encoded = Packet::Response(message).encode().expect("short");
    let expected = b"\x03\x04key1\x00\x06value1\x01\x08section1\
                     \x04\x05list1\x05\x00\x05item1\x05\x00\x05item2\x06\x02";
    assert_eq!(&encoded[LENGTH_BYTES + 1..], expected);
    assert_eq!(encoded[..LENGTH_BYTES + 1], [0, 0, 0, expected.len() as u8 + 1, 1]);
}

#[test]
fn a_message_nested_too_deep_is_refused_both_ways() {
    let mut message = Section::default();
    for _ in 0..40 {
        message = Section::default().section("s", message);
    }
    assert_eq!(request(message).encode(), Err(ViciError::TooDeep));
    let body: Vec<u8> = [1].into_iter().chain([1, 1, b's'].repeat(100_000)).collect();
    assert_eq!(Packet::decode(&body), Err(ViciError::TooDeep));
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let long = |octets: usize| vec![b'x'; octets];
    let value = Section::default().scalar("v", long(65_536));
    assert_eq!(request(value).encode(), Err(ViciError::ValueTooLong));
    let name = Section::default().scalar(&"n".repeat(256), "");
    assert_eq!(request(name).encode(), Err(ViciError::NameTooLong));
    let packet = Section::default().list("l", (0..9).map(|_| long(65_535)));
    assert_eq!(request(packet).encode(), Err(ViciError::PacketTooLong));
    assert_eq!(body_bytes([0, 8, 0, 1]), Err(ViciError::PacketTooLong));
}

#[test]
fn no_value_is_printed() {
    let packet = request(Section::default().scalar("data", "hunter2").list("l", ["hunter2"]));
    assert!(!format!("{packet:?}").contains("hunter2"));
}
