//! The engine: one task that owns an edge's run-time state and ties the parts together.
//!
//! Events come in from the data plane, the peer connections, the controller link, the host's kernel and local questions;
//! what they mean is decided in `hawser-edge-core`; effects go out through the same parts' handles. Nothing here
//! waits for the network or the kernel: what takes longer runs in a task of its own and reports back.

mod apply;
mod carrier;
mod clock;
mod departing;
mod endpoints;
mod explain;
mod facts;
mod forwarding;
mod gaps;
mod gateways;
mod host_task;
mod ike;
mod keys;
mod lans;
mod manual;
mod metrics;
mod pacing;
mod path;
mod peer_word;
mod peering;
mod pmtu;
mod probes;
mod reach;
mod report;
mod run;
mod selection;
mod symmetric;
mod timers;
mod traces;
mod views;
mod waivers;
mod whole_tunnels;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hawser_edge_core::config::EdgeState;
use hawser_edge_core::departures::Departures;
use hawser_edge_core::id::{ClassId, EdgeId, PathId, TunnelId, UplinkId};
use hawser_edge_core::keys::SaTerms;
use hawser_edge_core::probe::Pacer;
use hawser_edge_core::reach::Reach;
use hawser_edge_core::reconcile::Observed;
use hawser_edge_core::select::Selector;
use hawser_proto::agent::v1 as wire;
use hawser_proto::peer::v1::Selections;
use hawser_telemetry::Spans;
use tokio::sync::{mpsc, watch};

use crate::control::ControlHandle;
use crate::dataplane::DataPlane;
use crate::history::History;
use crate::host::Carriers;
use crate::ike::IkeHandle;
use crate::manual::ManualHandle;
use crate::peer::PeerRoutes;
use clock::Clock;
use forwarding::UplinkMtus;
use host_task::HostHandle;
use path::PathRuntime;
use peering::Peering;
use timers::Timers;

pub(crate) use clock::unix_ms;
pub(crate) use host_task::chain;
pub use run::{EngineError, Options, run, start};

/// Decisions kept for `hawser-edge why`.
const MAX_DECISIONS_KEPT: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Path(PathId),
    Selection(TunnelId, ClassId),
    Reach,
    Pace(TunnelId),
    Keepalive(UplinkId),
    Pmtu(PathId),
    Departures,
    /// Whichever link of a tunnel with a gateway is due.
    Gateways,
}

/// A selection that the engine holds: the selector and since when its path carries.
struct Selection {
    selector: Selector,
    since_unix_ms: u64,
}

struct Engine {
    clock: Clock,
    own: Own,
    control: ControlHandle,
    host: HostHandle,
    dataplane: Arc<dyn DataPlane>,
    peers: Peering,
    routes: Arc<PeerRoutes>,
    internal: mpsc::Sender<apply::Done>,
    /// The generation in force.
    generation: Option<Arc<EdgeState>>,
    /// It, and what departs beside it: what this edge holds.
    edge: Option<Arc<EdgeState>>,
    departures: Departures,
    /// What was in force before, as far as peers may still key by it.
    former: Option<Arc<EdgeState>>,
    /// By path: what they keyed by then, until this edge has keyed by what it wants now.
    former_terms: BTreeMap<PathId, SaTerms>,
    /// The paths that each peer's generation has, by its own word.
    pairings: BTreeMap<EdgeId, BTreeSet<PathId>>,
    /// Tunnels with paths that not both ends have.
    leaving_of: BTreeSet<TunnelId>,
    /// Orders that the host has not carried out yet.
    applies_under_way: usize,
    /// Opened in the data plane.
    uplinks: BTreeMap<UplinkId, crate::dataplane::UplinkSpec>,
    /// The last look at the kernel.
    seen: Observed,
    /// Newer than the last look, as far as it goes.
    carriers: watch::Receiver<Carriers>,
    /// MTUs of our uplinks and of our peers'.
    peer_mtus: UplinkMtus,
    /// What peers said of their own uplinks.
    hello_endpoints: BTreeMap<UplinkId, Vec<SocketAddr>>,
    /// What the controller knows of peers' uplinks.
    fact_endpoints: BTreeMap<UplinkId, Vec<SocketAddr>>,
    peers_up: BTreeSet<EdgeId>,
    paths: BTreeMap<PathId, PathRuntime>,
    selections: BTreeMap<(TunnelId, ClassId), Selection>,
    /// Tunnels with gateways that are not Hawser.
    ike: IkeHandle,
    /// Tunnels under manual keys.
    manual: ManualHandle,
    /// Those of them whose links are watched, by name.
    gateways: BTreeMap<String, gateways::Gateway>,
    /// What the sockets of their probes hear.
    echoes: mpsc::Sender<crate::ike::Echo>,
    /// Links that they have, or had under the agent before this one.
    held_links: crate::ike::held::Held,
    /// charon was told what it must hold.
    ike_begun: bool,
    state_dir: std::path::PathBuf,
    /// What peers that follow this edge were last told of symmetric classes.
    told_peers: BTreeMap<TunnelId, Selections>,
    reach: Reach,
    pacer: Pacer,
    timers: Timers<Timer>,
    decisions: VecDeque<wire::Decision>,
    counters: BTreeMap<String, u64>,
    telemetry_interval: Duration,
    /// Something changed that people wait for: the next report comes early.
    report_soon: bool,
    /// The controller's advice in force.
    advice: facts::Advised,
    /// What became of every probe, for the disk.
    history: History,
    /// What a former run left in the data plane.
    adopted: BTreeMap<PathId, crate::dataplane::AdoptedPath>,
    /// What the controller was told of why classes are where they are.
    told: explain::Told,
    metrics: metrics::Metrics,
    spans: Spans,
    /// The day on which the suites under a waiver were last told of.
    waivers_told_day: u64,
    /// A suite is in use whose keys last a few megabytes.
    short_lived_keys: bool,
    /// The operator's flag wins over the controller's wish.
    telemetry_fixed: bool,
}

/// Who this is, from its certificate.
struct Own {
    fleet: String,
    edge: String,
}

impl Engine {
    /// What an event is named after; a number where the generation knows no name.
    fn edge_name(&self, id: EdgeId) -> String {
        let tunnels = self.edge.iter().flat_map(|e| e.tunnels.values());
        tunnels
            .filter(|t| t.peer_edge_id == id)
            .map(|t| t.peer_edge.clone())
            .next()
            .unwrap_or_else(|| format!("edge {id}"))
    }

    fn path_name(&self, id: PathId) -> String {
        self.edge.as_ref().map_or_else(|| format!("path {id}"), |e| e.path_name(id))
    }

    /// Something that an operator may want to know.
    fn event(&self, code: &str, subject: &str, message: &str) {
        tracing::info!(code, subject, "{message}");
        self.control.event(wire::AgentEvent {
            unix_ms: clock::unix_ms(),
            code: code.to_owned(),
            subject: subject.to_owned(),
            message: message.to_owned(),
        });
    }

    /// Reasons come from code, never from the network: the table is bounded.
    fn count(&mut self, reason: &str) {
        *self.counters.entry(reason.to_owned()).or_default() += 1;
    }
}
