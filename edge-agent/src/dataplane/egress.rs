//! From a LAN: one thread per TUN device reads, splits, routes, seals and sends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hawser_edge_core::id::SegmentId;
use hawser_esp::gre::Protocol;
use hawser_esp::ip::{FlowKey, clamp_mss, proto};
use hawser_esp::offload::{SuperPacket, VnetHdr};
use hawser_esp::wire::{GRE_LEN, INNER_OFFSET, PAYLOAD_OFFSET, sealed_len};
use hawser_esp::{OutboundSa, SeqBlock};

use super::counters::DropReason;
use super::event::Event;
use super::path::PathState;
use super::shared::Shared;
use super::sys::tun::Tun;
use super::sys::wait::Stop;
use super::uplink::{MAX_SEGMENTS, MAX_SEND_BYTES, UplinkSocket};

/// The longest packet that a TUN device gives, and its virtio header.
const READ_BYTES: usize = (1 << 16) + hawser_esp::offload::VNET_LEN;

/// The thread needs no look at anything else while nothing comes.
const IDLE: Duration = Duration::from_secs(60);

/// Reads the device until it is told to stop, or the device is gone.
pub(super) fn run(shared: &Shared, tun: &Tun, segment: SegmentId, stop: &Stop) {
    let mut buffer = vec![0; READ_BYTES];
    let mut outbox = Outbox::new();
    while !stop.told() {
        match tun.read(&mut buffer) {
            Ok(length) => {
                if let Err((reason, packets)) =
                    forward(shared, segment, &buffer[..length], &mut outbox)
                {
                    shared.drops.add(reason, packets);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                outbox.flush(shared);
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

/// Puts what was read into the outbox, sealed; or says why not, and how many packets that were.
fn forward(
    shared: &Shared,
    segment: SegmentId,
    read: &[u8],
    outbox: &mut Outbox,
) -> Result<(), (DropReason, u64)> {
    let bad = (DropReason::BadPacket, 1);
    let (vnet, bytes) = VnetHdr::parse(read).ok_or(bad)?;
    let packet = SuperPacket::new(&vnet, bytes).map_err(|_| bad)?;
    let flow = FlowKey::parse(bytes).map_err(|_| bad)?;
    let count = packet.segments() as u32;
    let all = |reason| (reason, u64::from(count));
    let route = Route::find(shared, segment, &flow).map_err(all)?;
    let longest = packet.segment_len();
    if longest > route.inner_mtu_bytes || sealed_len(GRE_LEN + longest) > MAX_SEND_BYTES {
        return Err(all(DropReason::TooBig));
    }
    let protocol = if flow.src.is_ipv4() { Protocol::Ipv4 } else { Protocol::Ipv6 };
    let gre = route.path.gre(segment, protocol).encode();
    let mut block =
        route.outbound.reserve(count).map_err(|_| all(DropReason::SequenceExhausted))?;
    // A SYN is never part of a super-packet.
    let clamp = count == 1 && flow.proto == proto::TCP;
    for index in 0..packet.segments() {
        outbox.push(shared, &route, &mut block, gre, clamp, &packet, index);
    }
    Ok(())
}

/// Where a packet goes.
#[derive(Debug, Clone)]
struct Route {
    path: Arc<PathState>,
    outbound: Arc<OutboundSa>,
    remote: SocketAddr,
    socket: Arc<UplinkSocket>,
    inner_mtu_bytes: usize,
}

impl Route {
    fn find(shared: &Shared, segment: SegmentId, flow: &FlowKey) -> Result<Route, DropReason> {
        let table = shared.table.load();
        let (tunnel, path) = table.resolve(segment, flow)?;
        let outbound = path.outbound.load_full().ok_or(DropReason::NoSa)?;
        let remote = path.remote.load().as_deref().copied().ok_or(DropReason::NoRemote)?;
        let sockets = shared.sockets.load();
        let socket = sockets.get(&(path.uplink, path.family)).ok_or(DropReason::UplinkDown)?;
        Ok(Route {
            path: path.clone(),
            outbound,
            remote,
            socket: socket.clone(),
            inner_mtu_bytes: tunnel.inner_mtu_bytes,
        })
    }

    fn leads_where(&self, other: &Route) -> bool {
        Arc::ptr_eq(&self.path, &other.path)
            && Arc::ptr_eq(&self.socket, &other.socket)
            && self.remote == other.remote
    }
}

/// Sealed datagrams of one route, end to end and of one length, but for the last that may be shorter: what one
/// `UDP_SEGMENT` send takes.
struct Outbox {
    octets: Box<[u8]>,
    used: usize,
    stride: usize,
    count: usize,
    inner_bytes: u64,
    route: Option<Route>,
}

impl Outbox {
    fn new() -> Self {
        let octets = vec![0; MAX_SEND_BYTES].into_boxed_slice();
        Outbox { octets, used: 0, stride: 0, count: 0, inner_bytes: 0, route: None }
    }

    /// Seals one segment behind what is there; sends when nothing more fits.
    #[allow(clippy::too_many_arguments)]
    fn push(
        &mut self,
        shared: &Shared,
        route: &Route,
        block: &mut SeqBlock<'_>,
        gre: [u8; GRE_LEN],
        clamp: bool,
        packet: &SuperPacket<'_>,
        index: usize,
    ) {
        let inner_bytes = packet.len_of(index);
        let sealed_bytes = sealed_len(GRE_LEN + inner_bytes);
        if !self.takes(route, sealed_bytes) {
            self.flush(shared);
        }
        let place = &mut self.octets[self.used..self.used + sealed_bytes];
        place[PAYLOAD_OFFSET..INNER_OFFSET].copy_from_slice(&gre);
        let inner = &mut place[INNER_OFFSET..INNER_OFFSET + inner_bytes];
        if packet.write(index, inner).is_none() {
            return shared.drops.add(DropReason::BadPacket, 1);
        }
        if clamp {
            clamp_mss(inner, route.inner_mtu_bytes);
        }
        if block.seal(place, GRE_LEN + inner_bytes).is_err() {
            return shared.drops.add(DropReason::SequenceExhausted, 1);
        }
        if self.count == 0 {
            self.stride = sealed_bytes;
            self.route = Some(route.clone());
        }
        self.used += sealed_bytes;
        self.count += 1;
        self.inner_bytes += inner_bytes as u64;
        let room = self.octets.len() - self.used >= self.stride;
        if sealed_bytes < self.stride || self.count == MAX_SEGMENTS || !room {
            self.flush(shared);
        }
    }

    fn takes(&self, route: &Route, sealed_bytes: usize) -> bool {
        match &self.route {
            Some(own) => own.leads_where(route) && sealed_bytes <= self.stride,
            None => true,
        }
    }

    fn flush(&mut self, shared: &Shared) {
        let Some(route) = self.route.take() else { return };
        match route.socket.send(route.remote, &self.octets[..self.used], self.stride) {
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
