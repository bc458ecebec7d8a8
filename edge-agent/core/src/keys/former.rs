//! The terms that a peer which is a generation behind keys a path by.

use std::collections::BTreeMap;

use super::SaTerms;
use crate::config::{EdgeState, Tunnel};
use crate::id::PathId;

impl SaTerms {
    /// As a tunnel's profile wants them.
    pub fn of(tunnel: &Tunnel) -> SaTerms {
        SaTerms { suite: tunnel.profile.suite, esn: tunnel.profile.esn }
    }
}

/// The paths that both generations have and want keyed by other terms, with the former ones.
pub fn former_terms(former: &EdgeState, edge: &EdgeState) -> BTreeMap<PathId, SaTerms> {
    let was: BTreeMap<PathId, SaTerms> =
        former.paths().map(|(tunnel, path)| (path.id, SaTerms::of(tunnel))).collect();
    let differing = edge.paths().filter_map(|(tunnel, path)| {
        let was = *was.get(&path.id)?;
        (was != SaTerms::of(tunnel)).then_some((path.id, was))
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    use hawser_proto::config::v1 as wire;

    use super::*;
    use crate::config::decode;
    use crate::keys::KeySuite;

    fn generation(suite: &str, paths: &[u32]) -> EdgeState {
        let path = |id: &u32| wire::Path {
            id: *id,
            local_uplink_id: 1,
            remote_uplink_id: 2,
            family: wire::AddressFamily::Ipv4.into(),
        };
        let profile = wire::TunnelProfile {
            suite: suite.to_owned(),
            replay_window_packets: 64,
            rekey_after_s: 3_600,
            probe_interval_ms: 100,
            probe_idle_interval_ms: 500,
            ..Default::default()
        };
        let config = wire::EdgeConfig {
            edge_id: 1,
            fabric_port: 4510,
            uplinks: vec![wire::Uplink {
                id: 1,
                name: "u".into(),
                interface: "wan".into(),
                ..Default::default()
            }],
            tunnels: vec![wire::Tunnel {
                id: 7,
                peer_edge_id: 2,
                profile: Some(profile),
                paths: paths.iter().map(path).collect(),
                peer_uplinks: vec![wire::PeerUplink { id: 2, ..Default::default() }],
                ..Default::default()
            }],
            traffic_classes: vec![wire::TrafficClass {
                name: "default".into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        decode(&config).expect("a good generation")
    }

    #[test]
    fn only_paths_that_stay_under_other_terms_have_former_ones() {
        let old = generation("aes-128-gcm", &[1, 2]);
        let terms = former_terms(&old, &generation("aes-256-gcm", &[2, 3]));
        let esn = SaTerms::of(&old.tunnels[&crate::id::TunnelId(7)]).esn;
        let was = SaTerms { suite: KeySuite::Aes128Gcm, esn };
        assert_eq!(terms, BTreeMap::from([(PathId(2), was)]));
        assert_eq!(former_terms(&old, &old), BTreeMap::new());
    }
}
