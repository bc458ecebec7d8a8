//! Keys from the peer connections, into the data plane.

use hawser_edge_core::id::{EdgeId, PathId, TunnelId};
use hawser_edge_core::keys::SaTerms;

use super::{Engine, Timer};
use crate::dataplane::{DataPlaneError, InboundSaSpec, OutboundSaSpec};
use crate::peer::{HelloFacts, InstallFailed, PeerEvent};

impl Engine {
    /// In the order of arrival: an answer to the peer waits for each installation.
    pub(super) fn on_peer(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::InstallInbound { sa, done, .. } => {
                let _ = done.send(self.install_inbound(sa).map_err(failed));
            }
            PeerEvent::InstallOutbound { sa, done, .. } => {
                let _ = done.send(self.install_outbound(sa).map_err(failed));
            }
            PeerEvent::RetireInbound { spi, .. } => self.dataplane.remove_inbound(spi),
            PeerEvent::OutboundExhausted { path } => self.dataplane.remove_outbound(path),
            PeerEvent::Rekeyed { path, epoch, fresh_connection } => {
                self.rekeyed(path, epoch, fresh_connection);
            }
            PeerEvent::PeerUp { edge, opened_here, .. } => {
                self.peers_up.insert(edge);
                let how = if opened_here { "opened here" } else { "opened by the peer" };
                self.event("PEER_UP", &self.edge_name(edge), &format!("peer connection up, {how}"));
            }
            PeerEvent::PeerDown { edge, code, .. } => {
                self.peers_up.remove(&edge);
                let message = format!("peer connection lost ({code}); its keys stay in use");
                self.event("PEER_DOWN", &self.edge_name(edge), &message);
            }
            PeerEvent::PeerHello { edge, boot_id, facts, .. } => {
                self.reach.handle_session(edge, &boot_id);
                self.on_hello(edge, facts);
            }
            PeerEvent::PeerSeen { .. } => {}
            PeerEvent::PeerRevoked { edge, tunnel, paths } => {
                self.on_peer_revoked(edge, tunnel, &paths);
            }
            PeerEvent::RevocationList { list } => {
                if !self.control.revocation_list(list) {
                    self.count("revocation_lists_dropped");
                }
            }
            PeerEvent::Reachability { edge, message } => self.on_reachability(edge, &message),
            PeerEvent::Selections { edge, message } => self.on_peer_selections(edge, &message),
            PeerEvent::Pairing { edge, paths } => self.on_pairing(edge, paths),
            PeerEvent::KeyChanged { edge, old, new } => {
                let message = format!("the peer's key changed from {old} to {new}");
                self.event("PEER_KEY_CHANGED", &self.edge_name(edge), &message);
            }
            PeerEvent::PeerRefused { edge_name, from, code, detail } => {
                self.count(&format!("peer_refused_{code}"));
                let from = from.map(|(_, a)| a.to_string()).unwrap_or_default();
                let subject = edge_name.unwrap_or_else(|| from.clone());
                self.event("PEER_REFUSED", &subject, &format!("{code}: {detail} {from}"));
            }
            PeerEvent::KeyingRefused { path, code } => {
                self.count("keying_refused");
                self.event("KEYING_REFUSED", &self.path_name(path), &code);
            }
        }
    }

    fn install_inbound(&mut self, sa: InboundSaSpec) -> Result<(), DataPlaneError> {
        self.dataplane.install_inbound(sa)
    }

    fn install_outbound(&mut self, sa: OutboundSaSpec) -> Result<(), DataPlaneError> {
        let (path, suite) = (sa.path, sa.suite);
        let terms = SaTerms { suite, esn: sa.esn };
        self.dataplane.install_outbound(sa)?;
        let mut another = false;
        if let Some(runtime) = self.paths.get_mut(&path) {
            runtime.keyed = true;
            runtime.terms = Some(terms);
            runtime.sa_since = Some(self.clock.now());
            another = runtime.sealing.replace(suite).is_some_and(|was| was != suite);
            runtime.keyed_at.get_or_insert(self.clock.now());
            // Probes begin with the first keys.
            let deadline = runtime.next_deadline();
            self.timers.set(Timer::Path(path), deadline);
        }
        if another {
            self.refresh_pmtus();
        }
        Ok(())
    }

    /// Nothing is sent on the path until it has fresh ones; selection leaves it as one that is not there.
    pub(super) fn on_keys_lost(&mut self, id: PathId) {
        let Some(path) = self.paths.get_mut(&id).filter(|path| path.keyed) else { return };
        path.keyed = false;
        let tunnel = path.tunnel;
        let message = "somebody removed its security associations; fresh keys are asked for";
        self.event("KEYS_LOST", &self.path_name(id), message);
        if self.peers.rekey(id).is_err() {
            self.count("rekey_dropped");
        }
        self.select_tunnel(tunnel, Some(id), self.clock.now());
    }

    /// The device that was there is the peer no more: nothing is sent to it, and what it sends opens no SA. Inbound SAs
    /// were retired before.
    fn on_peer_revoked(&mut self, edge: EdgeId, tunnel: TunnelId, paths: &[PathId]) {
        let now = self.clock.now();
        for id in paths {
            self.dataplane.remove_outbound(*id);
            if let Some(path) = self.paths.get_mut(id) {
                path.lose_peer(&self.clock);
                // Selection must hear of it.
                self.timers.set(Timer::Path(*id), Some(now));
            }
        }
        let message = "its certificate was revoked: connection and keys are gone";
        self.event("PEER_REVOKED", &self.edge_name(edge), message);
        for id in paths {
            self.select_tunnel(tunnel, Some(*id), now);
        }
    }

    fn rekeyed(&mut self, id: PathId, epoch: u64, fresh_connection: bool) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        let wanted = self.edge.as_ref().and_then(|edge| edge.tunnels.get(&path.tunnel));
        if wanted.map(SaTerms::of) == path.terms {
            self.former_terms.remove(&id);
        }
        path.keyings += 1;
        if path.keyings > 1 {
            let how =
                if fresh_connection { "by a fresh handshake" } else { "on the same connection" };
            self.event("REKEYED", &self.path_name(id), &format!("new keys {how}, epoch {epoch}"));
        }
    }

    /// Both ends key every path by what is wanted now: no start of this agent need know what was before.
    pub(super) fn forget_former(&mut self) {
        if self.former.is_none() || !self.former_terms.is_empty() || self.applies_under_way > 0 {
            return;
        }
        let generations = self.control.generations();
        match (generations.applied_id(), &generations.former) {
            (Some(applied), Some(_)) => self.control.peers_settled(applied),
            _ => self.former = None,
        }
    }

    fn on_hello(&mut self, edge: EdgeId, facts: HelloFacts) {
        let changed = facts
            .uplink_mtu_bytes
            .iter()
            .any(|(uplink, mtu)| self.peer_mtus.insert(*uplink, *mtu) != Some(*mtu));
        self.hello_endpoints.extend(facts.endpoints);
        if changed {
            self.refresh_pmtus();
            self.refresh_table();
        }
        self.refresh_endpoints(edge);
    }
}

fn failed(error: DataPlaneError) -> InstallFailed {
    InstallFailed { code: error.code() }
}
