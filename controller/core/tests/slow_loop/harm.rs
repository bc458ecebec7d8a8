//! Wrong advice does no harm.

use std::time::Duration;

use hawser_controller_core::advice::Advice;
use hawser_edge_core::policy;
use hawser_edge_core::sla::SlaState;

use crate::fleet::{self, HUBS};
use crate::random::Random;
use crate::world::World;

const SITES: usize = 200;
const MINUTE: Duration = Duration::from_secs(60);

/// Faults that come and go by the seed alone.
fn stir(world: &mut World, random: &mut Random) {
    for link in &mut world.faults.links {
        for loss in link {
            // About one link in ten is at fault; a fault lasts some minutes.
            let (turn, kind) = (random.unit(), random.unit());
            if *loss > 0.0 && turn < 0.2 {
                *loss = 0.0;
            } else if *loss == 0.0 && turn < 0.02 {
                *loss = if kind < 0.3 { 1.0 } else { 0.15 };
            }
        }
    }
}

/// Any path, any hub, even everything at once: what the controller would never say.
fn wrong(random: &mut Random, site: usize) -> Advice {
    let paths = (0..HUBS).flat_map(|hub| (0..2).map(move |p| fleet::path(site, hub, p)));
    Advice {
        id: "wrong".into(),
        ttl_ms: 120_000,
        avoid_paths: paths.filter(|_| random.chance(0.5)).collect(),
        avoid_edges: (0..HUBS).map(fleet::hub).filter(|_| random.chance(0.5)).collect(),
        reason: "somebody is wrong".into(),
    }
}

#[test]
fn wrong_advice_makes_no_class_worse_off() {
    let (mut with, mut without) = (World::new(SITES, 21), World::new(SITES, 21));
    (with.advisor, without.advisor) = (None, None);
    let (mut faults, mut same_faults, mut choice) = (Random(1), Random(1), Random(2));
    let mut worse_s = 0;
    for _ in 0..30 {
        stir(&mut with, &mut faults);
        stir(&mut without, &mut same_faults);
        for site in 0..SITES {
            if choice.chance(0.1) {
                let advice = wrong(&mut choice, site);
                with.inject(site, &advice);
            }
        }
        for _ in 0..30 {
            with.tick();
            without.tick();
            // Both worlds draw the same numbers, so every path is in the same state in both.
            for (ours, theirs) in with.sites.iter().zip(&without.sites) {
                for hub in 0..HUBS {
                    let state = |found: Option<(usize, SlaState)>| found.map(|(_, state)| state);
                    worse_s +=
                        2 * u64::from(state(ours.selected(hub)) > state(theirs.selected(hub)));
                }
            }
        }
    }
    assert_eq!(with.moves_to_worse, Vec::<String>::new());
    let led = with.voluntary_moves.saturating_sub(without.voluntary_moves);
    assert!(led > 100, "the advice was followed: {led} more moves");
    // What it can cost: the fault that comes right after a move waits for the dwell.
    let bound = with.voluntary_moves * policy::SLA_DWELL_MAX.as_secs();
    assert!(worse_s <= bound, "{worse_s} s worse, with {led} more moves");
    let total = 30 * 60 * (SITES * HUBS) as u64;
    assert!(worse_s * 1_000 <= total, "{worse_s} of {total} s");
}

#[test]
fn advice_against_everything_is_advice_against_nothing() {
    let mut world = World::new(20, 22);
    world.advisor = None;
    world.run_for(MINUTE * 2);
    let before: Vec<_> = world.sites.iter().map(|site| [0, 1].map(|h| site.selected(h))).collect();
    for site in 0..20 {
        let paths = (0..HUBS).flat_map(|hub| (0..2).map(move |p| fleet::path(site, hub, p)));
        let advice = Advice {
            id: "all".into(),
            ttl_ms: 600_000,
            avoid_paths: paths.collect(),
            avoid_edges: (0..HUBS).map(fleet::hub).collect(),
            reason: "all".into(),
        };
        world.inject(site, &advice);
    }
    world.run_for(MINUTE * 2);
    let after: Vec<_> = world.sites.iter().map(|site| [0, 1].map(|h| site.selected(h))).collect();
    assert_eq!(before, after);
    assert_eq!(world.out_of_sla(), 0);
}
