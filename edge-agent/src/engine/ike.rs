//! Tunnels with gateways that are not Hawser: what the IKE task must hold.

use hawser_edge_core::config::EdgeState;

use super::Engine;
use crate::ike::Wanted;

impl Engine {
    /// At a new generation, and when an uplink's addresses change.
    pub(super) fn refresh_ike(&self, edge: &EdgeState) {
        let wanted = edge.ike_tunnels.iter().map(|tunnel| {
            let first = tunnel.uplinks.first();
            let uplink = first.and_then(|id| edge.uplinks.get(id));
            let link = uplink.and_then(|uplink| self.seen.links.get(&uplink.interface));
            let addresses = link.map_or(&[][..], |link| link.addresses.as_slice());
            // Link-local ones reach no gateway.
            let addresses = addresses.iter().map(|prefix| prefix.addr()).filter(|a| match a {
                std::net::IpAddr::V6(v6) => !v6.is_unicast_link_local(),
                std::net::IpAddr::V4(_) => true,
            });
            Wanted { tunnel: tunnel.clone(), local: addresses.collect() }
        });
        self.ike.hold(wanted.collect());
    }
}
