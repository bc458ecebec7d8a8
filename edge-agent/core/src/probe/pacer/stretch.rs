//! Slows paths down until their regular probes fit the budgets: idle ones first, then standbys, then those in use.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Pace;
use super::layout::PathLayout;
use crate::id::PathId;
use crate::probe::Cadence;
use crate::probe::budget::{Account, AccountSpec, floor};

pub(super) struct Demand<'a> {
    pub(super) path: PathId,
    pub(super) pace: Pace,
    pub(super) layout: &'a PathLayout,
}

/// Those that yield, the first first. What rests has an allowance of its own and is slower than any budget asks.
const YIELDING: [Cadence; 3] = [Cadence::Idle, Cadence::Standby, Cadence::Used];

pub(super) fn stretch(
    demands: &[Demand<'_>],
    accounts: &BTreeMap<Account, AccountSpec>,
) -> Vec<(PathId, Pace)> {
    let mut slowest: BTreeMap<PathId, Duration> = BTreeMap::new();
    let mut of_account: BTreeMap<Account, Vec<&Demand<'_>>> = BTreeMap::new();
    for demand in demands {
        for account in &demand.layout.budgets {
            of_account.entry(*account).or_default().push(demand);
        }
    }
    for (account, demands) in &of_account {
        let Some(spec) = accounts.get(account) else { continue };
        for (path, interval) in within(demands, spec.bytes_per_ks as f64 / 1_000.0) {
            let slow = slowest.entry(path).or_default();
            *slow = interval.max(*slow);
        }
    }
    let paced = |demand: &Demand<'_>| {
        let slow = slowest.get(&demand.path).copied().unwrap_or_default();
        let pace = demand.pace.map(|(cadence, interval)| (cadence, interval.max(slow)));
        (demand.path, pace)
    };
    demands.iter().map(paced).collect()
}

/// Intervals with which the demands take no more than the budget, as far as their slowest paces allow.
fn within(demands: &[&Demand<'_>], bytes_per_s: f64) -> Vec<(PathId, Duration)> {
    let rate = |demand: &Demand<'_>, interval: Duration| {
        let (cadence, _) = demand.pace.unwrap_or((Cadence::Idle, interval));
        demand.layout.exchange_bytes(cadence) as f64 / interval.as_secs_f64().max(1e-3)
    };
    let mut intervals: Vec<(&Demand<'_>, Duration)> =
        demands.iter().filter_map(|d| d.pace.map(|(_, interval)| (*d, interval))).collect();
    for cadence in YIELDING {
        let total: f64 = intervals.iter().map(|(d, interval)| rate(d, *interval)).sum();
        let yielding = |d: &Demand<'_>| d.pace.is_some_and(|(c, _)| c == cadence);
        let theirs: f64 =
            intervals.iter().filter(|(d, _)| yielding(d)).map(|(d, i)| rate(d, *i)).sum();
        if total <= bytes_per_s || theirs <= 0.0 {
            continue;
        }
        let left = (bytes_per_s - (total - theirs)).max(0.0);
        let factor = if left > 0.0 { theirs / left } else { f64::INFINITY };
        for (_, interval) in intervals.iter_mut().filter(|(d, _)| yielding(d)) {
            let slowest = floor(cadence).max(*interval);
            let stretched = interval.as_secs_f64() * factor;
            *interval = if stretched < slowest.as_secs_f64() {
                Duration::from_secs_f64(stretched)
            } else {
                slowest
            };
        }
    }
    intervals.into_iter().map(|(demand, interval)| (demand.path, interval)).collect()
}
