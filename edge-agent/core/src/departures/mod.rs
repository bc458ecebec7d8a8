//! What a generation drops while its peers may still use it: it goes on receiving until they have left it.
//!
//! The ends of a tunnel get a generation at different moments. A path, or a segment, that the new one has no more is
//! therefore not gone at once: its uplink, its keys and its LANs stay in place ([`Departures::overlay`]), the peer is told,
//! and what this edge sends goes elsewhere first. It ends [`DRAIN`] after the peer has dropped it too, and in any case
//! after [`LINGER`]. A generation that has it again within that time takes it up as it is.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;

use crate::config::{EdgeState, Lan, Path, Route, Tunnel, Uplink};
use crate::id::{EdgeId, PathId, SegmentId, TunnelId, UplinkId};
use crate::policy;
use crate::reconcile::MAX_UPLINKS;
use crate::time::Micros;

pub use crate::keys::DRAIN;

/// The longest that something departs. Peers are told within a round trip over their session, and again by the digests of
/// other paths; one whose session is just being renewed is told within [`crate::keys::MAX_RETRY`] and a dial. A peer that
/// can't be told in this time is cut off, and has its own probes to see it by.
pub const LINGER: Duration = Duration::from_secs(30);

/// Paths and segments that the generation in force has no more.
#[derive(Debug, Clone, Default)]
pub struct Departures {
    paths: BTreeMap<PathId, Departing>,
    segments: BTreeMap<SegmentId, DepartingSegment>,
}

#[derive(Debug, Clone)]
struct Departing {
    /// As it was, without its paths.
    tunnel: Tunnel,
    path: Path,
    uplink: Option<Uplink>,
    until: Micros,
    /// The peer has dropped it too.
    peer_left: bool,
}

#[derive(Debug, Clone)]
struct DepartingSegment {
    name: String,
    lans: Vec<Lan>,
    prefixes: Vec<IpNet>,
    /// What each peer may originate in it.
    sources: BTreeMap<TunnelId, Vec<IpNet>>,
    until: Micros,
}

impl Departures {
    /// `next` takes the place of what was in force, [overlay](Self::overlay) included. What it has not departs, what it has
    /// again is back. Returned: paths that must go at once, for there is no room for them.
    pub fn turn_over(
        &mut self,
        before: &EdgeState,
        next: &EdgeState,
        now: Micros,
    ) -> BTreeSet<PathId> {
        let mut old = std::mem::take(&mut self.paths);
        let kept: BTreeSet<PathId> = next.paths().map(|(_, path)| path.id).collect();
        let mut refused = BTreeSet::new();
        for (tunnel, path) in before.paths().filter(|(_, path)| !kept.contains(&path.id)) {
            let departing = old.remove(&path.id).unwrap_or_else(|| Departing {
                tunnel: Tunnel { paths: BTreeMap::new(), ..tunnel.clone() },
                path: *path,
                uplink: before.uplinks.get(&path.local_uplink).cloned(),
                until: now + LINGER,
                peer_left: false,
            });
            if self.has_room(next, &departing) {
                self.paths.insert(path.id, departing);
            } else {
                refused.insert(path.id);
            }
        }
        self.turn_segments_over(before, next, now);
        refused
    }

    fn turn_segments_over(&mut self, before: &EdgeState, next: &EdgeState, now: Micros) {
        let mut old = std::mem::take(&mut self.segments);
        for (&id, name) in before.segments.iter().filter(|(id, _)| !next.segments.contains_key(id))
        {
            let departing =
                old.remove(&id).unwrap_or_else(|| DepartingSegment::of(before, id, name, now));
            self.segments.insert(id, departing);
        }
    }

    /// Whether a path can go on beside the next generation.
    fn has_room(&self, next: &EdgeState, departing: &Departing) -> bool {
        let tunnel = &departing.tunnel;
        // One tunnel for each peer, one peer for each tunnel.
        let same = |t: &Tunnel| (t.id == tunnel.id) == (t.peer_edge_id == tunnel.peer_edge_id);
        let beside = self.paths.values().filter(|d| d.tunnel.id == tunnel.id).count();
        let paths = next.tunnels.get(&tunnel.id).map_or(0, |t| t.paths.len()) + beside;
        let uplink = departing.path.local_uplink;
        let known = next.uplinks.contains_key(&uplink) || self.has_uplink(uplink, next);
        let uplinks = next.uplinks.len() + self.uplinks(next).count();
        next.tunnels.values().all(same)
            && paths < policy::CANDIDATES_MAX
            && (known || uplinks < MAX_UPLINKS)
    }

    /// Of departing paths, as far as nothing else of the generation has their interface.
    fn uplinks<'a>(&'a self, next: &'a EdgeState) -> impl Iterator<Item = &'a Uplink> {
        let mut seen = BTreeSet::new();
        self.paths.values().filter_map(|d| d.uplink.as_ref()).filter(move |uplink| {
            let taken = next.uplinks.values().any(|u| u.interface == uplink.interface)
                || next.lans.iter().any(|lan| lan.interface == uplink.interface);
            !taken && !next.uplinks.contains_key(&uplink.id) && seen.insert(uplink.id)
        })
    }

    /// The generation, and what departs beside it. A path whose interface is another uplink's now has no uplink any more: it
    /// receives by that one's socket.
    pub fn overlay(&self, next: &EdgeState) -> EdgeState {
        let mut state = next.clone();
        state.uplinks.extend(self.uplinks(next).map(|uplink| (uplink.id, uplink.clone())));
        for departing in self.paths.values() {
            let tunnel = state
                .tunnels
                .entry(departing.tunnel.id)
                .or_insert_with(|| departing.tunnel.clone());
            tunnel.paths.entry(departing.path.id).or_insert(departing.path);
            let remote = departing.path.remote_uplink;
            if let Some(uplink) = departing.tunnel.peer_uplinks.get(&remote) {
                tunnel.peer_uplinks.entry(remote).or_insert_with(|| uplink.clone());
            }
        }
        for (&id, segment) in &self.segments {
            segment.add_to(&mut state, id, next);
        }
        state
    }

    /// The peer's own word: the paths that its generation has.
    pub fn peer_has(&mut self, peer: EdgeId, paths: &BTreeSet<PathId>, now: Micros) {
        let of_peer = self.paths.iter_mut().filter(|(_, d)| d.tunnel.peer_edge_id == peer);
        for (id, departing) in of_peer {
            if !departing.peer_left && !paths.contains(id) {
                departing.peer_left = true;
                departing.until = departing.until.min(now + DRAIN);
            }
        }
    }

    /// Ends what is due; returned: whether anything ended.
    pub fn handle_timeout(&mut self, now: Micros) -> bool {
        let before = self.paths.len() + self.segments.len();
        self.paths.retain(|_, departing| departing.until > now);
        self.segments.retain(|_, segment| segment.until > now);
        self.paths.len() + self.segments.len() < before
    }

    /// When something ends.
    pub fn next_deadline(&self) -> Option<Micros> {
        let paths = self.paths.values().map(|departing| departing.until);
        paths.chain(self.segments.values().map(|segment| segment.until)).min()
    }

    pub fn has_path(&self, id: PathId) -> bool {
        self.paths.contains_key(&id)
    }

    /// Neither end has it any more: what is still under way arrives.
    pub fn is_drained(&self, id: PathId) -> bool {
        self.paths.get(&id).is_some_and(|departing| departing.peer_left)
    }

    pub fn has_segment(&self, id: SegmentId) -> bool {
        self.segments.contains_key(&id)
    }

    pub fn paths(&self) -> impl Iterator<Item = PathId> {
        self.paths.keys().copied()
    }

    pub fn segments(&self) -> impl Iterator<Item = SegmentId> {
        self.segments.keys().copied()
    }

    /// An uplink of departing paths only, given the generation in force.
    pub fn has_uplink(&self, id: UplinkId, next: &EdgeState) -> bool {
        self.uplinks(next).any(|uplink| uplink.id == id)
    }
}

impl DepartingSegment {
    fn of(before: &EdgeState, id: SegmentId, name: &str, now: Micros) -> Self {
        let sources = before.tunnels.values().map(|tunnel| {
            let of_segment = tunnel.peer_sources.iter().filter(|(segment, _)| *segment == id);
            (tunnel.id, of_segment.map(|(_, prefix)| *prefix).collect())
        });
        DepartingSegment {
            name: name.to_owned(),
            lans: before.lans.iter().filter(|lan| lan.segment == id).cloned().collect(),
            prefixes: before.routes.iter().filter(|r| r.segment == id).map(|r| r.prefix).collect(),
            sources: sources.collect(),
            until: now + LINGER,
        }
    }

    /// It receives, and sends nothing: its prefixes are guarded, and lead nowhere. A LAN that is in another segment now is
    /// that one's.
    fn add_to(&self, state: &mut EdgeState, id: SegmentId, next: &EdgeState) {
        state.segments.insert(id, self.name.clone());
        let free = |lan: &&Lan| next.lans.iter().all(|other| other.device() != lan.device());
        state.lans.extend(self.lans.iter().filter(free).cloned());
        let guarded =
            self.prefixes.iter().map(|&prefix| Route { segment: id, prefix, next_hops: vec![] });
        state.routes.extend(guarded);
        for (tunnel, sources) in &self.sources {
            if let Some(tunnel) = state.tunnels.get_mut(tunnel) {
                tunnel.peer_sources.retain(|(segment, _)| *segment != id);
                tunnel.peer_sources.extend(sources.iter().map(|&prefix| (id, prefix)));
            }
        }
    }
}
