//! An edge's tunnels with gateways that are not Hawser.

use hawser_proto::config::v1 as wire;
use ipnet::IpNet;

use super::{Plan, config};
use crate::allocate::NotAllocated;
use crate::intent::{Edge, IkeStart, IkeVersion};

/// By name.
pub(super) fn tunnels(plan: &Plan<'_>, edge: &Edge) -> Result<Vec<wire::IkeTunnel>, NotAllocated> {
    let mut list = Vec::new();
    for tunnel in &edge.ike_tunnels {
        let version = match tunnel.version {
            IkeVersion::V1 => wire::IkeVersion::V1,
            IkeVersion::V2 => wire::IkeVersion::V2,
        };
        let start = match tunnel.start {
            IkeStart::Now => wire::IkeStart::Now,
            IkeStart::Trap => wire::IkeStart::Trap,
        };
        list.push(wire::IkeTunnel {
            name: tunnel.name.clone(),
            version: version.into(),
            uplink_id: plan.allocations.uplink(&edge.name, &tunnel.uplink)?.0,
            peer_addresses: tunnel.peer_addresses.iter().map(ToString::to_string).collect(),
            local_id: tunnel.local_id.clone(),
            remote_id: tunnel.remote_id.clone(),
            psk_name: tunnel.psk_name.clone(),
            profile: Some(config::profile(plan, &tunnel.profile)),
            dh_groups: tunnel.dh_groups.iter().map(|group| (*group).to_owned()).collect(),
            segment_id: plan.allocations.segment(&tunnel.segment)?.0,
            local_prefixes: sorted(&tunnel.local_prefixes),
            remote_prefixes: sorted(&tunnel.remote_prefixes),
            start: start.into(),
            dpd_delay_s: tunnel.dpd_delay_s,
        });
    }
    list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(list)
}

fn sorted(prefixes: &[IpNet]) -> Vec<String> {
    let mut prefixes = prefixes.to_vec();
    prefixes.sort();
    prefixes.iter().map(ToString::to_string).collect()
}
