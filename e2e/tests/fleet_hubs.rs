//! Two hubs and two branches: a hub that dies, that loses its leg to one branch, that is drained. With and without the
//! controller. Needs root. Nothing here is about speed: the figures are the benchmark's.

use std::time::Duration;

use hawser_e2e::clock;
use hawser_e2e::fleet::wait::{self, Look};
use hawser_e2e::fleet::{Fleet, FleetError, FleetSpec, Flow};

const UP: Duration = Duration::from_secs(90);
/// Holds double with flaps, and machines are slow.
const SOON: Duration = Duration::from_secs(60);
const B1_LAN: &str = "10.11.0.0/24";
const B2_LAN: &str = "10.12.0.0/24";

type Outcome = Result<(), FleetError>;

/// Runs a scenario; a failure brings the logs' ends along.
fn scenario(name: &str, body: impl FnOnce(&mut Fleet) -> Outcome) {
    scenario_with(name, |_| {}, body);
}

fn scenario_with(
    name: &str,
    change: impl FnOnce(&mut FleetSpec),
    body: impl FnOnce(&mut Fleet) -> Outcome,
) {
    let mut spec = FleetSpec::hubs().expect("the bundled fleet");
    change(&mut spec);
    spec.lab_name = Some(format!("test-{name}-{}", std::process::id()));
    let mut fleet = Fleet::up(spec).expect("the fleet comes up (tests need root)");
    let up = fleet.wait_all_up(UP).and_then(|_| settled(&fleet));
    if let Err(error) = up.and_then(|()| body(&mut fleet)) {
        panic!("{error}\n{}", fleet.log_tails());
    }
}

/// Both branches send to each other through one hub.
fn through(fleet: &Fleet, hub: &str) -> Outcome {
    for (edge, prefix) in [("b1-1", B2_LAN), ("b2-1", B1_LAN)] {
        sends(fleet, edge, prefix, hub)?;
    }
    Ok(())
}

fn settled(fleet: &Fleet) -> Outcome {
    through(fleet, "hq1-1")
}

fn sends(fleet: &Fleet, edge: &str, prefix: &str, hub: &str) -> Outcome {
    let agent = fleet.agent(edge)?;
    wait::until(&format!("{edge} sends to {prefix} through {hub}"), SOON, || {
        let now = agent.next_hop(prefix)?;
        Ok(if now == hub { Look::Done(()) } else { Look::Not(format!("through {now:?}")) })
    })
}

/// Streams both ways between the branches.
fn flows(fleet: &Fleet, port: u16) -> Result<[Flow; 2], FleetError> {
    let flows = [
        Flow::start(fleet, "b1-host", "b2-host", port, false)?,
        Flow::start(fleet, "b2-host", "b1-host", port, true)?,
    ];
    flows.iter().try_for_each(|flow| flow.wait_flowing(SOON))?;
    Ok(flows)
}

fn heal(flows: &[Flow], fault_ns: u64, what: &str) -> Outcome {
    for flow in flows {
        let silence_ms = flow.silence_after(fault_ns, Duration::from_secs(10))?;
        eprintln!("{what}: {} to {}: {silence_ms:?} ms", flow.from, flow.to);
        assert!(silence_ms.is_some(), "{what}: {} to {} did not heal", flow.from, flow.to);
    }
    Ok(())
}

/// Runs `change` and waits for what it leads to; nothing of the streams may be lost meanwhile.
fn without_loss(flows: &[Flow], what: &str, change: impl FnOnce() -> Outcome) -> Outcome {
    let mark = |flows: &[Flow]| flows.iter().map(Flow::sent).collect::<Result<Vec<u64>, _>>();
    let before = mark(flows)?;
    change()?;
    std::thread::sleep(Duration::from_secs(1));
    let after = mark(flows)?;
    // What is under way may still arrive.
    std::thread::sleep(Duration::from_secs(1));
    for ((flow, from), to) in flows.iter().zip(before).zip(after) {
        let loss = flow.loss(from, to)?;
        assert_eq!(loss.lost, 0, "{what}: {} to {}: {loss:?}", flow.from, flow.to);
    }
    Ok(())
}

/// Of the newest move of a prefix.
fn last_cause(fleet: &Fleet, edge: &str, prefix: &str) -> Result<(String, String), FleetError> {
    let why = fleet.agent(edge)?.why_all(64)?;
    let moved = |prefixes: &[String]| prefixes.iter().any(|p| p == prefix);
    let newest = why.decisions.into_iter().find(|decision| moved(&decision.prefixes));
    Ok(newest.map(|d| (d.cause, d.summary)).unwrap_or_default())
}

fn hub_dies_and_comes_back(fleet: &mut Fleet, port: u16, what: &str) -> Outcome {
    let flows = flows(fleet, port)?;
    let dark_ns = clock::mono_ns();
    fleet.kill_agent("hq1-1")?;
    heal(&flows, dark_ns, what)?;
    through(fleet, "hq2-1")?;
    let (cause, summary) = last_cause(fleet, "b1-1", B2_LAN)?;
    assert_eq!(cause, "NEXT_HOP_DOWN", "{summary}");
    without_loss(&flows, "fail-back", || {
        fleet.start_agent("hq1-1")?;
        fleet.wait_edge_up("hq1-1", SOON)?;
        through(fleet, "hq1-1")
    })
}

#[test]
fn a_hub_that_dies_is_replaced_and_taken_again_with_and_without_the_controller() {
    scenario("hub-dies", |fleet| {
        hub_dies_and_comes_back(fleet, 7201, "hub killed")?;
        let told = fleet.operator()?.run(&["why", "b1", "--limit", "64"])?.stdout_text();
        assert!(told.contains("no path to it works"), "{told}");
        fleet.kill_controller();
        hub_dies_and_comes_back(fleet, 7202, "hub killed, no controller")
    });
}

fn hub_loses_a_leg(fleet: &Fleet, port: u16, what: &str) -> Outcome {
    let flows = flows(fleet, port)?;
    let dark_ns = clock::mono_ns();
    fleet.cut_leg("hq1-1", "b2-1")?;
    heal(&flows, dark_ns, what)?;
    // The hub stops attracting what is for that branch, and keeps everything else.
    through(fleet, "hq2-1")?;
    sends(fleet, "hq1-1", B2_LAN, "hq2-1")?;
    sends(fleet, "b1-1", "10.1.0.0/24", "hq1-1")?;
    for (from, to) in [("hq1-host", "b2-host"), ("b2-host", "hq1-host"), ("b1-host", "hq1-host")] {
        assert!(fleet.ping(from, to, false, 5)? >= 4, "{what}: {from} to {to}");
    }
    without_loss(&flows, "the leg is back", || {
        fleet.mend_legs()?;
        through(fleet, "hq1-1")
    })
}

#[test]
fn a_hub_that_lost_only_its_leg_to_one_branch_stops_attracting_its_traffic() {
    scenario("hub-leg", |fleet| {
        hub_loses_a_leg(fleet, 7211, "leg lost")?;
        fleet.kill_controller();
        hub_loses_a_leg(fleet, 7212, "leg lost, no controller")
    });
}

#[test]
fn a_backup_hub_that_lost_a_leg_withdraws_the_branch_for_it_may_not_go_back() {
    scenario("hub-withdraws", |fleet| {
        fleet.cut_leg("hq1-1", "b1-1")?;
        through(fleet, "hq2-1")?;
        // Now the backup loses the other branch: through the first hub there is a way for one direction only.
        fleet.cut_leg("hq2-1", "b2-1")?;
        sends(fleet, "b1-1", B2_LAN, "")?;
        let why = fleet.agent("b1-1")?.why_all(1)?;
        let told = why.next_hops.iter().find(|v| v.prefixes.iter().any(|p| p == B2_LAN));
        assert!(told.is_some_and(|v| v.because.contains("no next hop")), "{told:?}");
        fleet.mend_legs()?;
        through(fleet, "hq1-1")?;
        assert!(fleet.ping("b1-host", "b2-host", false, 5)? >= 4);
        Ok(())
    });
}

#[test]
fn a_drained_hub_is_left_without_losing_a_packet_and_stays_drained_without_the_controller() {
    scenario("hub-drained", |fleet| {
        let flows = flows(fleet, 7221)?;
        let document = fleet.spec().document.clone();
        let drained = document.replacen("- name: hq1\n", "- name: hq1\n    drain: true\n", 1);
        without_loss(&flows, "drain", || {
            fleet.apply(&drained, "hq1 is to be serviced")?;
            through(fleet, "hq2-1")
        })?;
        let (cause, summary) = last_cause(fleet, "b1-1", B2_LAN)?;
        assert_eq!(cause, "DRAINED", "{summary}");
        assert!(fleet.ping("b1-host", "hq1-host", false, 5)? >= 4, "its own LAN stays reached");

        fleet.wait_converged(SOON)?;
        fleet.kill_controller();
        without_loss(&flows, "the drained hub stops", || fleet.kill_agent("hq1-1"))?;
        fleet.start_agent("hq1-1")?;
        fleet.wait_edge_up("hq1-1", SOON)?;
        // Longer than the hold.
        std::thread::sleep(Duration::from_secs(15));
        through(fleet, "hq2-1")?;

        fleet.restart_controller()?;
        without_loss(&flows, "no more drain", || {
            fleet.apply(&document, "serviced")?;
            through(fleet, "hq1-1")
        })
    });
}

/// Both hubs are origins of one server network.
const SERVERS: &str = "10.9.0.0/24";

#[test]
fn a_hub_whose_lan_lost_its_link_stops_attracting_what_the_other_hub_reaches_too() {
    let shared = |spec: &mut FleetSpec| {
        for own in [r#"[10.1.0.0/24, "fd00:1::/64"]"#, r#"[10.2.0.0/24, "fd00:2::/64"]"#] {
            assert_eq!(spec.document.matches(own).count(), 1);
            let servers = format!("[{SERVERS}], shared_origin: true");
            spec.document = spec.document.replace(own, &servers);
        }
    };
    scenario_with("hub-lan", shared, |fleet| {
        sends(fleet, "b1-1", SERVERS, "hq1-1")?;
        fleet.lab().exec("hq1", &["ip", "link", "set", "lan0", "down"])?;
        sends(fleet, "b1-1", SERVERS, "hq2-1")?;
        // Traffic between the branches has nothing to do with the LAN.
        sends(fleet, "b1-1", B2_LAN, "hq1-1")?;
        fleet.lab().exec("hq1", &["ip", "link", "set", "lan0", "up"])?;
        sends(fleet, "b1-1", SERVERS, "hq1-1")
    });
}
