//! The two ends of a tunnel are a generation apart: a canary has another profile than its peer, and traffic goes on. With
//! real controllers and agents in a lab. Needs root. Nothing here is about speed.

use std::time::Duration;

use hawser_e2e::fleet::wait::{self, Look};
use hawser_e2e::fleet::{Fleet, FleetError, FleetSpec, Flow};
use serde_json::Value;

const UP: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(60);
/// The ends differ for at least so long: several lives of keys.
const SOAK: &str = "20s";
/// The last packets have arrived by then.
const IN_FLIGHT: Duration = Duration::from_secs(1);

type Outcome = Result<(), FleetError>;

/// Two sites whose keys live 5 s; a failure brings the logs' ends along.
fn scenario(name: &str, body: impl FnOnce(&mut Fleet) -> Outcome) {
    let mut spec = FleetSpec::dual().expect("the bundled fleet");
    spec.lab_name = Some(format!("test-{name}-{}", std::process::id()));
    spec.document = replaced(&spec.document, "rekey_after_s: 3600", "rekey_after_s: 5");
    let mut fleet = Fleet::up(spec).expect("the fleet comes up (tests need root)");
    let outcome = fleet.wait_all_up(UP).map(drop).and_then(|()| body(&mut fleet));
    if let Err(error) = outcome {
        panic!("{}\n{}", error.line(), fleet.log_tails());
    }
}

fn replaced(document: &str, old: &str, new: &str) -> String {
    assert_eq!(document.matches(old).count(), 1, "{old}: {document}");
    document.replace(old, new)
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

fn apply_staged(fleet: &Fleet, document: &str, canary: &str) -> Outcome {
    let site = canary.strip_suffix("-1").expect("an edge of a site");
    let path = fleet.folder().join("staged.yaml");
    std::fs::write(&path, document).expect("the document is written");
    let path = path.display().to_string();
    let args = ["apply", &path, "--staged", "--canary", site, "--soak", SOAK];
    fleet.operator()?.text(&args).map(drop)
}

fn phase(fleet: &Fleet) -> Result<String, FleetError> {
    let text = fleet.operator()?.text(&["--json", "rollout"])?;
    let rollout: Value = serde_json::from_str(&text).expect("JSON");
    Ok(rollout["phase"].as_str().unwrap_or_default().to_owned())
}

fn applied(fleet: &Fleet, edge: &str) -> Result<String, FleetError> {
    Ok(fleet.agent(edge)?.status()?.generations.applied)
}

fn rekeys(fleet: &Fleet, edge: &str) -> Result<u64, FleetError> {
    Ok(fleet.agent(edge)?.paths()?.iter().map(|path| path.rekeys).sum())
}

/// One after the other gets it, under traffic both ways; nothing is lost, and fresh keys come while the ends differ.
fn changes_without_loss(fleet: &Fleet, document: &str, canary: &str, other: &str) -> Outcome {
    let flows = [
        Flow::start(fleet, "left-host", "right-host", 7401, false)?,
        Flow::start(fleet, "right-host", "left-host", 7402, true)?,
    ];
    let mut from = Vec::new();
    for flow in &flows {
        flow.wait_flowing(SOON)?;
        from.push(flow.sent()?);
    }
    let (before, others) = (applied(fleet, canary)?, applied(fleet, other)?);
    apply_staged(fleet, document, canary)?;
    until("the canary has it", SOON, || {
        let now = applied(fleet, canary)?;
        Ok((now != before, now))
    })?;
    let keyed = rekeys(fleet, canary)?;
    let mut apart = 0;
    until("the other one has it", SOON, || {
        let now = applied(fleet, other)?;
        if now == others {
            apart = rekeys(fleet, canary)? - keyed;
        }
        Ok((now != others, now))
    })?;
    until("the rollout ends", SOON, || {
        let phase = phase(fleet)?;
        Ok((phase == "done", phase))
    })?;
    std::thread::sleep(Duration::from_secs(7));
    for (flow, from) in flows.iter().zip(from) {
        let to = flow.sent()?;
        std::thread::sleep(IN_FLIGHT);
        let loss = flow.loss(from, to)?;
        println!("{canary} first: {} of {} lost, {apart} rekeys apart", loss.lost, loss.expected);
        assert_eq!(loss.lost, 0, "{loss:?}");
    }
    assert!(apart >= 4, "fresh keys while the ends differ: {apart}");
    Ok(())
}

#[test]
fn a_canary_with_another_suite_loses_nothing() {
    scenario("suite-apart", |fleet| {
        let document = fleet.spec().document.clone();
        let cbc = replaced(&document, "aes-128-gcm", "aes-256-cbc-sha256-128");
        changes_without_loss(fleet, &cbc, "left-1", "right-1")
    });
}

#[test]
fn a_canary_with_other_sequence_numbers_loses_nothing() {
    scenario("esn-apart", |fleet| {
        let document = fleet.spec().document.clone();
        let short = replaced(&document, "rekey_after_s: 5", "rekey_after_s: 5, esn: false");
        changes_without_loss(fleet, &short, "right-1", "left-1")
    });
}
