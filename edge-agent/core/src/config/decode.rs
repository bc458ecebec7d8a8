//! From the wire form to the typed one: every fault is reported, none stops the search for the next.

mod ike;
mod manual;
mod traffic;
mod tunnels;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use hawser_proto::config::v1 as wire;
use ipnet::IpNet;

use super::{EdgeState, FEATURES, Lan, Route, Tunnel, Uplink, UplinkUse};
use crate::id::{EdgeId, SegmentId, TunnelId, UplinkId};

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
        let sla_classes = traffic::sla_classes(config);
        let tunnels = self.tunnels(config, &segments, &uplinks, fabric_port);
        let routes = self.routes(config, &segments, &tunnels);
        let traffic_classes = self.traffic_classes(config, &segments, &sla_classes);
        let ike_tunnels =
            self.ike_tunnels(config, &segments, &uplinks, &lans, &routes, &sla_classes);
        let manual_tunnels = self.manual_tunnels(config, &segments, &uplinks, &lans, &routes);
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
            manual_tunnels,
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
}

/// A use that a newer controller may know is taken as the normal one: its feature would be required else.
fn usage(usage: wire::UplinkUse) -> UplinkUse {
    match usage {
        wire::UplinkUse::Unspecified | wire::UplinkUse::Normal => UplinkUse::Normal,
        wire::UplinkUse::Standby => UplinkUse::Standby,
        wire::UplinkUse::LastResort => UplinkUse::LastResort,
    }
}

/// `address:port`, or an address alone with the port that is usual.
pub(crate) fn endpoint(text: &str, default_port: u16) -> Option<SocketAddr> {
    text.parse::<SocketAddr>()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(|a| SocketAddr::new(a, default_port)))
        .filter(|e| e.port() != 0 && !e.ip().is_unspecified() && !e.ip().is_multicast())
}
