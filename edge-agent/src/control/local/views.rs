//! What `hawser-edge status|paths|why` show: the JSON that programs read, the data of the tables.

use serde::{Deserialize, Serialize};

/// The state of a path that the generation in force has no more, and that its peer may still use.
pub const DEPARTING: &str = "departing";

/// `hawser-edge status`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    pub fleet: String,
    pub site: String,
    pub edge: String,
    pub agent_version: String,
    pub uptime_s: u64,
    pub controller: ControllerView,
    pub generations: GenerationsView,
    pub uplinks: Vec<UplinkView>,
    pub tunnels: Vec<TunnelView>,
    /// With gateways that are not Hawser.
    #[serde(default)]
    pub ike_tunnels: Vec<IkeView>,
    /// Drops and refusals by reason; only what is not zero.
    pub counters: std::collections::BTreeMap<String, u64>,
}

/// One tunnel with a gateway that is not Hawser.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IkeView {
    pub name: String,
    /// `blocked`, `waiting`, `connecting`, `authenticated` or `up`.
    pub state: String,
    /// Why it is not up, as far as it is known.
    pub reason: String,
    pub local_address: String,
    pub remote_address: String,
    pub tx_bytes: u64,
    pub rx_bytes: u64,
    pub rekeys: u64,
    pub retries: u64,
    pub since_unix_ms: u64,
}

/// The link to the controller.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ControllerView {
    pub connected: bool,
    /// `host:port`; empty while not connected.
    pub address: String,
    /// Interface; empty: not bound to one.
    pub uplink: String,
    /// Empty: none.
    pub last_error: String,
}

/// Generations as `<epoch>.<number>`; empty: none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GenerationsView {
    pub highest_seen: String,
    pub applied: String,
    pub confirmed: String,
    pub refused: Vec<String>,
}

/// One uplink of this edge.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UplinkView {
    pub name: String,
    pub interface: String,
    pub carrier: bool,
    pub addresses: Vec<String>,
    pub public_endpoints: Vec<String>,
    pub mtu_bytes: u32,
    pub metered: bool,
}

/// One tunnel, in short.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TunnelView {
    pub tunnel_id: u32,
    pub peer_site: String,
    pub peer_edge: String,
    pub paths: u32,
    pub paths_up: u32,
    /// Whether the peer connection, which brings the keys, is up.
    pub peer_connected: bool,
}

/// One row of `hawser-edge paths`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PathView {
    pub path_id: u32,
    pub peer_site: String,
    pub peer_edge: String,
    pub local_uplink: String,
    pub remote_uplink: String,
    /// `connecting`, `up`, `down`, or [`DEPARTING`].
    pub state: String,
    pub rtt_us: u32,
    pub jitter_us: u32,
    pub loss_tx_ppm: u32,
    pub loss_rx_ppm: u32,
    pub tx_bytes: u64,
    pub rx_bytes: u64,
    pub inner_mtu_bytes: u32,
    pub rekeys: u64,
    pub remote_endpoint: String,
    /// Traffic classes that this end sends over it.
    pub selected_for: Vec<String>,
    /// Traffic classes whose SLA it meets now, as this end sees it.
    pub meets_sla_for: Vec<String>,
}

/// `hawser-edge why`: what each class of each tunnel uses and how it came to that.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WhyView {
    pub selections: Vec<SelectionView>,
    /// Of prefixes that have several next hops, or none that can be used.
    #[serde(default)]
    pub next_hops: Vec<NextHopView>,
    /// Newest first.
    pub decisions: Vec<DecisionView>,
    /// The controller's, while it lasts.
    #[serde(default)]
    pub advice: Option<AdviceView>,
}

/// What the controller advises. It only orders what is equally good.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AdviceView {
    pub id: String,
    pub reason: String,
    pub avoid_paths: Vec<String>,
    /// As next hops.
    pub avoid_edges: Vec<String>,
    /// Until it runs out.
    pub left_s: u64,
}

/// What carries one class of one tunnel now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SelectionView {
    pub peer_edge: String,
    pub traffic_class: String,
    /// Empty: none.
    pub path: String,
    pub meets_sla: bool,
    pub since_unix_ms: u64,
    /// In plain words.
    pub because: String,
    /// Better paths that must wait.
    #[serde(default)]
    pub waiting: Vec<WaitingView>,
    /// Voluntary moves that may be made now, and the time until there is one more.
    #[serde(default)]
    pub moves_left: u32,
    #[serde(default)]
    pub next_move_s: u64,
    /// Until a voluntary move may follow the last move.
    #[serde(default)]
    pub dwell_left_s: u64,
}

/// A better path that is not taken yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WaitingView {
    pub path: String,
    pub left_s: u64,
    pub because: String,
}

/// Where some prefixes go now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NextHopView {
    pub segment: String,
    pub prefixes: Vec<String>,
    /// An edge; empty: none.
    pub next_hop: String,
    pub meets_sla: bool,
    pub since_unix_ms: u64,
    /// In plain words.
    pub because: String,
}

/// One decision with its evidence.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DecisionView {
    pub sequence: u64,
    pub unix_ms: u64,
    pub peer_edge: String,
    pub traffic_class: String,
    /// Empty: none.
    pub from_path: String,
    pub to_path: String,
    /// Stable, e.g. `PATH_DOWN`.
    pub cause: String,
    pub summary: String,
    /// Of a decision about a next hop: the first of the prefixes that moved. The class and the paths are empty then.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Edges; empty: none.
    #[serde(default)]
    pub from_next_hop: String,
    #[serde(default)]
    pub to_next_hop: String,
    pub candidates: Vec<CandidateView>,
    /// The controller's advice that it followed; empty: none.
    #[serde(default)]
    pub advice_id: String,
    /// Of OpenTelemetry; empty: this agent pushes no traces.
    #[serde(default)]
    pub trace_id: String,
}

/// One path, or next hop, that was looked at for a decision.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CandidateView {
    pub path: String,
    pub state: String,
    pub chosen: bool,
    /// Empty when chosen.
    pub refused_because: String,
    pub rtt_us: u32,
    pub jitter_us: u32,
    pub loss_tx_ppm: u32,
    pub loss_rx_ppm: u32,
    pub limits_crossed: Vec<String>,
}
