//! The userspace driver: the trait's calls, and the threads that they start and stop.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use hawser_edge_core::id::{ClassId, PathId, SegmentId, Spi, TunnelId, UplinkId};
use hawser_esp::gre::Protocol;
use hawser_esp::wire::GRE_LEN;
use hawser_esp::{
    BatchError, IvSeed, KeyMaterial, Mode, Packet, SaError, SaUsage, Suite, opener, sealer,
};

use super::counters::{Counters, EspEvidence, SaCounters};
use super::error::DataPlaneError;
use super::event::{Event, EventReceivers};
use super::path::{InboundEntry, Outbound, OutboundEntry, PathState};
use super::receiver::{Receiver, Uplink};
use super::shared::{InboundSas, OpenSockets, Shared, plain};
use super::spec::{
    Choice, Family, ForwardingSpec, InboundSaSpec, OutboundSaSpec, SegmentSpec, UplinkSpec,
};
use super::sys::tun::Tun;
use super::sys::wait::Stop;
use super::table::{Table, check_interface};
use super::uplink::MAX_SEND_BYTES;
use super::{DataPlane, Lanes, egress, spec};

/// Of one lane: four SAs for each of the most paths that an edge is likely to have.
const MAX_INBOUND_SAS: usize = 16_384;

/// TUN devices, UDP sockets and ESP in this process. Dropping it stops its threads, closes the sockets and removes the
/// TUN devices.
#[derive(Debug)]
pub struct UserspaceDataPlane {
    pub(super) shared: Arc<Shared>,
    control: Mutex<Control>,
}

/// What only the engine's calls touch.
#[derive(Debug, Default)]
struct Control {
    segments: BTreeMap<SegmentId, Segment>,
    uplinks: BTreeMap<UplinkId, Uplink>,
}

#[derive(Debug)]
struct Segment {
    spec: SegmentSpec,
    tun: Arc<Tun>,
    /// One a queue.
    readers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

impl UserspaceDataPlane {
    /// A data plane of one lane, without uplinks and with an empty table.
    pub fn new() -> (Self, EventReceivers) {
        Self::with_lanes(Lanes::ONE)
    }

    /// As [`new`](Self::new), with so many threads for each TUN device, and if they are more than one as many behind that of
    /// each socket.
    pub fn with_lanes(lanes: Lanes) -> (Self, EventReceivers) {
        let (shared, receivers) = Shared::new(lanes);
        let driver = UserspaceDataPlane { shared: Arc::new(shared), control: Mutex::default() };
        (driver, receivers)
    }

    /// As [`new`](Self::new), with sockets from elsewhere: for the kernel driver, whose table stays empty here.
    pub(crate) fn with_sockets(sockets_from: Box<dyn OpenSockets>) -> (Self, EventReceivers) {
        let (shared, receivers) = Shared::with_sockets(sockets_from, Lanes::ONE);
        let driver = UserspaceDataPlane { shared: Arc::new(shared), control: Mutex::default() };
        (driver, receivers)
    }

    /// Tells the engine something that another driver learnt.
    pub(crate) fn emit(&self, event: Event) {
        self.shared.emit(event);
    }

    fn lock(&self) -> MutexGuard<'_, Control> {
        // What a panicking call left half done is found and mended by the next `apply`.
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, id: PathId) -> Result<Arc<PathState>, DataPlaneError> {
        self.shared.table.load().path(id).cloned().ok_or(DataPlaneError::UnknownPath(id))
    }

    fn change_inbound(&self, change: impl Fn(&mut InboundSas)) {
        self.shared.inbound.rcu(|sas| {
            let mut sas = InboundSas::clone(sas);
            change(&mut sas);
            sas
        });
    }

    fn start_segment(&self, spec: &SegmentSpec) -> Result<Segment, DataPlaneError> {
        let queues = self.shared.lanes.count();
        let tun = Arc::new(Tun::create(&spec.tun_name, spec.mtu_bytes, queues)?);
        let fault = |source| DataPlaneError::Device {
            name: spec.tun_name.clone(),
            operation: "starting its reader",
            source,
        };
        let mut started = Segment { spec: spec.clone(), tun, readers: Vec::new() };
        for queue in 0..started.tun.queues() {
            match self.start_reader(&started, queue) {
                Ok(reader) => started.readers.push(reader),
                Err(error) => {
                    started.end();
                    return Err(fault(error));
                }
            }
        }
        Ok(started)
    }

    fn start_reader(&self, of: &Segment, queue: usize) -> io::Result<Worker> {
        let stop = Arc::new(Stop::new()?);
        let (shared, device, told) = (self.shared.clone(), of.tun.clone(), stop.clone());
        let segment = of.spec.id;
        let name =
            if queue == 0 { format!("tun-{segment}") } else { format!("tun-{segment}.{queue}") };
        let run = move || egress::run(&shared, &device, queue, segment, &told);
        Ok(Worker { stop, thread: thread::Builder::new().name(name).spawn(run)? })
    }

    /// Makes the devices that the table needs and does not have.
    fn ready_segments(
        &self,
        control: &Control,
        wanted: &[SegmentSpec],
    ) -> Result<BTreeMap<SegmentId, Segment>, DataPlaneError> {
        let mut made = BTreeMap::new();
        for spec in wanted {
            match control.segments.get(&spec.id) {
                Some(segment) if segment.serves(spec) => {}
                _ => match self.start_segment(spec) {
                    Ok(segment) => drop(made.insert(spec.id, segment)),
                    Err(error) => {
                        made.into_values().for_each(Segment::end);
                        return Err(error);
                    }
                },
            }
        }
        Ok(made)
    }

    fn publish_segments(&self, control: &Control) {
        let tuns = control.segments.iter().map(|(&id, segment)| (id, segment.tun.clone()));
        self.shared.tuns.store(Arc::new(tuns.collect()));
    }

    fn publish_sockets(&self, control: &Control) {
        let receivers = control.uplinks.values().flat_map(|uplink| &uplink.receivers);
        let sockets = receivers.map(|receiver| &receiver.socket);
        let sockets = sockets.map(|socket| ((socket.uplink, socket.family), socket.clone()));
        self.shared.sockets.store(Arc::new(sockets.collect()));
    }
}

impl Segment {
    /// Its device is the one wanted, and someone reads each of its queues.
    fn serves(&self, spec: &SegmentSpec) -> bool {
        self.spec.tun_name == spec.tun_name
            && self.readers.iter().all(|reader| !reader.thread.is_finished())
    }

    fn end(self) {
        self.readers.iter().for_each(|reader| reader.stop.tell());
        for reader in self.readers {
            // A panic of the thread has been reported by the panic hook.
            let _ = reader.thread.join();
        }
    }
}

impl DataPlane for UserspaceDataPlane {
    fn lanes(&self) -> Lanes {
        self.shared.lanes
    }

    fn apply(&self, spec: ForwardingSpec) -> Result<(), DataPlaneError> {
        let mut control = self.lock();
        let wanted = spec.segments.clone();
        let table = Table::build(spec, &self.shared.table.load())?;
        let renamed = |spec: &&SegmentSpec| {
            control.segments.get(&spec.id).is_some_and(|old| !old.serves(spec))
        };
        // A device of the same name must be gone before it can be made again.
        let stale: Vec<SegmentId> = wanted.iter().filter(renamed).map(|spec| spec.id).collect();
        for id in stale {
            let segment = control.segments.remove(&id);
            self.publish_segments(&control);
            segment.into_iter().for_each(Segment::end);
        }
        let made = self.ready_segments(&control, &wanted)?;
        control.segments.extend(made);
        for spec in &wanted {
            if let Some(segment) = control.segments.get_mut(&spec.id)
                && segment.spec.mtu_bytes != spec.mtu_bytes
            {
                segment.tun.set_mtu(spec.mtu_bytes)?;
                segment.spec.mtu_bytes = spec.mtu_bytes;
            }
        }
        // Devices before the table that sends packets to them, and the other way round when they go.
        self.publish_segments(&control);
        self.shared.table.store(Arc::new(table));
        let table = self.shared.table.load();
        self.change_inbound(|sas| {
            sas.retain(|_, entry| {
                table.path(entry.path.id).is_some_and(|path| Arc::ptr_eq(path, &entry.path))
            });
        });
        let unwanted = |id: &SegmentId| wanted.iter().all(|spec| spec.id != *id);
        let gone: Vec<SegmentId> = control.segments.keys().copied().filter(unwanted).collect();
        let ended: Vec<Segment> =
            gone.iter().filter_map(|id| control.segments.remove(id)).collect();
        self.publish_segments(&control);
        ended.into_iter().for_each(Segment::end);
        Ok(())
    }

    fn install_inbound(&self, sa: InboundSaSpec) -> Result<(), DataPlaneError> {
        let path = self.path(sa.path)?;
        let (first, window_packets) = (sa.spi, sa.replay_window_packets);
        let since = self.shared.uptime(Instant::now());
        let lanes =
            of_lanes(first, sa.suite, &sa.key_material, &sa.further_lanes, |lane, spi, key| {
                let sa = opener(Mode::Gre, spi.0, key, sa.esn, window_packets)?;
                Ok((spi, Arc::new(InboundEntry { sa, path: path.clone(), first, lane, since })))
            })?;
        // The lock keeps two installations from both passing the checks.
        let _control = self.lock();
        let installed = self.shared.inbound.load();
        if let Some((used, _)) = lanes.iter().find(|(spi, _)| installed.contains_key(spi)) {
            return Err(DataPlaneError::SpiInUse(*used));
        }
        let limit = MAX_INBOUND_SAS * self.shared.lanes.count();
        if installed.len() + lanes.len() > limit {
            return Err(DataPlaneError::TooManySas { limit });
        }
        self.change_inbound(|sas| sas.extend(lanes.iter().cloned()));
        Ok(())
    }

    fn install_outbound(&self, sa: OutboundSaSpec) -> Result<(), DataPlaneError> {
        let path = self.path(sa.path)?;
        let lanes =
            of_lanes(sa.spi, sa.suite, &sa.key_material, &sa.further_lanes, |_, spi, key| {
                let sa = sealer(spi.0, key, sa.esn, &IvSeed::new(rand::random()))?;
                let layout = sa.layout();
                Ok(Arc::new(OutboundEntry { sa, layout }))
            })?;
        path.outbound.store(Outbound::new(lanes).map(Arc::new));
        Ok(())
    }

    fn remove_inbound(&self, spi: Spi) {
        self.change_inbound(|sas| sas.retain(|_, entry| entry.first != spi));
    }

    fn remove_outbound(&self, path: PathId) {
        if let Ok(path) = self.path(path) {
            path.outbound.store(None);
        }
    }

    fn select(&self, tunnel: TunnelId, class: ClassId, choice: Choice) {
        self.shared.table.load().select(tunnel, class, choice);
    }

    fn set_remote(&self, path: PathId, remote: Option<SocketAddr>) {
        if let Ok(path) = self.path(path) {
            path.remote.store(remote.map(|remote| Arc::new(plain(remote))));
        }
    }

    fn send_on_path(
        &self,
        path: PathId,
        to: Option<SocketAddr>,
        inner: &[u8],
    ) -> Result<(), DataPlaneError> {
        let path = self.path(path)?;
        let outbound = path.outbound.load_full().ok_or(DataPlaneError::NoOutboundSa(path.id))?;
        // One lane for all probes, so that their numbers are in the order in which they are sent.
        let outbound = outbound.lane(0);
        let limit_bytes = outbound.layout.max_payload(MAX_SEND_BYTES) - GRE_LEN;
        if inner.len() > limit_bytes {
            return Err(DataPlaneError::TooLong { length_bytes: inner.len(), limit_bytes });
        }
        let remote = to.or_else(|| path.remote.load().as_deref().copied());
        let remote = remote.ok_or(DataPlaneError::NoRemote(path.id))?;
        let sockets = self.shared.sockets.load();
        let socket = sockets
            .get(&(path.uplink, path.family))
            .ok_or(DataPlaneError::UplinkDown(path.uplink))?;

        let (layout, payload_bytes) = (outbound.layout, GRE_LEN + inner.len());
        let mut datagram = vec![0; layout.sealed_len(payload_bytes)];
        let payload = &mut datagram[layout.payload_offset()..][..payload_bytes];
        let gre = path.gre(SegmentId::INFRASTRUCTURE, Protocol::Ipv6);
        payload[..GRE_LEN].copy_from_slice(&gre.encode());
        payload[GRE_LEN..].copy_from_slice(inner);
        let mut packet = Packet::gre(&mut datagram, payload_bytes);
        outbound.sa.seal(std::slice::from_mut(&mut packet)).map_err(|error| match error {
            BatchError::Exhausted(_) => DataPlaneError::SequenceExhausted(path.id),
            BatchError::Seal(error) => DataPlaneError::Sa { fault: error.to_string() },
        })?;
        socket.send(remote, &datagram, datagram.len(), 0).map_err(|fault| {
            self.shared.drops.add(fault.reason, fault.packets);
            let source = io::Error::from_raw_os_error(fault.errno);
            DataPlaneError::Send { path: path.id, source }
        })?;
        path.count_sent(1, inner.len() as u64);
        Ok(())
    }

    fn send_datagram(
        &self,
        uplink: UplinkId,
        to: SocketAddr,
        payload: &[u8],
        segment_bytes: Option<usize>,
    ) -> io::Result<()> {
        let sockets = self.shared.sockets.load();
        let socket = sockets
            .get(&(uplink, Family::of(to.ip())))
            .ok_or(io::Error::from(io::ErrorKind::NetworkDown))?;
        socket.send_marked(to, payload, segment_bytes)
    }

    fn send_keepalive(&self, uplink: UplinkId, to: SocketAddr) -> io::Result<()> {
        let sockets = self.shared.sockets.load();
        let socket = sockets
            .get(&(uplink, Family::of(to.ip())))
            .ok_or(io::Error::from(io::ErrorKind::NetworkDown))?;
        socket.send_keepalive(to)
    }

    fn add_uplink(&self, uplink: UplinkSpec) -> Result<(), DataPlaneError> {
        let place = || format!("uplink {} ({})", uplink.id, uplink.interface);
        let refuse = |fault: &str| DataPlaneError::Spec { place: place(), fault: fault.into() };
        check_interface(&uplink.interface).map_err(refuse)?;
        let fault = |source| DataPlaneError::Device {
            name: uplink.interface.clone(),
            operation: "starting its receiver",
            source,
        };
        let mut control = self.lock();
        // A socket that goes on loses nothing of what waits in it.
        let mut started = control.uplinks.remove(&uplink.id).unwrap_or_default().keep(&uplink);
        for (family, wanted) in [(Family::V4, uplink.v4), (Family::V6, uplink.v6)] {
            if !wanted || started.has(family) {
                continue;
            }
            match Receiver::start(&self.shared, &uplink, family) {
                Ok(receiver) => started.receivers.push(receiver),
                Err(error) => {
                    self.publish_sockets(&control);
                    started.end();
                    return Err(fault(error));
                }
            }
        }
        control.uplinks.insert(uplink.id, started);
        self.publish_sockets(&control);
        Ok(())
    }

    fn remove_uplink(&self, uplink: UplinkId) {
        let mut control = self.lock();
        if let Some(removed) = control.uplinks.remove(&uplink) {
            self.publish_sockets(&control);
            removed.end();
        }
    }

    fn evidence(&self, path: PathId) -> EspEvidence {
        self.shared.table.load().path(path).map(|path| path.evidence()).unwrap_or_default()
    }

    fn counters(&self) -> Counters {
        let table = self.shared.table.load();
        let outbound = |path: &Arc<PathState>| {
            let outbound = path.outbound.load_full()?;
            let lanes = outbound.lanes().map(|lane| sa_counters(lane.sa.spi(), lane.sa.usage()));
            Some((path.id, lanes.collect()))
        };
        let inbound = self.shared.inbound.load();
        let inbound =
            inbound.iter().map(|(&spi, entry)| (spi, sa_counters(spi.0, entry.sa.usage())));
        Counters {
            paths: table.paths().map(|path| (path.id, path.counters())).collect(),
            inbound_sas: inbound.collect(),
            outbound_sas: table.paths().filter_map(outbound).collect(),
            drops: self.shared.drops.read(),
        }
    }
}

/// Makes the SA of each lane; from its number, its SPI and its key.
fn of_lanes<T>(
    first: Spi,
    suite: Suite,
    key: &spec::KeyMaterial,
    further: &[spec::KeyMaterial],
    make: impl Fn(u8, Spi, &KeyMaterial) -> Result<T, SaError>,
) -> Result<Vec<T>, DataPlaneError> {
    let lanes = Lanes::clamped(1 + further.len());
    if lanes.count() != 1 + further.len() || !lanes.fit(first) {
        let fault = format!("{} lanes from SPI {first} on are not SAs", 1 + further.len());
        return Err(DataPlaneError::Sa { fault });
    }
    let keys = [key].into_iter().chain(further);
    let of_lane = |(lane, key): (u8, &spec::KeyMaterial)| {
        let spi = Spi(first.0 + u32::from(lane));
        let key = KeyMaterial::new(suite, key.octets()).map_err(|error| error.to_string())?;
        make(lane, spi, &key).map_err(|error| error.to_string())
    };
    let made = lanes.all().zip(keys).map(of_lane).collect::<Result<_, _>>();
    made.map_err(|fault| DataPlaneError::Sa { fault })
}

fn sa_counters(spi: u32, usage: SaUsage) -> SaCounters {
    SaCounters { spi, packets: usage.packets, bytes: usage.bytes }
}

impl Drop for UserspaceDataPlane {
    fn drop(&mut self) {
        let mut control = self.lock();
        let uplinks = std::mem::take(&mut control.uplinks);
        let segments = std::mem::take(&mut control.segments);
        uplinks.into_values().for_each(Uplink::end);
        segments.into_values().for_each(Segment::end);
        self.publish_sockets(&control);
        self.publish_segments(&control);
    }
}
