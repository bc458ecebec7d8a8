//! Delay variation of each way by the four timestamps of neighbouring probes.

use super::Ipdv;
use crate::stamp::{Timestamp, TimestampFormat};
use crate::time::Micros;

/// The newest answer's times.
#[derive(Debug, Default)]
pub(super) struct Variation {
    newest: Option<Times>,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    sequence: u64,
    sent: Micros,
    received: Micros,
    at_reflector: AtReflector,
}

/// By the reflector's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct AtReflector {
    pub(super) received: Timestamp,
    pub(super) sent: Timestamp,
    pub(super) format: TimestampFormat,
}

impl Variation {
    /// Against the answer before. One that is not newer, or of a reflector that takes no time, tells nothing.
    pub(super) fn step(
        &mut self,
        sequence: u64,
        sent: Micros,
        received: Micros,
        at_reflector: &AtReflector,
    ) -> Option<Ipdv> {
        let times = Times { sequence, sent, received, at_reflector: *at_reflector };
        if self.newest.is_some_and(|newest| newest.sequence >= sequence) {
            return None;
        }
        let before = self.newest.replace(times)?;
        let (format, earlier) = (at_reflector.format, before.at_reflector);
        let between = |later: Micros, earlier: Micros| later.since(earlier).as_micros() as i64;
        let arrived = at_reflector.received.micros_since(earlier.received, format);
        let left = at_reflector.sent.micros_since(earlier.sent, format);
        // A reflector whose clock stands still, or jumps, is no witness.
        let sane = |step: i64| (1..=MAX_STEP_US).contains(&step);
        if !sane(arrived) || !sane(left) {
            return None;
        }
        let absolute = |us: i64| us.unsigned_abs().min(u64::from(u32::MAX)) as u32;
        Some(Ipdv {
            forward_us: absolute(arrived - between(sent, before.sent)),
            back_us: absolute(between(received, before.received) - left),
        })
    }
}

/// Answers that are farther apart are no neighbours.
const MAX_STEP_US: i64 = 60_000_000;
