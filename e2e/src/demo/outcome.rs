//! What was measured, and the report that it makes.

use crate::fleet::ClearText;
use crate::report::{Figures, Goal, Goals, one_decimal};
use serde::Serialize;

/// Below this the search for the marker proves nothing.
const MARKERS_AT_LEAST: u64 = 1_000;
const REKEYS_AT_LEAST: u64 = 5;

/// Filled as the story goes; what was not reached stays empty.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub sites: usize,
    pub paths_expected: usize,
    pub paths_up: usize,
    pub time_to_all_up_ms: Option<f64>,
    /// A run each; `None`: it did not heal.
    pub blackholes_ms: Vec<Option<f64>>,
    pub headless_ms: Vec<Option<f64>>,
    pub brownout_move_ms: Option<f64>,
    pub failback_s: Option<f64>,
    pub rekeys: u64,
    pub rekey_lost: Option<u64>,
    pub restart_recovered: bool,
    pub clear: ClearText,
    pub host_stall_max_ms: f64,
    pub runs_repeated: usize,
    /// Why the story did not come to its end.
    pub failed: Option<String>,
}

/// `target/reports/demo.json`; its schema describes the fields.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub sites: usize,
    pub paths_expected: usize,
    pub paths_up: usize,
    pub time_to_all_up_ms: Option<f64>,
    pub blackhole_gap_ms: Figures,
    pub brownout_move_ms: Option<f64>,
    pub failback_s: Option<f64>,
    pub headless_gap_ms: Figures,
    pub rekey_lost_packets: Option<u64>,
    pub rekeys: u64,
    pub restart_recovered: bool,
    pub cleartext_packets_on_wan: u64,
    pub marker_packets_on_lan: u64,
    pub goals: Goals,
    pub host_stall_max_ms: f64,
    pub runs_repeated: usize,
    pub unhealed: usize,
}

impl Outcome {
    pub(super) fn report(&self) -> Report {
        let blackhole_gap_ms = Figures::of(&self.blackholes_ms);
        Report {
            sites: self.sites,
            paths_expected: self.paths_expected,
            paths_up: self.paths_up,
            time_to_all_up_ms: self.time_to_all_up_ms.map(one_decimal),
            goals: self.goals(&blackhole_gap_ms),
            blackhole_gap_ms,
            brownout_move_ms: self.brownout_move_ms.map(one_decimal),
            failback_s: self.failback_s.map(one_decimal),
            headless_gap_ms: Figures::of(&self.headless_ms),
            rekey_lost_packets: self.rekey_lost,
            rekeys: self.rekeys,
            restart_recovered: self.restart_recovered,
            cleartext_packets_on_wan: self.clear.on_wan,
            marker_packets_on_lan: self.clear.on_lan,
            host_stall_max_ms: one_decimal(self.host_stall_max_ms),
            runs_repeated: self.runs_repeated,
            unhealed: self.unhealed(),
        }
    }

    fn goals(&self, gap: &Figures) -> Goals {
        let count = |value: Option<u64>| value.map_or(serde_json::Value::Null, Into::into);
        let goals = [
            ("all_paths_up", Goal::exactly(self.paths_expected, self.paths_up)),
            ("blackhole_gap_p50_ms", Goal::at_most(700.0, gap.p50)),
            ("blackhole_gap_max_ms", Goal::at_most(1_500.0, gap.max)),
            ("rekeys", Goal::at_least(REKEYS_AT_LEAST, self.rekeys)),
            ("rekey_lost_packets", Goal::exactly(0, count(self.rekey_lost))),
            ("restart_recovered", Goal::exactly(true, self.restart_recovered)),
            ("cleartext_packets_on_wan", Goal::exactly(0, self.clear.on_wan)),
            ("marker_packets_on_lan", Goal::at_least(MARKERS_AT_LEAST, self.clear.on_lan)),
        ];
        goals.into_iter().map(|(name, goal)| (name.to_owned(), goal)).collect()
    }

    fn unhealed(&self) -> usize {
        self.blackholes_ms.iter().chain(&self.headless_ms).filter(|run| run.is_none()).count()
    }

    /// What behaved wrong: none of it is a matter of time alone.
    pub(super) fn wrong(&self) -> Vec<String> {
        let mut wrong: Vec<String> = self.failed.iter().cloned().collect();
        let mut say = |is_wrong: bool, what: String| {
            if is_wrong {
                wrong.push(what);
            }
        };
        let (up, expected) = (self.paths_up, self.paths_expected);
        say(up != expected || up == 0, format!("{up} of {expected} paths came up"));
        let unhealed = self.unhealed();
        say(unhealed > 0, format!("{unhealed} blackholes were not healed within 10 s"));
        let clear = &self.clear;
        let leaks = clear.leaking.join(", ");
        say(clear.on_wan > 0, format!("{} packets in clear, on {leaks}", clear.on_wan));
        say(
            clear.on_lan < MARKERS_AT_LEAST,
            format!("only {} marked packets on the LAN: the search proves nothing", clear.on_lan),
        );
        say(clear.missed > 0, format!("{} frames were not searched", clear.missed));
        match self.rekey_lost {
            Some(0) => {}
            Some(lost) => say(true, format!("{lost} packets were lost at rekeys")),
            None => say(true, "rekeys were not measured".to_owned()),
        }
        let rekeys = self.rekeys;
        say(rekeys < REKEYS_AT_LEAST, format!("{rekeys} rekeys under traffic"));
        say(!self.restart_recovered, "a killed agent did not come back to its tunnels".to_owned());
        wrong
    }
}
