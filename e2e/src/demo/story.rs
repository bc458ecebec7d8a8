//! The order of things.

use super::faults;
use super::outcome::Outcome;
use super::pace::Pace;
use super::{keep, rekey, restart};
use crate::fleet::wait::{self, Look};
use crate::fleet::{Fleet, FleetError, Flow, Guards};
use crate::screen::Screen;
use crate::watchdog::Watchdog;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Everything that runs while the story is told.
pub(super) struct Stage<'a> {
    pub screen: &'a Screen,
    pub pace: Pace,
    pub fleet: Fleet,
    pub watchdog: Watchdog,
    pub guards: Guards,
    /// b1 to hq, hq to b1, b2 to hq.
    pub flows: [Traffic; 3],
}

/// A stream, and the edge that chooses its path.
pub(super) struct Traffic {
    pub flow: Flow,
    pub sender: &'static str,
    pub peer: &'static str,
}

const UP_LIMIT: Duration = Duration::from_secs(60);

/// Tells it. Returns what to print at the end when all is to be kept.
pub(super) fn tell(
    screen: &Screen,
    pace: Pace,
    runs: u32,
    keep: bool,
    outcome: &mut Outcome,
) -> Result<Option<String>, FleetError> {
    let watchdog = Watchdog::start();
    let mut fleet = set_up(screen, pace, keep)?;
    let connected = connect(screen, pace, &mut fleet, outcome);
    if let Err(error) = connected {
        screen.block(&fleet.log_tails());
        return Err(error);
    }
    let guards = Guards::start(&fleet, "hq-host")?;
    let flows = traffic(screen, pace, &fleet, &guards)?;
    let mut stage = Stage { screen, pace, fleet, watchdog, guards, flows };
    let done = act(&mut stage, runs, outcome);
    outcome.host_stall_max_ms = stage.watchdog.host_stall_max_ms();
    outcome.clear = stage.guards.look()?;
    if let Err(error) = done {
        screen.block(&stage.fleet.log_tails());
        return Err(error);
    }
    match keep {
        true => keep::leave(stage).map(Some),
        false => Ok(None),
    }
}

fn set_up(screen: &Screen, pace: Pace, keep: bool) -> Result<Fleet, FleetError> {
    screen.chapter("Three sites, two providers, one lab");
    let mut spec = pace.spec()?;
    spec.lab_name = keep.then(|| "demo".to_owned());
    let step = screen.step("lab");
    step.now("namespaces, links, an emulated WAN");
    let mut fleet = Fleet::lay_out(spec)?;
    let links = fleet.lab().status()?.links.len();
    step.done(&format!("{} nodes, {links} emulated links", fleet.spec().topology.nodes.len()));
    let step = screen.step("controller");
    step.now("makes the fleet's CA and its store");
    fleet.start_controller()?;
    step.done("fleet acme, with a CA of its own");
    Ok(fleet)
}

/// From intent to all paths up.
fn connect(
    screen: &Screen,
    pace: Pace,
    fleet: &mut Fleet,
    outcome: &mut Outcome,
) -> Result<(), FleetError> {
    let limit = pace.within(UP_LIMIT);
    let step = screen.step("hawser apply");
    let document = fleet.spec().document.clone();
    let applied = fleet.apply(&document, "the demo's fleet")?;
    step.done(&format!("revision {}, {} edges", applied.revision, applied.changed.len()));
    for place in fleet.spec().edges.clone() {
        let step = screen.step(&format!("enrol {}", place.edge));
        fleet.enrol(&place.edge)?;
        step.done("one-time token in, certificate out");
    }
    let status = fleet.operator()?.status()?;
    outcome.sites = status.sites as usize;
    outcome.paths_expected = status.paths as usize;
    let step = screen.step("paths");
    let began = Instant::now();
    fleet.start_agents()?;
    let all = fleet.wait_edges_up(limit);
    if all.is_ok() {
        outcome.time_to_all_up_ms = Some(began.elapsed().as_secs_f64() * 1e3);
    }
    // The controller hears of it with the next report.
    let paths = all.and_then(|()| fleet.wait_all_up(limit));
    // The same look that saw them up: on slow processors a report may be too old to count a moment later.
    outcome.paths_up = match &paths {
        Ok(paths) => paths.len(),
        Err(_) => fleet.operator()?.status()?.paths_up as usize,
    };
    let paths = paths?;
    step.done(&format!("{} of {} up", outcome.paths_up, outcome.paths_expected));
    for path in paths {
        screen.note(&path.name());
    }
    Ok(())
}

fn traffic(
    screen: &Screen,
    pace: Pace,
    fleet: &Fleet,
    guards: &Guards,
) -> Result<[Traffic; 3], FleetError> {
    screen.chapter("Traffic between the LANs");
    let step = screen.step("ping");
    let mut answered = 0;
    for (from, to, ipv6) in [
        ("b1-host", "hq-host", false),
        ("b2-host", "hq-host", false),
        ("b1-host", "b2-host", false),
        ("b1-host", "hq-host", true),
    ] {
        step.now(format!("{from} to {to}"));
        answered += u32::from(fleet.ping(from, to, ipv6, 3)? > 0);
    }
    let text = "b1 – hq, b2 – hq, b1 – b2 through the hub, b1 – hq by IPv6";
    step.told(answered == 4, &format!("{answered} of 4 answered: {text}"));
    let start = |from: &'static str, to: &'static str, port| {
        let host = format!("{to}-host");
        let at = SocketAddr::new(fleet.host_address(&host, false)?, port);
        let flow = Flow::at_rate(fleet, &format!("{from}-host"), (&host, at), pace.packets_per_s)?;
        flow.wait_flowing(pace.within(Duration::from_secs(10)))?;
        let edge = |site: &str| match site {
            "hq" => "hq-1",
            "b1" => "b1-1",
            _ => "b2-1",
        };
        Ok::<_, FleetError>(Traffic { flow, sender: edge(from), peer: edge(to) })
    };
    let step = screen.step("streams");
    let flows = [start("b1", "hq", 9001)?, start("hq", "b1", 9002)?, start("b2", "hq", 9003)?];
    step.done(&format!("{} packets/s: b1 → hq, hq → b1, b2 → hq", pace.packets_per_s));
    screen.note(&format!(
        "Every payload carries a marker. {} WAN links are searched for it from now on.",
        guards.links()
    ));
    Ok(flows)
}

fn act(stage: &mut Stage<'_>, runs: u32, outcome: &mut Outcome) -> Result<(), FleetError> {
    stage.screen.chapter("An uplink gets bad: 5 % loss");
    let brownout = faults::brown_out(stage, outcome)?;

    stage.screen.chapter("An uplink goes dark, again and again");
    outcome.blackholes_ms = faults::blackholes(stage, runs, outcome)?;
    faults::fail_back(stage, &brownout, outcome)?;

    stage.screen.chapter("Why?");
    why(stage)?;

    stage.screen.chapter("The controller dies");
    headless(stage, outcome)?;

    stage.screen.chapter("New keys, under traffic");
    rekey::measure(stage, outcome)?;

    stage.screen.chapter("An agent dies");
    restart::measure(stage, outcome)
}

fn why(stage: &Stage<'_>) -> Result<(), FleetError> {
    // The newest decision reaches the controller a moment after it is made.
    let operator = stage.fleet.operator()?;
    let limit = stage.pace.within(Duration::from_secs(10));
    wait::until("b1's newest decision reaches the controller", limit, || {
        let own = stage.fleet.agent("b1-1")?.why("hq-1", 1)?.decisions;
        let there = operator.decisions("b1", 1)?;
        let same = own.first().map(|d| d.sequence) == there.first().map(|d| d.sequence);
        Ok(if same { Look::Done(()) } else { Look::Not("it has an older one".to_owned()) })
    })?;
    let text = operator.text(&["why", "b1", "--limit", "1"])?;
    stage.screen.note("$ hawser why b1 --limit 1");
    stage.screen.block(&text);
    Ok(())
}

fn headless(stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), FleetError> {
    const RUNS: u32 = 3;
    let step = stage.screen.step("kill -9");
    stage.fleet.kill_controller();
    step.told(true, "the controller is gone; nobody else notices");
    outcome.headless_ms = faults::blackholes(stage, RUNS, outcome)?;
    let step = stage.screen.step("controller restarted");
    stage.fleet.restart_controller()?;
    let operator = stage.fleet.operator()?;
    let edges = stage.fleet.spec().edges.len() as u32;
    let limit = stage.pace.within(UP_LIMIT);
    let status = wait::until("all edges are connected again", limit, || {
        let status = operator.status()?;
        let connected = status.edges_connected == edges;
        let why = format!("{} of {edges} are", status.edges_connected);
        Ok(if connected { Look::Done(status) } else { Look::Not(why) })
    })?;
    step.done(&format!("revision {} is there, {edges} edges are back", status.revision));
    Ok(())
}
