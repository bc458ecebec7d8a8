//! The last seconds of one way, for damage that comes in bursts: too few probes for a rate, too many losses for chance.

use std::collections::VecDeque;

use crate::policy;
use crate::time::Micros;

#[derive(Debug, Clone, Copy)]
struct Known {
    sequence: u64,
    at: Micros,
    bad: bool,
}

/// Probes of one way, newest last.
#[derive(Debug, Default)]
pub(super) struct Burst {
    known: VecDeque<Known>,
    bad: u32,
}

impl Burst {
    /// A probe's fate; a later one for the same sequence number replaces it.
    pub(super) fn handle(&mut self, sequence: u64, bad: bool, now: Micros) {
        if let Some(known) = self.known.iter_mut().rev().find(|k| k.sequence == sequence) {
            self.bad = self.bad + u32::from(bad) - u32::from(known.bad);
            known.bad = bad;
        } else {
            self.known.push_back(Known { sequence, at: now, bad });
            self.bad += u32::from(bad);
        }
        while self.known.len() > policy::BURST_PROBES_MAX
            || self.known.front().is_some_and(|k| now.since(k.at) > policy::BURST_WINDOW)
        {
            let gone = self.known.pop_front();
            self.bad -= gone.map_or(0, |k| u32::from(k.bad));
        }
    }

    /// More than chance gives: so many, and such a share.
    pub(super) fn is_damage(&self) -> bool {
        let share_percent = self.bad * 100 / (self.known.len() as u32).max(1);
        self.bad >= policy::BURST_LOSSES && share_percent >= policy::BURST_PERCENT
    }
}
