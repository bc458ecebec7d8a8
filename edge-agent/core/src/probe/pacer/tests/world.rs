//! A branch with two uplinks and a hub with two: paths 1 and 2 over the fibre, 3 and 4 over LTE.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hawser_proto::config::v1 as wire;

use super::super::*;
use crate::config;
use crate::id::EdgeId;
use crate::probe::{ProbeConfig, ProbeSession, cost};
use crate::sla::{PathMonitor, Reach};
use crate::stamp::{DigestEntry, Kind, decapsulate};

pub(super) const FIBRE: u32 = 11;
pub(super) const LTE: u32 = 12;
const PATHS: [u32; 4] = [1, 2, 3, 4];
const DELAY: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    pub lte: UplinkUse,
    pub fibre_budget: u64,
    /// All four paths are over the fibre.
    pub all_on_fibre: bool,
    pub used_ms: u32,
    /// Of each packet on path 1.
    pub loss: f64,
    pub seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        let lte = UplinkUse::Normal;
        Setup { lte, fibre_budget: 0, all_on_fibre: false, used_ms: 100, loss: 0.0, seed: 7 }
    }
}

struct End {
    pacer: Pacer,
    sessions: BTreeMap<u32, ProbeSession>,
    monitors: BTreeMap<u32, PathMonitor>,
    orders: BTreeMap<u32, Order>,
    carries: Vec<u32>,
    pretended: Vec<u32>,
    replan_at: Option<Micros>,
    seen: Vec<(Reach, bool)>,
    config: ProbeConfig,
}

pub(super) struct World {
    pub now: Micros,
    ends: [End; 2],
    uplinks: BTreeMap<u32, Vec<u32>>,
    flying: BTreeMap<(Micros, u64), (usize, u32, Vec<u8>)>,
    numbered: u64,
    /// Way by path and sender.
    dead: BTreeSet<(u32, usize)>,
    lose_next: BTreeMap<(u32, usize), u32>,
    /// When, and how much.
    sent: BTreeMap<u32, VecDeque<(Micros, u64)>>,
    keepalive_at: Option<Micros>,
    setup: Setup,
    random: u64,
}

impl World {
    pub fn new(setup: Setup) -> Self {
        let configs = [false, true].map(|hub| edge(hub, &setup));
        let uplink = |path: u32| if setup.all_on_fibre || path < 3 { FIBRE } else { LTE };
        let mut uplinks: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for path in PATHS {
            uplinks.entry(uplink(path)).or_default().push(path);
        }
        let ends = [0, 1].map(|side| End::new(side, &configs[side]));
        let keepalive_at = ends[0].pacer.keepalive(UplinkId(LTE)).map(|every| Micros(0) + every);
        let mut world = World {
            now: Micros(0),
            ends,
            uplinks,
            flying: BTreeMap::new(),
            numbered: 0,
            dead: BTreeSet::new(),
            lose_next: BTreeMap::new(),
            sent: BTreeMap::new(),
            keepalive_at,
            setup,
            random: setup.seed,
        };
        (0..2).for_each(|end| world.plan(end));
        world
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            (0..2).for_each(|end| self.settle(end));
            let flying = self.flying.keys().next().map(|(at, _)| *at);
            let deadlines = self.ends.iter_mut().map(End::next_deadline);
            let next = deadlines.chain(flying).chain(self.keepalive_at).min().unwrap_or(end);
            if next >= end {
                self.now = end;
                return;
            }
            self.now = next.max(self.now);
            while let Some(entry) = self.flying.first_entry()
                && entry.key().0 <= self.now
            {
                let (to, path, packet) = entry.remove();
                self.receive(to, path, &packet);
            }
            (0..2).for_each(|end| self.send_due(end));
            self.send_keepalives();
        }
    }

    pub fn carry(&mut self, paths: &[u32]) {
        for end in 0..2 {
            self.ends[end].carries = paths.to_vec();
            self.plan(end);
        }
    }

    pub fn blackhole(&mut self, paths: &[u32], dead: bool) {
        for way in [0, 1] {
            for path in paths {
                if dead {
                    self.dead.insert((*path, way));
                } else {
                    self.dead.remove(&(*path, way));
                }
            }
        }
    }

    pub fn blackhole_way(&mut self, paths: &[u32], sender: usize) {
        self.dead.extend(paths.iter().map(|path| (*path, sender)));
    }

    /// One end takes these for down, whatever it measures.
    pub fn pretend_down(&mut self, end: usize, paths: &[u32]) {
        self.ends[end].pretended = paths.to_vec();
        self.plan(end);
    }

    pub fn lose_next(&mut self, sender: usize, path: u32, count: u32) {
        self.lose_next.insert((path, sender), count);
    }

    pub fn reach(&self, end: usize, path: u32) -> Reach {
        self.ends[end].monitors[&path].reach()
    }

    pub fn cadence(&self, end: usize, path: u32) -> Option<Cadence> {
        self.ends[end].orders[&path].pace.map(|(cadence, _)| cadence)
    }

    pub fn interval(&self, end: usize, path: u32) -> Option<Duration> {
        self.ends[end].orders[&path].pace.map(|(_, interval)| interval)
    }

    pub fn bytes(&self, uplink: u32) -> u64 {
        self.sent.get(&uplink).into_iter().flatten().map(|(_, bytes)| bytes).sum()
    }

    pub fn forget_bytes(&mut self) {
        self.sent.clear();
    }

    pub fn deferred(&self) -> u64 {
        let deferred = |end: &End| {
            let c = end.pacer.counters();
            c.deferred_used + c.deferred_standby + c.deferred_idle + c.deferred_resting
        };
        self.ends.iter().map(deferred).sum()
    }

    pub fn overdrawn(&self) -> u64 {
        self.ends.iter().map(|end| end.pacer.counters().overdrawn).sum()
    }

    /// The most that an uplink carried within any such time.
    pub fn most_in(&self, uplink: u32, time: Duration) -> u64 {
        let (mut sum, mut most) = (0, 0);
        let mut window: VecDeque<(Micros, u64)> = VecDeque::new();
        for &(at, bytes) in self.sent.get(&uplink).into_iter().flatten() {
            while window.front().is_some_and(|(first, _)| at.since(*first) >= time) {
                sum -= window.pop_front().map_or(0, |(_, bytes)| bytes);
            }
            window.push_back((at, bytes));
            sum += bytes;
            most = most.max(sum);
        }
        most
    }

    fn plan(&mut self, end: usize) {
        let now = self.now;
        self.ends[end].plan(now);
    }

    fn settle(&mut self, end: usize) {
        let now = self.now;
        self.ends[end].settle(now);
    }

    fn send_due(&mut self, end: usize) {
        let now = self.now;
        for path in PATHS {
            if let Some(inner) = self.ends[end].probe(path, now) {
                self.send(end, path, inner);
            }
        }
    }

    fn send_keepalives(&mut self) {
        if self.keepalive_at.is_none_or(|at| at > self.now) {
            return;
        }
        let pacer = &self.ends[0].pacer;
        // The two paths over LTE lead to two endpoints.
        let resting = [3, 4].iter().filter(|path| pacer.rests(PathId(**path))).count() as u64;
        let every = pacer.keepalive(UplinkId(LTE)).unwrap();
        self.count(LTE, resting * cost::keepalive_bytes(false));
        self.keepalive_at = Some(self.now + every);
    }

    fn send(&mut self, from: usize, path: u32, inner: Vec<u8>) {
        let over = self.uplinks.iter().find(|(_, paths)| paths.contains(&path));
        let uplink = *over.unwrap().0;
        self.count(uplink, cost::packet_bytes(inner.len() as u64, false));
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let unit = (self.random >> 11) as f64 / (1u64 << 53) as f64;
        let mut lost = self.dead.contains(&(path, from)) || path == 1 && unit < self.setup.loss;
        if let Some(left) = self.lose_next.get_mut(&(path, from)).filter(|left| **left > 0) {
            *left -= 1;
            lost = true;
        }
        if !lost {
            self.numbered += 1;
            self.flying.insert((self.now + DELAY, self.numbered), (1 - from, path, inner));
        }
    }

    fn count(&mut self, uplink: u32, bytes: u64) {
        self.sent.entry(uplink).or_default().push_back((self.now, bytes));
    }

    fn receive(&mut self, to: usize, path: u32, packet: &[u8]) {
        let now = self.now;
        if let Some(reply) = self.ends[to].receive(path, packet, now) {
            self.send(to, path, reply);
        }
    }
}

impl End {
    fn new(side: usize, state: &EdgeState) -> Self {
        let mut pacer = Pacer::default();
        pacer.configure(state, Micros(0));
        let config = ProbeConfig {
            path: PathId(0),
            local: EdgeId(side as u32 + 1),
            peer: EdgeId(2 - side as u32),
            intervals: Intervals::default(),
            cadence: Cadence::Used,
            seed: 17,
            unix_at_zero: Duration::from_secs(1_700_000_000),
            least_bytes: 0,
        };
        let mut end = End {
            pacer,
            sessions: BTreeMap::new(),
            monitors: BTreeMap::new(),
            orders: BTreeMap::new(),
            carries: vec![1],
            pretended: Vec::new(),
            replan_at: None,
            seen: Vec::new(),
            config,
        };
        PATHS.iter().for_each(|path| end.begin(*path, Micros(0)));
        end
    }

    fn begin(&mut self, path: u32, now: Micros) {
        let seed = u64::from(path) * 7_919 + now.0;
        let config = ProbeConfig { path: PathId(path), seed, ..self.config.clone() };
        self.sessions.insert(path, ProbeSession::new(config, now));
        self.monitors.insert(path, PathMonitor::new(PathId(path), Vec::new(), now));
    }

    fn plan(&mut self, now: Micros) {
        let view = |path: u32| PathView {
            path: PathId(path),
            up: self.monitors[&path].reach() == Reach::Up && !self.pretended.contains(&path),
            carries: self.carries.contains(&path),
            // Shares neither uplink with path 1; of four paths over one uplink, the second.
            next: path == if self.pacer.usage(PathId(4)) == UplinkUse::Normal { 2 } else { 4 },
            losses_in_row: self.sessions[&path].losses_in_row(),
            keyed: Some(Micros(0)),
        };
        let views: Vec<PathView> = PATHS.iter().map(|path| view(*path)).collect();
        for order in self.pacer.plan(TunnelId(1), &views, now) {
            let path = order.path.0;
            match order.pace {
                Some((cadence, interval)) => {
                    self.sessions.get_mut(&path).unwrap().set_pace(cadence, interval, now);
                }
                None if self.orders.get(&path).is_some_and(|o| o.pace.is_none()) => {}
                None => self.begin(path, now),
            }
            self.orders.insert(path, order);
        }
        self.replan_at = self.pacer.next_deadline(TunnelId(1), now);
    }

    fn settle(&mut self, now: Micros) {
        let mut seen = Vec::new();
        for path in PATHS {
            let (session, monitor) =
                (self.sessions.get_mut(&path).unwrap(), self.monitors.get_mut(&path).unwrap());
            while let Some(sample) = session.poll_sample() {
                monitor.handle_sample(&sample);
            }
            monitor.set_interval(session.interval(), now);
            monitor.handle_time(now);
            seen.push((monitor.reach(), session.losses_in_row() >= policy::WAKE_RUN));
        }
        if seen != self.seen || self.replan_at.is_some_and(|at| now >= at) {
            self.seen = seen;
            self.plan(now);
        }
    }

    fn next_deadline(&mut self) -> Micros {
        let orders = &self.orders;
        let live = |path: &u32| orders[path].pace.is_some();
        let sessions = self.sessions.iter_mut().filter(|(path, _)| live(path));
        let sessions = sessions.map(|(_, session)| session.next_deadline());
        sessions.chain(self.replan_at).min().unwrap()
    }

    fn digest(&mut self, now: Micros) -> Vec<DigestEntry> {
        let orders = &self.orders;
        let sessions = self.sessions.iter_mut();
        sessions
            .map(|(path, session)| DigestEntry {
                wanted: orders[path].wanted,
                ..session.heard(now)
            })
            .collect()
    }

    fn probe(&mut self, path: u32, now: Micros) -> Option<Vec<u8>> {
        self.orders[&path].pace?;
        let session = self.sessions.get_mut(&path).unwrap();
        if session.is_due(now)
            && let Admission::Wait(until) = self.pacer.admit(PathId(path), session.waited(now), now)
        {
            session.defer(until);
        }
        let rests = self.pacer.rests(PathId(path));
        let digest = if rests { Vec::new() } else { self.digest(now) };
        let session = self.sessions.get_mut(&path).unwrap();
        session.poll_transmit(now, &digest).map(|probe| probe.inner)
    }

    fn receive(&mut self, path: u32, packet: &[u8], now: Micros) -> Option<Vec<u8>> {
        let packet = decapsulate(packet).unwrap();
        let digest = self.digest(now);
        let session = self.sessions.get_mut(&path).unwrap();
        let (told, reply) = match packet.kind {
            Kind::Request => match session.handle_request(&packet, now, now, &digest) {
                Ok(request) => (request.peer_digest, Some(request.reply)),
                Err(_) => (Vec::new(), None),
            },
            Kind::Reply => {
                let reply = session.handle_reply(&packet, now);
                (reply.map(|reply| reply.peer_digest).unwrap_or_default(), None)
            }
        };
        for entry in told {
            if let Some(monitor) = self.monitors.get_mut(&entry.path.0) {
                monitor.handle_peer_digest(&entry, now);
            }
            if entry.wanted && self.pacer.peer_wants(entry.path, now) {
                self.plan(now);
            }
        }
        reply
    }
}

fn edge(hub: bool, setup: &Setup) -> EdgeState {
    let usage = match setup.lte {
        UplinkUse::Normal => wire::UplinkUse::Unspecified,
        UplinkUse::Standby => wire::UplinkUse::Standby,
        UplinkUse::LastResort => wire::UplinkUse::LastResort,
    };
    let own = |id: u32| wire::Uplink {
        id,
        name: format!("u{id}"),
        interface: format!("u{id}"),
        probe_budget_bytes_per_s: if id == FIBRE { setup.fibre_budget } else { 0 },
        r#use: if id == LTE { usage.into() } else { 0 },
        ..Default::default()
    };
    let peers = |id: u32| {
        let over = match (setup.all_on_fibre, id) {
            (true, FIBRE) => 4,
            (_, FIBRE | LTE) => 2,
            _ => 0,
        };
        let uplink = own(id);
        let budget = uplink.probe_budget_bytes_per_s;
        wire::PeerUplink {
            id,
            name: uplink.name.clone(),
            r#use: uplink.r#use,
            probe_budget_bytes_per_s: budget,
            paths: over,
            ..Default::default()
        }
    };
    let path = |id: u32| {
        let branch = if setup.all_on_fibre || id < 3 { FIBRE } else { LTE };
        let (a, b) = (branch, 1 + (id + 1) % 2);
        let (local, remote) = if hub { (b, a) } else { (a, b) };
        wire::Path {
            id,
            local_uplink_id: local,
            remote_uplink_id: remote,
            family: wire::AddressFamily::Ipv4.into(),
        }
    };
    let (mine, theirs): (&[u32], &[u32]) =
        if hub { (&[1, 2], &[FIBRE, LTE]) } else { (&[FIBRE, LTE], &[1, 2]) };
    let tunnel = wire::Tunnel {
        id: 1,
        peer_edge_id: if hub { 1 } else { 2 },
        profile: Some(wire::TunnelProfile {
            suite: "aes-128-gcm".to_owned(),
            rekey_after_s: 3_600,
            replay_window_packets: 1_024,
            probe_interval_ms: setup.used_ms,
            probe_idle_interval_ms: setup.used_ms.max(500),
            ..Default::default()
        }),
        paths: PATHS.iter().map(|id| path(*id)).collect(),
        peer_uplinks: theirs.iter().map(|id| peers(*id)).collect(),
        ..Default::default()
    };
    let config = wire::EdgeConfig {
        edge_id: if hub { 2 } else { 1 },
        fabric_port: 4510,
        uplinks: mine.iter().map(|id| own(*id)).collect(),
        tunnels: vec![tunnel],
        traffic_classes: vec![wire::TrafficClass {
            name: "default".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    config::decode(&config).unwrap()
}
