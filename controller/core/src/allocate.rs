//! Numbers, given once: whoever leaves the document and comes back gets the same, and nobody else ever does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, code};
use crate::graph::{Graph, paths};
use crate::id::{ClassId, EdgeId, PathId, SegmentId, TunnelId, UplinkId};
use crate::intent::{
    ClassName, Edge, EdgeName, Family, Fleet, SegmentName, TrafficClass, UplinkName,
};

/// Two edges, the lower ID first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EdgePair {
    low: EdgeId,
    high: EdgeId,
}

impl EdgePair {
    pub fn new(a: EdgeId, b: EdgeId) -> Self {
        Self { low: a.min(b), high: a.max(b) }
    }
}

/// Two uplinks, the lower ID first, and the family between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathKey {
    low: UplinkId,
    high: UplinkId,
    family: Family,
}

impl PathKey {
    pub fn new(a: UplinkId, b: UplinkId, family: Family) -> Self {
        Self { low: a.min(b), high: a.max(b), family }
    }
}

/// A stored key that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no key of an allocation")]
pub struct BadKey(String);

impl From<EdgePair> for String {
    fn from(pair: EdgePair) -> String {
        format!("{}-{}", pair.low, pair.high)
    }
}

impl TryFrom<String> for EdgePair {
    type Error = BadKey;

    fn try_from(text: String) -> Result<Self, BadKey> {
        match numbers(&text).as_deref() {
            Some([a, b]) if a < b => Ok(Self { low: EdgeId(*a), high: EdgeId(*b) }),
            _ => Err(BadKey(text)),
        }
    }
}

impl From<PathKey> for String {
    fn from(key: PathKey) -> String {
        let family = match key.family {
            Family::Ipv4 => 4,
            Family::Ipv6 => 6,
        };
        format!("{}-{}-{family}", key.low, key.high)
    }
}

impl TryFrom<String> for PathKey {
    type Error = BadKey;

    fn try_from(text: String) -> Result<Self, BadKey> {
        let (low, high, family) = match numbers(&text).as_deref() {
            Some([a, b, 4]) if a < b => (*a, *b, Family::Ipv4),
            Some([a, b, 6]) if a < b => (*a, *b, Family::Ipv6),
            _ => return Err(BadKey(text)),
        };
        Ok(Self { low: UplinkId(low), high: UplinkId(high), family })
    }
}

fn numbers(text: &str) -> Option<Vec<u32>> {
    text.split('-').map(|part| part.parse().ok()).collect()
}

/// Numbers of one kind, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "K: Deserialize<'de> + Ord"))]
struct Table<K: Ord> {
    next: u32,
    ids: BTreeMap<K, u32>,
}

impl<K: Ord> Default for Table<K> {
    fn default() -> Self {
        Self { next: 1, ids: BTreeMap::new() }
    }
}

impl<K: Ord> Table<K> {
    fn with(key: K) -> Self {
        Self { next: 2, ids: BTreeMap::from([(key, 1)]) }
    }

    fn give(&mut self, key: K, kind: &'static str, max: u32) -> Result<u32, Exhausted> {
        if let Some(id) = self.ids.get(&key) {
            return Ok(*id);
        }
        if self.next > max {
            return Err(Exhausted { kind, max });
        }
        let id = self.next;
        self.next = id.saturating_add(1);
        self.ids.insert(key, id);
        Ok(id)
    }

    fn is_sound(&self) -> bool {
        let distinct: BTreeSet<u32> = self.ids.values().copied().collect();
        distinct.len() == self.ids.len()
            && !distinct.contains(&0)
            && distinct.last().is_none_or(|last| *last < self.next)
    }
}

/// All numbers ever given in a fleet. Stored by the controller beside the revisions; only ever grows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allocations {
    version: u32,
    edges: Table<EdgeName>,
    /// `edge/uplink`.
    uplinks: Table<String>,
    segments: Table<SegmentName>,
    classes: Table<ClassName>,
    tunnels: Table<EdgePair>,
    paths: Table<PathKey>,
}

const VERSION: u32 = 1;

impl Default for Allocations {
    fn default() -> Self {
        Self {
            version: VERSION,
            edges: Table::default(),
            uplinks: Table::default(),
            segments: Table::with(SegmentName::new(crate::decode::MAIN_SEGMENT)),
            classes: Table::with(ClassName::new(TrafficClass::DEFAULT)),
            tunnels: Table::default(),
            paths: Table::default(),
        }
    }
}

/// A kind of number is used up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("all {max} numbers for {kind} are given")]
pub struct Exhausted {
    pub kind: &'static str,
    pub max: u32,
}

impl From<Exhausted> for Fault {
    fn from(exhausted: Exhausted) -> Self {
        Fault {
            code: code::NUMBERS_EXHAUSTED,
            path: String::new(),
            message: exhausted.to_string(),
            mend: "reuse names that existed before: they keep their numbers".to_owned(),
        }
    }
}

/// A number that [`allocate`] was not asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name} has no number; allocate first")]
pub struct NotAllocated {
    pub kind: &'static str,
    pub name: String,
}

/// Stored allocations that can't be what was stored.
#[derive(Debug, thiserror::Error)]
pub enum CorruptAllocations {
    #[error("the stored allocations can't be read")]
    Unreadable(#[from] serde_json::Error),
    #[error("the stored allocations are of version {0}; this controller knows {VERSION}")]
    Version(u32),
    #[error("two things have one number in the stored allocations")]
    Unsound,
}

impl Allocations {
    /// As JSON, for the store.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("keys are text, values are numbers")
    }

    /// From the store.
    ///
    /// # Errors
    /// What is not what [`Self::to_json`] wrote, in this version or at all.
    pub fn from_json(bytes: &[u8]) -> Result<Self, CorruptAllocations> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(CorruptAllocations::Version(version));
        }
        let found: Self = serde_json::from_slice(bytes)?;
        let sound = found.edges.is_sound()
            && found.uplinks.is_sound()
            && found.segments.is_sound()
            && found.classes.is_sound()
            && found.tunnels.is_sound()
            && found.paths.is_sound();
        if sound { Ok(found) } else { Err(CorruptAllocations::Unsound) }
    }

    pub fn edge(&self, name: &EdgeName) -> Result<EdgeId, NotAllocated> {
        self.edges.ids.get(name).map(|id| EdgeId(*id)).ok_or_else(|| missing("edge", name))
    }

    pub fn uplink(&self, edge: &EdgeName, uplink: &UplinkName) -> Result<UplinkId, NotAllocated> {
        let key = uplink_key(edge, uplink);
        self.uplinks.ids.get(&key).map(|id| UplinkId(*id)).ok_or_else(|| missing("uplink", &key))
    }

    pub fn segment(&self, name: &SegmentName) -> Result<SegmentId, NotAllocated> {
        self.segments.ids.get(name).map(|id| SegmentId(*id)).ok_or_else(|| missing("segment", name))
    }

    pub fn class(&self, name: &ClassName) -> Result<ClassId, NotAllocated> {
        let id = self.classes.ids.get(name).map(|id| ClassId(*id));
        id.ok_or_else(|| missing("traffic class", name))
    }

    pub fn tunnel(&self, pair: EdgePair) -> Result<TunnelId, NotAllocated> {
        let id = self.tunnels.ids.get(&pair).map(|id| TunnelId(*id));
        id.ok_or_else(|| missing("tunnel", &String::from(pair)))
    }

    pub fn path(&self, key: PathKey) -> Result<PathId, NotAllocated> {
        let id = self.paths.ids.get(&key).map(|id| PathId(*id));
        id.ok_or_else(|| missing("path", &String::from(key)))
    }
}

fn missing(kind: &'static str, name: &dyn fmt::Display) -> NotAllocated {
    NotAllocated { kind, name: name.to_string() }
}

fn uplink_key(edge: &EdgeName, uplink: &UplinkName) -> String {
    format!("{edge}/{uplink}")
}

/// Gives numbers to all that has none yet, in the order of names: so the order of the document says nothing.
///
/// # Errors
/// If a kind of number is used up. The allocations are then as they were.
pub fn allocate(fleet: &Fleet, allocations: &mut Allocations) -> Result<(), Exhausted> {
    let mut new = allocations.clone();
    let mut edges: Vec<&Edge> = fleet.sites.iter().flat_map(|site| &site.edges).collect();
    edges.sort_by_key(|edge| &edge.name);
    for edge in edges {
        new.edges.give(edge.name.clone(), "edges", EdgeId::MAX)?;
        let mut names: Vec<&UplinkName> = edge.uplinks.iter().map(|uplink| &uplink.name).collect();
        names.sort();
        for name in names {
            new.uplinks.give(uplink_key(&edge.name, name), "uplinks", UplinkId::MAX)?;
        }
    }
    let segments: BTreeSet<&SegmentName> = fleet.segments.iter().collect();
    for name in segments {
        new.segments.give(name.clone(), "segments", SegmentId::MAX)?;
    }
    let classes: BTreeSet<&ClassName> = fleet.traffic_classes.iter().map(|c| &c.name).collect();
    for name in classes {
        new.classes.give(name.clone(), "traffic classes", ClassId::MAX)?;
    }
    tunnels_and_paths(fleet, &mut new)?;
    *allocations = new;
    Ok(())
}

fn tunnels_and_paths(fleet: &Fleet, new: &mut Allocations) -> Result<(), Exhausted> {
    let edge_id = |new: &Allocations, name: &EdgeName| EdgeId(new.edges.ids[name]);
    let uplink_id = |new: &Allocations, edge: &Edge, index: usize| {
        UplinkId(new.uplinks.ids[&uplink_key(&edge.name, &edge.uplinks[index].name)])
    };
    let (mut pairs, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for &(a, b) in Graph::new(fleet).links.keys() {
        for of_a in &fleet.sites[a].edges {
            for of_b in &fleet.sites[b].edges {
                let ids = (edge_id(new, &of_a.name), edge_id(new, &of_b.name));
                pairs.insert(EdgePair::new(ids.0, ids.1));
                for (i, j, family) in paths(&fleet.transport_pairs, of_a, of_b) {
                    let ids = (uplink_id(new, of_a, i), uplink_id(new, of_b, j));
                    keys.insert(PathKey::new(ids.0, ids.1, family));
                }
            }
        }
    }
    for pair in pairs {
        new.tunnels.give(pair, "tunnels", TunnelId::MAX)?;
    }
    for key in keys {
        new.paths.give(key, "paths", PathId::MAX)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
