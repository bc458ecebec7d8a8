//! The real controller at its node.

use super::error::FleetError;
use super::programs::Programs;
use super::wait::{self, Look};
use crate::lab::{Lab, Process, Task};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_secs(90);
/// How often agents report: often, so that what the controller shows is fresh.
const TELEMETRY_MS: &str = "500";

pub struct Controller {
    node: String,
    program: PathBuf,
    data: PathBuf,
    log: PathBuf,
    args: Vec<String>,
    process: Option<Process>,
}

/// What a controller needs to exist.
pub(super) struct Setup<'a> {
    pub node: &'a str,
    pub fleet: &'a str,
    pub advertise: &'a [String],
    pub folder: &'a Path,
    pub log: PathBuf,
    pub args: &'a [String],
}

impl Controller {
    /// Makes a new controller; it does not run yet.
    pub(super) fn init(
        lab: &Lab,
        programs: &Programs,
        setup: Setup<'_>,
    ) -> Result<Self, FleetError> {
        let data = setup.folder.join("controller");
        let (program, data_text) = (programs.controller.to_string_lossy(), data.to_string_lossy());
        let mut argv = vec![&*program, "init", "--data", &*data_text, "--fleet", setup.fleet];
        for address in setup.advertise {
            argv.extend(["--advertise", address.as_str()]);
        }
        let output = lab.exec(setup.node, &argv)?;
        if !output.status.success() {
            return Err(FleetError::Command {
                command: "hawser-controller init".to_owned(),
                code: output.status.code(),
                said: output.stderr_text(),
            });
        }
        Ok(Self {
            node: setup.node.to_owned(),
            program: programs.controller.clone(),
            data,
            log: setup.log,
            args: setup.args.to_vec(),
            process: None,
        })
    }

    /// Starts it, and waits until it listens.
    ///
    /// # Errors
    /// It ended, or did not listen in time; its log says why.
    pub fn start(&mut self, lab: &Lab) -> Result<(), FleetError> {
        let port_file = self.data.with_file_name("controller.port");
        if port_file.exists() {
            fs::remove_file(&port_file).map_err(FleetError::file("removed", &port_file))?;
        }
        let task = Task::new(&self.program)
            .args(["run", "--listen", "[::]:4511"])
            .args(["--telemetry-interval-ms", TELEMETRY_MS])
            .arg("--data")
            .arg(&self.data)
            .arg("--port-file")
            .arg(&port_file)
            .args(&self.args)
            .log(&self.log);
        let process = lab.spawn(&self.node, &task)?;
        let started = wait::until("the controller listens", START_LIMIT, || {
            if let Some(status) = process.try_wait() {
                return Ok(Look::Not(format!("it ended: {status}")));
            }
            Ok(match port_file.exists() {
                true => Look::Done(()),
                false => Look::Not("no port file".to_owned()),
            })
        });
        self.process = Some(process);
        started
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
            process.wait_within(Duration::from_secs(5));
        }
    }

    /// Lets the program run on until the lab ends.
    pub(super) fn keep(&mut self) {
        if let Some(process) = self.process.take() {
            process.keep();
        }
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.try_wait().is_none())
    }

    /// What `hawser --context` wants.
    #[must_use]
    pub fn context(&self) -> PathBuf {
        self.data.join("admin-context.json")
    }

    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }
}
