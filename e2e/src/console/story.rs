//! The fleet, its two revisions and its people; then the browser does the rest.

use super::{Cli, Seen};
use crate::fleet::{Fleet, FleetError, FleetSpec, Flow};
use crate::lab::Task;
use crate::report::{Goal, Goals};
use crate::screen::Screen;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const UP: Duration = Duration::from_secs(60);
const BROWSER_LIMIT: Duration = Duration::from_secs(600);
const FAILURE_SHOWN_MS: f64 = 5_000.0;
/// The uplink that fails: the one that b1 prefers.
const LINK: &str = "b1-isp-a";

pub(super) fn tell(screen: &Screen, cli: &Cli) -> Result<Seen, FleetError> {
    let mut fleet = Fleet::lay_out(FleetSpec::demo()?)?;
    let told = run(screen, cli, &mut fleet);
    if told.is_err() {
        eprintln!("{}", fleet.log_tails());
    }
    told
}

pub(super) fn goals(seen: &Seen) -> Goals {
    let shown = Goal::at_most(FAILURE_SHOWN_MS, seen.failure_shown_after_ms);
    Goals::from([("failure_shown_after_ms".to_owned(), shown)])
}

fn run(screen: &Screen, cli: &Cli, fleet: &mut Fleet) -> Result<Seen, FleetError> {
    fleet.start_controller()?;
    let first = fleet.spec().document.clone();
    fleet.apply(&first, "three sites, two providers")?;
    // So that there is something to go back to.
    let second = first.replace("failback_hold_s: 10", "failback_hold_s: 15");
    fleet.apply(&second, "wait a little longer before going back")?;
    fleet.enrol_all()?;
    fleet.start_agents()?;
    let fleet: &Fleet = fleet;
    let paths = fleet.wait_all_up(UP)?;
    let flow = Flow::start(fleet, "b1-host", "hq-host", 7001, false)?;
    flow.wait_flowing(UP)?;
    screen.step("fleet").told(true, &format!("{} paths up, traffic flows", paths.len()));

    let images = absolute(&cli.images);
    fs::create_dir_all(&images).map_err(FleetError::file("made", &images))?;
    let seen = browse(fleet, &absolute(&cli.script), &images)?;
    for step in &seen.steps {
        screen.step(&step.name).told(step.ok, &step.why);
    }
    Ok(seen)
}

fn browse(fleet: &Fleet, script: &Path, images: &Path) -> Result<Seen, FleetError> {
    let operator = fleet.operator()?;
    let token = |role: &str| operator.api_token(role);
    let answer = fleet.folder().join("console-seen.json");
    let lab = fleet.programs().lab.display().to_string();
    let name = fleet.lab().name();
    let impair = |what: &str| json!([lab, "impair", LINK, what, "--name", name]);
    let told = json!({
        "url": format!("https://{}", fleet.spec().advertise[0]),
        "tokens": {"admin": token("admin")?, "viewer": token("viewer")?},
        "fail": impair("blackhole=true"),
        "heal": impair("reset"),
        "images": images,
        "answer": answer,
    });
    // It holds tokens of a fleet that lives as long as this program.
    let asked = fleet.folder().join("console-asked.json");
    fs::write(&asked, told.to_string()).map_err(FleetError::file("written", &asked))?;
    let log = fleet.folder().join("logs").join("browser.log");
    let task = Task::new("node").arg(script).arg(&asked).log(&log);
    let browser = fleet.lab().spawn("controller", &task)?;
    let ended = browser.wait_within(BROWSER_LIMIT);
    browser.kill();
    if !ended.is_some_and(|status| status.success()) {
        let said = fs::read_to_string(&log).unwrap_or_default();
        let command = format!("node {}", script.display());
        return Err(FleetError::Command { command, code: ended.and_then(|s| s.code()), said });
    }
    let text = fs::read_to_string(&answer).map_err(FleetError::file("read", &answer))?;
    let command = "the browser".to_owned();
    serde_json::from_str(&text).map_err(|source| FleetError::Answer { command, source })
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
