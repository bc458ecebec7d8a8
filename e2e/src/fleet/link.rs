//! Which link of the lab lies under what.

use super::bring_up::Fleet;
use super::error::FleetError;
use super::views::PathView;
use crate::lab::LinkKind;

impl Fleet {
    /// The emulated link of an edge's uplink.
    ///
    /// # Errors
    /// No such edge or uplink, or the uplink is a plain cable.
    pub fn uplink_link(&self, edge: &str, uplink: &str) -> Result<String, FleetError> {
        let agent = self.agent(edge)?;
        let unknown =
            || FleetError::Unknown { kind: "emulated uplink", name: format!("{edge} {uplink}") };
        let status = agent.status()?;
        let known = status.uplinks.iter().find(|view| view.name == uplink);
        let interface = &known.ok_or_else(unknown)?.interface;
        let topology = &self.spec().topology;
        let mut ends = topology.ends_of(&agent.place().node);
        let (name, _) = ends
            .find(|(name, end)| {
                end.interface == *interface && topology.links[*name].kind == LinkKind::Wan
            })
            .ok_or_else(unknown)?;
        Ok(name.to_owned())
    }

    /// The uplink's link, at the end that is no hub's, of a path as `edge` sees it: what is hit there leaves the rest of
    /// the fleet alone.
    ///
    /// # Errors
    /// As [`Fleet::uplink_link`].
    pub fn branch_link(&self, edge: &str, path: &PathView) -> Result<String, FleetError> {
        match self.spec().place(edge)?.site.as_str() {
            "hq" => self.uplink_link(&path.peer_edge, &path.remote_uplink),
            _ => self.uplink_link(edge, &path.local_uplink),
        }
    }

    /// Every link that is not a LAN's and not the controller's: (name, a node and an interface to watch it at).
    #[must_use]
    pub fn wan_links(&self) -> Vec<(String, String, String)> {
        let hosts: Vec<&str> = self.spec().edges.iter().map(|place| place.host.as_str()).collect();
        let inside = |node: &str| hosts.contains(&node) || node == self.spec().controller_node;
        let links = self.spec().topology.links.iter();
        links
            .filter(|(_, link)| !inside(&link.a.node) && !inside(&link.b.node))
            .map(|(name, link)| (name.clone(), link.a.node.clone(), link.a.interface.clone()))
            .collect()
    }
}
