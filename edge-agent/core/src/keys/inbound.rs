//! The inbound SAs of one path: which the peer may still send with, and which are drained.

use std::time::Duration;

use crate::id::Spi;
use crate::time::Micros;

/// How long an inbound SA stays after the peer has moved to a newer one: longer than a packet lives on a WAN.
pub const DRAIN: Duration = Duration::from_secs(10);
/// Inbound SAs of one path at once. New epochs wait while drained ones fill it.
pub const MAX_INBOUND: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// An SPI, no SA yet.
    Reserved,
    /// The data plane has been asked.
    Installing,
    /// The peer may send with it.
    Live,
    /// The peer has moved on.
    Draining(Micros),
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    spi: Spi,
    stage: Stage,
}

/// Oldest first. Whatever the peer may send with is in it.
#[derive(Debug, Default)]
pub(super) struct InboundSas {
    entries: Vec<Entry>,
    /// The newest that the peer is known to send with.
    in_use: Option<Spi>,
}

/// What to do with an SPI that is no longer needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// It never had an SA.
    Release(Spi),
    /// It has an SA.
    Retire(Spi),
}

impl InboundSas {
    pub(super) fn reserve(&mut self, spi: Spi) {
        self.entries.push(Entry { spi, stage: Stage::Reserved });
    }

    /// One that a former run of this agent installed, and that the peer may send with.
    pub(super) fn kept(&mut self, spi: Spi) {
        self.entries.push(Entry { spi, stage: Stage::Live });
        self.in_use = Some(spi);
    }

    pub(super) fn installing(&mut self, spi: Spi) {
        self.set(spi, Stage::Installing);
    }

    /// The data plane's answer. A failure removes the entry.
    pub(super) fn installed(&mut self, spi: Spi, ok: bool, now: Micros) -> Option<Dropped> {
        if !ok {
            return self.remove(spi).map(|_| Dropped::Release(spi));
        }
        // It was overtaken while the data plane worked: the peer is beyond it.
        let overtaken = self.position(spi) < self.in_use.and_then(|used| self.position(used));
        self.set(spi, if overtaken { Stage::Draining(now + DRAIN) } else { Stage::Live });
        None
    }

    /// The peer sends with this one now: all older ones drain.
    pub(super) fn peer_moved_to(&mut self, spi: Spi, now: Micros) {
        let Some(position) = self.position(spi) else { return };
        self.in_use = Some(spi);
        for entry in &mut self.entries[..position] {
            if entry.stage == Stage::Live {
                entry.stage = Stage::Draining(now + DRAIN);
            }
        }
    }

    /// Removes one that the peer can't be sending with.
    pub(super) fn remove(&mut self, spi: Spi) -> Option<Dropped> {
        let entry = self.entries.remove(self.position(spi)?);
        Some(match entry.stage {
            Stage::Reserved => Dropped::Release(spi),
            Stage::Installing | Stage::Live | Stage::Draining(_) => Dropped::Retire(spi),
        })
    }

    /// Removes what has drained by now.
    pub(super) fn drained(&mut self, now: Micros) -> Vec<Dropped> {
        let done = |e: &Entry| matches!(e.stage, Stage::Draining(until) if until <= now);
        let drained = self.entries.iter().filter(|e| done(e)).map(|e| Dropped::Retire(e.spi));
        let drained = drained.collect();
        self.entries.retain(|e| !done(e));
        drained
    }

    /// Removes everything: the path is gone.
    pub(super) fn clear(&mut self) -> Vec<Dropped> {
        let all: Vec<Spi> = self.entries.iter().map(|e| e.spi).collect();
        all.into_iter().filter_map(|spi| self.remove(spi)).collect()
    }

    /// When the next one has drained.
    pub(super) fn next_deadline(&self) -> Option<Micros> {
        self.entries
            .iter()
            .filter_map(|e| match e.stage {
                Stage::Draining(until) => Some(until),
                _ => None,
            })
            .min()
    }

    /// Makes room for one more if it can. Where connections came and went without ever finishing, the oldest of the
    /// unfinished goes: the peer, if it sends with any of them, has long moved to a newer one.
    pub(super) fn make_room(&mut self) -> Result<Option<Dropped>, Full> {
        if self.entries.len() < MAX_INBOUND {
            return Ok(None);
        }
        if self.next_deadline().is_some() {
            return Err(Full);
        }
        let used = self.in_use.and_then(|spi| self.position(spi));
        let oldest = self.entries.iter().enumerate().find_map(|(index, entry)| {
            (entry.stage == Stage::Live && Some(index) > used).then_some(entry.spi)
        });
        oldest.and_then(|spi| self.remove(spi)).map(Some).ok_or(Full)
    }

    fn position(&self, spi: Spi) -> Option<usize> {
        self.entries.iter().position(|e| e.spi == spi)
    }

    fn set(&mut self, spi: Spi, stage: Stage) {
        if let Some(entry) = self.entries.iter_mut().find(|e| e.spi == spi) {
            entry.stage = stage;
        }
    }
}

/// No room, until something has drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;
