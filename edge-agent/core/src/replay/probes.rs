//! The recorded probes of one uplink as the agent would have come to know them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::probe::{Estimator, Outcome, Sample, Settled, Way};
use crate::time::Micros;

/// A probe is known to be lost after this time at the latest.
const LOST_AFTER: Duration = Duration::from_millis(600);
/// What a running agent would know of an access link before the recording says better.
const USUAL_RTT: Duration = Duration::from_millis(50);
/// A reply that is slower than this is never waited for.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Sent {
    sequence: u64,
    at: Micros,
    /// When its reply comes.
    reply: Option<Micros>,
    counted_lost: bool,
}

impl Sent {
    fn sample(&self, known: Micros, outcome: Outcome) -> Sample {
        let (sequence, sent) = (self.sequence, self.at);
        Sample { sequence, sent, known, outcome, settled: Settled::default(), ipdv: None }
    }
}

/// Probes that were sent and whose fate is open.
#[derive(Debug)]
pub(super) struct Probes {
    estimator: Estimator,
    open: VecDeque<Sent>,
    next: u64,
}

impl Default for Probes {
    fn default() -> Self {
        Probes { estimator: Estimator::seeded(USUAL_RTT), open: VecDeque::new(), next: 0 }
    }
}

impl Probes {
    /// A probe leaves now.
    pub(super) fn send(&mut self, rtt: Option<Duration>, now: Micros) {
        let (sequence, reply) = (self.next, rtt.map(|rtt| now + rtt));
        self.next += 1;
        self.open.push_back(Sent { sequence, at: now, reply, counted_lost: false });
    }

    /// What is known at a row: first the replies that came since the row before, then what is overdue. The agent, too,
    /// takes in what has been received before it counts a loss.
    pub(super) fn poll(&mut self, now: Micros) -> Vec<Sample> {
        let mut samples = Vec::new();
        let reply_by = |sent: &Sent| sent.reply.filter(|&at| at <= now);
        let mut replied: Vec<(Micros, usize)> = Vec::new();
        for (index, sent) in self.open.iter().enumerate() {
            replied.extend(reply_by(sent).map(|at| (at, index)));
        }
        replied.sort();
        let way = Some(Way::Forward);
        for (known, index) in replied {
            let sent = &self.open[index];
            let rtt = known.since(sent.at);
            let late = sent.counted_lost;
            let outcome = if late { Outcome::Late { rtt, was: way } } else { Outcome::Rtt { rtt } };
            samples.push(sent.sample(known, outcome));
            self.estimator.update(rtt);
        }
        self.open.retain(|sent| reply_by(sent).is_none() && now.since(sent.at) <= FORGOTTEN_AFTER);
        let timeout = self.timeout();
        for sent in self.open.iter_mut().filter(|s| !s.counted_lost && s.at + timeout <= now) {
            sent.counted_lost = true;
            samples.push(sent.sample(now, Outcome::Lost { way }));
        }
        samples
    }

    fn timeout(&self) -> Duration {
        self.estimator.timeout().min(LOST_AFTER)
    }
}
