//! Faults that silence a stream, until its sender takes another path.

use super::branch::{Branch, Way};
use super::run::Run;
use crate::fleet::FleetError;
use crate::wan::{Dir, Impairment};
use std::time::Duration;

/// What is not healed within this is wrong.
pub(super) const HEAL_LIMIT: Duration = Duration::from_secs(10);
/// A stream with no longer silence was not hit: four packets.
pub(super) const UNTOUCHED_MS: f64 = 20.0;

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The link drops everything, both ways.
    Blackhole,
    /// The branch's interface loses its carrier, as by a pulled cable.
    Carrier,
    /// The link drops what goes the way of the stream, and nothing else.
    OneWay,
}

impl Fault {
    fn change(self, way: Way) -> Impairment {
        match self {
            Self::Blackhole => Impairment::blackhole(true),
            Self::Carrier => {
                let change = Impairment { carrier_down: Some(true), ..Impairment::default() };
                change.toward(Dir::AToB)
            }
            Self::OneWay => Impairment::blackhole(true).toward(way.dir()),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Blackhole => "dark",
            Self::Carrier => "unplugged",
            Self::OneWay => "dark one way",
        }
    }
}

/// Hits the path in use of one direction; its value is the stream's longest silence.
pub(super) fn run(branch: &mut Branch<'_>, fault: Fault, way: Way) -> Result<Run, FleetError> {
    branch.stream()?;
    branch.steady()?;
    let uplink = branch.uplink_in_use(way)?;
    let shared = branch.uplink_in_use(way.back())? == uplink;
    let (mark, other_mark) = (branch.newest(way)?, branch.newest(way.back())?);
    let broken = branch.break_link(&uplink, &fault.change(way))?;
    let (ns, unix_ms) = (broken.ns, broken.unix_ms);
    let silence_ms = branch.flow(way)?.silence_after(ns, HEAL_LIMIT)?;
    let stall_ms = branch.watchdog.worst_since_ms(ns);
    let decisions = branch.decisions(way, mark)?;
    let other = branch.decisions(way.back(), other_mark)?;
    let now = branch.uplink_in_use(way).unwrap_or_else(|_| "nothing".to_owned());
    broken.mend();
    let mut run = Run::new(silence_ms, stall_ms);
    run.story = format!("{}  {uplink} {}", line(branch, way), fault.word());
    run.story += &match silence_ms {
        Some(ms) => format!(": silent for {ms:.0} ms, now by {now}"),
        None => ": NOT HEALED within 10 s".to_owned(),
    };
    // Something else moved the stream just before; the fault hit nothing.
    let before = decisions.first().is_some_and(|decision| decision.unix_ms < unix_ms);
    run.void = before || decisions.is_empty() && silence_ms.is_some_and(|ms| ms < UNTOUCHED_MS);
    if let Fault::OneWay = fault {
        run.other_shared = shared;
        run.other_moved = !other.is_empty();
        if run.other_moved {
            run.story += ", and the other direction moved";
        }
    }
    Ok(run)
}

/// Which direction of which branch.
pub(super) fn line(branch: &Branch<'_>, way: Way) -> String {
    let site = &branch.site;
    match way {
        Way::Up => format!("{site} → hq"),
        Way::Down => format!("hq → {site}"),
    }
}
