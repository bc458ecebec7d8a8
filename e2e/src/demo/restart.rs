//! An agent is killed while traffic goes on: nothing leaves in clear, and it comes back to the same tunnels.

use super::outcome::Outcome;
use super::story::Stage;
use crate::fleet::FleetError;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const EDGE: &str = "b1-1";
/// How long the LAN goes on to send to a dead agent.
const DEAD: Duration = Duration::from_secs(3);
const RECOVERY_LIMIT: Duration = Duration::from_secs(30);

pub(super) fn measure(stage: &mut Stage<'_>, outcome: &mut Outcome) -> Result<(), FleetError> {
    let screen = stage.screen;
    let before = path_ids(stage)?;
    let step = screen.step("kill -9");
    let sent_before = stage.flows[0].flow.sent()?;
    stage.fleet.kill_agent(EDGE)?;
    std::thread::sleep(DEAD);
    let tried = stage.flows[0].flow.sent()? - sent_before;
    let clear = stage.guards.look()?;
    step.told(
        clear.on_wan == 0,
        &format!("{EDGE} is dead; b1's host sent {tried} packets, {} in clear", clear.on_wan),
    );
    let step = screen.step("agent restarted");
    let began = Instant::now();
    stage.fleet.start_agent(EDGE)?;
    let limit = stage.pace.within(RECOVERY_LIMIT);
    let recovered = stage
        .fleet
        .wait_edge_up(EDGE, limit)
        .and_then(|()| stage.fleet.wait_edge_up("hq-1", limit))
        .and_then(|()| stage.flows[..2].iter().try_for_each(|t| t.flow.wait_flowing(limit)))
        .and_then(|()| path_ids(stage));
    let took_s = began.elapsed().as_secs_f64();
    match recovered {
        Ok(after) if after == before => {
            outcome.restart_recovered = true;
            step.told(
                true,
                &format!("the same {} paths, traffic flows, after {took_s:.1} s", after.len()),
            );
        }
        Ok(after) => {
            step.told(false, &format!("other paths than before: {after:?}, were {before:?}"))
        }
        Err(error) => step.told(false, &error.line()),
    }
    Ok(())
}

fn path_ids(stage: &Stage<'_>) -> Result<BTreeSet<u32>, FleetError> {
    let paths = stage.fleet.agent(EDGE)?.paths()?;
    Ok(paths.into_iter().map(|path| path.path_id).collect())
}
