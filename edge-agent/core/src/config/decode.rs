//! From the wire form to the typed one: every fault is reported, none stops the search for the next.

mod ike;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use hawser_esp::Suite;
use hawser_proto::config::v1 as wire;
use ipnet::IpNet;

use super::{
    BalanceBy, ClassMode, EdgeState, FEATURES, Lan, Match, Path, PeerUplink, Profile, Route,
    Sensitivity, SlaLimits, TrafficClass, Tunnel, Uplink, UplinkUse, Waiver,
};
use crate::id::{ClassId, EdgeId, PathId, SegmentId, TunnelId, UplinkId};

/// One thing that is wrong with a generation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Stable, upper case.
    pub code: &'static str,
    /// Path into the configuration, e.g. `uplinks[0].interface`.
    pub path: String,
    pub message: String,
    pub mend: String,
}

impl Fault {
    /// The form that travels to the controller.
    pub fn to_proto(&self) -> hawser_proto::agent::v1::Fault {
        hawser_proto::agent::v1::Fault {
            code: self.code.to_owned(),
            path: self.path.clone(),
            message: self.message.clone(),
            mend: self.mend.clone(),
        }
    }
}

const MEND_CONTROLLER: &str =
    "this is the controller's mistake: compare its version with the agent's";

/// Checks a generation and gives it types.
///
/// # Errors
/// Every fault found, sorted by where it is.
pub fn decode(config: &wire::EdgeConfig) -> Result<EdgeState, Vec<Fault>> {
    let mut decoder = Decoder::default();
    let state = decoder.edge(config);
    if decoder.faults.is_empty() {
        Ok(state)
    } else {
        decoder.faults.sort();
        Err(decoder.faults)
    }
}

#[derive(Default)]
struct Decoder {
    faults: Vec<Fault>,
}

impl Decoder {
    fn fault(&mut self, code: &'static str, path: impl Display, message: impl Display, mend: &str) {
        self.faults.push(Fault {
            code,
            path: path.to_string(),
            message: message.to_string(),
            mend: mend.to_owned(),
        });
    }

    fn parse<T: FromStr>(&mut self, text: &str, path: impl Display, what: &str) -> Option<T> {
        let value = text.parse().ok();
        if value.is_none() {
            self.fault("BAD_VALUE", path, format!("“{text}” is no {what}"), MEND_CONTROLLER);
        }
        value
    }

    fn nets(&mut self, texts: &[String], path: &str) -> Vec<IpNet> {
        let mut nets = Vec::with_capacity(texts.len());
        for (i, text) in texts.iter().enumerate() {
            nets.extend(self.parse::<IpNet>(text, format!("{path}[{i}]"), "prefix"));
        }
        nets
    }

    fn small<T: TryFrom<u32> + Default>(&mut self, value: u32, path: impl Display) -> T {
        T::try_from(value).unwrap_or_else(|_| {
            self.fault("OUT_OF_RANGE", path, format!("{value} is too large"), MEND_CONTROLLER);
            T::default()
        })
    }

    fn segment(&mut self, id: u32, known: &BTreeMap<SegmentId, String>, path: &str) -> SegmentId {
        let segment = SegmentId(self.small(id, path));
        if !known.contains_key(&segment) {
            self.fault(
                "UNKNOWN_SEGMENT",
                path,
                format!("there is no segment {id}"),
                MEND_CONTROLLER,
            );
        }
        segment
    }

    fn edge(&mut self, config: &wire::EdgeConfig) -> EdgeState {
        for (i, feature) in config.required_features.iter().enumerate() {
            if !FEATURES.contains(&feature.as_str()) {
                self.fault(
                    "FEATURE_MISSING",
                    format!("required_features[{i}]"),
                    format!("this agent has no “{feature}”"),
                    "update the agent, or take the feature out of the intent",
                );
            }
        }
        let segments = self.segments(config);
        let uplinks = self.uplinks(config);
        let lans = self.lans(config, &segments);
        let fabric_port: u16 = self.small(config.fabric_port, "fabric_port");
        if matches!(fabric_port, 0 | 500 | 4500) {
            self.fault(
                "BAD_VALUE",
                "fabric_port",
                "0, 500 and 4500 are not for the fabric",
                MEND_CONTROLLER,
            );
        }
        let sla_classes = sla_classes(config);
        let tunnels = self.tunnels(config, &segments, &uplinks, fabric_port);
        let routes = self.routes(config, &segments, &tunnels);
        let traffic_classes = self.traffic_classes(config, &segments, &sla_classes);
        let ike_tunnels = self.ike_tunnels(config, &segments, &uplinks, &lans, &routes);
        EdgeState {
            fleet: config.fleet.clone(),
            site: config.site.clone(),
            edge: config.edge.clone(),
            edge_id: EdgeId(config.edge_id),
            controllers: config.controllers.clone(),
            fabric_port,
            drained: config.drained,
            leaf: config.leaf,
            segments,
            uplinks,
            lans,
            tunnels,
            routes,
            sla_classes,
            traffic_classes,
            ike_tunnels,
        }
    }

    fn segments(&mut self, config: &wire::EdgeConfig) -> BTreeMap<SegmentId, String> {
        let mut segments = BTreeMap::new();
        for (i, segment) in config.segments.iter().enumerate() {
            let path = format!("segments[{i}].id");
            let id: u8 = self.small(segment.id, &path);
            if id == 0 || segments.insert(SegmentId(id), segment.name.clone()).is_some() {
                self.fault(
                    "BAD_ID",
                    path,
                    format!("segment ID {id} is reserved or used twice"),
                    MEND_CONTROLLER,
                );
            }
        }
        segments
    }

    fn uplinks(&mut self, config: &wire::EdgeConfig) -> BTreeMap<UplinkId, Uplink> {
        let mut uplinks = BTreeMap::new();
        for (i, uplink) in config.uplinks.iter().enumerate() {
            let path = format!("uplinks[{i}]");
            self.interface(&uplink.interface, &format!("{path}.interface"));
            let mut gateways = Vec::new();
            for (g, text) in uplink.gateways.iter().enumerate() {
                gateways.extend(self.parse::<IpAddr>(
                    text,
                    format!("{path}.gateways[{g}]"),
                    "address",
                ));
            }
            let id = UplinkId(uplink.id);
            let typed = Uplink {
                id,
                name: uplink.name.clone(),
                interface: uplink.interface.clone(),
                transport: uplink.transport.clone(),
                provider: uplink.provider.clone(),
                cost: uplink.cost,
                metered: uplink.metered,
                gateways,
                probe_budget_bytes_per_s: uplink.probe_budget_bytes_per_s,
                bandwidth_up_kbps: uplink.bandwidth_up_kbps,
                usage: usage(uplink.r#use()),
                drained: uplink.drained,
            };
            if uplinks.insert(id, typed).is_some() {
                self.fault(
                    "BAD_ID",
                    format!("{path}.id"),
                    format!("uplink ID {id} is used twice"),
                    MEND_CONTROLLER,
                );
            }
        }
        uplinks
    }

    /// Linux: 1 to 15 octets, no slash, no white space.
    fn interface(&mut self, name: &str, path: &str) {
        let fits = (1..=15).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_graphic() && c != '/' && c != ':' && c != '"');
        if !fits || name == "." || name == ".." {
            self.fault(
                "BAD_VALUE",
                path,
                format!("“{name}” is no interface name"),
                "give the kernel's name of the interface",
            );
        }
    }

    fn lans(
        &mut self,
        config: &wire::EdgeConfig,
        segments: &BTreeMap<SegmentId, String>,
    ) -> Vec<Lan> {
        let mut lans = Vec::new();
        for (i, lan) in config.lans.iter().enumerate() {
            let path = format!("lans[{i}]");
            self.interface(&lan.interface, &format!("{path}.interface"));
            lans.push(Lan {
                interface: lan.interface.clone(),
                segment: self.segment(lan.segment_id, segments, &format!("{path}.segment_id")),
                prefixes: self.nets(&lan.prefixes, &format!("{path}.prefixes")),
                vlan: self.small(lan.vlan, format!("{path}.vlan")),
            });
        }
        lans
    }

    fn tunnels(
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

    fn profile(&mut self, profile: Option<&wire::TunnelProfile>, path: &str) -> Profile {
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

    fn routes(
        &mut self,
        config: &wire::EdgeConfig,
        segments: &BTreeMap<SegmentId, String>,
        tunnels: &BTreeMap<TunnelId, Tunnel>,
    ) -> Vec<Route> {
        let by_peer: BTreeMap<u32, TunnelId> =
            tunnels.values().map(|t| (t.peer_edge_id.0, t.id)).collect();
        let mut routes = Vec::new();
        for (i, route) in config.routes.iter().enumerate() {
            let path = format!("routes[{i}]");
            let segment = self.segment(route.segment_id, segments, &path);
            let mut next_hops = Vec::new();
            for edge in &route.next_hop_edge_ids {
                match by_peer.get(edge) {
                    Some(&tunnel) => next_hops.push(tunnel),
                    None => self.fault(
                        "BAD_REFERENCE",
                        &path,
                        format!("no tunnel to edge {edge}"),
                        MEND_CONTROLLER,
                    ),
                }
            }
            if let Some(prefix) = self.parse(&route.prefix, &path, "prefix") {
                routes.push(Route { segment, prefix, next_hops });
            }
        }
        routes
    }

    fn traffic_classes(
        &mut self,
        config: &wire::EdgeConfig,
        segments: &BTreeMap<SegmentId, String>,
        sla_classes: &BTreeMap<String, SlaLimits>,
    ) -> Vec<TrafficClass> {
        let mut classes = Vec::new();
        for (i, class) in config.traffic_classes.iter().enumerate() {
            let path = format!("traffic_classes[{i}]");
            if !class.sla_class.is_empty() && !sla_classes.contains_key(&class.sla_class) {
                let message = format!("there is no SLA class “{}”", class.sla_class);
                self.fault("BAD_REFERENCE", format!("{path}.sla_class"), message, MEND_CONTROLLER);
            }
            let segment = (class.segment_id != 0)
                .then(|| self.segment(class.segment_id, segments, &format!("{path}.segment_id")));
            let matches = class
                .matches
                .iter()
                .enumerate()
                .map(|(m, rule)| self.rule(rule, &format!("{path}.matches[{m}]")))
                .collect();
            let wan_dscp = class.wan_dscp.map(|dscp| u8::try_from(dscp).unwrap_or(u8::MAX));
            if wan_dscp.is_some_and(|dscp| dscp > 63) {
                let at = format!("traffic_classes[{i}].wan_dscp");
                self.fault("OUT_OF_RANGE", at, "a DSCP is 0 to 63", MEND_CONTROLLER);
            }
            classes.push(TrafficClass {
                id: ClassId(class.id),
                name: class.name.clone(),
                segment,
                matches,
                sla_class: class.sla_class.clone(),
                drop_when_none_meets: class.when_none_meets() == wire::WhenNoneMeets::Drop,
                prefer_uplinks: class.prefer_uplinks.clone(),
                failback_hold_ms: class.failback_hold_ms,
                dwell_ms: class.dwell_ms,
                symmetric: class.symmetric,
                mode: mode(class),
                wan_dscp,
            });
        }
        if classes.last().is_none_or(|c| !c.matches.is_empty()) {
            self.fault(
                "NO_DEFAULT_CLASS",
                "traffic_classes",
                "the last class must match everything",
                MEND_CONTROLLER,
            );
        }
        classes
    }

    fn rule(&mut self, rule: &wire::Match, path: &str) -> Match {
        Match {
            sources: self.nets(&rule.source_prefixes, &format!("{path}.source_prefixes")),
            destinations: self
                .nets(&rule.destination_prefixes, &format!("{path}.destination_prefixes")),
            protocols: rule.protocols.iter().map(|&p| self.small(p, path)).collect(),
            source_ports: self.ports(&rule.source_ports, path),
            destination_ports: self.ports(&rule.destination_ports, path),
            dscps: rule.dscps.iter().map(|&d| self.small(d, path)).collect(),
        }
    }

    fn ports(&mut self, ranges: &[wire::PortRange], path: &str) -> Vec<(u16, u16)> {
        ranges.iter().map(|r| (self.small(r.first, path), self.small(r.last, path))).collect()
    }
}

fn sla_classes(config: &wire::EdgeConfig) -> BTreeMap<String, SlaLimits> {
    let limits = |c: &wire::SlaClass| SlaLimits {
        max_rtt_us: c.max_rtt_us,
        max_jitter_us: c.max_jitter_us,
        max_loss_ppm: c.max_loss_ppm,
        sensitivity: Sensitivity {
            loss_confidence_ppm: c.loss_confidence_ppm,
            loss_mended_ms: c.loss_mended_ms,
            delay_damage_ms: c.delay_damage_ms,
            delay_mended_ms: c.delay_mended_ms,
        },
    };
    config.sla_classes.iter().map(|c| (c.name.clone(), limits(c))).collect()
}

/// A use that a newer controller may know is taken as the normal one: its feature would be required else.
fn usage(usage: wire::UplinkUse) -> UplinkUse {
    match usage {
        wire::UplinkUse::Unspecified | wire::UplinkUse::Normal => UplinkUse::Normal,
        wire::UplinkUse::Standby => UplinkUse::Standby,
        wire::UplinkUse::LastResort => UplinkUse::LastResort,
    }
}

fn mode(class: &wire::TrafficClass) -> ClassMode {
    let by = match class.balance_by() {
        wire::BalanceBy::Unspecified | wire::BalanceBy::Bandwidth => BalanceBy::Bandwidth,
        wire::BalanceBy::Cost => BalanceBy::Cost,
    };
    match class.mode() {
        wire::ClassMode::Unspecified | wire::ClassMode::Best => ClassMode::Best,
        wire::ClassMode::Balance => ClassMode::Balance(by),
        wire::ClassMode::Duplicate => ClassMode::Duplicate,
    }
}

/// `address:port`, or an address alone with the port that is usual.
pub(crate) fn endpoint(text: &str, default_port: u16) -> Option<SocketAddr> {
    text.parse::<SocketAddr>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(|a| SocketAddr::new(a, default_port)))
        .filter(|e| e.port() != 0 && !e.ip().is_unspecified() && !e.ip().is_multicast())
}
