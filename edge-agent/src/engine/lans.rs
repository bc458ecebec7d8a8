//! Links of LANs: what is reached through one that has none is withdrawn.

use hawser_edge_core::config::{EdgeState, Lan};

use super::Engine;

impl Engine {
    /// Tells reachability which LANs are dark. Before the first look at the kernel none is.
    pub(super) fn refresh_lans(&mut self, edge: &EdgeState) {
        if self.seen.links.is_empty() {
            return;
        }
        let runs = |device: &String| self.seen.links.get(device).is_some_and(|link| link.running);
        let dark = edge.lans.iter().map(Lan::device).filter(|device| !runs(device)).collect();
        let now = self.clock.now();
        self.reach.handle_dark_lans(dark, now);
        self.drive_reach(now);
    }
}
