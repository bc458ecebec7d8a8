//! A token bucket on the caller's clock.

use std::time::Duration;

use crate::time::Micros;

/// Whole tokens, refilled one at a time.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    capacity: u32,
    refill: Duration,
    tokens: u32,
    refilled: Micros,
}

impl TokenBucket {
    /// Full at `now`. One token comes back each `refill`, which is not zero.
    pub fn new(capacity: u32, refill: Duration, now: Micros) -> Self {
        TokenBucket {
            capacity,
            refill: refill.max(Duration::from_micros(1)),
            tokens: capacity,
            refilled: now,
        }
    }

    /// `per_s` tokens a second (at least one), `capacity` at once.
    pub fn per_second(capacity: u32, per_s: u32, now: Micros) -> Self {
        TokenBucket::new(capacity, Duration::from_secs(1) / per_s.max(1), now)
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Micros) -> bool {
        self.advance(now);
        if self.tokens == 0 {
            return false;
        }
        self.tokens -= 1;
        true
    }

    /// Whole tokens left.
    pub fn left(&self, now: Micros) -> u32 {
        let mut bucket = self.clone();
        bucket.advance(now);
        bucket.tokens
    }

    /// When the next token is there; `now` if one is.
    pub fn next_token(&self, now: Micros) -> Micros {
        if self.left(now) > 0 {
            return now;
        }
        (self.refilled + self.refill).max(now)
    }

    fn advance(&mut self, now: Micros) {
        let earned = now.since(self.refilled).as_micros() / self.refill.as_micros();
        let room = u128::from(self.capacity - self.tokens);
        if earned >= room {
            // What overflows is lost, and a full bucket starts its next interval when it is first used.
            self.tokens = self.capacity;
            self.refilled = self.refilled.max(now);
        } else {
            self.tokens += earned as u32;
            self.refilled = self.refilled + self.refill * earned as u32;
        }
    }
}
