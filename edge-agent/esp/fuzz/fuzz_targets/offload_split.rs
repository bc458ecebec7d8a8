//! What the kernel hands over on a TUN device: a header of offloads, and a packet of up to 64 KiB.

#![no_main]

use hawser_esp::offload::{Strides, SuperPacket, VnetHdr, complete_checksum};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((vnet, packet)) = VnetHdr::parse(data) else { return };
    assert_eq!(VnetHdr::parse(&vnet.encode()).map(|(again, _)| again), Some(vnet));
    let mut whole = packet.to_vec();
    let _ = complete_checksum(&vnet, &mut whole);
    let Ok(split) = SuperPacket::new(&vnet, packet) else { return };
    let count = split.segments();
    assert!(count >= 1);
    let longest = split.segment_len();
    let mut out = vec![0; longest];
    let mut total = 0;
    for index in 0..count {
        let len = split.len_of(index);
        assert!(len <= longest);
        assert_eq!(split.write(index, &mut out), Some(len));
        total += len;
    }
    assert!(total >= packet.len());
    let strides = Strides { stride: longest, offset: 0 };
    if count * longest <= 1 << 20 {
        let mut all = vec![0; count * longest];
        assert!(split.write_range(0..count, strides, &mut all).is_some());
    }
});
