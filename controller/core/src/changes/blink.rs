//! Which paths are interrupted while a change takes hold, and for about how long.

use std::collections::{BTreeMap, BTreeSet};

use hawser_proto::config::v1::{EdgeConfig, Tunnel};

use super::Configs;

/// Sockets are closed and opened, keys are agreed anew over them, and a probe must be answered: below a second where
/// both ends change over together, with a margin.
const REOPENED_MS: u32 = 1_500;

/// A path that is interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blink {
    pub path_id: u32,
    /// `b1-1 isp-a — hq-1 isp-b`.
    pub name: String,
    pub why: String,
    /// About so long; 0: it ends for good.
    pub about_ms: u32,
    /// No path of its tunnel goes on: the tunnel's traffic stops meanwhile.
    pub stops_traffic: bool,
}

/// Every path that was there and is interrupted, by ID. Changes of suite, ESN and replay window take none away: an SA
/// goes on until its successor is in use at both ends.
pub fn blinks(old: &Configs, new: &Configs) -> Vec<Blink> {
    let mut found: BTreeMap<u32, Blink> = BTreeMap::new();
    // Paths of a tunnel that go on untouched.
    let mut untouched: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    let mut tunnel_of: BTreeMap<u32, u32> = BTreeMap::new();
    for (edge, before) in old {
        let after = new.get(edge);
        for tunnel in &before.tunnels {
            for path in &tunnel.paths {
                tunnel_of.insert(path.id, tunnel.id);
                let why = reason(before, after, tunnel, path.id, path.local_uplink_id);
                match why {
                    None => {
                        untouched.entry(tunnel.id).or_default().insert(path.id);
                    }
                    Some((why, about_ms)) => {
                        let name =
                            name(before, tunnel, path.local_uplink_id, path.remote_uplink_id);
                        let blink =
                            Blink { path_id: path.id, name, why, about_ms, stops_traffic: false };
                        let worst = found.entry(path.id).or_insert_with(|| blink.clone());
                        if worst.about_ms != 0 && about_ms == 0 {
                            *worst = blink;
                        }
                    }
                }
            }
        }
    }
    for ids in untouched.values_mut() {
        // Either end may touch a path.
        ids.retain(|id| !found.contains_key(id));
    }
    for blink in found.values_mut() {
        let others = tunnel_of.get(&blink.path_id).and_then(|tunnel| untouched.get(tunnel));
        blink.stops_traffic = others.is_none_or(BTreeSet::is_empty);
    }
    found.into_values().collect()
}

fn reason(
    before: &EdgeConfig,
    after: Option<&EdgeConfig>,
    tunnel: &Tunnel,
    path: u32,
    uplink: u32,
) -> Option<(String, u32)> {
    let Some(after) = after else {
        return Some((format!("{} leaves the fleet", before.edge), 0));
    };
    let stays = after.tunnels.iter().any(|t| t.paths.iter().any(|p| p.id == path));
    if !stays {
        let what = if after.tunnels.iter().any(|t| t.id == tunnel.id) { "path" } else { "tunnel" };
        return Some((format!("the {what} is removed"), 0));
    }
    if before.fabric_port != after.fabric_port {
        let (old, new) = (before.fabric_port, after.fabric_port);
        return Some((format!("the fabric port moves from {old} to {new}"), REOPENED_MS));
    }
    let interface = |config: &EdgeConfig| {
        config.uplinks.iter().find(|u| u.id == uplink).map(|u| u.interface.clone())
    };
    let (old, new) = (interface(before)?, interface(after)?);
    (old != new)
        .then(|| (format!("the uplink of {} moves from {old} to {new}", before.edge), REOPENED_MS))
}

fn name(edge: &EdgeConfig, tunnel: &Tunnel, local: u32, remote: u32) -> String {
    let own = edge.uplinks.iter().find(|u| u.id == local).map_or("?", |u| u.name.as_str());
    let peers = tunnel.peer_uplinks.iter().find(|u| u.id == remote);
    let peers = peers.map_or("?", |u| u.name.as_str());
    format!("{} {own} — {} {peers}", edge.edge, tunnel.peer_edge)
}
