//! Probes: sent, reflected, judged. What they say goes on to selection.

use std::net::SocketAddr;
use std::time::Instant;

use hawser_edge_core::history::{Entry, Tick};
use hawser_edge_core::id::{PathId, TunnelId, UplinkId};
use hawser_edge_core::probe::{Outcome, ReplyKind, Request, Sample};
use hawser_edge_core::sla::Reach;
use hawser_edge_core::stamp::{self, DigestEntry, Kind};
use hawser_edge_core::time::Micros;

use super::clock::Clock;
use super::{Engine, Timer};
use crate::dataplane::Event;

impl Engine {
    pub(super) fn on_dataplane(&mut self, event: Event) {
        match event {
            Event::Probe { path, inner, received, from, newest } => {
                self.on_source(path, from, newest);
                self.on_probe(path, &inner, received, from);
            }
            Event::SourceSeen { path, from, newest } => self.on_source(path, from, newest),
            Event::UplinkFailed { uplink, family, reason } => {
                let name = self.uplink_name(uplink);
                self.event("UPLINK_FAILED", &name, &format!("{family:?}: {reason}"));
            }
            Event::SegmentFailed { segment, reason } => {
                self.event("SEGMENT_FAILED", &format!("segment {segment}"), &reason);
                self.refresh_table();
            }
            Event::Unreachable { uplink, to, .. } => self.on_unreachable(uplink, to),
            Event::TooBig { uplink, to, mtu_bytes } => self.on_too_big(uplink, to, mtu_bytes),
            Event::KeysLost { path } => self.on_keys_lost(path),
            Event::UplinkReady { uplink, family, port } => {
                let name = self.uplink_name(uplink);
                self.event(
                    "UPLINK_READY",
                    &name,
                    &format!("{family:?} socket open on port {port}"),
                );
            }
        }
    }

    /// ICMP can be forged: the paths that it names are probed faster for a moment, and judged by that alone.
    fn on_unreachable(&mut self, uplink: UplinkId, to: SocketAddr) {
        let now = self.clock.now();
        let mut named = false;
        for (id, path) in &mut self.paths {
            if path.config.local_uplink == uplink && path.remote == Some(to) {
                named = true;
                path.session.suspect(now);
                self.timers.set(Timer::Path(*id), path.next_deadline());
            }
        }
        self.count(if named { "icmp_suspicion" } else { "icmp_of_no_path" });
    }

    fn on_probe(&mut self, id: PathId, inner: &[u8], received: Instant, from: SocketAddr) {
        let packet = match stamp::decapsulate(inner) {
            Ok(packet) => packet,
            Err(error) => return self.count(error.code()),
        };
        let (received, now) = (self.clock.at(received), self.clock.now());
        let Some(tunnel) = self.paths.get(&id).map(|p| p.tunnel) else {
            return self.count("probe_unknown_path");
        };
        let digest = match packet.kind {
            Kind::Request => {
                let digest = self.digest(tunnel, now);
                let Some(path) = self.paths.get_mut(&id) else { return };
                match path.session.handle_request(&packet, received, now, &digest) {
                    Ok(Request { reply, peer_digest, .. }) => {
                        // A peer that is not known yet is answered where it asks from; it is challenged besides.
                        let to = path.remote.is_none().then_some(from);
                        let sent = self.dataplane.send_on_path(id, to, &reply);
                        self.note_send(sent);
                        peer_digest
                    }
                    Err(refused) => return self.count(refused.code()),
                }
            }
            Kind::Reply => {
                let Some(path) = self.paths.get_mut(&id) else { return };
                match path.session.handle_reply(&packet, received) {
                    Ok(reply) => {
                        if let ReplyKind::Challenge { octets } = reply.kind
                            && !self.on_pmtu_answer(id, octets, now)
                        {
                            self.on_challenge_answer(id, from, octets, now);
                        }
                        reply.peer_digest
                    }
                    Err(refused) => return self.count(refused.code()),
                }
            }
        };
        self.on_peer_digest(tunnel, &digest, now);
        self.judge(id, now);
    }

    /// What the peer receives, on whichever path it told.
    fn on_peer_digest(&mut self, tunnel: TunnelId, digest: &[DigestEntry], now: Micros) {
        for entry in digest {
            if entry.wanted {
                self.on_peer_wants(entry.path, now);
            }
            let of_tunnel = self.paths.get_mut(&entry.path).filter(|p| p.tunnel == tunnel);
            if let Some(path) = of_tunnel {
                path.peer_word.hear(entry.dead, now);
                path.monitor.handle_peer_digest(entry, now);
                self.judge(entry.path, now);
            }
        }
    }

    /// What this edge receives on each path of a tunnel.
    fn digest(&mut self, tunnel: TunnelId, now: Micros) -> Vec<DigestEntry> {
        let Some(edge) = self.edge.clone() else { return Vec::new() };
        let Some(tunnel) = edge.tunnels.get(&tunnel) else { return Vec::new() };
        let paths = tunnel.paths.values().take(stamp::MAX_DIGEST_ENTRIES);
        let mut digest = Vec::with_capacity(tunnel.paths.len());
        let standing_back = self.standing_back(tunnel.id);
        for config in paths {
            // To peers of versions that know no pairing, too: away from what this edge has dropped.
            let departs = self.departures.has_path(config.id)
                && standing_back.get(&config.id).is_some_and(Option::is_some);
            let dead = !self.has_carrier(config.local_uplink) || departs;
            let Some(path) = self.paths.get_mut(&config.id) else { continue };
            let esp = path.gaps.settle(self.dataplane.evidence(config.id), now);
            let wanted = path.wanted;
            digest.push(DigestEntry {
                dead,
                wanted,
                esp_expected: esp.expected,
                esp_received: esp.received,
                ..path.session.heard(now)
            });
        }
        digest
    }

    /// A path's deadline has come.
    pub(super) fn on_path_timer(&mut self, id: PathId) {
        let now = self.clock.now();
        let Some(path) = self.paths.get(&id) else { return };
        let (tunnel, sends) = (path.tunnel, path.is_probed());
        if sends {
            self.admit_probe(id, now);
            // Others tell themselves what is heard on them: at rest each octet counts.
            let rests = self.pacer.rests(id);
            let digest = if rests { Vec::new() } else { self.digest(tunnel, now) };
            self.transmit(id, &digest, now);
        }
        self.judge(id, now);
    }

    /// A probe leaves now, whatever the path's pace and budget: its digest has news that can't wait.
    pub(super) fn tell_now(&mut self, id: PathId) {
        let now = self.clock.now();
        let Some(path) = self.paths.get_mut(&id).filter(|p| p.is_probed()) else { return };
        path.session.hasten(now);
        let tunnel = path.tunnel;
        let digest = self.digest(tunnel, now);
        self.transmit(id, &digest, now);
        self.judge(id, now);
    }

    fn transmit(&mut self, id: PathId, digest: &[DigestEntry], now: Micros) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        if let Some(probe) = path.session.poll_transmit(now, digest)
            && path.remote.is_some()
        {
            let sent = self.dataplane.send_on_path(id, None, &probe.inner);
            self.note_send(sent);
        }
    }

    fn note_send(&mut self, sent: Result<(), crate::dataplane::DataPlaneError>) {
        if let Err(error) = sent {
            self.count(&format!("probe_send_{}", error.code()));
        }
    }

    /// Takes new samples in; where the verdict may have changed, selection hears it.
    pub(super) fn judge(&mut self, id: PathId, now: Micros) {
        let Some(path) = self.paths.get_mut(&id) else { return };
        while let Some(sample) = path.session.poll_sample() {
            // Sent before both ends had their keys and endpoints: that says nothing of the path.
            let early = path.answered_since.is_none_or(|since| sample.sent < since);
            match sample.outcome {
                Outcome::Lost { .. } if early => continue,
                Outcome::Lost { .. } => {}
                Outcome::Rtt { .. } | Outcome::Late { .. } => {
                    path.answered_since.get_or_insert(sample.sent);
                }
            }
            path.monitor.handle_sample(&sample);
            self.history.note(id, fate(&self.clock, &sample));
        }
        path.monitor.set_interval(path.session.interval(), now);
        let esp = path.gaps.settle(self.dataplane.evidence(id), now);
        let heard = DigestEntry {
            esp_expected: esp.expected,
            esp_received: esp.received,
            ..path.session.heard(now)
        };
        path.monitor.handle_heard(&heard, now);
        path.monitor.handle_time(now);
        path.peer_word.handle_time(now);
        let reach = path.monitor.reach();
        let was = std::mem::replace(&mut path.reach, reach);
        let deadline = path.next_deadline();
        let (tunnel, peer, leaves) = (path.tunnel, path.peer, path.leaving.is_some());
        self.timers.set(Timer::Path(id), deadline);
        if was != reach {
            self.report_soon = true;
            self.on_reach(id, was, reach);
            self.pmtu_reach(id, reach, now);
            if reach == Reach::Down && !leaves {
                self.suspect_siblings(tunnel, id, now);
            }
            self.refresh_best(peer);
            self.refresh_endpoints(peer);
        }
        self.note_trouble(id, now);
        self.select_tunnel(tunnel, Some(id), now);
        if was != reach {
            self.refresh_cadence(tunnel, now);
        }
    }

    fn on_reach(&mut self, id: PathId, was: Reach, reach: Reach) {
        let name = self.path_name(id);
        match reach {
            Reach::Up if was == Reach::Connecting => {
                self.event("PATH_UP", &name, "the first probes were answered");
            }
            Reach::Up => self.event("PATH_UP", &name, "probes are answered again"),
            Reach::Down => {
                let leaving = self.paths.get(&id).and_then(|path| path.leaving);
                let why = leaving.map(|leaving| format!(": {}", leaving.why())).unwrap_or_default();
                self.event("PATH_DOWN", &name, &format!("probes are not answered{why}"));
            }
            Reach::Connecting => {}
        }
    }
}

/// For the history on disk. Times of sending are the monotonic clock's, tied to the wall clock at the agent's start.
fn fate(clock: &Clock, sample: &Sample) -> Entry {
    let sent = clock.unix_at_start().as_micros() as u64 + sample.sent.0;
    let rtt = match sample.outcome {
        Outcome::Lost { .. } => None,
        Outcome::Rtt { rtt } | Outcome::Late { rtt, .. } => Some(rtt),
    };
    let ticks = rtt.map(|rtt| u32::try_from(rtt.as_micros() / 100).unwrap_or(u32::MAX));
    Entry { sent: Tick::from_unix_us(sent), rtt: ticks }
}
