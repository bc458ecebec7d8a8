//! Which link of the lab lies under what.

use super::bring_up::Fleet;
use super::error::FleetError;
use super::views::PathView;
use crate::lab::{LinkKind, NodeKind};

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
            "hq" | "hq1" | "hq2" => self.uplink_link(&path.peer_edge, &path.remote_uplink),
            _ => self.uplink_link(edge, &path.local_uplink),
        }
    }

    /// Lets nothing pass between two edges any more, by whichever uplinks, at every provider. All other legs stay.
    ///
    /// # Errors
    /// No such edge, or nft refuses.
    pub fn cut_leg(&self, a: &str, b: &str) -> Result<(), FleetError> {
        let list = |addresses: Vec<String>| addresses.join(", ");
        let (of_a, of_b) = (list(self.wan_addresses(a)?), list(self.wan_addresses(b)?));
        let rules = format!(
            "add table ip legs; \
             add chain ip legs forward {{ type filter hook forward priority 0; }}; \
             add rule ip legs forward ip saddr {{ {of_a} }} ip daddr {{ {of_b} }} drop; \
             add rule ip legs forward ip saddr {{ {of_b} }} ip daddr {{ {of_a} }} drop"
        );
        self.at_providers(&rules)
    }

    /// Lets everything pass again that [`Fleet::cut_leg`] stopped.
    ///
    /// # Errors
    /// nft refuses.
    pub fn mend_legs(&self) -> Result<(), FleetError> {
        self.at_providers("add table ip legs; delete table ip legs")
    }

    fn at_providers(&self, rules: &str) -> Result<(), FleetError> {
        let nodes = self.spec().topology.nodes.iter();
        for (provider, _) in nodes.filter(|(_, node)| node.kind == NodeKind::Router) {
            let output = self.lab().exec(provider, &["nft", rules])?;
            if !output.status.success() {
                return Err(FleetError::Command {
                    command: format!("nft at {provider}"),
                    code: output.status.code(),
                    said: output.stderr_text(),
                });
            }
        }
        Ok(())
    }

    /// IPv4, of the edge's ends of emulated links.
    fn wan_addresses(&self, edge: &str) -> Result<Vec<String>, FleetError> {
        let topology = &self.spec().topology;
        let ends = topology.ends_of(&self.spec().place(edge)?.node);
        let of_wan = ends.filter(|(name, _)| topology.links[*name].kind == LinkKind::Wan);
        let addresses = of_wan.flat_map(|(_, end)| &end.addresses).map(|net| net.addr());
        Ok(addresses.filter(|address| address.is_ipv4()).map(|a| a.to_string()).collect())
    }

    /// Every link that is not a LAN's and not the controller's: (name, a node and an interface to watch it at).
    #[must_use]
    pub fn wan_links(&self) -> Vec<(String, String, String)> {
        let topology = &self.spec().topology;
        let inside =
            |node: &str| matches!(topology.nodes[node].kind, NodeKind::Host | NodeKind::Controller);
        let links = topology.links.iter();
        links
            .filter(|(_, link)| !inside(&link.a.node) && !inside(&link.b.node))
            .map(|(name, link)| (name.clone(), link.a.node.clone(), link.a.interface.clone()))
            .collect()
    }
}
