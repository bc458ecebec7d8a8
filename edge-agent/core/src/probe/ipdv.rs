//! Delay variation of each way by the four timestamps of neighbouring probes.

use super::Ipdv;
use crate::stamp::{ReflectorPacket, Timestamp};
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
    reflector_received: Timestamp,
    reflector_sent: Timestamp,
    received: Micros,
}

impl Variation {
    /// Against the answer before. One that is not newer, or of a reflector that takes no time, tells nothing.
    pub(super) fn step(
        &mut self,
        sequence: u64,
        sent: Micros,
        received: Micros,
        reply: &ReflectorPacket,
    ) -> Option<Ipdv> {
        let (reflector_received, reflector_sent) = (reply.received, reply.timestamp);
        let times = Times { sequence, sent, reflector_received, reflector_sent, received };
        if self.newest.is_some_and(|newest| newest.sequence >= sequence) {
            return None;
        }
        let before = self.newest.replace(times)?;
        let format = reply.error.format();
        let between = |later: Micros, earlier: Micros| later.since(earlier).as_micros() as i64;
        let at_reflector = reflector_received.micros_since(before.reflector_received, format);
        let left_reflector = reflector_sent.micros_since(before.reflector_sent, format);
        // A reflector whose clock stands still, or jumps, is no witness.
        let sane = |step: i64| (1..=MAX_STEP_US).contains(&step);
        if !sane(at_reflector) || !sane(left_reflector) {
            return None;
        }
        let absolute = |us: i64| us.unsigned_abs().min(u64::from(u32::MAX)) as u32;
        Some(Ipdv {
            forward_us: absolute(at_reflector - between(sent, before.sent)),
            back_us: absolute(between(received, before.received) - left_reflector),
        })
    }
}

/// Answers that are farther apart are no neighbours.
const MAX_STEP_US: i64 = 60_000_000;
