//! A warm tunnel is several to charon and to the kernel: one for each link, with a name and an interface of its own.

use crate::config::IkeTunnel;

/// What charon and the kernel know of a tunnel: itself, or each link of a warm one, in the order of `links::links`.
#[must_use]
pub fn lanes(tunnel: &IkeTunnel) -> Vec<IkeTunnel> {
    if !tunnel.warm {
        return vec![tunnel.clone()];
    }
    let mut lanes = Vec::new();
    for &uplink in &tunnel.uplinks {
        for (index, &peer) in tunnel.peer_addresses.iter().enumerate() {
            lanes.push(IkeTunnel {
                // No tunnel's own name has a dot.
                name: format!("{}.{}-{}", tunnel.name, uplink.0, index + 1),
                uplinks: vec![uplink],
                peer_addresses: vec![peer],
                ..tunnel.clone()
            });
        }
    }
    lanes
}

/// The tunnel that a lane of this name is of; the name itself, if it is none.
#[must_use]
pub fn tunnel_of(lane: &str) -> &str {
    lane.split('.').next().unwrap_or(lane)
}
