//! How long packets may be on one path: packetization layer path MTU discovery, RFC 8899, by padded probes inside the
//! path.
//!
//! What links say is believed at once and then verified, so that a path that is as wide as its links is never slowed
//! down. A size that probes don't pass, though shorter ones do, is given up for the longest one that does.
//!
//! ```text
//!            answered                    the last known size is lost, or ICMP says so
//! Verifying ─────────► Known ──────────────────────────────────────────────► Searching
//!     │ lost              ▲   confirmed now and then, raised now and then        │
//!     └───────────────────┴──────────────────────────────────────────────────────┘
//! ```
//!
//! Sizes are those of inner packets, in bytes. A probe is answered by one as long, so a size counts as passed only if
//! it passes both ways.

use std::time::Duration;

use crate::time::Micros;

#[cfg(test)]
mod tests;

/// Losses of one size before it counts as too long (RFC 8899 section 5.1.2, MAX_PROBES).
const TRIES: u32 = 3;
/// The same of a size that has passed before: loss on the way must not look like a narrower path.
const TRIES_OF_KNOWN: u32 = 6;
/// Nothing is waited for less (RFC 8899 section 5.1.1, PROBE_TIMER: it may be derived from the round trip).
const LEAST_TIMEOUT: Duration = Duration::from_millis(300);
/// The size in use is probed again after so long: routes change (RFC 8899 section 5.1.1, CONFIRMATION_TIMER).
const CONFIRM_AFTER: Duration = Duration::from_secs(30);
/// Longer sizes are tried again after so long (PMTU_RAISE_TIMER).
const RAISE_AFTER: Duration = Duration::from_secs(600);
/// While a path carries what it always carried, sizes that fail are this far apart and tried once: each is a packet
/// lost, and the peer takes gaps in sequence numbers for loss on the way.
const RAISE_PACE: Duration = Duration::from_secs(10);
/// The search ends at a gap of less: the alignment of ESP eats as much.
const STEP_BYTES: u16 = 8;

/// A probe to be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PmtuProbe {
    /// Its inner packet is as long as this.
    pub inner_bytes: u16,
    /// To be echoed.
    pub octets: [u8; 8],
}

/// One path's discovery.
#[derive(Debug, Clone)]
pub struct Pmtu {
    /// Every path must carry this; it is used even where it does not pass.
    floor: u16,
    /// What the links at both ends allow.
    ceiling: u16,
    current: u16,
    phase: Phase,
    probe: Option<Outstanding>,
    /// When the next probe is due, if none is out.
    next: Micros,
    raise_at: Option<Micros>,
    /// Without it a size once known is not probed again, nor a longer one: volume is paid for.
    confirms: bool,
    /// The search is for more than is known to pass.
    raising: bool,
    /// Not even the floor passed.
    too_narrow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// `current` is believed.
    Verifying,
    /// `current` has passed.
    Known,
    /// All up to `passed` pass, `failed` does not. `passed` is 0 before the floor has passed.
    Searching { passed: u16, failed: u16 },
}

#[derive(Debug, Clone, Copy)]
struct Outstanding {
    inner_bytes: u16,
    octets: [u8; 8],
    sent: Micros,
    timeout: Duration,
    tries: u32,
    /// Given up: it is sent again, or its size counts as too long.
    lost: bool,
}

impl Pmtu {
    /// `floor` is used in any case, `ceiling` is what the links allow; a ceiling below the floor counts as the floor.
    pub fn new(floor: u16, ceiling: u16, confirms: bool, now: Micros) -> Self {
        let ceiling = ceiling.max(floor);
        Pmtu {
            floor,
            ceiling,
            current: ceiling,
            phase: Phase::Verifying,
            probe: None,
            next: now,
            raise_at: None,
            confirms,
            raising: false,
            too_narrow: false,
        }
    }

    /// The longest inner packet that is to be sent.
    pub fn current(&self) -> u16 {
        self.current
    }

    /// Not even the floor passes.
    pub fn is_too_narrow(&self) -> bool {
        self.too_narrow
    }

    /// Links at the ends changed, or a suite.
    pub fn set_ceiling(&mut self, ceiling: u16, confirms: bool, now: Micros) {
        self.confirms = confirms;
        let ceiling = ceiling.max(self.floor);
        if ceiling != self.ceiling {
            *self = Pmtu::new(self.floor, ceiling, confirms, now);
        }
    }

    /// The path is down: what is out says nothing, whatever becomes of it.
    pub fn suspend(&mut self) {
        self.probe = None;
    }

    /// The path is up again, maybe by another way: the size in use is put to the proof.
    pub fn resume(&mut self, now: Micros) {
        self.probe = None;
        self.next = now;
        if self.phase == Phase::Known {
            self.phase = Phase::Verifying;
        }
    }

    /// When [`poll`](Self::poll) has something to do; `None`: not by itself.
    pub fn next_deadline(&self) -> Option<Micros> {
        match &self.probe {
            Some(probe) if probe.lost => Some(self.next),
            Some(probe) => Some(probe.sent + probe.timeout),
            None if self.phase == Phase::Known && !self.confirms => self.raise_at,
            None => Some(self.raise_at.map_or(self.next, |raise| raise.min(self.next))),
        }
    }

    /// Counts a probe that is overdue, and gives the next one if it is due. `timeout` is how long an answer on this path is
    /// waited for.
    pub fn poll(
        &mut self,
        timeout: Duration,
        now: Micros,
        octets: impl FnOnce() -> [u8; 8],
    ) -> Option<PmtuProbe> {
        if let Some(probe) = &mut self.probe
            && !probe.lost
        {
            if now < probe.sent + probe.timeout {
                return None;
            }
            probe.lost = true;
            let (size, tries) = (probe.inner_bytes, probe.tries);
            if tries >= self.tries_of(size) {
                self.probe = None;
                self.fails(size, now);
            }
        }
        let tries = match &self.probe {
            Some(probe) => probe.tries,
            None => {
                if self.raise_at.is_some_and(|at| now >= at) {
                    self.raise_at = None;
                    let passed = if self.too_narrow { 0 } else { self.current };
                    self.raising = passed > 0;
                    self.phase = Phase::Searching { passed, failed: self.ceiling + 1 };
                    self.next = now;
                }
                0
            }
        };
        let size = self.wanted(now)?;
        let timeout = timeout.max(LEAST_TIMEOUT);
        let octets = octets();
        let tries = tries + 1;
        self.probe =
            Some(Outstanding { inner_bytes: size, octets, sent: now, timeout, tries, lost: false });
        Some(PmtuProbe { inner_bytes: size, octets })
    }

    /// An echo came; true if it answers the probe that is out.
    pub fn handle_answer(&mut self, octets: [u8; 8], now: Micros) -> bool {
        // What an eavesdropper could guess it could also drop: no secret is compared here.
        let Some(probe) = self.probe.filter(|probe| probe.octets == octets) else { return false };
        self.probe = None;
        self.passes(probe.inner_bytes, now);
        true
    }

    /// This host refused to send `inner_bytes`: no one else need be asked.
    pub fn handle_refused(&mut self, inner_bytes: u16, now: Micros) {
        if self.probe.is_some_and(|probe| probe.inner_bytes == inner_bytes) {
            self.probe = None;
            self.fails(inner_bytes, now);
        }
    }

    /// Someone says that only `inner_bytes` pass. It may be forged, so it moves nothing by itself: if it would narrow the
    /// path, the size in use is put to the proof at once (RFC 8899 section 4.6.1).
    pub fn handle_too_big(&mut self, inner_bytes: u16, now: Micros) {
        let settled = self.phase == Phase::Known || self.raising;
        if inner_bytes >= self.current || !settled {
            return;
        }
        if std::mem::take(&mut self.raising) {
            self.probe = None;
        }
        self.phase = Phase::Verifying;
        if self.probe.is_none() {
            self.next = now;
        }
    }

    fn tries_of(&self, size: u16) -> u32 {
        match self.phase {
            Phase::Known if size == self.current => TRIES_OF_KNOWN,
            Phase::Searching { .. } if self.raising => 1,
            _ => TRIES,
        }
    }

    /// The size to be probed now, if any.
    fn wanted(&self, now: Micros) -> Option<u16> {
        if let Some(probe) = &self.probe {
            return Some(probe.inner_bytes);
        }
        if now < self.next {
            return None;
        }
        match self.phase {
            Phase::Verifying => Some(self.current),
            Phase::Known => self.confirms.then_some(self.current),
            Phase::Searching { passed: 0, .. } => Some(self.floor),
            // The ceiling first: after a change of route it is the likeliest.
            Phase::Searching { failed, .. } if failed > self.ceiling => Some(self.ceiling),
            Phase::Searching { passed, failed } => Some(passed + (failed - passed) / 2),
        }
    }

    fn passes(&mut self, size: u16, now: Micros) {
        self.too_narrow = false;
        match self.phase {
            Phase::Searching { passed, failed } => {
                let passed = passed.max(size);
                self.current = passed.max(self.floor);
                self.search(passed, failed, now);
            }
            Phase::Verifying | Phase::Known => self.settle(now),
        }
    }

    fn fails(&mut self, size: u16, now: Micros) {
        match self.phase {
            Phase::Searching { passed: 0, .. } => {
                self.too_narrow = true;
                self.settle(now);
                self.raise_at = self.confirms.then_some(now + CONFIRM_AFTER);
            }
            Phase::Searching { passed, failed } => {
                self.search(passed, failed.min(size), now);
                if self.raising {
                    self.next = self.next.max(now + RAISE_PACE);
                }
            }
            Phase::Verifying | Phase::Known => {
                // The size in use is lost: down to what every path carries, and up from there.
                self.current = self.floor;
                self.raise_at = None;
                self.search(0, size, now);
            }
        }
    }

    fn search(&mut self, passed: u16, failed: u16, now: Micros) {
        let over = passed > 0 && failed <= self.ceiling && failed - passed <= STEP_BYTES;
        if over || passed >= self.ceiling {
            self.settle(now);
        } else if passed == 0 && failed <= self.floor {
            self.too_narrow = true;
            self.settle(now);
            self.raise_at = self.confirms.then_some(now + CONFIRM_AFTER);
        } else {
            self.phase = Phase::Searching { passed, failed };
            self.next = now;
        }
    }

    fn settle(&mut self, now: Micros) {
        self.phase = Phase::Known;
        self.raising = false;
        self.next = now + CONFIRM_AFTER;
        if self.current < self.ceiling && self.confirms {
            self.raise_at.get_or_insert(now + RAISE_AFTER);
        } else {
            self.raise_at = None;
        }
    }
}
