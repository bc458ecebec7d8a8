//! The JSON that `hawser-edge` and `hawser` print, as far as it is read here. Unknown fields are ignored: programs of
//! operators do the same.

use serde::Deserialize;
use std::collections::BTreeMap;

/// `hawser-edge status --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct StatusView {
    pub site: String,
    pub edge: String,
    pub controller: ControllerView,
    pub generations: GenerationsView,
    pub uplinks: Vec<UplinkView>,
    pub ike_tunnels: Vec<IkeView>,
    /// Drops and refusals by reason; only what is not zero.
    pub counters: BTreeMap<String, u64>,
}

/// A tunnel with a gateway that is not Hawser.
#[derive(Clone, Debug, Deserialize)]
pub struct IkeView {
    pub name: String,
    pub state: String,
    pub reason: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ControllerView {
    pub connected: bool,
}

/// As `<epoch>.<number>`; empty: none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct GenerationsView {
    pub applied: String,
    pub confirmed: String,
    pub refused: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct UplinkView {
    pub name: String,
    pub interface: String,
}

/// One of `hawser-edge paths --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct PathView {
    pub path_id: u32,
    pub peer_edge: String,
    pub local_uplink: String,
    pub remote_uplink: String,
    /// `connecting`, `up` or `down`.
    pub state: String,
    pub rtt_us: u32,
    /// Of inner packets, probes too.
    pub tx_bytes: u64,
    pub inner_mtu_bytes: u32,
    pub rekeys: u64,
    pub remote_endpoint: String,
    pub selected_for: Vec<String>,
    /// Classes whose SLA it meets now.
    pub meets_sla_for: Vec<String>,
}

impl PathView {
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == "up"
    }
}

/// `hawser-edge why --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct WhyView {
    pub next_hops: Vec<NextHopView>,
    /// Newest first.
    pub decisions: Vec<DecisionView>,
}

/// Where some prefixes go.
#[derive(Clone, Debug, Deserialize)]
pub struct NextHopView {
    pub prefixes: Vec<String>,
    /// An edge; empty: none.
    pub next_hop: String,
    pub meets_sla: bool,
    pub because: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct DecisionView {
    pub sequence: u64,
    pub unix_ms: u64,
    pub peer_edge: String,
    pub traffic_class: String,
    pub from_path: String,
    pub to_path: String,
    pub cause: String,
    pub summary: String,
    /// Of a decision about a next hop.
    pub prefixes: Vec<String>,
    pub from_next_hop: String,
    pub to_next_hop: String,
}
