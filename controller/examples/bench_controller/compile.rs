//! Documents, and how long the pure core takes for one.

use std::fmt::Write as _;
use std::time::Instant;

use hawser_controller_core::{Allocations, Fleet, Plan, affected, allocate, compile, parse};

pub const SITES: usize = 1_000;
const RUNS: usize = 5;

#[derive(Debug)]
pub struct Compiled {
    pub all_ms: f64,
    pub one_changed_ms: f64,
    /// Of each of them: reading the document.
    pub reading_ms: f64,
}

/// Median of some runs: reading, checking and numbering the whole document, and compiling all of it, or with one site
/// changed what that concerns.
pub fn measure() -> Result<Compiled, String> {
    let (mut all, mut changed, mut reading) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..RUNS {
        let mut numbers = Allocations::default();
        let (first, _, whole) = once(&hub_and_spokes(SITES, 0), &mut numbers, None)?;
        let document = hub_and_spokes(SITES, run + 1);
        let (_, read, part) = once(&document, &mut numbers, Some(&first))?;
        all.push(whole);
        changed.push(part);
        reading.push(read);
    }
    Ok(Compiled {
        all_ms: median(all),
        one_changed_ms: median(changed),
        reading_ms: median(reading),
    })
}

/// The fleet, how long reading it took, and how long everything did. `standing`: what was compiled before.
fn once(
    document: &str,
    numbers: &mut Allocations,
    standing: Option<&Fleet>,
) -> Result<(Fleet, f64, f64), String> {
    let start = Instant::now();
    let ms = || start.elapsed().as_secs_f64() * 1_000.0;
    let fleet = parse(document.as_bytes()).map_err(|faults| faults[0].to_string())?;
    let read = ms();
    allocate(&fleet, numbers).map_err(|error| format!("{error:?}"))?;
    match standing {
        None => drop(compile(&fleet, numbers).map_err(|error| error.to_string())?),
        Some(standing) => {
            let concerned = affected(standing, &fleet);
            let plan = Plan::new(&fleet, numbers).map_err(|error| error.to_string())?;
            for (_, edge) in plan.edges().filter(|(_, edge)| concerned.has(&edge.name)) {
                plan.config_of(&edge.name).map_err(|error| error.to_string())?;
            }
        }
    }
    let whole = ms();
    Ok((fleet, read, whole))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

const POLICY: &str = "\
sla_classes:
  - {name: calls, base: voice}
  - {name: business, max_rtt: RTTms, max_loss: 2%}
traffic_classes:
  - {name: calls, match: [{dscp: [ef]}], sla: calls, mode: duplicate}
  - {name: backup, match: [{protocol: [tcp], destination_ports: [873]}], sla: bulk, mode: balance}
  - {name: default, sla: business}
";

fn head(version: usize) -> String {
    format!("fleet: bench\n{}sites:\n", POLICY.replace("RTT", &(100 + version).to_string()))
}

fn site(out: &mut String, name: &str, index: usize, cost: usize) {
    let (high, low) = (index / 250, index % 250);
    let _ = writeln!(
        out,
        "  - name: {name}\n    lans: [{{interface: lan0, prefixes: [\"10.{high}.{low}.0/24\"]}}]\n    edges:\n      - uplinks:\n          \
         - {{name: isp-a, interface: wan0, addresses: discover, cost: {cost}}}\n          \
         - {{name: isp-b, interface: wan1, addresses: discover, cost: 20}}"
    );
}

/// Two hubs, and one spoke that changes with `version`.
pub fn hub_and_spokes(sites: usize, version: usize) -> String {
    let mut out = head(0);
    site(&mut out, "hq1", 0, 10);
    site(&mut out, "hq2", 1, 10);
    for index in 2..sites {
        let cost = if index == 2 { 10 + version } else { 10 };
        site(&mut out, &format!("s{index}"), index, cost);
    }
    out.push_str("topologies: [{kind: hub-spoke, hubs: [hq1, hq2]}]\n");
    out
}

/// Sites joined two by two, so that each has four paths. `all` changes every edge, `one` that of the first site.
pub fn pairs(sites: usize, all: usize, one: usize) -> String {
    let mut out = head(all);
    for index in 0..sites {
        site(&mut out, &format!("s{index}"), index, if index == 0 { 10 + one } else { 10 });
    }
    out.push_str("topologies:\n  - kind: partial\n    pairs:\n");
    for index in (0..sites).step_by(2) {
        let _ = writeln!(out, "      - [s{index}, s{}]", index + 1);
    }
    out
}
