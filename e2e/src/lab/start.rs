//! Starting and stopping a supervisor process.

use super::error::LabError;
use super::folder;
use super::topology::Topology;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Time to make a large topology on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

/// What a supervisor says on its standard output once, when it is ready or has failed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ready {
    Up { pid: u32 },
    Failed { message: String },
}

/// A supervisor started by this process. It ends when its standard input does.
pub(super) struct Supervisor {
    /// Waits for the lab's process 1, cleans up, and ends with it.
    keeper: Child,
    lifeline: Option<ChildStdin>,
    lab_pid: u32,
}

pub(super) fn start(
    topology: &Topology,
    name: &str,
    detach: bool,
) -> Result<(PathBuf, Supervisor), LabError> {
    if !nix::unistd::geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    let binary = binary()?;
    let (folder, log) = folder::claim(name)?;
    let mut command = Command::new(binary);
    command.args(["supervise", "--name", name, "--folder"]).arg(&folder);
    if detach {
        command.arg("--detach");
    }
    // A group of its own: Ctrl-C at a terminal is for whoever holds the lab, who then takes it down in order.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
    let mut keeper = command.spawn().map_err(LabError::io("hawser-lab can't be started"))?;
    // The command holds a copy of the log, whose lock must end with the supervisor.
    drop(command);
    let mut lifeline = keeper.stdin.take();
    let ready = hand_over(topology, &mut keeper, lifeline.as_mut());
    let mut supervisor = Supervisor { keeper, lifeline, lab_pid: 0 };
    match ready {
        Ok(Ready::Up { pid }) => {
            supervisor.lab_pid = pid;
            if detach {
                supervisor.lifeline = None;
            }
            Ok((folder, supervisor))
        }
        Ok(Ready::Failed { message }) => {
            let _ = supervisor.stop();
            Err(LabError::Supervisor { message })
        }
        Err(error) => {
            let said = std::fs::read_to_string(folder::log(&folder)).unwrap_or_default();
            let _ = supervisor.stop();
            let message = format!("it ended before it was ready ({error}): {}", said.trim());
            Err(LabError::Supervisor { message })
        }
    }
}

/// Gives the supervisor its topology and waits until it is ready.
fn hand_over(
    topology: &Topology,
    keeper: &mut Child,
    lifeline: Option<&mut ChildStdin>,
) -> std::io::Result<Ready> {
    let missing = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    let lifeline = lifeline.ok_or_else(missing)?;
    serde_json::to_writer(&mut *lifeline, topology)?;
    lifeline.write_all(b"\n")?;
    let stdout = keeper.stdout.take().ok_or_else(missing)?;
    // The supervisor bounds its own start, and its end closes this pipe: the read always ends.
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

impl Supervisor {
    pub(super) fn lab_pid(&self) -> u32 {
        self.lab_pid
    }

    /// Lets go of a supervisor that no longer minds its lifeline.
    pub(super) fn release(self) {
        drop(self);
    }

    /// Closes the lifeline and waits for the end; kills what does not end.
    pub(super) fn stop(mut self) -> Result<(), LabError> {
        drop(self.lifeline.take());
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            match self.keeper.try_wait() {
                Ok(None) => std::thread::sleep(POLL),
                _ => return Ok(()),
            }
        }
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        Err(LabError::Supervisor { message: "it did not stop, and was killed".to_owned() })
    }
}

/// Waits until a lab that was told to end has let go of its lock.
pub(super) fn wait_gone(folder: &Path) -> Result<(), LabError> {
    let deadline = Instant::now() + STOP_LIMIT;
    while folder::is_alive(folder) {
        if Instant::now() > deadline {
            return Err(LabError::Supervisor { message: "it does not stop".to_owned() });
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// Ends a start that hangs, from inside the supervisor.
pub(crate) fn start_limit() -> Duration {
    START_LIMIT
}

/// `hawser-lab`: named by the environment, this very program, or beside it (tests run one folder below).
pub(crate) fn binary() -> Result<PathBuf, LabError> {
    if let Some(path) = std::env::var_os("HAWSER_LAB_BIN") {
        return Ok(PathBuf::from(path));
    }
    let this = std::env::current_exe().map_err(LabError::io("this program's path"))?;
    if this.file_name().is_some_and(|name| name == "hawser-lab") {
        return Ok(this);
    }
    let folders = this.ancestors().skip(1).take(2);
    folders
        .map(|folder| folder.join("hawser-lab"))
        .find(|path| path.is_file())
        .ok_or(LabError::NoBinary)
}
