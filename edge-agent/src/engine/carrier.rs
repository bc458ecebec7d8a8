//! Carriers of our uplinks: away from one that is gone at once, and the peers are told at once too.

use std::collections::BTreeSet;

use hawser_edge_core::config::Lan;
use hawser_edge_core::id::{PathId, TunnelId, UplinkId};

use super::Engine;

impl Engine {
    /// The kernel spoke of links: what it says holds before any look at the whole of it.
    pub(super) fn on_carriers(&mut self) {
        let Some(edge) = self.edge.clone() else { return };
        let heard = self.carriers.borrow().clone();
        let mut changed = false;
        for uplink in edge.uplinks.values() {
            let Some(&up) = heard.get(&uplink.interface) else { continue };
            let Some(link) = self.seen.links.get_mut(&uplink.interface) else { continue };
            if link.running != up {
                link.running = up;
                changed = true;
                self.on_carrier(uplink.id, up);
            }
        }
        if changed {
            self.report_local_facts();
        }
        for device in edge.lans.iter().map(Lan::device) {
            if let (Some(&up), Some(link)) = (heard.get(&device), self.seen.links.get_mut(&device))
            {
                link.running = up;
            }
        }
        self.refresh_lans(&edge);
    }

    /// An uplink's carrier came or went.
    pub(super) fn on_carrier(&mut self, uplink: UplinkId, up: bool) {
        let now = self.clock.now();
        for selection in self.selections.values_mut() {
            selection.selector.handle_carrier(uplink, up, now);
        }
        let mut tunnels = BTreeSet::<TunnelId>::new();
        for path in self.paths.values_mut().filter(|p| p.config.local_uplink == uplink) {
            tunnels.insert(path.tunnel);
            path.session.suspect(now);
        }
        for &tunnel in &tunnels {
            self.select_tunnel(tunnel, None, now);
        }
        if !up {
            self.tell_peers(&tunnels);
        }
        self.gateway_carrier(uplink, up);
        let name = self.uplink_name(uplink);
        let (code, message) = if up {
            ("CARRIER_UP", "the uplink has carrier again")
        } else {
            ("CARRIER_DOWN", "the uplink lost carrier")
        };
        self.event(code, &name, message);
    }

    /// Every path of these tunnels that still has carrier says so now: the peers move their direction half a round trip
    /// later, and not a probe interval after that.
    pub(super) fn tell_peers(&mut self, tunnels: &BTreeSet<TunnelId>) {
        let alive: Vec<PathId> = self
            .paths
            .values()
            .filter(|p| tunnels.contains(&p.tunnel) && self.has_carrier(p.config.local_uplink))
            .map(|p| p.config.id)
            .collect();
        for id in alive {
            self.tell_now(id);
        }
    }

    /// False too for an interface that is not there.
    pub(super) fn has_carrier(&self, uplink: UplinkId) -> bool {
        let uplink = self.edge.as_ref().and_then(|edge| edge.uplinks.get(&uplink));
        let link = uplink.and_then(|uplink| self.seen.links.get(&uplink.interface));
        link.is_some_and(|link| link.running)
    }
}
