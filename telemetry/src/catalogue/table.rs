//! The table.

use super::Kind::{Counter, Gauge, Histogram};
use super::Scope::{Class, Fleet, IkeTunnel, Path, Process, Site, Uplink};
use super::Teller::{Both, Controller, Edge};
use super::{Metric, Micro};

/// 1 ms to a minute.
const PUSH_BOUNDS: &[Micro] = &[
    1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];
/// 10 µs to 5 s.
const STORE_BOUNDS: &[Micro] = &[
    10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 5_000_000,
];

macro_rules! metrics {
    ($($id:ident: $name:literal $unit:literal $kind:expr, $scope:ident [$($own:literal),*] $teller:ident $help:literal;)+) => {
        $(
            #[doc = $help]
            pub static $id: Metric = Metric {
                name: $name, unit: $unit, kind: $kind, scope: $scope, own: &[$($own),*],
                teller: $teller, help: $help,
            };
        )+
        /// Every metric, in the order of the page.
        pub static ALL: &[&Metric] = &[$(&$id),+];
    };
}

metrics! {
    PATH_STATE: "hawser.path.state" "" Gauge, Path [] Both
        "Whether the path carries anything: 2 up, 1 connecting (no probe was ever answered), 0 down.";
    PATH_RTT: "hawser.path.rtt" "s" Gauge, Path [] Both
        "Round-trip time of probes in the path, smoothed as in RFC 6298. Missing before the first answer.";
    PATH_RTT_QUANTILE: "hawser.path.rtt.quantile" "s" Gauge, Path ["quantile"] Both
        "Round-trip times of the probes of the last 30 s: the quantile 0.5, 0.95 or 0.99, nearest rank.";
    PATH_JITTER: "hawser.path.jitter" "s" Gauge, Path [] Both
        "Jitter of round-trip times (RFC 3550 section 6.4.1).";
    PATH_LOSS: "hawser.path.loss" "1" Gauge, Path ["direction"] Both
        "Share of the probes of the last 30 s that was lost on the way to the peer (tx) or from it (rx).";
    PATH_MOS: "hawser.path.mos" "{mos}" Gauge, Path [] Both
        "Mean opinion score of speech over the path by the E-model (G.107), 1 to 4.5.";
    PATH_SLA_MET: "hawser.path.sla.met" "" Gauge, Path ["sla_class"] Both
        "1 while the path is up and no limit of the SLA class is known to be crossed, else 0.";
    PATH_SELECTED: "hawser.path.selected" "" Gauge, Path ["class"] Both
        "1 where this end sends the traffic class over the path. Missing where it does not.";
    PATH_IO: "hawser.path.io" "By" Counter, Path ["direction"] Both
        "Octets of inner packets, probes included: sealed and sent (tx), authenticated and accepted (rx).";
    PATH_PACKETS: "hawser.path.packets" "{packet}" Counter, Path ["direction"] Both
        "Inner packets, probes included: sealed and sent (tx), authenticated and accepted (rx).";
    PATH_REKEYS: "hawser.path.rekeys" "{rekey}" Counter, Path [] Both
        "Fresh keys that replaced older ones.";
    PATH_SA_AGE: "hawser.path.sa.age" "s" Gauge, Path [] Both
        "Time since the path's outbound SA was installed. Missing without one.";
    PATH_MTU: "hawser.path.mtu" "By" Gauge, Path [] Both
        "Longest inner packet that fits the path.";

    SITE_PATHS: "hawser.site.paths" "{path}" Gauge, Site ["state"] Both
        "The edge's paths by state: up, connecting, down.";
    SITE_PATHS_OUT_OF_SLA: "hawser.site.paths.out_of_sla" "{path}" Gauge, Site ["sla_class"] Both
        "The edge's paths that do not meet the SLA class now, those that are down included.";
    SITE_RTT_MAX: "hawser.site.rtt.max" "s" Gauge, Site [] Both
        "The longest round-trip time of the edge's paths that are up.";
    SITE_JITTER_MAX: "hawser.site.jitter.max" "s" Gauge, Site [] Both
        "The largest jitter of the edge's paths that are up.";
    SITE_LOSS_MAX: "hawser.site.loss.max" "1" Gauge, Site ["direction"] Both
        "The largest loss of the edge's paths that are up.";
    SITE_MOS_MIN: "hawser.site.mos.min" "{mos}" Gauge, Site [] Both
        "The lowest mean opinion score of the edge's paths that are up.";
    SITE_IO: "hawser.site.io" "By" Counter, Site ["direction"] Both
        "Octets of inner packets over all present paths of the edge. It falls, like at a restart, when a path is removed.";

    UPLINK_CARRIER: "hawser.uplink.carrier" "" Gauge, Uplink [] Both
        "1 while the uplink's interface has carrier, else 0.";
    UPLINK_BANDWIDTH: "hawser.uplink.bandwidth" "By/s" Gauge, Uplink ["direction"] Both
        "What the fleet's document says the uplink can do. Missing where it says nothing.";

    EDGE_CONNECTED: "hawser.edge.connected" "" Gauge, Site [] Both
        "1 while the agent has a session with a controller, else 0.";
    EDGE_HEADLESS: "hawser.edge.headless.time" "s" Counter, Site [] Edge
        "Time that the agent has spent without a controller since its start.";
    EDGE_UPTIME: "hawser.edge.uptime" "s" Gauge, Site [] Edge
        "Time since the agent's start.";
    EDGE_GENERATION: "hawser.edge.generation" "" Gauge, Site ["state"] Both
        "Number of the generation that is desired (told by the controller only), seen, applied, confirmed. Epochs are left out.";
    EDGE_GENERATION_LAG: "hawser.edge.generation.lag" "s" Gauge, Site [] Controller
        "For how long the edge has not had what the controller wants of it; 0: it has. Noticed at the first collection, so it starts up to one interval late.";
    EDGE_SILENCE: "hawser.edge.silence" "s" Gauge, Site [] Controller
        "Time since the controller heard of the edge. Missing if it never did.";
    EDGE_DROPS: "hawser.edge.packet.drops" "{packet}" Counter, Site ["reason"] Both
        "Packets that the edge's data plane dropped, by reason. Reasons without any are missing. second_copy and keepalive are as it should be.";
    EDGE_COUNTS: "hawser.edge.counts" "{event}" Counter, Site ["event"] Both
        "Everything else that the agent counts, under the name that hawser-edge status has for it: refusals, queue drops, deferred probes.";

    SELECTION_MOVES: "hawser.selection.moves" "{move}" Counter, Class ["cause"] Both
        "Decisions that moved a traffic class of a tunnel, by cause: START, PATH_DOWN, SLA_VIOLATED, FAIL_BACK, BETTER_PATH, CONFIG, NONE_LEFT, MEMBERS. The controller counts those that it heard of since its start.";
    SELECTION_OUT_OF_SLA: "hawser.selection.out_of_sla.time" "s" Counter, Class [] Edge
        "Time in which the class was on a path that did not meet its SLA, or on none.";
    SELECTION_HELD: "hawser.selection.held" "{path}" Gauge, Class [] Edge
        "Better paths that must wait before the class may move to them: they must prove good first, or moves have been too many.";
    SELECTION_TOKENS: "hawser.selection.tokens" "{move}" Gauge, Class [] Edge
        "Voluntary moves that may be made now.";

    IKE_STATE: "hawser.ike.state" "" Gauge, IkeTunnel [] Both
        "4 up; 3 waiting for a first packet (trap); 2 the peer is authenticated, but not all traffic passes; 1 connecting; 0 blocked: a key, an address or strongSwan is missing at the edge.";
    IKE_IO: "hawser.ike.io" "By" Counter, IkeTunnel ["direction"] Both
        "Octets of inner packets, over all associations since the agent's start.";
    IKE_PACKETS: "hawser.ike.packets" "{packet}" Counter, IkeTunnel ["direction"] Both
        "Inner packets, over all associations since the agent's start.";
    IKE_REKEYS: "hawser.ike.rekeys" "{rekey}" Counter, IkeTunnel [] Both
        "Associations of traffic that replaced older ones.";
    IKE_RETRIES: "hawser.ike.retries" "{attempt}" Counter, IkeTunnel [] Both
        "Attempts that the agent began itself, because strongSwan had given up.";
    IKE_MOVES: "hawser.ike.moves" "{move}" Counter, IkeTunnel [] Both
        "From one link (an uplink and an address of the gateway) to another. Missing where there is no choice and nothing is probed, like what follows.";
    IKE_LINK_STATE: "hawser.ike.link.state" "" Gauge, IkeTunnel ["uplink", "gateway"] Both
        "Whether the gateway answers over the link: 2 up, 1 connecting (no probe was ever answered), 0 down.";
    IKE_LINK_SELECTED: "hawser.ike.link.selected" "" Gauge, IkeTunnel ["uplink", "gateway"] Both
        "1 for the link that the tunnel is over, or is tried over.";
    IKE_LINK_RTT: "hawser.ike.link.rtt" "s" Gauge, IkeTunnel ["uplink", "gateway"] Both
        "Round-trip time of probes over the link, or through the tunnel if that is probed inside. Missing before the first answer.";
    IKE_LINK_LOSS: "hawser.ike.link.loss" "1" Gauge, IkeTunnel ["uplink", "gateway"] Both
        "Share of the probes of the last 30 s that was lost, on the way there or back.";

    FLEET_REVISION: "hawser.fleet.revision" "" Gauge, Fleet [] Controller
        "Revision of the fleet's document that is in force.";
    FLEET_SERVED: "hawser.fleet.served" "" Gauge, Fleet [] Controller
        "1 while the controller serves the fleet; 0: it could not be opened at the start, or its store has failed since. Nothing else is told of the fleet then.";
    CONTROLLER_EDGES: "hawser.controller.edges" "{edge}" Gauge, Fleet ["state"] Controller
        "Edges of the fleet: known (in the document), enrolled, connected, converged (have applied what is desired).";
    CONTROLLER_STREAMS: "hawser.controller.streams" "{stream}" Gauge, Fleet [] Controller
        "Sessions with agents that are open now.";
    CONTROLLER_PUSH: "hawser.controller.push.duration" "s" Histogram(PUSH_BOUNDS), Fleet ["outcome"] Controller
        "From the push of a generation to the agent's answer: acked or nacked.";
    CONTROLLER_STORE: "hawser.controller.store.duration" "s" Histogram(STORE_BOUNDS), Fleet ["operation"] Controller
        "How long the store took: get, range, txn (durable when it returns).";
    CONTROLLER_COUNTS: "hawser.controller.counts" "{event}" Counter, Fleet ["event"] Controller
        "What the controller counts, under the name that hawser status has for it: refusals, queue drops, rate limits. What belongs to no fleet yet (a handshake that fails) is with the first that is served.";
    CONTROLLER_UNKNOWN_FLEETS: "hawser.controller.unknown_fleet_names" "{event}" Counter, Process ["by"] Controller
        "Connections and requests for a fleet that is not served here: by the name that TLS asks for (tls), by a path below /f/ (path).";
    CONTROLLER_UPTIME: "hawser.controller.uptime" "s" Gauge, Process [] Controller
        "Time since the controller's start.";

    TELEMETRY_SERIES: "hawser.telemetry.series" "{series}" Gauge, Process [] Both
        "Series in this collection.";
    TELEMETRY_SERIES_MAX: "hawser.telemetry.series.max" "{series}" Gauge, Fleet [] Both
        "Series of paths that each fleet is allowed at most: --metrics-max-series.";
    TELEMETRY_AGGREGATED: "hawser.telemetry.aggregated" "" Gauge, Fleet [] Both
        "1 while the series of the fleet's paths would be more than allowed: they are left out, and hawser.site.* stands for them. Else 0.";
    TELEMETRY_SCRAPES: "hawser.telemetry.scrapes" "{scrape}" Counter, Process ["outcome"] Both
        "Requests to the scrape endpoint: answered; refused (wrong path or method, or too many at once).";
    TELEMETRY_PUSHES: "hawser.telemetry.pushes" "{push}" Counter, Process ["outcome"] Both
        "Pushes by OTLP: ok, or failed (the figures of that moment are lost, counters go on).";
    TELEMETRY_RECORDS: "hawser.telemetry.records" "{record}" Counter, Process ["signal", "outcome"] Both
        "Spans (signal traces) and log lines (logs) for OTLP: pushed (ok), given up after some tries (failed), or not taken for want of room (dropped).";
    BUILD_INFO: "hawser.build.info" "" Gauge, Process ["version"] Both
        "1, with the version of the process.";
}
