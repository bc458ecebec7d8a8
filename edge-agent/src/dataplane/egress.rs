//! From a LAN: one thread per queue of a TUN device reads, splits, routes, seals and sends.

use std::io;
use std::time::{Duration, Instant};

use hawser_edge_core::id::SegmentId;
use hawser_esp::gre::{Gre, Protocol};
use hawser_esp::ip::{FlowKey, Packet, clamp_mss, ecn, proto};
use hawser_esp::offload::{SuperPacket, VnetHdr};

use super::copies::NumberBlock;
use super::counters::DropReason;
use super::event::Event;
use super::linger::Linger;
use super::outbox::{Outboxes, Piece};
use super::route::{Route, Routes};
use super::shared::Shared;
use super::sys::tun::Tun;
use super::sys::wait::Stop;
use super::too_long::TooLong;

/// The longest packet that a TUN device gives, and its virtio header.
const READ_BYTES: usize = (1 << 16) + hawser_esp::offload::VNET_LEN;

/// The thread needs no look at anything else while nothing comes.
const IDLE: Duration = Duration::from_secs(60);

/// Reads a queue of the device until it is told to stop, or the device is gone.
pub(super) fn run(shared: &Shared, tun: &Tun, queue: usize, segment: SegmentId, stop: &Stop) {
    let mut buffer = vec![0; READ_BYTES];
    let (outboxes, too_long) = (Outboxes::new(), TooLong::new());
    let mut egress = Egress { segment, lane: queue, outboxes, too_long };
    let mut linger = Linger::new();
    while !stop.told() {
        match tun.read(queue, &mut buffer) {
            Ok(length) => {
                linger.found(Instant::now);
                if let Err((reason, packets)) = egress.forward(shared, tun, &buffer[..length]) {
                    shared.drops.add(reason, packets);
                }
                egress.outboxes.flush_overdue(shared);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                egress.outboxes.flush(shared);
                if linger.again(Instant::now()) {
                    continue;
                }
                if stop.readable(Some(tun.as_fd(queue)), IDLE).is_err() {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                // EBADFD: someone deleted the device. The next `apply` makes it anew.
                if tun.first_to_fail() {
                    let reason = error.to_string();
                    shared.emit(Event::SegmentFailed { segment, reason });
                }
                return;
            }
        }
    }
}

struct Egress {
    segment: SegmentId,
    /// The queue that is read: what comes of one goes by one lane of each path.
    lane: usize,
    outboxes: Outboxes,
    too_long: TooLong,
}

impl Egress {
    /// Puts what was read into the outboxes, sealed; or says why not, and how many packets that were.
    fn forward(
        &mut self,
        shared: &Shared,
        tun: &Tun,
        read: &[u8],
    ) -> Result<(), (DropReason, u64)> {
        let bad = (DropReason::BadPacket, 1);
        let (vnet, bytes) = VnetHdr::parse(read).ok_or(bad)?;
        let packet = SuperPacket::new(&vnet, bytes).map_err(|_| bad)?;
        let parsed = Packet::parse(bytes).map_err(|_| bad)?;
        let flow = FlowKey::of(&parsed).map_err(|_| bad)?;
        let count = packet.segments();
        let all = |reason| (reason, count as u64);
        let origin = (self.segment, self.lane);
        let routes = Routes::find(shared, origin, &flow, count as u32).map_err(all)?;
        let way = Way {
            segment: self.segment,
            protocol: if parsed.is_ipv6() { Protocol::Ipv6 } else { Protocol::Ipv4 },
            tos: outer_tos(parsed.traffic_class(), routes.wan_dscp),
        };
        if packet.segment_len() > routes.inner_mtu_bytes {
            let outboxes = &mut self.outboxes;
            let pieces =
                self.too_long.cut(shared, (tun, self.lane), &packet, routes.inner_mtu_bytes);
            let Some(pieces) = &pieces else { return Ok(()) };
            // Fragments need numbers of their own, if any.
            let count = pieces.count();
            let routes = Routes::find(shared, origin, &flow, count as u32)
                .map_err(|reason| (reason, count as u64))?;
            for route in routes.all() {
                way.push_all(shared, route, outboxes, routes.numbers, count, |index| {
                    (pieces.len_of(index), move |out: &mut [u8]| pieces.write(index, out))
                });
            }
            return Ok(());
        }
        // A SYN is never part of a super-packet.
        let clamp_to = (count == 1 && flow.proto == proto::TCP).then_some(routes.inner_mtu_bytes);
        for route in routes.all() {
            let outboxes = &mut self.outboxes;
            way.push_all(shared, route, outboxes, routes.numbers, count, |index| {
                let write = move |out: &mut [u8]| {
                    packet.write(index, out)?;
                    if let Some(mtu_bytes) = clamp_to {
                        clamp_mss(out, mtu_bytes);
                    }
                    Some(())
                };
                (packet.len_of(index), write)
            });
        }
        Ok(())
    }
}

/// What the packets of one read have in common on every path.
struct Way {
    segment: SegmentId,
    protocol: Protocol,
    tos: u8,
}

impl Way {
    /// `piece` gives each packet's length, and what writes it.
    fn push_all<W: FnOnce(&mut [u8]) -> Option<()>>(
        &self,
        shared: &Shared,
        route: &Route,
        outboxes: &mut Outboxes,
        numbers: Option<NumberBlock>,
        count: usize,
        piece: impl Fn(usize) -> (usize, W),
    ) {
        let gre = route.path.gre(self.segment, self.protocol);
        let outbox = outboxes.of(shared, route);
        for index in 0..count {
            let sequence = numbers.map(|numbers| numbers.at(index));
            let gre = Gre { sequence, ..gre }.encode();
            let (inner_bytes, write) = piece(index);
            let piece = Piece { gre: &gre, inner_bytes, tos: self.tos };
            outbox.push(shared, route, &piece, write);
        }
    }
}

/// RFC 6040 section 4.1, normal mode: the outer header has the inner one's ECN, and its DSCP unless the class has one.
fn outer_tos(inner: u8, wan_dscp: Option<u8>) -> u8 {
    wan_dscp.map_or(inner, |dscp| dscp << 2 | inner & ecn::MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_classes_dscp_takes_the_place_of_the_packets_and_ecn_stays() {
        assert_eq!(outer_tos(46 << 2 | ecn::ECT_0, None), 46 << 2 | ecn::ECT_0);
        assert_eq!(outer_tos(46 << 2 | ecn::ECT_1, Some(10)), 10 << 2 | ecn::ECT_1);
        assert_eq!(outer_tos(ecn::CE, Some(0)), ecn::CE);
    }
}
