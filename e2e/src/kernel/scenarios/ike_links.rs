//! A tunnel with a plain strongSwan of two addresses, over two uplinks: one goes dark under traffic.

use super::Verdict;
use super::fabric::SOON;
use crate::clock;
use crate::fleet::wait::{self, Look};
use crate::fleet::{
    Fleet, FleetError, FleetSpec, Flow, GATEWAY_HOST, GATEWAY_KEY, GATEWAY_OTHER_ADDRESS,
    GATEWAY_SECRET, Gateway, Guards,
};
use crate::wan::Impairment;
use serde_json::{Value, json};
use std::time::Duration;

/// The lab's kernel has one slow processor for everything.
const UP: Duration = Duration::from_secs(150);
const HEAL: Duration = Duration::from_secs(60);
/// A cheap one, for the same reason.
const GROUP: &str = "modp2048";
/// Without MOBIKE: a new negotiation.
const GOAL_MS: f64 = 3_000.0;

/// The tunnel moves to the other uplink and address by a new negotiation; and back, when the first is proven good.
pub fn smart_link() -> Verdict {
    let fields = format!(
        ", dh_groups: [{GROUP}], failback_hold_s: 10, probe: {{inside: 10.9.0.10, interval_ms: 500}}"
    );
    let spec = FleetSpec::with_gateway_of_two(&fields).map_err(|error| error.line())?.left_alone();
    let mut fleet = Fleet::up(spec).map_err(|error| error.line())?;
    body(&mut fleet).map_err(|error| {
        eprintln!("{}", fleet.log_tails());
        error.line()
    })
}

fn body(fleet: &mut Fleet) -> Result<Value, FleetError> {
    let gateway = Gateway::by_hand_of_two(fleet, 2, GROUP)?;
    gateway.guard(fleet)?;
    // At their first use they have taken half a minute on a busy machine, which is longer than a link is tried.
    let modules = ["modprobe", "-a", "esp4", "xfrm_user", "gcm", "ctr", "seqiv", "ghash-generic"];
    fleet.lab().exec("gateway", &modules)?;
    fleet.agent("left-1")?.set_secret(fleet, GATEWAY_SECRET, GATEWAY_KEY)?;
    up_by(fleet, &gateway, "isp-a", UP)?;
    let guards = Guards::start(fleet, "left-host")?;
    let there = Flow::start(fleet, "left-host", GATEWAY_HOST, 7001, false)?;
    let back = Flow::start(fleet, GATEWAY_HOST, "left-host", 7002, false)?;
    there.wait_flowing(SOON)?;
    back.wait_flowing(SOON)?;

    let dark = clock::mono_ns();
    fleet.lab().impair("left-isp-a", &Impairment::blackhole(true))?;
    let silences = [there.silence_after(dark, HEAL)?, back.silence_after(dark, HEAL)?];
    up_by(fleet, &gateway, "isp-b", SOON)?;
    let healed = |silence: Option<f64>| {
        silence.ok_or_else(|| FleetError::NotInTime {
            what: "the stream heals".to_owned(),
            limit: HEAL,
            last: gateway.log(),
        })
    };
    let [there_ms, back_ms] = [healed(silences[0])?, healed(silences[1])?];
    let why = fleet.agent("left-1")?.why("dc", 1)?;
    let why = why.decisions.first().map(|d| d.summary.clone()).unwrap_or_default();
    eprintln!("the gap was {there_ms:.0} ms to the gateway, {back_ms:.0} ms from it; {why}");

    let adopted = restarted(fleet, &gateway)?;

    fleet.lab().reset("left-isp-a")?;
    up_by(fleet, &gateway, "isp-a", UP)?;
    there.wait_flowing(SOON)?;
    back.wait_flowing(SOON)?;
    let seen = guards.look()?;
    assert_eq!(seen.on_wan, 0, "in clear on {:?}", seen.leaking);
    assert!(seen.on_lan > 500, "the search finds what it looks for: {seen:?}");
    let gap_ms = there_ms.max(back_ms);
    Ok(json!({
        "gap_ms": gap_ms,
        "gap_goal_ms": GOAL_MS,
        "gap_goal_met": gap_ms <= GOAL_MS,
        "gap_there_ms": there_ms,
        "gap_back_ms": back_ms,
        "why": why,
        "associations_kept_by_the_next_agent": adopted,
        "marked_on_wan": seen.on_wan,
        "marked_on_lan": seen.on_lan,
    }))
}

/// The agent killed while the tunnel is not where a new one would begin: the next agent finds it there by `ike/links.json`.
/// Whether it keeps the associations is told, and not asked for yet.
fn restarted(fleet: &mut Fleet, gateway: &Gateway) -> Result<bool, FleetError> {
    let file = fleet.agent("left-1")?.state_dir().join("ike/links.json");
    let known = std::fs::read_to_string(&file).map_err(FleetError::file("read", &file))?;
    assert!(known.contains("isp-b") && known.contains(GATEWAY_OTHER_ADDRESS), "{known}");
    let before = established(&gateway.associations(fleet)?);
    fleet.kill_agent("left-1")?;
    fleet.start_agent("left-1")?;
    wait::until("the next agent tells of the tunnel", SOON, || {
        let status = fleet.agent("left-1")?.status()?;
        let up = status.ike_tunnels.iter().any(|tunnel| tunnel.state == "up");
        Ok(if up { Look::Done(()) } else { Look::Not(format!("{:?}", status.ike_tunnels)) })
    })?;
    up_by(fleet, gateway, "isp-b", SOON)?;
    let after = established(&gateway.associations(fleet)?);
    Ok(before == after)
}

/// The lines of `swanctl --list-sas` that name an association by what it is, not by its age.
fn established(associations: &str) -> Vec<String> {
    let ikes = associations.lines().filter(|line| line.contains("ESTABLISHED"));
    let found: Vec<String> = ikes.map(|line| line.trim().to_owned()).collect();
    assert!(!found.is_empty(), "{associations}");
    found
}

fn up_by(
    fleet: &Fleet,
    gateway: &Gateway,
    uplink: &str,
    limit: Duration,
) -> Result<(), FleetError> {
    let found = fleet.wait_ike("dc", limit, |tunnel| {
        tunnel.state == "up" && tunnel.links.iter().any(|l| l.chosen && l.uplink == uplink)
    });
    found.map(drop).inspect_err(|_| eprintln!("── the gateway\n{}", gateway.log()))
}
