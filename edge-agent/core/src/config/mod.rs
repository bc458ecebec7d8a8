//! What a generation asks of this edge, checked and typed. The wire form is `hawser.config.v1.EdgeConfig`.

mod decode;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use hawser_esp::Suite;
use ipnet::IpNet;

use crate::id::{ClassId, EdgeId, PathId, SegmentId, TunnelId, UplinkId};
use crate::ike::{IkeVersion, Start, TunnelMode};
use crate::manual::{KeyName, Mode, Protocol};

pub use decode::{Fault, decode};

/// Features that this agent has; a generation that requires another is refused.
pub const FEATURES: [&str; 9] = [
    "fabric-keys",
    "ike",
    "ike-certificates",
    "ike-interfaces",
    "ike-links",
    "ike-more",
    "manual-keys",
    "stamp",
    "userspace-dataplane",
];

/// One edge's desired state. References between its parts are known to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeState {
    pub fleet: String,
    pub site: String,
    pub edge: String,
    pub edge_id: EdgeId,
    /// `host:port`, best first.
    pub controllers: Vec<String>,
    pub fabric_port: u16,
    /// Traffic is to be led away from this edge.
    pub drained: bool,
    /// It carries nothing for others.
    pub leaf: bool,
    pub segments: BTreeMap<SegmentId, String>,
    pub uplinks: BTreeMap<UplinkId, Uplink>,
    pub lans: Vec<Lan>,
    pub tunnels: BTreeMap<TunnelId, Tunnel>,
    pub routes: Vec<Route>,
    pub sla_classes: BTreeMap<String, SlaLimits>,
    /// In order of match; the last matches everything.
    pub traffic_classes: Vec<TrafficClass>,
    /// With gateways that are not Hawser, by name.
    pub ike_tunnels: Vec<IkeTunnel>,
    /// The same under manual keys, by name.
    pub manual_tunnels: Vec<ManualTunnel>,
}

/// With a device that is not Hawser, under keys that people have put at both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManualTunnel {
    pub name: String,
    pub uplink: UplinkId,
    pub peer_address: IpAddr,
    pub protocol: Protocol,
    pub mode: Mode,
    /// Suite and waiver.
    pub profile: Profile,
    pub segment: SegmentId,
    pub local_prefixes: Vec<IpNet>,
    pub remote_prefixes: Vec<IpNet>,
    pub inbound: KeyName,
    pub outbound: KeyName,
}

/// What the ends of a tunnel with a gateway know each other by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IkeAuth {
    /// Name of the key, which is at the edge and travels nowhere.
    Psk(String),
    Certificate {
        /// Of the files at the edge that hold it and its key; `None`: those of the fleet's CA.
        own: Option<String>,
        peer_ca: PeerCa,
    },
}

/// Whose certificates a gateway may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerCa {
    /// Name of a file at the edge.
    Named(String),
    Pem(String),
}

/// With a gateway that is not Hawser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IkeTunnel {
    pub name: String,
    pub version: IkeVersion,
    /// By which it may leave, one or more, the first preferred.
    pub uplinks: Vec<UplinkId>,
    /// The first preferred.
    pub peer_addresses: Vec<IpAddr>,
    /// Empty: the first name in its certificate.
    pub local_id: String,
    pub remote_id: String,
    pub auth: IkeAuth,
    pub mode: TunnelMode,
    /// Suite and lifetimes.
    pub profile: Profile,
    /// As strongSwan names them.
    pub dh_groups: Vec<String>,
    /// Whose the local prefixes are.
    pub segment: SegmentId,
    pub local_prefixes: Vec<IpNet>,
    pub remote_prefixes: Vec<IpNet>,
    pub start: Start,
    /// 0: a dead peer is not looked for.
    pub dpd_delay_s: u32,
    /// `None`: as usual, if there is a choice.
    pub probe: Option<IkeProbe>,
    /// What its links are held against; without limits they are up or down.
    pub sla: SlaLimits,
    /// 0: the default.
    pub failback_hold_ms: u32,
    /// Of its packets.
    pub protocol: crate::ike::Protocol,
    /// The best two links have an association and an interface each. Of [`TunnelMode::Route`] only.
    pub warm: bool,
    /// The ends prove anew who they are; 0: never.
    pub reauth_after_s: u32,
    /// Of a warm tunnel: the link that routes lead to, by its place. The engine's word, and not the controller's.
    pub taken: usize,
}

/// How the links of a tunnel with a gateway are probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IkeProbe {
    pub kind: IkeProbeKind,
    pub interval_ms: u32,
    /// An address behind the gateway that is asked through the tunnel.
    pub inside: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IkeProbeKind {
    Icmp,
    /// To a reflector of STAMP or TWAMP Light at the gateway.
    Stamp {
        port: u16,
    },
    /// What IKE itself tells must do.
    None,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    pub id: UplinkId,
    pub name: String,
    pub interface: String,
    pub transport: String,
    pub provider: String,
    pub cost: u32,
    pub metered: bool,
    /// Next hops; for a family without one, the kernel's default route over the interface is copied.
    pub gateways: Vec<IpAddr>,
    /// 0: no limit.
    pub probe_budget_bytes_per_s: u64,
    /// What it can send; 0: not known.
    pub bandwidth_up_kbps: u64,
    pub usage: UplinkUse,
    /// No path over it is chosen while another one works.
    pub drained: bool,
}

/// What an uplink is for. Best first: the order of selection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UplinkUse {
    /// Probed as the profile says.
    #[default]
    Normal,
    /// Kept warm at the least cost.
    Standby,
    /// Nothing is sent over it until no other path of the tunnel works.
    LastResort,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lan {
    pub interface: String,
    pub segment: SegmentId,
    pub prefixes: Vec<IpNet>,
    pub vlan: u16,
}

impl Lan {
    /// The kernel's name of the interface that carries this LAN.
    pub fn device(&self) -> String {
        if self.vlan == 0 {
            self.interface.clone()
        } else {
            format!("{}.{}", self.interface, self.vlan)
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    pub id: TunnelId,
    pub peer_edge: String,
    pub peer_site: String,
    pub peer_edge_id: EdgeId,
    pub profile: Profile,
    pub paths: BTreeMap<PathId, Path>,
    /// Inner sources that the peer may originate.
    pub peer_sources: Vec<(SegmentId, IpNet)>,
    pub peer_uplinks: BTreeMap<UplinkId, PeerUplink>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerUplink {
    pub name: String,
    pub provider: String,
    /// Literal addresses only; the fabric port where the intent gives none.
    pub endpoints: Vec<SocketAddr>,
    pub usage: UplinkUse,
    /// As [`Uplink::drained`].
    pub drained: bool,
    /// What it can receive; 0: not known.
    pub bandwidth_down_kbps: u64,
    /// 0: no limit.
    pub probe_budget_bytes_per_s: u64,
    /// Paths over it in the whole fleet, where they share a budget or a standby's allowance; 0: not given.
    pub paths: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    pub id: PathId,
    pub local_uplink: UplinkId,
    pub remote_uplink: UplinkId,
    pub ipv6: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    pub suite: Suite,
    /// Of a suite that is for old peers only.
    pub waiver: Option<Waiver>,
    pub rekey_after_s: u32,
    pub rekey_after_bytes: u64,
    pub replay_window_packets: u32,
    pub esn: bool,
    pub probe_interval_ms: u32,
    pub probe_idle_interval_ms: u32,
    /// Losses in a row below which a path is never down; 0: the default.
    pub down_after_probes: u32,
}

/// Lets an old suite be used for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// The first second after its last day.
    pub ends_unix_s: u64,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub segment: SegmentId,
    pub prefix: IpNet,
    /// Tunnels to the next hops, best first; empty: only guarded.
    pub next_hops: Vec<TunnelId>,
}

/// 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlaLimits {
    pub max_rtt_us: u32,
    pub max_jitter_us: u32,
    pub max_loss_ppm: u32,
    pub sensitivity: Sensitivity,
}

/// How sure a verdict must be. 0 takes the default of [`crate::policy`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sensitivity {
    /// Confidence that loss is above its limit before that is damage, parts per million.
    pub loss_confidence_ppm: u32,
    /// No loss that counts as damage for this long before loss is mended.
    pub loss_mended_ms: u32,
    /// Delay or jitter beyond its limit for this long is damage.
    pub delay_damage_ms: u32,
    /// Delay and jitter within their limits for this long are mended.
    pub delay_mended_ms: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficClass {
    pub id: ClassId,
    pub name: String,
    /// None: any segment.
    pub segment: Option<SegmentId>,
    pub matches: Vec<Match>,
    /// Empty: no SLA.
    pub sla_class: String,
    pub drop_when_none_meets: bool,
    pub prefer_uplinks: Vec<String>,
    pub failback_hold_ms: u32,
    pub dwell_ms: u32,
    pub symmetric: bool,
    pub mode: ClassMode,
    /// DSCP of the outer headers; `None`: that of the packet inside.
    pub wan_dscp: Option<u8>,
}

/// How a class uses its paths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClassMode {
    /// One path.
    #[default]
    Best,
    /// Flows are spread over the paths that meet the SLA; one flow stays on one path.
    Balance(BalanceBy),
    /// Every packet on two paths that share no uplink.
    Duplicate,
}

/// What the weights of a balanced class come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BalanceBy {
    /// Bandwidth where both ends give it, else equal.
    #[default]
    Bandwidth,
    /// The inverse of 1 + the uplink's cost.
    Cost,
}

/// All given fields must fit; within one field, any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    pub sources: Vec<IpNet>,
    pub destinations: Vec<IpNet>,
    pub protocols: Vec<u8>,
    pub source_ports: Vec<(u16, u16)>,
    pub destination_ports: Vec<(u16, u16)>,
    pub dscps: Vec<u8>,
}

impl EdgeState {
    /// Every overlay prefix, with its segment.
    pub fn overlay_prefixes(&self) -> BTreeSet<(SegmentId, IpNet)> {
        self.routes.iter().map(|r| (r.segment, r.prefix)).collect()
    }

    /// Every path with its tunnel.
    pub fn paths(&self) -> impl Iterator<Item = (&Tunnel, &Path)> {
        self.tunnels.values().flat_map(|t| t.paths.values().map(move |p| (t, p)))
    }

    /// `isp-a → hq-1 isp-b`, for people.
    pub fn path_name(&self, id: PathId) -> String {
        let Some((tunnel, path)) = self.paths().find(|(_, p)| p.id == id) else {
            return format!("path {id}");
        };
        let local = self.uplinks.get(&path.local_uplink).map_or("?", |u| u.name.as_str());
        let remote = tunnel.peer_uplinks.get(&path.remote_uplink).map_or("?", |u| u.name.as_str());
        format!("{local} → {} {remote}", tunnel.peer_edge)
    }
}
