//! What the operator wants: the meaning of a document, with every default filled in and every reference known to hold.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::{Date, Suite};

macro_rules! name {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is; names of a parsed document are known to be DNS labels.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}

name! {
    /// A branch, hub, data centre; unique in the fleet.
    SiteName
    /// A device with one agent; unique in the fleet.
    EdgeName
    /// A WAN attachment; unique in its edge.
    UplinkName
    /// An isolated routing domain.
    SegmentName
    /// Limits on delay, jitter and loss.
    SlaName
    /// A match and the SLA class it must get.
    ClassName
    /// How tunnels are keyed and probed.
    ProfileName
    /// The underlay an uplink attaches to.
    TransportName
}

/// All that one organisation runs under one controller.
#[derive(Debug, Clone, PartialEq)]
pub struct Fleet {
    pub name: String,
    pub segments: Vec<SegmentName>,
    pub transport_pairs: TransportPairs,
    /// `host:port`, in order of preference.
    pub controllers: Vec<String>,
    pub fabric_port: u16,
    /// Those declared, then the presets that none of them replaces.
    pub sla_classes: Vec<SlaClass>,
    /// `standard` is always among them.
    pub tunnel_profiles: Vec<TunnelProfile>,
    /// In order of match; the last one is `default`.
    pub traffic_classes: Vec<TrafficClass>,
    pub sites: Vec<Site>,
    pub topologies: Vec<Topology>,
}

/// Which transports form paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TransportPairs {
    /// Each with itself.
    #[default]
    Equal,
    /// Those listed, each pair in ascending order.
    Listed(BTreeSet<(TransportName, TransportName)>),
}

impl TransportPairs {
    /// Whether uplinks of the two transports form paths.
    pub fn allow(&self, a: &TransportName, b: &TransportName) -> bool {
        match self {
            TransportPairs::Equal => a == b,
            TransportPairs::Listed(pairs) => {
                let (low, high) = if a <= b { (a, b) } else { (b, a) };
                pairs.contains(&(low.clone(), high.clone()))
            }
        }
    }
}

/// At least one limit is given. What is not given of the rest is the agent's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlaClass {
    pub name: SlaName,
    pub max_rtt_us: Option<u32>,
    pub max_jitter_us: Option<u32>,
    /// Parts per million.
    pub max_loss_ppm: Option<u32>,
    /// How sure it must be that loss is above its limit, parts per million.
    pub loss_confidence_ppm: Option<u32>,
    /// No loss that counts as damage for this long before loss is mended.
    pub loss_mended_ms: Option<u32>,
    /// Delay or jitter beyond its limit for this long is damage.
    pub delay_damage_ms: Option<u32>,
    /// Delay and jitter within their limits for this long are mended.
    pub delay_mended_ms: Option<u32>,
}

impl SlaClass {
    /// The agent's default.
    pub const DELAY_DAMAGE_MS: u32 = 600;
    /// The agent's default.
    pub const DELAY_MENDED_MS: u32 = 10_000;
}

/// How tunnels are keyed and probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelProfile {
    pub name: ProfileName,
    pub suite: Suite,
    /// Why an old suite may be used, and until when.
    pub waiver: Option<Waiver>,
    pub rekey_after_s: u32,
    pub rekey_after_bytes: u64,
    pub replay_window_packets: u32,
    pub esn: bool,
    pub probe_interval_ms: u32,
    /// On paths that carry nothing.
    pub probe_idle_interval_ms: u32,
    /// Losses in a row below which a path is never down; none: the agent's default.
    pub down_after_probes: Option<u32>,
}

/// Lets an old suite be used for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// The last day.
    pub until: Date,
    pub reason: String,
}

impl TunnelProfile {
    /// The name of the profile that needs no declaration.
    pub const STANDARD: &'static str = "standard";
}

impl Default for TunnelProfile {
    fn default() -> Self {
        Self {
            name: ProfileName::new(Self::STANDARD),
            suite: Suite::default(),
            waiver: None,
            rekey_after_s: 3_600,
            rekey_after_bytes: 64 << 30,
            replay_window_packets: 1_024,
            esn: true,
            probe_interval_ms: 100,
            probe_idle_interval_ms: 500,
            down_after_probes: None,
        }
    }
}

/// What happens to a class when no path meets its SLA.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenNoneMeets {
    #[default]
    LeastBad,
    Drop,
}

/// How a class uses the paths of a tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClassMode {
    /// One path.
    #[default]
    Best,
    /// Flows are spread over the paths that meet the SLA.
    Balance(BalanceBy),
    /// Every packet on two paths that share no uplink; with one path, on that one.
    Duplicate,
}

/// What the weights of a balanced class come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BalanceBy {
    /// Bandwidth where both ends give it, else equal.
    #[default]
    Bandwidth,
    Cost,
}

/// A match and the SLA class it must get.
#[derive(Debug, Clone, PartialEq)]
pub struct TrafficClass {
    pub name: ClassName,
    /// None: any.
    pub segment: Option<SegmentName>,
    /// Any of them; empty only in the default class, which matches everything.
    pub matches: Vec<Match>,
    pub sla: Option<SlaName>,
    pub when_none_meets: WhenNoneMeets,
    pub prefer_uplinks: Vec<UplinkName>,
    pub failback_hold_ms: u32,
    pub dwell_ms: u32,
    pub symmetric: bool,
    pub mode: ClassMode,
    /// What the WAN sees; none: the packet's own.
    pub wan_dscp: Option<u8>,
}

impl TrafficClass {
    /// The name of the class that matches everything.
    pub const DEFAULT: &'static str = "default";
}

impl Default for TrafficClass {
    fn default() -> Self {
        Self {
            name: ClassName::new(Self::DEFAULT),
            segment: None,
            matches: Vec::new(),
            sla: None,
            when_none_meets: WhenNoneMeets::LeastBad,
            prefer_uplinks: Vec::new(),
            failback_hold_ms: 10_000,
            dwell_ms: 2_000,
            symmetric: false,
            mode: ClassMode::Best,
            wan_dscp: None,
        }
    }
}

/// All given fields must fit; within one of them, any value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    pub source_prefixes: Vec<IpNet>,
    pub destination_prefixes: Vec<IpNet>,
    pub protocols: Vec<u8>,
    pub source_ports: Vec<PortRange>,
    pub destination_ports: Vec<PortRange>,
    pub dscps: Vec<u8>,
}

/// Both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

/// A branch, hub, data centre.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Site {
    pub name: SiteName,
    pub lans: Vec<Lan>,
    /// In order of preference.
    pub edges: Vec<Edge>,
    /// Traffic is led away from all of its edges.
    pub drained: bool,
}

/// Every edge of the site has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lan {
    pub interface: String,
    pub segment: SegmentName,
    pub prefixes: Vec<IpNet>,
    /// 0: untagged.
    pub vlan: u16,
    /// Other sites may have the same prefixes.
    pub shared_origin: bool,
}

/// A device with one agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edge {
    pub name: EdgeName,
    pub uplinks: Vec<Uplink>,
    /// With gateways that are not Hawser.
    pub ike_tunnels: Vec<IkeTunnel>,
    /// The same, with keys that people have put at both ends.
    pub manual_tunnels: Vec<ManualTunnel>,
    /// Traffic is led away from it; it stays the last that is used.
    pub drained: bool,
}

/// With a device that is not Hawser, under keys that nobody negotiates or renews: no anti-replay, no ESN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManualTunnel {
    pub name: String,
    pub protocol: ManualProtocol,
    pub mode: ManualMode,
    /// Of the same edge.
    pub uplink: UplinkName,
    /// `None` in a faulty document only.
    pub peer_address: Option<IpAddr>,
    /// Its suite, and the waiver of it.
    pub profile: ProfileName,
    pub segment: SegmentName,
    pub local_prefixes: Vec<IpNet>,
    pub remote_prefixes: Vec<IpNet>,
    pub inbound: ManualKey,
    pub outbound: ManualKey,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ManualProtocol {
    #[default]
    Esp,
    Ah,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ManualMode {
    #[default]
    Tunnel,
    /// GRE without a key, in transport mode.
    Gre,
}

/// Of one direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManualKey {
    pub spi: u32,
    /// Name of the key; the key itself is at the edge only.
    pub key_name: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IkeVersion {
    /// Main mode.
    V1,
    #[default]
    V2,
}

/// When a tunnel is negotiated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IkeStart {
    #[default]
    Now,
    /// By the first packet.
    Trap,
}

/// How packets get into a tunnel with a gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IkeMode {
    /// By the kernel's IPsec policies.
    #[default]
    Policy,
    /// By routes over an xfrm interface.
    Route,
    /// By routes over a GRE interface, which IPsec protects in transport mode.
    Gre,
}

/// What the two ends of a tunnel with a gateway know each other by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IkeAuth {
    /// Name of the pre-shared key; the key itself is at the edge only.
    Psk(String),
    Certificate {
        /// `None`: what the edge has of the fleet's CA. Else the name of files at the edge.
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
    /// Of the same edge, one or more, the first preferred.
    pub uplinks: Vec<UplinkName>,
    /// The gateway's, the first preferred.
    pub peer_addresses: Vec<IpAddr>,
    /// Empty: the first name in its certificate.
    pub local_id: String,
    pub remote_id: String,
    pub auth: IkeAuth,
    pub mode: IkeMode,
    pub profile: ProfileName,
    /// As strongSwan names them, the first preferred.
    pub dh_groups: Vec<&'static str>,
    pub segment: SegmentName,
    pub local_prefixes: Vec<IpNet>,
    pub remote_prefixes: Vec<IpNet>,
    pub start: IkeStart,
    /// 0: a dead peer is not looked for.
    pub dpd_delay_s: u32,
    /// `None`: as usual.
    pub probe: Option<IkeProbe>,
    /// What its links are held against; `None`: up or down.
    pub sla: Option<SlaName>,
    /// 0: as usual.
    pub failback_hold_ms: u32,
    pub protocol: ManualProtocol,
    /// The second best link has an association, too.
    pub warm: bool,
    /// The ends prove anew who they are; 0: fresh keys are enough.
    pub reauth_after_s: u32,
}

/// How the links of a tunnel with a gateway are probed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IkeProbe {
    pub kind: IkeProbeKind,
    /// Of the gateway's reflector.
    pub port: u32,
    /// Of the link in use.
    pub interval_ms: u32,
    /// A host behind the gateway, asked through the tunnel.
    pub inside: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IkeProbeKind {
    /// Echo requests to the gateway's address.
    #[default]
    Icmp,
    /// STAMP or TWAMP Light, where the gateway reflects.
    Stamp,
    /// What IKE itself tells must do.
    None,
}

/// An address family of the underlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
    }
}

/// What an uplink is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UplinkUse {
    /// Probed as the tunnel's profile says.
    #[default]
    Normal,
    /// Kept warm at the least cost, and chosen after others.
    Standby,
    /// Not even keyed until no other path of the tunnel works.
    LastResort,
}

/// A WAN attachment.
#[derive(Debug, Clone, PartialEq)]
pub struct Uplink {
    pub name: UplinkName,
    pub interface: String,
    pub transport: TransportName,
    pub provider: String,
    /// As peers reach them; empty: they are discovered.
    pub addresses: Vec<IpAddr>,
    pub families: BTreeSet<Family>,
    pub gateways: Vec<IpAddr>,
    pub cost: u32,
    pub metered: bool,
    pub usage: UplinkUse,
    /// No path over it is chosen while another one works.
    pub drained: bool,
    /// 0: not known.
    pub bandwidth_up_kbps: u64,
    /// 0: not known.
    pub bandwidth_down_kbps: u64,
    /// 0: no limit.
    pub probe_budget_bytes_per_s: u64,
}

/// Which sites are joined, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    pub name: Option<String>,
    pub kind: TopologyKind,
    pub profile: ProfileName,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopologyKind {
    /// Each hub with each spoke, and the hubs among themselves. Hubs: the primary, then its backups.
    HubSpoke { hubs: Vec<SiteName>, spokes: Members },
    /// Each with each.
    FullMesh { sites: Members },
    /// Those pairs.
    Partial { pairs: Vec<(SiteName, SiteName)> },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Members {
    /// Every site of the fleet (hub-spoke: that is no hub of this topology).
    #[default]
    All,
    Listed(Vec<SiteName>),
}
