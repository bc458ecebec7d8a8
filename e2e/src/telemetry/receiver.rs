//! A real OTLP receiver at the controller's node: rotel, which carries a whole collector. It logs what it gets.

use crate::fleet::{Fleet, FleetError};
use crate::lab::{Process, Task};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const NODE: &str = "controller";

pub struct Receiver {
    process: Process,
    log: PathBuf,
}

impl Receiver {
    pub fn start(fleet: &Fleet, program: &Path) -> Result<Self, FleetError> {
        let log = fleet.folder().join("receiver.log");
        let task = Task::new(program)
            .args(["start", "--exporter", "blackhole"])
            .args(["--otlp-grpc-endpoint", "0.0.0.0:4317"])
            .args(["--otlp-http-endpoint", "0.0.0.0:4318"])
            .args(["--debug-log", "metrics", "--debug-log-verbosity", "basic"])
            .env("NO_COLOR", "1")
            .log(&log);
        Ok(Self { process: fleet.lab().spawn(NODE, &task)?, log })
    }

    /// Lines of its log that tell of metrics that came.
    pub fn received(&self) -> Result<u64, FleetError> {
        let log = fs::read_to_string(&self.log).map_err(FleetError::file("read", &self.log))?;
        let lines = log.lines().filter(|line| line.to_lowercase().contains("received metrics"));
        Ok(lines.count() as u64)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.process.kill();
        self.process.wait_within(Duration::from_secs(5));
    }
}
