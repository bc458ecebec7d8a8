//! Where peers are: what the intent, the controller and the peers say, and what packets prove.

use std::net::SocketAddr;

use hawser_edge_core::config::{EdgeState, Path, Tunnel, UplinkUse};
use hawser_edge_core::id::{EdgeId, PathId, UplinkId};
use hawser_edge_core::sla::Reach;
use hawser_edge_core::time::Micros;

use super::Engine;

impl Engine {
    /// Where a path's peer may be, best guess first: the intent, the controller's facts, the peer's own word.
    fn candidates_of(&self, tunnel: &Tunnel, path: &Path) -> Vec<SocketAddr> {
        let uplink = path.remote_uplink;
        let intent = tunnel.peer_uplinks.get(&uplink).map(|u| u.endpoints.as_slice());
        let learned = [&self.fact_endpoints, &self.hello_endpoints];
        let learned = learned.into_iter().filter_map(|known| known.get(&uplink)).flatten();
        let all = intent.unwrap_or_default().iter().chain(learned);
        let mut fitting: Vec<SocketAddr> = Vec::new();
        for &endpoint in all.filter(|e| e.is_ipv6() == path.ipv6) {
            if !fitting.contains(&endpoint) {
                fitting.push(endpoint);
            }
        }
        fitting
    }

    /// Tells the peer connection where the peer may be, and the paths that know no better where to send.
    pub(super) fn refresh_endpoints(&mut self, peer: EdgeId) {
        let Some(edge) = self.edge.clone() else { return };
        let mut ways: Vec<(UplinkId, SocketAddr)> = Vec::new();
        for tunnel in edge.tunnels.values().filter(|t| t.peer_edge_id == peer) {
            for path in tunnel.paths.values() {
                let candidates = self.candidates_of(tunnel, path);
                let open = self.may_carry_peer_connection(peer, path.id);
                for &endpoint in candidates.iter().filter(|_| open) {
                    if !ways.contains(&(path.local_uplink, endpoint)) {
                        ways.push((path.local_uplink, endpoint));
                    }
                }
                self.offer_remote(path.id, candidates);
            }
        }
        self.routes.set_candidates(peer, ways);
    }

    /// Copies of handshakes go over a path that rests only while no other one is up, and never over one that is silent.
    fn may_carry_peer_connection(&self, peer: EdgeId, id: PathId) -> bool {
        let normal = |id: PathId| self.pacer.usage(id) == UplinkUse::Normal;
        let mut of_peer = self.paths.values().filter(|p| p.peer == peer);
        let spared = of_peer.any(|p| p.reach == Reach::Up && normal(p.config.id));
        let silent = self.paths.get(&id).is_some_and(|p| p.silent);
        !silent && (normal(id) || !spared)
    }

    pub(super) fn refresh_all_endpoints(&mut self) {
        let peers: Vec<EdgeId> =
            self.edge.iter().flat_map(|e| e.tunnels.values().map(|t| t.peer_edge_id)).collect();
        for peer in peers {
            self.refresh_endpoints(peer);
        }
    }

    /// What a packet has proven beats what anybody says, while it works and until they say something else.
    fn offer_remote(&mut self, id: PathId, candidates: Vec<SocketAddr>) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        // Where it was found to be already: what others say first is no news then.
        let known = path.remote.is_some() && path.candidates.is_empty();
        let news = path.candidates != candidates && path.reach != Reach::Up && !known;
        let first = candidates.first().copied();
        path.candidates = candidates;
        if (path.remote.is_none() || news)
            && let Some(remote) = first
            && path.remote != Some(remote)
        {
            path.remote = Some(remote);
            path.tracker.set_current(Some(remote));
            self.dataplane.set_remote(id, Some(remote));
        }
    }

    /// An authenticated packet came from there: is it where we send to?
    pub(super) fn on_source(&mut self, id: PathId, from: SocketAddr, newest: bool) {
        let now = self.clock.now();
        let Some(path) = self.paths.get_mut(&id) else { return };
        let challenge = path.tracker.handle_packet(from, newest, now, rand::random);
        if let Some(challenge) = challenge {
            let inner = path.session.challenge(challenge.octets, now);
            if let Err(error) = self.dataplane.send_on_path(id, Some(challenge.to), &inner) {
                self.count(&format!("challenge_send_{}", error.code()));
            }
        }
    }

    pub(super) fn on_challenge_answer(
        &mut self,
        id: PathId,
        from: SocketAddr,
        octets: [u8; 8],
        now: Micros,
    ) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        match path.tracker.handle_answer(from, octets, now) {
            Ok(moved) => {
                path.remote = Some(moved.to);
                let (peer, uplink) = (path.peer, path.config.local_uplink);
                self.dataplane.set_remote(id, Some(moved.to));
                self.routes.learn(peer, uplink, moved.to);
                let was = moved.from.map_or("not known".to_owned(), |a| a.to_string());
                let message = format!("the peer proved its endpoint {} (was {was})", moved.to);
                self.event("ENDPOINT_MOVED", &self.path_name(id), &message);
                self.refresh_best(peer);
            }
            Err(refusal) => self.count(refusal.code()),
        }
    }

    /// The peer connection follows the best live path; one that rests, or that not both ends have, only if no other lives.
    pub(super) fn refresh_best(&mut self, peer: EdgeId) {
        let best = self
            .paths
            .values()
            .filter(|p| p.peer == peer && p.reach == Reach::Up)
            .filter_map(|p| {
                let rtt = p.monitor.health("", false).figures.rtt_us;
                let leaves = p.leaving.is_some();
                let usage = self.pacer.usage(p.config.id);
                Some((leaves, usage, rtt, p.config.local_uplink, p.remote?))
            })
            .min();
        self.routes.set_best(peer, best.map(|(_, _, _, uplink, remote)| (uplink, remote)));
    }

    pub(super) fn uplink_name(&self, id: UplinkId) -> String {
        let uplink = self.edge.as_ref().and_then(|e| e.uplinks.get(&id));
        uplink.map_or_else(|| format!("uplink {id}"), |u| u.name.clone())
    }
}

/// What this edge may tell others of where its uplinks are: their addresses, with the fabric port.
pub(super) fn own_endpoints(edge: &EdgeState, addresses: &[ipnet::IpNet]) -> Vec<SocketAddr> {
    addresses
        .iter()
        .map(ipnet::IpNet::addr)
        .filter(|a| match a {
            std::net::IpAddr::V4(a) => !a.is_link_local() && !a.is_loopback(),
            std::net::IpAddr::V6(a) => !a.is_unicast_link_local() && !a.is_loopback(),
        })
        .map(|a| SocketAddr::new(a, edge.fabric_port))
        .collect()
}
