//! What the sequence numbers of real traffic tell of loss: the difference of two digests.

use crate::policy;
use crate::stamp::DigestEntry;

/// Counters as last told.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    last: Option<(u32, u32)>,
    /// Packets that were expected and not received, not yet weighed; below 0 after late ones came.
    owed: i64,
}

/// Packets since the last digest, scaled down to what may be weighed at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub(super) arrived: f64,
    pub(super) lost: f64,
}

impl Traffic {
    /// What a digest adds. The first one, and one of counters that started again, add nothing.
    pub(super) fn step(&mut self, entry: &DigestEntry) -> Option<Step> {
        let now = (entry.esp_expected, entry.esp_received);
        let (expected, received) = self.last.replace(now)?;
        let expected = now.0.wrapping_sub(expected);
        let received = now.1.wrapping_sub(received);
        if expected > policy::TRAFFIC_STEP_MAX || received > policy::TRAFFIC_STEP_MAX {
            // Counters that started again, or a digest that overtook another.
            self.owed = 0;
            return None;
        }
        self.owed += i64::from(expected) - i64::from(received);
        let lost = self.owed.clamp(0, expected.into());
        self.owed -= lost;
        self.owed = self.owed.max(-i64::from(policy::TRAFFIC_STEP_MAX));
        if expected == 0 {
            return None;
        }
        // A queue that overflows loses packets in rows: a thousand packets in a tenth of a second are not a thousand witnesses.
        let scale = (f64::from(policy::TRAFFIC_WITNESSES) / f64::from(expected)).min(1.0);
        let (lost, expected) = (lost as f64, f64::from(expected));
        Some(Step { arrived: (expected - lost) * scale, lost: lost * scale })
    }
}
