//! What was measured, and what of it is wrong.

use super::plan::{Order, What};
use super::pool::News;
use super::run::Run;
use super::simulation::Simulated;
use crate::fleet::ClearText;
use std::collections::BTreeMap;

/// Below this the search for the marker proves nothing.
pub(super) const MARKERS_AT_LEAST: u64 = 1_000;
/// Reasons kept of each figure.
const REASONS: usize = 5;

/// Filled as it goes; what was not reached stays empty.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub runs: BTreeMap<What, Vec<Run>>,
    pub repeated: usize,
    /// Why runs could not be made.
    pub failed: BTreeMap<What, Vec<String>>,
    pub clear: ClearText,
    pub searched: bool,
    pub host_stall_max_ms: f64,
    pub interrupted: bool,
    pub simulated: Option<Simulated>,
}

impl Outcome {
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Done(what, run) => self.runs.entry(what).or_default().push(run),
            News::Repeated(..) => self.repeated += 1,
            News::Failed(what, why) => self.fail(what, why),
        }
    }

    pub(super) fn fail(&mut self, what: What, why: String) {
        let reasons = self.failed.entry(what).or_default();
        if reasons.len() < REASONS {
            reasons.push(why);
        }
    }

    /// Adds what another lab's watchers saw.
    pub(super) fn add_clear(&mut self, seen: ClearText) {
        self.searched = true;
        self.clear.on_wan += seen.on_wan;
        self.clear.leaking.extend(seen.leaking);
        self.clear.on_lan += seen.on_lan;
        self.clear.wan_frames += seen.wan_frames;
        self.clear.missed += seen.missed;
    }

    pub(super) fn of(&self, what: What) -> &[Run] {
        self.runs.get(&what).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn values(&self, what: What) -> Vec<Option<f64>> {
        self.of(what).iter().map(|run| run.value).collect()
    }

    pub(super) fn unhealed(&self) -> usize {
        self.runs.values().flatten().filter(|run| run.value.is_none()).count()
    }

    /// What behaved wrong, or could not be measured: none of it is a matter of time alone.
    pub(super) fn wrong(&self, order: &Order) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut say = |is_wrong: bool, what: String| {
            if is_wrong {
                wrong.push(what);
            }
        };
        for (what, runs) in &self.runs {
            let unhealed = runs.iter().filter(|run| run.value.is_none()).count();
            say(unhealed > 0, format!("{}: {unhealed} runs did not heal", what.name()));
        }
        for (&what, &wanted) in &order.runs {
            let made = if what == What::Simulation {
                usize::from(self.simulated.is_some())
            } else {
                self.of(what).len()
            };
            let why = self.failed.get(&what).map(|why| format!(": {}", why.join("; ")));
            let text =
                format!("{}: {made} of {wanted} runs{}", what.name(), why.unwrap_or_default());
            say(made < wanted && !self.interrupted, text);
        }
        let lost: f64 = self.values(What::FailBack).into_iter().flatten().sum();
        say(lost > 0.0, format!("{lost:.0} packets were lost at fail-backs"));
        let (free, bucket) = (self.voluntary_moves(), bucket_moves(order.flap_s));
        say(free > bucket, format!("{free} voluntary moves under flapping, {bucket} are allowed"));
        let clear = &self.clear;
        let leaks = clear.leaking.join(", ");
        say(clear.on_wan > 0, format!("{} packets in clear, on {leaks}", clear.on_wan));
        say(clear.missed > 0, format!("{} frames were not searched", clear.missed));
        say(
            self.searched && clear.on_lan < MARKERS_AT_LEAST,
            format!("only {} marked packets on the LAN: the search proves nothing", clear.on_lan),
        );
        wrong
    }

    /// Of the run under flapping that had most.
    pub(super) fn voluntary_moves(&self) -> usize {
        self.of(What::Flapping).iter().map(|run| run.voluntary).max().unwrap_or(0)
    }
}

/// Voluntary moves that an agent's bucket gives in such a time: 4 at once, and one each 10 minutes (`MOVE_TOKENS` and
/// `MOVE_TOKEN_REFILL` of its policy).
pub(super) fn bucket_moves(lasts_s: u64) -> usize {
    4 + lasts_s.div_ceil(600) as usize
}
