//! The session itself.

use std::collections::VecDeque;
use std::time::Duration;

use super::heard::Heard;
use super::ipdv::Variation;
use super::pace::{Estimator, Pace};
use super::window::{Match, Window};
use super::{
    Cadence, Intervals, Ipdv, Outcome, Probe, ProbeConfig, ProbeCounters, Refused, Reply,
    ReplyKind, Request, Sample, Settled,
};
use crate::bucket::TokenBucket;
use crate::policy;
use crate::stamp::{
    self, DigestEntry, ErrorEstimate, Kind, ProbePacket, Reflected, ReflectorPacket, SenderPacket,
    Timestamp, TimestampFormat,
};
use crate::time::Micros;

/// Session identifiers with this bit belong to challenges, which are not measured.
const CHALLENGE_SSID: u16 = 0x8000;
const FORMAT: TimestampFormat = TimestampFormat::Ntp;

/// One path's probes, both ways.
#[derive(Debug)]
pub struct ProbeSession {
    config: ProbeConfig,
    ssid: u16,
    pace: Pace,
    estimator: Estimator,
    window: Window,
    heard: Heard,
    replies: TokenBucket,
    samples: VecDeque<Sample>,
    counters: ProbeCounters,
    variation: Variation,
    challenges: u32,
    /// No probe is counted lost before: replies may wait unread after a stall of this host.
    expire_from: Micros,
    /// When the probe was sent that got such a grace.
    graced: Option<Micros>,
}

impl ProbeSession {
    /// The first probe leaves at a random phase of the interval.
    pub fn new(config: ProbeConfig, now: Micros) -> Self {
        ProbeSession {
            // Zero means "no SSID" to reflectors of RFC 8762 alone.
            ssid: (((config.seed >> 48) as u16) & !CHALLENGE_SSID).max(1),
            pace: Pace::new(config.intervals, config.cadence, config.seed & (u64::MAX >> 16), now),
            estimator: Estimator::default(),
            window: Window::default(),
            heard: Heard::default(),
            replies: TokenBucket::per_second(policy::REFLECT_BURST, policy::REFLECT_PER_S, now),
            samples: VecDeque::new(),
            counters: ProbeCounters::default(),
            variation: Variation::default(),
            challenges: 0,
            expire_from: Micros(0),
            graced: None,
            config,
        }
    }

    /// From now on; the next probe is not later than one interval from now.
    pub fn set_cadence(&mut self, cadence: Cadence, now: Micros) {
        if cadence != self.pace.cadence() {
            self.pace.set(self.config.intervals, cadence, now);
        }
    }

    /// New intervals of a changed profile.
    pub fn set_intervals(&mut self, intervals: Intervals, now: Micros) {
        self.config.intervals = intervals;
        self.pace.set(intervals, self.pace.cadence(), now);
    }

    /// Evidence from elsewhere (carrier, ICMP, gaps in traffic): probe fast for a moment.
    pub fn suspect(&mut self, now: Micros) {
        self.pace.suspect(now);
    }

    /// When [`poll_transmit`](Self::poll_transmit) has something to do.
    pub fn next_deadline(&mut self) -> Micros {
        let timeout = self.estimator.timeout();
        match self.window.oldest_waiting() {
            Some(sent) => self.pace.next().min((sent + timeout).max(self.expire_from)),
            None => self.pace.next(),
        }
    }

    /// Counts losses, and gives a probe if one is due. `digest` is what this edge receives on the tunnel's paths. Hand in
    /// what has been received first.
    pub fn poll_transmit(&mut self, now: Micros, digest: &[DigestEntry]) -> Option<Probe> {
        self.expire(now);
        if now < self.pace.next() {
            return None;
        }
        self.pace.sent(now);
        let timestamp = self.timestamp(now);
        let sequence = self.window.push(now, timestamp);
        let packet = SenderPacket {
            sequence: sequence as u32,
            timestamp,
            error: ErrorEstimate::unsynchronised(FORMAT),
            ssid: self.ssid,
            digest: digest.to_vec(),
            challenge: None,
        };
        let inner = self.encapsulate(Kind::Request, &packet.encode(self.config.least_bytes));
        self.counters.sent += 1;
        self.counters.sent_bytes += inner.len() as u64;
        Some(Probe { sequence, inner })
    }

    /// The next sample, oldest first.
    pub fn poll_sample(&mut self) -> Option<Sample> {
        self.samples.pop_front()
    }

    /// An inner packet that asks the peer to echo `octets`; to be sent to the address in question.
    pub fn challenge(&mut self, octets: [u8; 8], now: Micros) -> Vec<u8> {
        self.challenges = self.challenges.wrapping_add(1);
        let packet = SenderPacket {
            sequence: self.challenges,
            timestamp: self.timestamp(now),
            error: ErrorEstimate::unsynchronised(FORMAT),
            ssid: self.ssid | CHALLENGE_SSID,
            digest: Vec::new(),
            challenge: Some(octets),
        };
        self.encapsulate(Kind::Request, &packet.encode(0))
    }

    /// Reflects a request that was read from the socket at `received`.
    pub fn handle_request(
        &mut self,
        packet: &ProbePacket<'_>,
        received: Micros,
        now: Micros,
        digest: &[DigestEntry],
    ) -> Result<Request, Refused> {
        let result = self.reflect(packet, received, now, digest);
        match result {
            Ok(_) => self.counters.reflected += 1,
            Err(_) => self.counters.refused += 1,
        }
        result
    }

    /// Matches a reply that was read from the socket at `received`.
    pub fn handle_reply(
        &mut self,
        packet: &ProbePacket<'_>,
        received: Micros,
    ) -> Result<Reply, Refused> {
        let result = self.take_reply(packet, received);
        if result.is_err() {
            self.counters.refused += 1;
        }
        result
    }

    /// What this end receives of the peer's probes on this path: an entry of the digest.
    pub fn heard(&mut self, now: Micros) -> DigestEntry {
        self.heard.digest(self.config.path, now)
    }

    /// How long a probe is waited for at present.
    pub fn timeout(&self) -> Duration {
        self.estimator.timeout()
    }

    /// Time between probes at present, suspicion aside.
    pub fn interval(&self) -> Duration {
        self.pace.interval()
    }

    /// Since the start.
    pub fn counters(&self) -> ProbeCounters {
        self.counters
    }

    /// Counts from there, as after a long life.
    #[cfg(test)]
    pub(super) fn start_at(&mut self, sequence: u64) {
        self.window = Window::starting_at(sequence);
    }

    fn reflect(
        &mut self,
        packet: &ProbePacket<'_>,
        received: Micros,
        now: Micros,
        digest: &[DigestEntry],
    ) -> Result<Request, Refused> {
        self.check(packet, Kind::Request)?;
        let request = SenderPacket::decode(packet.stamp)?;
        let challenge = request.ssid & CHALLENGE_SSID != 0;
        if !challenge && !self.heard.request(request.ssid, request.sequence, received) {
            return Err(Refused::Duplicate);
        }
        if !self.replies.take(now) {
            return Err(Refused::RateLimited);
        }
        let ours = Reflected {
            sequence: (!challenge).then(|| self.heard.next_reflected()),
            received: self.timestamp(received),
            timestamp: self.timestamp(now),
            error: ErrorEstimate::unsynchronised(FORMAT),
            digest,
        };
        let reply = stamp::reflect(packet.stamp, packet.hop_limit, &ours)?;
        Ok(Request {
            reply: self.encapsulate(Kind::Reply, &reply),
            peer_digest: request.digest,
            challenge,
        })
    }

    fn take_reply(&mut self, packet: &ProbePacket<'_>, received: Micros) -> Result<Reply, Refused> {
        self.check(packet, Kind::Reply)?;
        let reply = ReflectorPacket::decode(packet.stamp)?;
        if reply.ssid == self.ssid | CHALLENGE_SSID {
            let octets = reply.challenge.ok_or(Refused::Foreign)?;
            let kind = ReplyKind::Challenge { octets };
            return Ok(Reply { kind, peer_digest: reply.digest });
        }
        // A reflector of RFC 8762 alone leaves zeros in place of the SSID.
        if reply.ssid != self.ssid && reply.ssid != 0 {
            return Err(Refused::Foreign);
        }
        let found =
            self.window.answer(reply.sender_sequence, reply.sender_timestamp, reply.sequence);
        let kind = match found {
            Match::Unknown => return Err(Refused::Unknown),
            Match::Foreign => return Err(Refused::Foreign),
            Match::Duplicate => {
                self.counters.duplicate += 1;
                ReplyKind::Duplicate
            }
            Match::Answer { sequence, sent, settled } => {
                let rtt = round_trip(&reply, sent, received);
                self.counters.answered += 1;
                self.estimator.update(rtt);
                let ipdv = self.variation.step(sequence, sent, received, &reply);
                self.sample(sequence, sent, received, Outcome::Rtt { rtt }, settled, ipdv);
                ReplyKind::Answer { rtt }
            }
            Match::Late { sequence, sent, was, settled } => {
                let rtt = round_trip(&reply, sent, received);
                self.counters.late += 1;
                self.estimator.update(rtt);
                let ipdv = self.variation.step(sequence, sent, received, &reply);
                self.sample(sequence, sent, received, Outcome::Late { rtt, was }, settled, ipdv);
                ReplyKind::Late { rtt }
            }
        };
        Ok(Reply { kind, peer_digest: reply.digest })
    }

    fn expire(&mut self, now: Micros) {
        let timeout = self.estimator.timeout();
        let Some(sent) = self.window.oldest_waiting() else { return };
        let due = (sent + timeout).max(self.expire_from);
        if now < due {
            return;
        }
        if now.since(due) >= policy::HOST_STALL && self.graced != Some(sent) {
            // Once for each probe that is late, so that a slow caller still counts losses.
            self.graced = Some(sent);
            self.expire_from = now + policy::HOST_STALL_GRACE;
            return;
        }
        while let Some((sequence, sent, way)) = self.window.expire(timeout, now) {
            self.counters.lost += 1;
            self.sample(sequence, sent, now, Outcome::Lost { way }, Settled::default(), None);
            if self.window.run() <= policy::SUSPICION_MAX_RUN {
                self.pace.suspect(now);
            } else {
                self.pace.calm();
            }
        }
    }

    fn sample(
        &mut self,
        sequence: u64,
        sent: Micros,
        known: Micros,
        outcome: Outcome,
        settled: Settled,
        ipdv: Option<Ipdv>,
    ) {
        if self.samples.len() == policy::SAMPLE_QUEUE_MAX {
            self.samples.pop_front();
            self.counters.samples_dropped += 1;
        }
        self.samples.push_back(Sample { sequence, sent, known, outcome, settled, ipdv });
    }

    fn check(&self, packet: &ProbePacket<'_>, kind: Kind) -> Result<(), Refused> {
        if packet.kind != kind {
            return Err(Refused::WrongKind);
        }
        if packet.source != self.config.peer || packet.destination != self.config.local {
            return Err(Refused::WrongEdge(packet.source));
        }
        Ok(())
    }

    fn encapsulate(&self, kind: Kind, stamp: &[u8]) -> Vec<u8> {
        stamp::encapsulate(self.config.local, self.config.peer, kind, stamp)
    }

    fn timestamp(&self, at: Micros) -> Timestamp {
        Timestamp::from_unix(self.config.unix_at_zero + Duration::from_micros(at.0), FORMAT)
    }
}

/// Without the time that the reflector says it held the probe, unless that can't be.
fn round_trip(reply: &ReflectorPacket, sent: Micros, received: Micros) -> Duration {
    let whole = received.since(sent);
    let held = reply.timestamp.since(reply.received, reply.error.format()).unwrap_or_default();
    whole.checked_sub(held).unwrap_or(whole)
}
