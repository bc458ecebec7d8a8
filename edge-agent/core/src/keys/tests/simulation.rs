//! Two machines, connections that come, overlap and break, and data planes that take their time. At every moment the
//! receiver must have the inbound SA, with the same key, for whatever the sender seals with; packets may be 5 s under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::super::*;
use super::agreement::terms;
use crate::id::Spi;
use crate::time::Micros;

/// One step of the world, chosen by the test.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// A new connection; `by_high`: the edge of the higher ID opens it.
    Connect {
        by_high: bool,
    },
    /// End `end` notices the oldest connection of one opener that it does not know yet: an opener has one attempt at a
    /// time, those of the two openers are in no order.
    Notice {
        end: usize,
        by_high: bool,
    },
    /// The oldest open connection breaks: what is on its way is lost.
    Break,
    /// The next message of one connection reaches `end`.
    Deliver {
        end: usize,
        which: usize,
    },
    /// The data plane of `end` does its next job, or fails at it.
    Install {
        end: usize,
        fail: bool,
    },
    Rekey {
        end: usize,
    },
    /// That many jobs and messages in turn, wherever there are some: the usual course of things.
    Work {
        steps: usize,
    },
    Wait {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let end = 0..2_usize;
    prop_oneof![
        1 => any::<bool>().prop_map(|by_high| Step::Connect { by_high }),
        3 => (end.clone(), any::<bool>()).prop_map(|(end, by_high)| Step::Notice { end, by_high }),
        1 => Just(Step::Break),
        5 => (end.clone(), 0..3_usize).prop_map(|(end, which)| Step::Deliver { end, which }),
        5 => (end.clone(), 0..20_u8)
            .prop_map(|(end, luck)| Step::Install { end, fail: luck == 0 }),
        2 => end.prop_map(|end| Step::Rekey { end }),
        4 => (1..16_usize).prop_map(|steps| Step::Work { steps }),
        4 => (1..14_000_u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

#[derive(Debug)]
enum Job {
    Inbound(Spi, Vec<u8>),
    Outbound(ConnectionNo, Spi, Vec<u8>),
    Retire(Spi),
}

struct End {
    machine: Agreement,
    jobs: VecDeque<Job>,
    inbound: BTreeMap<Spi, Vec<u8>>,
    outbound: Option<(Spi, Vec<u8>)>,
    contexts: BTreeSet<Vec<u8>>,
    epochs: BTreeMap<ConnectionNo, u64>,
    keyed: usize,
}

impl End {
    fn new(local: u32, peer: u32) -> Self {
        End {
            machine: Agreement::new(terms(local, peer)),
            jobs: VecDeque::new(),
            inbound: BTreeMap::new(),
            outbound: None,
            contexts: BTreeSet::new(),
            epochs: BTreeMap::new(),
            keyed: 0,
        }
    }

    fn export(&mut self, context: &SaContext) -> Vec<u8> {
        let encoded = context.encode();
        assert!(self.contexts.insert(encoded.clone()), "{context:?} is exported twice");
        encoded
    }
}

/// Both directions' messages of one connection.
struct Connection {
    no: ConnectionNo,
    by_high: bool,
    noticed: [bool; 2],
    to: [VecDeque<KeyMessage>; 2],
}

struct Packet {
    to: usize,
    spi: Spi,
    key: Vec<u8>,
    arrives: Micros,
}

struct World {
    ends: [End; 2],
    open: Vec<Connection>,
    next_no: u64,
    next_spi: u32,
    current: [Option<ConnectionNo>; 2],
    now: Micros,
    packets: VecDeque<Packet>,
}

const FLIGHT: Duration = Duration::from_secs(5);

impl World {
    fn new() -> Self {
        World {
            ends: [End::new(1, 2), End::new(2, 1)],
            open: Vec::new(),
            next_no: 1,
            next_spi: 1000,
            current: [None; 2],
            now: Micros(1_000_000),
            packets: VecDeque::new(),
        }
    }

    fn run(&mut self, step: Step) {
        if let Step::Wait { ms } = step {
            // Never so far at once that a packet is looked at long after its arrival.
            for _ in 0..ms / 500 {
                self.step(Step::Wait { ms: 500 });
            }
        }
        self.step(step);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Connect { by_high } if self.open.len() < 3 => {
                let no = ConnectionNo(self.next_no);
                self.next_no += 1;
                let to = [VecDeque::new(), VecDeque::new()];
                self.open.push(Connection { no, by_high, noticed: [false; 2], to });
            }
            Step::Connect { .. } => {}
            Step::Notice { end, by_high } => self.notice(end, by_high),
            Step::Break => {
                if !self.open.is_empty() {
                    let broken = self.open.remove(0).no;
                    for end in 0..2 {
                        self.ends[end].machine.connection_closed(broken);
                        if self.current[end] == Some(broken) {
                            self.current[end] = None;
                        }
                    }
                }
            }
            Step::Deliver { end, which } => self.deliver(end, which),
            Step::Install { end, fail } => self.install(end, fail),
            Step::Work { steps } => self.work(steps),
            Step::Rekey { end } => self.ends[end].machine.rekey(self.now),
            Step::Wait { ms } => self.now = self.now + Duration::from_millis(ms.min(500)),
        }
        for end in 0..2 {
            self.ends[end].machine.handle_timeout(self.now);
            self.settle(end);
        }
        self.check();
    }

    fn work(&mut self, steps: usize) {
        for n in 0..steps {
            let end = n % 2;
            [false, true].into_iter().for_each(|by_high| self.notice(end, by_high));
            self.settle(end);
            match self.open.iter().position(|c| !c.to[end].is_empty()) {
                Some(which) => self.deliver(end, which),
                None => self.install(end, false),
            }
            self.settle(end);
            self.check();
        }
    }

    /// The shell's part: compare with the current connection, adopt the better one.
    fn notice(&mut self, end: usize, by_high: bool) {
        let unknown = |c: &Connection| c.by_high == by_high && !c.noticed[end];
        let Some(index) = self.open.iter().position(unknown) else { return };
        self.open[index].noticed[end] = true;
        let new = (self.open[index].no, self.open[index].by_high);
        let opener = |high: bool| Candidate {
            opener: crate::id::EdgeId(if high { 2 } else { 1 }),
            peer_boot: String::new(),
        };
        let current = self.current[end].and_then(|no| self.open.iter().find(|c| c.no == no));
        let better =
            current.is_none_or(|c| judge(&opener(c.by_high), &opener(new.1)) == Verdict::Replace);
        if better {
            self.current[end] = Some(new.0);
            let role = if new.1 == (end == 1) { Role::Client } else { Role::Server };
            self.ends[end].machine.adopt(new.0, role, self.now);
        }
    }

    fn deliver(&mut self, end: usize, which: usize) {
        let Some(connection) = self.open.get_mut(which) else { return };
        // The hello comes first: messages wait until the connection is known.
        if !connection.noticed[end] {
            return;
        }
        let Some(message) = connection.to[end].pop_front() else { return };
        let no = connection.no;
        if let KeyMessage::Offer(offer) = &message {
            let last = self.ends[end].epochs.insert(no, offer.epoch);
            assert!(last < Some(offer.epoch), "epochs rise");
        }
        // Ignored messages are part of the test.
        let _ = self.ends[end].machine.received(no, message, self.now);
    }

    fn install(&mut self, end: usize, fail: bool) {
        let now = self.now;
        let end = &mut self.ends[end];
        match end.jobs.pop_front() {
            None => {}
            Some(Job::Inbound(spi, key)) => {
                if !fail {
                    end.inbound.insert(spi, key);
                }
                let _ = end.machine.inbound_installed(spi, !fail, now);
            }
            Some(Job::Outbound(no, spi, key)) => {
                if !fail {
                    end.outbound = Some((spi, key));
                }
                let _ = end.machine.outbound_installed(no, spi, !fail, now);
            }
            Some(Job::Retire(spi)) => {
                assert!(end.inbound.remove(&spi).is_some(), "{spi} was never installed");
            }
        }
    }

    /// Does what a machine asks for.
    fn settle(&mut self, index: usize) {
        while let Some(effect) = self.ends[index].machine.poll_effect() {
            let end = &mut self.ends[index];
            match effect {
                Effect::ReserveInbound { connection, epoch } => {
                    self.next_spi += 1;
                    let spi = Spi(self.next_spi);
                    let nonce = [self.next_spi as u8; 32];
                    let _ = end.machine.reserved(connection, epoch, spi, nonce, self.now);
                }
                Effect::InstallInbound { spi, context, .. } => {
                    let key = end.export(&context);
                    end.jobs.push_back(Job::Inbound(spi, key));
                }
                Effect::InstallOutbound { connection, spi, context, .. } => {
                    let key = end.export(&context);
                    end.jobs.push_back(Job::Outbound(connection, spi, key));
                }
                Effect::Send { connection, message } => {
                    if let Some(c) = self.open.iter_mut().find(|c| c.no == connection) {
                        c.to[1 - index].push_back(message);
                    }
                }
                Effect::ReleaseInbound(spi) => {
                    assert!(!end.inbound.contains_key(&spi), "{spi} has an SA");
                }
                Effect::RetireInbound(spi) => end.jobs.push_back(Job::Retire(spi)),
                Effect::Keyed { .. } => end.keyed += 1,
                Effect::Refused { .. } => {}
            }
        }
    }

    /// Both ends send a packet now; what was sent before arrives in its time.
    fn check(&mut self) {
        for from in 0..2 {
            if let Some((spi, key)) = &self.ends[from].outbound {
                for delay in [Duration::ZERO, FLIGHT] {
                    let arrives = self.now + delay;
                    let (spi, key) = (*spi, key.clone());
                    self.packets.push_back(Packet { to: 1 - from, spi, key, arrives });
                }
            }
        }
        let due = |p: &Packet| p.arrives <= self.now;
        for packet in self.packets.iter().filter(|p| due(p)) {
            let opened = self.ends[packet.to].inbound.get(&packet.spi);
            assert_eq!(opened, Some(&packet.key), "SPI {} at end {}", packet.spi, packet.to);
        }
        let now = self.now;
        self.packets.retain(|p| p.arrives > now);
        for end in &self.ends {
            assert!(end.inbound.len() <= MAX_INBOUND + 1, "SAs are bounded");
        }
    }

    /// A quiet network: everything is delivered, nothing fails.
    fn calm(&mut self) {
        self.run(Step::Connect { by_high: false });
        for _ in 0..120 {
            for end in 0..2 {
                self.run(Step::Notice { end, by_high: false });
                self.run(Step::Notice { end, by_high: true });
                self.run(Step::Install { end, fail: false });
                (0..3).for_each(|which| self.run(Step::Deliver { end, which }));
            }
            self.run(Step::Wait { ms: 300 });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_receiver_always_has_the_sa_that_the_sender_seals_with(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.run(step));
        while world.open.len() > 2 {
            world.run(Step::Break);
        }
        let before = [world.ends[0].keyed, world.ends[1].keyed];
        world.calm();
        for (end, before) in world.ends.iter().zip(before) {
            prop_assert!(end.keyed > before, "a quiet network keys the path");
            prop_assert_eq!(end.inbound.len(), 1, "what drained is gone");
        }
        prop_assert_eq!(world.ends[0].machine.is_settled(), true);
    }
}
