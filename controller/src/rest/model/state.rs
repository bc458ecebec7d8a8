//! What the fleet is like now: sites, edges, uplinks, paths, tunnels with gateways.

use std::collections::BTreeMap;

use hawser_proto::agent::v1 as agent;
use hawser_proto::config::v1 as config;
use hawser_proto::operator::v1 as operator;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Fault, all, generation};
use crate::service::FleetState;

#[derive(Debug, Serialize, ToSchema)]
pub struct Status {
    pub fleet: String,
    pub controller_version: String,
    pub revision: u64,
    pub sites: u32,
    pub edges: u32,
    pub edges_connected: u32,
    pub edges_converged: u32,
    pub paths: u32,
    pub paths_up: u32,
    pub uptime_s: u64,
    pub counters: BTreeMap<String, u64>,
}

impl From<operator::GetStatusResponse> for Status {
    fn from(s: operator::GetStatusResponse) -> Self {
        Self {
            fleet: s.fleet,
            controller_version: s.controller_version,
            revision: s.revision,
            sites: s.sites,
            edges: s.edges,
            edges_connected: s.edges_connected,
            edges_converged: s.edges_converged,
            paths: s.paths,
            paths_up: s.paths_up,
            uptime_s: s.uptime_s,
            counters: s.counters,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Edge {
    pub name: String,
    pub edge_id: u32,
    pub enrolled: bool,
    pub connected: bool,
    pub last_seen_unix_ms: u64,
    pub agent_version: String,
    /// The generation that it should have.
    pub desired: Option<String>,
    pub applied: Option<String>,
    pub confirmed: Option<String>,
    pub last_nack: Vec<Fault>,
    pub paths: u32,
    pub paths_up: u32,
    pub uplinks: Vec<Uplink>,
    /// When its newest certificate ends, seconds since 1970; 0: not enrolled.
    pub certificate_ends_unix_s: u64,
    pub revoked: bool,
}

impl Edge {
    fn of(e: operator::EdgeStatus, state: &FleetState) -> Self {
        let config = state.edges.get(&e.name).map(|edge| edge.config.uplinks.iter());
        let uplinks = config.into_iter().flatten().map(|u| Uplink::of(u, &e.uplinks)).collect();
        let generations = e.generations.unwrap_or_default();
        Self {
            name: e.name,
            edge_id: e.edge_id,
            enrolled: e.enrolled,
            connected: e.connected,
            last_seen_unix_ms: e.last_seen_unix_ms,
            agent_version: e.agent_version,
            desired: generation(e.desired),
            applied: generation(generations.applied),
            confirmed: generation(generations.confirmed),
            last_nack: all(e.last_nack),
            paths: e.paths,
            paths_up: e.paths_up,
            uplinks,
            certificate_ends_unix_s: e.certificate_ends_unix_s,
            revoked: e.revoked,
        }
    }
}

/// What the document says of an uplink, and what its edge does.
#[derive(Debug, Serialize, ToSchema)]
pub struct Uplink {
    pub name: String,
    pub interface: String,
    pub transport: String,
    pub provider: String,
    pub cost: u32,
    pub metered: bool,
    pub drained: bool,
    /// `normal`, `standby` or `last-resort`.
    pub used: String,
    /// Missing: the edge has not said.
    pub carrier: Option<bool>,
    pub addresses: Vec<String>,
    /// As others see it, host:port.
    pub public_endpoints: Vec<String>,
}

impl Uplink {
    fn of(told: &config::Uplink, facts: &[agent::UplinkFact]) -> Self {
        let fact = facts.iter().find(|fact| fact.uplink_id == told.id);
        let used = match told.r#use() {
            config::UplinkUse::Standby => "standby",
            config::UplinkUse::LastResort => "last-resort",
            config::UplinkUse::Normal | config::UplinkUse::Unspecified => "normal",
        };
        Self {
            name: told.name.clone(),
            interface: told.interface.clone(),
            transport: told.transport.clone(),
            provider: told.provider.clone(),
            cost: told.cost,
            metered: told.metered,
            drained: told.drained,
            used: used.to_owned(),
            carrier: fact.map(|fact| fact.carrier),
            addresses: fact.map(|fact| fact.addresses.clone()).unwrap_or_default(),
            public_endpoints: fact.map(|fact| fact.public_endpoints.clone()).unwrap_or_default(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Site {
    pub name: String,
    pub role: String,
    pub edges: Vec<Edge>,
}

impl Site {
    pub fn of(site: operator::Site, state: &FleetState) -> Self {
        let edges = site.edges.into_iter().map(|edge| Edge::of(edge, state)).collect();
        Self { name: site.name, role: site.role, edges }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Sites {
    pub sites: Vec<Site>,
    pub next_page_token: String,
}

/// `up`, `down` or `connecting`.
pub fn path_state(state: agent::PathState) -> &'static str {
    match state {
        agent::PathState::Up => "up",
        agent::PathState::Down => "down",
        agent::PathState::Connecting | agent::PathState::Unspecified => "connecting",
    }
}

/// As its own end sees it; figures are missing while nothing is heard.
#[derive(Debug, Serialize, ToSchema)]
pub struct PathEnd {
    pub site: String,
    pub edge: String,
    pub uplink: String,
    pub rtt_us: Option<u32>,
    pub jitter_us: Option<u32>,
    /// Parts per million.
    pub loss_tx_ppm: Option<u32>,
    pub loss_rx_ppm: Option<u32>,
    pub selected_for: Vec<String>,
    /// SLA classes that it does not meet now, and why.
    pub violates: Vec<Violation>,
    /// Mean opinion score by the E-model, in thousandths.
    pub mos_milli: Option<u32>,
    pub tx_bytes: Option<u64>,
    pub rx_bytes: Option<u64>,
    pub sample_unix_ms: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Violation {
    pub sla_class: String,
    pub reason: String,
}

fn violations(sample: &agent::PathSample) -> Vec<Violation> {
    let not_met = sample.verdicts.iter().filter(|verdict| !verdict.meets);
    let told =
        not_met.map(|v| Violation { sla_class: v.sla_class.clone(), reason: v.reason.clone() });
    told.collect()
}

impl From<operator::PathEnd> for PathEnd {
    fn from(end: operator::PathEnd) -> Self {
        let sample = end.sample.as_ref();
        Self {
            site: end.site,
            edge: end.edge,
            uplink: end.uplink,
            rtt_us: sample.map(|s| s.rtt_us),
            jitter_us: sample.map(|s| s.jitter_us),
            loss_tx_ppm: sample.map(|s| s.loss_tx_ppm),
            loss_rx_ppm: sample.map(|s| s.loss_rx_ppm),
            selected_for: sample.map(|s| s.selected_for.clone()).unwrap_or_default(),
            violates: sample.map(violations).unwrap_or_default(),
            mos_milli: sample.map(|s| s.mos_milli).filter(|mos| *mos > 0),
            tx_bytes: sample.map(|s| s.tx_bytes),
            rx_bytes: sample.map(|s| s.rx_bytes),
            sample_unix_ms: end.sample_unix_ms,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Path {
    pub id: u32,
    pub tunnel_id: u32,
    pub state: String,
    pub ipv6: bool,
    pub a: PathEnd,
    pub b: PathEnd,
}

impl From<operator::Path> for Path {
    fn from(path: operator::Path) -> Self {
        Self {
            state: path_state(path.state()).to_owned(),
            ipv6: path.family() == config::AddressFamily::Ipv6,
            id: path.id,
            tunnel_id: path.tunnel_id,
            a: path.a.unwrap_or_default().into(),
            b: path.b.unwrap_or_default().into(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Paths {
    pub paths: Vec<Path>,
    pub next_page_token: String,
    /// With gateways that are not Hawser: all of them, in the first page.
    pub ike_tunnels: Vec<IkeTunnel>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct IkeTunnel {
    pub site: String,
    pub edge: String,
    pub name: String,
    /// Keyed by hand: IKE has no part in it.
    pub manual: bool,
    pub uplink: String,
    /// up, waiting, authenticated, connecting, blocked or unknown.
    pub state: String,
    /// Why it is not up, as far as it is known.
    pub reason: String,
    pub local_address: String,
    pub remote_address: String,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub rekeys: u64,
    pub retries: u64,
    pub since_unix_ms: u64,
    /// From one link to another, since the agent's start.
    pub moves: u64,
    /// The ways that it may take; none, if there is no choice and nothing is probed.
    pub links: Vec<IkeLink>,
}

/// An uplink of the edge and an address of the gateway.
#[derive(Debug, Serialize, ToSchema)]
pub struct IkeLink {
    /// Stands for it in decisions.
    pub link_id: u32,
    pub uplink: String,
    /// Empty: the uplink has none of the gateway's family.
    pub local_address: String,
    pub remote_address: String,
    /// up, down, connecting or unknown.
    pub state: &'static str,
    pub chosen: bool,
    pub rtt_us: u32,
    pub jitter_us: u32,
    pub loss_ppm: u32,
    pub limits_crossed: Vec<String>,
    /// Plain words; empty: it is the one.
    pub refused_because: String,
}

impl From<agent::IkeLink> for IkeLink {
    fn from(link: agent::IkeLink) -> Self {
        Self {
            link_id: link.link_id,
            state: path_state(link.state()),
            uplink: link.uplink,
            local_address: link.local_address,
            remote_address: link.remote_address,
            chosen: link.chosen,
            rtt_us: link.rtt_us,
            jitter_us: link.jitter_us,
            loss_ppm: link.loss_ppm,
            limits_crossed: link.limits_crossed,
            refused_because: link.refused_because,
        }
    }
}

impl From<operator::IkeTunnel> for IkeTunnel {
    fn from(tunnel: operator::IkeTunnel) -> Self {
        let sample = tunnel.sample.unwrap_or_default();
        Self {
            site: tunnel.site,
            edge: tunnel.edge,
            name: tunnel.name,
            manual: tunnel.manual,
            uplink: tunnel.uplink,
            state: sample.state().word().to_owned(),
            reason: sample.reason,
            local_address: sample.local_address,
            remote_address: sample.remote_address,
            tx_packets: sample.tx_packets,
            tx_bytes: sample.tx_bytes,
            rx_packets: sample.rx_packets,
            rx_bytes: sample.rx_bytes,
            rekeys: sample.rekeys,
            retries: sample.retries,
            since_unix_ms: sample.since_unix_ms,
            moves: sample.moves,
            links: sample.links.into_iter().map(Into::into).collect(),
        }
    }
}
