//! The life of certificates, with real controllers and agents in a lab: renewed under traffic, revoked everywhere, replaced.
//! Needs root.

use std::time::Duration;

use hawser_e2e::fleet::wait::{self, Look};
use hawser_e2e::fleet::{Fleet, FleetError, FleetSpec, Flow};
use serde_json::Value;

const UP: Duration = Duration::from_secs(60);
/// What an operator may count on, and what these tests allow.
const SOON: Duration = Duration::from_secs(60);

type Outcome = Result<(), FleetError>;

/// Runs a scenario; a failure brings the logs' ends along.
fn scenario(
    name: &str,
    args: &[&str],
    change: impl Fn(String) -> String,
    body: fn(&mut Fleet) -> Outcome,
) {
    let mut spec = FleetSpec::demo().expect("the bundled fleet");
    spec.lab_name = Some(format!("test-{name}-{}", std::process::id()));
    spec.controller_args = args.iter().map(|arg| (*arg).to_owned()).collect();
    spec.document = change(spec.document);
    let mut fleet = Fleet::up(spec).expect("the fleet comes up (tests need root)");
    let done = fleet.wait_all_up(UP).map(drop).and_then(|()| body(&mut fleet));
    if let Err(error) = done {
        panic!("{error}\n{}", fleet.log_tails());
    }
}

fn until(what: &str, mut look: impl FnMut() -> Result<(bool, String), FleetError>) -> Outcome {
    wait::until(what, SOON, || {
        let (yes, last) = look()?;
        Ok(if yes { Look::Done(()) } else { Look::Not(last) })
    })
}

fn log_has(fleet: &Fleet, edge: &str, parts: &[&str]) -> Result<(bool, String), FleetError> {
    let log = std::fs::read_to_string(fleet.agent(edge)?.log()).unwrap_or_default();
    let has = log.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    Ok((has, format!("{edge}'s log has no line with {parts:?}")))
}

/// An edge as `hawser sites` shows it.
fn shown(fleet: &Fleet, edge: &str) -> Result<Value, FleetError> {
    let text = fleet.operator()?.text(&["--json", "sites"])?;
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let edges = all["sites"].as_array().into_iter().flatten().flat_map(|site| {
        site["edges"].as_array().into_iter().flatten().cloned().collect::<Vec<_>>()
    });
    Ok(edges.into_iter().find(|e| e["name"] == edge).expect("an edge"))
}

fn lost(flow: &Flow, from: u64) -> Result<u64, FleetError> {
    // What is under way has a second to arrive.
    let to = flow.sent()?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(flow.loss(from, to)?.lost)
}

#[test]
fn certificates_are_renewed_with_new_keys_under_traffic_that_loses_nothing() {
    let short_rekeys =
        |document: String| document.replace("rekey_after_s: 3600", "rekey_after_s: 5");
    let args = ["--edge-certificate-s", "60"];
    scenario("renewal", &args, short_rekeys, |fleet| {
        let flow = Flow::start(fleet, "b1-host", "hq-host", 7201, false)?;
        flow.wait_flowing(SOON)?;
        let from = flow.sent()?;
        let ends = shown(fleet, "b1-1")?["certificate_ends_unix_s"].as_u64();
        assert!(ends.is_some_and(|ends| ends > 0));
        for edge in ["hq-1", "b1-1", "b2-1"] {
            let renewed = fleet.agent(edge)?.state_dir().join("renewed.pem");
            until(&format!("{edge} has a new certificate"), || {
                Ok((renewed.exists(), "no file".to_owned()))
            })?;
        }
        until("the controller shows the new end", || {
            let edge = shown(fleet, "b1-1")?;
            let later = edge["certificate_ends_unix_s"].as_u64() > ends;
            Ok((later && edge["connected"] == true, edge.to_string()))
        })?;
        // The peer connections after it rest on the new key, and the other end notices.
        until("the hub sees the branch's new key", || {
            log_has(fleet, "hq-1", &["PEER_KEY_CHANGED", "b1-1"])
        })?;
        assert_eq!(lost(&flow, from)?, 0, "packets lost over renewals and rekeys");
        // The next start takes the new one.
        fleet.kill_agent("b1-1")?;
        fleet.start_agent("b1-1")?;
        fleet.wait_edge_up("b1-1", SOON)
    });
}

#[test]
fn a_revoked_box_is_cut_off_by_agents_that_hear_of_it_from_each_other_and_can_be_replaced() {
    scenario(
        "revoked",
        &[],
        |document| document,
        |fleet| {
            let flow = Flow::start(fleet, "b2-host", "hq-host", 7202, false)?;
            flow.wait_flowing(SOON)?;
            let from = flow.sent()?;
            cut_hub_from_controller(fleet)?;

            fleet.operator()?.text(&["site", "revoke", "b1", "--comment", "stolen"])?;
            until("the branch's stream is cut", || {
                let edge = shown(fleet, "b1-1")?;
                let cut = edge["connected"] == false && edge["revoked"] == true;
                Ok((cut, edge.to_string()))
            })?;
            let list = fleet.agent("b2-1")?.state_dir().join("revocations");
            until("one agent has the list", || Ok((list.exists(), "no file".to_owned())))?;
            // From now on there is nobody but the agents.
            fleet.kill_controller();
            hub_has_cut_the_branch_off(fleet)?;
            assert_eq!(lost(&flow, from)?, 0, "packets lost between the other sites");
            replace(fleet)?;
            assert_eq!(lost(&flow, from)?, 0, "packets lost between the other sites");
            Ok(())
        },
    );
}

/// By the kernel of the hub, in both directions, so that nothing of the controller gets there.
fn cut_hub_from_controller(fleet: &Fleet) -> Outcome {
    let rules = "table inet cut { chain out { type filter hook output priority 0; tcp dport 4511 drop; }; \
                 chain in { type filter hook input priority 0; tcp sport 4511 drop; }; }";
    let output = fleet.lab().exec("hq", &["nft", rules])?;
    assert!(output.status.success(), "{}", output.stderr_text());
    until("the hub is without a controller", || {
        let status = fleet.agent("hq-1")?.status()?;
        Ok((!status.controller.connected, format!("{:?}", status.controller)))
    })
}

fn hub_has_cut_the_branch_off(fleet: &Fleet) -> Outcome {
    until("the hub has the list from a peer", || {
        log_has(fleet, "hq-1", &["revocations", "number"])
    })?;
    until("connection and keys are gone at the hub", || {
        log_has(fleet, "hq-1", &["PEER_REVOKED", "b1-1"])
    })?;
    until("no path to the branch is up at the hub", || {
        let paths = fleet.agent("hq-1")?.paths()?;
        let up: Vec<_> = paths.iter().filter(|p| p.peer_edge == "b1-1" && p.is_up()).collect();
        Ok((up.is_empty(), format!("{up:?}")))
    })?;
    // The branch still seals what its LAN sends: at the hub it opens nothing.
    let unknown = || -> Result<u64, FleetError> {
        let counters = fleet.agent("hq-1")?.status()?.counters;
        Ok(counters.get("drop_unknown_spi").copied().unwrap_or(0))
    };
    let before = unknown()?;
    assert_eq!(fleet.ping("b1-host", "hq-host", false, 5)?, 0, "nothing of the branch arrives");
    until("what the branch seals has no SA at the hub", || {
        let now = unknown()?;
        Ok((now > before, format!("{before} before, {now} now")))
    })?;
    until("its new connections are refused", || {
        log_has(fleet, "hq-1", &["PEER_REFUSED", "revoked"])
    })?;
    let other = fleet.agent("hq-1")?.paths()?;
    assert!(other.iter().filter(|p| p.peer_edge == "b2-1").all(|p| p.is_up()), "{other:?}");
    Ok(())
}

/// The controller comes back with what was revoked, and a new box takes the old one's place.
fn replace(fleet: &mut Fleet) -> Outcome {
    fleet.lab().exec("hq", &["nft", "delete table inet cut"])?;
    fleet.restart_controller()?;
    until("the other edges are back", || {
        let status = fleet.operator()?.status()?;
        Ok((status.edges_connected == 2, format!("{status:?}")))
    })?;
    let edge = shown(fleet, "b1-1")?;
    assert!(edge["revoked"] == true && edge["connected"] == false, "{edge}");
    let text = fleet.operator()?.text(&["--json", "site", "replace", "b1"])?;
    let replaced: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(replaced["revoked"]["serials"], Value::Array(Vec::new()), "revoked before: {text}");
    let token = replaced["tokens"][0]["token"].as_str().expect("a token").to_owned();
    fleet.kill_agent("b1-1")?;
    let agent = fleet.agent("b1-1")?;
    let output = agent.try_enrol(fleet.lab(), &token, true)?;
    assert!(output.status.success(), "{}", output.stderr_text());
    fleet.start_agent("b1-1")?;
    fleet.wait_edge_up("b1-1", SOON)?;
    until("the new box is there", || {
        let edge = shown(fleet, "b1-1")?;
        let there = edge["revoked"] == false && edge["connected"] == true;
        Ok((there, edge.to_string()))
    })?;
    assert!(fleet.ping("b1-host", "hq-host", false, 5)? >= 4);
    Ok(())
}

/// Longer than agents let stand what rests on a retired CA.
const GRACE: Duration = Duration::from_secs(35);

#[test]
fn the_fleets_ca_is_replaced_and_the_one_before_retired_while_traffic_loses_nothing() {
    scenario(
        "ca",
        &[],
        |document| document,
        |fleet| {
            let flow = Flow::start(fleet, "b1-host", "hq-host", 7203, false)?;
            flow.wait_flowing(SOON)?;
            let from = flow.sent()?;
            // It hears of nothing that happens at the controller, until it is back.
            fleet.kill_agent("b2-1")?;
            let keyed = rekeys(fleet, "hq-1", "b1-1")?;

            rotate(fleet)?;
            until_left(fleet, &["b2-1"])?;
            assert_eq!(
                rekeys(fleet, "hq-1", "b1-1")?,
                keyed,
                "a tunnel was keyed anew for nothing"
            );
            let refused = fleet.operator()?.run(&["ca", "retire"])?;
            assert!(!refused.status.success() && refused.stderr_text().contains("CA_IN_USE"));
            assert_eq!(lost(&flow, from)?, 0, "packets lost while the new CA took over");

            // With its certificate of the old CA it meets peers of the new one, and moves.
            fleet.start_agent("b2-1")?;
            fleet.wait_edge_up("b2-1", SOON)?;
            until_left(fleet, &[])?;
            assert!(fleet.ping("b2-host", "hq-host", false, 5)? >= 4);

            fleet.operator()?.text(&["ca", "retire", "--comment", "yearly"])?;
            for edge in ["hq-1", "b1-1", "b2-1"] {
                until(&format!("{edge} knows that the CA is retired"), || {
                    log_has(fleet, edge, &["revocations", "number"])
                })?;
            }
            until("what rested on it is keyed anew", || {
                let now = rekeys(fleet, "hq-1", "b1-1")?;
                let all = now.iter().zip(&keyed).all(|(now, before)| now > before);
                Ok((all, format!("{keyed:?} before, {now:?} now")))
            })?;
            // What was not replaced would end now.
            std::thread::sleep(GRACE);
            assert_eq!(lost(&flow, from)?, 0, "packets lost over the whole rotation");
            for edge in ["hq-1", "b1-1", "b2-1"] {
                assert!(!log_has(fleet, edge, &["PEER_REVOKED"])?.0, "{edge} has cut a peer off");
            }
            // And from the start, with nothing but the new CA.
            fleet.kill_controller();
            fleet.restart_controller()?;
            fleet.kill_agent("b1-1")?;
            fleet.start_agent("b1-1")?;
            fleet.wait_edge_up("b1-1", SOON)?;
            until("every edge is at the controller", || {
                let status = fleet.operator()?.status()?;
                Ok((status.edges_connected == 3, format!("{status:?}")))
            })
        },
    );
}

/// Asks for another CA, signs it with the root's key, and lets it sign from now on.
fn rotate(fleet: &Fleet) -> Outcome {
    let data = fleet.context()?.parent().expect("the controller's folder").to_owned();
    let (request, certificate) = (fleet.folder().join("ca.csr"), fleet.folder().join("ca.pem"));
    let text = fleet.operator()?.text(&["ca", "rotate"])?;
    std::fs::write(&request, text).expect("a file");
    let signed = std::process::Command::new(&fleet.programs().controller)
        .arg("sign-ca")
        .args(["--root".as_ref(), data.join("pki/root.pem").as_os_str()])
        .args(["--root-key".as_ref(), data.join("root-offline.key").as_os_str()])
        .args(["--request".as_ref(), request.as_os_str()])
        .args(["--to".as_ref(), certificate.as_os_str()])
        .output()
        .expect("it runs");
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    let certificate = certificate.to_str().expect("UTF-8");
    let args = ["ca", "rotate", "--certificate", certificate, "--renew-within", "5s"];
    fleet.operator()?.text(&args).map(drop)
}

fn until_left(fleet: &Fleet, wanted: &[&str]) -> Outcome {
    until(&format!("{wanted:?} are left"), || {
        let text = fleet.operator()?.text(&["--json", "ca", "status"])?;
        let status: Value = serde_json::from_str(&text).expect("JSON");
        Ok((status["left"] == serde_json::json!(wanted), text))
    })
}

/// Of each path to the peer, by its number.
fn rekeys(fleet: &Fleet, edge: &str, peer: &str) -> Result<Vec<u64>, FleetError> {
    let mut paths = fleet.agent(edge)?.paths()?;
    paths.retain(|path| path.peer_edge == peer);
    paths.sort_by_key(|path| path.path_id);
    Ok(paths.iter().map(|path| path.rekeys).collect())
}
