//! An edge's tunnels whose keys people have put at both ends.

use hawser_proto::config::v1 as wire;

use super::{Plan, config, ike};
use crate::allocate::NotAllocated;
use crate::intent::{Edge, ManualKey, ManualMode, ManualProtocol};

/// By name.
pub(super) fn tunnels(
    plan: &Plan<'_>,
    edge: &Edge,
) -> Result<Vec<wire::ManualTunnel>, NotAllocated> {
    let mut list = Vec::new();
    for tunnel in &edge.manual_tunnels {
        let protocol = match tunnel.protocol {
            ManualProtocol::Esp => wire::ManualProtocol::Esp,
            ManualProtocol::Ah => wire::ManualProtocol::Ah,
        };
        let mode = match tunnel.mode {
            ManualMode::Tunnel => wire::ManualMode::Tunnel,
            ManualMode::Gre => wire::ManualMode::Gre,
        };
        list.push(wire::ManualTunnel {
            name: tunnel.name.clone(),
            uplink_id: plan.allocations.uplink(&edge.name, &tunnel.uplink)?.0,
            peer_address: tunnel.peer_address.map(|a| a.to_string()).unwrap_or_default(),
            protocol: protocol.into(),
            mode: mode.into(),
            profile: Some(config::profile(plan, &tunnel.profile)),
            segment_id: plan.allocations.segment(&tunnel.segment)?.0,
            local_prefixes: ike::sorted(&tunnel.local_prefixes),
            remote_prefixes: ike::sorted(&tunnel.remote_prefixes),
            inbound: Some(key(&tunnel.inbound)),
            outbound: Some(key(&tunnel.outbound)),
        });
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(list)
}

fn key(key: &ManualKey) -> wire::ManualKey {
    wire::ManualKey { spi: key.spi, key_name: key.key_name.clone() }
}
