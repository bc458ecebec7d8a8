//! Datagrams that wait to be sealed in one batch and sent in one call.

use std::sync::Arc;

use hawser_esp::Packet;

use super::counters::DropReason;
use super::route::Route;
use super::shared::Shared;
use super::uplink::{MAX_SEGMENTS, MAX_SEND_BYTES};

/// Paths that one device's packets alternate between without sending each at once: flows of a spread class, copies of a
/// duplicated one.
const OUTBOXES: usize = 4;

/// What waits is sent after so many reads of the device at the latest, and when the device has nothing more.
const HELD_READS: u64 = 16;

/// Packets sealed in one call: as many as the widest cipher works on side by side, and few enough to be in the
/// nearest cache still.
const SEAL_BATCH: usize = 16;

/// One device's outboxes, each of one path at a time.
pub(super) struct Outboxes {
    boxes: [Outbox; OUTBOXES],
    reads: u64,
}

impl Outboxes {
    pub(super) fn new() -> Self {
        Outboxes { boxes: std::array::from_fn(|_| Outbox::new()), reads: 0 }
    }

    /// The path's own, or else an empty one, or else the oldest, which is sent first.
    pub(super) fn of(&mut self, shared: &Shared, route: &Route) -> &mut Outbox {
        let own = self.boxes.iter().position(|outbox| outbox.is_of(route));
        let index = own.unwrap_or_else(|| {
            let oldest = |(_, outbox): &(usize, &Outbox)| (outbox.count > 0, outbox.begun);
            self.boxes.iter().enumerate().min_by_key(oldest).map_or(0, |(index, _)| index)
        });
        let outbox = &mut self.boxes[index];
        if own.is_none() {
            outbox.flush(shared);
        }
        outbox.read = self.reads;
        outbox
    }

    /// After each read of the device: no packet waits for those of other paths for long.
    pub(super) fn flush_overdue(&mut self, shared: &Shared) {
        self.reads += 1;
        for outbox in &mut self.boxes {
            if outbox.count > 0 && self.reads - outbox.begun >= HELD_READS {
                outbox.flush(shared);
            }
        }
    }

    pub(super) fn flush(&mut self, shared: &Shared) {
        self.boxes.iter_mut().for_each(|outbox| outbox.flush(shared));
    }
}

/// What is known of an inner packet before it is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    /// Its GRE header.
    pub(super) gre: &'a [u8],
    pub(super) inner_bytes: usize,
    /// DSCP and ECN of its outer header.
    pub(super) tos: u8,
}

/// Datagrams of one route, end to end and of one length, but for the last that may be shorter: what one `UDP_SEGMENT`
/// send takes. The last of them may not be sealed yet.
pub(super) struct Outbox {
    octets: Box<[u8]>,
    used: usize,
    stride: usize,
    count: usize,
    inner_bytes: u64,
    route: Option<Route>,
    unsealed: Unsealed,
    /// DSCP and ECN of the outer headers.
    tos: u8,
    /// The reads that its first datagram came of, and its last.
    begun: u64,
    read: u64,
}

impl Outbox {
    fn new() -> Self {
        let octets = vec![0; MAX_SEND_BYTES].into_boxed_slice();
        Outbox {
            octets,
            used: 0,
            stride: 0,
            count: 0,
            inner_bytes: 0,
            route: None,
            unsealed: Unsealed::default(),
            tos: 0,
            begun: 0,
            read: 0,
        }
    }

    fn is_of(&self, route: &Route) -> bool {
        self.route.as_ref().is_some_and(|own| Arc::ptr_eq(&own.path, &route.path))
    }

    /// Puts one packet behind what is there; seals when a batch is full, sends when nothing more fits. `fill` writes the
    /// inner packet, or fails.
    pub(super) fn push(
        &mut self,
        shared: &Shared,
        route: &Route,
        piece: &Piece<'_>,
        fill: impl FnOnce(&mut [u8]) -> Option<()>,
    ) {
        let layout = route.outbound.layout;
        let Piece { gre, inner_bytes, tos } = *piece;
        let payload_bytes = gre.len() + inner_bytes;
        let sealed_bytes = layout.sealed_len(payload_bytes);
        if sealed_bytes > self.octets.len() {
            return shared.drops.add(DropReason::TooBig, 1);
        }
        if !self.takes(route, sealed_bytes, tos) {
            self.flush(shared);
        }
        let place = &mut self.octets[self.used..self.used + sealed_bytes];
        let (header, inner) =
            place[layout.payload_offset()..][..payload_bytes].split_at_mut(gre.len());
        header.copy_from_slice(gre);
        if fill(inner).is_none() {
            return shared.drops.add(DropReason::BadPacket, 1);
        }
        if self.count == 0 {
            (self.stride, self.begun) = (sealed_bytes, self.read);
            self.route = Some(route.clone());
            self.tos = tos;
        }
        self.used += sealed_bytes;
        self.count += 1;
        self.inner_bytes += inner_bytes as u64;
        self.unsealed.add(payload_bytes, inner_bytes);
        if self.unsealed.count == SEAL_BATCH {
            self.seal(shared);
        }
        let room = self.octets.len() - self.used >= self.stride;
        if sealed_bytes < self.stride || self.count == MAX_SEGMENTS || !room {
            self.flush(shared);
        }
    }

    fn takes(&self, route: &Route, sealed_bytes: usize, tos: u8) -> bool {
        match &self.route {
            Some(own) => own.leads_where(route) && sealed_bytes <= self.stride && tos == self.tos,
            None => true,
        }
    }

    /// What can't be sealed is dropped: it stands behind all that is.
    fn seal(&mut self, shared: &Shared) {
        let Some(route) = self.route.as_ref().filter(|_| self.unsealed.count > 0) else { return };
        let Unsealed { count, payload_bytes, inner_bytes } = std::mem::take(&mut self.unsealed);
        let start = (self.count - count) * self.stride;
        let places = self.octets[start..self.used].chunks_mut(self.stride);
        let mut places = places.zip(payload_bytes);
        let mut packets: [Packet<'_>; SEAL_BATCH] = std::array::from_fn(|_| {
            let (place, payload_bytes) = places.next().unwrap_or_default();
            Packet::gre(place, payload_bytes)
        });
        if route.outbound.sa.seal(&mut packets[..count]).is_err() {
            shared.drops.add(DropReason::SequenceExhausted, count as u64);
            (self.used, self.count) = (start, self.count - count);
            self.inner_bytes -= inner_bytes;
        }
    }

    fn flush(&mut self, shared: &Shared) {
        self.seal(shared);
        let Some(route) = self.route.take() else { return };
        if self.count == 0 {
            return;
        }
        let datagrams = &self.octets[..self.used];
        match route.socket.send(route.remote, datagrams, self.stride, self.tos) {
            Ok(()) => route.path.count_sent(self.count as u64, self.inner_bytes),
            Err(fault) => {
                shared.drops.add(fault.reason, fault.packets);
                // Of a batch that was sent in part the octets are near enough.
                let sent = (self.count as u64).saturating_sub(fault.packets);
                route.path.count_sent(sent, self.inner_bytes * sent / self.count as u64);
            }
        }
        (self.used, self.count, self.inner_bytes) = (0, 0, 0);
    }
}

/// The last datagrams of an outbox, at most [`SEAL_BATCH`].
#[derive(Debug, Default)]
struct Unsealed {
    count: usize,
    payload_bytes: [usize; SEAL_BATCH],
    inner_bytes: u64,
}

impl Unsealed {
    fn add(&mut self, payload_bytes: usize, inner_bytes: usize) {
        self.payload_bytes[self.count] = payload_bytes;
        self.count += 1;
        self.inner_bytes += inner_bytes as u64;
    }
}
