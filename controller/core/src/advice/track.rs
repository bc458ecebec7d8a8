//! What one end says of one path, over time.

use super::constants::{FORGOTTEN_MS, FRESH_MS, PROVEN_MS, RECENT_MS};
use super::{Millis, PathReport, Reach};

/// Whether a path is a sign of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// Not heard, or it never was good.
    Unknown,
    Good,
    Bad,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Track {
    reported: Option<Millis>,
    up: bool,
    violated: u64,
    /// Since when it says the same.
    steady_since: Millis,
    /// It was up for long enough, and these classes were met for long enough.
    was_up: bool,
    was_met: u64,
    bad_since: Option<Millis>,
    last_bad: Option<Millis>,
}

impl Track {
    pub fn handle(&mut self, report: &PathReport, now: Millis) {
        let up = match report.reach {
            Reach::Connecting => {
                *self = Track::default();
                return;
            }
            Reach::Up => true,
            Reach::Down => false,
        };
        let violated = if up { report.violated } else { self.violated };
        if self.reported.is_none() || (up, violated) != (self.up, self.violated) {
            self.steady_since = now;
        }
        (self.reported, self.up, self.violated) = (Some(now), up, violated);
        if up && now.since(self.steady_since) >= PROVEN_MS {
            self.was_up = true;
            self.was_met |= !violated;
        }
        if !self.bad_now() {
            self.bad_since = None;
            return;
        }
        self.last_bad = Some(now);
        let since = *self.bad_since.get_or_insert(now);
        if now.since(since) >= FORGOTTEN_MS {
            *self = Track { was_up: up, was_met: self.was_met & !violated, ..*self };
            (self.bad_since, self.last_bad) = (None, None);
        }
    }

    /// A decision was made because it failed, however short that was.
    pub fn handle_fault(&mut self, now: Millis) {
        if self.was_up {
            self.last_bad = Some(now);
        }
    }

    /// Its end is not connected any more: what it said is void.
    pub fn forget_report(&mut self) {
        self.reported = None;
    }

    pub fn health(&self, now: Millis) -> Health {
        let lately = |at: Option<Millis>, ms| at.is_some_and(|at| now.since(at) <= ms);
        if !lately(self.reported, FRESH_MS) || !self.was_up {
            Health::Unknown
        } else if lately(self.last_bad, RECENT_MS) {
            Health::Bad
        } else {
            Health::Good
        }
    }

    fn bad_now(&self) -> bool {
        self.was_up && (!self.up || self.violated & self.was_met != 0)
    }
}

impl Health {
    /// Of a path with two ends: a fault of one way is a fault.
    pub fn of_both(a: Health, b: Health) -> Health {
        match (a, b) {
            (Health::Bad, _) | (_, Health::Bad) => Health::Bad,
            (Health::Unknown, Health::Unknown) => Health::Unknown,
            _ => Health::Good,
        }
    }
}
