//! Where a path's peer is: its endpoint moves only after a challenge that the new address answered.
//!
//! An attacker can copy an authentic packet and be faster than the original, so that it comes from the attacker's address
//! with the newest sequence number. It can't answer for the peer: the challenge goes to the new address inside the path, and
//! the answer must come from there.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use crate::bucket::TokenBucket;
use crate::policy;
use crate::time::Micros;

/// One path's remote endpoint.
#[derive(Debug)]
pub struct EndpointTracker {
    current: Option<SocketAddr>,
    pending: Vec<Pending>,
    budget: TokenBucket,
    counters: EndpointCounters,
}

#[derive(Debug)]
struct Pending {
    to: SocketAddr,
    octets: [u8; 8],
    issued: Micros,
    last_sent: Micros,
}

/// To be sent to `to`, not to the path's endpoint: see [`ProbeSession::challenge`](crate::probe::ProbeSession::challenge).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    pub to: SocketAddr,
    pub octets: [u8; 8],
}

/// The path's packets go there from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointChanged {
    pub from: Option<SocketAddr>,
    pub to: SocketAddr,
}

/// Why an answer moved nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    #[error("this address was not challenged, or too long ago")]
    NotChallenged,
    #[error("the answer is not what the address was asked")]
    WrongAnswer,
    #[error("the answer came too late")]
    TooLate,
}

impl Refusal {
    /// Stable, for counters.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::NotChallenged => "endpoint_not_challenged",
            Refusal::WrongAnswer => "endpoint_wrong_answer",
            Refusal::TooLate => "endpoint_too_late",
        }
    }
}

/// Packets and answers by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointCounters {
    /// From elsewhere, but not the newest: reordered, or a copy.
    pub not_newest: u64,
    /// From elsewhere, while a challenge to there is on its way.
    pub awaiting_answer: u64,
    /// From elsewhere, but too many addresses are under challenge.
    pub table_full: u64,
    /// From elsewhere, but too many challenges were sent lately.
    pub rate_limited: u64,
    pub challenged: u64,
    pub moved: u64,
    pub not_challenged: u64,
    pub wrong_answer: u64,
    pub too_late: u64,
}

impl EndpointTracker {
    /// `current`: from the configuration or the controller's facts, if it is known.
    pub fn new(current: Option<SocketAddr>, now: Micros) -> Self {
        EndpointTracker {
            current,
            pending: Vec::with_capacity(policy::CHALLENGES_MAX),
            budget: TokenBucket::per_second(
                policy::CHALLENGES_PER_S,
                policy::CHALLENGES_PER_S,
                now,
            ),
            counters: EndpointCounters::default(),
        }
    }

    /// Where the path's packets go.
    pub fn current(&self) -> Option<SocketAddr> {
        self.current
    }

    /// From a trusted source: the configuration, the controller, the peer over its authenticated connection.
    pub fn set_current(&mut self, endpoint: Option<SocketAddr>) {
        self.current = endpoint;
        self.pending.retain(|p| Some(p.to) != endpoint);
    }

    /// An authenticated packet came from `from`; `newest`: above all sequence numbers accepted before on its SA.
    /// `random` is asked for eight octets only when a challenge is issued.
    pub fn handle_packet(
        &mut self,
        from: SocketAddr,
        newest: bool,
        now: Micros,
        random: impl FnOnce() -> [u8; 8],
    ) -> Option<Challenge> {
        if self.current == Some(from) {
            return None;
        }
        if !newest {
            self.counters.not_newest += 1;
            return None;
        }
        self.pending.retain(|p| now.since(p.issued) < policy::CHALLENGE_TIME);
        let known = self.pending.iter().position(|p| p.to == from);
        if let Some(index) = known
            && now.since(self.pending[index].last_sent) < policy::CHALLENGE_RETRY
        {
            self.counters.awaiting_answer += 1;
            return None;
        }
        if known.is_none() && self.pending.len() == policy::CHALLENGES_MAX {
            self.counters.table_full += 1;
            return None;
        }
        if !self.budget.take(now) {
            self.counters.rate_limited += 1;
            return None;
        }
        self.counters.challenged += 1;
        let octets = match known {
            Some(index) => {
                self.pending[index].last_sent = now;
                self.pending[index].octets
            }
            None => {
                let octets = random();
                self.pending.push(Pending { to: from, octets, issued: now, last_sent: now });
                octets
            }
        };
        Some(Challenge { to: from, octets })
    }

    /// A challenge's echo came, authenticated, from `from`.
    pub fn handle_answer(
        &mut self,
        from: SocketAddr,
        octets: [u8; 8],
        now: Micros,
    ) -> Result<EndpointChanged, Refusal> {
        let result = self.check_answer(from, octets, now);
        match result {
            Ok(_) => self.counters.moved += 1,
            Err(Refusal::NotChallenged) => self.counters.not_challenged += 1,
            Err(Refusal::WrongAnswer) => self.counters.wrong_answer += 1,
            Err(Refusal::TooLate) => self.counters.too_late += 1,
        }
        result
    }

    /// Since the start.
    pub fn counters(&self) -> EndpointCounters {
        self.counters
    }

    fn check_answer(
        &mut self,
        from: SocketAddr,
        octets: [u8; 8],
        now: Micros,
    ) -> Result<EndpointChanged, Refusal> {
        let index = self.pending.iter().position(|p| p.to == from).ok_or(Refusal::NotChallenged)?;
        let pending = &self.pending[index];
        if now.since(pending.issued) >= policy::CHALLENGE_TIME {
            self.pending.swap_remove(index);
            return Err(Refusal::TooLate);
        }
        // No early exit: how long it takes must not tell how much was right.
        let difference = pending.octets.iter().zip(octets).fold(0, |d, (a, b)| d | (a ^ b));
        if difference != 0 {
            return Err(Refusal::WrongAnswer);
        }
        let changed = EndpointChanged { from: self.current, to: from };
        self.current = Some(from);
        // A move settles the others: they must be seen again to be asked again.
        self.pending.clear();
        Ok(changed)
    }
}
