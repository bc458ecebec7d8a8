//! On virtual time: a gateway that answers or does not, over links that carry or do not, and an IKE that takes half a second.

mod warm;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::config::{IkeTunnel, SlaLimits, UplinkUse};
use crate::ike::test_tunnel;
use crate::select::Cause;

const STEP_US: u64 = 10_000;
const IKE_TAKES: Duration = Duration::from_millis(500);

/// How one link does.
#[derive(Debug, Clone, Copy)]
struct Carries {
    packets: bool,
    pings: bool,
    ike: bool,
    /// One probe in so many is lost; 0: none.
    loses_one_in: u32,
}

const GOOD: Carries = Carries { packets: true, pings: true, ike: true, loses_one_in: 0 };
const DARK: Carries = Carries { packets: false, ..GOOD };

struct World {
    links: Links,
    carries: Vec<Carries>,
    inside_lives: bool,
    now: Micros,
    on_the_way: BTreeMap<(Micros, usize), (Asked, Vec<u8>)>,
    sent: usize,
    /// Since when IKE is at it over the link that it has.
    ike_since: Micros,
    /// The same of each link of a warm tunnel that charon has.
    lanes_since: BTreeMap<usize, Micros>,
    decisions: Vec<Decision>,
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn link(uplink: u32, remote: &str) -> Link {
    Link {
        uplink: UplinkId(uplink),
        uplink_name: if uplink == 10 { "isp-a" } else { "isp-b" }.to_owned(),
        interface: format!("wan{uplink}"),
        local: Some(address(if uplink == 10 { "192.0.2.1" } else { "198.51.100.1" })),
        remote: address(remote),
        usage: UplinkUse::Normal,
        drained: false,
    }
}

/// Two uplinks and two addresses: links 0 and 1 by the first uplink, 2 and 3 by the second.
fn settings() -> LinkSettings {
    let peers = ["203.0.113.9", "203.0.113.10"];
    let tunnel = IkeTunnel {
        uplinks: vec![UplinkId(10), UplinkId(11)],
        peer_addresses: peers.map(address).to_vec(),
        ..test_tunnel()
    };
    let links = [10, 11].iter().flat_map(|uplink| peers.map(|peer| link(*uplink, peer)));
    LinkSettings {
        tunnel,
        links: links.collect(),
        slot: 0,
        inside_from: None,
        unix_at_zero: Duration::from_secs(1_800_000_000),
    }
}

impl World {
    fn new(settings: LinkSettings) -> World {
        let now = Micros(1_000_000);
        let mut seed = 1_u64;
        let random = move || {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            seed
        };
        World {
            carries: vec![GOOD; settings.links.len()],
            links: Links::new(settings, random, now),
            inside_lives: true,
            now,
            on_the_way: BTreeMap::new(),
            sent: 0,
            ike_since: now,
            lanes_since: BTreeMap::new(),
            decisions: Vec::new(),
        }
    }

    fn held(&self) -> Option<usize> {
        self.place(self.links.held())
    }

    fn ike_is_up(&self) -> bool {
        let works = |c: &Carries| c.ike && c.packets;
        let held = self.held().map(|index| self.carries[index]);
        held.is_some_and(|c| works(&c)) && self.now.since(self.ike_since) >= IKE_TAKES
    }

    fn place(&self, wanted: Option<&Link>) -> Option<usize> {
        let wanted = wanted?;
        self.links.settings.links.iter().position(|link| link == wanted)
    }

    fn tell_ike(&mut self) {
        if !self.links.settings.tunnel.warm {
            let state = if self.ike_is_up() { State::Up } else { State::Connecting };
            return self.links.handle_ike(state, self.now);
        }
        let has = [self.held(), self.place(self.links.spare())];
        self.lanes_since.retain(|index, _| has.contains(&Some(*index)));
        for index in has.into_iter().flatten() {
            let carries = self.carries[index];
            let since = self.lanes_since.entry(index).or_insert(self.now);
            if !(carries.ike && carries.packets) {
                *since = self.now;
            }
            let up = self.now.since(*since) >= IKE_TAKES;
            let state = if up { State::Up } else { State::Connecting };
            self.links.handle_lane(PathId(FIRST_LINK_ID + index as u32), state, self.now);
        }
    }

    fn reply(&mut self, asked: Asked, mut packet: Vec<u8>) {
        self.sent += 1;
        let carries = |index: usize| self.carries[index];
        let answered = match asked {
            Asked::Gateway(id) => {
                let c = carries((id.0 - FIRST_LINK_ID) as usize);
                let dice = (self.sent as u32).wrapping_mul(2_654_435_761) >> 16;
                let lost = c.loses_one_in > 0 && dice.is_multiple_of(c.loses_one_in);
                c.packets && c.pings && !lost
            }
            Asked::Inside => self.inside_lives && self.held().is_some_and(|i| carries(i).packets),
        };
        if answered {
            packet[0] = 0;
            packet[2..4].fill(0);
            let words =
                packet.chunks(2).map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]])));
            let mut sum: u64 = words.sum();
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
            packet[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
            let at = self.now + Duration::from_millis(20);
            self.on_the_way.insert((at, self.sent), (asked, packet));
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + Duration::from_micros(STEP_US);
            while let Some(entry) = self.on_the_way.first_entry().filter(|e| e.key().0 <= self.now)
            {
                let (at, _) = *entry.key();
                let (asked, packet) = entry.remove();
                // What the tunnel was asked before it moved is nobody's any more.
                let taken = self.links.handle_reply(asked, &packet, at);
                assert!(taken.is_ok() || asked == Asked::Inside, "{taken:?}");
            }
            self.tell_ike();
            while let Some(decision) = self.links.poll(self.now) {
                if decision.from != decision.to {
                    self.ike_since = self.now;
                }
                self.decisions.push(decision);
            }
            while let Some((asked, packet)) = self.links.poll_transmit(self.now) {
                self.reply(asked, packet);
            }
            assert!(self.links.next_deadline(self.now) > self.now, "it asks for the past");
        }
    }

    fn causes(&self) -> Vec<(Cause, Option<usize>)> {
        let index = |id: PathId| (id.0 - FIRST_LINK_ID) as usize;
        self.decisions.iter().map(|d| (d.cause, d.to.map(index))).collect()
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An agent that begins where another one left a tunnel, over the second uplink, whose answers come later than the first's.
fn after_another_agent(left_behind: Carries) -> World {
    let mut world = World::new(settings());
    world.links.start_on(PathId(FIRST_LINK_ID + 2), world.now);
    // charon has had it for long.
    world.ike_since = Micros(0);
    world.carries[2] = Carries { pings: false, ..left_behind };
    world.run(Duration::from_millis(200));
    world.carries[2].pings = left_behind.pings;
    world
}

#[test]
fn what_another_agent_left_is_not_moved_because_another_link_answers_first() {
    let mut world = after_another_agent(GOOD);
    world.run(Duration::from_secs(4));
    assert_eq!((world.held(), world.decisions.len()), (Some(2), 0), "{:?}", world.decisions);
}

#[test]
fn what_another_agent_left_is_left_if_it_does_not_work() {
    let mut world = after_another_agent(DARK);
    world.run(ADOPTED + Duration::from_secs(1));
    assert_ne!(world.held(), Some(2));
}

#[test]
fn the_preferred_link_is_taken_at_the_start_and_kept() {
    let mut world = World::new(settings());
    world.run(seconds(60));
    assert_eq!(world.causes(), [(Cause::Start, Some(0))]);
    let views = world.links.views(world.now);
    assert!(views[0].chosen && views[0].health.figures.rtt_us >= 20_000);
    assert!(views[3].refused_because.contains("less preferred"), "{}", views[3].refused_because);
}

#[test]
fn a_dark_uplink_is_left_for_the_other_one_and_taken_again_after_its_hold() {
    let mut world = World::new(settings());
    world.run(seconds(10));
    (world.carries[0], world.carries[1]) = (DARK, DARK);
    world.run(Duration::from_millis(1_500));
    // That shares neither uplink nor address with the one that is left.
    assert_eq!(world.held(), Some(3), "{:?}", world.causes());
    let moved = world.decisions.last().expect("it moved");
    let words = "moves from isp-a → 203.0.113.9 to isp-b → 203.0.113.10: it is down: probes are not answered";
    assert_eq!(moved.summary, words);
    world.run(seconds(20));
    (world.carries[0], world.carries[1]) = (GOOD, GOOD);
    world.run(seconds(25));
    assert_ne!(world.held(), Some(0), "not before the hold");
    world.run(seconds(15));
    assert_eq!(world.held(), Some(0), "{:?}", world.causes());
    assert_eq!(world.decisions.last().map(|d| d.cause), Some(Cause::FailBack));
}

#[test]
fn a_gateways_address_that_is_gone_is_left_for_its_other_one() {
    let mut world = World::new(settings());
    world.run(seconds(10));
    (world.carries[0], world.carries[2]) = (DARK, DARK);
    world.run(seconds(2));
    // Link 3 shares nothing with the one that is left.
    assert_eq!(world.held(), Some(3));
}

#[test]
fn a_gateway_that_answers_no_pings_is_tried_link_by_link() {
    let mut world = World::new(settings());
    let mute = Carries { pings: false, ..GOOD };
    world.carries = vec![Carries { ike: false, ..mute }, mute, mute, mute];
    world.run(seconds(60));
    assert_eq!(world.causes()[0], (Cause::Start, Some(0)));
    assert_eq!(world.decisions.len(), 2, "{:?}", world.causes());
    let held = world.held().expect("one that works");
    assert_ne!(held, 0);
    world.run(seconds(3_600));
    assert_eq!(world.decisions.len(), 2, "what works is not left for what was never proven");
    world.carries[held].packets = false;
    // Link 0 is forgiven by now, and may be tried first, in vain.
    world.run(seconds(120));
    assert_ne!(world.held(), Some(held));
    assert!(world.ike_is_up());
}

#[test]
fn a_link_over_which_ike_does_not_come_up_is_left_until_its_probes_tell_of_a_change() {
    let mut world = World::new(settings());
    world.carries[0].ike = false;
    world.run(seconds(300));
    // First to what shares nothing with it, then to what is preferred among those that work.
    let expected =
        [(Cause::Start, Some(0)), (Cause::PathDown, Some(3)), (Cause::BetterPath, Some(1))];
    assert_eq!(world.causes(), expected);
    let views = world.links.views(world.now);
    assert_eq!(views[0].refused_because, "IKE did not come up over it");
    world.carries[0] = DARK;
    world.run(seconds(10));
    world.carries[0] = GOOD;
    world.run(seconds(60));
    assert_eq!(world.held(), Some(0), "{:?}", world.causes());
}

#[test]
fn a_link_over_which_ike_does_not_come_up_is_tried_again_ever_more_seldom() {
    let mut world = World::new(settings());
    world.carries[0].ike = false;
    world.run(seconds(4 * 3_600));
    let trials = world.decisions.iter().filter(|d| d.to == Some(PathId(FIRST_LINK_ID))).count();
    assert_eq!(trials, 3, "{:?}", world.causes());
    assert!(world.ike_is_up());
}

#[test]
fn when_ike_comes_up_nowhere_the_rounds_get_slower() {
    let mut world = World::new(settings());
    world.carries.iter_mut().for_each(|c| c.ike = false);
    world.run(seconds(3_600));
    let moves = world.decisions.len();
    assert!((5..40).contains(&moves), "{moves} moves in an hour");
    world.carries.iter_mut().for_each(|c| c.ike = true);
    world.run(seconds(2));
    assert!(world.ike_is_up());
}

#[test]
fn loss_of_echoes_beyond_the_limit_is_a_violation() {
    let mut settings = settings();
    settings.tunnel.sla = SlaLimits { max_loss_ppm: 10_000, ..SlaLimits::default() };
    let mut world = World::new(settings);
    world.run(seconds(10));
    world.carries[0].loses_one_in = 5;
    world.carries[1].loses_one_in = 5;
    world.run(seconds(30));
    let moved = world.decisions.iter().find(|d| d.cause == Cause::SlaViolated).expect("it moved");
    assert!(moved.summary.contains("loss to peer"), "{}", moved.summary);
    assert!(matches!(world.held(), Some(2 | 3)));
}

fn with_inside() -> World {
    let mut settings = settings();
    settings.tunnel.probe = Some(IkeProbe { inside: Some(address("172.20.0.9")), ..DEFAULT_PROBE });
    settings.inside_from = Some(address("10.1.1.1"));
    World::new(settings)
}

#[test]
fn what_the_tunnel_does_not_carry_counts_more_than_what_its_link_does() {
    let mut world = with_inside();
    world.run(seconds(10));
    world.inside_lives = false;
    world.run(seconds(3));
    assert_eq!(world.causes(), [(Cause::Start, Some(0)), (Cause::PathDown, Some(3))]);
}

#[test]
fn a_dead_host_behind_the_gateway_is_not_chased_from_link_to_link() {
    let mut world = with_inside();
    world.run(seconds(10));
    world.inside_lives = false;
    world.run(seconds(3_600));
    assert!(world.decisions.len() <= 4, "{:?}", world.causes());
    assert!(world.ike_is_up());
}

#[test]
fn with_all_links_dark_charon_keeps_the_last_one_and_the_first_that_answers_is_taken() {
    let mut world = World::new(settings());
    world.run(seconds(10));
    world.carries = vec![DARK; 4];
    world.run(seconds(30));
    assert!(world.held().is_some());
    let decided = world.decisions.len();
    world.run(seconds(600));
    assert_eq!(world.decisions.len(), decided, "{:?}", world.causes());
    world.carries[1] = GOOD;
    world.run(seconds(20));
    assert_eq!(world.held(), Some(1));
    assert!(world.ike_is_up());
}

#[test]
fn without_carrier_an_uplink_is_left_at_once() {
    let mut world = World::new(settings());
    world.run(seconds(10));
    world.links.handle_carrier(UplinkId(10), false, world.now);
    world.run(Duration::from_micros(STEP_US));
    assert_eq!(world.held(), Some(3));
}

#[test]
fn without_any_address_nothing_is_asked_and_nothing_is_due_all_the_time() {
    let mut settings = settings();
    settings.links.iter_mut().for_each(|link| link.local = None);
    let mut world = World::new(settings.clone());
    world.run(seconds(120));
    assert_eq!((world.held(), world.sent, world.links.is_settled()), (None, 0, true));
    let views = world.links.views(world.now);
    assert_eq!(views[0].refused_because, "its uplink has no address of the gateway's family");
    settings.links[2].local = Some(address("198.51.100.1"));
    world.links.configure(settings, || 7, world.now);
    world.run(seconds(5));
    assert_eq!(world.held(), Some(2));
}

#[test]
fn new_addresses_keep_the_record_and_other_links_keep_the_one_in_use() {
    let mut world = World::new(settings());
    world.run(seconds(10));
    world.links.handle_carrier(UplinkId(10), false, world.now);
    world.run(seconds(1));
    let mut changed = settings();
    changed.links[3].local = Some(address("198.51.100.77"));
    world.links.configure(changed.clone(), || 7, world.now);
    assert_eq!(world.links.held().and_then(|link| link.local), Some(address("198.51.100.77")));
    // The other way round, and without the gateway's first address.
    changed.tunnel.peer_addresses.remove(0);
    changed.links = vec![link(11, "203.0.113.10"), link(10, "203.0.113.10")];
    changed.tunnel.uplinks = vec![UplinkId(11), UplinkId(10)];
    world.links.configure(changed.clone(), || 9, world.now);
    assert_eq!(world.held(), Some(0), "the same link, by its new number");
    changed.links.remove(0);
    changed.tunnel.uplinks.remove(0);
    world.links.configure(changed, || 9, world.now);
    assert_eq!(world.held(), None, "what it had is not there any more");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever the links do: soon after it stands still, the tunnel is up over one that works, if one does.
    #[test]
    fn it_ends_on_a_link_that_works(
        turns in prop::collection::vec((0_usize..4, any::<bool>(), 0_u64..20), 1..12),
        last in prop::collection::vec(any::<bool>(), 4),
    ) {
        let mut world = World::new(settings());
        for (link, lives, wait) in turns {
            world.carries[link] = if lives { GOOD } else { DARK };
            world.run(seconds(wait));
        }
        for (carries, lives) in world.carries.iter_mut().zip(&last) {
            *carries = if *lives { GOOD } else { DARK };
        }
        world.run(seconds(20));
        prop_assert!(world.ike_is_up() || !last.contains(&true), "{:?} {:?}", world.held(), last);
        let before = world.decisions.len();
        world.run(seconds(1));
        prop_assert!(world.decisions.len() <= before + 1);
    }
}
