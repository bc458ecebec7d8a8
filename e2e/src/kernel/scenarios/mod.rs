//! What can be run inside the kernel lab.

mod departures;
mod fabric;
mod ike;
mod ike_ah;
mod ike_fleet;
mod ike_links;
mod ike_reauth;
mod ike_routed;
mod ike_warm;
mod manual;
mod moves;
mod nat;
mod streams;
mod survival;
mod teardown;
mod tools;

use serde_json::Value;
use std::time::Duration;

/// Facts of a run that passed, or why it did not.
pub type Verdict = Result<Value, String>;

/// A scenario has a kernel of its own, and is a process of its own there. It may panic: that is a failure.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    /// Part of `make test`.
    pub quick: bool,
    /// With the kernel's start.
    pub limit: Duration,
    pub run: fn() -> Verdict,
}

const fn quick(name: &'static str, run: fn() -> Verdict) -> Scenario {
    Scenario { name, quick: true, limit: Duration::from_secs(300), run }
}

const fn long(name: &'static str, run: fn() -> Verdict) -> Scenario {
    Scenario { name, quick: false, limit: Duration::from_secs(900), run }
}

/// All of them, in the order in which they run.
pub const ALL: &[Scenario] = &[
    quick("kernel-features", tools::kernel_features),
    quick("netem", tools::netem),
    quick("esp-gre-by-hand", tools::esp_gre_by_hand),
    long("fabric-kernel-kernel", fabric::kernel_kernel),
    long("fabric-kernel-userspace", fabric::kernel_userspace),
    long("suites-between-drivers", fabric::suites),
    long("flush-under-traffic", survival::flush),
    long("agent-killed-under-traffic", survival::agent_killed),
    long("nat-between", nat::between),
    long("two-branches-behind-one-nat", nat::two_branches),
    long("peer-address-changed-under-traffic", moves::peer_address_changed),
    long("uplink-removed-under-traffic", departures::kernel_kernel),
    long("uplink-removed-between-drivers", departures::kernel_userspace),
    long("overlay-prefix-covers-underlay", moves::overlay_covers_underlay),
    long("teardown-leaves-nothing", teardown::leaves_nothing),
    long("ikev2-psk", ike::v2_psk),
    long("ikev1-psk", ike::v1_psk),
    long("ikev2-certificates", ike::v2_certificates),
    long("ike-certificate-of-fleet", ike_fleet::by_fleet_certificate),
    long("ike-trap", ike::trap),
    long("ike-route-based", ike_routed::by_interface),
    long("ike-gre-over-ipsec", ike_routed::by_gre),
    long("manual-keys-kernel", manual::kernel),
    long("manual-keys-userspace", manual::userspace),
    long("ah-transport", manual::ah_transport),
    long("ike-ah", ike_ah::tunnel),
    long("ike-reauthentication", ike_reauth::make_before_break),
    long("ike-smart-link", ike_links::smart_link),
    long("ike-warm-standby", ike_warm::warm_standby),
];

/// The scenario of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().find(|scenario| scenario.name == name)
}
