//! Spokes with an uplink of each of two providers, a tunnel to each of two hubs, and in each tunnel a path for each provider.

use hawser_controller_core::advice::FleetMap;
use hawser_controller_core::{EdgeId, PathId, UplinkId};
use hawser_proto::config::v1 as wire;

pub const PROVIDERS: [&str; 2] = ["alpha", "beta"];
pub const HUBS: usize = 2;

pub fn hub(hub: usize) -> EdgeId {
    EdgeId(1 + hub as u32)
}

pub fn spoke(site: usize) -> EdgeId {
    EdgeId(100 + site as u32)
}

/// The spoke of an edge; none for a hub.
pub fn site_of(edge: EdgeId) -> Option<usize> {
    edge.0.checked_sub(100).map(|site| site as usize)
}

pub fn uplink(edge: EdgeId, provider: usize) -> UplinkId {
    UplinkId(edge.0 * 10 + provider as u32)
}

pub fn path(site: usize, hub: usize, provider: usize) -> PathId {
    PathId((site * HUBS * PROVIDERS.len() + hub * PROVIDERS.len() + provider) as u32 + 1)
}

fn tunnel_id(site: usize, hub: usize) -> u32 {
    (site * HUBS + hub) as u32 + 1
}

pub fn map(sites: usize) -> FleetMap {
    let mut configs: Vec<wire::EdgeConfig> = (0..HUBS).map(|h| edge(hub(h), "hub", h)).collect();
    for site in 0..sites {
        let mut config = edge(spoke(site), "b", site);
        config.tunnels = (0..HUBS).map(|h| tunnel(site, h, true)).collect();
        config.routes = vec![wire::Route {
            segment_id: 1,
            prefix: "10.0.0.0/8".into(),
            next_hop_edge_ids: (0..HUBS).map(|h| hub(h).0).collect(),
        }];
        configs.push(config);
    }
    for (h, config) in configs.iter_mut().take(HUBS).enumerate() {
        config.tunnels = (0..sites).map(|site| tunnel(site, h, false)).collect();
    }
    FleetMap::new(&configs)
}

fn edge(id: EdgeId, kind: &str, number: usize) -> wire::EdgeConfig {
    let uplinks = PROVIDERS.iter().enumerate().map(|(index, provider)| wire::Uplink {
        id: uplink(id, index).0,
        name: format!("isp-{provider}"),
        provider: (*provider).into(),
        transport: (*provider).into(),
        ..Default::default()
    });
    wire::EdgeConfig {
        site: format!("{kind}{number}"),
        edge: format!("{kind}{number}-1"),
        edge_id: id.0,
        uplinks: uplinks.collect(),
        ..Default::default()
    }
}

fn tunnel(site: usize, to: usize, at_spoke: bool) -> wire::Tunnel {
    let (own, peer) = if at_spoke { (spoke(site), hub(to)) } else { (hub(to), spoke(site)) };
    let paths = (0..PROVIDERS.len()).map(|provider| wire::Path {
        id: path(site, to, provider).0,
        local_uplink_id: uplink(own, provider).0,
        remote_uplink_id: uplink(peer, provider).0,
        ..Default::default()
    });
    wire::Tunnel {
        id: tunnel_id(site, to),
        peer_edge_id: peer.0,
        paths: paths.collect(),
        ..Default::default()
    }
}
