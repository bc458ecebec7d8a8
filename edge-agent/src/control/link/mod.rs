//! The long-lived task that holds the session with a controller and runs the generation machine.

#[cfg(test)]
mod authority_tests;
mod certificates;
mod effects;
mod history;
mod session;
mod sessions;
mod supervisor;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use hawser_edge_core::generation::Generations;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::api::{CONTROL_EVENTS, ControlEvent, ControlHandle, LinkStatus};
use super::clock::{self, Calendar};
use super::facts::FactsStore;
use super::files::{self, FileError};
use super::identity::Identity;
use super::ledger::Ledger;
use super::outbox::Outbox;
use super::{dial, events};
use supervisor::{Supervisor, SupervisorParts};

/// What [`start`] brings.
#[derive(Debug)]
pub struct Control {
    pub handle: ControlHandle,
    pub events: mpsc::Receiver<ControlEvent>,
    /// Ends after [`ControlHandle::stop`], or when `events` is dropped.
    pub task: JoinHandle<()>,
}

/// Why the link can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("another agent uses {0}")]
    InUse(PathBuf),
    #[error("the identity can't be used for TLS")]
    Tls(#[from] rustls::Error),
}

impl StartError {
    /// A stable code, upper case.
    pub fn code(&self) -> &'static str {
        match self {
            StartError::File(_) => "STATE_FILE",
            StartError::InUse(_) => "STATE_IN_USE",
            StartError::Tls(_) => "IDENTITY_UNUSABLE",
        }
    }
}

/// What this edge can do, looked at for every Hello: a host may get what it lacked.
pub type Abilities = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Starts the link on the present tokio runtime. The first event is the generation that the ledger
/// holds, if it holds one; no controller is needed for it.
///
/// # Errors
/// The state directory or the identity can't be used.
pub fn start(
    identity: Arc<Identity>,
    state_dir: &Path,
    abilities: Abilities,
) -> Result<Control, StartError> {
    files::private_dir(state_dir)?;
    let lock = files::lock_dir(state_dir)?;
    let lock = lock.ok_or_else(|| StartError::InUse(state_dir.to_owned()))?;
    let (ledger, state, reports) = Ledger::open(state_dir)?;
    let outbox = Outbox::new(identity.edge(), &new_boot_id());
    let calendar = Arc::new(Calendar::open(state_dir));
    for report in reports {
        tracing::warn!(code = report.code(), "{report}");
        outbox.event(events::event(calendar.unix_ms(), report.code(), "ledger", &report));
    }
    if let Err(error) = identity.check_validity((calendar.unix_ms() / 1000) as i64) {
        // Not fatal: what is applied goes on, and the clock may be wrong.
        tracing::warn!(code = error.code(), mend = error.mend(), "{error}");
    }
    let (ended, ended_rx) = watch::channel(certificates::open(state_dir, identity.root()));
    let tls = dial::enrolled_tls(&identity, calendar.clone(), ended_rx)?;
    let (generations, generations_rx) = watch::channel(Arc::new(state.clone()));
    let (machine, effects) = Generations::resume(state, clock::boot_id(), clock::since_boot());
    let (events, events_rx) = mpsc::channel(CONTROL_EVENTS);
    let (status, status_rx) = watch::channel(LinkStatus::default());
    let (uplinks, uplinks_rx) = watch::channel(Vec::new());
    let stop = CancellationToken::new();
    let (settled, settled_rx) = watch::channel(None);
    let (lists, lists_rx) = mpsc::channel(certificates::LISTS);
    let handle = ControlHandle {
        outbox: outbox.clone(),
        uplinks: Arc::new(uplinks),
        generations: generations_rx,
        status: status_rx,
        lists,
        settled: Arc::new(settled),
        stop: stop.clone(),
    };
    let supervisor = Supervisor::new(SupervisorParts {
        identity,
        tls,
        calendar,
        ledger: Arc::new(Mutex::new(ledger)),
        facts: Arc::new(Mutex::new(FactsStore::open(state_dir))),
        history: crate::history::folder(state_dir),
        machine,
        effects: effects.into(),
        outbox,
        events,
        generations,
        status,
        uplinks: uplinks_rx,
        lists: lists_rx,
        settled: settled_rx,
        ended,
        abilities,
        state_dir: state_dir.to_owned(),
        stop,
        lock,
    });
    Ok(Control { handle, events: events_rx, task: tokio::spawn(supervisor.run()) })
}

/// The list of ended certificates on disk, for those who dial without a link.
pub(crate) fn ended_on_disk(state_dir: &Path, identity: &Identity) -> dial::Ended {
    watch::channel(certificates::open(state_dir, identity.root())).1
}

fn new_boot_id() -> String {
    rand::random::<[u8; 16]>().iter().map(|b| format!("{b:02x}")).collect()
}
