//! What the driver knows, and its hands on the kernel. One lock guards it all.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hawser_edge_core::id::{PathId, Spi, TunnelId, UplinkId};
use hawser_edge_core::kernel::{
    Direction, Ends, Inputs, KernelState, StateId, Step, choices_of, desired, groups, link_name,
    plan,
};

use super::ends::local_address;
use super::netlink::Refusal;
use super::probes::Probes;
use super::readings::Readings;
use super::route::{Links, Rtnetlink};
use super::script::Script;
use super::sysctl;
use super::xfrm::{NewState, Xfrm};
use crate::dataplane::{
    AdoptedPath, DataPlaneError, Family, InboundSaSpec, KeyMaterial, OutboundSaSpec, UplinkSpec,
};

/// Longer than a peer takes to compare keys after a restart, and to get fresh ones.
const LEFT_OVER_STAY: Duration = Duration::from_secs(60);

/// Where a path's packets leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PathOf {
    pub uplink: UplinkId,
    pub family: Family,
}

/// The first step that the kernel refused.
#[derive(Debug)]
pub(super) struct Failed {
    pub step: Step,
    pub error: Refusal,
}

/// A remote that is being tried: a challenge went there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    pub back_to: Option<SocketAddr>,
    pub until: Instant,
}

#[derive(Debug)]
pub(super) struct Inner {
    route: Rtnetlink,
    xfrm: Xfrm,
    pub script: Script,
    probes: Arc<Probes>,
    pub uplinks: BTreeMap<UplinkId, UplinkSpec>,
    pub paths: BTreeMap<PathId, PathOf>,
    pub remotes: BTreeMap<PathId, SocketAddr>,
    pub trials: BTreeMap<PathId, Trial>,
    /// Outbound associations whose path has no remote yet: their keys wait here.
    pending: BTreeMap<PathId, OutboundSaSpec>,
    pub inputs: Inputs,
    /// What the kernel holds, as far as we know.
    pub believed: KernelState,
    links: Links,
    pub looked: bool,
    pub readings: Readings,
    pub adopted: Vec<AdoptedPath>,
    /// Inbound associations that were found and not adopted, and how long they stay.
    left_over: Option<(Instant, BTreeSet<StateId>)>,
    /// Steps that failed.
    pub failed_steps: u64,
}

impl Inner {
    pub(super) fn open(probes: Arc<Probes>) -> io::Result<Inner> {
        Ok(Inner {
            route: Rtnetlink::open()?,
            xfrm: Xfrm::open()?,
            script: Script::default(),
            probes,
            uplinks: BTreeMap::new(),
            paths: BTreeMap::new(),
            remotes: BTreeMap::new(),
            trials: BTreeMap::new(),
            pending: BTreeMap::new(),
            inputs: Inputs::default(),
            believed: KernelState::default(),
            links: Links::default(),
            looked: false,
            readings: Readings::default(),
            adopted: Vec::new(),
            left_over: None,
            failed_steps: 0,
        })
    }

    /// Looks at the kernel. Paths whose associations somebody else removed are told.
    pub(super) fn look(&mut self) -> Result<BTreeSet<PathId>, Refusal> {
        let links = self.route.links()?;
        let states = self.xfrm.states()?;
        let seen = KernelState {
            policies: self.xfrm.policies()?.into_iter().collect(),
            states: states.iter().map(|s| (s.id, (s.local, s.remote))).collect(),
            next_hops: self.route.next_hops(&links)?,
            routes: self.route.routes()?.into_iter().collect(),
            rules: self.route.rules()?.into_iter().collect(),
            script: self.believed.script.clone(),
            links: links.ours.clone(),
        };
        let lost = self.believed.states.keys().filter(|id| !seen.states.contains_key(id));
        let lost = lost.map(|id| id.path).collect();
        (self.believed, self.links, self.looked) = (seen, links, true);
        self.readings.take(states, Instant::now());
        Ok(lost)
    }

    /// What a former agent left: its associations say where its peers were, its next hops what it had chosen.
    pub(super) fn adopt(&mut self) {
        self.adopt_states();
        for (key, choice) in choices_of(&self.inputs, &self.believed) {
            self.inputs.choices.entry(key).or_insert(choice);
        }
        for (id, (_, remote)) in &self.believed.states {
            if id.direction == Direction::Out && self.paths.contains_key(&id.path) {
                self.remotes.entry(id.path).or_insert(*remote);
            }
        }
    }

    /// Paths that can go on as they are. Of several inbound associations the newest that carried anything counts: the peer
    /// has left the others, or is about to, so they stay for a while. (One that carried nothing may be of a connection
    /// that lost against another.) Seconds tell which is the newest; within one second, what it carried does.
    fn adopt_states(&mut self) {
        let mut inbound: BTreeMap<PathId, (bool, u64, u64, Spi)> = BTreeMap::new();
        for reading in self.readings.last().filter(|r| r.id.direction == Direction::In) {
            let newest = inbound.entry(reading.id.path).or_default();
            let (packets, spi) = (reading.packets, reading.id.spi);
            *newest = (*newest).max((packets > 0, reading.added_s, packets, spi));
        }
        let outbound = self.believed.states.iter();
        let outbound = outbound.filter(|(id, _)| id.direction == Direction::Out);
        self.adopted = outbound
            .filter(|(id, _)| self.paths.contains_key(&id.path))
            .filter_map(|(id, (_, remote))| {
                let (.., spi) = inbound.get(&id.path)?;
                let (path, remote, inbound, outbound) = (id.path, *remote, *spi, id.spi);
                Some(AdoptedPath { path, remote, inbound, outbound })
            })
            .collect();
        let kept: BTreeSet<Spi> = self.adopted.iter().map(|a| a.inbound).collect();
        let inbound = self.believed.states.keys().filter(|id| id.direction == Direction::In);
        let left = inbound.filter(|id| !kept.contains(&id.spi)).copied().collect();
        self.left_over = Some((Instant::now() + LEFT_OVER_STAY, left));
    }

    /// What a former agent left and nobody claims goes, once the peer surely sends by what was adopted, or by fresh keys.
    pub(super) fn drop_left_over(&mut self) {
        if let Some((_, left)) = self.left_over.take_if(|(until, _)| Instant::now() >= *until) {
            self.remove_states(|id| left.contains(id));
        }
    }

    /// Where each path begins and ends now. What was known stays known when an address goes away for a while.
    pub(super) fn refresh_ends(&mut self) {
        let mut ends = std::mem::take(&mut self.inputs.ends);
        ends.retain(|path, _| self.paths.contains_key(path) && self.remotes.contains_key(path));
        for (path, of) in &self.paths {
            let Some(remote) = self.remotes.get(path).copied() else { continue };
            let Some(uplink) = self.uplinks.get(&of.uplink) else { continue };
            if let Some(local) = local_address(&uplink.interface, of.family, Some(remote)) {
                let local = SocketAddr::new(local, uplink.port);
                let interface = uplink.interface.clone();
                ends.insert(*path, Ends { interface, local, remote });
            }
        }
        self.inputs.ends = ends;
    }

    /// Makes the kernel hold what it must. Every step is tried; the first failure is told.
    pub(super) fn reconcile(&mut self) -> Result<(), Box<Failed>> {
        let want = desired(&self.inputs, &self.believed.states);
        let steps = plan(&want, &self.believed);
        let result = self.carry_out_all(steps);
        self.tap_probes();
        self.place_pending();
        result
    }

    /// The same for what a tunnel's choice is part of: a few messages.
    pub(super) fn reconcile_choice(&mut self, tunnel: TunnelId) -> Result<(), Box<Failed>> {
        let wanted = groups(&self.inputs, tunnel).into_iter();
        let changed = wanted.filter(|(id, hop)| self.believed.next_hops.get(id) != Some(hop));
        let steps = changed.map(|(id, hop)| Step::SetNextHop(id, hop)).collect();
        self.carry_out_all(steps)
    }

    pub(super) fn carry_out_all(&mut self, steps: Vec<Step>) -> Result<(), Box<Failed>> {
        let mut result = Ok(());
        for step in steps {
            match self.carry_out(&step) {
                Ok(()) => {
                    tracing::debug!(step = describe(&step), "done");
                    self.believed.apply(&step);
                }
                Err(error) => {
                    self.failed_steps += 1;
                    let source = &error.source;
                    tracing::warn!(step = describe(&step), "{error}: {source}; tried again");
                    if result.is_ok() {
                        result = Err(Box::new(Failed { step, error }));
                    }
                }
            }
        }
        result
    }

    fn carry_out(&mut self, step: &Step) -> Result<(), Refusal> {
        match step {
            Step::LoadScript(script) => self.script.load(script),
            Step::SetPolicy(policy) => self.xfrm.set_policy(policy),
            Step::RemovePolicy(policy) => self.xfrm.remove_policy(policy),
            Step::MoveState { id, from, to } => self.xfrm.move_state(*id, *from, *to),
            Step::RemoveState { id, at } => self.xfrm.remove_state(*id, *at),
            Step::AddLink(link) => {
                self.route.add_link(link, &self.links)?;
                self.ready_link(link.key)
            }
            Step::ChangeLink(link) => self.route.change_link(link, &self.links),
            Step::RemoveLink(key) => {
                self.route.remove_link(*key, &self.links)?;
                self.links.indexes.remove(&link_name(*key));
                Ok(())
            }
            Step::SetNextHop(id, hop) => self.route.set_next_hop(*id, hop, &self.links),
            Step::RemoveNextHop(id) => self.route.remove_next_hop(*id),
            Step::SetRoute(route) => self.route.set_route(route),
            Step::RemoveRoute(route) => self.route.remove_route(route),
            Step::AddRule(rule) => self.route.add_rule(rule),
            Step::RemoveRule(rule) => self.route.remove_rule(rule),
        }
    }

    /// Sets a new one up, then brings it up.
    fn ready_link(&mut self, key: u32) -> Result<(), Refusal> {
        let (name, carries_probes_only) = (link_name(key), key & 0xff == 0);
        sysctl::set(&name, carries_probes_only);
        let index = nix::net::if_::if_nametoindex(name.as_str())
            .map_err(|errno| Refusal { what: "find an interface", source: errno.into() })?;
        self.links.indexes.insert(name, index);
        if !carries_probes_only {
            self.route.add_address(index)?;
        }
        self.route.raise_link(index)
    }

    /// Every path's interface of segment 0 has its packet socket, and knows where its packets come from.
    fn tap_probes(&mut self) {
        let keys = self.believed.links.keys().filter(|key| **key & 0xff == 0);
        for key in keys {
            let path = PathId(key >> 8);
            let Some(index) = self.links.indexes.get(&link_name(*key)) else { continue };
            if let Err(error) = self.probes.add(path, *index) {
                tracing::warn!(%path, "no packet socket: {error}");
            }
        }
        for (path, ends) in &self.inputs.ends {
            self.probes.set_origin(*path, ends.remote);
        }
        let paths = &self.paths;
        self.probes.retain(|path| paths.contains_key(&path));
        self.readings.retain(|path| paths.contains_key(&path));
        self.pending.retain(|path, _| paths.contains_key(path));
    }

    fn place_pending(&mut self) {
        let ready: Vec<PathId> = self
            .pending
            .keys()
            .filter(|path| self.inputs.ends.contains_key(path))
            .copied()
            .collect();
        for path in ready {
            let Some(sa) = self.pending.remove(&path) else { continue };
            if let Err(error) = self.install_outbound(sa) {
                tracing::warn!(%path, "an outbound association is not installed: {error}");
            }
        }
    }

    pub(super) fn install_inbound(&mut self, sa: &InboundSaSpec) -> Result<(), DataPlaneError> {
        one_lane(&sa.further_lanes)?;
        let (local, remote) = self.inbound_ends(sa.path)?;
        let id = StateId { path: sa.path, direction: Direction::In, spi: sa.spi };
        if self.believed.states.keys().any(|i| i.direction == id.direction && i.spi == id.spi) {
            return Err(DataPlaneError::SpiInUse(sa.spi));
        }
        self.xfrm.add_state(&NewState {
            id,
            local,
            remote,
            suite: sa.suite,
            key: &sa.key_material,
            esn: sa.esn,
            replay_window_packets: sa.replay_window_packets,
        })?;
        self.believed.states.insert(id, (local, remote));
        Ok(())
    }

    /// A peer whose address is not known yet is heard all the same: the kernel then tells where from.
    fn inbound_ends(&self, path: PathId) -> Result<(SocketAddr, SocketAddr), DataPlaneError> {
        if let Some(ends) = self.inputs.ends.get(&path) {
            return Ok((ends.local, ends.remote));
        }
        let of = self.paths.get(&path).ok_or(DataPlaneError::UnknownPath(path))?;
        let uplink = self.uplinks.get(&of.uplink).ok_or(DataPlaneError::UplinkDown(of.uplink))?;
        let local = local_address(&uplink.interface, of.family, None)
            .ok_or(DataPlaneError::UplinkDown(of.uplink))?;
        let any = match local {
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(_) => IpAddr::from([0; 16]),
        };
        Ok((SocketAddr::new(local, uplink.port), SocketAddr::new(any, 0)))
    }

    /// The new one first, then the former ones go: no packet finds none.
    pub(super) fn install_outbound(&mut self, sa: OutboundSaSpec) -> Result<(), DataPlaneError> {
        one_lane(&sa.further_lanes)?;
        if !self.paths.contains_key(&sa.path) {
            return Err(DataPlaneError::UnknownPath(sa.path));
        }
        let Some(ends) = self.inputs.ends.get(&sa.path).cloned() else {
            self.pending.insert(sa.path, sa);
            return Ok(());
        };
        let id = StateId { path: sa.path, direction: Direction::Out, spi: sa.spi };
        self.xfrm.add_state(&NewState {
            id,
            local: ends.local,
            remote: ends.remote,
            suite: sa.suite,
            key: &sa.key_material,
            esn: sa.esn,
            replay_window_packets: 0,
        })?;
        self.believed.states.insert(id, (ends.local, ends.remote));
        self.remove_states(|other| {
            other.path == id.path && other.direction == id.direction && other.spi != id.spi
        });
        Ok(())
    }

    pub(super) fn forget_pending(&mut self, path: PathId) {
        self.pending.remove(&path);
    }

    pub(super) fn remove_states(&mut self, which: impl Fn(&StateId) -> bool) {
        let gone: Vec<_> = self
            .believed
            .states
            .iter()
            .filter(|(id, _)| which(id))
            .map(|(i, a)| (*i, *a))
            .collect();
        let steps = gone.into_iter().map(|(id, at)| Step::RemoveState { id, at }).collect();
        // What fails is in the log, and tried again.
        let _ = self.carry_out_all(steps);
    }

    pub(super) fn has_outbound(&self, path: PathId) -> bool {
        self.believed.states.keys().any(|id| id.path == path && id.direction == Direction::Out)
    }

    /// A dump of the associations, unless the last one is new enough.
    pub(super) fn read(&mut self, at_least_now: bool) {
        let now = Instant::now();
        if !at_least_now && self.readings.is_fresh(now) {
            return;
        }
        match self.xfrm.states() {
            Ok(states) => self.readings.take(states, now),
            Err(error) => tracing::debug!("{error}: {}", error.source),
        }
    }
}

fn describe(step: &Step) -> String {
    match step {
        Step::LoadScript(_) => "load the nftables table".to_owned(),
        other => format!("{other:?}"),
    }
}

/// One association of a direction is on one processor at a time, but which one the kernel decides for each packet.
fn one_lane(further: &[KeyMaterial]) -> Result<(), DataPlaneError> {
    if further.is_empty() {
        return Ok(());
    }
    Err(DataPlaneError::Sa { fault: "the kernel driver has one lane".into() })
}
