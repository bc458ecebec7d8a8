//! Where peers really are: between the virtual addresses that quinn uses and uplinks with real addresses.
//!
//! A source becomes a peer's only by what was authenticated elsewhere (`learn`, `set_candidates`): the mapping decides
//! where replies go, never who is believed; that is TLS's and ESP's part.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hawser_edge_core::id::{EdgeId, UplinkId};

use super::long_header::{LongHeader, is_handshake};
use super::lru::Lru;
use super::virtual_address::VirtualPeer;

/// One of our uplinks and an address beyond it.
pub type RealAddress = (UplinkId, SocketAddr);

/// The most copies of one datagram.
pub const MAX_COPIES: usize = 8;
/// Unknown sources that are told apart. Above it the least recently seen is forgotten: if it is alive, its connection
/// migrates to a new provisional address.
const MAX_PROVISIONAL: usize = 1024;
/// Addresses of a peer that were authenticated but are not among its candidates.
const MAX_LEARNED: usize = 8;
/// Shorter source connection IDs do not tell handshakes apart. Ours have 8.
const MIN_ID_BYTES: usize = 8;

/// Thread-safe; every call is short.
#[derive(Debug)]
pub struct PeerRoutes {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    peers: BTreeMap<EdgeId, Peer>,
    owners: BTreeMap<RealAddress, EdgeId>,
    /// Unknown sources.
    sources: Lru<RealAddress, u32>,
    /// Handshakes that others began, by the client's connection ID: copies come by several ways and must look like one.
    handshakes: Lru<[u8; MIN_ID_BYTES], u32>,
    /// Where replies to a provisional address go: to where its first datagram came from, and nowhere else, so that a
    /// forged source gets no more than QUIC's limit of three times what was sent (RFC 9000 section 8.1).
    replies: Lru<u32, RealAddress>,
    next_provisional: u32,
}

#[derive(Debug, Default)]
struct Peer {
    candidates: Vec<RealAddress>,
    learned: VecDeque<RealAddress>,
    best: Option<RealAddress>,
    focus: Option<usize>,
    /// The one way that is known to work in both directions, until probes know better.
    pinned: Option<RealAddress>,
}

impl Peer {
    fn owns(&self, real: RealAddress) -> bool {
        self.candidates.contains(&real) || self.learned.contains(&real) || self.best == Some(real)
    }

    /// The focus, as an address.
    fn focused(&self) -> Option<RealAddress> {
        let all = self.all();
        let index = self.focus?.checked_rem(all.len())?;
        all.get(index).copied()
    }

    /// Best first, then what was authenticated last, then the candidates in their order; each once.
    fn all(&self) -> Vec<RealAddress> {
        let mut all = Vec::with_capacity(MAX_COPIES);
        for &real in self.best.iter().chain(&self.learned).chain(&self.candidates) {
            if all.len() < MAX_COPIES && !all.contains(&real) {
                all.push(real);
            }
        }
        all
    }
}

impl Default for PeerRoutes {
    fn default() -> Self {
        PeerRoutes::new()
    }
}

impl PeerRoutes {
    /// Knows nobody.
    pub fn new() -> Self {
        PeerRoutes {
            state: Mutex::new(State {
                peers: BTreeMap::new(),
                owners: BTreeMap::new(),
                sources: Lru::new(MAX_PROVISIONAL),
                handshakes: Lru::new(MAX_PROVISIONAL),
                replies: Lru::new(MAX_PROVISIONAL),
                next_provisional: 0,
            }),
        }
    }

    /// Replaces where the peer may be, in order of preference. All of them that fit into [`MAX_COPIES`] get a copy of
    /// each datagram while no best way is set, and of each datagram of a handshake.
    pub fn set_candidates(&self, edge: EdgeId, candidates: Vec<RealAddress>) {
        let mut state = self.lock();
        let peer = state.peers.entry(edge).or_default();
        let old = std::mem::replace(&mut peer.candidates, candidates);
        state.update_owners(edge, &old);
    }

    /// The best live way to the peer, from probes. `None`: none lives, every candidate gets a copy.
    pub fn set_best(&self, edge: EdgeId, best: Option<RealAddress>) {
        let mut state = self.lock();
        let peer = state.peers.entry(edge).or_default();
        let old = std::mem::replace(&mut peer.best, best);
        if best.is_some() {
            peer.pinned = None;
        }
        state.update_owners(edge, old.as_slice());
    }

    /// The peer is at that address: something from there was authenticated (a probe in the path, a handshake).
    pub fn learn(&self, edge: EdgeId, uplink: UplinkId, address: SocketAddr) {
        let real = (uplink, address);
        let mut state = self.lock();
        for (_, other) in state.peers.iter_mut().filter(|(id, _)| **id != edge) {
            other.learned.retain(|known| *known != real);
        }
        let peer = state.peers.entry(edge).or_default();
        peer.learned.retain(|known| *known != real);
        peer.learned.push_front(real);
        let old: Vec<RealAddress> =
            peer.learned.split_off(MAX_LEARNED.min(peer.learned.len())).into();
        state.owners.insert(real, edge);
        state.update_owners(edge, &old);
    }

    /// Forgets a peer and its addresses.
    pub fn forget(&self, edge: EdgeId) {
        let mut state = self.lock();
        state.peers.remove(&edge);
        state.owners.retain(|_, owner| *owner != edge);
    }

    /// Is there anywhere to send a first datagram to?
    pub fn has_candidates(&self, edge: EdgeId) -> bool {
        self.lock().peers.get(&edge).is_some_and(|peer| !peer.all().is_empty())
    }

    /// Handshakes with the peer go to one of its addresses only (counted modulo their number), or to all again. The
    /// acceptor answers the copy that comes first; where the way back of just that one is dead, only this helps.
    pub(super) fn set_focus(&self, edge: EdgeId, focus: Option<usize>) {
        let mut state = self.lock();
        let peer = state.peers.entry(edge).or_default();
        (peer.focus, peer.pinned) = (focus, None);
    }

    /// A handshake has come about: while no best way is set, its focus stays in use. A copy by another way could draw
    /// the acceptor's answers to where they are lost.
    pub(super) fn keep_focus(&self, edge: EdgeId) {
        let mut state = self.lock();
        let peer = state.peers.entry(edge).or_default();
        peer.pinned = peer.focused();
        peer.focus = None;
    }

    /// Whom quinn shall see as the sender of a datagram. `issued` tells our own connection IDs.
    pub(super) fn classify(
        &self,
        from: RealAddress,
        datagram: &[u8],
        issued: impl Fn(&[u8]) -> bool,
    ) -> VirtualPeer {
        let mut state = self.lock();
        if let Some(handshake) = LongHeader::parse(datagram)
            && let Some(id) = handshake.source.first_chunk::<MIN_ID_BYTES>()
        {
            if let Some(n) = state.handshakes.get(id) {
                return VirtualPeer::Provisional(n);
            }
            // A client's first: whatever is known of the address, the reply goes back to just there. It may have been
            // another peer's before.
            if handshake.initial && !issued(handshake.destination) {
                let n = state.new_provisional(from);
                state.handshakes.insert(*id, n);
                return VirtualPeer::Provisional(n);
            }
        }
        if let Some(&edge) = state.owners.get(&from) {
            return VirtualPeer::Edge(edge);
        }
        let n = match state.sources.get(&from) {
            Some(n) if state.replies.get(&n).is_some() => n,
            _ => state.new_provisional(from),
        };
        VirtualPeer::Provisional(n)
    }

    /// Where a datagram goes; empty if that is not known.
    pub(super) fn destinations(&self, to: VirtualPeer, datagram: &[u8]) -> Vec<RealAddress> {
        let mut state = self.lock();
        let edge = match to {
            VirtualPeer::Provisional(n) => return state.replies.get(&n).into_iter().collect(),
            VirtualPeer::Edge(edge) => edge,
        };
        let Some(peer) = state.peers.get(&edge) else { return Vec::new() };
        let one = match is_handshake(datagram) {
            true => peer.focused(),
            false => peer.best.or(peer.pinned),
        };
        one.map_or_else(|| peer.all(), |one| vec![one])
    }

    /// The real address behind a provisional one.
    pub(super) fn real_of(&self, peer: VirtualPeer) -> Option<RealAddress> {
        match peer {
            VirtualPeer::Provisional(n) => self.lock().replies.get(&n),
            VirtualPeer::Edge(_) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No caller panics while it holds the lock half way through a change that others would mind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new_provisional(&mut self, from: RealAddress) -> u32 {
        let n = self.next_provisional;
        self.next_provisional = n.wrapping_add(1);
        self.replies.insert(n, from);
        self.sources.insert(from, n);
        n
    }

    /// Makes `owners` true again after addresses of a peer have come, or `old` ones gone.
    fn update_owners(&mut self, edge: EdgeId, old: &[RealAddress]) {
        let Some(peer) = self.peers.get(&edge) else { return };
        for real in old {
            if !peer.owns(*real) && self.owners.get(real) == Some(&edge) {
                self.owners.remove(real);
            }
        }
        for &real in peer.candidates.iter().chain(&peer.best) {
            self.owners.insert(real, edge);
        }
    }
}
