//! The kernel driver: the trait's calls.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hawser_edge_core::config::Match;
use hawser_edge_core::id::{ClassId, PathId, Spi, TunnelId, UplinkId};
use hawser_edge_core::kernel::{Class, Direction, Inputs, Segment, Tunnel};

use super::inner::{Failed, Inner, PathOf, Trial};
use super::probes::Probes;
use super::sockets::EncapSockets;
use super::watch::Watch;
use crate::dataplane::{
    AdoptedPath, Choice, Counters, DataPlane, DataPlaneError, DropReason, EspEvidence, Event,
    EventReceivers, ForwardingSpec, InboundSaSpec, OutboundSaSpec, UplinkSpec, UserspaceDataPlane,
    check_forwarding,
};

/// How long a challenged address stays a path's remote without an answer.
const TRIAL: Duration = Duration::from_millis(1_500);

/// The kernel forwards, this directs. Dropping it leaves everything in the kernel as it is.
#[derive(Debug)]
pub struct KernelDataPlane {
    // Threads first: they use the rest.
    _watch: Watch,
    /// The uplinks' sockets and the events' channels are the userspace driver's, with an empty table.
    sockets: Arc<UserspaceDataPlane>,
    probes: Arc<Probes>,
    inner: Arc<Mutex<Inner>>,
}

pub(super) fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    // What a panicking call left half done is found and mended by the next look at the kernel.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KernelDataPlane {
    /// Changes nothing yet. With a state directory, a holder keeps the sockets when this process dies.
    ///
    /// # Errors
    /// The kernel has no XFRM, or refuses sockets or threads.
    pub fn start(state_dir: Option<&Path>) -> io::Result<(Self, EventReceivers)> {
        let state_dir = state_dir.map(Path::to_owned);
        let (sockets, receivers) =
            UserspaceDataPlane::with_sockets(Box::new(EncapSockets { state_dir }));
        let sockets = Arc::new(sockets);
        let events = Arc::downgrade(&sockets);
        let probes = Arc::new(Probes::start(Box::new(move |path, inner, received, from| {
            if let Some(events) = events.upgrade() {
                // The association's window has dropped what is old, and the kernel tells of other sources by itself.
                let newest = true;
                events.emit(Event::Probe { path, inner, received, from, newest });
            }
        }))?);
        let inner = Arc::new(Mutex::new(Inner::open(probes.clone())?));
        let watch = Watch::start(inner.clone(), sockets.clone(), probes.clone())?;
        Ok((KernelDataPlane { _watch: watch, sockets, probes, inner }, receivers))
    }
}

impl DataPlane for KernelDataPlane {
    fn apply(&self, spec: ForwardingSpec) -> Result<(), DataPlaneError> {
        check_forwarding(&spec)?;
        let mut inner = lock(&self.inner);
        let kernel = |source: io::Error| DataPlaneError::Device {
            name: "kernel".into(),
            operation: "looking at what it holds",
            source,
        };
        let first = !inner.looked;
        if first {
            inner.look().map_err(|error| kernel(error.source))?;
        }
        let (old_inputs, old_paths) = (inner.inputs.clone(), inner.paths.clone());
        inner.paths = paths(&spec);
        let kept = std::mem::take(&mut inner.inputs);
        inner.inputs = inputs(spec, kept);
        if first {
            inner.adopt();
        }
        let known: BTreeSet<PathId> = inner.paths.keys().copied().collect();
        inner.remotes.retain(|path, _| known.contains(path));
        inner.trials.retain(|path, _| known.contains(path));
        inner.refresh_ends();
        if let Err(failed) = inner.reconcile() {
            let Failed { step, error } = *failed;
            (inner.inputs, inner.paths) = (old_inputs, old_paths);
            let _ = inner.reconcile();
            let name = format!("{step:?}").chars().take(200).collect();
            return Err(DataPlaneError::Device {
                name,
                operation: error.what,
                source: error.source,
            });
        }
        Ok(())
    }

    fn adopted(&self) -> Vec<AdoptedPath> {
        std::mem::take(&mut lock(&self.inner).adopted)
    }

    fn install_inbound(&self, sa: InboundSaSpec) -> Result<(), DataPlaneError> {
        lock(&self.inner).install_inbound(&sa)
    }

    fn install_outbound(&self, sa: OutboundSaSpec) -> Result<(), DataPlaneError> {
        lock(&self.inner).install_outbound(sa)
    }

    fn remove_inbound(&self, spi: Spi) {
        let mut inner = lock(&self.inner);
        // What it counted last still counts.
        inner.read(true);
        inner.remove_states(|id| id.direction == Direction::In && id.spi == spi);
    }

    fn remove_outbound(&self, path: PathId) {
        let mut inner = lock(&self.inner);
        inner.forget_pending(path);
        inner.remove_states(|id| id.direction == Direction::Out && id.path == path);
    }

    fn select(&self, tunnel: TunnelId, class: ClassId, choice: Choice) {
        let mut inner = lock(&self.inner);
        if !inner.inputs.tunnels.contains_key(&tunnel) {
            return;
        }
        inner.inputs.choices.insert((tunnel, class), choice);
        // What fails is in the log, and tried again.
        let _ = inner.reconcile_choice(tunnel);
    }

    fn set_remote(&self, path: PathId, remote: Option<SocketAddr>) {
        let mut inner = lock(&self.inner);
        if !inner.paths.contains_key(&path) {
            return;
        }
        inner.trials.remove(&path);
        match remote {
            Some(remote) => drop(inner.remotes.insert(path, remote)),
            None => drop(inner.remotes.remove(&path)),
        }
        inner.refresh_ends();
        let _ = inner.reconcile();
    }

    fn send_on_path(
        &self,
        path: PathId,
        to: Option<SocketAddr>,
        packet: &[u8],
    ) -> Result<(), DataPlaneError> {
        let mut inner = lock(&self.inner);
        if !inner.paths.contains_key(&path) {
            return Err(DataPlaneError::UnknownPath(path));
        }
        let known = inner.remotes.get(&path).copied();
        if let Some(to) = to.filter(|to| known != Some(*to)) {
            // The kernel sends an association's packets to one place only: the whole path goes there, until an answer
            // proves it or time runs out.
            let back_to = inner.trials.get(&path).map_or(known, |trial| trial.back_to);
            inner.trials.insert(path, Trial { back_to, until: Instant::now() + TRIAL });
            inner.remotes.insert(path, to);
            inner.refresh_ends();
            let _ = inner.reconcile();
        } else if known.is_none() {
            return Err(DataPlaneError::NoRemote(path));
        }
        if !inner.has_outbound(path) {
            return Err(DataPlaneError::NoOutboundSa(path));
        }
        drop(inner);
        self.probes.send(path, packet).map_err(|source| DataPlaneError::Send { path, source })
    }

    fn send_datagram(
        &self,
        uplink: UplinkId,
        to: SocketAddr,
        payload: &[u8],
        segment_bytes: Option<usize>,
    ) -> io::Result<()> {
        self.sockets.send_datagram(uplink, to, payload, segment_bytes)
    }

    fn send_keepalive(&self, uplink: UplinkId, to: SocketAddr) -> io::Result<()> {
        self.sockets.send_keepalive(uplink, to)
    }

    fn add_uplink(&self, uplink: UplinkSpec) -> Result<(), DataPlaneError> {
        self.sockets.add_uplink(uplink.clone())?;
        lock(&self.inner).uplinks.insert(uplink.id, uplink);
        Ok(())
    }

    fn remove_uplink(&self, uplink: UplinkId) {
        lock(&self.inner).uplinks.remove(&uplink);
        self.sockets.remove_uplink(uplink);
    }

    fn evidence(&self, path: PathId) -> EspEvidence {
        let mut inner = lock(&self.inner);
        inner.read(false);
        inner.readings.evidence(path)
    }

    fn counters(&self) -> Counters {
        let mut drops = self.sockets.counters().drops;
        *drops.entry(DropReason::BadInner).or_default() += self.probes.unplaced();
        let mut inner = lock(&self.inner);
        inner.read(true);
        let paths = inner.paths.clone();
        let mut counters = inner.readings.counters(drops);
        for path in paths.into_keys() {
            counters.paths.entry(path).or_default();
        }
        counters
    }
}

fn paths(spec: &ForwardingSpec) -> BTreeMap<PathId, PathOf> {
    let paths = spec.tunnels.iter().flat_map(|tunnel| &tunnel.paths);
    paths.map(|path| (path.id, PathOf { uplink: path.uplink, family: path.family })).collect()
}

/// The choices of tunnels and classes that stay are kept.
fn inputs(spec: ForwardingSpec, old: Inputs) -> Inputs {
    let mut segments: BTreeMap<_, Segment> =
        spec.segments.iter().map(|segment| (segment.id, Segment::default())).collect();
    for lan in spec.lans {
        if let Some(segment) = segments.get_mut(&lan.segment) {
            segment.lans.insert(lan.device);
            segment.own.extend(lan.prefixes.iter().map(|prefix| prefix.trunc()));
        }
    }
    let tunnels: BTreeMap<TunnelId, Tunnel> = spec
        .tunnels
        .into_iter()
        .map(|tunnel| {
            let sources = tunnel.peer_sources.into_iter();
            let of = Tunnel {
                paths: tunnel.paths.iter().map(|path| path.id).collect(),
                sources: sources.map(|(s, nets)| (s, nets.into_iter().collect())).collect(),
                inner_mtu_bytes: u32::from(tunnel.inner_mtu_bytes),
            };
            (tunnel.id, of)
        })
        .collect();
    let class = |class: crate::dataplane::ClassSpec| Class {
        id: class.id,
        segment: class.segment,
        matches: class
            .matches
            .into_iter()
            .map(|rule| Match {
                sources: rule.sources,
                destinations: rule.destinations,
                protocols: rule.protocols,
                source_ports: rule.source_ports.iter().map(|r| (*r.start(), *r.end())).collect(),
                destination_ports: rule
                    .destination_ports
                    .iter()
                    .map(|r| (*r.start(), *r.end()))
                    .collect(),
                dscps: rule.dscps,
            })
            .collect(),
    };
    let mut choices = old.choices;
    choices.retain(|(tunnel, _), _| tunnels.contains_key(tunnel));
    let routes = spec.routes.into_iter();
    Inputs {
        segments,
        routes: routes.map(|r| (r.segment, r.prefix.trunc(), r.next_hops)).collect(),
        classes: spec.classes.into_iter().map(class).collect(),
        choices,
        ends: old.ends,
        tunnels,
    }
}
