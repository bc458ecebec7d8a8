//! Troubles that are: found, answered in waves, and over.

use std::collections::BTreeSet;
use std::time::Duration;

use hawser_controller_core::EdgeId;

use crate::fleet::{self, HUBS};
use crate::random::Random;
use crate::world::{Delivery, World};

const SITES: usize = 200;
const MINUTE: Duration = Duration::from_secs(60);

/// Three in ten sites lose 15 % on provider alpha.
fn brown_out(world: &mut World, seed: u64) -> BTreeSet<usize> {
    let mut random = Random(seed);
    let hit: BTreeSet<usize> = (0..world.sites.len()).filter(|_| random.chance(0.3)).collect();
    hit.iter().for_each(|&site| world.faults.links[site][0] = 0.15);
    hit
}

fn well_again(world: &mut World) {
    world.faults.links.iter_mut().for_each(|link| *link = [0.0; 2]);
    world.faults.hubs = [0.0; HUBS];
}

fn ready(seed: u64) -> World {
    let mut world = World::new(SITES, seed);
    world.run_for(MINUTE * 3);
    assert_eq!(world.advised(), 0);
    world
}

/// Edges that got an advice of their own that they did not have before, look by look.
fn new_per_look(world: &World) -> Vec<usize> {
    let mut met: BTreeSet<EdgeId> = BTreeSet::new();
    let mut counts: Vec<(u64, usize)> = Vec::new();
    for (at, edge, advice) in &world.sent {
        let new = advice.is_some() && fleet::site_of(*edge).is_some() && met.insert(*edge);
        match counts.last_mut() {
            Some((last, count)) if *last == at.0 => *count += usize::from(new),
            _ => counts.push((at.0, usize::from(new))),
        }
    }
    counts.into_iter().map(|(_, count)| count).collect()
}

#[test]
fn a_providers_brownout_at_three_in_ten_sites_is_found_answered_in_waves_and_forgotten() {
    let mut world = ready(11);
    let hit = brown_out(&mut world, 1);
    world.run_for(MINUTE * 4);
    let found: Vec<_> = world.told.iter().filter(|(_, t)| t.code == "TROUBLE_FOUND").collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.message.starts_with("provider alpha has trouble at many sites"));
    assert!(world.advised() >= hit.len() * 8 / 10, "{} of {}", world.advised(), hit.len());

    world.run_for(MINUTE * 12);
    assert_eq!(world.advised(), SITES, "the others are led away too");
    let [alpha, beta] = world.load();
    assert!(alpha == 0 && beta == SITES, "{alpha} on alpha, {beta} on beta");
    // Those that do not suffer come a tenth at a time; the victims come as they are seen.
    let unhurt = new_per_look(&world).into_iter().skip(1).max();
    assert!(unhurt <= Some(SITES / 10 + hit.len() / 2), "{:?}", new_per_look(&world));

    well_again(&mut world);
    world.run_for(MINUTE * 20);
    assert_eq!((world.codes("TROUBLE_OVER"), world.advised()), (1, 0));
    assert_eq!(world.codes("ADVICE_GIVEN"), world.codes("ADVICE_ENDED"));
    let [alpha, beta] = world.load();
    assert!(alpha > SITES / 3 && beta > SITES / 3, "{alpha} on alpha, {beta} on beta");
    assert_eq!(world.moves_to_worse, Vec::<String>::new());
    assert!(world.advisor.as_ref().unwrap().troubles().is_empty());
}

#[test]
fn an_alternative_that_can_not_bear_everybody_is_not_given_everybody() {
    let mut world = ready(12);
    brown_out(&mut world, 2);
    // The victims fit on beta, with some of the others; not all.
    world.faults.capacity[1] = SITES * 8 / 10;
    let mut crowded = 0;
    let minutes = 40;
    for _ in 0..minutes {
        world.run_for(MINUTE);
        crowded += usize::from(world.load()[1] > world.faults.capacity[1]);
    }
    assert!(world.codes("ADVICE_HELD") >= 1, "{:?}", world.told.last());
    assert!(world.advised() < SITES, "{}", world.advised());
    // A path that loses a little more than it may is left after a minute, not at once.
    assert!(crowded * 2 < minutes, "{crowded} of {minutes} minutes above what beta carries");
    assert_eq!(world.moves_to_worse, Vec::<String>::new());
}

#[test]
fn a_hub_that_is_overloaded_is_told_from_its_providers_and_its_spokes_are_led_away() {
    let mut world = ready(13);
    world.faults.hubs[0] = 0.1;
    world.run_for(MINUTE * 5);
    let found: Vec<_> = world.told.iter().filter(|(_, t)| t.code == "TROUBLE_FOUND").collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.message.starts_with("hub hub0-1"), "{found:?}");
    let names_it = |advice: &hawser_controller_core::advice::Advice| {
        advice.avoid_edges == [fleet::hub(0)].into() && advice.avoid_paths.is_empty()
    };
    assert!(world.sent.iter().all(|(_, _, advice)| advice.as_ref().is_none_or(names_it)));
    world.run_for(MINUTE * 10);
    assert!(world.sites.iter().all(|site| site.next_hop(world.now) == 1));
    assert_eq!(world.codes("TROUBLE_FOUND"), 1);

    well_again(&mut world);
    world.run_for(MINUTE * 20);
    assert_eq!((world.codes("TROUBLE_OVER"), world.advised()), (1, 0));
    assert!(world.sites.iter().all(|site| site.next_hop(world.now) == 0));
}

#[test]
fn both_providers_in_trouble_leave_nothing_to_advise() {
    let mut world = ready(14);
    let mut random = Random(5);
    for link in &mut world.faults.links {
        *link = [0, 1].map(|_| if random.chance(0.4) { 0.2 } else { 0.0 });
    }
    world.run_for(MINUTE * 15);
    for (at, edge, advice) in &world.sent {
        let (Some(site), Some(advice)) = (fleet::site_of(*edge), advice) else { continue };
        for hub in 0..HUBS {
            let avoided =
                (0..2).filter(|p| advice.avoid_paths.contains(&fleet::path(site, hub, *p)));
            assert!(avoided.count() < 2, "site {site} at {at:?}: {advice:?}");
        }
    }
    assert_eq!(world.moves_to_worse, Vec::<String>::new());
}

#[test]
fn lost_advice_and_a_lost_controller_leave_agents_to_themselves() {
    let mut world = ready(15);
    world.delivery = Delivery::Lossy;
    brown_out(&mut world, 3);
    world.run_for(MINUTE * 15);
    assert!(
        world.advised() > SITES / 2,
        "{}: refreshes make up for what was lost",
        world.advised()
    );
    world.advisor = None;
    world.run_for(MINUTE * 6);
    assert_eq!(world.advised(), 0, "advice ends by itself");
    // It begins with nothing, and learns again.
    world.delivery = Delivery::Good;
    world.start_controller();
    let before = world.sent.len();
    world.run_for(MINUTE);
    assert_eq!(world.sent.len(), before);
    well_again(&mut world);
    world.run_for(MINUTE * 10);
    assert_eq!((world.sent.len(), world.advised()), (before, 0));
    assert_eq!(world.moves_to_worse, Vec::<String>::new());
}

#[test]
fn the_same_seed_gives_the_same_advice() {
    let run = || {
        let mut world = ready(16);
        brown_out(&mut world, 4);
        world.run_for(MINUTE * 6);
        (world.sent, world.told)
    };
    let (first, second) = (run(), run());
    assert!(!first.0.is_empty());
    assert_eq!(first, second);
}
