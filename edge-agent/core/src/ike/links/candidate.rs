//! One link: its prober and what it is worth.

use std::net::IpAddr;
use std::time::Duration;

use super::{CLASS, Link};
use crate::config::{IkeProbe, IkeProbeKind, SlaLimits, UplinkUse};
use crate::id::{PathId, UplinkId};
use crate::policy;
use crate::probe::{
    Cadence, Intervals, Outcome, PlainConfig, PlainProber, PlainProtocol, Refused, Sample, Way,
};
use crate::sla::{PathHealth, PathMonitor, Reach, SlaClass};
use crate::time::Micros;

/// Links that carry nothing, at the fastest.
const IDLE_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// What makes one prober unlike another, and the wall clock's time at zero.
pub(super) type Seed = (u64, Duration);

#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) id: PathId,
    pub(super) uplink: UplinkId,
    pub(super) local: Option<IpAddr>,
    usage: UplinkUse,
    probe: IkeProbe,
    prober: Option<PlainProber>,
    monitor: PathMonitor,
    reach: Reach,
}

impl Candidate {
    pub(super) fn new(
        id: PathId,
        link: &Link,
        probe: &IkeProbe,
        limits: SlaLimits,
        seed: Seed,
        now: Micros,
    ) -> Candidate {
        Candidate {
            id,
            uplink: link.uplink,
            local: link.local,
            usage: link.usage,
            probe: *probe,
            prober: prober(link, probe, seed, now),
            monitor: monitor(id, limits, now),
            reach: Reach::Connecting,
        }
    }

    /// What was measured from another address still tells of the link.
    pub(super) fn readdress(&mut self, link: &Link, seed: Seed, now: Micros) {
        self.usage = link.usage;
        if link.local != self.local {
            self.local = link.local;
            self.prober = prober(link, &self.probe, seed, now);
        }
    }

    pub(super) fn poll_transmit(&mut self, now: Micros) -> Option<Vec<u8>> {
        let packet = self.prober.as_mut()?.poll_transmit(now);
        self.judge();
        packet
    }

    pub(super) fn handle_reply(&mut self, packet: &[u8], received: Micros) -> Result<(), Refused> {
        let prober = self.prober.as_mut().ok_or(Refused::Unknown)?;
        let result = prober.handle_reply(packet, received).map(drop);
        self.judge();
        result
    }

    pub(super) fn suspect(&mut self, now: Micros) {
        if let Some(prober) = &mut self.prober {
            prober.suspect(now);
        }
    }

    pub(super) fn next_deadline(&mut self) -> Option<Micros> {
        let silence = self.monitor.next_deadline();
        let probe = self.prober.as_mut().map(PlainProber::next_deadline);
        silence.into_iter().chain(probe).min()
    }

    /// Sets the pace, and lets time tell. True: it is up again.
    pub(super) fn advance(&mut self, in_use: bool, next: bool, now: Micros) -> bool {
        let cadence = match self.usage {
            _ if in_use => Cadence::Used,
            UplinkUse::Normal if next => Cadence::Standby,
            UplinkUse::Normal => Cadence::Idle,
            UplinkUse::Standby | UplinkUse::LastResort => Cadence::Resting,
        };
        if let Some(prober) = &mut self.prober {
            prober.set_cadence(cadence, now);
            self.monitor.set_interval(intervals(&self.probe).of(cadence), now);
        }
        self.monitor.handle_time(now);
        let was = std::mem::replace(&mut self.reach, self.monitor.reach());
        was == Reach::Down && self.reach == Reach::Up
    }

    /// The gateway has answered a probe over it.
    pub(super) fn is_heard(&self) -> bool {
        self.monitor.reach() != Reach::Connecting
    }

    pub(super) fn health(&self) -> PathHealth {
        self.monitor.health(CLASS, false)
    }

    fn judge(&mut self) {
        let Some(prober) = &mut self.prober else { return };
        while let Some(sample) = prober.poll_sample() {
            self.monitor.handle_sample(&of_both_ways(sample));
        }
    }
}

pub(super) fn monitor(id: PathId, limits: SlaLimits, now: Micros) -> PathMonitor {
    PathMonitor::new(id, vec![SlaClass { name: CLASS.to_owned(), limits }], now)
}

pub(super) fn intervals(probe: &IkeProbe) -> Intervals {
    let interval = match probe.interval_ms {
        0 => Duration::from_millis(super::DEFAULT_PROBE.interval_ms.into()),
        ms => Duration::from_millis(ms.into()).clamp(policy::MIN_INTERVAL, policy::MAX_INTERVAL),
    };
    let idle = (interval * 2).max(IDLE_INTERVAL_MIN);
    Intervals { used: interval, standby: interval, idle, resting: policy::MAX_INTERVAL }
}

/// An echo does not tell which way it was lost: against the limit counts the whole round.
pub(super) fn of_both_ways(mut sample: Sample) -> Sample {
    match &mut sample.outcome {
        Outcome::Lost { way } if way.is_none() => *way = Some(Way::Forward),
        Outcome::Late { was, .. } if was.is_none() => *was = Some(Way::Forward),
        _ => {}
    }
    sample
}

fn prober(
    link: &Link,
    probe: &IkeProbe,
    (seed, unix_at_zero): Seed,
    now: Micros,
) -> Option<PlainProber> {
    let protocol = match probe.kind {
        IkeProbeKind::None => return None,
        IkeProbeKind::Stamp { .. } => link.local.map(|_| PlainProtocol::Stamp)?,
        IkeProbeKind::Icmp => echo(link.local?, link.remote, seed)?,
    };
    let (intervals, cadence) = (intervals(probe), Cadence::Standby);
    let config = PlainConfig { protocol, intervals, cadence, seed, unix_at_zero };
    Some(PlainProber::new(config, now))
}

/// `None`: of two families.
pub(super) fn echo(local: IpAddr, remote: IpAddr, seed: u64) -> Option<PlainProtocol> {
    let identifier = (seed >> 32) as u16;
    match (local, remote) {
        (IpAddr::V4(_), IpAddr::V4(_)) => Some(PlainProtocol::Icmp4 { identifier }),
        (IpAddr::V6(local), IpAddr::V6(remote)) => {
            Some(PlainProtocol::Icmp6 { identifier, local, remote })
        }
        _ => None,
    }
}
