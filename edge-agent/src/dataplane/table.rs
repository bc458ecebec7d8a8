//! The forwarding table: built as a whole from a spec, never changed afterwards, read without locks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hawser_edge_core::id::{ClassId, PathId, SegmentId, TunnelId};
use hawser_edge_core::select::Choice;
use hawser_esp::ip::FlowKey;

use super::classify::Classifier;
use super::copies::{Copies, Numbers};
use super::counters::DropReason;
use super::error::DataPlaneError;
use super::lpm::PrefixTable;
use super::path::PathState;
use super::spec::{ForwardingSpec, PathSpec, SegmentSpec, TunnelSpec};
use super::spread;

const MAX_TUNNELS: usize = 4_096;
const MAX_PATHS_PER_TUNNEL: usize = 64;
const MAX_ROUTES: usize = 65_536;
const MAX_CLASSES: usize = 256;
/// The least MTU of IPv6 (RFC 8200 section 5).
const MIN_MTU_BYTES: u16 = 1_280;

/// How a class goes in a tunnel; outlives the table.
type Selected = Arc<ArcSwap<Choice>>;

#[derive(Debug, Default)]
pub(super) struct Table {
    tunnels: Vec<Tunnel>,
    /// Tunnel numbers, best first, by segment.
    routes: BTreeMap<SegmentId, PrefixTable<Vec<usize>>>,
    classifier: Classifier,
    paths: BTreeMap<PathId, (Arc<PathState>, usize)>,
}

#[derive(Debug)]
pub(super) struct Tunnel {
    id: TunnelId,
    paths: Vec<Arc<PathState>>,
    /// By the class's place in the order.
    selected: Vec<(ClassId, Selected)>,
    /// Of classes that are duplicated.
    numbers: Arc<Numbers>,
    pub(super) copies: Arc<Copies>,
    peer_sources: BTreeMap<SegmentId, PrefixTable<()>>,
    pub(super) inner_mtu_bytes: usize,
}

impl Table {
    /// Checks the spec and builds its table. What stays keeps its state from `old`.
    pub(super) fn build(spec: ForwardingSpec, old: &Table) -> Result<Table, DataPlaneError> {
        check(&spec)?;
        let numbers: BTreeMap<TunnelId, usize> =
            spec.tunnels.iter().enumerate().map(|(number, tunnel)| (tunnel.id, number)).collect();
        let mut routes: BTreeMap<SegmentId, Vec<_>> =
            spec.segments.iter().map(|segment| (segment.id, Vec::new())).collect();
        for route in spec.routes {
            let hops: Vec<usize> =
                route.next_hops.iter().filter_map(|id| numbers.get(id).copied()).collect();
            routes.entry(route.segment).or_default().push((route.prefix, hops));
        }
        let classifier = Classifier::new(spec.classes);
        let tunnels: Vec<Tunnel> =
            spec.tunnels.into_iter().map(|tunnel| old.carry(tunnel, &classifier)).collect();
        let paths = tunnels
            .iter()
            .enumerate()
            .flat_map(|(number, tunnel)| tunnel.paths.iter().map(move |path| (path, number)))
            .map(|(path, number)| (path.id, (path.clone(), number)))
            .collect();
        let routes =
            routes.into_iter().map(|(segment, entries)| (segment, PrefixTable::new(entries)));
        Ok(Table { tunnels, routes: routes.collect(), classifier, paths })
    }

    fn carry(&self, spec: TunnelSpec, classifier: &Classifier) -> Tunnel {
        let before = self.tunnel(spec.id);
        let path = |path: &PathSpec| match self.path(path.id) {
            Some(old) if old.uplink == path.uplink && old.family == path.family => old.clone(),
            _ => Arc::new(PathState::new(path)),
        };
        let selected = |class| {
            let old = self.classifier.index_of(class);
            let kept = before.zip(old).map(|(tunnel, index)| tunnel.selected[index].1.clone());
            (class, kept.unwrap_or_default())
        };
        let sources = spec.peer_sources.iter().map(|(&segment, prefixes)| {
            (segment, PrefixTable::new(prefixes.iter().map(|&prefix| (prefix, ()))))
        });
        Tunnel {
            id: spec.id,
            paths: spec.paths.iter().map(path).collect(),
            selected: classifier.ids().map(selected).collect(),
            numbers: before.map(|tunnel| tunnel.numbers.clone()).unwrap_or_default(),
            copies: before.map(|tunnel| tunnel.copies.clone()).unwrap_or_default(),
            peer_sources: sources.collect(),
            inner_mtu_bytes: usize::from(spec.inner_mtu_bytes),
        }
    }

    /// Where a packet of a LAN goes, or why nowhere. `usable`: the path could send it now; a flow that is spread takes
    /// another one meanwhile.
    pub(super) fn resolve(
        &self,
        segment: SegmentId,
        flow: &FlowKey,
        usable: impl Fn(&PathState) -> bool,
    ) -> Result<Resolved<'_>, DropReason> {
        let routes = self.routes.get(&segment).ok_or(DropReason::UnknownSegment)?;
        let hops = routes.lookup(flow.dst).ok_or(DropReason::NoRoute)?;
        let class = self.classifier.classify(segment, flow).ok_or(DropReason::NoClass)?;
        hops.iter()
            .filter_map(|&number| self.tunnels.get(number))
            .find_map(|tunnel| Some((tunnel, tunnel.way(class, flow, &usable)?)))
            .map(|(tunnel, way)| Resolved {
                tunnel,
                way,
                wan_dscp: self.classifier.wan_dscp(class),
            })
            .ok_or(DropReason::NoPath)
    }

    /// The tunnel of `path`, if what came over it from this inner source may be delivered into the segment.
    pub(super) fn admits(
        &self,
        path: PathId,
        segment: SegmentId,
        source: IpAddr,
    ) -> Result<&Tunnel, DropReason> {
        if !self.routes.contains_key(&segment) {
            return Err(DropReason::UnknownSegment);
        }
        let tunnel = self.tunnel_of(path);
        let allows = |tunnel: &&Tunnel| {
            let sources = tunnel.peer_sources.get(&segment);
            sources.is_some_and(|sources| sources.lookup(source).is_some())
        };
        tunnel.filter(allows).ok_or(DropReason::SpoofedSource)
    }

    /// The tunnel that a path belongs to.
    pub(super) fn tunnel_of(&self, path: PathId) -> Option<&Tunnel> {
        self.paths.get(&path).and_then(|&(_, number)| self.tunnels.get(number))
    }

    pub(super) fn select(&self, tunnel: TunnelId, class: ClassId, choice: Choice) {
        let slot = self
            .tunnel(tunnel)
            .zip(self.classifier.index_of(class))
            .and_then(|(tunnel, index)| tunnel.selected.get(index));
        if let Some((_, slot)) = slot {
            slot.store(Arc::new(choice));
        }
    }

    pub(super) fn path(&self, id: PathId) -> Option<&Arc<PathState>> {
        self.paths.get(&id).map(|(path, _)| path)
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Arc<PathState>> {
        self.paths.values().map(|(path, _)| path)
    }

    fn tunnel(&self, id: TunnelId) -> Option<&Tunnel> {
        self.tunnels.iter().find(|tunnel| tunnel.id == id)
    }
}

/// Where a packet goes.
#[derive(Debug)]
pub(super) struct Resolved<'t> {
    pub(super) tunnel: &'t Tunnel,
    pub(super) way: Way<'t>,
    /// Of its outer header, if its class has one of its own.
    pub(super) wan_dscp: Option<u8>,
}

/// How a packet goes.
#[derive(Debug)]
pub(super) enum Way<'t> {
    One(&'t Arc<PathState>),
    /// On each of these, under one number: on both, unless one is not in the table.
    Copies {
        paths: [Option<&'t Arc<PathState>>; 2],
        class: ClassId,
        numbers: &'t Numbers,
    },
}

impl Tunnel {
    /// `None`: the tunnel carries nothing of the class.
    fn way(
        &self,
        class: usize,
        flow: &FlowKey,
        usable: impl Fn(&PathState) -> bool,
    ) -> Option<Way<'_>> {
        let (class, selected) = self.selected.get(class)?;
        match &**selected.load() {
            Choice::Nothing => None,
            Choice::Path(id) => self.path(*id).map(Way::One),
            Choice::Spread(weights) => self.spread(flow, weights, usable).map(Way::One),
            Choice::Both(a, b) => {
                let paths = [self.path(*a), self.path(*b)];
                let any = paths.iter().any(Option::is_some);
                any.then_some(Way::Copies { paths, class: *class, numbers: &self.numbers })
            }
        }
    }

    fn spread(
        &self,
        flow: &FlowKey,
        weights: &[(PathId, u32)],
        usable: impl Fn(&PathState) -> bool,
    ) -> Option<&Arc<PathState>> {
        let hash = flow.pin_hash();
        let known =
            || weights.iter().filter_map(|&(id, weight)| Some((id, weight, self.path(id)?)));
        // If none is usable, one that is not tells why.
        spread::pick(hash, known().filter(|(_, _, path)| usable(path)))
            .or_else(|| spread::pick(hash, known()))
    }

    fn path(&self, id: PathId) -> Option<&Arc<PathState>> {
        self.paths.iter().find(|path| path.id == id)
    }
}

fn fault(place: String, fault: impl Into<String>) -> DataPlaneError {
    DataPlaneError::Spec { place, fault: fault.into() }
}

/// What no driver could make true.
pub(crate) fn check(spec: &ForwardingSpec) -> Result<(), DataPlaneError> {
    for (what, count, limit) in [
        ("tunnels", spec.tunnels.len(), MAX_TUNNELS),
        ("routes", spec.routes.len(), MAX_ROUTES),
        ("classes", spec.classes.len(), MAX_CLASSES),
    ] {
        if count > limit {
            return Err(fault(what.into(), format!("{count} given, at most {limit} are taken")));
        }
    }
    check_segments(&spec.segments)?;
    check_tunnels(&spec.tunnels)?;
    let segments: BTreeSet<SegmentId> = spec.segments.iter().map(|segment| segment.id).collect();
    let tunnels: BTreeSet<TunnelId> = spec.tunnels.iter().map(|tunnel| tunnel.id).collect();
    for (index, route) in spec.routes.iter().enumerate() {
        let place = || format!("routes[{index}] ({})", route.prefix);
        if !segments.contains(&route.segment) {
            return Err(fault(place(), format!("segment {} is not given", route.segment)));
        }
        if let Some(unknown) = route.next_hops.iter().find(|id| !tunnels.contains(id)) {
            return Err(fault(place(), format!("next hop: tunnel {unknown} is not given")));
        }
    }
    let mut classes = BTreeSet::new();
    match spec.classes.iter().position(|class| !classes.insert(class.id)) {
        Some(index) => Err(fault(format!("classes[{index}]"), "its ID is given twice")),
        None => Ok(()),
    }
}

fn check_segments(segments: &[SegmentSpec]) -> Result<(), DataPlaneError> {
    let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (index, segment) in segments.iter().enumerate() {
        let place = || format!("segments[{index}] ({})", segment.tun_name);
        if segment.id == SegmentId::INFRASTRUCTURE {
            return Err(fault(place(), "segment 0 has no device: it carries probes only"));
        }
        if !ids.insert(segment.id) || !names.insert(&segment.tun_name) {
            return Err(fault(place(), "its ID or device is given twice"));
        }
        check_interface(&segment.tun_name).map_err(|what| fault(place(), what))?;
        if segment.mtu_bytes < MIN_MTU_BYTES {
            return Err(fault(place(), format!("its MTU is below {MIN_MTU_BYTES} bytes")));
        }
    }
    Ok(())
}

fn check_tunnels(tunnels: &[TunnelSpec]) -> Result<(), DataPlaneError> {
    let (mut ids, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (index, tunnel) in tunnels.iter().enumerate() {
        let place = || format!("tunnels[{index}] ({})", tunnel.id);
        if !ids.insert(tunnel.id) {
            return Err(fault(place(), "its ID is given twice"));
        }
        if tunnel.paths.len() > MAX_PATHS_PER_TUNNEL {
            return Err(fault(place(), format!("more than {MAX_PATHS_PER_TUNNEL} paths")));
        }
        for path in &tunnel.paths {
            if path.id.0 >= 1 << 24 {
                return Err(fault(place(), format!("path {}: its ID is not below 2^24", path.id)));
            }
            if !paths.insert(path.id) {
                return Err(fault(place(), format!("path {}: its ID is given twice", path.id)));
            }
        }
    }
    Ok(())
}

/// What the kernel would refuse of an interface's name.
pub(super) fn check_interface(name: &str) -> Result<(), &'static str> {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(bad) || name == ".." {
        return Err("not an interface name: use 1 to 15 octets without '/', ':' and blanks");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
