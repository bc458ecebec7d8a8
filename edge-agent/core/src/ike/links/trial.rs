//! Whether IKE comes up over the link that charon has. One over which it did not is left until its own probes show that
//! something changed, until no link is left that was not tried, or for hours: each further trial may cost an outage.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::PathId;
use crate::time::Micros;

/// Longer than strongSwan, as we start it, waits for a silent peer (26 s).
const FIRST_PATIENCE: Duration = Duration::from_secs(30);
/// After rounds in which it came up over none: a gateway that is away for days is not to be chased.
const LONGEST_PATIENCE: Duration = Duration::from_secs(600);

/// It is tried again after so long, then after twice that, and so on.
const FORGIVEN_AFTER: Duration = Duration::from_secs(3_600);
const DOUBLINGS_MAX: u32 = 5;

#[derive(Debug)]
pub(super) struct Trial {
    /// Since when IKE is tried over the present link; `None`: it is up, or not tried.
    since: Option<Micros>,
    /// When it failed last, and how often it did.
    failed: BTreeMap<PathId, (Micros, u32)>,
    rounds: u32,
}

impl Trial {
    pub(super) fn new(now: Micros) -> Trial {
        Trial { since: Some(now), failed: BTreeMap::new(), rounds: 0 }
    }

    pub(super) fn begin(&mut self, now: Micros) {
        self.since = Some(now);
    }

    pub(super) fn rest(&mut self) {
        self.since = None;
    }

    /// It came up.
    pub(super) fn passed(&mut self, held: Option<PathId>) {
        self.rest();
        self.rounds = 0;
        held.map(|link| self.failed.remove(&link));
    }

    /// Something changed with this link.
    pub(super) fn absolve(&mut self, link: PathId) {
        self.failed.remove(&link);
    }

    /// Something changed with all of them.
    pub(super) fn forget(&mut self, now: Micros) {
        self.failed.clear();
        self.rounds = 0;
        self.since = self.since.map(|_| now);
    }

    pub(super) fn failed(&self, link: PathId, now: Micros) -> bool {
        self.failed.get(&link).is_some_and(|failed| now < forgiven(failed))
    }

    pub(super) fn deadline(&self, now: Micros) -> Option<Micros> {
        let forgiven = self.failed.values().map(forgiven).filter(|at| *at > now);
        self.patient_until().into_iter().chain(forgiven).min()
    }

    fn patient_until(&self) -> Option<Micros> {
        self.since.map(|since| since + self.patience())
    }

    /// `all`: those that may be tried.
    pub(super) fn judge(
        &mut self,
        held: PathId,
        all: impl Iterator<Item = PathId> + Clone,
        now: Micros,
    ) {
        if self.patient_until().is_none_or(|at| now < at) {
            return;
        }
        self.since = Some(now);
        if all.clone().count() < 2 {
            return;
        }
        let (at, times) = self.failed.entry(held).or_insert((now, 0));
        (*at, *times) = (now, *times + 1);
        if all.clone().all(|link| self.failed(link, now)) {
            self.failed.retain(|link, _| *link == held);
            self.rounds += 1;
        }
    }

    fn patience(&self) -> Duration {
        FIRST_PATIENCE.saturating_mul(1 << self.rounds.min(8)).min(LONGEST_PATIENCE)
    }
}

fn forgiven((at, times): &(Micros, u32)) -> Micros {
    *at + FORGIVEN_AFTER.saturating_mul(1 << times.saturating_sub(1).min(DOUBLINGS_MAX))
}
