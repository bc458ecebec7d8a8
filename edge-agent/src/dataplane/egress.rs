//! From a LAN: one thread per TUN device reads, splits, routes, seals and sends.

use std::io;
use std::time::Duration;

use hawser_edge_core::id::SegmentId;
use hawser_esp::gre::{Gre, Protocol};
use hawser_esp::ip::{FlowKey, proto};
use hawser_esp::offload::{SuperPacket, VnetHdr};

use super::copies::NumberBlock;
use super::counters::DropReason;
use super::event::Event;
use super::outbox::Outboxes;
use super::route::{Route, Routes};
use super::shared::Shared;
use super::sys::tun::Tun;
use super::sys::wait::Stop;

/// The longest packet that a TUN device gives, and its virtio header.
const READ_BYTES: usize = (1 << 16) + hawser_esp::offload::VNET_LEN;

/// The thread needs no look at anything else while nothing comes.
const IDLE: Duration = Duration::from_secs(60);

/// Reads the device until it is told to stop, or the device is gone.
pub(super) fn run(shared: &Shared, tun: &Tun, segment: SegmentId, stop: &Stop) {
    let mut buffer = vec![0; READ_BYTES];
    let mut outboxes = Outboxes::new();
    while !stop.told() {
        match tun.read(&mut buffer) {
            Ok(length) => {
                if let Err((reason, packets)) =
                    forward(shared, segment, &buffer[..length], &mut outboxes)
                {
                    shared.drops.add(reason, packets);
                }
                outboxes.flush_overdue(shared);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                outboxes.flush(shared);
                if stop.readable(Some(tun.as_fd()), IDLE).is_err() {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                // EBADFD: someone deleted the device. The next `apply` makes it anew.
                let reason = error.to_string();
                shared.emit(Event::SegmentFailed { segment, reason });
                return;
            }
        }
    }
}

/// Puts what was read into the outboxes, sealed; or says why not, and how many packets that were.
fn forward(
    shared: &Shared,
    segment: SegmentId,
    read: &[u8],
    outboxes: &mut Outboxes,
) -> Result<(), (DropReason, u64)> {
    let bad = (DropReason::BadPacket, 1);
    let (vnet, bytes) = VnetHdr::parse(read).ok_or(bad)?;
    let packet = SuperPacket::new(&vnet, bytes).map_err(|_| bad)?;
    let flow = FlowKey::parse(bytes).map_err(|_| bad)?;
    let count = packet.segments() as u32;
    let all = |reason| (reason, u64::from(count));
    let routes = Routes::find(shared, segment, &flow, count).map_err(all)?;
    if packet.segment_len() > routes.inner_mtu_bytes {
        return Err(all(DropReason::TooBig));
    }
    let protocol = if flow.src.is_ipv4() { Protocol::Ipv4 } else { Protocol::Ipv6 };
    let batch = Batch {
        packet,
        segment,
        protocol,
        // A SYN is never part of a super-packet.
        clamp_to: (count == 1 && flow.proto == proto::TCP).then_some(routes.inner_mtu_bytes),
        numbers: routes.numbers,
    };
    batch.push(shared, &routes.first, outboxes);
    if let Some(second) = &routes.second {
        batch.push(shared, second, outboxes);
    }
    Ok(())
}

/// What was read, on its way to any path.
struct Batch<'a> {
    packet: SuperPacket<'a>,
    segment: SegmentId,
    protocol: Protocol,
    clamp_to: Option<usize>,
    numbers: Option<NumberBlock>,
}

impl Batch<'_> {
    fn push(&self, shared: &Shared, route: &Route, outboxes: &mut Outboxes) {
        let gre = route.path.gre(self.segment, self.protocol);
        let outbox = outboxes.of(shared, route);
        for index in 0..self.packet.segments() {
            let sequence = self.numbers.map(|numbers| numbers.at(index));
            let gre = Gre { sequence, ..gre }.encode();
            outbox.push(shared, route, &gre, self.clamp_to, &self.packet, index);
        }
    }
}
