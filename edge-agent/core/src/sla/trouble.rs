//! When losses began, for people: no verdict hangs on it.

use crate::policy;
use crate::time::Micros;

/// Losses with no long peace between them.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// When the first lost packet was sent, and the newest loss was known.
    losses: Option<(Micros, Micros)>,
}

impl Trouble {
    pub(super) fn lost(&mut self, sent: Micros, known: Micros) {
        let first = self.since(known).unwrap_or(sent);
        self.losses = Some((first, known));
    }

    /// `None`: peace.
    pub(super) fn since(&self, now: Micros) -> Option<Micros> {
        let (first, newest) = self.losses?;
        (now.since(newest) < policy::LOSS_MENDED_TIME).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_begins_with_its_first_loss_and_ends_with_a_long_peace() {
        let at = |ms: u64| Micros(ms * 1_000);
        let peace = policy::LOSS_MENDED_TIME.as_millis() as u64;
        let mut trouble = Trouble::default();
        assert_eq!(trouble.since(at(0)), None);
        trouble.lost(at(100), at(180));
        trouble.lost(at(5_000), at(5_080));
        assert_eq!(trouble.since(at(5_080)), Some(at(100)));
        assert_eq!(trouble.since(at(5_080 + peace)), None);
        trouble.lost(at(60_000), at(60_080));
        assert_eq!(trouble.since(at(60_080)), Some(at(60_000)));
    }
}
