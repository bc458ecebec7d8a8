//! Tunnels with gateways that are not Hawser: what the IKE task must hold.

use hawser_edge_core::config::{EdgeState, IkeTunnel};
use hawser_edge_core::ike::lanes;
use hawser_edge_core::ike::links::Link;

use super::Engine;
use crate::ike::Wanted;

impl Engine {
    /// At a new generation, and when an uplink's addresses change.
    pub(super) fn refresh_ike(&mut self, edge: &EdgeState) {
        self.refresh_gateways(edge);
        self.tell_charon();
        self.drive_gateways();
    }

    /// Which tunnels there must be, over which links.
    pub(super) fn tell_charon(&mut self) {
        let Some(edge) = self.edge.clone() else { return };
        // Until each has its first link, what an agent before this one left goes on.
        self.ike_begun |= self.gateways.values().all(|gateway| gateway.links.is_settled());
        if !self.ike_begun {
            return;
        }
        let wanted = edge.ike_tunnels.iter().filter_map(|tunnel| {
            let links = self.gateways.get(&tunnel.name).map(|gateway| &gateway.links);
            if links.is_some_and(|links| !links.is_settled()) {
                return None;
            }
            if let Some(link) = links.and_then(|links| links.held()) {
                let both = [Some(link), links.and_then(|links| links.spare())];
                return Some(
                    both.into_iter().flatten().filter_map(|link| over(tunnel, link)).collect(),
                );
            }
            // There is no choice; or no link can be used, and what ails the first one is told.
            let uplink = tunnel.uplinks.first()?;
            let local = self.gateway_sources(&edge, *uplink);
            let tunnel = lanes(tunnel).into_iter().next()?;
            Some(vec![Wanted { tunnel, local }])
        });
        self.ike.hold(wanted.flatten().collect());
    }
}

/// Over this link and no other.
fn over(tunnel: &IkeTunnel, link: &Link) -> Option<Wanted> {
    let lane = lane(tunnel, link)?;
    let tunnel =
        IkeTunnel { uplinks: vec![link.uplink], peer_addresses: vec![link.remote], ..lane };
    Some(Wanted { tunnel, local: link.local.into_iter().collect() })
}

/// The tunnel as charon knows it over this link: of a warm one, its part.
pub(super) fn lane(tunnel: &IkeTunnel, link: &Link) -> Option<IkeTunnel> {
    let fits = |lane: &IkeTunnel| {
        lane.uplinks.contains(&link.uplink) && lane.peer_addresses.contains(&link.remote)
    };
    lanes(tunnel).into_iter().find(fits)
}
