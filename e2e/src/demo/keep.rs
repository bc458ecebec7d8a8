//! `--keep`: everything runs on, and the operator is told what to try.

use super::story::Stage;
use crate::fleet::{FleetError, MARKER};
use crate::lab::Task;

/// Lets go of the lab. Returns what to print.
pub(super) fn leave(stage: Stage<'_>) -> Result<String, FleetError> {
    let Stage { fleet, flows, guards, .. } = stage;
    drop((flows, guards));
    stream_on(&fleet)?;
    let tool = |path: &std::path::Path| {
        let here = std::env::current_dir().ok();
        let shorter = here.and_then(|here| path.strip_prefix(here).ok().map(ToOwned::to_owned));
        shorter.unwrap_or_else(|| path.to_owned()).display().to_string()
    };
    let programs = fleet.programs().clone();
    let (lab, edge) = (tool(&programs.lab), tool(&programs.edge));
    let context = fleet.context()?;
    let hawser = format!(
        "{lab} exec controller -- {} --context {}",
        tool(&programs.hawser),
        context.display()
    );
    let state = fleet.agent("b1-1")?.state_dir().display().to_string();
    let (name, folder) = fleet.keep()?;
    Ok(format!(
        "The lab `{name}` runs on, with traffic between b1 and hq. Try:

  {hawser} paths
  {hawser} events --follow
  {lab} impair b1-isp-a blackhole=true        (or loss_pct=5, delay_ms=200; then: impair b1-isp-a reset)
  {hawser} why b1
  {lab} exec b1 -- {edge} --state-dir {state} status
  {lab} exec b1-host -- ping -c3 10.1.0.10
  {lab} status

Logs and state: {}
End it:         {lab} down --name {name} && rm -r {}",
        folder.display(),
        folder.display()
    ))
}

/// The measured streams end with this process; one without an observer goes on.
fn stream_on(fleet: &crate::fleet::Fleet) -> Result<(), FleetError> {
    let lab = &fleet.programs().lab;
    let to = std::net::SocketAddr::new(fleet.host_address("hq-host", false)?, 9_001);
    let task = |what: &str, option: &str| {
        Task::new(lab)
            .args(["tool", what, option, &to.to_string(), "--marker", MARKER, "--unattended"])
            .log(fleet.folder().join("logs").join(format!("stream-{what}.log")))
    };
    let _receiver = fleet.lab().spawn_kept("hq-host", &task("recv", "--bind"))?;
    let _sender = fleet.lab().spawn_kept("b1-host", &task("send", "--to"))?;
    Ok(())
}
