//! What the controller tells besides generations: runtime facts and advice.

use std::time::Duration;

use hawser_edge_core::id::{EdgeId, PathId, UplinkId};
use hawser_edge_core::select::Advice;
use hawser_proto::agent::v1 as wire;

use super::Engine;
use crate::peer::RevokedSerials;

impl Engine {
    /// All facts, merged: they replace those before.
    pub(super) fn on_facts(&mut self, facts: &wire::Facts) {
        self.fact_endpoints = facts
            .endpoints
            .iter()
            .map(|e| {
                let endpoints = e.endpoints.iter().filter_map(|text| text.parse().ok()).collect();
                (UplinkId(e.uplink_id), endpoints)
            })
            .collect();
        match RevokedSerials::from_hex(facts.revoked_serials.iter().map(String::as_str)) {
            Ok(serials) => self.peers.set_revoked(serials),
            Err(text) => {
                // Fail towards safety: the list that is in force stays.
                tracing::warn!(
                    serial = text,
                    "a revoked serial is not hexadecimal; list not taken"
                );
            }
        }
        let peers: Vec<EdgeId> = facts.endpoints.iter().map(|e| EdgeId(e.edge_id)).collect();
        for peer in peers {
            self.refresh_endpoints(peer);
        }
    }

    pub(super) fn on_advice(&mut self, advice: &wire::Advice) {
        let now = self.clock.now();
        let until = now + Duration::from_secs(u64::from(advice.ttl_s));
        let avoid = advice.avoid_edge_ids.iter().copied().map(EdgeId).collect();
        self.reach.handle_advice(avoid, until, advice.reason.clone(), now);
        let advice = Advice {
            avoid: advice.avoid_path_ids.iter().map(|&id| PathId(id)).collect(),
            until,
            reason: advice.reason.clone(),
        };
        for selection in self.selections.values_mut() {
            selection.selector.handle_advice(Some(advice.clone()), now);
        }
        let tunnels: Vec<_> = self.selections.keys().map(|(tunnel, _)| *tunnel).collect();
        for tunnel in tunnels {
            self.select_tunnel(tunnel, None, now);
        }
        self.drive_reach(now);
    }
}
