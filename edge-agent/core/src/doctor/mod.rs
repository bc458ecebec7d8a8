//! What is wrong with an edge's host, from facts that the shell gathered: what each lack costs, and what mends it.

mod date;
mod facts;
mod gateways;
mod host;
mod kinds;
mod network;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use date::http_date_unix_s;
pub use facts::{
    Agent, Certificate, Charon, Clock, Controller, Driver, DriverLack, Facts, GatewayTunnel,
    PathFacts, Rights, Setting, Sockets, StateDir, UplinkFacts,
};
pub use kinds::{KINDS, Kind};

/// Best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Good to know; nothing is to be done as things stand.
    Note,
    /// It works, though less well than it could, or not for long.
    Warning,
    /// It does not work.
    Broken,
}

/// One thing that is not as it should be, or good to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable, upper case; one of [`KINDS`].
    pub code: String,
    pub level: Level,
    /// An interface, a path, a file, ...; empty: the host.
    pub subject: String,
    /// What was seen.
    pub message: String,
    /// What is lost by it, in plain words.
    pub cost: String,
    /// The command, or what to do.
    pub mend: String,
}

impl Finding {
    fn new(level: Level, code: &str, subject: &str, message: impl Into<String>) -> Finding {
        let kind = KINDS.iter().find(|kind| kind.code == code);
        Finding {
            code: code.to_owned(),
            level,
            subject: subject.to_owned(),
            message: message.into(),
            cost: kind.map_or("", |kind| kind.cost).to_owned(),
            mend: kind.map_or("", |kind| kind.mend).to_owned(),
        }
    }

    fn mended_by(mut self, mend: impl Into<String>) -> Finding {
        self.mend = mend.into();
        self
    }
}

/// Worst first, then in the order in which things depend on each other.
#[must_use]
pub fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    host::rights(facts, &mut found);
    host::driver(facts, &mut found);
    host::sockets(&facts.sockets, &mut found);
    host::settings(facts, &mut found);
    host::state(facts, &mut found);
    host::clock(&facts.clock, &mut found);
    network::identity(facts, &mut found);
    network::controllers(facts, &mut found);
    network::agent(facts, &mut found);
    network::uplinks(facts, &mut found);
    gateways::ike(facts, &mut found);
    gateways::tunnels(facts, &mut found);
    found.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    found
}
