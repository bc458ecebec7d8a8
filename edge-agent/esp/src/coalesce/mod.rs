//! Merging decrypted packets of one flow into super-packets for one write to the TUN device, by the
//! rules of Linux's GRO, so that what the kernel segments again is what was sent.
//!
//! A merged packet asks the kernel for its checksum (`NEEDS_CSUM`), so only packets whose own
//! checksum is right are merged: a damaged one reaches its host as damaged.

mod segment;
mod slot;

use segment::Segment;
use slot::Slot;

use crate::ip::{Fragment, Packet};
use crate::offload::VnetHdr;

/// The most flows that can be held at once; each has a buffer of 64 KiB.
pub const MAX_FLOWS: usize = 64;

/// What a [`Coalescer`] may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoalesceConfig {
    /// Flows held at once, 1 to [`MAX_FLOWS`]; a further one pushes the oldest out.
    pub flows: usize,
    /// Merge UDP datagrams too: the device must take `VIRTIO_NET_HDR_GSO_UDP_L4` (Linux 6.2).
    pub udp: bool,
}

/// What a [`Coalescer`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CoalesceStats {
    /// Packets given in.
    pub packets: u64,
    /// Packets given out, merged or not.
    pub writes: u64,
    /// Packets that became part of another.
    pub merged: u64,
    /// Flows written early for want of a slot.
    pub evicted: u64,
}

/// Collects a batch of inner packets; writes them, in order within each flow, to a sink that takes
/// a header and a packet (two pieces for one `writev`). Allocates only when made.
///
/// Packets may stay inside until [`flush`](Coalescer::flush): call it at the end of every batch.
#[derive(Debug)]
pub struct Coalescer {
    /// The first `live` hold flows, oldest first; the rest are free, last used first.
    slots: Box<[Slot]>,
    live: usize,
    udp: bool,
    stats: CoalesceStats,
}

impl Default for CoalesceConfig {
    fn default() -> Self {
        CoalesceConfig { flows: 16, udp: true }
    }
}

impl Coalescer {
    pub fn new(config: CoalesceConfig) -> Self {
        let flows = config.flows.clamp(1, MAX_FLOWS);
        let slots = (0..flows).map(|_| Slot::default()).collect();
        Coalescer { slots, live: 0, udp: config.udp, stats: CoalesceStats::default() }
    }

    pub fn stats(&self) -> CoalesceStats {
        self.stats
    }

    /// Takes one inner packet. What can't be merged (any bytes at all) goes to the sink as it is,
    /// after what is held of its flow.
    pub fn push(&mut self, bytes: &[u8], sink: &mut impl FnMut(&VnetHdr, &[u8])) {
        self.stats.packets += 1;
        let Ok(packet) = Packet::parse(bytes) else {
            return self.pass(bytes, sink);
        };
        if packet.fragment() != Fragment::Whole {
            // A later fragment has no ports: it may belong to any flow that is held.
            self.flush(sink);
            return self.pass(packet.bytes(), sink);
        }
        let Some(segment) = Segment::of(&packet) else {
            return self.pass(packet.bytes(), sink);
        };
        let held = self.slots[..self.live].iter().position(|slot| slot.flow() == segment.flow);
        if !segment.mergeable(self.udp) {
            if let Some(index) = held {
                self.emit(index, sink);
            }
            return self.pass(packet.bytes(), sink);
        }
        if let Some(index) = held {
            if self.slots[index].append(&segment) {
                self.stats.merged += 1;
                if self.slots[index].is_closed() {
                    self.emit(index, sink);
                }
                return;
            }
            self.emit(index, sink);
        }
        self.start(&segment, sink);
    }

    /// Writes all that is held, oldest flow first.
    pub fn flush(&mut self, sink: &mut impl FnMut(&VnetHdr, &[u8])) {
        for slot in &mut self.slots[..self.live] {
            self.stats.writes += 1;
            let (vnet, packet) = slot.finish();
            sink(&vnet, packet);
        }
        self.live = 0;
    }

    fn start(&mut self, segment: &Segment<'_>, sink: &mut impl FnMut(&VnetHdr, &[u8])) {
        if !segment.may_lead() {
            return self.pass(segment.bytes, sink);
        }
        if self.live == self.slots.len() {
            self.stats.evicted += 1;
            self.emit(0, sink);
        }
        self.slots[self.live].start(segment);
        self.live += 1;
    }

    fn emit(&mut self, index: usize, sink: &mut impl FnMut(&VnetHdr, &[u8])) {
        self.stats.writes += 1;
        let (vnet, packet) = self.slots[index].finish();
        sink(&vnet, packet);
        self.slots[index..self.live].rotate_left(1);
        self.live -= 1;
    }

    fn pass(&mut self, bytes: &[u8], sink: &mut impl FnMut(&VnetHdr, &[u8])) {
        self.stats.writes += 1;
        sink(&VnetHdr::DONE, bytes);
    }
}

#[cfg(test)]
mod tests;
