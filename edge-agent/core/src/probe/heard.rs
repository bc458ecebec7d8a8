//! What comes of the peer's probes: the receiver's view of the way back, and the source of our digest.

use std::collections::VecDeque;

use crate::id::PathId;
use crate::policy;
use crate::stamp::DigestEntry;
use crate::time::Micros;

#[derive(Debug, Default)]
pub(super) struct Heard {
    session: Option<u16>,
    newest: u64,
    last: Option<Micros>,
    /// Sequence numbers of the window, in order of arrival.
    recent: VecDeque<(u64, Micros)>,
    /// The least of them; kept, for a digest is asked for at every probe of every path of the tunnel.
    oldest: Option<u64>,
    /// The reflector's own count.
    reflected: u32,
}

impl Heard {
    /// A request came. `false`: a duplicate.
    pub(super) fn request(&mut self, session: u16, sequence: u32, now: Micros) -> bool {
        if self.session != Some(session) {
            *self = Heard { session: Some(session), ..Heard::default() };
        }
        let ahead = sequence.wrapping_sub(self.newest as u32) as i32;
        let extended = match self.last {
            None => u64::from(sequence),
            Some(_) => self.newest.saturating_add_signed(ahead.into()),
        };
        if self.last.is_some() && self.newest.abs_diff(extended) > policy::REORDER_MAX {
            // Not a gap that loss makes: what was heard before tells nothing any more.
            self.recent.clear();
            self.oldest = None;
        } else if extended <= self.newest && self.recent.iter().any(|&(s, _)| s == extended) {
            return false;
        }
        if self.recent.len() == policy::HEARD_MAX {
            self.drop_front();
        }
        self.recent.push_back((extended, now));
        self.oldest = Some(self.oldest.map_or(extended, |oldest| oldest.min(extended)));
        if self.recent.len() == 1 || extended > self.newest {
            self.newest = extended;
            self.last = Some(now);
        }
        self.forget(now);
        true
    }

    /// The number of the next reply (RFC 8762 section 4.3).
    pub(super) fn next_reflected(&mut self) -> u32 {
        let number = self.reflected;
        self.reflected = self.reflected.wrapping_add(1);
        number
    }

    pub(super) fn digest(&mut self, path: PathId, now: Micros) -> DigestEntry {
        self.forget(now);
        let received = self.recent.len() as u64;
        let oldest = self.oldest.unwrap_or(self.newest);
        let expected = (self.newest - oldest.min(self.newest) + 1).max(1);
        let lost = expected.saturating_sub(received);
        let loss_ppm = if received == 0 { 0 } else { (lost * 1_000_000 / expected) as u32 };
        let age_ms = self.last.map_or(u32::MAX, |last| {
            now.since(last).as_millis().min(u128::from(u32::MAX) - 1) as u32
        });
        DigestEntry {
            path,
            newest_sequence: self.newest as u32,
            received: received.min(u64::from(u16::MAX)) as u16,
            loss_ppm,
            age_ms,
            // What traffic tells is the data plane's to add.
            ..DigestEntry::default()
        }
    }

    fn forget(&mut self, now: Micros) {
        while self.recent.front().is_some_and(|&(_, at)| now.since(at) > policy::HEARD_WINDOW) {
            self.drop_front();
        }
    }

    fn drop_front(&mut self) {
        let gone = self.recent.pop_front().map(|(sequence, _)| sequence);
        if gone == self.oldest {
            // They come nearly in order: the next ones are the least.
            self.oldest = self.recent.iter().map(|&(sequence, _)| sequence).min();
        }
    }
}
