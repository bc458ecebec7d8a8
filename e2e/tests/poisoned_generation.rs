//! Staged rollouts with real processes: a generation that cuts the controller off, and a controller that dies in the middle.
//! They wait for agents that give up after 90 s, so they run by `make test-rollout`. Needs root.

use std::time::{Duration, Instant};

use hawser_e2e::fleet::wait::{self, Look};
use hawser_e2e::fleet::{Fleet, FleetError, FleetSpec, Flow};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);
/// An agent goes back after 90 s, and the controller hears of it when the agent is back.
const AFTER_REVERT: Duration = Duration::from_secs(240);

type Outcome = Result<(), FleetError>;

fn scenario(name: &str, body: fn(&mut Fleet) -> Outcome) {
    let mut spec = FleetSpec::demo().expect("the bundled fleet");
    spec.lab_name = Some(format!("test-{name}-{}", std::process::id()));
    let mut fleet = Fleet::up(spec).expect("the fleet comes up (tests need root)");
    let done = fleet.wait_all_up(SOON).map(drop).and_then(|()| body(&mut fleet));
    if let Err(error) = done {
        panic!("{error}\n{}", fleet.log_tails());
    }
}

fn until(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<(bool, String), FleetError>,
) -> Outcome {
    wait::until(what, limit, || {
        let (yes, last) = look()?;
        Ok(if yes { Look::Done(()) } else { Look::Not(last) })
    })
}

/// b2 goes first.
fn apply_staged(fleet: &Fleet, document: &str) -> Outcome {
    let path = fleet.folder().join("staged.yaml");
    std::fs::write(&path, document).expect("the document is written");
    let path = path.display().to_string();
    let args = ["apply", &path, "--staged", "--canary", "b2", "--soak", "3s"];
    fleet.operator()?.text(&args).map(drop)
}

fn rollout(fleet: &Fleet) -> Result<Value, FleetError> {
    let text = fleet.operator()?.text(&["--json", "rollout"])?;
    Ok(serde_json::from_str(&text).expect("JSON"))
}

fn applied(fleet: &Fleet, edge: &str) -> Result<String, FleetError> {
    Ok(fleet.agent(edge)?.status()?.generations.applied)
}

fn rules(fleet: &Fleet, node: &str, rules: &str) -> Outcome {
    let output = fleet.lab().exec(node, &["nft", rules])?;
    assert!(output.status.success(), "{rules}: {}", output.stderr_text());
    Ok(())
}

fn lost(flow: &Flow, from: u64) -> Result<u64, FleetError> {
    // What is under way has a second to arrive.
    let to = flow.sent()?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(flow.loss(from, to)?.lost)
}

#[test]
#[ignore = "waits for an agent that gives up after 90 s: make test-rollout"]
fn a_generation_that_cuts_the_controller_off_hurts_the_canary_only_and_is_taken_back() {
    scenario("poison", |fleet| {
        // Next hops that nobody is at: valid, and neither the controller nor a peer is reached any more.
        let (head, b2) = fleet.spec().document.split_once("  - name: b2").expect("b2 is last");
        let wrong = b2
            .replace("interface: isp-a,", "interface: isp-a, gateways: [198.51.100.46],")
            .replace("interface: isp-b,", "interface: isp-b, gateways: [203.0.113.46],");
        assert_ne!(wrong, b2);
        let poisoned = format!("{head}  - name: b2{wrong}");

        let flow = Flow::start(fleet, "b1-host", "hq-host", 7301, false)?;
        flow.wait_flowing(SOON)?;
        let from = flow.sent()?;
        let before = ["hq-1", "b1-1", "b2-1"].map(|edge| applied(fleet, edge).expect("a status"));
        apply_staged(fleet, &poisoned)?;
        until("the canary has it", SOON, || {
            let now = applied(fleet, "b2-1")?;
            Ok((now != before[2], now))
        })?;
        let poisoned_at = Instant::now();
        until("the controller is cut off", SOON, || {
            let status = fleet.agent("b2-1")?.status()?;
            Ok((!status.controller.connected, format!("{:?}", status.controller)))
        })?;
        // Nobody helps the canary: it goes back by itself.
        until("the canary goes back", AFTER_REVERT, || {
            let others = ["hq-1", "b1-1"].map(|edge| applied(fleet, edge).expect("a status"));
            assert_eq!(others, before[..2], "the others never heard of it");
            let log = std::fs::read_to_string(fleet.agent("b2-1")?.log()).unwrap_or_default();
            Ok((log.contains("GENERATION_REVERTED"), "it has not said so".to_owned()))
        })?;
        println!("the canary went back after {:.1} s", poisoned_at.elapsed().as_secs_f64());
        until("the rollout is halted and taken back", AFTER_REVERT, || {
            let rollout = rollout(fleet)?;
            Ok((rollout["phase"] == "rolled-back", rollout.to_string()))
        })?;
        let rollout = rollout(fleet)?;
        let states = |site: &str| -> Vec<String> {
            let edges = rollout["edges"].as_array().expect("edges");
            edges.iter().filter(|e| e["site"] == site).map(|e| e["state"].to_string()).collect()
        };
        assert!(states("hq").iter().chain(&states("b1")).all(|s| s == "\"waiting\""), "{rollout}");
        println!("halted: {}", rollout["reason"]);
        fleet.wait_converged(SOON)?;
        fleet.wait_edge_up("b2-1", SOON)?;
        assert_eq!(lost(&flow, from)?, 0, "packets lost between the other sites");
        Ok(())
    });
}

#[test]
#[ignore = "waits for an agent that gives up after 90 s: make test-rollout"]
fn a_controller_that_dies_in_the_middle_blames_nobody_and_goes_on() {
    scenario("killed", |fleet| {
        let good = fleet.spec().document.replace("rekey_after_s: 3600", "rekey_after_s: 1800");
        let flow = Flow::start(fleet, "b1-host", "hq-host", 7302, false)?;
        flow.wait_flowing(SOON)?;
        let from = flow.sent()?;
        let before = applied(fleet, "b2-1")?;
        // The canary gets its generation on the stream that lives, and can't confirm it by a new one.
        rules(
            fleet,
            "b2",
            "table inet cut { chain out { type filter hook output priority 0; \
             tcp dport 4511 tcp flags & (syn | ack) == syn drop; }; }",
        )?;
        apply_staged(fleet, &good)?;
        until("the canary has it", SOON, || {
            let generations = fleet.agent("b2-1")?.status()?.generations;
            let new = generations.applied != before && generations.confirmed == before;
            Ok((new, format!("{generations:?}")))
        })?;
        let died_at = Instant::now();
        fleet.kill_controller();
        rules(fleet, "b2", "delete table inet cut")?;
        until("the canary goes back", AFTER_REVERT, || {
            let now = applied(fleet, "b2-1")?;
            Ok((now == before, now))
        })?;
        println!("the canary went back after {:.1} s", died_at.elapsed().as_secs_f64());
        fleet.restart_controller()?;
        until("the rollout goes on to its end", AFTER_REVERT, || {
            let rollout = rollout(fleet)?;
            assert_ne!(rollout["phase"], "rolled-back", "{rollout}");
            Ok((rollout["phase"] == "done", rollout.to_string()))
        })?;
        fleet.wait_converged(SOON)?;
        assert_eq!(fleet.operator()?.status()?.revision, 2);
        assert_ne!(applied(fleet, "b2-1")?, before);
        assert_eq!(lost(&flow, from)?, 0, "packets lost between the other sites");
        Ok(())
    });
}
