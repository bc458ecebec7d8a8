//! One real agent at its node.

use super::error::FleetError;
use super::local;
use super::spec::EdgePlace;
use super::views::{PathView, StatusView, WhyView};
use crate::lab::{Lab, Output, Process, Task};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const ENROL_LIMIT: Duration = Duration::from_secs(120);
/// It may load modules, and waits for controllers that do not answer.
const DOCTOR_LIMIT: Duration = Duration::from_secs(120);

pub struct Agent {
    place: EdgePlace,
    program: PathBuf,
    state: PathBuf,
    log: PathBuf,
    args: Vec<String>,
    process: Option<Process>,
}

impl Agent {
    pub(super) fn new(place: EdgePlace, program: &Path, state: PathBuf, log: PathBuf) -> Self {
        Self { place, program: program.to_owned(), state, log, args: Vec::new(), process: None }
    }

    /// What `hawser-edge run` is told besides.
    pub(super) fn with_args(self, args: &[String]) -> Self {
        Self { args: args.to_vec(), ..self }
    }

    /// Lets the program run on until the lab ends.
    pub(super) fn keep(&mut self) {
        if let Some(process) = self.process.take() {
            process.keep();
        }
    }

    #[must_use]
    pub fn edge(&self) -> &str {
        &self.place.edge
    }

    #[must_use]
    pub fn place(&self) -> &EdgePlace {
        &self.place
    }

    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state
    }

    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Turns a token into an identity.
    ///
    /// # Errors
    /// The controller refused, or was not reached.
    pub fn enrol(&self, lab: &Lab, token: &str) -> Result<(), FleetError> {
        let output = self.try_enrol(lab, token, false)?;
        if output.status.success() {
            return Ok(());
        }
        Err(FleetError::Command {
            command: format!("hawser-edge enrol at {}", self.place.node),
            code: output.status.code(),
            said: output.stderr_text(),
        })
    }

    /// As [`Agent::enrol`], and returns how it ended.
    ///
    /// # Errors
    /// The program could not be run.
    pub fn try_enrol(&self, lab: &Lab, token: &str, replace: bool) -> Result<Output, FleetError> {
        let mut task = Task::new(&self.program)
            .arg("--state-dir")
            .arg(&self.state)
            .args(["enrol", "--timeout", "20"])
            .env("HAWSER_ENROL_TOKEN", token);
        if replace {
            task = task.arg("--replace");
        }
        let task = task.stdout(crate::lab::Sink::Pipe).stderr(crate::lab::Sink::Pipe);
        Ok(lab.spawn(&self.place.node, &task)?.output(ENROL_LIMIT)?)
    }

    /// Starts the agent; it answers a little later.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn start(&mut self, lab: &Lab) -> Result<(), FleetError> {
        let task = Task::new(&self.program).arg("--state-dir").arg(&self.state).arg("run");
        let mut task = task.args(&self.args).log(&self.log);
        if let Some(driver) = self.place.driver {
            task = task.args(["--driver", driver]);
        }
        self.process = Some(lab.spawn(&self.place.node, &task)?);
        Ok(())
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
            process.wait_within(Duration::from_secs(5));
        }
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.try_wait().is_none())
    }

    /// The process ID, as this process sees it.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// `hawser-edge status --json`.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn status(&self) -> Result<StatusView, FleetError> {
        self.ask(&["status", "--json"])
    }

    /// `hawser-edge paths --json`.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn paths(&self) -> Result<Vec<PathView>, FleetError> {
        self.ask(&["paths", "--json"])
    }

    /// `hawser-edge why PEER --json`, the newest decisions first.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn why(&self, peer: &str, limit: u32) -> Result<WhyView, FleetError> {
        self.ask(&["why", peer, "--limit", &limit.to_string(), "--json"])
    }

    /// As [`Agent::paths`], from the agent's own socket: cheap enough to ask several times a second.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn peek_paths(&self) -> Result<Vec<PathView>, FleetError> {
        local::ask(&self.state, &local::paths())
    }

    /// As [`Agent::why`], from the agent's own socket.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn peek_why(&self, peer: &str, limit: u32) -> Result<WhyView, FleetError> {
        local::ask(&self.state, &local::why(peer, limit))
    }

    /// `hawser-edge why --json`: of all peers.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn why_all(&self, limit: u32) -> Result<WhyView, FleetError> {
        self.ask(&["why", "--limit", &limit.to_string(), "--json"])
    }

    /// The edge that a prefix is sent to now, where there are several to choose from; empty: nowhere.
    ///
    /// # Errors
    /// The agent does not answer, or has no such choice.
    pub fn next_hop(&self, prefix: &str) -> Result<String, FleetError> {
        let mut views = self.why_all(1)?.next_hops.into_iter();
        let found = views.find(|view| view.prefixes.iter().any(|p| p == prefix));
        found.map(|view| view.next_hop).ok_or_else(|| FleetError::Unknown {
            kind: "choice of a next hop",
            name: format!("{} to {prefix}", self.place.edge),
        })
    }

    /// The path that carries a traffic class to a peer now.
    ///
    /// # Errors
    /// The agent does not answer, or no path carries it.
    pub fn path_in_use(&self, peer: &str, class: &str) -> Result<PathView, FleetError> {
        let mut paths = self.paths()?.into_iter();
        let carries = |path: &PathView| {
            path.peer_edge == peer && path.selected_for.iter().any(|name| name == class)
        };
        paths.find(carries).ok_or_else(|| FleetError::Unknown {
            kind: "path in use",
            name: format!("{} to {peer}, class {class}", self.place.edge),
        })
    }

    /// `hawser-edge doctor --json` at its node: codes and subjects of what it finds, the worst first.
    ///
    /// # Errors
    /// It says something else.
    pub fn doctor(&self, lab: &Lab) -> Result<Vec<(String, String)>, FleetError> {
        #[derive(Deserialize)]
        struct Report {
            findings: Vec<Finding>,
        }
        #[derive(Deserialize)]
        struct Finding {
            code: String,
            subject: String,
        }
        let (program, state) = (self.program.to_string_lossy(), self.state.to_string_lossy());
        let driver = self.place.driver.unwrap_or("userspace");
        let argv = [&*program, "--state-dir", &*state, "doctor", "--json", "--driver", driver];
        // Its exit code tells of the worst.
        let said = lab.exec_within(&self.place.node, &argv, DOCTOR_LIMIT)?.stdout_text();
        let report: Report = serde_json::from_str(&said)
            .map_err(|source| FleetError::Answer { command: argv.join(" "), source })?;
        Ok(report.findings.into_iter().map(|found| (found.code, found.subject)).collect())
    }

    /// Asks over the local socket, which lies in the file system: no need to enter the node.
    fn ask<A: DeserializeOwned>(&self, args: &[&str]) -> Result<A, FleetError> {
        let command = || format!("hawser-edge {} at {}", args.join(" "), self.place.node);
        let output = Command::new(&self.program)
            .arg("--state-dir")
            .arg(&self.state)
            .args(args)
            .output()
            .map_err(FleetError::file("run", &self.program))?;
        if !output.status.success() {
            return Err(FleetError::Command {
                command: command(),
                code: output.status.code(),
                said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            });
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|source| FleetError::Answer { command: command(), source })
    }
}
