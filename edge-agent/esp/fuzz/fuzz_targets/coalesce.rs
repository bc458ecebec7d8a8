//! Received inner packets, in any order: what goes to the TUN device carries no more and no less.

#![no_main]

use std::cell::RefCell;

use hawser_esp::coalesce::{CoalesceConfig, Coalescer};
use hawser_esp::ip::Packet;
use hawser_esp::offload::{SuperPacket, VnetHdr};
use libfuzzer_sys::fuzz_target;

thread_local! {
    /// Made once, as the data plane does: a mebibyte of slots. A flush leaves nothing of one input for the next.
    static COALESCER: RefCell<Coalescer> = RefCell::new(Coalescer::new(CoalesceConfig::default()));
}

fuzz_target!(|data: &[u8]| COALESCER.with_borrow_mut(|coalescer| merge(coalescer, data)));

fn merge(coalescer: &mut Coalescer, data: &[u8]) {
    let (mut segments_in, mut segments_out) = (0, 0);
    let mut sink = |vnet: &VnetHdr, bytes: &[u8]| {
        assert!(!bytes.is_empty());
        segments_out += match vnet.gso() {
            Some(_) => SuperPacket::new(vnet, bytes).expect("the kernel takes it").segments(),
            None => 1,
        };
    };
    let mut rest = data;
    while let Some((len, after)) = rest.split_first() {
        // Sixty-four octets at most: header and a little data.
        let (packet, after) = after.split_at(usize::from(*len % 65).min(after.len()));
        rest = after;
        if Packet::parse(packet).is_ok_and(|whole| whole.bytes().len() == packet.len()) {
            segments_in += 1;
            coalescer.push(packet, &mut sink);
        }
    }
    coalescer.flush(&mut sink);
    assert_eq!(segments_in, segments_out);
}
