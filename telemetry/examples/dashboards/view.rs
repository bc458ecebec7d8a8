//! What the dashboards show.

use hawser_telemetry::catalogue::*;

use crate::build::{Dashboard, Panel, Variable, lines, number, states, table};
use crate::query::{each, quantile, rate, sum};

/// Recorded by deploy/prometheus/hawser.rules.yml.
const MOVED: &str = "hawser:selection_moves:delta1m";
const UPLINK_IO: &str = "hawser:uplink_io_bytes:rate1m";
const PATH: &str = "{{uplink}} → {{peer_site}} {{peer_uplink}}";
const CLASS: &str = "{{class}} → {{peer_site}}";
const STATES: [(&str, &str, &str); 3] =
    [("0", "down", "red"), ("1", "connecting", "yellow"), ("2", "up", "green")];
const IKE_STATES: [(&str, &str, &str); 5] = [
    ("0", "blocked", "red"),
    ("1", "connecting", "yellow"),
    ("2", "authenticated", "orange"),
    ("3", "waits for a packet", "blue"),
    ("4", "up", "green"),
];
const YES: [(&str, &str, &str); 2] = [("0", "no", "red"), ("1", "yes", "green")];
const TO_SITE: (&str, &str) = (
    "This site",
    "/d/hawser-site?${fleet:queryparam}&var-site=${__field.labels.site}${__data.fields.site}&${__url_time_range}",
);
/// Of the fleets that are chosen. None is if nobody tells one: so this also selects what versions before told.
const FLEET: &str = "fleet=~\"$fleet\"";
const SITE: &str = "fleet=~\"$fleet\",site=~\"$site\"";

/// File names and their contents.
pub fn all() -> Vec<(String, String)> {
    let dashboards = [fleet(), site(), path(), selection(), controller()];
    dashboards.iter().map(|d| (format!("{}.json", d.uid), d.text())).collect()
}

fn dashboard(
    uid: &'static str,
    title: &'static str,
    filter: &str,
    variables: Vec<Variable>,
    panels: Vec<Panel>,
) -> Dashboard {
    Dashboard {
        uid,
        title,
        variables,
        decisions: format!("{MOVED}{{{filter}}} > 0"),
        revisions: format!("changes({}{{{FLEET}}}[1m]) > 0", FLEET_REVISION.prometheus()),
        panels,
    }
}

fn of(name: &'static str, metric: &Metric, filter: &str, many: bool) -> Variable {
    let query = format!("label_values({}{{{filter}}}, {name})", metric.prometheus());
    Variable { name, query, many }
}

/// Names of sites are a fleet's own, so mostly one is looked at.
fn fleets(metric: &Metric, many: bool) -> Variable {
    of("fleet", metric, "", many)
}

fn top(count: u32, expr: &str) -> String {
    format!("topk({count}, {expr})")
}

fn fleet() -> Dashboard {
    let paths = |state: &str| sum("", &each(&SITE_PATHS, &format!("{FLEET},state=\"{state}\"")));
    let panels = vec![
        number("Edges connected", "none").query(sum("", &each(&EDGE_CONNECTED, FLEET)), ""),
        number("Paths up", "none").query(paths("up"), ""),
        number("Paths down", "none").query(paths("down"), ""),
        number("Moves in the last hour", "none")
            .query(format!("sum(sum_over_time({MOVED}{{{FLEET}}}[1h:15s])) / 4"), ""),
        number("Octets sent", "Bps")
            .query(sum("", &rate(&SITE_IO, &format!("{FLEET},direction=\"tx\""))), ""),
        number("Revision", "none")
            .query(format!("max({}{{{FLEET}}})", FLEET_REVISION.prometheus()), ""),
        table("Sites with the most paths out of SLA", "none")
            .query(top(20, &each(&SITE_PATHS_OUT_OF_SLA, FLEET)), "")
            .link(TO_SITE.0, TO_SITE.1),
        table("Sites with the most paths down", "none")
            .query(top(20, &each(&SITE_PATHS, &format!("{FLEET},state=\"down\""))), "")
            .link(TO_SITE.0, TO_SITE.1),
        lines("Largest loss, by site", "percentunit")
            .query(
                top(10, &sum_less_max("site, direction", &each(&SITE_LOSS_MAX, FLEET))),
                "{{site}} {{direction}}",
            )
            .link(TO_SITE.0, TO_SITE.1),
        lines("Longest round trip, by site", "s")
            .query(top(10, &sum_less_max("site", &each(&SITE_RTT_MAX, FLEET))), "{{site}}")
            .link(TO_SITE.0, TO_SITE.1),
        lines("Moves per minute, by cause", "none")
            .query(sum("cause", &format!("{MOVED}{{{FLEET}}}")), "{{cause}}"),
        lines("Lowest MOS, by site", "none")
            .query(
                format!("bottomk(10, min by (site) ({}))", each(&SITE_MOS_MIN, FLEET)),
                "{{site}}",
            )
            .link(TO_SITE.0, TO_SITE.1),
        lines("Traffic of all sites", "Bps")
            .query(sum("direction", &rate(&SITE_IO, FLEET)), "{{direction}}"),
        lines("Largest jitter, by site", "s")
            .query(top(10, &sum_less_max("site", &each(&SITE_JITTER_MAX, FLEET))), "{{site}}"),
    ];
    dashboard("hawser-fleet", "Hawser: fleet", FLEET, vec![fleets(&SITE_PATHS, false)], panels)
}

fn sum_less_max(labels: &str, inner: &str) -> String {
    format!("max by ({labels}) ({inner})")
}

fn site() -> Dashboard {
    let here = SITE;
    let panels = vec![
        number("Connected", "none").query(each(&EDGE_CONNECTED, here), "{{edge}}").names(&YES),
        number("Without a controller, in all", "s").query(each(&EDGE_HEADLESS, here), "{{edge}}"),
        number("Agent up", "s").query(each(&EDGE_UPTIME, here), "{{edge}}"),
        number("Lacks its generation for", "s").query(each(&EDGE_GENERATION_LAG, here), "{{edge}}"),
        number("Paths up", "none")
            .query(each(&SITE_PATHS, &format!("{here},state=\"up\"")), "{{edge}}"),
        number("Heard last", "s").query(each(&EDGE_SILENCE, here), "{{edge}}"),
        states("Paths").query(each(&PATH_STATE, here), PATH).names(&STATES),
        states("Uplinks with carrier").query(each(&UPLINK_CARRIER, here), "{{uplink}}").names(&YES),
        lines("Uplinks: octets of tunnels, and what the document says they can do", "Bps")
            .query(format!("{UPLINK_IO}{{{here}}}"), "{{uplink}} {{direction}}")
            .query(each(&UPLINK_BANDWIDTH, here), "{{uplink}} {{direction}} can do"),
        states("Class on path")
            .query(each(&PATH_SELECTED, here), &format!("{{{{class}}}}: {PATH}")),
        lines("Round trip", "s").query(each(&PATH_RTT, here), PATH),
        lines("Loss", "percentunit")
            .query(each(&PATH_LOSS, here), &format!("{PATH} {{{{direction}}}}")),
        lines("Jitter", "s").query(each(&PATH_JITTER, here), PATH),
        lines("Dropped packets per second, by reason", "pps")
            .query(rate(&EDGE_DROPS, here), "{{reason}}"),
        states("Tunnels with other gateways (IKE, manual keys)")
            .query(each(&IKE_STATE, here), "{{tunnel}}")
            .names(&IKE_STATES),
        lines("Their octets", "Bps").query(rate(&IKE_IO, here), "{{tunnel}} {{direction}}"),
        lines("Their packets", "pps").query(rate(&IKE_PACKETS, here), "{{tunnel}} {{direction}}"),
        lines("Their rekeys, and attempts of the agent's own", "none")
            .query(each(&IKE_REKEYS, here), "{{tunnel}} rekeys")
            .query(each(&IKE_RETRIES, here), "{{tunnel}} attempts")
            .query(each(&IKE_MOVES, here), "{{tunnel}} moves"),
        states("Their links: in use")
            .query(each(&IKE_LINK_SELECTED, here), "{{tunnel}} {{uplink}} → {{gateway}}"),
        states("Their links: answered")
            .query(each(&IKE_LINK_STATE, here), "{{tunnel}} {{uplink}} → {{gateway}}"),
        lines("Their links: round trip", "s")
            .query(each(&IKE_LINK_RTT, here), "{{tunnel}} {{uplink}} → {{gateway}}"),
        lines("Their links: loss", "percentunit")
            .query(each(&IKE_LINK_LOSS, here), "{{tunnel}} {{uplink}} → {{gateway}}"),
        lines("Generations", "none").query(each(&EDGE_GENERATION, here), "{{state}}"),
        lines("What else the agent counts, per second", "none")
            .query(rate(&EDGE_COUNTS, here), "{{event}}"),
    ];
    let variables = vec![fleets(&SITE_PATHS, false), of("site", &SITE_PATHS, FLEET, false)];
    dashboard("hawser-site", "Hawser: site", here, variables, panels)
}

fn path() -> Dashboard {
    let here = "fleet=~\"$fleet\",site=~\"$site\",path=~\"$path\"";
    let both = |text: &str| format!("{text} {{{{direction}}}}");
    let panels = vec![
        states("State").query(each(&PATH_STATE, here), PATH).names(&STATES),
        states("Meets its SLA class").query(each(&PATH_SLA_MET, here), "{{sla_class}}").names(&YES),
        lines("Round trip: smoothed, and quantiles of 30 s", "s")
            .query(each(&PATH_RTT, here), "smoothed")
            .query(each(&PATH_RTT_QUANTILE, here), "{{quantile}}"),
        lines("Jitter", "s").query(each(&PATH_JITTER, here), PATH),
        lines("Loss", "percentunit").query(each(&PATH_LOSS, here), "{{direction}}"),
        lines("MOS", "none").query(each(&PATH_MOS, here), PATH),
        lines("Octets", "Bps").query(rate(&PATH_IO, here), &both("octets")),
        lines("Packets", "pps").query(rate(&PATH_PACKETS, here), &both("packets")),
        lines("Age of the keys", "s").query(each(&PATH_SA_AGE, here), PATH),
        lines("Rekeys", "none").query(each(&PATH_REKEYS, here), PATH),
        states("Carries").query(each(&PATH_SELECTED, here), "{{class}}"),
        number("Inner MTU", "decbytes").query(each(&PATH_MTU, here), PATH),
    ];
    let variables = vec![
        fleets(&PATH_STATE, false),
        of("site", &PATH_STATE, FLEET, false),
        of("path", &PATH_STATE, SITE, false),
    ];
    dashboard("hawser-path", "Hawser: path", SITE, variables, panels)
}

fn selection() -> Dashboard {
    let here = "fleet=~\"$fleet\",site=~\"$site\",class=~\"$class\"";
    let panels = vec![
        states("Where each class is")
            .query(each(&PATH_SELECTED, here), &format!("{{{{site}}}} {{{{class}}}}: {PATH}")),
        lines("Moves per minute, by cause", "none")
            .query(
                sum("site, class, cause", &format!("{MOVED}{{{here}}}")),
                "{{site}} {{class}} {{cause}}",
            )
            .about("The decision itself, with its evidence: hawser why SITE --at TIME."),
        lines("Share of time out of SLA", "percentunit")
            .query(rate(&SELECTION_OUT_OF_SLA, here), &format!("{{{{site}}}} {CLASS}")),
        lines("Better paths that must wait", "none")
            .query(each(&SELECTION_HELD, here), &format!("{{{{site}}}} {CLASS}")),
        lines("Voluntary moves left", "none")
            .query(each(&SELECTION_TOKENS, here), &format!("{{{{site}}}} {CLASS}")),
        table("Moves since the agents' start", "none").query(each(&SELECTION_MOVES, here), ""),
    ];
    let variables = vec![
        fleets(&SELECTION_MOVES, false),
        of("site", &SELECTION_MOVES, FLEET, true),
        of("class", &SELECTION_MOVES, SITE, true),
    ];
    dashboard("hawser-selection", "Hawser: selection", here, variables, panels)
}

fn controller() -> Dashboard {
    let latest = |metric: &Metric| format!("max by (instance) ({})", metric.prometheus());
    let latest_of =
        |metric: &Metric| format!("max by (instance, fleet) ({}{{{FLEET}}})", metric.prometheus());
    let flow = |metric: &Metric, own: &str, filter: &str| {
        let rate = format!("rate({}{{{filter}}}[$__rate_interval])", metric.prometheus());
        format!("sum by (job, instance, {own}) ({rate})")
    };
    let each_one = "{{instance}} {{fleet}}";
    let panels = vec![
        number("Streams", "none").query(latest_of(&CONTROLLER_STREAMS), each_one),
        number("Up", "s").query(latest(&CONTROLLER_UPTIME), "{{instance}}"),
        number("Revision", "none").query(latest_of(&FLEET_REVISION), each_one),
        number("Series", "none").query(latest(&TELEMETRY_SERIES), "{{instance}}"),
        number("Series of paths at most", "none")
            .query(latest_of(&TELEMETRY_SERIES_MAX), each_one),
        number("Sites stand for paths", "none")
            .query(latest_of(&TELEMETRY_AGGREGATED), each_one)
            .names(&[("0", "no", "green"), ("1", "yes", "orange")]),
        number("Fleets served", "none")
            .query(latest_of(&FLEET_SERVED), each_one)
            .names(&YES)
            .about("No: it could not be opened, or its store failed. The log says why; a restart restores it from its exports."),
        lines("Asked for fleets that are not here, per second", "none")
            .query(flow(&CONTROLLER_UNKNOWN_FLEETS, "by", ""), "{{instance}} {{by}}"),
        lines("Edges", "none").query(each(&CONTROLLER_EDGES, FLEET), "{{fleet}} {{state}}"),
        lines("Edges that lack their generation, longest first", "s")
            .query(top(10, &each(&EDGE_GENERATION_LAG, FLEET)), "{{fleet}} {{edge}}"),
        lines("From push to answer", "s")
            .query(quantile(&CONTROLLER_PUSH, FLEET, "0.5"), "{{outcome}} p50")
            .query(quantile(&CONTROLLER_PUSH, FLEET, "0.99"), "{{outcome}} p99"),
        lines("Store", "s")
            .query(quantile(&CONTROLLER_STORE, FLEET, "0.5"), "{{operation}} p50")
            .query(quantile(&CONTROLLER_STORE, FLEET, "0.99"), "{{operation}} p99"),
        lines("What the controller counts, per second", "none")
            .query(flow(&CONTROLLER_COUNTS, "fleet, event", FLEET), "{{fleet}} {{event}}"),
        lines("Edges not heard, longest first", "s")
            .query(top(10, &each(&EDGE_SILENCE, FLEET)), "{{fleet}} {{edge}}"),
        lines("Scrapes per second", "none")
            .query(flow(&TELEMETRY_SCRAPES, "outcome", ""), "{{instance}} {{outcome}}"),
        lines("Pushes per second", "none")
            .query(flow(&TELEMETRY_PUSHES, "outcome", ""), "{{instance}} {{outcome}}"),
        lines("Spans and log lines per second", "none").query(
            flow(&TELEMETRY_RECORDS, "signal, outcome", ""),
            "{{instance}} {{signal}} {{outcome}}",
        ),
        table("Versions", "none")
            .query(format!("count by (job, version) ({})", BUILD_INFO.prometheus()), ""),
    ];
    let variables = vec![fleets(&FLEET_SERVED, true)];
    dashboard("hawser-controller", "Hawser: controller", FLEET, variables, panels)
}
