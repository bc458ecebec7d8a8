//! Tunnels under manual keys: what their keeper must hold.

use hawser_edge_core::config::EdgeState;
use hawser_edge_core::manual::{MIN_MTU_BYTES, Wanted};

use super::Engine;

impl Engine {
    /// At a new generation, and when an uplink's addresses change.
    pub(super) fn refresh_manual(&mut self, edge: &EdgeState) {
        let wanted = edge.manual_tunnels.iter().filter_map(|tunnel| {
            let uplink = edge.uplinks.get(&tunnel.uplink)?;
            let link = self.seen.links.get(&uplink.interface);
            let own = self.gateway_sources(edge, tunnel.uplink);
            let ipv6 = tunnel.peer_address.is_ipv6();
            Some(Wanted {
                tunnel: tunnel.clone(),
                local: own.into_iter().find(|own| own.is_ipv6() == ipv6),
                interface: uplink.interface.clone(),
                outer_mtu_bytes: link.map_or(MIN_MTU_BYTES, |link| link.mtu_bytes),
            })
        });
        self.manual.hold(wanted.collect());
    }
}
