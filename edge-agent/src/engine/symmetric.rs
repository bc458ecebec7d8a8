//! Symmetric classes: the end with the lower edge ID says what it sends on, the other follows among equally good paths.

use hawser_edge_core::config::EdgeState;
use hawser_edge_core::id::{ClassId, EdgeId, PathId, TunnelId};
use hawser_proto::peer::v1::{Selection as Told, Selections};

use super::Engine;

impl Engine {
    /// Tells the end that follows this one what changed. What could not be told is told with the next sample.
    pub(super) fn tell_peer(&mut self, edge: &EdgeState, tunnel: TunnelId) {
        let Some(config) = edge.tunnels.get(&tunnel) else { return };
        let symmetric = || edge.traffic_classes.iter().filter(|class| class.symmetric);
        if edge.edge_id > config.peer_edge_id || symmetric().next().is_none() {
            return;
        }
        let told = |id: ClassId| {
            let path = self.selections.get(&(tunnel, id))?.selector.selected()?;
            Some(Told { class_id: id.0, path_id: path.0 })
        };
        let selections = symmetric().filter_map(|class| told(class.id)).collect();
        let message = Selections { selections };
        if self.told_peers.get(&tunnel) != Some(&message)
            && self.peers.tell_selections(config.peer_edge_id, message.clone()).is_ok()
        {
            self.told_peers.insert(tunnel, message);
        }
    }

    /// The followed end's word. What it says of classes and paths that are not there is left unread.
    pub(super) fn on_peer_selections(&mut self, peer: EdgeId, message: &Selections) {
        let Some(edge) = self.edge.clone() else { return };
        let of_peer = edge.tunnels.values().find(|tunnel| tunnel.peer_edge_id == peer);
        let Some(tunnel) = of_peer.filter(|_| peer < edge.edge_id).map(|tunnel| tunnel.id) else {
            return self.count("peer_selections_not_followed");
        };
        for class in edge.traffic_classes.iter().filter(|class| class.symmetric) {
            let told = message.selections.iter().find(|told| told.class_id == class.id.0);
            if let Some(selection) = self.selections.get_mut(&(tunnel, class.id)) {
                selection.selector.handle_peer_choice(told.map(|told| PathId(told.path_id)));
            }
        }
        self.select_tunnel(tunnel, None, self.clock.now());
    }
}
