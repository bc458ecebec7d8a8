//! The fabric's paths with the kernel driver, at both ends or at one.

use super::Verdict;
use crate::clock;
use crate::fleet::wait::{self, Look};
use crate::fleet::{Fleet, FleetError, FleetSpec, Flow, Guards};
use crate::wan::Impairment;
use serde_json::{Value, json};
use std::time::Duration;

/// The lab's kernel has one slow processor for everything.
pub(super) const UP: Duration = Duration::from_secs(300);
pub(super) const SOON: Duration = Duration::from_secs(45);
const HEAL: Duration = Duration::from_secs(30);
const LEAVE: Duration = Duration::from_secs(120);
const SUITES: [&str; 5] = [
    "aes-256-gcm",
    "chacha20-poly1305",
    "aes-128-cbc-sha256-128",
    "aes-256-cbc-sha512-256",
    "3des-cbc-sha1-96, waiver: {until: 2999-12-31, reason: an old peer}",
];

/// Brings a fleet up, and runs a body on it; a failure brings the logs' ends along.
pub(super) fn with_fleet(
    spec: FleetSpec,
    body: impl FnOnce(&mut Fleet) -> Result<Value, FleetError>,
) -> Verdict {
    let mut fleet = Fleet::up(spec).map_err(|error| error.line())?;
    let up = fleet.wait_all_up(UP).map(drop);
    up.and_then(|()| body(&mut fleet)).map_err(|error| {
        eprintln!("{}", fleet.log_tails());
        error.line()
    })
}

pub fn kernel_kernel() -> Verdict {
    selection(&["left-1", "right-1"])
}

pub fn kernel_userspace() -> Verdict {
    selection(&["left-1"])
}

/// A suite of each kind, sealed by the kernel and opened in userspace, and the other way round.
pub fn suites() -> Verdict {
    let mut passed = Vec::new();
    for suite in SUITES {
        let mut spec = dual(&["left-1"])?;
        spec.document = spec.document.replace("suite: aes-128-gcm", &format!("suite: {suite}"));
        let carries = with_fleet(spec, |fleet| pings(fleet).map(|()| Value::Null));
        carries.map_err(|failure| format!("{suite}: {failure}"))?;
        passed.push(suite);
    }
    Ok(json!({"suites": passed}))
}

/// Two sites, both families outside and inside; these edges with the kernel driver.
pub(super) fn dual(kernel: &[&str]) -> Result<FleetSpec, String> {
    let spec = FleetSpec::dual().map_err(|error| error.line())?.for_slow_processors();
    Ok(kernel.iter().fold(spec, |spec, edge| spec.with_driver(edge, "kernel")))
}

/// Traffic in both families, a blackhole, a brownout, and nothing in clear.
fn selection(kernel: &[&str]) -> Verdict {
    with_fleet(dual(kernel)?, |fleet| {
        let guards = Guards::start(fleet, "left-host")?;
        pings(fleet)?;
        let flow = Flow::start(fleet, "left-host", "right-host", 7001, false)?;
        flow.wait_flowing(SOON)?;
        let silence_ms = blackhole(fleet, &flow)?;
        let move_ms = brownout(fleet)?;
        flow.wait_flowing(SOON)?;
        let seen = guards.look()?;
        assert_eq!(seen.on_wan, 0, "in clear on {:?}", seen.leaking);
        assert!(seen.on_lan > 500, "the search finds what it looks for: {seen:?}");
        Ok(json!({
            "blackhole_silence_ms": silence_ms,
            "brownout_move_ms": move_ms,
            "marked_on_wan": seen.on_wan,
            "marked_on_lan": seen.on_lan,
        }))
    })
}

/// In both families. The emulated processors stand still at times, so a few may be late: then there are others.
pub(super) fn pings(fleet: &Fleet) -> Result<(), FleetError> {
    for ipv6 in [false, true] {
        wait::until(&format!("pings are answered, IPv6 inside: {ipv6}"), SOON, || {
            let answered = fleet.ping("left-host", "right-host", ipv6, 5)?;
            let most = answered >= 4;
            Ok(if most { Look::Done(()) } else { Look::Not(format!("{answered} of 5")) })
        })?;
    }
    Ok(())
}

/// How long the stream was silent after the uplink in use went dark.
fn blackhole(fleet: &Fleet, flow: &Flow) -> Result<f64, FleetError> {
    let used = fleet.agent("left-1")?.path_in_use("right-1", "default")?;
    let link = fleet.uplink_link("left-1", &used.local_uplink)?;
    let dark = clock::mono_ns();
    fleet.lab().impair(&link, &Impairment::blackhole(true))?;
    let silence = flow.silence_after(dark, HEAL)?;
    fleet.lab().reset(&link)?;
    let silence = silence.ok_or_else(|| FleetError::NotInTime {
        what: "the stream heals".to_owned(),
        limit: HEAL,
        last: format!("{} is dark", used.local_uplink),
    })?;
    fleet.wait_edges_up(SOON)?;
    Ok(silence)
}

/// From the start of 8 % loss on the uplink in use to the move off it.
fn brownout(fleet: &Fleet) -> Result<f64, FleetError> {
    let agent = fleet.agent("left-1")?;
    let used = agent.path_in_use("right-1", "default")?;
    let link = fleet.uplink_link("left-1", &used.local_uplink)?;
    let began = clock::mono_ns();
    fleet.lab().impair(&link, &Impairment { loss_pct: Some(8.0), ..Impairment::default() })?;
    wait::until("traffic leaves the lossy uplink", LEAVE, || {
        let now = agent.path_in_use("right-1", "default")?;
        let left = now.local_uplink != used.local_uplink;
        Ok(if left { Look::Done(()) } else { Look::Not(format!("still by {}", now.local_uplink)) })
    })?;
    let moved_ms = (clock::mono_ns() - began) as f64 / 1e6;
    fleet.lab().reset(&link)?;
    Ok(moved_ms)
}
