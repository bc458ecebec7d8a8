//! Bursty loss: the Gilbert model (Gilbert 1960), all frames of the bad state lost, none of the good one.

use rand::Rng;

#[derive(Clone, Debug)]
pub(super) struct Bursts {
    bad: bool,
    leave_good: f64,
    leave_bad: f64,
}

impl Bursts {
    /// `share` of all frames lost (below 1), in bursts of `mean_len` frames (at least 1).
    ///
    /// A burst lasts 1/leave_bad frames. The share of time in the bad state is leave_good / (leave_good + leave_bad).
    pub(super) fn new(share: f64, mean_len: f64) -> Self {
        let leave_bad = 1.0 / mean_len;
        Self { bad: false, leave_good: leave_bad * share / (1.0 - share), leave_bad }
    }

    /// Steps the chain by one frame; true when that frame is lost.
    pub(super) fn lose(&mut self, rng: &mut impl Rng) -> bool {
        let leave = if self.bad { self.leave_bad } else { self.leave_good };
        if leave > 0.0 && rng.random_bool(leave.min(1.0)) {
            self.bad = !self.bad;
        }
        self.bad
    }
}
