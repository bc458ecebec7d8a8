//! Down and up.

use std::time::Duration;

use super::Reach;
use crate::policy;
use crate::probe::{Outcome, Sample};
use crate::time::Micros;

/// Follows runs of losses and of answers.
#[derive(Debug)]
pub(super) struct Liveness {
    reach: Reach,
    /// One more than the newest probe that is known to have got through.
    through: u64,
    newest_lost: Option<u64>,
    /// When the first probe of the present run of losses was sent.
    run_from: Option<Micros>,
    last_sign: Micros,
    /// Answers in a row after the newest loss, and when the first of them came.
    answers: u32,
    answers_from: Micros,
    interval: Duration,
    /// No run below it is down.
    min_run: u32,
    /// The path's usual loss and round-trip time, as last told.
    usual: Usual,
}

/// What a path is like when nothing ails it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usual {
    /// Round-trip loss as a share, without the present run.
    pub(super) loss: f64,
    pub(super) rtt: Duration,
}

impl Liveness {
    pub(super) fn new(now: Micros) -> Self {
        Liveness {
            reach: Reach::Connecting,
            through: 0,
            newest_lost: None,
            run_from: None,
            last_sign: now,
            answers: 0,
            answers_from: now,
            interval: policy::USED_INTERVAL,
            min_run: policy::DOWN_SILENT_RUN,
            usual: Usual::default(),
        }
    }

    pub(super) fn reach(&self) -> Reach {
        self.reach
    }

    /// Answers came since it went down.
    pub(super) fn answering(&self) -> bool {
        self.answers > 0
    }

    /// Losses in a row, after the newest probe that got through.
    pub(super) fn run(&self) -> u32 {
        self.newest_lost.map_or(0, |lost| (lost + 1).saturating_sub(self.through) as u32)
    }

    pub(super) fn set_interval(&mut self, interval: Duration, now: Micros) {
        if interval != self.interval {
            self.interval = interval;
            // Slower probes from now on: their silence is counted from here.
            self.last_sign = self.last_sign.max(now - self.silence() / 2);
            self.handle_time(now);
        }
    }

    /// It is known to work, before the first answer.
    pub(super) fn assume_up(&mut self) {
        self.reach = Reach::Up;
    }

    /// Losses in a row below which it is never down.
    pub(super) fn set_min_run(&mut self, run: u32) {
        self.min_run = run.max(policy::DOWN_SILENT_RUN);
    }

    pub(super) fn min_run(&self) -> u32 {
        self.min_run
    }

    pub(super) fn handle(&mut self, sample: &Sample, usual: Usual) {
        self.usual = usual;
        match sample.outcome {
            Outcome::Rtt { .. } => {
                if self.answers == 0 {
                    self.answers_from = sample.known;
                }
                self.answers += 1;
                self.got_through(sample.sequence, sample.known);
                self.rise(sample.known);
            }
            // It came: the run is broken there. But a path whose answers are late proves nothing of its recovery.
            Outcome::Late { .. } => self.got_through(sample.sequence, sample.known),
            Outcome::Lost { .. } => {
                self.newest_lost = self.newest_lost.max(Some(sample.sequence));
                if sample.sequence >= self.through {
                    self.answers = 0;
                    self.run_from.get_or_insert(sample.sent);
                }
                self.handle_time(sample.known);
            }
        }
    }

    /// The peer says that this probe reached it: the way forward works, even if nothing comes back.
    pub(super) fn heard(&mut self, sequence: u64, at: Micros) {
        self.got_through(sequence, at);
    }

    /// When silence alone says down. Without a loss it says nothing: this host may have stood still.
    pub(super) fn deadline(&self) -> Option<Micros> {
        if self.reach != Reach::Up || self.run() == 0 {
            return None;
        }
        let silent = self.run_from.filter(|_| self.run() >= self.silent_run());
        let pause = self.usual.rtt * policy::DOWN_RUN_RTT_PERCENT / 100;
        let silent = silent.map(|from| from + pause.max(policy::DOWN_RUN_TIME));
        Some((self.last_sign + self.silence()).min(silent.unwrap_or(Micros(u64::MAX))))
    }

    pub(super) fn handle_time(&mut self, now: Micros) {
        let long_run = self.run() >= needed_run(self.usual.loss).max(self.min_run);
        let down = long_run || self.deadline().is_some_and(|at| now >= at);
        if self.reach == Reach::Up && self.run() > 0 && down {
            self.reach = Reach::Down;
            self.answers = 0;
        }
    }

    /// Losses in a row that make silence of `DOWN_RUN_TIME` count.
    fn silent_run(&self) -> u32 {
        let dense = self.interval * policy::DOWN_SILENT_RUN <= policy::DOWN_RUN_TIME;
        let run = policy::DOWN_SILENT_RUN + u32::from(!dense);
        run.max(self.min_run)
    }

    fn got_through(&mut self, sequence: u64, at: Micros) {
        if sequence >= self.through {
            // What is left of a run that is broken in its midst starts no earlier than this was known.
            self.run_from = (self.newest_lost > Some(sequence)).then_some(at);
        }
        self.through = self.through.max(sequence + 1);
        self.last_sign = self.last_sign.max(at);
    }

    fn rise(&mut self, now: Micros) {
        let proven =
            self.answers >= policy::UP_ANSWERS && now.since(self.answers_from) >= policy::UP_TIME;
        if self.reach == Reach::Connecting || self.reach == Reach::Down && proven {
            self.reach = Reach::Up;
        }
    }

    fn silence(&self) -> Duration {
        let intervals = self.interval * policy::DOWN_SILENCE_INTERVALS + policy::MAX_TIMEOUT;
        intervals.max(policy::DOWN_SILENCE_MIN)
    }
}

/// So many losses in a row that random loss at this rate would give them with the chance of `DOWN_LOG_CHANCE`.
pub(super) fn needed_run(usual_loss: f64) -> u32 {
    let loss = usual_loss.clamp(policy::DOWN_LOSS_FLOOR, policy::LOSS_MAX_RATE);
    let run = (policy::DOWN_LOG_CHANCE / loss.ln()).ceil() as u32;
    run.clamp(policy::DOWN_MIN_RUN, policy::DOWN_MAX_RUN)
}
