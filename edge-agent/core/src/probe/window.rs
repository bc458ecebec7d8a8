//! The probes that may still be answered, and on which way the others were lost.
//!
//! The reflector counts what it reflects (RFC 8762 section 4.3). Between two replies (n0, m0) and (n, m), sender's and
//! reflector's numbers, n - n0 - 1 probes are missing, of which m - m0 - 1 were reflected: those were lost on the way back,
//! the others on the way forward. Which of them was which is not known, and does not matter.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Settled, Way};
use crate::policy;
use crate::stamp::Timestamp;
use crate::time::Micros;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Answered,
    Lost(Option<Way>),
}

#[derive(Debug)]
struct Entry {
    sent: Micros,
    timestamp: Timestamp,
    state: State,
}

/// A reply's probe.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// It was waiting.
    Answer {
        sequence: u64,
        sent: Micros,
        settled: Settled,
    },
    /// It had been counted lost.
    Late {
        sequence: u64,
        sent: Micros,
        was: Option<Way>,
        settled: Settled,
    },
    Duplicate,
    Unknown,
    /// The echoed timestamp is not the one that was sent.
    Foreign,
}

#[derive(Debug, Default)]
pub(super) struct Window {
    /// Sequence number of the first entry.
    base: u64,
    entries: VecDeque<Entry>,
    /// No entry before this one waits.
    waiting_from: u64,
    /// Newest answered probe and the highest count of the reflector.
    newest: Option<(u64, u32)>,
    /// Missing probes whose way is known and which have not timed out yet.
    missing: Settled,
}

impl Window {
    #[cfg(test)]
    pub(super) fn starting_at(sequence: u64) -> Self {
        Window { base: sequence, waiting_from: sequence, ..Window::default() }
    }

    pub(super) fn push(&mut self, sent: Micros, timestamp: Timestamp) -> u64 {
        while self.entries.len() >= policy::OUTSTANDING_MAX
            || self.entries.front().is_some_and(|e| {
                e.state != State::Waiting && sent.since(e.sent) > policy::LATE_MEMORY
            })
        {
            self.entries.pop_front();
            self.base += 1;
        }
        self.waiting_from = self.waiting_from.max(self.base);
        self.entries.push_back(Entry { sent, timestamp, state: State::Waiting });
        self.next_sequence() - 1
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// When the oldest waiting probe was sent.
    pub(super) fn oldest_waiting(&mut self) -> Option<Micros> {
        while self.waiting_from < self.next_sequence() {
            let entry = &self.entries[(self.waiting_from - self.base) as usize];
            if entry.state == State::Waiting {
                return Some(entry.sent);
            }
            self.waiting_from += 1;
        }
        None
    }

    /// Counts the oldest waiting probe lost, if it is older than `timeout`.
    pub(super) fn expire(
        &mut self,
        timeout: Duration,
        now: Micros,
    ) -> Option<(u64, Micros, Option<Way>)> {
        let sent = self.oldest_waiting()?;
        if now < sent + timeout {
            return None;
        }
        let sequence = self.waiting_from;
        let way = match self.newest {
            Some((newest, _)) if newest > sequence => Some(self.take_missing()),
            _ => None,
        };
        self.entries[(sequence - self.base) as usize].state = State::Lost(way);
        self.waiting_from += 1;
        Some((sequence, sent, way))
    }

    /// Losses after the newest answer.
    pub(super) fn run(&self) -> u32 {
        let from = self.newest.map_or(self.base, |(newest, _)| newest + 1).max(self.base);
        (self.waiting_from.saturating_sub(from)) as u32
    }

    /// A reply to `sequence` (the low 32 bits), the reflector's number `reflected`.
    pub(super) fn answer(&mut self, sequence: u32, timestamp: Timestamp, reflected: u32) -> Match {
        let offset = sequence.wrapping_sub(self.base as u32);
        let Some(entry) = self.entries.get_mut(offset as usize) else {
            return Match::Unknown;
        };
        if entry.timestamp != timestamp {
            return Match::Foreign;
        }
        let state = entry.state;
        if state == State::Answered {
            return Match::Duplicate;
        }
        entry.state = State::Answered;
        let sent = entry.sent;
        let sequence = self.base + u64::from(offset);
        let settled = self.account(sequence, reflected, state == State::Waiting);
        match state {
            State::Lost(was) => Match::Late { sequence, sent, was, settled },
            _ => Match::Answer { sequence, sent, settled },
        }
    }

    fn account(&mut self, sequence: u64, reflected: u32, was_waiting: bool) -> Settled {
        let Some((newest, highest)) = self.newest else {
            self.newest = Some((sequence, reflected));
            return self.settle(0, sequence);
        };
        let ahead = reflected.wrapping_sub(highest) as i32;
        if sequence < newest {
            let (from, to) = (&mut self.missing.forward, &mut self.missing.back);
            // Reflected after the newest: it had been taken for lost on the way forward.
            let counted = if ahead > 0 { from } else { to };
            if was_waiting {
                *counted = counted.saturating_sub(1);
            }
            if ahead > 0 {
                self.newest = Some((newest, reflected));
            }
            return Settled::default();
        }
        let between = (sequence - newest - 1).min(policy::OUTSTANDING_MAX as u64) as u32;
        self.newest = Some((sequence, reflected));
        if ahead <= 0 {
            // The reflector started again: its numbers tell nothing of what was before.
            self.missing = Settled { forward: between, back: 0 };
        } else {
            let back = (ahead as u32 - 1).min(between);
            self.missing.back += back;
            self.missing.forward += between - back;
        }
        self.settle(newest + 1, sequence)
    }

    /// Gives the losses from `from` to before `to` whose way was not known theirs.
    fn settle(&mut self, from: u64, to: u64) -> Settled {
        let mut settled = Settled::default();
        for sequence in from.max(self.base)..to {
            let index = (sequence - self.base) as usize;
            if self.entries[index].state == State::Lost(None) {
                let way = self.take_missing();
                self.entries[index].state = State::Lost(Some(way));
                match way {
                    Way::Forward => settled.forward += 1,
                    Way::Back => settled.back += 1,
                }
            }
        }
        settled
    }

    fn take_missing(&mut self) -> Way {
        if self.missing.back > 0 {
            self.missing.back -= 1;
            Way::Back
        } else {
            self.missing.forward = self.missing.forward.saturating_sub(1);
            Way::Forward
        }
    }
}
