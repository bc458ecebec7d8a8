//! The agent that runs, and its charon.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

use hawser_edge_core::doctor::{Agent, Charon as CharonFacts, PathFacts, Rights};
use nix::sys::socket::{getsockopt, sockopt};

use super::Asked;
use crate::control::local::{self, AskError, DEPARTING, LocalAnswer, PathView, QueryKind, SOCKET};
use crate::ike::Charon;

const CAP_NET_BIND_SERVICE: u32 = 10;
const CAP_NET_ADMIN: u32 = 12;
const CAP_NET_RAW: u32 = 13;

/// `None`: none runs.
pub(super) fn ask(state_dir: &Path) -> Option<Agent> {
    match local::ask(state_dir, &QueryKind::Paths) {
        Ok(LocalAnswer::Paths(paths)) => {
            // What is about to be gone is not missed.
            let stays = paths.iter().filter(|view| view.state != DEPARTING);
            Some(Agent { paths: stays.map(path).collect() })
        }
        Err(AskError::NoAgent { .. }) => None,
        // It runs, and has no time or another version.
        _ => Some(Agent::default()),
    }
}

fn path(view: &PathView) -> PathFacts {
    let PathView { local_uplink, peer_edge, remote_uplink, .. } = view;
    PathFacts {
        name: format!("{local_uplink} to {peer_edge} {remote_uplink}"),
        up: view.state == "up",
        inner_mtu_bytes: view.inner_mtu_bytes,
    }
}

/// Of the agent, if one runs and the kernel tells; else of this process.
pub(super) fn rights(state_dir: &Path) -> Rights {
    let agent = agent_pid(state_dir).and_then(|pid| effective(&pid.to_string()));
    let of_agent = agent.is_some();
    let set = agent.or_else(|| effective("self")).unwrap_or_default();
    let has = |capability: u32| set & (1 << capability) != 0;
    Rights {
        of_agent,
        net_admin: has(CAP_NET_ADMIN),
        net_raw: has(CAP_NET_RAW),
        net_bind_service: has(CAP_NET_BIND_SERVICE),
    }
}

fn agent_pid(state_dir: &Path) -> Option<i32> {
    let stream = UnixStream::connect(state_dir.join(SOCKET)).ok()?;
    Some(getsockopt(&stream, sockopt::PeerCredentials).ok()?.pid())
}

/// Effective capabilities (proc_pid_status(5)).
fn effective(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

/// Nobody is asked where no IKE tunnel is wanted.
pub(super) async fn charon(state_dir: &Path, asked: &Asked, wanted: bool) -> CharonFacts {
    let own = state_dir.join("ike/charon.vici");
    let socket = asked.socket.as_ref().unwrap_or(&own);
    let answer = if wanted {
        let opened = Charon::open(socket).await;
        Some(opened.map(|c| c.daemon().clone()).map_err(|error| error.to_string()))
    } else {
        None
    };
    CharonFacts {
        program: asked.charon.display().to_string(),
        program_exists: asked.charon.exists(),
        answer,
        foreign: asked.socket.is_some(),
    }
}
