//! Waiting for something to be fine, and to stay so for a while.

use super::stop::Stop;
use crate::fleet::views::PathView;
use crate::fleet::{Agent, FleetError};
use std::time::{Duration, Instant};

/// The next fault comes once all paths have met their SLA for so long.
pub(super) const MET_FOR: Duration = Duration::from_secs(5);
/// Several times a second: asking costs the agents little.
const LOOK: Duration = Duration::from_millis(250);

/// Waits until what `look` finds wrong (nothing: an empty text) has been nothing for `lasting`.
///
/// # Errors
/// It is not so within `limit`, or the benchmark is stopped; the error says what the last look saw.
pub(super) fn until(
    what: &str,
    limit: Duration,
    lasting: Duration,
    stop: &Stop,
    mut look: impl FnMut() -> Result<String, FleetError>,
) -> Result<(), FleetError> {
    let deadline = Instant::now() + limit;
    let mut fine_since = None;
    loop {
        // A busy agent says so; that it does well is not known then.
        let wrong = look().unwrap_or_else(|error| error.line());
        if wrong.is_empty() {
            let since = *fine_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= lasting {
                return Ok(());
            }
        } else {
            fine_since = None;
        }
        if Instant::now() >= deadline || stop.is_set() {
            return Err(FleetError::NotInTime { what: what.to_owned(), limit, last: wrong });
        }
        std::thread::sleep(LOOK);
    }
}

/// Which of an agent's paths to `peer` (none: to anyone) do not meet an SLA; no paths are wrong too.
pub(super) fn faulty(agent: &Agent, peer: Option<&str>) -> Result<Vec<String>, FleetError> {
    let mut paths = agent.peek_paths()?;
    paths.retain(|path| peer.is_none_or(|peer| peer == path.peer_edge));
    let edge = agent.edge();
    if paths.is_empty() {
        return Ok(vec![format!("{edge} has no paths")]);
    }
    let bad = |path: &&PathView| !path.is_up() || path.meets_sla_for.is_empty();
    let describe = |path: &PathView| {
        let PathView { peer_edge, local_uplink, remote_uplink, state, .. } = path;
        let sla = if path.is_up() { ", not meeting its SLA" } else { "" };
        format!("{edge} to {peer_edge} {local_uplink}/{remote_uplink} {state}{sla}")
    };
    Ok(paths.iter().filter(bad).map(describe).collect())
}
