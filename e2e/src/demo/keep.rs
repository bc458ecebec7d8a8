//! `--keep`: everything runs on, and the operator is told what to try.

use super::story::Stage;
use crate::fleet::{FleetError, MARKER};
use crate::lab::{Sink, Task};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

/// Where the console is seen on this machine, unless something else is there.
const CONSOLE_PORT: u16 = 4511;

/// Lets go of the lab. Returns what to print.
pub(super) fn leave(stage: Stage<'_>) -> Result<String, FleetError> {
    let Stage { fleet, flows, guards, .. } = stage;
    drop((flows, guards));
    stream_on(&fleet)?;
    let console = open_console(&fleet)?;
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

  https://{console}/    the console, signed by the fleet's own CA; sign in with a token:
  {hawser} token create --role admin

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

/// The controller is inside the lab; a browser on this machine gets a door to it.
fn open_console(fleet: &crate::fleet::Fleet) -> Result<SocketAddr, FleetError> {
    let spec = fleet.spec();
    let local = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let at = std::path::Path::new("127.0.0.1");
    let door = local(CONSOLE_PORT).or_else(|_| local(0)).map_err(FleetError::file("opened", at))?;
    let address = door.local_addr().map_err(FleetError::file("opened", at))?;
    let to = spec.advertise.first().map_or("127.0.0.1:4511", String::as_str);
    let task = Task::new(&fleet.programs().lab)
        .args(["tool", "forward", "--to", to])
        .stdin(Sink::Open(Arc::new(door.into())))
        .stderr(Sink::File(fleet.folder().join("logs").join("console.log")));
    let _door = fleet.lab().spawn_kept(&spec.controller_node, &task)?;
    Ok(address)
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
