//! Tunnels with a plain strongSwan that was configured by hand, which routes lead to: over an xfrm interface, and over GRE.

use super::Verdict;
use super::survival::at;
use super::teardown::teardown;
use super::tools::run;
use crate::clock::mono_ns;
use crate::fleet::{
    Fleet, FleetError, FleetSpec, Flow, GATEWAY_HOST, GATEWAY_KEY, GATEWAY_SECRET, Gateway, Guards,
    Led,
};
use serde_json::{Value, json};
use std::time::Duration;

/// The lab's kernel has one slow processor for everything.
const SOON: Duration = Duration::from_secs(150);
/// A cheap one, for the same reason.
const GROUP: &str = "modp2048";
/// So long traffic is offered to a tunnel that is not there.
const WITHOUT: Duration = Duration::from_secs(5);
const EDGE: &str = "left-1";

/// Route based, also known as VTI.
pub fn by_interface() -> Verdict {
    routed("route", Led::ByInterface, "hwx")
}

/// GRE, protected in transport mode.
pub fn by_gre() -> Verdict {
    routed("gre", Led::ByGre, "hwg")
}

/// By either driver of the fabric at the edge: such tunnels are the kernel's with both.
fn routed(mode: &str, led: Led, prefix: &str) -> Verdict {
    let by = |driver| {
        let passed = with_driver(mode, led, prefix, driver);
        passed.map_err(|failure| format!("{driver} driver: {failure}"))
    };
    Ok(json!({"userspace": by("userspace")?, "kernel": by("kernel")?}))
}

fn with_driver(mode: &str, led: Led, prefix: &str, driver: &'static str) -> Verdict {
    for module in ["xfrm_interface", "ip_gre"] {
        run(&format!("modprobe {module}"))?;
    }
    let fields = format!(", dh_groups: [{GROUP}], mode: {mode}");
    let spec = FleetSpec::with_gateway(&fields).map_err(|error| error.line())?.left_alone();
    let spec = spec.with_driver(EDGE, driver);
    let mut fleet = Fleet::up(spec).map_err(|error| error.line())?;
    passes(&mut fleet, led, prefix).map_err(|error| {
        eprintln!("{}", fleet.log_tails());
        error.line()
    })
}

/// Nothing passes and nothing leaks without the tunnel, before it, and after both kernels lost it; with it traffic passes
/// both ways; the interface is there, and gone after a teardown.
fn passes(fleet: &mut Fleet, led: Led, prefix: &str) -> Result<Value, FleetError> {
    // From its first generation on the edge is guarded.
    fleet.wait_ike("dc", SOON, |tunnel| tunnel.state == "blocked")?;
    let guards = Guards::start(fleet, "left-host")?;
    let there = Flow::start(fleet, "left-host", GATEWAY_HOST, 7001, false)?;
    std::thread::sleep(WITHOUT);
    assert_eq!(there.since(0)?.arrivals, 0, "without a tunnel");

    Gateway::lay_out(fleet, led)?;
    let first = Gateway::routed(fleet, led, GROUP)?;
    fleet.agent(EDGE)?.set_secret(fleet, GATEWAY_SECRET, GATEWAY_KEY)?;
    up(fleet, &first)?;
    let back = Flow::start(fleet, GATEWAY_HOST, "left-host", 7002, false)?;
    there.wait_flowing(SOON)?;
    back.wait_flowing(SOON)?;
    assert!(fleet.ping("left-host", GATEWAY_HOST, false, 5)? >= 4);
    let carried = fleet.wait_ike("dc", SOON, |t| t.tx_bytes > 10_000 && t.rx_bytes > 10_000)?;
    let during = at(fleet, "left", &["ip", "-d", "link"])?;
    assert!(during.contains(prefix), "{during}");
    let found = fleet.agent(EDGE)?.doctor(fleet.lab())?;
    let lacks = |code: &str| code.starts_with("GATEWAY_") || code.starts_with("IKE_");
    assert!(!found.iter().any(|(code, _)| lacks(code)), "{found:?}");

    first.kill();
    // Kernels go on with what they have, whoever put it there.
    for node in ["left", "gateway"] {
        at(fleet, node, &["ip", "xfrm", "state", "flush"])?;
        at(fleet, node, &["ip", "xfrm", "policy", "flush"])?;
    }
    fleet.wait_ike("dc", SOON, |tunnel| tunnel.state != "up")?;
    let gone = mono_ns();
    std::thread::sleep(WITHOUT);
    assert_eq!(there.since(gone)?.arrivals, 0, "without an association");
    let seen = guards.look()?;
    assert_eq!(seen.on_wan, 0, "in clear, when the association was gone, on {:?}", seen.leaking);
    let second = Gateway::routed(fleet, led, GROUP)?;
    there.wait_flowing(SOON)?;
    up(fleet, &second)?;
    let seen = guards.look()?;
    assert_eq!(seen.on_wan, 0, "in clear on {:?}", seen.leaking);
    assert!(seen.on_lan > 500, "the search finds what it looks for: {seen:?}");

    fleet.kill_agent(EDGE)?;
    let said = teardown(fleet, EDGE)?;
    let after = at(fleet, "left", &["ip", "-d", "link"])?;
    assert!(!after.contains(prefix), "{after}");
    Ok(json!({
        "marked_on_wan": seen.on_wan,
        "marked_on_lan": seen.on_lan,
        "tx_bytes": carried.tx_bytes,
        "rx_bytes": carried.rx_bytes,
        "teardown": said,
    }))
}

fn up(fleet: &Fleet, gateway: &Gateway) -> Result<(), FleetError> {
    let found = fleet.wait_ike("dc", SOON, |tunnel| tunnel.state == "up");
    found.map(drop).inspect_err(|_| eprintln!("── the gateway\n{}", gateway.log()))
}
