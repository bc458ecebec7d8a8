//! The peer's word on its own end of a path: its uplink has lost carrier.

use std::time::Duration;

use hawser_edge_core::policy;
use hawser_edge_core::time::Micros;

/// Digests come over paths of unlike delay. One that does not say "dead" may have been sent before one that did; once
/// nothing says it for this long, it was sent after.
const REORDERED: Duration = Duration::from_millis(500);

/// Whether nothing that is sent on the path arrives, by the peer's own word.
#[derive(Debug, Clone, Default)]
pub struct PeerWord {
    /// When it last said so.
    dead: Option<Micros>,
}

impl PeerWord {
    /// A digest's entry came.
    pub fn hear(&mut self, dead: bool, now: Micros) {
        if dead {
            self.dead = Some(now);
        } else if self.dead.is_some_and(|said| now.since(said) >= REORDERED) {
            self.dead = None;
        }
    }

    /// A word that is not repeated is forgotten.
    pub fn handle_time(&mut self, now: Micros) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.dead = None;
        }
    }

    pub fn is_dead(&self) -> bool {
        self.dead.is_some()
    }

    /// For [`handle_time`](Self::handle_time).
    pub fn deadline(&self) -> Option<Micros> {
        self.dead.map(|said| said + policy::DIGEST_FRESH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Micros {
        Micros(ms * 1_000)
    }

    #[test]
    fn an_older_digest_does_not_revive_what_a_newer_one_called_dead() {
        let mut word = PeerWord::default();
        word.hear(false, ms(0));
        assert!(!word.is_dead() && word.deadline().is_none());
        word.hear(true, ms(100));
        // From a slow path, sent before.
        word.hear(false, ms(250));
        assert!(word.is_dead());
        word.hear(true, ms(300));
        word.hear(false, ms(799));
        assert!(word.is_dead());
        word.hear(false, ms(800));
        assert!(!word.is_dead());
    }

    #[test]
    fn a_word_that_is_not_repeated_is_forgotten() {
        let mut word = PeerWord::default();
        word.hear(true, ms(100));
        let forgotten = word.deadline().expect("a deadline");
        word.handle_time(Micros(forgotten.0 - 1));
        assert!(word.is_dead());
        word.handle_time(forgotten);
        assert!(!word.is_dead() && word.deadline().is_none());
    }
}
