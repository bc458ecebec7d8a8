//! The two ends of a tunnel are a generation apart: a canary has another profile, fewer paths or other segments than its
//! peer, and traffic goes on. With real controllers and agents in a lab. Needs root. Nothing here is about speed.

mod paths;
mod restart;
mod segments;
mod terms;

use std::time::Duration;

use hawser_e2e::fleet::wait::{self, Look};
use hawser_e2e::fleet::{Fleet, FleetError, FleetSpec, Flow};
use hawser_e2e::stream::Loss;
use serde_json::Value;

const UP: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(60);
/// The last packets have arrived by then.
const IN_FLIGHT: Duration = Duration::from_secs(1);

type Outcome = Result<(), FleetError>;

/// Two sites; a failure brings the logs' ends along.
fn scenario(
    name: &str,
    change: impl FnOnce(&mut FleetSpec),
    body: impl FnOnce(&mut Fleet) -> Outcome,
) {
    let mut spec = FleetSpec::dual().expect("the bundled fleet");
    spec.lab_name = Some(format!("test-{name}-{}", std::process::id()));
    change(&mut spec);
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

/// The others get it `soak` after the canary has confirmed it, at the earliest.
fn apply_staged(fleet: &Fleet, document: &str, canary: &str, soak: &str) -> Outcome {
    let site = canary.strip_suffix("-1").expect("an edge of a site");
    let path = fleet.folder().join("staged.yaml");
    std::fs::write(&path, document).expect("the document is written");
    let path = path.display().to_string();
    let args = ["apply", &path, "--staged", "--canary", site, "--soak", soak];
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

/// Waits until another generation than `before` is applied.
fn applies(fleet: &Fleet, edge: &str, before: &str) -> Outcome {
    until(&format!("{edge} has another generation"), SOON, || {
        let now = applied(fleet, edge)?;
        Ok((now != before, now))
    })
}

fn rollout_ends(fleet: &Fleet) -> Outcome {
    until("the rollout ends", SOON, || {
        let phase = phase(fleet)?;
        Ok((phase == "done", phase))
    })
}

/// Traffic at a constant rate, both ways, of which every packet counts from some moment on.
struct Traffic {
    flows: Vec<(Flow, u64)>,
}

impl Traffic {
    fn start(fleet: &Fleet, first_port: u16) -> Result<Traffic, FleetError> {
        let flows = vec![
            Flow::start(fleet, "left-host", "right-host", first_port, false)?,
            Flow::start(fleet, "right-host", "left-host", first_port + 1, true)?,
        ];
        Traffic::of(flows)
    }

    fn of(flows: Vec<Flow>) -> Result<Traffic, FleetError> {
        let mut counted = Vec::new();
        for flow in flows {
            flow.wait_flowing(SOON)?;
            let from = flow.sent()?;
            counted.push((flow, from));
        }
        Ok(Traffic { flows: counted })
    }

    /// What became of each flow up to now.
    fn losses(&self) -> Result<Vec<Loss>, FleetError> {
        let mut losses = Vec::new();
        for (flow, from) in &self.flows {
            let to = flow.sent()?;
            std::thread::sleep(IN_FLIGHT);
            losses.push(flow.loss(*from, to)?);
        }
        Ok(losses)
    }

    fn assert_none_lost(&self, what: &str) -> Outcome {
        for loss in self.losses()? {
            println!("{what}: {} of {} lost", loss.lost, loss.expected);
            assert_eq!(loss.lost, 0, "{what}: {loss:?}");
        }
        Ok(())
    }
}
