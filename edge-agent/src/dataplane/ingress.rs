//! From a WAN: one thread per socket receives and sorts; it opens, checks and delivers too, or the threads of its lanes do.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::Guard;
use bytes::Bytes;
use hawser_edge_core::id::{SegmentId, Spi, from_gre_key};
use hawser_esp::copies::Copy;
use hawser_esp::gre::Gre;
use hawser_esp::ip::{Decapsulated, decapsulate_ecn};
use hawser_esp::{Opened, Received as Sealed};

use super::counters::DropReason;
use super::deliver::{Delivery, View};
use super::event::{Event, FabricDatagram};
use super::handoff::{Buffer, Handoff, Run};
use super::linger::Linger;
use super::shared::{InboundSas, Shared, plain};
use super::sys::udp::{Received, Receiver};
use super::sys::wait::Ready;
use super::unreachable::Errors;
use super::uplink::{NON_ESP_MARKER, UplinkSocket};

/// How often the interface is looked at, and a failed socket is tried again.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// Receive calls in a row before the thread looks at anything else.
const CALLS_IN_A_ROW: usize = 64;

/// How long the thread takes what comes, before it looks at errors, at the interface, and whether it is to stop.
const ROUND: Duration = Duration::from_millis(20);

/// Datagrams opened in one call: few enough to be in the nearest cache still when they are delivered.
const OPEN_BATCH: usize = 16;

/// The first SPI that is not reserved (RFC 4303 section 2.1).
const FIRST_SPI: u32 = 256;

/// NAT keepalive (RFC 3948 section 2.3).
pub(super) const KEEPALIVE: [u8; 1] = [0xff];

/// Receives on the socket until it is told to stop. Without lanes to hand over to it opens all by itself.
pub(super) fn run(shared: &Shared, socket: &UplinkSocket, lanes: Option<&Handoff>) {
    let mut receiver = Receiver::new();
    let mut delivery = Delivery::new(0);
    let mut errors = Errors::new(Instant::now());
    let mut linger = Linger::new();
    let mut check_at = Instant::now() + CHECK_EVERY;
    while !socket.stop.told() {
        let Some(open) = socket.ensure_open(shared) else {
            pause(socket, CHECK_EVERY);
            continue;
        };
        match socket.stop.ready(Some(open.fd.as_fd()), CHECK_EVERY) {
            Ok(Ready::Nothing) => {}
            Ok(ready) => {
                if ready == Ready::Errors {
                    errors.drain(shared, socket, &open.fd);
                }
                let (mut now, until) = (Instant::now(), Instant::now() + ROUND);
                while now < until {
                    let to = lanes.map_or(To::Here(&mut delivery), To::Lanes);
                    if drain(shared, socket, &open.fd, &mut receiver, to) {
                        linger.found(Instant::now);
                    } else if !linger.again(now) {
                        break;
                    }
                    now = Instant::now();
                }
            }
            Err(_) => pause(socket, Duration::from_millis(10)),
        }
        let now = Instant::now();
        if now >= check_at {
            socket.close_if_interface_changed(shared);
            check_at = now + CHECK_EVERY;
        }
    }
}

/// Opens what comes on a lane until it is closed.
pub(super) fn run_lane(shared: &Shared, handoff: &Handoff, lane: usize) {
    let mut buffer = Buffer::new();
    let mut delivery = Delivery::new(lane);
    while handoff.take(lane, &mut buffer) {
        let (table, tuns) = (shared.table.load(), shared.tuns.load());
        let view = View { shared, table: &table, tuns: &tuns };
        let mut opening = Opening { view, delivery: &mut delivery };
        for (run, datagrams) in buffer.drain() {
            opening.open_run(&run, datagrams);
        }
        opening.delivery.flush(&opening.view);
    }
}

/// Who opens.
enum To<'a> {
    Here(&'a mut Delivery),
    Lanes(&'a Handoff),
}

fn pause(socket: &UplinkSocket, time: Duration) {
    // If even poll(2) fails there is nothing better to wait with.
    if socket.stop.readable(None, time).is_err() {
        std::thread::sleep(time);
    }
}

/// Takes what waits; false if that was nothing.
fn drain(
    shared: &Shared,
    socket: &UplinkSocket,
    fd: &OwnedFd,
    receiver: &mut Receiver,
    mut to: To<'_>,
) -> bool {
    for call in 0..CALLS_IN_A_ROW {
        let count = match receiver.receive(fd) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return call > 0,
            // Once for each ICMP error; what waits behind it is still there.
            Err(_) => {
                shared.drops.add(DropReason::SocketError, 1);
                continue;
            }
        };
        let received = Instant::now();
        let sorting = Sorting { shared, socket, received, inbound: shared.inbound.load() };
        let messages = receiver.messages(count);
        match &mut to {
            To::Here(delivery) => {
                let (table, tuns) = (shared.table.load(), shared.tuns.load());
                let view = View { shared, table: &table, tuns: &tuns };
                let mut opening = Opening { view, delivery };
                messages.for_each(|m| sorting.sort(m, |run, all| opening.open_run(&run, all)));
                opening.delivery.flush(&opening.view);
            }
            To::Lanes(handoff) => {
                let mut filler = handoff.begin();
                messages.for_each(|m| sorting.sort(m, |run, all| filler.put(shared, run, all)));
            }
        }
        if !receiver.is_full(count) {
            return true;
        }
    }
    true
}

/// What one receive call brought.
struct Sorting<'a> {
    shared: &'a Shared,
    socket: &'a UplinkSocket,
    received: Instant,
    inbound: Guard<Arc<InboundSas>>,
}

/// What a datagram is, by its first octets.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Fabric,
    Esp(Spi),
    Dropped(DropReason),
}

fn kind(datagram: &[u8]) -> Kind {
    let Some((first, rest)) = datagram.split_first_chunk::<4>() else {
        let keepalive = datagram == KEEPALIVE;
        return Kind::Dropped(if keepalive { DropReason::Keepalive } else { DropReason::Short });
    };
    match u32::from_be_bytes(*first) {
        _ if *first == NON_ESP_MARKER && rest.is_empty() => Kind::Dropped(DropReason::Short),
        _ if *first == NON_ESP_MARKER => Kind::Fabric,
        spi if spi < FIRST_SPI => Kind::Dropped(DropReason::BadSpi),
        spi => Kind::Esp(Spi(spi)),
    }
}

impl Sorting<'_> {
    /// Gives runs of ESP of one SA to `opens`, in order.
    fn sort(&self, message: Received<'_>, mut opens: impl FnMut(Run, &mut [u8])) {
        let from = plain(message.from);
        if message.truncated {
            self.drop_one(DropReason::Truncated);
            return;
        }
        // An empty datagram is one too.
        if message.octets.is_empty() {
            self.drop_one(DropReason::Short);
            return;
        }
        let stride_bytes = message.stride_bytes.max(1);
        let mut rest = message.octets;
        while !rest.is_empty() {
            let mut datagrams =
                rest.chunks(stride_bytes).map(|datagram| (kind(datagram), datagram));
            let Some((first, datagram)) = datagrams.next() else { return };
            let mut length = datagram.len();
            match first {
                Kind::Dropped(reason) => self.drop_one(reason),
                Kind::Fabric => self.shared.emit_datagram(FabricDatagram {
                    uplink: self.socket.uplink,
                    from,
                    payload: Bytes::copy_from_slice(&datagram[NON_ESP_MARKER.len()..]),
                }),
                Kind::Esp(_) => {
                    let alike = datagrams.take_while(|(kind, _)| *kind == first);
                    length += alike.map(|(_, datagram)| datagram.len()).sum::<usize>();
                }
            }
            let (done, after) = std::mem::take(&mut rest).split_at_mut(length);
            rest = after;
            let Kind::Esp(spi) = first else { continue };
            let count = done.len().div_ceil(stride_bytes) as u64;
            let Some(entry) = self.inbound.get(&spi).cloned() else {
                self.shared.drops.add(DropReason::UnknownSpi, count);
                continue;
            };
            let (tos, received) = (message.tos, self.received);
            opens(Run { entry, from, tos, received, stride_bytes }, done);
        }
    }

    fn drop_one(&self, reason: DropReason) {
        self.shared.drops.add(reason, 1);
    }
}

/// What opens and delivers, seen against one table.
struct Opening<'a> {
    view: View<'a>,
    delivery: &'a mut Delivery,
}

impl Opening<'_> {
    fn open_run(&mut self, run: &Run, datagrams: &mut [u8]) {
        let mut count = Count::new(run);
        let mut datagrams = datagrams.chunks_mut(run.stride_bytes);
        while self.open(run, &mut count, &mut datagrams) {}
        run.entry.path.count_received(count.packets, count.bytes);
    }

    /// Opens and delivers a batch of what comes next; false once there is no more.
    fn open<'b>(
        &mut self,
        run: &Run,
        counted: &mut Count,
        datagrams: &mut impl Iterator<Item = &'b mut [u8]>,
    ) -> bool {
        let mut count = 0;
        let mut batch: [Sealed<'_>; OPEN_BATCH] = std::array::from_fn(|_| {
            let datagram = datagrams.next();
            count += usize::from(datagram.is_some());
            Sealed::new(datagram.unwrap_or_default())
        });
        if count == 0 {
            return false;
        }
        let batch = &mut batch[..count];
        run.entry.path.count_evidence(run.entry.sa.open_batch(batch));
        for Sealed { datagram, outcome } in batch {
            match outcome.take() {
                Some(Ok(opened)) => self.deliver(run, counted, datagram, opened),
                Some(Err(reason)) => self.drop_one(reason_of(reason)),
                None => {}
            }
        }
        count == OPEN_BATCH
    }

    fn deliver(&mut self, run: &Run, count: &mut Count, datagram: &mut [u8], opened: Opened) {
        let payload = &mut datagram[opened.payload];
        let Ok((gre, inner)) = Gre::decode(payload) else {
            return self.drop_one(DropReason::BadInner);
        };
        let inner_bytes = inner.len();
        let (path, segment) = from_gre_key(gre.key);
        if path != run.entry.path.id {
            return self.drop_one(DropReason::WrongPath);
        }
        count.packets += 1;
        count.bytes += inner_bytes as u64;
        if segment == SegmentId::INFRASTRUCTURE {
            return self.view.shared.emit(Event::Probe {
                path,
                inner: Bytes::copy_from_slice(inner),
                received: run.received,
                from: run.from,
                newest: opened.newest,
            });
        }
        let now = || self.view.shared.uptime(run.received);
        // Probes keep lane 0 moving; on another the newest may be old, and be sent by somebody else.
        let tells = !count.expected && run.entry.lane == 0;
        if tells && run.entry.path.may_tell_source(now()) {
            let (from, newest) = (run.from, opened.newest);
            self.view.shared.emit(Event::SourceSeen { path, from, newest });
        }
        if let Some(sequence) = gre.sequence
            && let Some(tunnel) = self.view.table.tunnel_of(path)
        {
            match tunnel.copies.take(sequence, run.entry.since, now()) {
                Copy::First => {}
                Copy::Second => return self.drop_one(DropReason::SecondCopy),
                Copy::Late => return self.drop_one(DropReason::LateCopy),
            }
        }
        let inner_at = payload.len() - inner_bytes;
        let inner = &mut payload[inner_at..];
        if decapsulate_ecn(inner, run.tos) == Decapsulated::Dropped {
            return self.drop_one(DropReason::CongestionUntold);
        }
        let taken = self.delivery.take(&self.view, path, segment, gre.protocol, inner);
        if let Err(reason) = taken {
            self.drop_one(reason);
        }
    }

    fn drop_one(&self, reason: DropReason) {
        self.view.shared.drops.add(reason, 1);
    }
}

/// What came of a run.
struct Count {
    /// It comes from the path's remote.
    expected: bool,
    packets: u64,
    bytes: u64,
}

impl Count {
    fn new(run: &Run) -> Self {
        let remote = run.entry.path.remote.load();
        Count { expected: remote.as_deref() == Some(&run.from), packets: 0, bytes: 0 }
    }
}

fn reason_of(reason: hawser_esp::DropReason) -> DropReason {
    use hawser_esp::DropReason as Esp;
    match reason {
        Esp::TooShort | Esp::Misaligned => DropReason::Short,
        Esp::WrongSpi => DropReason::UnknownSpi,
        Esp::ZeroSequence | Esp::Replayed | Esp::TooOld => DropReason::Replayed,
        Esp::BadIcv => DropReason::BadIcv,
        Esp::BadPadding | Esp::Dummy | Esp::BadNextHeader => DropReason::BadInner,
    }
}

#[cfg(test)]
mod tests;
