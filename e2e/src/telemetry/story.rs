//! The fleet, its failover, and the questions.

use super::long_history;
use super::prometheus::{self, Prometheus, unix_ms};
use super::queries;
use super::receiver::Receiver;
use super::{Cli, Report};
use crate::fleet::wait::{self, Look};
use crate::fleet::{Fleet, FleetError, FleetSpec, Flow};
use crate::screen::Screen;
use crate::wan::Impairment;
use std::path::Path;
use std::time::{Duration, Instant};

const UP: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(60);
/// Longer than the window of the queries' rates.
const SETTLE: Duration = Duration::from_secs(15);
const TRIES: u32 = 4;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
/// What is no TLS to the controller, which counts it; and datagrams that are not of the fleet to the hub's fabric port: a
/// rule looks at such.
const STRANGER: &str = "import socket,time\nt=socket.create_connection(('127.0.0.1',4511))\nt.send(b'no TLS at all')\nt.close()\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\nfor n in range(20):\n s.sendto(b'\\x7f'*64,('198.51.100.2',4510)); time.sleep(0.1)";
/// The branch whose uplink fails, and the link. By its address at isp-a it is scraped, so that comes back after.
const BRANCH: &str = "b1-1";
/// As the dashboard of selection asks, for one branch.
const MOVED: &str =
    "sum by (cause) (hawser:selection_moves:delta1m{site=\"b1\",cause=\"PATH_DOWN\"}) > 0";

pub(super) fn tell(screen: &Screen, cli: &Cli, report: &mut Report) -> Result<(), FleetError> {
    let mut fleet = Fleet::lay_out(spec(cli.receiver.is_some())?)?;
    let told = run(screen, cli, report, &mut fleet);
    if told.is_err() {
        eprintln!("{}", fleet.log_tails());
    }
    told
}

fn spec(pushed: bool) -> Result<FleetSpec, FleetError> {
    let mut spec = FleetSpec::demo()?;
    // A panel shows what the document says of uplinks.
    let bandwidth = "provider: isp-a, bandwidth_up_mbps: 100,";
    spec.document = spec.document.replace("provider: isp-a,", bandwidth);
    // And that a tunnel with a gateway is blocked, for its edge has no key for it; its one link is probed all the same, to a router that answers.
    let tunnel = "      - name: b1-1\n        ike_tunnels:\n          - {name: dc, uplink: isp-a, peer_addresses: \
                  [192.0.2.17], probe: {by: icmp}, local_id: b1.example.net, remote_id: dc.example.net, psk: dc, \
                  local_prefixes: [10.2.0.0/24], remote_prefixes: [10.9.0.0/24]}\n";
    spec.document = spec.document.replace("      - name: b1-1\n", tunnel);
    let args = |listen: &str, endpoint: &str, protocol: &str| {
        let mut args = vec!["--metrics-listen", listen];
        if pushed {
            args.extend(["--otlp-endpoint", endpoint, "--otlp-protocol", protocol]);
            args.extend(["--otlp-interval-ms", "1000"]);
        }
        args.into_iter().map(str::to_owned).collect()
    };
    spec.agent_args = args("0.0.0.0:9464", "http://192.0.2.18:4317", "grpc");
    spec.controller_args = args("127.0.0.1:9465", "http://127.0.0.1:4318", "http/protobuf");
    spec.controller_args.extend(["--prometheus-url".to_owned(), prometheus::URL.to_owned()]);
    Ok(spec)
}

fn run(
    screen: &Screen,
    cli: &Cli,
    report: &mut Report,
    fleet: &mut Fleet,
) -> Result<(), FleetError> {
    let receiver = match &cli.receiver {
        None => None,
        Some(program) => Some(Receiver::start(fleet, program)?),
    };
    fleet.start_controller()?;
    fleet.apply(&fleet.spec().document.clone(), "first")?;
    fleet.enrol_all()?;
    fleet.start_agents()?;
    let paths = fleet.wait_all_up(UP)?;
    let begun = Instant::now();
    let prometheus = Prometheus::start(fleet, &cli.deploy)?;
    let flow = Flow::start(fleet, "b1-host", "hq-host", 7001, false)?;
    flow.wait_flowing(UP)?;
    wait::until("Prometheus has scraped everybody", SOON, || {
        let up = prometheus.count("up == 1").unwrap_or(0);
        Ok(if up == 4 { Look::Done(()) } else { Look::Not(format!("{up} of 4 targets")) })
    })?;
    screen.step("scraped").told(true, "a controller and three agents");

    fleet.lab().exec("controller", &["python3", "-c", STRANGER])?;
    report.move_shown_after_ms = failover(fleet, &prometheus)?;
    let after_ms = report.move_shown_after_ms.map_or("?".to_owned(), |ms| ms.to_string());
    screen.step("failover").told(true, &format!("shown after {after_ms} ms"));
    std::thread::sleep(SETTLE);
    ask_panels(&prometheus, &cli.deploy, report)?;
    ask_rules(&prometheus, &cli.deploy, report)?;
    report.series = prometheus.value("count({__name__=~\"hawser_.*\"})")?.unwrap_or(0.0) as u64;
    screen.step("panels").told(true, &format!("{} of {}", report.panels_with_data, report.panels));
    screen.step("rules").told(true, &format!("{} of {}", report.rules_ok, report.rules));
    if let Some(receiver) = &receiver {
        let pushed = |job: &str| {
            let of = format!("sum(hawser_telemetry_pushes_total{{outcome=\"ok\",job=\"{job}\"}})");
            prometheus.value(&of).map(|n| Some(n.unwrap_or(0.0) as u64))
        };
        report.otlp_grpc_pushes = pushed("hawser-edge")?;
        report.otlp_http_pushes = pushed("hawser-controller")?;
        let recorded = |signal: &str, job: &str| {
            let labels = format!("signal=\"{signal}\",outcome=\"ok\",job=~\"{job}\"");
            let of = format!("sum(hawser_telemetry_records_total{{{labels}}})");
            prometheus.value(&of).map(|n| Some(n.unwrap_or(0.0) as u64))
        };
        report.otlp_spans_of_edges = recorded("traces", "hawser-edge")?;
        report.otlp_spans_of_controller = recorded("traces", "hawser-controller")?;
        report.otlp_log_lines = recorded("logs", ".+")?;
        report.otlp_messages_received = Some(receiver.received()?);
    }
    drop((receiver, flow));
    let _server = prometheus.into_server();
    let path = paths.first().map_or(0, |path| path.id);
    report.long_history_points = long_history::points(fleet, path, begun)?;
    let said = format!("{} points of a path from Prometheus", report.long_history_points);
    screen.step("long history").told(true, &said);
    Ok(())
}

/// The path that carries goes dark, and comes back. When the move was shown, after the darkness began.
fn failover(fleet: &Fleet, prometheus: &Prometheus<'_>) -> Result<Option<u64>, FleetError> {
    let used = fleet.agent(BRANCH)?.path_in_use("hq-1", "default")?;
    let link = fleet.branch_link(BRANCH, &used)?;
    let dark_ms = unix_ms();
    fleet.lab().impair(&link, &Impairment::blackhole(true))?;
    let shown = wait::until("the move is shown", SOON, || {
        Ok(match prometheus.first(MOVED, dark_ms)? {
            Some(at_ms) => Look::Done(at_ms),
            None => Look::Not("no move".to_owned()),
        })
    });
    fleet.lab().reset(&link)?;
    let shown = shown?;
    fleet.wait_all_up(UP)?;
    Ok(Some(shown.saturating_sub(dark_ms)))
}

/// A scrape may fail on a busy machine, and its series are gone until the next one.
fn has_data(prometheus: &Prometheus<'_>, query: &str) -> Result<bool, FleetError> {
    for _ in 0..TRIES {
        if prometheus.count(query)? > 0 {
            return Ok(true);
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
    Ok(false)
}

fn ask_panels(
    prometheus: &Prometheus<'_>,
    deploy: &Path,
    report: &mut Report,
) -> Result<(), FleetError> {
    for panel in queries::panels(deploy)? {
        report.panels += 1;
        let mut empty = Vec::new();
        for query in &panel.queries {
            if !has_data(prometheus, query)? {
                empty.push(format!("{}: {query}", panel.name));
            }
        }
        report.panels_with_data += usize::from(empty.is_empty());
        report.panels_without_data.append(&mut empty);
    }
    Ok(())
}

fn ask_rules(
    prometheus: &Prometheus<'_>,
    deploy: &Path,
    report: &mut Report,
) -> Result<(), FleetError> {
    let (known, mut bad) = prometheus.rules()?;
    let rules = queries::rules(deploy)?;
    if known != rules.len() {
        bad.push(format!("Prometheus has {known} rules of {}", rules.len()));
    }
    for rule in &rules {
        if !has_data(prometheus, &rule.query)? {
            bad.push(format!("{}: nothing from {}", rule.name, rule.query));
        }
    }
    report.rules = rules.len();
    report.rules_ok = rules.len().saturating_sub(bad.len());
    report.rules_not_ok = bad;
    Ok(())
}
