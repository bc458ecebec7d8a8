//! The session itself.

use std::time::Duration;

use super::heard::Heard;
use super::ipdv::AtReflector;
use super::sender::{Answer, Sender};
use super::{
    Cadence, Intervals, Probe, ProbeConfig, ProbeCounters, Refused, Reply, ReplyKind, Request,
    Sample,
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
    sender: Sender,
    heard: Heard,
    replies: TokenBucket,
    challenges: u32,
}

impl ProbeSession {
    /// The first probe leaves at a random phase of the interval.
    pub fn new(config: ProbeConfig, now: Micros) -> Self {
        ProbeSession {
            // Zero means "no SSID" to reflectors of RFC 8762 alone.
            ssid: (((config.seed >> 48) as u16) & !CHALLENGE_SSID).max(1),
            sender: Sender::new(
                config.intervals,
                config.cadence,
                config.seed & (u64::MAX >> 16),
                now,
            ),
            heard: Heard::default(),
            replies: TokenBucket::per_second(policy::REFLECT_BURST, policy::REFLECT_PER_S, now),
            challenges: 0,
            config,
        }
    }

    /// From now on; the next probe is not later than one interval from now.
    pub fn set_cadence(&mut self, cadence: Cadence, now: Micros) {
        if cadence != self.sender.pace.cadence() {
            self.sender.pace.set(self.config.intervals, cadence, now);
        }
    }

    /// New intervals of a changed profile.
    pub fn set_intervals(&mut self, intervals: Intervals, now: Micros) {
        self.config.intervals = intervals;
        self.sender.pace.set(intervals, self.sender.pace.cadence(), now);
    }

    /// How often from now on. `interval` takes the place of the cadence's own.
    pub fn set_pace(&mut self, cadence: Cadence, interval: Duration, now: Micros) {
        let intervals = self.config.intervals.with(cadence, interval);
        if cadence != self.sender.pace.cadence() || intervals != self.config.intervals {
            self.config.intervals = intervals;
            self.sender.pace.set(intervals, cadence, now);
        }
    }

    /// Counts losses, which may make a probe due. Is one? Then [`poll_transmit`](Self::poll_transmit) gives it, or
    /// [`defer`](Self::defer) puts it off.
    pub fn is_due(&mut self, now: Micros) -> bool {
        self.sender.is_due(now)
    }

    /// No probe leaves before.
    pub fn defer(&mut self, until: Micros) {
        self.sender.pace.defer(until);
    }

    /// Since the last probe left; the longest time there is, if none did.
    pub fn waited(&self, now: Micros) -> Duration {
        self.sender.pace.waited(now)
    }

    /// Probes lost in a row, after the newest that was answered.
    pub fn losses_in_row(&self) -> u32 {
        self.sender.losses_in_row()
    }

    /// Evidence from elsewhere (carrier, ICMP, gaps in traffic): probe fast for a moment.
    pub fn suspect(&mut self, now: Micros) {
        self.sender.pace.suspect(now);
    }

    /// The next probe is due now: its digest has news that can't wait.
    pub fn hasten(&mut self, now: Micros) {
        self.sender.pace.hasten(now);
    }

    /// When [`poll_transmit`](Self::poll_transmit) has something to do.
    pub fn next_deadline(&mut self) -> Micros {
        self.sender.next_deadline()
    }

    /// Counts losses, and gives a probe if one is due. `digest` is what this edge receives on the tunnel's paths. Hand in
    /// what has been received first.
    pub fn poll_transmit(&mut self, now: Micros, digest: &[DigestEntry]) -> Option<Probe> {
        if !self.sender.is_due(now) {
            return None;
        }
        let timestamp = self.timestamp(now);
        let sequence = self.sender.send(timestamp, now);
        let packet = SenderPacket {
            sequence: sequence as u32,
            timestamp,
            error: ErrorEstimate::unsynchronised(FORMAT),
            ssid: self.ssid,
            digest: digest.to_vec(),
            challenge: None,
        };
        let inner = self.encapsulate(Kind::Request, &packet.encode(self.config.least_bytes));
        self.sender.counters.sent_bytes += inner.len() as u64;
        Some(Probe { sequence, inner })
    }

    /// The next sample, oldest first.
    pub fn poll_sample(&mut self) -> Option<Sample> {
        self.sender.poll_sample()
    }

    /// An inner packet that asks the peer to echo `octets`; to be sent to the address in question.
    pub fn challenge(&mut self, octets: [u8; 8], now: Micros) -> Vec<u8> {
        self.ask(octets, 0, now)
    }

    fn ask(&mut self, octets: [u8; 8], least_bytes: usize, now: Micros) -> Vec<u8> {
        self.challenges = self.challenges.wrapping_add(1);
        let packet = SenderPacket {
            sequence: self.challenges,
            timestamp: self.timestamp(now),
            error: ErrorEstimate::unsynchronised(FORMAT),
            ssid: self.ssid | CHALLENGE_SSID,
            digest: Vec::new(),
            challenge: Some(octets),
        };
        self.encapsulate(Kind::Request, &packet.encode(least_bytes))
    }

    /// The same, with an inner packet of `inner_bytes`: to see whether it passes. The answer is as long.
    pub fn padded(&mut self, octets: [u8; 8], inner_bytes: u16, now: Micros) -> Vec<u8> {
        self.ask(octets, usize::from(inner_bytes).saturating_sub(stamp::HEADERS_BYTES), now)
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
            Ok(_) => self.sender.counters.reflected += 1,
            Err(_) => self.sender.counters.refused += 1,
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
            self.sender.counters.refused += 1;
        }
        result
    }

    /// What this end receives of the peer's probes on this path: an entry of the digest.
    pub fn heard(&mut self, now: Micros) -> DigestEntry {
        self.heard.digest(self.config.path, now)
    }

    /// How long a probe is waited for at present.
    pub fn timeout(&self) -> Duration {
        self.sender.timeout()
    }

    /// Time between probes at present, suspicion aside.
    pub fn interval(&self) -> Duration {
        self.sender.pace.interval()
    }

    /// Since the start.
    pub fn counters(&self) -> ProbeCounters {
        self.sender.counters
    }

    /// Counts from there, as after a long life.
    #[cfg(test)]
    pub(super) fn start_at(&mut self, sequence: u64) {
        self.sender.start_at(sequence);
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
        let kind = self.sender.answer(&Answer {
            sequence: reply.sender_sequence,
            timestamp: reply.sender_timestamp,
            reflected: reply.sequence,
            received,
            held: held(&reply),
            at_reflector: Some(AtReflector {
                received: reply.received,
                sent: reply.timestamp,
                format: reply.error.format(),
            }),
        })?;
        Ok(Reply { kind, peer_digest: reply.digest })
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

/// How long the reflector says that it held the probe, if that can be.
fn held(reply: &ReflectorPacket) -> Duration {
    reply.timestamp.since(reply.received, reply.error.format()).unwrap_or_default()
}
