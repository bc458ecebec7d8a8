//! What a generation says of probing: fixed until the next one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::intervals;
use crate::config::{EdgeState, Path, Tunnel, UplinkUse};
use crate::id::{PathId, TunnelId, UplinkId};
use crate::policy;
use crate::probe::budget::{Account, AccountSpec};
use crate::probe::rest::Allowance;
use crate::probe::{Cadence, Intervals, cost};
use crate::stamp;

#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) paths: BTreeMap<PathId, PathLayout>,
    pub(super) accounts: BTreeMap<Account, AccountSpec>,
    /// The paths that pay from each budget.
    pub(super) payers: BTreeMap<Account, Vec<PathId>>,
    /// Of own uplinks.
    pub(super) keepalives: BTreeMap<UplinkId, Duration>,
}

#[derive(Debug)]
pub(super) struct PathLayout {
    pub(super) tunnel: TunnelId,
    /// The worse of its two uplinks.
    pub(super) usage: UplinkUse,
    pub(super) intervals: Intervals,
    awake_bytes: u64,
    resting_bytes: u64,
    /// What operators set.
    pub(super) budgets: Vec<Account>,
    /// What a standby may take while it rests.
    allowances: Vec<Account>,
}

impl PathLayout {
    /// What a path at rest sends tells nothing of others: they tell themselves.
    pub(super) fn exchange_bytes(&self, cadence: Cadence) -> u64 {
        if cadence == Cadence::Resting { self.resting_bytes } else { self.awake_bytes }
    }

    /// What pays for its probes.
    pub(super) fn accounts(&self, in_use: bool) -> impl Iterator<Item = Account> + '_ {
        let allowances = self.allowances.iter().filter(move |_| !in_use);
        self.budgets.iter().chain(allowances).copied()
    }
}

/// An uplink as a path's end has it.
struct End {
    usage: UplinkUse,
    budget: Option<Account>,
    budget_bytes_per_s: u64,
    allowance: Account,
    /// Paths over it in the fleet, and those of them that pay from these accounts.
    paths: u32,
    payers: u32,
}

impl Layout {
    pub(super) fn new(edge: &EdgeState) -> Self {
        let mut layout = Layout::default();
        let mut over_own: BTreeMap<UplinkId, u32> = BTreeMap::new();
        for (_, path) in edge.paths() {
            *over_own.entry(path.local_uplink).or_default() += 1;
        }
        for (tunnel, path) in edge.paths() {
            let paths = over_own.get(&path.local_uplink).copied().unwrap_or(1);
            layout.add(tunnel, path, [own_end(edge, path, paths), peers_end(tunnel, path)]);
        }
        layout
    }

    fn add(&mut self, tunnel: &Tunnel, path: &Path, ends: [End; 2]) {
        let digest = tunnel.paths.len().min(stamp::MAX_DIGEST_ENTRIES);
        let awake_bytes = cost::exchange_bytes(digest, path.ipv6);
        let mut resting = policy::MAX_INTERVAL;
        let (mut budgets, mut allowances) = (Vec::new(), Vec::new());
        for end in &ends {
            let share = |bytes_per_ks: u64| {
                bytes_per_ks * u64::from(end.payers) / u64::from(end.paths.max(1))
            };
            if let Some(account) = end.budget {
                // Half for each side: see `budget`.
                let bytes_per_ks = share(end.budget_bytes_per_s * 500);
                let burst_bytes = bytes_per_ks * policy::BUDGET_BURST_S / 1_000;
                self.open(account, bytes_per_ks, burst_bytes, awake_bytes);
                self.payers.entry(account).or_default().push(path.id);
                budgets.push(account);
            }
            if end.usage == UplinkUse::Standby {
                let allowance = Allowance::new(end.paths, path.ipv6);
                resting = resting.max(allowance.interval);
                let burst_bytes = share(policy::RESTING_BURST_BYTES);
                let kept_bytes = cost::exchange_bytes(0, path.ipv6);
                self.open(end.allowance, share(allowance.bytes_per_ks), burst_bytes, kept_bytes);
                allowances.push(end.allowance);
            }
        }
        let usage = ends[0].usage.max(ends[1].usage);
        if ends[0].usage == UplinkUse::Standby && usage == UplinkUse::Standby {
            let keepalive = Allowance::new(ends[0].paths, path.ipv6).keepalive;
            let slowest = self.keepalives.entry(path.local_uplink).or_insert(keepalive);
            *slowest = keepalive.max(*slowest);
        }
        let layout = PathLayout {
            tunnel: tunnel.id,
            usage,
            intervals: intervals(&tunnel.profile, resting),
            awake_bytes,
            resting_bytes: cost::exchange_bytes(0, path.ipv6),
            budgets,
            allowances,
        };
        self.paths.insert(path.id, layout);
    }

    /// Or makes room for one more path in it.
    fn open(&mut self, account: Account, bytes_per_ks: u64, burst_bytes: u64, kept_bytes: u64) {
        let new = AccountSpec { bytes_per_ks, burst_bytes, kept_bytes: 0 };
        self.accounts.entry(account).or_insert(new).kept_bytes += kept_bytes;
    }
}

fn own_end(edge: &EdgeState, path: &Path, paths: u32) -> End {
    let id = path.local_uplink;
    let uplink = edge.uplinks.get(&id);
    let budget_bytes_per_s = uplink.map_or(0, |u| u.probe_budget_bytes_per_s);
    End {
        usage: uplink.map_or(UplinkUse::Normal, |u| u.usage),
        budget: (budget_bytes_per_s > 0).then_some(Account::Own(id)),
        budget_bytes_per_s,
        allowance: Account::OwnResting(id),
        paths,
        payers: paths,
    }
}

fn peers_end(tunnel: &Tunnel, path: &Path) -> End {
    let id = path.remote_uplink;
    let uplink = tunnel.peer_uplinks.get(&id);
    let payers = tunnel.paths.values().filter(|other| other.remote_uplink == id).count() as u32;
    let budget_bytes_per_s = uplink.map_or(0, |u| u.probe_budget_bytes_per_s);
    End {
        usage: uplink.map_or(UplinkUse::Normal, |u| u.usage),
        budget: (budget_bytes_per_s > 0).then_some(Account::Peers(tunnel.id, id)),
        budget_bytes_per_s,
        allowance: Account::PeersResting(tunnel.id, id),
        paths: uplink.map_or(0, |u| u.paths).max(payers),
        payers,
    }
}
