use proptest::prelude::*;

use super::*;

const FLOOR: u16 = 1_280;
const CEILING: u16 = 1_430;
const RTT: Duration = Duration::from_millis(20);

/// A path that carries what is not longer than `width`, and loses of the rest what `loses` says.
struct World {
    pmtu: Pmtu,
    now: Micros,
    width: u16,
    sent: u32,
    loses: Box<dyn FnMut() -> bool>,
}

impl World {
    fn new(width: u16) -> World {
        World::lossy(width, Box::new(|| false))
    }

    fn lossy(width: u16, loses: Box<dyn FnMut() -> bool>) -> World {
        let now = Micros(1_000_000);
        World { pmtu: Pmtu::new(FLOOR, CEILING, true, now), now, width, sent: 0, loses }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.pmtu.next_deadline().filter(|at| *at <= end) {
            assert!(at >= self.now || self.pmtu.probe.is_none(), "a deadline never stands still");
            self.now = self.now.max(at);
            let number = self.sent;
            let octets = || u64::from(number).to_be_bytes();
            let Some(probe) = self.pmtu.poll(RTT, self.now, octets) else { continue };
            self.sent += 1;
            if probe.inner_bytes <= self.width && !(self.loses)() {
                self.now = self.now + RTT;
                assert!(self.pmtu.handle_answer(probe.octets, self.now));
            }
        }
        self.now = end;
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_path_as_wide_as_its_links_is_proven_by_one_probe_and_never_narrowed() {
    let mut world = World::new(CEILING);
    assert_eq!(world.pmtu.current(), CEILING, "before anything is proven");
    world.run(seconds(1));
    assert_eq!((world.pmtu.current(), world.sent), (CEILING, 1));
    world.run(seconds(3_600));
    assert_eq!(world.pmtu.current(), CEILING);
    assert!(world.sent <= 1 + 3_600 / 30 + 1, "{}", world.sent);
}

#[test]
fn a_narrower_path_is_found_within_a_step_in_seconds() {
    for width in [1_280, 1_281, 1_300, 1_366, 1_422, 1_429] {
        let mut world = World::new(width);
        world.run(seconds(1));
        assert!((FLOOR..=width).contains(&world.pmtu.current()), "{width}: never stuck");
        world.run(seconds(15));
        let found = world.pmtu.current();
        assert!(found <= width && width - found < STEP_BYTES, "{width}: {found}");
    }
}

#[test]
fn a_path_that_widens_is_noticed_when_it_is_time_to_raise() {
    let mut world = World::new(1_350);
    world.run(seconds(60));
    let narrow = world.pmtu.current();
    world.width = CEILING;
    world.run(seconds(500));
    assert_eq!(world.pmtu.current(), narrow);
    world.run(seconds(200));
    assert_eq!(world.pmtu.current(), CEILING);
}

#[test]
fn a_path_that_narrows_is_noticed_by_its_confirmation_and_by_icmp_at_once() {
    for icmp in [false, true] {
        let mut world = World::new(CEILING);
        world.run(seconds(1));
        world.width = 1_380;
        if icmp {
            world.pmtu.handle_too_big(1_380, world.now);
            world.run(seconds(2));
        } else {
            world.run(seconds(35));
        }
        let found = world.pmtu.current();
        assert!((FLOOR..=1_380).contains(&found), "ICMP {icmp}: {found}");
        world.run(seconds(20));
        assert!(1_380 - world.pmtu.current() < STEP_BYTES);
    }
}

#[test]
fn forged_icmp_costs_a_probe_and_narrows_nothing() {
    let mut world = World::new(CEILING);
    world.run(seconds(1));
    for _ in 0..100 {
        world.pmtu.handle_too_big(600, world.now);
    }
    world.run(seconds(1));
    assert_eq!((world.pmtu.current(), world.sent), (CEILING, 2));
}

#[test]
fn what_this_host_refuses_is_not_tried_again() {
    let mut pmtu = Pmtu::new(FLOOR, CEILING, true, Micros(0));
    let probe = pmtu.poll(RTT, Micros(0), || [1; 8]).unwrap();
    pmtu.handle_refused(probe.inner_bytes, Micros(1));
    assert_eq!(pmtu.current(), FLOOR);
    assert_eq!(pmtu.poll(RTT, Micros(1), || [2; 8]).unwrap().inner_bytes, FLOOR);
}

#[test]
fn a_path_too_narrow_for_any_is_said_to_be_and_asked_again() {
    let mut world = World::new(1_000);
    world.run(seconds(30));
    assert!(world.pmtu.is_too_narrow());
    assert_eq!(world.pmtu.current(), FLOOR);
    let sent = world.sent;
    world.run(seconds(300));
    assert!(world.sent - sent < 200, "{}", world.sent - sent);
    world.width = CEILING;
    world.run(seconds(60));
    assert_eq!((world.pmtu.is_too_narrow(), world.pmtu.current()), (false, CEILING));
}

#[test]
fn a_link_that_changes_sets_a_new_ceiling() {
    let mut world = World::new(9_000);
    world.run(seconds(1));
    world.pmtu.set_ceiling(1_390, true, world.now);
    assert_eq!(world.pmtu.current(), 1_390);
    world.pmtu.set_ceiling(8_900, false, world.now);
    world.run(seconds(1));
    assert_eq!(world.pmtu.current(), 8_900);
    let sent = world.sent;
    world.run(seconds(3_600));
    assert_eq!(world.sent, sent, "where volume is paid for nothing is confirmed");
}

#[test]
fn what_is_lost_while_the_path_is_down_says_nothing_of_its_width() {
    let mut world = World::new(CEILING);
    world.run(seconds(1));
    world.width = 0;
    world.run(seconds(30));
    world.pmtu.suspend();
    world.width = CEILING;
    world.pmtu.resume(world.now);
    let sent = world.sent;
    world.run(seconds(1));
    assert_eq!((world.pmtu.current(), world.sent), (CEILING, sent + 1), "proven anew by one probe");
}

proptest! {
    #[test]
    fn whatever_happens_the_size_stays_in_its_bounds_and_a_quiet_path_is_found(
        width in FLOOR..=CEILING,
        losses in prop::collection::vec(any::<bool>(), 0..60),
        icmp in prop::collection::vec((0..120_u64, any::<u16>()), 0..8),
    ) {
        let mut losses = losses.into_iter();
        let mut world = World::lossy(width, Box::new(move || losses.next().unwrap_or(false)));
        for (pause, size) in icmp {
            world.run(seconds(pause));
            world.pmtu.handle_too_big(size, world.now);
            prop_assert!((FLOOR..=CEILING).contains(&world.pmtu.current()));
        }
        // All losses are over by then, and the time to raise has come.
        world.run(seconds(4_000));
        let found = world.pmtu.current();
        prop_assert!(found <= width && width - found < STEP_BYTES, "{found} of {width}");
    }

    #[test]
    fn rare_losses_never_narrow_a_path(seed in any::<u64>()) {
        let mut state = seed | 1;
        // One round trip in twenty is lost.
        let loses = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % 20 == 0
        };
        let mut world = World::lossy(CEILING, Box::new(loses));
        world.run(seconds(1));
        prop_assume!(world.pmtu.current() == CEILING);
        world.run(seconds(3_000));
        prop_assert_eq!(world.pmtu.current(), CEILING);
    }
}
