//! [`Fleet`]: from nothing to all paths up, in steps that a caller may take one by one.

use super::agent::Agent;
use super::controller::{Controller, Setup};
use super::error::FleetError;
use super::folder::{self, Folder};
use super::operator::{Applied, FleetPath, Operator};
use super::programs::Programs;
use super::spec::FleetSpec;
use super::wait::{self, Look};
use crate::lab::Lab;
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LOG_LINES: usize = 25;

/// A fleet in a lab. Dropping it takes everything down.
pub struct Fleet {
    // Before the lab: programs end before their network does.
    agents: BTreeMap<String, Agent>,
    controller: Option<Controller>,
    lab: Lab,
    folder: Folder,
    programs: Programs,
    spec: FleetSpec,
}

impl Fleet {
    /// The lab, the controller, the document, every edge enrolled and running. Paths come up by themselves after this.
    ///
    /// # Errors
    /// Whatever failed first; the logs' ends have been printed.
    pub fn up(spec: FleetSpec) -> Result<Self, FleetError> {
        let mut fleet = Self::lay_out(spec)?;
        let mut build = || {
            fleet.start_controller()?;
            fleet.apply(&fleet.spec.document.clone(), "first")?;
            fleet.enrol_all()?;
            fleet.start_agents()
        };
        match build() {
            Ok(()) => Ok(fleet),
            Err(error) => {
                eprintln!("{}", fleet.log_tails());
                Err(error)
            }
        }
    }

    /// Only the network.
    ///
    /// # Errors
    /// A program is missing, or the lab does not come up.
    pub fn lay_out(spec: FleetSpec) -> Result<Self, FleetError> {
        let programs = Programs::find()?;
        let lab = match &spec.lab_name {
            None => Lab::up(&spec.topology)?,
            Some(name) => Lab::up_named(&spec.topology, name)?,
        };
        let folder = Folder::temporary()?;
        let agents = spec.edges.iter().map(|place| {
            let state = folder.path().join("edges").join(&place.edge);
            let log = folder.log(&place.edge);
            let agent = Agent::new(place.clone(), &programs.edge, state, log);
            (place.edge.clone(), agent.with_args(&spec.agent_args))
        });
        Ok(Self { agents: agents.collect(), controller: None, lab, folder, programs, spec })
    }

    /// A new controller, running.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_controller(&mut self) -> Result<(), FleetError> {
        let setup = Setup {
            node: &self.spec.controller_node,
            fleet: &self.spec.fleet,
            advertise: &self.spec.advertise,
            folder: self.folder.path(),
            log: self.folder.log("controller"),
            args: &self.spec.controller_args,
        };
        let controller = Controller::init(&self.lab, &self.programs, setup)?;
        self.controller.insert(controller).start(&self.lab)
    }

    /// Applies a document as an operator would.
    ///
    /// # Errors
    /// It has faults.
    pub fn apply(&self, document: &str, comment: &str) -> Result<Applied, FleetError> {
        let path = self.folder.path().join("fleet.yaml");
        fs::write(&path, document).map_err(FleetError::file("written", &path))?;
        self.operator()?.apply(&path, comment)
    }

    /// A token and an identity for every edge.
    ///
    /// # Errors
    /// An edge was refused.
    pub fn enrol_all(&self) -> Result<(), FleetError> {
        for edge in self.agents.keys() {
            self.enrol(edge)?;
        }
        Ok(())
    }

    /// # Errors
    /// The edge was refused.
    pub fn enrol(&self, edge: &str) -> Result<(), FleetError> {
        let token = self.operator()?.enrolment_token(edge)?;
        self.agent(edge)?.enrol(&self.lab, &token)
    }

    /// # Errors
    /// An agent can't be started.
    pub fn start_agents(&mut self) -> Result<(), FleetError> {
        self.agents.values_mut().try_for_each(|agent| agent.start(&self.lab))
    }

    /// # Errors
    /// As [`Fleet::start_agents`].
    pub fn start_agent(&mut self, edge: &str) -> Result<(), FleetError> {
        let lab = &self.lab;
        let agent = self.agents.get_mut(edge).ok_or_else(|| unknown("edge", edge))?;
        agent.start(lab)
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// No such edge.
    pub fn kill_agent(&mut self, edge: &str) -> Result<(), FleetError> {
        self.agents.get_mut(edge).ok_or_else(|| unknown("edge", edge))?.kill();
        Ok(())
    }

    /// SIGKILL.
    pub fn kill_controller(&mut self) {
        if let Some(controller) = &mut self.controller {
            controller.kill();
        }
    }

    /// Starts the controller again on the data it left.
    ///
    /// # Errors
    /// It does not come up, or there never was one.
    pub fn restart_controller(&mut self) -> Result<(), FleetError> {
        let missing = || FleetError::NotRunning { what: "the controller".to_owned() };
        self.controller.as_mut().ok_or_else(missing)?.start(&self.lab)
    }

    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    #[must_use]
    pub fn spec(&self) -> &FleetSpec {
        &self.spec
    }

    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    /// # Errors
    /// No such edge.
    pub fn agent(&self, edge: &str) -> Result<&Agent, FleetError> {
        self.agents.get(edge).ok_or_else(|| unknown("edge", edge))
    }

    /// The operator's command line.
    ///
    /// # Errors
    /// There is no controller yet.
    pub fn operator(&self) -> Result<Operator<'_>, FleetError> {
        let missing = || FleetError::NotRunning { what: "the controller".to_owned() };
        let controller = self.controller.as_ref().ok_or_else(missing)?;
        let program = &self.programs.hawser;
        Ok(Operator::new(&self.lab, controller.node(), program, controller.context()))
    }

    /// # Errors
    /// There is no controller yet.
    pub fn context(&self) -> Result<PathBuf, FleetError> {
        let missing = || FleetError::NotRunning { what: "the controller".to_owned() };
        Ok(self.controller.as_ref().ok_or_else(missing)?.context())
    }

    /// The address of a host on a LAN.
    ///
    /// # Errors
    /// No such host, or it has none of that family.
    pub fn host_address(&self, host: &str, ipv6: bool) -> Result<IpAddr, FleetError> {
        let address = self.spec.topology.address(host, "eth0", ipv6);
        address.ok_or_else(|| unknown("host", host))
    }

    /// Waits until the controller knows all paths to be up, as `hawser paths` says it, and both ends agree.
    ///
    /// # Errors
    /// Not within `limit`; the error names those that are not.
    pub fn wait_all_up(&self, limit: Duration) -> Result<Vec<FleetPath>, FleetError> {
        let operator = self.operator()?;
        wait::until("all paths are up", limit, || {
            let paths = operator.paths()?;
            let down: Vec<String> = paths
                .iter()
                .filter(|path| path.state != "up")
                .map(|path| format!("{} {}", path.name(), path.state))
                .collect();
            Ok(match (paths.is_empty(), down.is_empty()) {
                (false, true) => Look::Done(paths),
                (true, _) => Look::Not("the controller has no paths".to_owned()),
                _ => Look::Not(down.join(", ")),
            })
        })
    }

    /// Waits until an edge itself has all its paths up. Needs no controller.
    ///
    /// # Errors
    /// Not within `limit`.
    pub fn wait_edge_up(&self, edge: &str, limit: Duration) -> Result<(), FleetError> {
        let agent = self.agent(edge)?;
        wait::until(&format!("all paths of {edge} are up"), limit, || {
            let paths = agent.peek_paths()?;
            let down = paths.iter().filter(|path| !path.is_up());
            let down: Vec<String> = down
                .map(|p| {
                    format!("{} {}/{} {}", p.peer_edge, p.local_uplink, p.remote_uplink, p.state)
                })
                .collect();
            Ok(match (paths.is_empty(), down.is_empty()) {
                (false, true) => Look::Done(()),
                (true, _) => Look::Not("it has no paths".to_owned()),
                _ => Look::Not(down.join(", ")),
            })
        })
    }

    /// As [`Fleet::wait_edge_up`], of every edge.
    ///
    /// # Errors
    /// Not within `limit` each.
    pub fn wait_edges_up(&self, limit: Duration) -> Result<(), FleetError> {
        self.agents.keys().try_for_each(|edge| self.wait_edge_up(edge, limit))
    }

    /// Waits until every edge has applied what the controller wants of it.
    ///
    /// # Errors
    /// Not within `limit`; the error says which edge has not.
    pub fn wait_converged(&self, limit: Duration) -> Result<(), FleetError> {
        let operator = self.operator()?;
        wait::until("every edge has its generation", limit, || {
            let edges = operator.edges()?;
            let behind = edges.iter().filter(|edge| !edge.is_converged());
            let behind: Vec<String> = behind.map(|edge| format!("{edge:?}")).collect();
            Ok(if behind.is_empty() { Look::Done(()) } else { Look::Not(behind.join(", ")) })
        })
    }

    /// Whether one host reaches another: `count` pings, 200 ms apart; how many were answered.
    ///
    /// # Errors
    /// No such host.
    pub fn ping(&self, from: &str, to: &str, ipv6: bool, count: u32) -> Result<u32, FleetError> {
        let address = self.host_address(to, ipv6)?.to_string();
        let count_text = count.to_string();
        let argv = ["ping", "-n", "-i", "0.2", "-W", "2", "-c", &count_text, &address];
        let text = self.lab.exec(from, &argv)?.stdout_text();
        let answered = text.lines().filter(|line| line.contains("bytes from")).count();
        Ok(answered as u32)
    }

    /// Leaves everything running when this process ends. Returns the lab's name and the folder of the fleet's files.
    ///
    /// # Errors
    /// The lab is gone.
    pub fn keep(mut self) -> Result<(String, PathBuf), FleetError> {
        self.agents.values_mut().for_each(Agent::keep);
        if let Some(controller) = &mut self.controller {
            controller.keep();
        }
        Ok((self.lab.keep()?, self.folder.keep()))
    }

    /// The ends of all logs, for a look at what went wrong.
    #[must_use]
    pub fn log_tails(&self) -> String {
        let tail =
            |path: PathBuf| format!("── {}\n{}\n", path.display(), folder::tail(&path, LOG_LINES));
        self.folder.logs().into_iter().map(tail).collect()
    }
}

fn unknown(kind: &'static str, name: &str) -> FleetError {
    FleetError::Unknown { kind, name: name.to_owned() }
}
