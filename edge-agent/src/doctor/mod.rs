//! `hawser-edge doctor`: gathers facts about this host, whether an agent runs or not, and changes nothing.
//!
//! What they mean is decided in `hawser_edge_core::doctor`.

mod agent;
mod controllers;
mod gateways;
mod host;
mod identity;
mod report;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use hawser_edge_core::config::{EdgeState, decode};
use hawser_edge_core::doctor::{self, Clock, Facts, Finding};
use hawser_proto::config::v1::EdgeConfig;
use prost::Message;

use crate::cli::Driver;
use crate::control::Calendar;
use crate::control::ledger::Ledger;

pub use report::{render, to_json};

/// As the agent is told it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub driver: Driver,
    pub charon: PathBuf,
    /// Of a charon that others run.
    pub socket: Option<PathBuf>,
}

/// Worst first. Takes some seconds when controllers do not answer.
///
/// # Errors
/// No runtime.
pub fn examine(state_dir: &Path, asked: &Asked) -> io::Result<Vec<Finding>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(doctor::judge(&runtime.block_on(gather(state_dir, asked))))
}

async fn gather(state_dir: &Path, asked: &Asked) -> Facts {
    let edge = last_generation(state_dir);
    let agent = agent::ask(state_dir);
    let (settings, uplinks) = match &edge {
        Some(edge) => host::as_needed(edge).await,
        None => (vec![], vec![]),
    };
    let identity = identity::load(state_dir);
    let (controllers, offset_s) = match &identity {
        Ok(identity) => controllers::try_all(state_dir, identity, edge.as_ref()).await,
        Err(_) => (vec![], None),
    };
    let ike_tunnels = edge.as_ref().map_or(0, |edge| edge.ike_tunnels.len());
    Facts {
        driver: match asked.driver {
            Driver::Userspace => doctor::Driver::Userspace,
            Driver::Kernel => doctor::Driver::Kernel,
            Driver::Auto => doctor::Driver::Auto,
        },
        driver_lacks: host::driver_lacks(),
        rights: agent::rights(state_dir),
        tun_error: host::tun_error(),
        nft_error: host::nft_error().await,
        sockets: host::sockets(),
        settings,
        state_dir: identity::state_dir(state_dir),
        clock: Clock { synchronised: host::clock_is_synchronised(), offset_s },
        now_unix_s: (Calendar::open(state_dir).unix_ms() / 1000) as i64,
        certificate: identity::certificate(identity),
        controllers,
        agent,
        uplinks: edge.is_some().then_some(uplinks),
        ike_tunnels,
        gateways: edge.as_ref().map_or_else(Vec::new, |e| gateways::tunnels(state_dir, e)),
        gateway_lacks: edge.as_ref().map_or_else(Vec::new, gateways::kernel_lacks),
        charon: agent::charon(state_dir, asked, ike_tunnels > 0).await,
    }
}

/// The one that is applied, or was when the agent ended.
fn last_generation(state_dir: &Path) -> Option<EdgeState> {
    let applied = Ledger::peek(state_dir)?.applied?;
    decode(&EdgeConfig::decode(applied.bytes()).ok()?).ok()
}
