use super::*;
use crate::testing::hex;

#[test]
fn rfc_8998_appendix_a_1_is_sm4_gcm() {
    // The nonce's first four octets are the salt.
    let key = hex("0123456789abcdeffedcba9876543210 00001234");
    let gcm = Sm4Gcm::new(&KeyMaterial::new(Suite::Sm4Gcm, &key).unwrap()).unwrap();
    let iv = hex("567800000000abcd");
    let aad = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let clear = hex("aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb ccccccccccccccccdddddddddddddddd
                     eeeeeeeeeeeeeeeeffffffffffffffff eeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa");
    let mut text = clear.clone();
    let mut stream = KeyStream::new(&gcm, &iv, text.len());
    let mask = stream.next();
    stream.apply(&mut text);
    assert_eq!(
        text,
        hex("17f399f08c67d5ee19d0dc9969c4bb7d 5fd46fd3756489069157b282bb200735
             d82710ca5c22f0ccfa7cbf93d496ac15 a56834cbcf98c397b4024a2691233b8d")
    );
    assert_eq!(gcm.tag(&aad, &text, mask)[..], hex("83de3541e4c2b58177e065a9bf7b62ec"));
}

#[test]
fn the_key_stream_is_the_same_however_it_is_taken() {
    let gcm = Sm4Gcm::new(&KeyMaterial::new(Suite::Sm4Gcm, &[5; 20]).unwrap()).unwrap();
    let stream = |len: usize| {
        let mut text = vec![0; len];
        let mut stream = KeyStream::new(&gcm, &[7; 8], len);
        stream.next();
        stream.apply(&mut text);
        text
    };
    let long = stream(9000);
    for len in [0, 1, 15, 16, 17, 495, 496, 497, 512, 1008, 1024, 8999] {
        assert_eq!(stream(len), long[..len], "{len}");
    }
}
