//! AH agreed by IKE with a plain strongSwan: integrity without secrecy.

use super::Verdict;
use super::ike::{GROUP, SOON, WITHOUT, key, up};
use super::survival::at;
use crate::clock;
use crate::fleet::{Fleet, FleetError, FleetSpec, Flow, GATEWAY_HOST, Gateway};
use serde_json::{Value, json};

/// Nothing passes before the key is there; then both ways, in AH alone; nothing without associations; and it comes back.
pub fn tunnel() -> Verdict {
    let fields = format!(", dh_groups: [{GROUP}], profile: integrity, protocol: ah");
    let mut spec = FleetSpec::with_gateway(&fields).map_err(|error| error.line())?.left_alone();
    let profile = "tunnel_profiles:\n  - {name: integrity, suite: null-sha256-128}\n";
    spec.document = spec.document.replacen("tunnel_profiles:\n", profile, 1);
    let mut fleet = Fleet::up(spec).map_err(|error| error.line())?;
    body(&mut fleet).map_err(|error| {
        eprintln!("{}", fleet.log_tails());
        error.line()
    })
}

fn body(fleet: &mut Fleet) -> Result<Value, FleetError> {
    fleet.wait_ike("dc", SOON, |tunnel| tunnel.state == "blocked")?;
    let first = Gateway::by_hand_with_ah(fleet, GROUP)?;
    // AH hides nothing, so no search for cleartext can tell that something went without it: what arrives tells.
    first.guard(fleet)?;
    let there = Flow::start(fleet, "left-host", GATEWAY_HOST, 7001, false)?;
    std::thread::sleep(WITHOUT);
    assert_eq!(there.since(0)?.arrivals, 0, "without a key");

    key(fleet)?;
    up(fleet, &first)?;
    let back = Flow::start(fleet, GATEWAY_HOST, "left-host", 7002, false)?;
    there.wait_flowing(SOON)?;
    back.wait_flowing(SOON)?;
    let carried = fleet.wait_ike("dc", SOON, |t| t.tx_bytes > 10_000 && t.rx_bytes > 10_000)?;
    let states = at(fleet, "gateway", &["ip", "xfrm", "state"])?;
    assert_eq!(states.matches("proto ah").count(), 2, "one for each direction in\n{states}");
    assert!(!states.contains("proto esp"), "{states}");

    first.kill();
    for node in ["gateway", "left"] {
        for what in ["policy", "state"] {
            at(fleet, node, &["ip", "xfrm", what, "flush"])?;
        }
    }
    // What was on its way has arrived.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let flushed = clock::mono_ns();
    std::thread::sleep(WITHOUT);
    let arrived = [there.since(flushed)?.arrivals, back.since(flushed)?.arrivals];
    assert_eq!(arrived, [0, 0], "without associations");
    let second = Gateway::by_hand_with_ah(fleet, GROUP)?;
    // What the gateway forgot is noticed by DPD.
    there.wait_flowing(SOON)?;
    back.wait_flowing(SOON)?;
    up(fleet, &second)?;
    Ok(json!({
        "tx_bytes": carried.tx_bytes,
        "rx_bytes": carried.rx_bytes,
        "arrivals_without_associations": arrived,
    }))
}
