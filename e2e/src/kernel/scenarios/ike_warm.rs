//! A route-based tunnel with a plain strongSwan whose second link has an association, too: one link goes dark under traffic.

use super::Verdict;
use super::fabric::SOON;
use super::survival::at;
use super::tools::run;
use crate::clock;
use crate::fleet::wait::{self, Look};
use crate::fleet::{
    Fleet, FleetError, FleetSpec, Flow, GATEWAY_HOST, GATEWAY_KEY, GATEWAY_SECRET, Gateway, Guards,
};
use crate::wan::Impairment;
use serde_json::{Value, json};
use std::time::Duration;

/// The lab's kernel has one slow processor for everything.
const UP: Duration = Duration::from_secs(150);
const HEAL: Duration = Duration::from_secs(60);
/// A cheap one, for the same reason.
const GROUP: &str = "modp2048";
/// Nothing is negotiated.
const GOAL_MS: f64 = 1_000.0;

pub fn warm_standby() -> Verdict {
    run("modprobe xfrm_interface")?;
    let fields = format!(
        ", dh_groups: [{GROUP}], mode: route, standby: warm, failback_hold_s: 10, probe: {{inside: 10.9.0.10, \
         interval_ms: 100}}"
    );
    let spec = FleetSpec::with_gateway_of_two(&fields).map_err(|error| error.line())?.left_alone();
    let mut fleet = Fleet::up(spec).map_err(|error| error.line())?;
    body(&mut fleet).map_err(|error| {
        eprintln!("{}", fleet.log_tails());
        error.line()
    })
}

fn body(fleet: &mut Fleet) -> Result<Value, FleetError> {
    Gateway::lay_out_of_two(fleet)?;
    let gateway = Gateway::routed_of_two(fleet, GROUP)?;
    gateway.guard(fleet)?;
    // At their first use they have taken half a minute on a busy machine, which is longer than a link is tried.
    let modules = ["modprobe", "-a", "esp4", "xfrm_user", "gcm", "ctr", "seqiv", "ghash-generic"];
    fleet.lab().exec("gateway", &modules)?;
    fleet.agent("left-1")?.set_secret(fleet, GATEWAY_SECRET, GATEWAY_KEY)?;
    up_by(fleet, &gateway, "isp-a", UP)?;
    both_up(fleet, &gateway)?;
    let guards = Guards::start(fleet, "left-host")?;
    let there = Flow::start(fleet, "left-host", GATEWAY_HOST, 7001, false)?;
    let back = Flow::start(fleet, GATEWAY_HOST, "left-host", 7002, false)?;
    there.wait_flowing(SOON)?;
    back.wait_flowing(SOON)?;

    let before = established(&gateway.associations(fleet)?);
    fleet.kill_agent("left-1")?;
    fleet.start_agent("left-1")?;
    up_by(fleet, &gateway, "isp-a", SOON)?;
    both_up(fleet, &gateway)?;
    let adopted = before == established(&gateway.associations(fleet)?);
    there.wait_flowing(SOON)?;
    back.wait_flowing(SOON)?;

    // Else it would be somewhere else before the fault.
    fleet.wait_ike("dc", UP, |tunnel| {
        let links = || tunnel.links.iter().filter(|l| l.state == "up" && l.rtt_us > 0);
        links().any(|l| l.chosen && l.uplink == "isp-a") && links().any(|l| l.uplink == "isp-b")
    })?;
    let routes =
        |fleet: &Fleet| at(fleet, "left", &["ip", "route", "show", "table", "all", "10.9.0.0/24"]);
    let routes_before = routes(fleet)?;
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
    assert!(why.contains("it is down"), "{why}");
    let routes = routes(fleet)?;
    assert_ne!(routes, routes_before, "traffic goes by the other interface");

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
        "routes_before": routes_before,
        "routes": routes,
        "associations_kept_by_the_next_agent": adopted,
        "marked_on_wan": seen.on_wan,
        "marked_on_lan": seen.on_lan,
    }))
}

/// One over each provider.
fn both_up(fleet: &Fleet, gateway: &Gateway) -> Result<(), FleetError> {
    wait::until("both associations", UP, || {
        let now = gateway.associations(fleet)?;
        let both = established(&now).len() == 2 && now.matches("INSTALLED").count() == 2;
        Ok(if both { Look::Done(()) } else { Look::Not(now) })
    })
}

/// The lines of `swanctl --list-sas` that name an association by what it is, in order.
fn established(associations: &str) -> Vec<String> {
    let ikes = associations.lines().filter(|line| line.contains("ESTABLISHED"));
    let mut found: Vec<String> = ikes.map(|line| line.trim().to_owned()).collect();
    found.sort();
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
