//! Tunnels to peers of the fabric, with their paths.

use std::collections::BTreeMap;

use hawser_esp::Suite;
use hawser_proto::config::v1 as wire;
use ipnet::IpNet;

use super::{Decoder, MEND_CONTROLLER, endpoint, usage};
use crate::config::{Path, PeerUplink, Profile, Tunnel, Uplink, Waiver};
use crate::id::{EdgeId, PathId, SegmentId, TunnelId, UplinkId};

impl Decoder {
    pub(super) fn tunnels(
        &mut self,
        config: &wire::EdgeConfig,
        segments: &BTreeMap<SegmentId, String>,
        uplinks: &BTreeMap<UplinkId, Uplink>,
        fabric_port: u16,
    ) -> BTreeMap<TunnelId, Tunnel> {
        let mut tunnels = BTreeMap::new();
        for (i, tunnel) in config.tunnels.iter().enumerate() {
            let path = format!("tunnels[{i}]");
            let peer_uplinks = self.peer_uplinks(tunnel, fabric_port, &path);
            let id = TunnelId(tunnel.id);
            let typed = Tunnel {
                id,
                peer_edge: tunnel.peer_edge.clone(),
                peer_site: tunnel.peer_site.clone(),
                peer_edge_id: EdgeId(tunnel.peer_edge_id),
                profile: self.profile(tunnel.profile.as_ref(), &path),
                paths: self.paths(tunnel, uplinks, &peer_uplinks, &path),
                peer_sources: self.peer_sources(tunnel, segments, &path),
                peer_uplinks,
            };
            if tunnel.peer_edge_id == config.edge_id {
                self.fault(
                    "BAD_ID",
                    format!("{path}.peer_edge_id"),
                    "a tunnel to itself",
                    MEND_CONTROLLER,
                );
            }
            if tunnels.insert(id, typed).is_some() {
                self.fault(
                    "BAD_ID",
                    format!("{path}.id"),
                    format!("tunnel ID {id} is used twice"),
                    MEND_CONTROLLER,
                );
            }
        }
        tunnels
    }

    fn peer_uplinks(
        &mut self,
        tunnel: &wire::Tunnel,
        fabric_port: u16,
        path: &str,
    ) -> BTreeMap<UplinkId, PeerUplink> {
        let mut peer_uplinks = BTreeMap::new();
        for (i, uplink) in tunnel.peer_uplinks.iter().enumerate() {
            let mut endpoints = Vec::new();
            for (e, text) in uplink.endpoints.iter().enumerate() {
                let at = format!("{path}.peer_uplinks[{i}].endpoints[{e}]");
                match endpoint(text, fabric_port) {
                    Some(endpoint) => endpoints.push(endpoint),
                    None => self.fault(
                        "BAD_VALUE",
                        at,
                        format!("“{text}” is no address and port"),
                        MEND_CONTROLLER,
                    ),
                }
            }
            let typed = PeerUplink {
                name: uplink.name.clone(),
                provider: uplink.provider.clone(),
                endpoints,
                usage: usage(uplink.r#use()),
                drained: uplink.drained,
                bandwidth_down_kbps: uplink.bandwidth_down_kbps,
                probe_budget_bytes_per_s: uplink.probe_budget_bytes_per_s,
                paths: uplink.paths,
            };
            peer_uplinks.insert(UplinkId(uplink.id), typed);
        }
        peer_uplinks
    }

    pub(super) fn profile(&mut self, profile: Option<&wire::TunnelProfile>, path: &str) -> Profile {
        let profile = profile.cloned().unwrap_or_default();
        let path = format!("{path}.profile");
        let suite = profile.suite.parse::<Suite>().unwrap_or_else(|error| {
            let mend = "choose another one, or update the agent";
            self.fault("SUITE_UNKNOWN", format!("{path}.suite"), error.to_string(), mend);
            Suite::Aes128Gcm
        });
        if suite.requires_waiver() && profile.waiver.is_none() {
            self.fault(
                "WAIVER_MISSING",
                format!("{path}.waiver"),
                format!("{suite} is for old peers only"),
                "choose another suite, or give a waiver with its last day",
            );
        }
        if !(64..=4096).contains(&profile.replay_window_packets) {
            self.fault(
                "OUT_OF_RANGE",
                format!("{path}.replay_window_packets"),
                "64 to 4096",
                MEND_CONTROLLER,
            );
        }
        for (name, value, least) in [
            ("probe_interval_ms", profile.probe_interval_ms, 10),
            ("probe_idle_interval_ms", profile.probe_idle_interval_ms, 10),
            ("rekey_after_s", profile.rekey_after_s, 2),
        ] {
            if value < least {
                self.fault(
                    "OUT_OF_RANGE",
                    format!("{path}.{name}"),
                    format!("at least {least}"),
                    MEND_CONTROLLER,
                );
            }
        }
        Profile {
            name: profile.name,
            suite,
            waiver: profile
                .waiver
                .map(|waiver| Waiver { ends_unix_s: waiver.ends_unix_s, reason: waiver.reason }),
            rekey_after_s: profile.rekey_after_s,
            rekey_after_bytes: profile.rekey_after_bytes,
            replay_window_packets: profile.replay_window_packets,
            esn: profile.esn,
            probe_interval_ms: profile.probe_interval_ms,
            probe_idle_interval_ms: profile.probe_idle_interval_ms,
            down_after_probes: profile.down_after_probes,
        }
    }

    fn paths(
        &mut self,
        tunnel: &wire::Tunnel,
        uplinks: &BTreeMap<UplinkId, Uplink>,
        peer_uplinks: &BTreeMap<UplinkId, PeerUplink>,
        path: &str,
    ) -> BTreeMap<PathId, Path> {
        let mut paths = BTreeMap::new();
        for (i, wire_path) in tunnel.paths.iter().enumerate() {
            let path = format!("{path}.paths[{i}]");
            let typed = Path {
                id: PathId(wire_path.id),
                local_uplink: UplinkId(wire_path.local_uplink_id),
                remote_uplink: UplinkId(wire_path.remote_uplink_id),
                ipv6: wire_path.family() == wire::AddressFamily::Ipv6,
            };
            let family_known = wire_path.family() != wire::AddressFamily::Unspecified;
            if !family_known
                || !uplinks.contains_key(&typed.local_uplink)
                || !peer_uplinks.contains_key(&typed.remote_uplink)
            {
                self.fault(
                    "BAD_REFERENCE",
                    &path,
                    "its uplinks or its family are not known",
                    MEND_CONTROLLER,
                );
            }
            if wire_path.id >= 1 << 24 || paths.insert(typed.id, typed).is_some() {
                self.fault(
                    "BAD_ID",
                    format!("{path}.id"),
                    "above 2^24, or used twice",
                    MEND_CONTROLLER,
                );
            }
        }
        paths
    }

    fn peer_sources(
        &mut self,
        tunnel: &wire::Tunnel,
        segments: &BTreeMap<SegmentId, String>,
        path: &str,
    ) -> Vec<(SegmentId, IpNet)> {
        let mut sources = Vec::new();
        for (i, source) in tunnel.peer_sources.iter().enumerate() {
            let path = format!("{path}.peer_sources[{i}]");
            let segment = self.segment(source.segment_id, segments, &path);
            sources
                .extend(self.parse::<IpNet>(&source.prefix, &path, "prefix").map(|p| (segment, p)));
        }
        sources
    }
}
