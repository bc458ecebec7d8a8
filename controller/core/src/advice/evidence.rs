//! Who suffers, and what that says of hubs, shared uplinks and providers.
//!
//! In this order, each explaining away what the next would otherwise count: a hub whose spokes suffer towards it alone; an
//! uplink whose every peer suffers; a provider of many uplinks. An edge that suffers on all of its providers says nothing of
//! any: its own power or line is the likelier cause.

use std::collections::{BTreeMap, BTreeSet};

use super::constants::{SHARED_UPLINK_DOUBT, SHARED_UPLINK_PEERS, SHARED_UPLINK_SHARE};
use super::map::FleetMap;
use super::track::Health;
use super::{Provider, Subject};
use crate::id::{EdgeId, PathId, TunnelId, UplinkId};

/// Signs for one subject.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Signs {
    /// Sites that suffer.
    pub bad: u32,
    /// Sites that could.
    pub of: u32,
    /// Edges that suffer.
    pub victims: BTreeSet<EdgeId>,
    /// Share that suffers of what is like it, but not it.
    pub others: f64,
    /// It could be told apart from everything else that it could be.
    pub distinct: bool,
}

impl Signs {
    pub fn share(&self) -> f64 {
        if self.of == 0 { 0.0 } else { f64::from(self.bad) / f64::from(self.of) }
    }
}

/// One look at everything.
pub(super) struct Look<'a> {
    map: &'a FleetMap,
    health: &'a BTreeMap<PathId, Health>,
}

impl<'a> Look<'a> {
    pub fn new(map: &'a FleetMap, health: &'a BTreeMap<PathId, Health>) -> Self {
        Self { map, health }
    }

    pub fn path(&self, path: PathId) -> Health {
        self.health.get(&path).copied().unwrap_or(Health::Unknown)
    }

    /// Bad: on every path that is known.
    pub fn tunnel(&self, id: TunnelId) -> Health {
        let Some(tunnel) = self.map.tunnels.get(&id) else { return Health::Unknown };
        let (good, bad) = self.count(tunnel.paths.iter().copied(), &BTreeSet::new());
        match (good, bad) {
            (0, 0) => Health::Unknown,
            (0, _) => Health::Bad,
            _ => Health::Good,
        }
    }

    /// Hubs: edges whose peers suffer towards them, and towards others do not.
    pub fn hubs(&self) -> BTreeMap<Subject, Signs> {
        let tunnels: BTreeMap<TunnelId, Health> =
            self.map.tunnels.keys().map(|&id| (id, self.tunnel(id))).collect();
        let mut by_edge: BTreeMap<EdgeId, Share> = BTreeMap::new();
        for (id, health) in &tunnels {
            for edge in self.map.tunnels[id].edges {
                by_edge.entry(edge).or_default().add(*health);
            }
        }
        let mut found = BTreeMap::new();
        for (&edge, node) in self.map.edges.iter().filter(|(edge, _)| self.map.hubs.contains(edge))
        {
            let mut tally = Tally::default();
            let mut others = Share::default();
            for id in &node.tunnels {
                let here = tunnels[id];
                let peer = self.map.tunnels[id].other(edge);
                let (Some(of_peer), Some(at)) = (by_edge.get(&peer), self.map.edges.get(&peer))
                else {
                    continue;
                };
                let elsewhere = of_peer.without(here);
                // A peer that reaches nobody says nothing of this edge.
                if here == Health::Unknown || elsewhere.bad == elsewhere.of {
                    continue;
                }
                tally.add(&at.site, peer, here == Health::Bad);
                others.join(&elsewhere);
            }
            if tally.sites() > 1 {
                found.insert(Subject::Hub(edge), tally.signs(others.value(), true));
            }
        }
        found
    }

    /// Uplinks that many edges reach, but for what is explained already.
    pub fn shared_uplinks(&self, explained: &BTreeSet<PathId>) -> BTreeMap<Subject, Signs> {
        let uplinks = self.uplinks(explained);
        let mut found: BTreeMap<UplinkId, (Signs, Option<&Provider>, EdgeId)> = BTreeMap::new();
        for (&id, wan) in &self.map.uplinks {
            if (wan.paths.len() as u32) < SHARED_UPLINK_PEERS {
                continue;
            }
            let mut tally = Tally::default();
            let mut others = Share::default();
            for path in wan.paths.iter().filter(|path| !explained.contains(path)) {
                let (peer, far) = self.map.paths[path].far_end(id);
                let here = self.path(*path);
                let Some(node) = self.map.edges.get(&peer) else { continue };
                if here == Health::Unknown {
                    continue;
                }
                // Two families of one pair of uplinks are one sign: Tally takes each site once.
                tally.add(&node.site, peer, here == Health::Bad);
                let elsewhere = node.uplinks.iter().filter(|uplink| **uplink != far);
                elsewhere.for_each(|uplink| others.add(of(&uplinks, *uplink)));
            }
            if tally.sites() >= SHARED_UPLINK_PEERS {
                let signs = tally.signs(others.value(), false);
                found.insert(id, (signs, wan.provider.as_ref(), wan.edge));
            }
        }
        let distinct = |signs: &Signs, provider: Option<&Provider>, edge: EdgeId| {
            let alike = found.values().filter(|(_, p, e)| *e != edge && *p == provider);
            let doubted = provider.is_some()
                && alike.into_iter().any(|(signs, ..)| signs.share() > SHARED_UPLINK_DOUBT);
            signs.share() >= SHARED_UPLINK_SHARE && !doubted
        };
        let judged: Vec<(UplinkId, bool)> =
            found.iter().map(|(id, (s, p, e))| (*id, distinct(s, *p, *e))).collect();
        let mut result = BTreeMap::new();
        for (id, distinct) in judged {
            if let Some((signs, ..)) = found.remove(&id) {
                result.insert(Subject::Uplink(id), Signs { distinct, ..signs });
            }
        }
        result
    }

    /// Providers, but for what is explained already.
    pub fn providers(&self, explained: &BTreeSet<PathId>) -> BTreeMap<Subject, Signs> {
        let uplinks = self.uplinks(explained);
        let mut tallies: BTreeMap<&Provider, Tally> = BTreeMap::new();
        for (&edge, node) in &self.map.edges {
            let units: Vec<(&Provider, Health)> = node
                .uplinks
                .iter()
                .filter_map(|id| {
                    let provider = self.map.uplinks.get(id)?.provider.as_ref()?;
                    Some((provider, of(&uplinks, *id)))
                })
                .filter(|(_, health)| *health != Health::Unknown)
                .collect();
            let providers: BTreeSet<&Provider> = units.iter().map(|(p, _)| *p).collect();
            let all_bad = units.iter().all(|(_, health)| *health == Health::Bad);
            if providers.len() < 2 || all_bad {
                continue;
            }
            for (provider, health) in units {
                tallies.entry(provider).or_default().add(&node.site, edge, health == Health::Bad);
            }
        }
        let total = |except: &Provider| {
            let others = tallies.iter().filter(|(provider, _)| **provider != except);
            let (bad, of) =
                others.fold((0, 0), |(bad, of), (_, t)| (bad + t.bad(), of + t.sites()));
            if of == 0 { 0.0 } else { f64::from(bad) / f64::from(of) }
        };
        let signs = |(provider, tally): (&&Provider, &Tally)| {
            (Subject::Provider((*provider).clone()), tally.signs(total(provider), true))
        };
        tallies.iter().map(signs).collect()
    }

    /// Bad: on more than half of what is known and not explained otherwise.
    fn uplinks(&self, explained: &BTreeSet<PathId>) -> BTreeMap<UplinkId, Health> {
        let judged = self.map.uplinks.iter().map(|(&id, wan)| {
            let health = match self.count(wan.paths.iter().copied(), explained) {
                (0, 0) => Health::Unknown,
                (good, bad) if bad > good => Health::Bad,
                _ => Health::Good,
            };
            (id, health)
        });
        judged.collect()
    }

    fn count(
        &self,
        paths: impl Iterator<Item = PathId>,
        explained: &BTreeSet<PathId>,
    ) -> (u32, u32) {
        let known = paths.filter(|path| !explained.contains(path)).map(|path| self.path(path));
        known.fold((0, 0), |(good, bad), health| match health {
            Health::Unknown => (good, bad),
            Health::Good => (good + 1, bad),
            Health::Bad => (good, bad + 1),
        })
    }
}

fn of(uplinks: &BTreeMap<UplinkId, Health>, id: UplinkId) -> Health {
    uplinks.get(&id).copied().unwrap_or(Health::Unknown)
}

/// Each site counts once, and suffers if any of its edges does.
#[derive(Debug, Default)]
struct Tally<'a> {
    sites: BTreeMap<&'a str, bool>,
    victims: BTreeSet<EdgeId>,
}

impl<'a> Tally<'a> {
    fn add(&mut self, site: &'a str, edge: EdgeId, bad: bool) {
        *self.sites.entry(site).or_default() |= bad;
        if bad {
            self.victims.insert(edge);
        }
    }

    fn sites(&self) -> u32 {
        self.sites.len() as u32
    }

    fn bad(&self) -> u32 {
        self.sites.values().filter(|bad| **bad).count() as u32
    }

    fn signs(&self, others: f64, distinct: bool) -> Signs {
        let (bad, of) = (self.bad(), self.sites());
        Signs { bad, of, victims: self.victims.clone(), others, distinct }
    }
}

#[derive(Debug, Default)]
struct Share {
    bad: u32,
    of: u32,
}

impl Share {
    fn add(&mut self, health: Health) {
        self.of += u32::from(health != Health::Unknown);
        self.bad += u32::from(health == Health::Bad);
    }

    fn join(&mut self, other: &Share) {
        self.bad += other.bad;
        self.of += other.of;
    }

    fn without(&self, health: Health) -> Share {
        let bad = self.bad - u32::from(health == Health::Bad);
        Share { bad, of: self.of - u32::from(health != Health::Unknown) }
    }

    fn value(&self) -> f64 {
        if self.of == 0 { 0.0 } else { f64::from(self.bad) / f64::from(self.of) }
    }
}
