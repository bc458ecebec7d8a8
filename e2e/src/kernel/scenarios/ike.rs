//! Tunnels with a plain strongSwan that was configured by hand.

use super::Verdict;
use crate::fleet::wait::{self, Look};
use crate::fleet::{
    Fleet, FleetError, FleetSpec, Flow, GATEWAY_HOST, GATEWAY_KEY, GATEWAY_SECRET, Gateway, Guards,
    Pki,
};
use serde_json::{Value, json};
use std::time::Duration;

/// The lab's kernel has one slow processor for everything.
pub(super) const SOON: Duration = Duration::from_secs(150);
/// A cheap one, for the same reason.
pub(super) const GROUP: &str = "modp2048";
/// So long traffic is offered to a tunnel that is not there.
pub(super) const WITHOUT: Duration = Duration::from_secs(5);

/// IKEv2 with a pre-shared key, tunnel mode, policy based.
pub fn v2_psk() -> Verdict {
    with_left("", |fleet| passes(fleet, 2))
}

/// The same by IKEv1 in main mode.
pub fn v1_psk() -> Verdict {
    with_left(", version: ikev1", |fleet| passes(fleet, 1))
}

/// No association before the first packet, one after it.
pub fn trap() -> Verdict {
    with_left(", start: trap", |fleet| {
        let gateway = Gateway::by_hand(fleet, 2, GROUP)?;
        key(fleet)?;
        fleet.wait_ike("dc", SOON, |tunnel| tunnel.state == "waiting")?;
        std::thread::sleep(WITHOUT);
        let before = gateway.associations(fleet)?;
        assert_eq!(before, "", "an association before the first packet");
        let guards = Guards::start(fleet, "left-host")?;
        let flow = Flow::start(fleet, "left-host", GATEWAY_HOST, 7001, false)?;
        flow.wait_flowing(SOON)?;
        fleet.wait_ike("dc", SOON, |tunnel| tunnel.state == "up")?;
        assert!(gateway.associations(fleet)?.contains("INSTALLED"));
        let seen = guards.look()?;
        assert_eq!(seen.on_wan, 0, "in clear on {:?}", seen.leaking);
        assert!(seen.on_lan > 100, "the search finds what it looks for: {seen:?}");
        Ok(json!({"marked_on_wan": seen.on_wan, "marked_on_lan": seen.on_lan}))
    })
}

/// IKEv2 where both ends have certificates of a CA that is not Hawser's; the edge's is renewed under traffic.
pub fn v2_certificates() -> Verdict {
    let fields = format!(", dh_groups: [{GROUP}]");
    let mut spec = FleetSpec::with_gateway(&fields).map_err(|error| error.line())?.left_alone();
    let by_key = format!("psk: {GATEWAY_SECRET}");
    spec.document = spec.document.replace(&by_key, "certificate: dc, peer_ca: dc-ca");
    let mut fleet = Fleet::up(spec).map_err(|error| error.line())?;
    certified(&mut fleet).map_err(|error| {
        eprintln!("{}", fleet.log_tails());
        error.line()
    })
}

fn certified(fleet: &mut Fleet) -> Result<Value, FleetError> {
    let pki = Pki::new(fleet.folder().join("pki"))?;
    pki.issue("gateway", "dc.example.net")?;
    pki.issue("left", "left.example.net")?;
    let first_key = pki.read("left.key");
    // From its first generation on the edge is guarded.
    fleet.wait_ike("dc", SOON, |tunnel| tunnel.state == "blocked")?;
    let guards = Guards::start(fleet, "left-host")?;
    let there = Flow::start(fleet, "left-host", GATEWAY_HOST, 7001, false)?;
    std::thread::sleep(WITHOUT);
    assert_eq!(there.since(0)?.arrivals, 0, "without a tunnel");

    let gateway = Gateway::by_certificates(fleet, &pki, GROUP)?;
    // While a new certificate is negotiated with, the gateway has no policy.
    gateway.guard(fleet)?;
    let folder = fleet.agent("left-1")?.state_dir().join("certificates");
    pki.give("ca.pem", &folder.join("dc-ca.pem"))?;
    let give_own = || {
        pki.give("left.key", &folder.join("dc.key"))?;
        pki.give("left.pem", &folder.join("dc.pem"))
    };
    give_own()?;
    up(fleet, &gateway)?;
    let back = Flow::start(fleet, GATEWAY_HOST, "left-host", 7002, false)?;
    there.wait_flowing(SOON)?;
    back.wait_flowing(SOON)?;
    let carried = fleet.wait_ike("dc", SOON, |t| t.tx_bytes > 10_000 && t.rx_bytes > 10_000)?;

    let seen = authenticated(&gateway);
    assert!(seen > 0, "by a certificate\n{}", gateway.log());
    pki.issue("left", "left.example.net")?;
    assert_ne!(pki.read("left.key"), first_key);
    let renewed = crate::clock::mono_ns();
    give_own()?;
    wait::until("the new certificate is shown to the gateway", SOON, || {
        let now = authenticated(&gateway);
        Ok(if now > seen { Look::Done(()) } else { Look::Not(format!("{now} times")) })
    })?;
    let silences = [there.silence_after(renewed, SOON)?, back.silence_after(renewed, SOON)?];
    up(fleet, &gateway)?;
    let seen = guards.look()?;
    assert_eq!(seen.on_wan, 0, "in clear on {:?}", seen.leaking);
    assert!(seen.on_lan > 500, "the search finds what it looks for: {seen:?}");
    let line = first_key.lines().nth(5).unwrap_or_default();
    assert!(line.len() > 60 && !fleet.log_tails().contains(line), "a private key in a log");
    Ok(json!({
        "marked_on_wan": seen.on_wan,
        "marked_on_lan": seen.on_lan,
        "tx_bytes": carried.tx_bytes,
        "rx_bytes": carried.rx_bytes,
        "renewal_gap_there_ms": silences[0],
        "renewal_gap_back_ms": silences[1],
    }))
}

/// How often the edge has proven who it is.
fn authenticated(gateway: &Gateway) -> usize {
    gateway.log().matches("authentication of 'left.example.net' with RSA").count()
}

/// The site left alone, with these fields of its tunnel; a failure brings the logs' ends along.
pub(super) fn with_left(
    fields: &str,
    body: impl FnOnce(&mut Fleet) -> Result<Value, FleetError>,
) -> Verdict {
    let fields = format!(", dh_groups: [{GROUP}]{fields}");
    let spec = FleetSpec::with_gateway(&fields).map_err(|error| error.line())?.left_alone();
    let mut fleet = Fleet::up(spec).map_err(|error| error.line())?;
    body(&mut fleet).map_err(|error| {
        eprintln!("{}", fleet.log_tails());
        error.line()
    })
}

pub(super) fn key(fleet: &Fleet) -> Result<(), FleetError> {
    fleet.agent("left-1")?.set_secret(fleet, GATEWAY_SECRET, GATEWAY_KEY)
}

/// Nothing passes and nothing leaks without the tunnel; with it traffic passes both ways; it comes back after the gateway
/// was killed; and at no time is anything in clear.
fn passes(fleet: &mut Fleet, version: u8) -> Result<Value, FleetError> {
    // From its first generation on the edge is guarded.
    fleet.wait_ike("dc", SOON, |tunnel| tunnel.state == "blocked")?;
    let guards = Guards::start(fleet, "left-host")?;
    let there = Flow::start(fleet, "left-host", GATEWAY_HOST, 7001, false)?;
    std::thread::sleep(WITHOUT);
    assert_eq!(there.since(0)?.arrivals, 0, "without a tunnel");
    let seen = guards.look()?;
    assert_eq!(seen.on_wan, 0, "in clear, for want of a tunnel, on {:?}", seen.leaking);

    let first = Gateway::by_hand(fleet, version, GROUP)?;
    key(fleet)?;
    up(fleet, &first)?;
    let back = Flow::start(fleet, GATEWAY_HOST, "left-host", 7002, false)?;
    there.wait_flowing(SOON)?;
    back.wait_flowing(SOON)?;
    assert!(fleet.ping("left-host", GATEWAY_HOST, false, 5)? >= 4);
    let carried = fleet.wait_ike("dc", SOON, |t| t.tx_bytes > 10_000 && t.rx_bytes > 10_000)?;

    first.kill();
    let second = Gateway::by_hand(fleet, version, GROUP)?;
    // What the gateway forgot is noticed by DPD.
    there.wait_flowing(SOON)?;
    up(fleet, &second)?;
    let seen = guards.look()?;
    assert_eq!(seen.on_wan, 0, "in clear on {:?}", seen.leaking);
    assert!(seen.on_lan > 500, "the search finds what it looks for: {seen:?}");
    Ok(json!({
        "marked_on_wan": seen.on_wan,
        "marked_on_lan": seen.on_lan,
        "tx_bytes": carried.tx_bytes,
        "rx_bytes": carried.rx_bytes,
    }))
}

pub(super) fn up(fleet: &Fleet, gateway: &Gateway) -> Result<(), FleetError> {
    let found = fleet.wait_ike("dc", SOON, |tunnel| tunnel.state == "up");
    found.map(drop).inspect_err(|_| eprintln!("── the gateway\n{}", gateway.log()))
}
