//! The sites, what happens to their links, and the slow loop that hears of it.

use std::time::Duration;

use hawser_controller_core::EdgeId;
use hawser_controller_core::advice::{Advice, Advisor, EVALUATE_EVERY_MS, Effect, Millis, Told};
use hawser_edge_core::sla::SlaState;
use hawser_edge_core::time::Micros;

use crate::fleet::{self, HUBS, PROVIDERS};
use crate::random::Random;
use crate::site::{Move, Site};

const INTERVAL: Duration = Duration::from_secs(2);
const RTT_MS: f64 = 40.0;
/// An evaluation every so many ticks: reports are as frequent.
const TICKS_PER_LOOK: u64 = EVALUATE_EVERY_MS.div_ceil(2_000);

/// What is wrong, by cause. Losses are shares of probes.
#[derive(Debug, Clone)]
pub struct Faults {
    /// By site and provider.
    pub links: Vec<[f64; 2]>,
    pub hubs: [f64; HUBS],
    /// Sites that a provider carries before it drops a tenth of everything.
    pub capacity: [usize; 2],
}

/// How the way between the controller and the agents is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Good,
    /// Two in three of its messages are lost.
    Lossy,
}

pub struct World {
    pub now: Micros,
    pub sites: Vec<Site>,
    pub faults: Faults,
    /// None: the controller is gone.
    pub advisor: Option<Advisor>,
    pub delivery: Delivery,
    pub told: Vec<(Micros, Told)>,
    /// Messages of advice, as they were sent.
    pub sent: Vec<(Micros, EdgeId, Option<Advice>)>,
    /// Moves that were nobody's fault, to a worse path.
    pub voluntary_moves: u64,
    pub moves_to_worse: Vec<String>,
    random: Random,
    ticks: u64,
    started: u64,
}

impl World {
    pub fn new(sites: usize, seed: u64) -> Self {
        let now = Micros::from_millis(1_000);
        let mut world = World {
            now,
            sites: (0..sites).map(|site| Site::new(site, INTERVAL, now)).collect(),
            faults: Faults {
                links: vec![[0.0; 2]; sites],
                hubs: [0.0; HUBS],
                capacity: [usize::MAX; 2],
            },
            advisor: None,
            delivery: Delivery::Good,
            told: Vec::new(),
            sent: Vec::new(),
            voluntary_moves: 0,
            moves_to_worse: Vec::new(),
            random: Random(seed),
            ticks: 0,
            started: 0,
        };
        world.start_controller();
        world
    }

    /// A controller that knows nothing of what was before.
    pub fn start_controller(&mut self) {
        self.started += 1;
        let mut advisor = Advisor::new(format!("c{}", self.started));
        let map = fleet::map(self.sites.len());
        let edges: Vec<EdgeId> = map.edges().collect();
        advisor.set_map(map);
        edges.into_iter().for_each(|edge| advisor.handle_connected(edge, true));
        self.advisor = Some(advisor);
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.tick();
        }
    }

    pub fn tick(&mut self) {
        let load = self.load();
        let over = |provider: usize| load[provider] > self.faults.capacity[provider];
        let crowded = [0, 1].map(|provider| if over(provider) { 0.1 } else { 0.0 });
        for (number, site) in self.sites.iter_mut().enumerate() {
            let (faults, random) = (&self.faults, &mut self.random);
            let moves = site.probe(self.now, |hub, provider| {
                // Always as many numbers: what is drawn must not depend on what was chosen.
                let (luck, jitter) = (random.unit(), random.unit());
                let loss = [faults.links[number][provider], faults.hubs[hub], crowded[provider]];
                let arrives: f64 = loss.iter().map(|loss| 1.0 - loss).product();
                (luck < arrives).then_some(RTT_MS + jitter)
            });
            let voluntary = moves.iter().filter(|made| made.decision.cause.voluntary());
            for made in voluntary {
                self.voluntary_moves += 1;
                self.moves_to_worse.extend(to_worse(made));
            }
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(TICKS_PER_LOOK) {
            self.look();
        }
        self.now = self.now + INTERVAL;
    }

    /// Sites whose traffic each provider carries, to whichever hub is next.
    pub fn load(&self) -> [usize; 2] {
        let mut load = [0; PROVIDERS.len()];
        for site in &self.sites {
            if let Some((provider, _)) = site.selected(site.next_hop(self.now)) {
                load[provider] += 1;
            }
        }
        load
    }

    pub fn codes(&self, code: &str) -> usize {
        self.told.iter().filter(|(_, told)| told.code == code).count()
    }

    pub fn advised(&self) -> usize {
        self.sites.iter().filter(|site| site.is_advised(self.now)).count()
    }

    /// Tunnels whose class does not get its SLA.
    pub fn out_of_sla(&self) -> usize {
        let states = self.sites.iter().flat_map(|site| (0..HUBS).map(|hub| site.selected(hub)));
        states.filter(|found| found.is_none_or(|(_, state)| state != SlaState::Meets)).count()
    }

    /// Hands advice to a site as if the controller had given it.
    pub fn inject(&mut self, site: usize, advice: &Advice) {
        self.sites[site].advise(advice, self.now);
    }

    fn look(&mut self) {
        let Some(advisor) = &mut self.advisor else { return };
        let now = Millis(self.now.0 / 1_000);
        for (number, site) in self.sites.iter().enumerate() {
            advisor.handle_reports(fleet::spoke(number), &site.reports(), now);
        }
        advisor.evaluate(now);
        while let Some(effect) = advisor.poll() {
            let lost = self.delivery == Delivery::Lossy && self.random.chance(2.0 / 3.0);
            match effect {
                Effect::Tell(told) => self.told.push((self.now, told)),
                Effect::Give { edge, advice } => {
                    if let Some(site) = fleet::site_of(edge).filter(|_| !lost) {
                        self.sites[site].advise(&advice, self.now);
                    }
                    self.sent.push((self.now, edge, Some(advice)));
                }
                Effect::Withdraw { edge, .. } => {
                    if let Some(site) = fleet::site_of(edge).filter(|_| !lost) {
                        self.sites[site].withdraw(self.now);
                    }
                    self.sent.push((self.now, edge, None));
                }
            }
        }
    }
}

fn to_worse(made: &Move) -> Option<String> {
    (made.to > made.from).then(|| format!("{:?} to {:?}: {}", made.from, made.to, made.decision))
}
