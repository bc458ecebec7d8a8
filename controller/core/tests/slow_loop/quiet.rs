//! Faults that have nothing to do with each other are no trouble, however long one waits.

use std::collections::BTreeSet;

use hawser_controller_core::EdgeId;
use hawser_controller_core::advice::{Advisor, Effect, Millis, PathReport, Reach};

use crate::fleet::{self, HUBS, PROVIDERS};
use crate::random::Random;
use crate::world::World;

/// Links at fault, by the hour at which they are well again.
struct Weather {
    until_h: Vec<[f64; 2]>,
    next_h: f64,
    per_hour: f64,
    random: Random,
}

impl Weather {
    /// Each link fails every 10 hours on average, for 10 minutes on average; a site as a whole every 50 hours.
    fn new(sites: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let per_hour = sites as f64 * (2.0 / 10.0 + 1.0 / 50.0);
        let next_h = random.waiting(1.0 / per_hour);
        Weather { until_h: vec![[0.0; 2]; sites], next_h, per_hour, random }
    }

    fn advance(&mut self, now_h: f64) {
        while self.next_h <= now_h {
            let site = self.random.below(self.until_h.len());
            let until = self.next_h + self.random.waiting(10.0 / 60.0);
            if self.random.chance(1.0 / 11.0) {
                self.until_h[site] = [until; 2];
            } else {
                let provider = self.random.below(2);
                self.until_h[site][provider] = until;
            }
            self.next_h += self.random.waiting(1.0 / self.per_hour);
        }
    }

    fn bad(&self, site: usize, provider: usize, now_h: f64) -> bool {
        self.until_h[site][provider] > now_h
    }
}

/// Virtual hours of an advisor that hears of such weather from fleets of this size; what it told and gave.
fn listen(sites: usize, hours: u64, seed: u64) -> Vec<Effect> {
    const STEP_MS: u64 = 15_000;
    let mut weather = Weather::new(sites, seed);
    let mut advisor = Advisor::new("t");
    let map = fleet::map(sites);
    let edges: BTreeSet<EdgeId> = map.edges().collect();
    advisor.set_map(map);
    edges.into_iter().for_each(|edge| advisor.handle_connected(edge, true));
    let mut effects = Vec::new();
    for step in 1..=hours * 3_600_000 / STEP_MS {
        let now = Millis(step * STEP_MS);
        let now_h = now.0 as f64 / 3.6e6;
        weather.advance(now_h);
        for site in 0..sites {
            let reports: Vec<PathReport> = (0..HUBS)
                .flat_map(|hub| (0..PROVIDERS.len()).map(move |provider| (hub, provider)))
                .map(|(hub, provider)| {
                    let bad = weather.bad(site, provider, now_h);
                    // Half of the sites lose everything, half of them some.
                    let down = bad && site % 2 == 0;
                    let reach = if down { Reach::Down } else { Reach::Up };
                    let path = fleet::path(site, hub, provider);
                    PathReport { path, reach, violated: u64::from(bad && !down) }
                })
                .collect();
            advisor.handle_reports(fleet::spoke(site), &reports, now);
        }
        advisor.evaluate(now);
        effects.extend(std::iter::from_fn(|| advisor.poll()));
    }
    effects
}

#[test]
fn independent_faults_of_fleets_of_any_size_are_no_trouble() {
    for (sites, hours, seed) in [(4, 800, 1), (10, 400, 2), (40, 100, 3), (200, 20, 4)] {
        assert_eq!(listen(sites, hours, seed), [], "{sites} sites, {hours} h");
    }
}

#[test]
fn independent_faults_seen_through_real_monitors_are_no_trouble() {
    let mut world = World::new(200, 31);
    let mut weather = Weather::new(200, 5);
    let mut faulty_minutes = 0;
    for _ in 0..90 {
        let now_h = world.now.0 as f64 / 3.6e9;
        weather.advance(now_h);
        for site in 0..200 {
            for provider in 0..2 {
                let bad = weather.bad(site, provider, now_h);
                let loss = if site % 2 == 0 { 1.0 } else { 0.15 };
                world.faults.links[site][provider] = if bad { loss } else { 0.0 };
                faulty_minutes += usize::from(bad);
            }
        }
        world.run_for(std::time::Duration::from_secs(60));
    }
    assert!(faulty_minutes > 200, "{faulty_minutes}");
    assert_eq!(world.sent, []);
    assert_eq!(world.told, []);
}
