//! Whether a thread that has caught up looks again for a moment before it sleeps.
//!
//! To sleep and be woken costs two switches, and on a virtual machine an exit to its host: several microseconds of both
//! CPUs, while the next burst of a busy path is often only microseconds away. So a thread looks again, giving its CPU to
//! whoever wants it between two looks, as long as that pays, and not at all on a quiet path.

use std::thread;
use std::time::{Duration, Instant};

/// How long a thread looks again: about what it costs to be woken. Longer gave nothing more.
const LINGER: Duration = Duration::from_micros(20);

/// Times in a row that nothing came meanwhile, until it is given up.
const MISSES: u32 = 4;

/// Of one thread.
#[derive(Debug)]
pub(super) struct Linger {
    /// It has found nothing since then.
    since: Option<Instant>,
    misses: u32,
}

impl Linger {
    /// Sleeps at once, until something is seen to come right after the last.
    pub(super) fn new() -> Self {
        Linger { since: None, misses: MISSES }
    }

    /// The thread found something. The clock is read only after it had found nothing.
    pub(super) fn found(&mut self, now: impl FnOnce() -> Instant) {
        if let Some(since) = self.since.take()
            && now().duration_since(since) <= LINGER
        {
            self.misses = 0;
        }
    }

    /// The thread found nothing. True: it looks again, having let others go before it. False: it sleeps.
    pub(super) fn again(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let may = self.misses < MISSES;
        if may && now.duration_since(since) > LINGER {
            self.misses += 1;
            return false;
        }
        if may {
            thread::yield_now();
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_micros(5);

    /// How often it looks again from `now` until it sleeps.
    fn looks(linger: &mut Linger, now: &mut Instant) -> u32 {
        let mut looks = 0;
        while linger.again(*now) {
            *now += STEP;
            looks += 1;
        }
        looks
    }

    #[test]
    fn lingers_only_once_something_came_right_after_the_last_and_no_longer_than_told() {
        let (mut linger, mut now) = (Linger::new(), Instant::now());
        assert_eq!(looks(&mut linger, &mut now), 0, "it has seen nothing yet");
        linger.found(|| now + Duration::from_millis(1));
        assert_eq!(looks(&mut linger, &mut now), 0, "what came was late");
        linger.found(|| now + STEP);
        assert_eq!(looks(&mut linger, &mut now), 5, "0, 5, 10, 15 and 20 us");
    }

    #[test]
    fn gives_up_after_a_few_misses_until_it_would_pay_again() {
        let (mut linger, mut now) = (Linger::new(), Instant::now());
        assert!(!linger.again(now));
        linger.found(|| now + STEP);
        for miss in 0..MISSES {
            assert!(looks(&mut linger, &mut now) > 0, "miss {miss}");
            now += Duration::from_millis(1);
            linger.found(|| now);
        }
        assert_eq!(looks(&mut linger, &mut now), 0);
        linger.found(|| now);
        assert!(looks(&mut linger, &mut now) > 0);
    }

    #[test]
    fn the_clock_is_read_only_after_it_had_found_nothing() {
        Linger::new().found(|| unreachable!("nothing was missed"));
    }
}
