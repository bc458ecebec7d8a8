//! The agent protocol and the staged rollout together, on a virtual clock: a controller made of the pure parts of the real
//! one, agents with the real generation machine, and a network that parts, delays and forgets, while both ends crash.

mod agent;
mod controller;
mod world;

use hawser_controller_core::rollout::Phase;
use world::{Content, Trouble, World};

/// Seeds of each kind of run; together above 10,000.
const SEEDS: u64 = 2_600;

fn run(seeds: std::ops::Range<u64>, content: Content, trouble: Trouble) -> [u32; 2] {
    let mut ends = [0; 2];
    for seed in seeds {
        let mut world = World::new(seed, content, trouble);
        world.run();
        match world.phase() {
            Phase::Done => ends[0] += 1,
            Phase::RolledBack => ends[1] += 1,
            other => panic!("seed {seed}: it ended in {other:?}"),
        }
    }
    ends
}

#[test]
fn a_good_revision_reaches_everybody_however_often_controller_and_agents_restart() {
    let trouble = Trouble { restarts: true, ..Trouble::default() };
    assert_eq!(run(0..SEEDS, Content::Good, trouble), [SEEDS as u32, 0]);
}

#[test]
fn with_partitions_too_it_ends_either_everywhere_or_nowhere() {
    let trouble = Trouble { restarts: true, reboots: true, partitions: true };
    let [done, back] = run(0..SEEDS, Content::Good, trouble);
    assert_eq!(u64::from(done + back), SEEDS);
    assert!(done > 0 && back > 0, "{done} done, {back} taken back");
}

#[test]
fn a_revision_that_cuts_agents_off_stays_with_the_canary_and_is_taken_back() {
    let trouble = Trouble { restarts: true, reboots: true, partitions: true };
    assert_eq!(run(0..SEEDS, Content::CutsOff, trouble), [0, SEEDS as u32]);
}

#[test]
fn a_revision_that_agents_reject_is_taken_back() {
    let trouble = Trouble { restarts: true, reboots: true, partitions: true };
    assert_eq!(run(0..SEEDS, Content::Rejected, trouble), [0, SEEDS as u32]);
}

#[test]
fn a_revision_that_takes_paths_down_is_taken_back() {
    let trouble = Trouble { restarts: true, ..Trouble::default() };
    assert_eq!(run(0..SEEDS, Content::Lame, trouble), [0, SEEDS as u32]);
}
