//! Two ends of a tunnel on a virtual clock, over modelled links. The ends are the real sessions, monitors and selectors.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::time::Duration;

use hawser_edge_core::config::{ClassMode, SlaLimits};
use hawser_edge_core::id::{ClassId, EdgeId, PathId, TunnelId, UplinkId};
use hawser_edge_core::probe::{Cadence, Intervals, ProbeConfig, ProbeSession};
use hawser_edge_core::select::{CandidateSpec, ClassPolicy, Decision, Selector};
use hawser_edge_core::sla::{PathMonitor, Reach, SlaClass};
use hawser_edge_core::stamp::{DigestEntry, Kind, decapsulate};
use hawser_edge_core::time::Micros;

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// One direction of a path.
#[derive(Debug, Clone)]
pub struct Link {
    pub delay: Duration,
    /// Added uniformly.
    pub jitter: Duration,
    pub loss: f64,
    /// Gilbert-Elliott: loss in the bad state, and the chances per packet to enter and to leave it.
    pub bad_loss: f64,
    pub to_bad: f64,
    pub to_good: f64,
    pub duplicate: f64,
    pub blackhole: bool,
    bad: bool,
}

impl Link {
    pub fn new(delay: Duration) -> Self {
        Link {
            delay,
            jitter: Duration::ZERO,
            loss: 0.0,
            bad_loss: 0.0,
            to_bad: 0.0,
            to_good: 1.0,
            duplicate: 0.0,
            blackhole: false,
            bad: false,
        }
    }

    /// When copies of a packet arrive.
    fn carry(&mut self, random: &mut Random) -> Vec<Duration> {
        let turn = random.unit();
        self.bad = if self.bad { turn >= self.to_good } else { turn < self.to_bad };
        let loss = if self.bad { self.bad_loss } else { self.loss };
        if self.blackhole || random.unit() < loss {
            return Vec::new();
        }
        let copies = 1 + usize::from(random.unit() < self.duplicate);
        (0..copies).map(|_| self.delay + self.jitter.mul_f64(random.unit())).collect()
    }
}

/// What one end runs.
pub struct End {
    pub edge: EdgeId,
    pub sessions: Vec<ProbeSession>,
    pub monitors: Vec<PathMonitor>,
    pub selector: Selector,
    pub decisions: Vec<Decision>,
    /// Times that a path went down, as the monitor saw it.
    pub downs: Vec<u32>,
    /// Its monotonic clock is ahead of the world's by this.
    offset: Duration,
}

pub struct World {
    pub now: Micros,
    /// By path; towards end 1, towards end 0.
    pub links: Vec<[Link; 2]>,
    pub ends: [End; 2],
    flying: BTreeMap<(Micros, u64), (usize, usize, Vec<u8>)>,
    sent: u64,
    random: Random,
    class: &'static str,
}

/// A path's fixed properties: round-trip delay, and the preference of its uplinks.
#[derive(Debug, Clone, Copy)]
pub struct PathSpec {
    pub rtt_ms: u64,
    pub preference: u16,
}

impl World {
    pub fn new(paths: &[PathSpec], limits: SlaLimits, hold: Duration, seed: u64) -> Self {
        let mut random = Random(seed);
        let ends = [0, 1].map(|side| End::new(side, paths, limits, hold, &mut random));
        let link = |p: &PathSpec| Link::new(Duration::from_micros(p.rtt_ms * 500));
        World {
            now: Micros(0),
            links: paths.iter().map(|p| [link(p), link(p)]).collect(),
            ends,
            flying: BTreeMap::new(),
            sent: 0,
            random,
            class: "test",
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time, |_| false);
    }

    /// Runs until a time, or until `stop` says so.
    pub fn run_until(&mut self, end: Micros, mut stop: impl FnMut(&World) -> bool) -> bool {
        loop {
            self.settle();
            if stop(self) {
                return true;
            }
            let next = self.next_event();
            // What comes at the end itself belongs to this run: the next one may begin nowhere but after it.
            if next > end {
                self.now = end;
                return false;
            }
            assert!(next > self.now, "time must pass between events");
            self.now = next;
            while let Some(entry) = self.flying.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let (to, path, packet) = entry.remove();
                self.receive(to, path, &packet);
            }
        }
    }

    pub fn fault(&mut self, path: usize, blackhole: bool) {
        self.links[path].iter_mut().for_each(|link| link.blackhole = blackhole);
    }

    fn next_event(&mut self) -> Micros {
        let mut next = self.flying.keys().next().map_or(Micros(u64::MAX), |key| key.0);
        for end in &mut self.ends {
            let offset = end.offset;
            for path in 0..end.sessions.len() {
                next = next.min(end.sessions[path].next_deadline() - offset);
                let at = end.monitors[path].next_deadline();
                next = next.min(at.map_or(next, |at| at - offset));
            }
            next = next.min(end.selector.next_deadline().map_or(next, |at| at - offset));
        }
        next
    }

    /// Lets both ends do what is due.
    fn settle(&mut self) {
        for side in 0..2 {
            for path in 0..self.links.len() {
                let end = &mut self.ends[side];
                let now = self.now + end.offset;
                if end.sessions[path].next_deadline() > now {
                    continue;
                }
                let digest = end.digest(now);
                if let Some(probe) = end.sessions[path].poll_transmit(now, &digest) {
                    self.send(side, path, probe.inner);
                }
            }
            self.ends[side].judge(self.now, self.class);
        }
    }

    fn send(&mut self, from: usize, path: usize, packet: Vec<u8>) {
        for delay in self.links[path][from].carry(&mut self.random) {
            self.sent += 1;
            let key = (self.now + delay.max(Duration::from_micros(1)), self.sent);
            self.flying.insert(key, (1 - from, path, packet.clone()));
        }
    }

    fn receive(&mut self, to: usize, path: usize, packet: &[u8]) {
        let end = &mut self.ends[to];
        let now = self.now + end.offset;
        let probe = decapsulate(packet).expect("only probes fly");
        let (digest, reply) = match probe.kind {
            Kind::Request => {
                let ours = end.digest(now);
                match end.sessions[path].handle_request(&probe, now, now, &ours) {
                    Ok(request) => (request.peer_digest, Some(request.reply)),
                    Err(_) => return,
                }
            }
            Kind::Reply => match end.sessions[path].handle_reply(&probe, now) {
                Ok(reply) => (reply.peer_digest, None),
                Err(_) => return,
            },
        };
        for entry in digest {
            let index = (entry.path.0 - 1) as usize;
            end.monitors[index].handle_peer_digest(&entry, now);
        }
        if let Some(reply) = reply {
            self.send(to, path, reply);
        }
    }
}

impl End {
    fn new(
        side: u32,
        paths: &[PathSpec],
        limits: SlaLimits,
        hold: Duration,
        random: &mut Random,
    ) -> Self {
        let offset = Duration::from_secs(u64::from(side) * 12_345);
        let start = Micros(0) + offset;
        let class = SlaClass { name: "test".into(), limits };
        let spec = |(index, path): (usize, &PathSpec)| CandidateSpec {
            path: PathId(index as u32 + 1),
            name: format!("path-{}", index + 1),
            local_uplink: UplinkId(10 * side + index as u32),
            remote_uplink: UplinkId(10 * (1 - side) + index as u32),
            preference: (path.preference, path.preference),
            cost: 0,
            ..CandidateSpec::default()
        };
        let specs: Vec<CandidateSpec> = paths.iter().enumerate().map(spec).collect();
        let policy = ClassPolicy {
            tunnel: TunnelId(1),
            class: ClassId(1),
            class_name: "test".into(),
            failback_hold: hold,
            dwell: Duration::from_secs(5),
            drop_when_none_meets: false,
            follows_peer: false,
            mode: ClassMode::Best,
        };
        let mut selector = Selector::new(policy, specs.clone(), start);
        specs.iter().for_each(|s| selector.handle_path_admin(s.path, true, start));
        let session = |spec: &CandidateSpec| {
            let config = ProbeConfig {
                path: spec.path,
                local: EdgeId(side + 1),
                peer: EdgeId(2 - side),
                intervals: Intervals::from_profile(100, 500),
                cadence: Cadence::Used,
                seed: random.next(),
                unix_at_zero: Duration::from_secs(1_700_000_000),
                least_bytes: 0,
            };
            ProbeSession::new(config, start)
        };
        End {
            edge: EdgeId(side + 1),
            sessions: specs.iter().map(session).collect(),
            monitors: specs
                .iter()
                .map(|s| PathMonitor::new(s.path, vec![class.clone()], start))
                .collect(),
            selector,
            decisions: Vec::new(),
            downs: vec![0; specs.len()],
            offset,
        }
    }

    pub fn cadence(&mut self, path: usize, cadence: Cadence, now: Micros) {
        let now = now + self.offset;
        self.sessions[path].set_cadence(cadence, now);
        self.monitors[path].set_interval(self.sessions[path].interval(), now);
    }

    fn digest(&mut self, now: Micros) -> Vec<DigestEntry> {
        self.sessions.iter_mut().map(|s| s.heard(now)).collect()
    }

    /// Samples to monitors to the selector to cadences, as the agent does.
    fn judge(&mut self, now: Micros, class: &str) {
        let world = now;
        let now = now + self.offset;
        for path in 0..self.sessions.len() {
            let before = self.monitors[path].reach();
            while let Some(sample) = self.sessions[path].poll_sample() {
                self.monitors[path].handle_sample(&sample);
            }
            self.monitors[path].handle_time(now);
            if before == Reach::Up && self.monitors[path].reach() == Reach::Down {
                self.downs[path] += 1;
            }
            let health = self.monitors[path].health(class, false);
            self.selector.handle_quality(PathId(path as u32 + 1), &health, now);
        }
        let mut moved = false;
        while let Some(mut decision) = self.selector.poll(now) {
            decision.at = world;
            self.decisions.push(decision);
            moved = true;
        }
        if moved {
            for path in 0..self.sessions.len() {
                let id = Some(PathId(path as u32 + 1));
                let cadence = if self.selector.selected() == id {
                    Cadence::Used
                } else if self.selector.standby() == id {
                    Cadence::Standby
                } else {
                    Cadence::Idle
                };
                self.cadence(path, cadence, world);
            }
        }
    }
}

/// Nearest rank.
pub fn quantile(sorted: &[u64], percent: usize) -> u64 {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
