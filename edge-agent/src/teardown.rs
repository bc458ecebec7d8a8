//! `hawser-edge teardown`: out of the kernel goes what agents left there on purpose, whichever driver they had.
//!
//! Ours is told by name: route protocols 118 and 119, our rules' preferences and tables, request IDs, next-hop IDs,
//! interfaces `hw…s…` and `hwm…` that are GRE, `hwx…` that are xfrm and `hwg…` that are GRE, two nftables tables. Sysctls stay as they are: what they were is not known any more.

use std::path::Path;

use crate::control::{FileError, files};
use crate::host::{Host, HostError};
use crate::{kernel, manual};

/// What was taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Of the kernel driver and of manual tunnels: interfaces, associations, policies, next hops, routes, rules.
    pub driver: usize,
    /// Of every agent: routes, rules, interfaces of tunnels with gateways.
    pub host: usize,
    /// A process that kept the uplinks' sockets.
    pub holder: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum TeardownError {
    #[error("an agent runs with this state directory")]
    AgentRuns,
    #[error("the state directory can't be taken")]
    StateDir(#[source] FileError),
    #[error("the holder does not end")]
    Holder(#[source] std::io::Error),
    #[error("the kernel driver's part")]
    Driver(#[source] kernel::ClearError),
    #[error("manual tunnels")]
    Manual(#[source] kernel::Refusal),
    #[error("no runtime")]
    Runtime(#[source] std::io::Error),
    #[error("routes, rules and the guard")]
    Host(#[source] HostError),
}

impl TeardownError {
    /// Stable.
    pub fn code(&self) -> &'static str {
        match self {
            TeardownError::AgentRuns => "AGENT_RUNS",
            TeardownError::StateDir(_) => "STATE_DIR",
            TeardownError::Holder(_) => "HOLDER",
            TeardownError::Driver(_) => "TEARDOWN_DRIVER",
            TeardownError::Manual(_) => "TEARDOWN_MANUAL",
            TeardownError::Runtime(_) => "NO_RUNTIME",
            TeardownError::Host(_) => "TEARDOWN_HOST",
        }
    }

    /// What to do.
    pub fn mend(&self) -> &'static str {
        match self {
            TeardownError::AgentRuns => "stop it first: systemctl stop hawser-edge",
            TeardownError::Runtime(_) => "",
            _ => "run it again, as root; what is gone already does no harm",
        }
    }
}

/// Tries everything; the first failure is told. Afterwards nothing keeps LAN packets off the uplinks any more.
///
/// # Errors
/// An agent runs (nothing was touched then), or something is left.
pub fn teardown(state_dir: &Path) -> Result<Removed, TeardownError> {
    // Held to the end: no agent starts meanwhile.
    let _lock = if state_dir.exists() {
        let lock = files::lock_dir(state_dir).map_err(TeardownError::StateDir)?;
        Some(lock.ok_or(TeardownError::AgentRuns)?)
    } else {
        None
    };
    // In this order: while the guard stands, nothing leaves in clear.
    let driver = kernel::clear().map_err(TeardownError::Driver);
    let manual = manual::clear().map_err(TeardownError::Manual);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let host = runtime.map_err(TeardownError::Runtime).and_then(|runtime| {
        runtime.block_on(async { Host::open()?.clear().await }).map_err(TeardownError::Host)
    });
    let holder = kernel::holder::end(state_dir).map_err(TeardownError::Holder);
    Ok(Removed { driver: driver? + manual?, host: host?, holder: holder? })
}
