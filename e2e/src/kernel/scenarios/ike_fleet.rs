//! A tunnel with a plain strongSwan that knows the edge by its certificate of the fleet's own CA (`certificate: fleet`).

use super::Verdict;
use super::ike::{GROUP, SOON, WITHOUT, up};
use crate::fleet::{
    Fleet, FleetError, FleetSpec, Flow, GATEWAY_HOST, GATEWAY_SECRET, Gateway, Guards, Pki,
};
use serde_json::{Value, json};
use std::path::Path;

const EDGE: &str = "left-1";
/// The fleet's keys are ECDSA, which strongSwan's base package can't do.
const PLUGIN: &str = "/usr/lib/ipsec/plugins/libstrongswan-openssl.so";
const PACKAGE: &str = "libstrongswan-standard-plugins";

/// The edge shows its own certificate; the gateway has one of another CA, and the fleet's root.
pub fn by_fleet_certificate() -> Verdict {
    if !Path::new(PLUGIN).is_file() {
        return Err(format!(
            "charon has no plugin for ECDSA, the fleet's kind of key; run: apt-get install {PACKAGE}"
        ));
    }
    let fields = format!(", dh_groups: [{GROUP}]");
    let mut spec = FleetSpec::with_gateway(&fields).map_err(|error| error.line())?.left_alone();
    let name = format!("{EDGE}.edge.{}.hawser", spec.fleet);
    for (old, new) in [
        (format!("psk: {GATEWAY_SECRET}"), "certificate: fleet, peer_ca: dc-ca".to_owned()),
        ("local_id: left.example.net".to_owned(), format!("local_id: {name}")),
    ] {
        assert!(spec.document.contains(&old), "the document has no {old}");
        spec.document = spec.document.replace(&old, &new);
    }
    let mut fleet = Fleet::up(spec).map_err(|error| error.line())?;
    passes(&mut fleet, &name).map_err(|error| {
        eprintln!("{}", fleet.log_tails());
        error.line()
    })
}

/// Nothing passes until the edge has the gateway's CA; then traffic passes both ways, and none of it in clear.
fn passes(fleet: &mut Fleet, name: &str) -> Result<Value, FleetError> {
    let pki = Pki::new(fleet.folder().join("pki"))?;
    pki.issue("gateway", "dc.example.net")?;
    fleet.wait_ike("dc", SOON, |tunnel| tunnel.state == "blocked")?;
    let guards = Guards::start(fleet, "left-host")?;
    let there = Flow::start(fleet, "left-host", GATEWAY_HOST, 7001, false)?;
    std::thread::sleep(WITHOUT);
    assert_eq!(there.since(0)?.arrivals, 0, "without a tunnel");

    let found = fleet.agent(EDGE)?.doctor(fleet.lab())?;
    let keys = ("GATEWAY_KEYS".to_owned(), "dc".to_owned());
    assert!(found.contains(&keys), "the doctor misses the gateway's CA: {found:?}");
    let gateway = Gateway::by_fleet_root(fleet, &pki, GROUP, EDGE)?;
    let folder = fleet.agent(EDGE)?.state_dir().join("certificates");
    pki.give("ca.pem", &folder.join("dc-ca.pem"))?;
    up(fleet, &gateway)?;
    let back = Flow::start(fleet, GATEWAY_HOST, "left-host", 7002, false)?;
    there.wait_flowing(SOON)?;
    back.wait_flowing(SOON)?;
    let carried = fleet.wait_ike("dc", SOON, |t| t.tx_bytes > 10_000 && t.rx_bytes > 10_000)?;
    let proven = format!("authentication of '{name}' with ECDSA");
    let told = gateway.log();
    assert!(told.lines().any(|l| l.contains(&proven) && l.contains("successful")), "{told}");

    let found = fleet.agent(EDGE)?.doctor(fleet.lab())?;
    let of_gateways = |code: &str| code.starts_with("GATEWAY_") || code.starts_with("IKE_");
    assert!(!found.iter().any(|(code, _)| of_gateways(code)), "{found:?}");
    let seen = guards.look()?;
    assert_eq!(seen.on_wan, 0, "in clear on {:?}", seen.leaking);
    assert!(seen.on_lan > 500, "the search finds what it looks for: {seen:?}");
    Ok(json!({
        "edge_known_as": name,
        "marked_on_wan": seen.on_wan,
        "marked_on_lan": seen.on_lan,
        "tx_bytes": carried.tx_bytes,
        "rx_bytes": carried.rx_bytes,
    }))
}
