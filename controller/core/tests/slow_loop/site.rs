//! One spoke's own loop: the real monitors and selectors, fed with what became of its probes.

use std::collections::BTreeSet;
use std::time::Duration;

use hawser_controller_core::advice::{Advice as Given, PathReport, Reach as Reported};
use hawser_controller_core::{EdgeId, PathId as WirePath};
use hawser_edge_core::config::{ClassMode, SlaLimits};
use hawser_edge_core::id::{ClassId, PathId, TunnelId, UplinkId};
use hawser_edge_core::probe::{Outcome, Sample, Settled, Way};
use hawser_edge_core::select::{Advice, CandidateSpec, ClassPolicy, Decision, Selector};
use hawser_edge_core::sla::{PathMonitor, Reach, SlaClass, SlaState};
use hawser_edge_core::time::Micros;

use crate::fleet::{self, HUBS, PROVIDERS};

const CLASS: &str = "default";

/// What became of a probe: its RTT in ms, or nothing.
pub type Fate = Option<f64>;

pub struct Site {
    number: usize,
    /// By hub, then by provider.
    monitors: [[PathMonitor; 2]; HUBS],
    selectors: [Selector; HUBS],
    sequence: u64,
    /// What it was told last: hubs to avoid, until when, and that it was told at all.
    avoided_hubs: BTreeSet<EdgeId>,
    advised_until: Micros,
}

/// A move, with the states of both paths as they were.
pub struct Move {
    pub decision: Decision,
    pub from: Option<SlaState>,
    pub to: Option<SlaState>,
}

impl Site {
    pub fn new(number: usize, interval: Duration, now: Micros) -> Self {
        let limits =
            SlaLimits { max_rtt_us: 150_000, max_loss_ppm: 20_000, ..SlaLimits::default() };
        let monitor = |hub: usize, provider: usize| {
            let class = SlaClass { name: CLASS.into(), limits };
            let path = PathId(fleet::path(number, hub, provider).0);
            let mut monitor = PathMonitor::new(path, vec![class], now);
            monitor.set_interval(interval, now);
            monitor
        };
        Site {
            number,
            monitors: [0, 1].map(|hub| [0, 1].map(|provider| monitor(hub, provider))),
            selectors: [0, 1].map(|hub| selector(number, hub, now)),
            sequence: 0,
            avoided_hubs: BTreeSet::new(),
            advised_until: Micros(0),
        }
    }

    /// One probe on each path, sent at `now`; `fate(hub, provider)`. Then what the selectors make of it.
    pub fn probe(&mut self, now: Micros, mut fate: impl FnMut(usize, usize) -> Fate) -> Vec<Move> {
        self.sequence += 1;
        for hub in 0..HUBS {
            for provider in 0..PROVIDERS.len() {
                let (known, outcome) = match fate(hub, provider) {
                    Some(ms) => {
                        let rtt = Duration::from_micros((ms * 1e3) as u64);
                        (now + rtt, Outcome::Rtt { rtt })
                    }
                    None => {
                        let known = now + Duration::from_millis(400);
                        (known, Outcome::Lost { way: Some(Way::Forward) })
                    }
                };
                let settled = Settled::default();
                let sequence = self.sequence;
                let sample = Sample { sequence, sent: now, known, outcome, settled, ipdv: None };
                let monitor = &mut self.monitors[hub][provider];
                monitor.handle_sample(&sample);
                monitor.handle_time(known);
            }
        }
        self.select(now + Duration::from_millis(500))
    }

    fn select(&mut self, now: Micros) -> Vec<Move> {
        let mut moves = Vec::new();
        for hub in 0..HUBS {
            for monitor in &self.monitors[hub] {
                let health = monitor.health(CLASS, false);
                self.selectors[hub].handle_quality(monitor.path(), &health, now);
            }
            while let Some(decision) = self.selectors[hub].poll(now) {
                let state = |path: Option<PathId>| path.map(|path| self.state(hub, path));
                let (from, to) = (state(decision.from), state(decision.to));
                moves.push(Move { from, to, decision });
            }
        }
        moves
    }

    /// As the agent's engine takes it.
    pub fn advise(&mut self, advice: &Given, now: Micros) {
        let until = now + Duration::from_millis(advice.ttl_ms);
        for selector in &mut self.selectors {
            let avoid = advice.avoid_paths.iter().map(|path| PathId(path.0)).collect();
            let reason = advice.reason.clone();
            selector.handle_advice(Some(Advice { avoid, until, reason }), now);
        }
        self.avoided_hubs.clone_from(&advice.avoid_edges);
        self.advised_until = until;
    }

    pub fn withdraw(&mut self, now: Micros) {
        self.selectors.iter_mut().for_each(|selector| selector.handle_advice(None, now));
        self.avoided_hubs.clear();
        self.advised_until = now;
    }

    pub fn is_advised(&self, now: Micros) -> bool {
        now < self.advised_until
    }

    pub fn reports(&self) -> Vec<PathReport> {
        let of = |monitor: &PathMonitor| PathReport {
            path: WirePath(monitor.path().0),
            reach: match monitor.reach() {
                Reach::Connecting => Reported::Connecting,
                Reach::Up => Reported::Up,
                Reach::Down => Reported::Down,
            },
            violated: u64::from(monitor.health(CLASS, false).state == SlaState::Violates),
        };
        self.monitors.iter().flatten().map(of).collect()
    }

    /// The provider that carries its class to a hub, and in which state.
    pub fn selected(&self, hub: usize) -> Option<(usize, SlaState)> {
        let path = self.selectors[hub].selected()?;
        let provider = (0..PROVIDERS.len())
            .find(|&provider| fleet::path(self.number, hub, provider).0 == path.0)?;
        Some((provider, self.state(hub, path)))
    }

    /// A stand-in for reachability: the first hub that meets the SLA and is not advised against, else that meets it.
    pub fn next_hop(&self, now: Micros) -> usize {
        let rank = |hub: &usize| {
            let state = self.selected(*hub).map_or(SlaState::Down, |(_, state)| state);
            let avoided = self.is_advised(now) && self.avoided_hubs.contains(&fleet::hub(*hub));
            (state, avoided, *hub)
        };
        (0..HUBS).min_by_key(rank).unwrap_or(0)
    }

    fn state(&self, hub: usize, path: PathId) -> SlaState {
        let monitor = self.monitors[hub].iter().find(|monitor| monitor.path() == path);
        monitor.map_or(SlaState::Down, |monitor| monitor.health(CLASS, false).state)
    }
}

fn selector(site: usize, hub: usize, now: Micros) -> Selector {
    let spec = |provider: usize| CandidateSpec {
        path: PathId(fleet::path(site, hub, provider).0),
        name: PROVIDERS[provider].into(),
        local_uplink: UplinkId(fleet::uplink(fleet::spoke(site), provider).0),
        remote_uplink: UplinkId(fleet::uplink(fleet::hub(hub), provider).0),
        // Half of the sites would rather have the one, half the other.
        preference: (((site + provider) % 2) as u16, 0),
        ..CandidateSpec::default()
    };
    let policy = ClassPolicy {
        tunnel: TunnelId((site * HUBS + hub) as u32 + 1),
        class: ClassId(1),
        class_name: CLASS.into(),
        failback_hold: Duration::from_secs(30),
        dwell: Duration::from_secs(5),
        drop_when_none_meets: false,
        follows_peer: false,
        mode: ClassMode::Best,
    };
    let mut selector = Selector::new(policy, vec![spec(0), spec(1)], now);
    for provider in 0..PROVIDERS.len() {
        selector.handle_path_admin(PathId(fleet::path(site, hub, provider).0), true, now);
    }
    selector
}
