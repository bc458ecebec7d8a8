//! Echoes through the tunnel. They count once one was answered through this very association: a host that answers nobody
//! says nothing of the link.

use std::net::IpAddr;
use std::time::Duration;

use super::candidate::{echo, intervals, monitor, of_both_ways};
use super::{CLASS, LinkSettings};
use crate::config::{IkeProbe, SlaLimits};
use crate::id::PathId;
use crate::probe::{Cadence, PlainConfig, PlainProber, Refused};
use crate::sla::{PathHealth, PathMonitor, Reach};
use crate::time::Micros;

#[derive(Debug)]
pub(super) struct Inside {
    probe: IkeProbe,
    limits: SlaLimits,
    between: Option<(IpAddr, IpAddr)>,
    seed: u64,
    unix_at_zero: Duration,
    /// Of the association that is up.
    running: Option<(PlainProber, PathMonitor)>,
}

impl Inside {
    pub(super) fn new(settings: &LinkSettings, probe: &IkeProbe, seed: u64) -> Inside {
        Inside {
            probe: *probe,
            limits: settings.tunnel.sla,
            between: settings.inside_from.zip(probe.inside),
            seed,
            unix_at_zero: settings.unix_at_zero,
            running: None,
        }
    }

    /// The tunnel is up.
    pub(super) fn begin(&mut self, now: Micros) {
        let Some((local, remote)) = self.between else { return };
        // Not those of the association before.
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let Some(protocol) = echo(local, remote, self.seed) else { return };
        let config = PlainConfig {
            protocol,
            intervals: intervals(&self.probe),
            cadence: Cadence::Used,
            seed: self.seed,
            unix_at_zero: self.unix_at_zero,
        };
        let mut monitor = monitor(PathId(0), self.limits, now);
        monitor.set_interval(intervals(&self.probe).used, now);
        self.running = Some((PlainProber::new(config, now), monitor));
    }

    pub(super) fn end(&mut self) {
        self.running = None;
    }

    pub(super) fn poll_transmit(&mut self, now: Micros) -> Option<Vec<u8>> {
        let packet = self.running.as_mut()?.0.poll_transmit(now);
        self.judge();
        packet
    }

    pub(super) fn handle_reply(&mut self, packet: &[u8], received: Micros) -> Result<(), Refused> {
        let (prober, _) = self.running.as_mut().ok_or(Refused::Unknown)?;
        let result = prober.handle_reply(packet, received).map(drop);
        self.judge();
        result
    }

    pub(super) fn next_deadline(&mut self) -> Option<Micros> {
        let (prober, monitor) = self.running.as_mut()?;
        monitor.next_deadline().into_iter().chain([prober.next_deadline()]).min()
    }

    pub(super) fn advance(&mut self, now: Micros) {
        if let Some((_, monitor)) = &mut self.running {
            monitor.handle_time(now);
        }
    }

    /// `None`: it says nothing.
    pub(super) fn health(&self) -> Option<PathHealth> {
        let (_, monitor) = self.running.as_ref()?;
        (monitor.reach() != Reach::Connecting).then(|| monitor.health(CLASS, false))
    }

    fn judge(&mut self) {
        let Some((prober, monitor)) = &mut self.running else { return };
        while let Some(sample) = prober.poll_sample() {
            monitor.handle_sample(&of_both_ways(sample));
        }
    }
}
