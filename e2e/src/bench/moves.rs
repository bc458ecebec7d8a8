//! Faults that a stream feels without being silenced: how long until its sender leaves the path.

use super::branch::{Branch, Way};
use super::gaps::line;
use super::run::Run;
use crate::fleet::FleetError;
use crate::fleet::views::DecisionView;
use crate::wan::Impairment;
use std::time::Duration;

/// A path that is not left within this is not left at all.
const MOVE_LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// 5 % of all packets are lost, each way, on a path with traffic.
    BrownoutBusy,
    /// The same on a path that carries probes only.
    BrownoutIdle,
    /// Packets come up to 100 ms late, on a path of 20 ms.
    Jitter,
}

impl Fault {
    fn change(self) -> Impairment {
        match self {
            Self::BrownoutBusy | Self::BrownoutIdle => Impairment::loss(5.0),
            Self::Jitter => Impairment { jitter_ms: Some(80.0), ..Impairment::default() },
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::BrownoutBusy => "loses 5 %",
            Self::BrownoutIdle => "loses 5 %, unused",
            Self::Jitter => "jitters by 80 ms",
        }
    }
}

/// Hits the path in use of one direction; its value is the time from the fault to the decision that left it.
pub(super) fn run(branch: &mut Branch<'_>, fault: Fault, way: Way) -> Result<Run, FleetError> {
    if let Fault::BrownoutBusy = fault {
        branch.stream()?;
    }
    branch.steady()?;
    let uplink = branch.uplink_in_use(way)?;
    let mark = branch.newest(way)?;
    let broken = branch.break_link(&uplink, &fault.change())?;
    let (ns, unix_ms) = (broken.ns, broken.unix_ms);
    let left = branch.until("the path is left", MOVE_LIMIT, Duration::ZERO, || {
        let used = branch.uplink_in_use(way)?;
        Ok(if used == uplink { format!("it is still on {uplink}") } else { String::new() })
    });
    broken.mend();
    let stall_ms = branch.watchdog.worst_since_ms(ns);
    let decisions = branch.decisions(way, mark)?;
    // To have no path at all for a moment is no escape, nor is the same path again.
    let escape = |d: &&DecisionView| !d.to_path.is_empty() && !d.to_path.contains(&uplink);
    let first = left.ok().and(decisions.iter().find(escape));
    let took_ms = first.map(|decision| decision.unix_ms.saturating_sub(unix_ms) as f64);
    let mut run = Run::new(took_ms, stall_ms);
    run.void = decisions.first().is_some_and(|decision| decision.unix_ms < unix_ms);
    run.story = format!("{}  {uplink} {}", line(branch, way), fault.word());
    run.story += &match first {
        Some(decision) => {
            let took_ms = took_ms.unwrap_or_default();
            format!(": left after {took_ms:.0} ms ({})", decision.summary)
        }
        None => ": NOT LEFT within 60 s".to_owned(),
    };
    Ok(run)
}
