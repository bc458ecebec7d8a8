//! Symmetric classes, with real controllers and agents in a lab. Needs root. Nothing here is about speed.

use std::time::Duration;

use hawser_e2e::fleet::wait::{self, Look};
use hawser_e2e::fleet::{Fleet, FleetError, FleetSpec};
use hawser_e2e::wan::Impairment;

const UP: Duration = Duration::from_secs(60);

type Outcome = Result<(), FleetError>;

/// Left finds isp-a cheaper, right isp-b.
fn spec(symmetric: bool) -> FleetSpec {
    let mut spec = FleetSpec::dual().expect("the bundled fleet");
    let mut replace = |old: &str, new: &str| {
        assert_eq!(spec.document.matches(old).count(), 1, "{old}");
        spec.document = spec.document.replace(old, new);
    };
    replace("prefer_uplinks: [isp-a, isp-b]", &format!("symmetric: {symmetric}"));
    replace("addresses: [203.0.113.2,", "cost: 20, addresses: [203.0.113.2,");
    replace("isp-a, addresses: discover", "isp-a, cost: 20, addresses: discover");
    spec
}

fn wait_on(fleet: &Fleet, left: &str, right: &str) -> Outcome {
    wait::until(&format!("left sends on {left}, right on {right}"), UP, || {
        let of = |edge, peer| fleet.agent(edge)?.path_in_use(peer, "default");
        Ok(match (of("left-1", "right-1"), of("right-1", "left-1")) {
            (Ok(l), Ok(r)) if l.local_uplink == left && r.local_uplink == right => Look::Done(()),
            (l, r) => Look::Not(format!("{l:?} {r:?}")),
        })
    })
}

fn scenario(symmetric: bool, body: impl FnOnce(&Fleet) -> Outcome) {
    let fleet = Fleet::up(spec(symmetric)).expect("the fleet comes up (tests need root)");
    if let Err(error) = body(&fleet) {
        panic!("{}\n{}", error.line(), fleet.log_tails());
    }
}

#[test]
fn the_directions_of_a_class_that_is_not_symmetric_are_chosen_apart() {
    scenario(false, |fleet| wait_on(fleet, "isp-a", "isp-b"));
}

#[test]
fn the_ends_of_a_symmetric_class_take_one_path_through_faults_too() {
    scenario(true, |fleet| {
        wait_on(fleet, "isp-a", "isp-a")?;
        fleet.lab().impair("left-isp-a", &Impairment::blackhole(true))?;
        wait_on(fleet, "isp-b", "isp-b")?;
        fleet.lab().reset("left-isp-a")?;
        wait_on(fleet, "isp-a", "isp-a")
    });
}
