//! What must be calm: the way back to a preferred path, a link that flaps, a class whose packets travel twice.

use super::branch::{Branch, Way};
use super::gaps::{HEAL_LIMIT, line};
use super::run::Run;
use super::star::UPLINKS;
use crate::clock;
use crate::fleet::FleetError;
use crate::wan::Impairment;
use std::time::Duration;

/// The hold doubles with each flap.
const FAIL_BACK_LIMIT: Duration = Duration::from_secs(240);
/// What is under way when sending is noted has arrived after this.
const IN_FLIGHT: Duration = Duration::from_millis(500);
const FLAP_DARK: Duration = Duration::from_secs(3);
const FLAP_CLEAR: Duration = Duration::from_secs(12);

/// The preferred path goes dark and comes back; the value is what both streams lose from then until both are on it
/// again.
pub(super) fn fail_back(branch: &mut Branch<'_>, way: Way) -> Result<Run, FleetError> {
    branch.stream()?;
    on_preferred(branch)?;
    branch.steady()?;
    let broken = branch.break_link(UPLINKS[0], &Impairment::blackhole(true))?;
    let ns = broken.ns;
    let healed = branch.flow(way)?.silence_after(ns, HEAL_LIMIT)?;
    for way in Way::BOTH {
        branch.flow(way)?.wait_flowing(HEAL_LIMIT)?;
    }
    let left = Way::BOTH.map(|way| branch.uplink_in_use(way).is_ok_and(|used| used != UPLINKS[0]));
    broken.mend();
    // What the fault cost has been sent before.
    let mut from = [0; 2];
    for way in Way::BOTH {
        from[way as usize] = branch.flow(way)?.sent()?;
    }
    let mut run = Run::new(None, 0.0);
    run.void = left.contains(&false);
    run.story = format!("{}  {} dark and back", line(branch, way), UPLINKS[0]);
    if healed.is_none() || on_preferred(branch).is_err() {
        run.story += ": NOT BACK";
        return Ok(run);
    }
    std::thread::sleep(IN_FLIGHT);
    let mut until = [0; 2];
    for way in Way::BOTH {
        until[way as usize] = branch.flow(way)?.sent()?;
    }
    std::thread::sleep(IN_FLIGHT);
    let (mut lost, mut sent) = (0, 0);
    for way in Way::BOTH {
        let loss = branch.flow(way)?.loss(from[way as usize], until[way as usize])?;
        lost += loss.lost;
        sent += loss.expected;
    }
    run.value = Some(lost as f64);
    run.story += &format!(": {lost} of {sent} packets lost on the way back, both ways");
    Ok(run)
}

/// Waits until both directions use the preferred uplink.
fn on_preferred(branch: &Branch<'_>) -> Result<(), FleetError> {
    branch.until("both directions fail back", FAIL_BACK_LIMIT, Duration::ZERO, || {
        let mut elsewhere = Vec::new();
        for way in Way::BOTH {
            let used = branch.uplink_in_use(way)?;
            if used != UPLINKS[0] {
                elsewhere.push(format!("{} is on {used}", line(branch, way)));
            }
        }
        Ok(elsewhere.join(", "))
    })
}

/// The preferred link goes dark every 15 s; the value is the moves of the direction that moved more, in an hour.
pub(super) fn flapping(branch: &mut Branch<'_>, lasts: Duration) -> Result<Run, FleetError> {
    branch.steady()?;
    let marks = [branch.newest(Way::Up)?, branch.newest(Way::Down)?];
    let began_ns = clock::mono_ns();
    let elapsed = || Duration::from_nanos(clock::mono_ns() - began_ns);
    let mut flaps = 0;
    while elapsed() < lasts && !branch.stop.is_set() {
        let broken = branch.break_link(UPLINKS[0], &Impairment::blackhole(true))?;
        std::thread::sleep(FLAP_DARK);
        broken.mend();
        flaps += 1;
        std::thread::sleep(FLAP_CLEAR.min(lasts.saturating_sub(elapsed())));
    }
    let took = elapsed();
    let mut run = Run::default();
    let mut moves = 0;
    for way in Way::BOTH {
        let decisions = branch.decisions(way, marks[way as usize])?;
        let free = |cause: &str| matches!(cause, "FAIL_BACK" | "BETTER_PATH");
        let voluntary = decisions.iter().filter(|decision| free(&decision.cause)).count();
        moves = moves.max(decisions.len());
        run.voluntary = run.voluntary.max(voluntary);
    }
    run.value = Some(moves as f64 * 3_600.0 / took.as_secs_f64());
    run.story = format!(
        "{}  {} flapped {flaps} times in {:.0} s: {moves} moves, {} of them voluntary",
        branch.site,
        UPLINKS[0],
        took.as_secs_f64(),
        run.voluntary
    );
    Ok(run)
}

/// One of the two paths of a duplicated class goes dark; the value is the stream's longest silence.
pub(super) fn duplicate(
    branch: &mut Branch<'_>,
    number: usize,
    way: Way,
) -> Result<Run, FleetError> {
    branch.stream()?;
    branch.steady()?;
    let uplink = UPLINKS[number / 2 % 2];
    let broken = branch.break_link(uplink, &Impairment::blackhole(true))?;
    let silence_ms = branch.flow(way)?.silence_after(broken.ns, HEAL_LIMIT)?;
    let mut run = Run::new(silence_ms, branch.watchdog.worst_since_ms(broken.ns));
    broken.mend();
    run.story = format!("{}  {uplink} dark", line(branch, way));
    run.story += &match silence_ms {
        Some(ms) => format!(": silent for {ms:.0} ms"),
        None => ": NOT HEALED within 10 s".to_owned(),
    };
    Ok(run)
}
