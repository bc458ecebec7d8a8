//! The sending half of a session: what is due, what may still be answered, and what became of it.

use std::collections::VecDeque;
use std::time::Duration;

use super::ipdv::{AtReflector, Variation};
use super::pace::{Estimator, Pace};
use super::window::{Match, Window};
use super::{
    Cadence, Intervals, Ipdv, Outcome, ProbeCounters, Refused, ReplyKind, Sample, Settled,
};
use crate::policy;
use crate::stamp::Timestamp;
use crate::time::Micros;

#[derive(Debug)]
pub(super) struct Sender {
    pub(super) pace: Pace,
    pub(super) counters: ProbeCounters,
    /// The reflector counts for itself: its numbers tell on which way a probe was lost.
    pub(super) counted: bool,
    estimator: Estimator,
    window: Window,
    variation: Variation,
    samples: VecDeque<Sample>,
    /// No probe is counted lost before: replies may wait unread after a stall of this host.
    expire_from: Micros,
    /// When the probe was sent that got such a grace.
    graced: Option<Micros>,
}

/// What a reply says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// Low 32 bits of the probe's number.
    pub(super) sequence: u32,
    /// The probe's timestamp.
    pub(super) timestamp: Timestamp,
    /// The reflector's number.
    pub(super) reflected: u32,
    pub(super) received: Micros,
    /// How long the reflector says that it held the probe.
    pub(super) held: Duration,
    /// Its timestamps, if it takes any.
    pub(super) at_reflector: Option<AtReflector>,
}

impl Sender {
    pub(super) fn new(intervals: Intervals, cadence: Cadence, phase: u64, now: Micros) -> Self {
        Sender {
            pace: Pace::new(intervals, cadence, phase, now),
            counters: ProbeCounters::default(),
            counted: true,
            estimator: Estimator::default(),
            window: Window::default(),
            variation: Variation::default(),
            samples: VecDeque::new(),
            expire_from: Micros(0),
            graced: None,
        }
    }

    pub(super) fn next_deadline(&mut self) -> Micros {
        let timeout = self.estimator.timeout();
        match self.window.oldest_waiting() {
            Some(sent) => self.pace.next().min((sent + timeout).max(self.expire_from)),
            None => self.pace.next(),
        }
    }

    /// Counts losses, which may make a probe due at once.
    pub(super) fn is_due(&mut self, now: Micros) -> bool {
        self.expire(now);
        now >= self.pace.next()
    }

    /// A probe leaves; its number.
    pub(super) fn send(&mut self, timestamp: Timestamp, now: Micros) -> u64 {
        self.pace.sent(now);
        self.counters.sent += 1;
        self.window.push(now, timestamp)
    }

    pub(super) fn answer(&mut self, answer: &Answer) -> Result<ReplyKind, Refused> {
        let found = self.window.answer(answer.sequence, answer.timestamp, answer.reflected);
        let (sequence, sent, settled, was) = match found {
            Match::Unknown => return Err(Refused::Unknown),
            Match::Foreign => return Err(Refused::Foreign),
            Match::Duplicate => {
                self.counters.duplicate += 1;
                return Ok(ReplyKind::Duplicate);
            }
            Match::Answer { sequence, sent, settled } => (sequence, sent, settled, None),
            Match::Late { sequence, sent, was, settled } => (sequence, sent, settled, Some(was)),
        };
        // A reflector can't have held it for longer than it was away.
        let whole = answer.received.since(sent);
        let rtt = whole.checked_sub(answer.held).unwrap_or(whole);
        self.estimator.update(rtt);
        self.pace.answered(answer.received);
        let (outcome, kind) = match was {
            None => {
                self.counters.answered += 1;
                (Outcome::Rtt { rtt }, ReplyKind::Answer { rtt })
            }
            Some(was) => {
                self.counters.late += 1;
                (Outcome::Late { rtt, was }, ReplyKind::Late { rtt })
            }
        };
        let ipdv = answer.at_reflector.as_ref();
        let ipdv = ipdv.and_then(|at| self.variation.step(sequence, sent, answer.received, at));
        self.sample(sequence, sent, answer.received, outcome, settled, ipdv);
        Ok(kind)
    }

    pub(super) fn poll_sample(&mut self) -> Option<Sample> {
        self.samples.pop_front()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.estimator.timeout()
    }

    pub(super) fn losses_in_row(&self) -> u32 {
        self.window.run()
    }

    /// Counts from there, as after a long life.
    #[cfg(test)]
    pub(super) fn start_at(&mut self, sequence: u64) {
        self.window = Window::starting_at(sequence);
    }

    fn expire(&mut self, now: Micros) {
        let timeout = self.estimator.timeout();
        let Some(sent) = self.window.oldest_waiting() else { return };
        let due = (sent + timeout).max(self.expire_from);
        if now < due {
            return;
        }
        if now.since(due) >= policy::HOST_STALL && self.graced != Some(sent) {
            // Once for each probe that is late, so that a slow caller still counts losses.
            self.graced = Some(sent);
            self.expire_from = now + policy::HOST_STALL_GRACE;
            return;
        }
        while let Some((sequence, sent, way)) = self.window.expire(timeout, now) {
            self.counters.lost += 1;
            self.sample(sequence, sent, now, Outcome::Lost { way }, Settled::default(), None);
            if self.window.run() <= policy::SUSPICION_MAX_RUN {
                self.pace.suspect(now);
            } else {
                self.pace.calm();
            }
        }
    }

    fn sample(
        &mut self,
        sequence: u64,
        sent: Micros,
        known: Micros,
        outcome: Outcome,
        settled: Settled,
        ipdv: Option<Ipdv>,
    ) {
        let (outcome, settled) = match (self.counted, outcome) {
            (true, outcome) => (outcome, settled),
            (false, Outcome::Lost { .. }) => (Outcome::Lost { way: None }, Settled::default()),
            (false, Outcome::Late { rtt, .. }) => {
                (Outcome::Late { rtt, was: None }, Settled::default())
            }
            (false, outcome) => (outcome, Settled::default()),
        };
        if self.samples.len() == policy::SAMPLE_QUEUE_MAX {
            self.samples.pop_front();
            self.counters.samples_dropped += 1;
        }
        self.samples.push_back(Sample { sequence, sent, known, outcome, settled, ipdv });
    }
}
