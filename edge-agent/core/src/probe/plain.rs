//! Probes of peers that are not Hawser: STAMP without our TLVs, TWAMP Light, ICMP echo. They give the same samples as a
//! [`ProbeSession`](super::ProbeSession); what such a peer can't tell stays unknown.
//!
//! The caller owns the socket: UDP to the reflector's port for the first two, raw or ping sockets for ICMP. It hands in
//! what came from the peer's address only.

mod icmp;
#[cfg(test)]
mod tests;

use std::net::Ipv6Addr;
use std::time::Duration;

use super::ipdv::AtReflector;
use super::sender::{Answer, Sender};
use super::{Cadence, Intervals, ProbeCounters, Refused, ReplyKind, Sample};
use crate::stamp::{
    BASE_BYTES, Error, ErrorEstimate, ReflectorPacket, SenderPacket, Timestamp, TimestampFormat,
};
use crate::time::Micros;

const FORMAT: TimestampFormat = TimestampFormat::Ntp;
/// A TWAMP reflector's packet without padding (RFC 5357 section 4.2.1); STAMP's has three octets more.
const TWAMP_BYTES: usize = 41;

/// How a peer is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainProtocol {
    /// RFC 8762 in unauthenticated mode, without SSID and TLVs: 44 octets of UDP payload. Reflectors of TWAMP Light
    /// (RFC 5357 appendix I) answer the same packet.
    Stamp,
    /// RFC 792; from the ICMP header on.
    Icmp4 { identifier: u16 },
    /// RFC 4443 section 4; from the ICMPv6 header on. Its checksum covers the addresses.
    Icmp6 { identifier: u16, local: Ipv6Addr, remote: Ipv6Addr },
}

/// What a prober must know at its start.
#[derive(Debug, Clone)]
pub struct PlainConfig {
    pub protocol: PlainProtocol,
    pub intervals: Intervals,
    pub cadence: Cadence,
    /// Random: the phase of the first probe, and what replies must echo.
    pub seed: u64,
    /// Wall-clock time since the Unix epoch at `Micros(0)`; only differences are ever used.
    pub unix_at_zero: Duration,
}

/// Probes one peer, one way of asking.
#[derive(Debug)]
pub struct PlainProber {
    config: PlainConfig,
    sender: Sender,
}

impl PlainProber {
    /// The first probe leaves at a random phase of the interval.
    pub fn new(config: PlainConfig, now: Micros) -> Self {
        let phase = config.seed & (u64::MAX >> 16);
        let mut sender = Sender::new(config.intervals, config.cadence, phase, now);
        // Until it shows that it counts: a stateless reflector (RFC 8762 section 4.3) repeats our numbers.
        sender.counted = false;
        PlainProber { config, sender }
    }

    /// How often from now on.
    pub fn set_cadence(&mut self, cadence: Cadence, now: Micros) {
        if cadence != self.sender.pace.cadence() {
            self.sender.pace.set(self.config.intervals, cadence, now);
        }
    }

    /// Evidence from elsewhere: probe fast for a moment.
    pub fn suspect(&mut self, now: Micros) {
        self.sender.pace.suspect(now);
    }

    /// When [`poll_transmit`](Self::poll_transmit) has something to do.
    pub fn next_deadline(&mut self) -> Micros {
        self.sender.next_deadline()
    }

    /// Counts losses, and gives a probe if one is due. Hand in what has been received first.
    pub fn poll_transmit(&mut self, now: Micros) -> Option<Vec<u8>> {
        if !self.sender.is_due(now) {
            return None;
        }
        let timestamp = self.timestamp(now);
        let sequence = self.sender.send(timestamp, now) as u32;
        let packet = match self.config.protocol {
            PlainProtocol::Stamp => {
                let error = ErrorEstimate::unsynchronised(FORMAT);
                let (digest, challenge) = (Vec::new(), None);
                SenderPacket { sequence, timestamp, error, ssid: 0, digest, challenge }.encode(0)
            }
            PlainProtocol::Icmp4 { identifier } => {
                icmp::request(identifier, sequence, timestamp, None)
            }
            PlainProtocol::Icmp6 { identifier, local, remote } => {
                icmp::request(identifier, sequence, timestamp, Some((local, remote)))
            }
        };
        self.sender.counters.sent_bytes += packet.len() as u64;
        Some(packet)
    }

    /// Matches what was read from the socket at `received`.
    pub fn handle_reply(&mut self, packet: &[u8], received: Micros) -> Result<ReplyKind, Refused> {
        let answer = match self.config.protocol {
            PlainProtocol::Stamp => self.stamp_answer(packet, received),
            PlainProtocol::Icmp4 { identifier } => icmp::answer(packet, identifier, None, received),
            PlainProtocol::Icmp6 { identifier, local, remote } => {
                icmp::answer(packet, identifier, Some((remote, local)), received)
            }
        };
        let result = answer.and_then(|answer| self.sender.answer(&answer));
        if result.is_err() {
            self.sender.counters.refused += 1;
        }
        result
    }

    /// The next sample, oldest first.
    pub fn poll_sample(&mut self) -> Option<Sample> {
        self.sender.poll_sample()
    }

    /// How long a probe is waited for at present.
    pub fn timeout(&self) -> Duration {
        self.sender.timeout()
    }

    /// Since the start.
    pub fn counters(&self) -> ProbeCounters {
        self.sender.counters
    }

    fn stamp_answer(&mut self, packet: &[u8], received: Micros) -> Result<Answer, Refused> {
        if packet.len() < TWAMP_BYTES {
            let (layer, length_bytes, needed_bytes) = ("STAMP packet", packet.len(), TWAMP_BYTES);
            return Err(Error::Short { layer, length_bytes, needed_bytes }.into());
        }
        let mut whole = packet.to_vec();
        whole.resize(whole.len().max(BASE_BYTES), 0);
        let reply = ReflectorPacket::decode(&whole)?;
        // From now on its numbers tell which way a probe was lost: it has missed one, or began to count before us.
        self.sender.counted |= reply.sequence != reply.sender_sequence;
        let held = reply.timestamp.since(reply.received, reply.error.format());
        Ok(Answer {
            sequence: reply.sender_sequence,
            timestamp: reply.sender_timestamp,
            reflected: reply.sequence,
            received,
            held: held.unwrap_or_default(),
            at_reflector: Some(AtReflector {
                received: reply.received,
                sent: reply.timestamp,
                format: reply.error.format(),
            }),
        })
    }

    /// With the seed in its lowest bits, far below what is measured: an off-path guess does not fit.
    fn timestamp(&self, at: Micros) -> Timestamp {
        let exact =
            Timestamp::from_unix(self.config.unix_at_zero + Duration::from_micros(at.0), FORMAT);
        // 2^-32 s · 2^11 is half a microsecond.
        Timestamp(exact.0 & !0x7ff | (self.config.seed >> 48) & 0x7ff)
    }
}
