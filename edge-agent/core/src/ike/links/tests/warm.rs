//! A tunnel with a second association, which is there before it is needed.

use super::*;

fn warm() -> World {
    let mut settings = settings();
    settings.tunnel.warm = true;
    World::new(settings)
}

impl World {
    fn spare(&self) -> Option<usize> {
        self.place(self.links.spare())
    }
}

#[test]
fn the_spare_shares_no_uplink_and_takes_over_without_a_negotiation() {
    let mut world = warm();
    world.run(seconds(40));
    assert_eq!(world.held(), Some(0));
    let spare = world.spare().expect("another one");
    assert!(matches!(spare, 2 | 3), "by the other uplink, not {spare}");

    (world.carries[0], world.carries[1]) = (DARK, DARK);
    let dark = world.now;
    while world.held() == Some(0) {
        world.run(Duration::from_millis(10));
        assert!(world.now.since(dark) < seconds(5), "it stays where nothing goes");
    }
    assert_eq!(world.held(), Some(spare), "{:?}", world.causes());
    let up = PathId(FIRST_LINK_ID + spare as u32);
    let state = world.links.warm.as_ref().map(|warm| warm.ike(up));
    assert_eq!(state, Some(State::Up), "it was up before");
    assert_eq!(world.links.ike, State::Up);
}

#[test]
fn the_way_back_is_warm_as_soon_as_it_carries() {
    let mut world = warm();
    world.run(seconds(40));
    (world.carries[0], world.carries[1]) = (DARK, DARK);
    world.run(seconds(5));
    assert_eq!(world.spare(), Some(0), "what was left");
    // It is dark: after a while another one is the better spare.
    world.run(seconds(60));
    assert!(matches!(world.spare(), Some(2 | 3)), "{:?}", world.spare());
    (world.carries[0], world.carries[1]) = (GOOD, GOOD);
    world.run(seconds(120));
    assert_eq!(world.held(), Some(0), "{:?}", world.causes());
    assert_eq!(world.decisions.last().map(|d| d.cause), Some(Cause::FailBack));
}

#[test]
fn while_it_is_well_it_does_not_go_where_ike_does_not_come_up() {
    let mut world = warm();
    (world.carries[0], world.carries[1]) = (DARK, DARK);
    world.run(seconds(60));
    assert!(matches!(world.held(), Some(2 | 3)), "{:?}", world.causes());
    let before = world.decisions.len();
    let mute = Carries { ike: false, ..GOOD };
    (world.carries[0], world.carries[1]) = (mute, mute);
    world.run(seconds(600));
    assert_eq!(world.decisions.len(), before, "preferred, and of no use: {:?}", world.causes());
    let views = world.links.views(world.now);
    assert_eq!(views[0].refused_because, "its association is not up");
}

#[test]
fn with_the_spare_dark_as_well_any_other_link_is_taken() {
    let mut world = warm();
    world.run(seconds(40));
    let spare = world.spare().expect("another one");
    let last = 5 - spare;
    world.carries = vec![DARK; 4];
    world.carries[last] = GOOD;
    world.run(seconds(5));
    assert_eq!(world.held(), Some(last), "{:?}", world.causes());
    assert_eq!(world.links.ike, State::Up);
}

#[test]
fn what_another_agent_left_is_asked_for_again() {
    let mut world = warm();
    world.links.start_on(PathId(FIRST_LINK_ID + 2), world.now);
    world.links.start_spare_on(PathId(FIRST_LINK_ID + 1), world.now);
    world.run(seconds(10));
    assert_eq!((world.held(), world.spare()), (Some(2), Some(1)), "{:?}", world.causes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// At no time does charon have two associations over one link, and it ends up over one that works.
    #[test]
    fn the_spare_is_another_link_and_it_ends_on_one_that_works(
        turns in prop::collection::vec((0_usize..4, any::<bool>(), 0_u64..20), 1..12),
        last in prop::collection::vec(any::<bool>(), 4),
    ) {
        let mut world = warm();
        for (link, lives, wait) in turns {
            world.carries[link] = if lives { GOOD } else { DARK };
            world.run(seconds(wait));
            prop_assert!(world.spare().is_none() || world.spare() != world.held());
        }
        for (carries, lives) in world.carries.iter_mut().zip(&last) {
            *carries = if *lives { GOOD } else { DARK };
        }
        world.run(seconds(40));
        let works = world.held().is_some_and(|held| world.carries[held].packets);
        prop_assert!(works && world.links.ike == State::Up || !last.contains(&true),
            "{:?} {:?}", world.held(), last);
    }
}
