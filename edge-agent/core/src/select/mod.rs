//! Selection: which path carries one traffic class of one tunnel, and why.
//!
//! A [`Selector`] takes health, administration, carrier and advice in, and gives a [`Decision`] with its evidence when
//! something must move. It draws no random numbers: the same input at the same times gives the same decisions.

mod candidate;
mod choice;
mod decision;
mod explain;
mod selector;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::config::{BalanceBy, ClassMode, EdgeState, TrafficClass, Tunnel, UplinkUse};
use crate::id::{ClassId, PathId, TunnelId, UplinkId};
use crate::policy;
use crate::time::Micros;

pub use decision::{CandidateEvidence, Cause, Decision, DecisionContext};
pub use explain::{Explanation, Held};
pub use selector::Selector;

/// What the operator asked for, for one class of one tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassPolicy {
    pub tunnel: TunnelId,
    pub class: ClassId,
    pub class_name: String,
    /// A better path must have met the SLA for this long before it is taken.
    pub failback_hold: Duration,
    /// No voluntary move sooner after a move.
    pub dwell: Duration,
    /// Nothing is sent while no path meets the SLA; else the least bad path carries it.
    pub drop_when_none_meets: bool,
    /// Of a symmetric class, this end takes what the peer has chosen, among equally good paths.
    pub follows_peer: bool,
    pub mode: ClassMode,
}

impl ClassPolicy {
    /// From the configuration; 0 takes the default. Of two edges, the one with the higher ID follows.
    pub fn new(state: &EdgeState, tunnel: &Tunnel, class: &TrafficClass) -> Self {
        let or = |ms: u32, default| match ms {
            0 => default,
            ms => Duration::from_millis(ms.into()),
        };
        ClassPolicy {
            tunnel: tunnel.id,
            class: class.id,
            class_name: class.name.clone(),
            failback_hold: or(class.failback_hold_ms, policy::FAILBACK_HOLD),
            dwell: or(class.dwell_ms, policy::DWELL),
            drop_when_none_meets: class.drop_when_none_meets,
            follows_peer: class.symmetric && state.edge_id > tunnel.peer_edge_id,
            mode: class.mode,
        }
    }
}

/// A path that may be chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CandidateSpec {
    pub path: PathId,
    /// For people.
    pub name: String,
    pub local_uplink: UplinkId,
    pub remote_uplink: UplinkId,
    /// Rank of the local, then of the remote uplink in the class's preference; lower is better.
    pub preference: (u16, u16),
    /// Lower is better.
    pub cost: u32,
    /// The lesser of its two uplinks'.
    pub usage: UplinkUse,
    /// One of its uplinks is drained: it is taken last among those that work.
    pub drained: bool,
    /// Share of a balanced class's flows; 0 counts as 1.
    pub weight: u32,
}

/// The candidates of a class of a tunnel. An uplink that the class does not name ranks after those that it names.
pub fn candidates(state: &EdgeState, tunnel: &Tunnel, class: &TrafficClass) -> Vec<CandidateSpec> {
    let rank = |name: Option<&str>| {
        let last = class.prefer_uplinks.len();
        let found = class.prefer_uplinks.iter().position(|u| Some(u.as_str()) == name);
        found.unwrap_or(last).min(usize::from(u16::MAX)) as u16
    };
    let spec = |path: &crate::config::Path| {
        let local = state.uplinks.get(&path.local_uplink);
        let remote = tunnel.peer_uplinks.get(&path.remote_uplink);
        CandidateSpec {
            path: path.id,
            name: state.path_name(path.id),
            local_uplink: path.local_uplink,
            remote_uplink: path.remote_uplink,
            preference: (
                rank(local.map(|u| u.name.as_str())),
                rank(remote.map(|u| u.name.as_str())),
            ),
            cost: local.map_or(0, |u| u.cost),
            usage: local
                .map_or(UplinkUse::Normal, |u| u.usage)
                .max(remote.map_or(UplinkUse::Normal, |u| u.usage)),
            drained: local.is_some_and(|u| u.drained) || remote.is_some_and(|u| u.drained),
            weight: weight(class.mode, local, remote),
        }
    };
    tunnel.paths.values().take(policy::CANDIDATES_MAX).map(spec).collect()
}

/// By bandwidth in Mbit/s where both ends give it; else all alike.
fn weight(
    mode: ClassMode,
    local: Option<&crate::config::Uplink>,
    remote: Option<&crate::config::PeerUplink>,
) -> u32 {
    let (Some(local), Some(remote)) = (local, remote) else { return 1 };
    let kbps = local.bandwidth_up_kbps.min(remote.bandwidth_down_kbps);
    match mode {
        ClassMode::Balance(BalanceBy::Cost) => policy::COST_WEIGHT / local.cost.saturating_add(1),
        _ if kbps == 0 => 1,
        _ => (kbps / 1_000).clamp(1, u64::from(policy::WEIGHT_MAX)) as u32,
    }
}

/// How the data plane carries a class of a tunnel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Choice {
    /// It does not.
    #[default]
    Nothing,
    /// On one path.
    Path(PathId),
    /// Flow by flow, by weight (each 1 or more; at most [`policy::CANDIDATES_MAX`]), in the order of path IDs.
    Spread(Vec<(PathId, u32)>),
    /// Every packet on both.
    Both(PathId, PathId),
}

impl Choice {
    /// Those that carry, the first one first.
    pub fn paths(&self) -> Vec<PathId> {
        match self {
            Choice::Nothing => Vec::new(),
            Choice::Path(path) => vec![*path],
            Choice::Spread(paths) => paths.iter().map(|&(path, _)| path).collect(),
            Choice::Both(first, second) => vec![*first, *second],
        }
    }
}

/// The controller's word: re-orders paths that are equally good, never overrides evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    pub avoid: BTreeSet<PathId>,
    /// No longer than [`policy::ADVICE_MAX`] from now.
    pub until: Micros,
    /// For people.
    pub reason: String,
}
