//! Blackholes, a brownout, and the way back.

use super::bar::bar;
use super::outcome::Outcome;
use super::story::{Stage, Traffic};
use crate::clock;
use crate::fleet::views::DecisionView;
use crate::fleet::wait::{self, Look};
use crate::fleet::{Fleet, FleetError};
use crate::wan::Impairment;
use std::time::Duration;

/// What is not healed within this is wrong.
const HEAL_LIMIT: Duration = Duration::from_secs(10);
/// A machine that stood still for longer spoils a run.
const STALL_LIMIT_MS: f64 = 50.0;
/// A silence of this length fills the bar.
const BAR_MS: f64 = 1_500.0;
const BAR_WIDTH: usize = 24;
const GOOD_MS: f64 = 700.0;
/// Until a healed path is up again.
const UP_LIMIT: Duration = Duration::from_secs(30);
const BROWNOUT_LIMIT: Duration = Duration::from_secs(30);
const FAIL_BACK_LIMIT: Duration = Duration::from_secs(90);
const CLASS: &str = "default";

/// One run: what was hit, and what the receiving host saw of it.
struct Run {
    link: String,
    silence_ms: Option<f64>,
    stall_ms: f64,
    moved_to: String,
}

/// Makes the path in use drop everything, so many times; the two directions of b1 take turns.
pub(super) fn blackholes(
    stage: &Stage<'_>,
    runs: u32,
    outcome: &mut Outcome,
) -> Result<Vec<Option<f64>>, FleetError> {
    let mut silences = Vec::new();
    let mut repeats_left = runs / 5;
    while silences.len() < runs as usize {
        let number = silences.len() + 1;
        let traffic = &stage.flows[(number + 1) % 2];
        let step = stage.screen.step(&format!("{number} of {runs}"));
        let run = blackhole(stage, traffic)?;
        let spoiled = run.stall_ms > STALL_LIMIT_MS && repeats_left > 0;
        step.told(run.silence_ms.is_some(), &line(stage, traffic, &run, spoiled));
        if spoiled {
            repeats_left -= 1;
            outcome.runs_repeated += 1;
        } else {
            silences.push(run.silence_ms);
        }
    }
    Ok(silences)
}

fn line(stage: &Stage<'_>, traffic: &Traffic, run: &Run, spoiled: bool) -> String {
    let direction = format!("{} → {}", traffic.flow.from, traffic.flow.to);
    let seen = match run.silence_ms {
        None => "NOT HEALED within 10 s".to_owned(),
        Some(ms) => {
            let length = bar(ms, BAR_MS, BAR_WIDTH);
            let blank = " ".repeat(BAR_WIDTH.saturating_sub(length.chars().count()));
            let length = stage.screen.coloured_bar(&length, ms <= GOOD_MS);
            format!("silent for {ms:4.0} ms {length}{blank}")
        }
    };
    let spoiled = match spoiled {
        true => format!("  this machine stood still for {:.0} ms: again", run.stall_ms),
        false => String::new(),
    };
    format!("{direction}  {:9} dark  {seen} now by {}{spoiled}", run.link, run.moved_to)
}

fn blackhole(stage: &Stage<'_>, traffic: &Traffic) -> Result<Run, FleetError> {
    let fleet = &stage.fleet;
    traffic.flow.wait_flowing(stage.pace.within(HEAL_LIMIT))?;
    let sender = fleet.agent(traffic.sender)?;
    let path = sender.path_in_use(traffic.peer, CLASS)?;
    let link = fleet.branch_link(traffic.sender, &path)?;
    let fault_ns = clock::mono_ns();
    fleet.lab().impair(&link, &Impairment::blackhole(true))?;
    let silence_ms = traffic.flow.silence_after(fault_ns, HEAL_LIMIT)?;
    let stall_ms = stage.watchdog.worst_since_ms(fault_ns);
    let now = sender.path_in_use(traffic.peer, CLASS);
    let moved_to = now
        .map_or("nothing".to_owned(), |now| format!("{}/{}", now.local_uplink, now.remote_uplink));
    fleet.lab().impair(&link, &Impairment::blackhole(false))?;
    // The next fault may hit either uplink.
    for edge in [traffic.sender, traffic.peer] {
        fleet.wait_edge_up(edge, stage.pace.within(UP_LIMIT))?;
    }
    Ok(Run { link, silence_ms, stall_ms, moved_to })
}

/// What has to be known to recognise the move back.
pub(super) struct Brownout {
    link: String,
    healed_unix_ms: u64,
    /// Decisions up to this one are older.
    last_sequence: u64,
}

/// 5 % loss on the path in use of b2, until it is left; then the link is clean again.
pub(super) fn brown_out(stage: &Stage<'_>, outcome: &mut Outcome) -> Result<Brownout, FleetError> {
    let traffic = &stage.flows[2];
    let fleet = &stage.fleet;
    let agent = fleet.agent(traffic.sender)?;
    let path = agent.path_in_use(traffic.peer, CLASS)?;
    let link = fleet.branch_link(traffic.sender, &path)?;
    let before = newest(fleet, traffic)?;
    let step = stage.screen.step(&link);
    step.now("loses one packet in twenty, each way");
    let fault_unix_ms = unix_ms();
    fleet.lab().impair(&link, &Impairment::loss(5.0))?;
    let moved =
        wait::until("traffic leaves the lossy path", stage.pace.within(BROWNOUT_LIMIT), || {
            // A move to another path over the same link is no escape.
            let used = agent.path_in_use(traffic.peer, CLASS)?;
            if fleet.branch_link(traffic.sender, &used)? == link {
                return Ok(Look::Not(format!("it is still on {link}")));
            }
            let newest = decisions_after(fleet, traffic, before)?.into_iter().next();
            Ok(newest.map_or_else(|| Look::Not("it stays".to_owned()), Look::Done))
        });
    fleet.lab().impair(&link, &Impairment::loss(0.0))?;
    let healed_unix_ms = unix_ms();
    let moved = match moved {
        Ok(moved) => moved,
        Err(error) => {
            step.told(false, &error.line());
            return Ok(Brownout { link, healed_unix_ms, last_sequence: before });
        }
    };
    let took_ms = moved.unix_ms.saturating_sub(fault_unix_ms);
    outcome.brownout_move_ms = Some(took_ms as f64);
    step.told(true, &format!("5 % loss; moved after {took_ms} ms"));
    stage.screen.note(&moved.summary);
    stage.screen.note("The link is clean again; b2 will want proof of that before it goes back.");
    Ok(Brownout { link, healed_unix_ms, last_sequence: moved.sequence })
}

/// Waits until traffic is back on the link that had the brownout.
pub(super) fn fail_back(
    stage: &Stage<'_>,
    brownout: &Brownout,
    outcome: &mut Outcome,
) -> Result<(), FleetError> {
    if outcome.brownout_move_ms.is_none() {
        return Ok(());
    }
    let traffic = &stage.flows[2];
    let step = stage.screen.step("fail-back of b2");
    step.now(format!("waits for {} to prove itself", brownout.link));
    let agent = stage.fleet.agent(traffic.sender)?;
    let moved = wait::until("traffic goes back", stage.pace.within(FAIL_BACK_LIMIT), || {
        let used = agent.path_in_use(traffic.peer, CLASS)?;
        // A fail-back to another path over the link that it fled to is not the way back yet.
        if stage.fleet.branch_link(traffic.sender, &used)? != brownout.link {
            return Ok(Look::Not(format!("it is not on {} yet", brownout.link)));
        }
        let newest = decisions_after(&stage.fleet, traffic, brownout.last_sequence)?;
        Ok(newest.into_iter().next().map_or_else(|| Look::Not("it waits".to_owned()), Look::Done))
    });
    match moved {
        Ok(moved) => {
            let took_s = moved.unix_ms.saturating_sub(brownout.healed_unix_ms) as f64 / 1e3;
            outcome.failback_s = Some(took_s);
            step.told(true, &format!("{took_s:.1} s after {} was clean", brownout.link));
            stage.screen.note(&moved.summary);
        }
        Err(error) => step.told(false, &error.line()),
    }
    Ok(())
}

fn newest(fleet: &Fleet, traffic: &Traffic) -> Result<u64, FleetError> {
    let why = fleet.agent(traffic.sender)?.why(traffic.peer, 1)?;
    Ok(why.decisions.first().map_or(0, |decision| decision.sequence))
}

/// Newest first.
fn decisions_after(
    fleet: &Fleet,
    traffic: &Traffic,
    sequence: u64,
) -> Result<Vec<DecisionView>, FleetError> {
    let mut all = fleet.agent(traffic.sender)?.why(traffic.peer, 50)?.decisions;
    all.retain(|decision| decision.sequence > sequence && decision.traffic_class == CLASS);
    Ok(all)
}

fn unix_ms() -> u64 {
    clock::real_ns() / 1_000_000
}
