//! The operator's command line, run at the controller's node.

use super::error::FleetError;
use crate::lab::{Lab, Output};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Runs the real `hawser`.
pub struct Operator<'a> {
    lab: &'a Lab,
    node: &'a str,
    program: &'a Path,
    context: PathBuf,
}

/// `hawser apply --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Applied {
    pub revision: u64,
    pub changed: Vec<Value>,
}

/// `hawser status --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct FleetStatus {
    pub revision: u64,
    pub sites: u32,
    pub edges: u32,
    pub edges_connected: u32,
    pub edges_converged: u32,
    pub paths: u32,
    pub paths_up: u32,
}

/// One of `hawser paths --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct FleetPath {
    pub id: u32,
    pub family: String,
    pub state: String,
    pub a: PathEnd,
    pub b: PathEnd,
}

#[derive(Clone, Debug, Deserialize)]
pub struct PathEnd {
    pub site: String,
    pub edge: String,
    pub uplink: String,
}

impl FleetPath {
    /// `b1 isp-a — hq isp-b`.
    #[must_use]
    pub fn name(&self) -> String {
        let (a, b) = (&self.a, &self.b);
        format!("{} {} — {} {}", a.site, a.uplink, b.site, b.uplink)
    }
}

/// A tunnel with a gateway in `hawser paths --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct IkeTunnel {
    pub edge: String,
    pub name: String,
    pub uplink: String,
    /// `up`, `waiting`, `authenticated`, `connecting`, `blocked` or `unknown`.
    pub state: String,
    pub reason: String,
    pub local_address: String,
    pub remote_address: String,
    pub tx_bytes: u64,
    pub rx_bytes: u64,
    pub rekeys: u64,
    pub retries: u64,
    /// From one link to another.
    pub moves: u64,
    pub links: Vec<IkeLink>,
}

/// A way that such a tunnel may take.
#[derive(Clone, Debug, Deserialize)]
pub struct IkeLink {
    pub uplink: String,
    pub remote_address: String,
    pub state: String,
    pub chosen: bool,
    pub rtt_us: u32,
    pub refused_because: String,
}

/// An edge in `hawser sites --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct EdgeState {
    pub name: String,
    pub enrolled: bool,
    pub connected: bool,
    pub desired: Option<GenerationNumber>,
    pub applied: Option<GenerationNumber>,
    pub confirmed: Option<GenerationNumber>,
    pub last_nack: Vec<Fault>,
}

impl EdgeState {
    #[must_use]
    pub fn is_converged(&self) -> bool {
        self.desired.is_some() && self.applied == self.desired
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct GenerationNumber {
    pub epoch: u64,
    pub number: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Fault {
    pub code: String,
    pub path: String,
    pub message: String,
}

/// One of `hawser why --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Decision {
    pub sequence: u64,
    pub unix_ms: u64,
    pub edge: String,
    pub cause: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    pub unix_ms: u64,
    pub code: String,
    pub edge: String,
    pub message: String,
}

impl<'a> Operator<'a> {
    pub(super) fn new(lab: &'a Lab, node: &'a str, program: &'a Path, context: PathBuf) -> Self {
        Self { lab, node, program, context }
    }

    /// Runs `hawser ARGS...` as it is, whatever comes of it.
    ///
    /// # Errors
    /// The program can't be run.
    pub fn run(&self, args: &[&str]) -> Result<Output, FleetError> {
        let (program, context) = (self.program.to_string_lossy(), self.context.to_string_lossy());
        let mut argv = vec![&*program, "--context", &*context];
        argv.extend(args);
        Ok(self.lab.exec_within(self.node, &argv, LIMIT)?)
    }

    /// Runs `hawser ARGS...`, and returns what it printed.
    ///
    /// # Errors
    /// It failed.
    pub fn text(&self, args: &[&str]) -> Result<String, FleetError> {
        let output = self.run(args)?;
        if output.status.success() {
            return Ok(output.stdout_text());
        }
        Err(FleetError::Command {
            command: format!("hawser {}", args.join(" ")),
            code: output.status.code(),
            said: output.stderr_text().trim().to_owned(),
        })
    }

    fn ask<A: DeserializeOwned>(&self, args: &[&str]) -> Result<A, FleetError> {
        let mut all = vec!["--json"];
        all.extend(args);
        let text = self.text(&all)?;
        serde_json::from_str(&text).map_err(|source| FleetError::Answer {
            command: format!("hawser {}", args.join(" ")),
            source,
        })
    }

    /// Applies a document file.
    ///
    /// # Errors
    /// It has faults, or the controller can't be reached.
    pub fn apply(&self, document: &Path, comment: &str) -> Result<Applied, FleetError> {
        self.ask(&["apply", &document.to_string_lossy(), "--comment", comment])
    }

    /// An enrolment token.
    ///
    /// # Errors
    /// No such edge.
    pub fn enrolment_token(&self, edge: &str) -> Result<String, FleetError> {
        #[derive(Deserialize)]
        struct Created {
            token: String,
        }
        let created: Created = self.ask(&["token", "create", "--edge", edge])?;
        Ok(created.token)
    }

    /// A token for a person of that role.
    ///
    /// # Errors
    /// No such role, or the controller does not answer.
    pub fn api_token(&self, role: &str) -> Result<String, FleetError> {
        #[derive(Deserialize)]
        struct Created {
            token: String,
        }
        let created: Created = self.ask(&["token", "create", "--role", role])?;
        Ok(created.token)
    }

    /// # Errors
    /// The controller does not answer.
    pub fn status(&self) -> Result<FleetStatus, FleetError> {
        self.ask(&["status"])
    }

    /// # Errors
    /// The controller does not answer.
    pub fn paths(&self) -> Result<Vec<FleetPath>, FleetError> {
        #[derive(Deserialize)]
        struct Paths {
            paths: Vec<FleetPath>,
        }
        Ok(self.ask::<Paths>(&["paths"])?.paths)
    }

    /// Tunnels with gateways that are not Hawser, as `hawser paths` has them.
    ///
    /// # Errors
    /// The controller does not answer.
    pub fn ike_tunnels(&self) -> Result<Vec<IkeTunnel>, FleetError> {
        #[derive(Deserialize)]
        struct Paths {
            ike_tunnels: Vec<IkeTunnel>,
        }
        Ok(self.ask::<Paths>(&["paths"])?.ike_tunnels)
    }

    /// Every edge of every site.
    ///
    /// # Errors
    /// The controller does not answer.
    pub fn edges(&self) -> Result<Vec<EdgeState>, FleetError> {
        #[derive(Deserialize)]
        struct Sites {
            sites: Vec<Site>,
        }
        #[derive(Deserialize)]
        struct Site {
            edges: Vec<EdgeState>,
        }
        let sites = self.ask::<Sites>(&["sites"])?.sites;
        Ok(sites.into_iter().flat_map(|site| site.edges).collect())
    }

    /// A site's decisions, newest first.
    ///
    /// # Errors
    /// No such site, or the controller does not answer.
    pub fn decisions(&self, site: &str, limit: u32) -> Result<Vec<Decision>, FleetError> {
        #[derive(Deserialize)]
        struct Decisions {
            decisions: Vec<Decision>,
        }
        let args = ["why", site, "--limit", &limit.to_string()];
        Ok(self.ask::<Decisions>(&args)?.decisions)
    }

    /// The newest events, oldest of them first.
    ///
    /// # Errors
    /// The controller does not answer.
    pub fn events(&self, limit: u32) -> Result<Vec<Event>, FleetError> {
        #[derive(Deserialize)]
        struct Events {
            events: Vec<Event>,
        }
        Ok(self.ask::<Events>(&["events", "--limit", &limit.to_string()])?.events)
    }
}
