//! Virtual time, the network between controller and agents, and what goes wrong.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use hawser_controller_core::rollout::Phase;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::agent::{Agent, Said, Wish};
use crate::controller::{Controller, Told};

/// What a configuration does to its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Old,
    Good,
    /// It takes the way to the controller away.
    CutsOff,
    Rejected,
    /// Its path goes down.
    Lame,
}

impl Content {
    const ALL: [Self; 5] = [Self::Old, Self::Good, Self::CutsOff, Self::Rejected, Self::Lame];

    pub fn bytes(self) -> Vec<u8> {
        vec![self as u8]
    }

    pub fn of(bytes: &[u8]) -> Self {
        Self::ALL[usize::from(bytes[0])]
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Trouble {
    pub restarts: bool,
    /// An agent that starts again may do so after a boot of its kernel: then it takes back what is not confirmed, and
    /// that may well be the generation's fault.
    pub reboots: bool,
    pub partitions: bool,
}

const STEP_MS: u64 = 2_000;
/// When the revision comes; troubles begin before it and end after it.
const APPLY_MS: u64 = 60_000;
const TROUBLE_MS: std::ops::Range<u64> = 30_000..700_000;
const END_MS: u64 = 2_400_000;

#[derive(Debug)]
enum Event {
    ToController {
        edge: usize,
        connection: u64,
        said: Said,
    },
    ToAgent {
        edge: usize,
        connection: u64,
        told: Told,
    },
    Outcome {
        edge: usize,
        life: u64,
        rejects: bool,
    },
    AgentTimer(usize),
    Connect {
        edge: usize,
        life: u64,
    },
    /// One end notices that a connection is dead.
    Lost {
        edge: usize,
        connection: u64,
    },
    Step,
    Apply,
    ControllerDown,
    ControllerUp,
    AgentDown(usize),
    AgentUp(usize),
    Part {
        edge: usize,
        until: u64,
    },
}

pub struct World {
    seed: u64,
    rng: ChaCha8Rng,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    order: u64,
    connections: u64,
    controller: Controller,
    agents: Vec<Agent>,
    parted_until: Vec<u64>,
    /// The next message of a connection comes after the one before: (connection, to the agent).
    busy_until: BTreeMap<(u64, bool), u64>,
    new: Content,
    reboots: bool,
    /// What each edge was sent last.
    pushed: Vec<(u64, Content)>,
    canaries: Vec<usize>,
}

impl World {
    pub fn new(seed: u64, new: Content, trouble: Trouble) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let edges = rng.random_range(2..=5);
        let mut world = Self {
            seed,
            rng,
            now: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            order: 0,
            connections: 0,
            controller: Controller::new(edges),
            agents: (0..edges).map(|_| Agent::new()).collect(),
            parted_until: vec![0; edges],
            busy_until: BTreeMap::new(),
            new,
            reboots: trouble.reboots,
            pushed: vec![(0, Content::Old); edges],
            canaries: Vec::new(),
        };
        world.at(0, Event::ControllerUp);
        world.at(0, Event::Step);
        world.at(APPLY_MS, Event::Apply);
        for edge in 0..edges {
            world.at(10, Event::AgentUp(edge));
        }
        world.plan(trouble, edges);
        world
    }

    fn plan(&mut self, trouble: Trouble, edges: usize) {
        for _ in 0..self.rng.random_range(0..6) {
            let at = self.rng.random_range(TROUBLE_MS);
            let edge = self.rng.random_range(0..edges);
            match self.rng.random_range(0..4) {
                // The controller is there when the operator applies.
                0 | 1 if trouble.restarts && at > APPLY_MS => {
                    self.at(at, Event::ControllerDown);
                    let away = self.rng.random_range(200..200_000);
                    self.at(at + away, Event::ControllerUp);
                }
                2 if trouble.restarts => {
                    self.at(at, Event::AgentDown(edge));
                    let away = self.rng.random_range(200..12_000);
                    self.at(at + away, Event::AgentUp(edge));
                }
                3 if trouble.partitions => {
                    let until = at + self.rng.random_range(1_000..240_000);
                    self.at(at, Event::Part { edge, until });
                }
                _ => {}
            }
        }
    }

    pub fn phase(&self) -> Phase {
        self.controller.stored.rollout.as_ref().expect("it was begun").phase
    }

    pub fn run(&mut self) {
        while let Some(Reverse((at, order))) = self.queue.pop() {
            if at > END_MS {
                break;
            }
            self.now = at;
            let event = self.events.remove(&order).expect("each event comes once");
            self.handle(event);
            self.check();
        }
        self.check_end();
    }

    fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse((at, self.order)));
        self.events.insert(self.order, event);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Step => {
                let up = self.paths_up();
                let told = self.controller.step(self.now, &up);
                self.tell(told);
                self.at(self.now + STEP_MS, Event::Step);
            }
            Event::Apply => {
                let up = self.paths_up();
                let told = self.controller.apply(self.new, self.now, &up);
                let rollout = self.controller.stored.rollout.as_ref().expect("just begun");
                let first = rollout.edges.iter().filter(|(_, progress)| progress.wave == 0);
                self.canaries =
                    first.map(|(name, _)| name["edge-".len()..].parse().unwrap()).collect();
                self.tell(told);
            }
            Event::ControllerDown => {
                self.controller.crash();
                for edge in 0..self.agents.len() {
                    if let Some((connection, _)) = self.agents[edge].connection {
                        let at = self.now + self.rng.random_range(1..1_000);
                        self.at(at, Event::Lost { edge, connection });
                    }
                }
            }
            Event::ControllerUp if self.controller.up_since.is_none() => {
                self.controller.start(self.now);
            }
            Event::ControllerUp => {}
            Event::AgentDown(edge) => {
                if let Some((connection, _)) = self.agents[edge].connection {
                    self.controller.disconnected(edge, connection);
                }
                self.agents[edge].crash();
            }
            Event::AgentUp(edge) if !self.agents[edge].up => {
                let rebooted = self.reboots && self.rng.random_bool(0.3);
                let wishes = self.agents[edge].start(self.now, rebooted);
                self.grant(edge, wishes);
                self.reconnect(edge, 50);
            }
            Event::AgentUp(_) => {}
            Event::Part { edge, until } => {
                self.parted_until[edge] = self.parted_until[edge].max(until);
                self.break_soon(edge);
            }
            Event::Connect { edge, life } => self.connect(edge, life),
            Event::Lost { edge, connection } => {
                if self.agents[edge].connection.is_some_and(|(c, _)| c == connection) {
                    self.agents[edge].connection = None;
                    self.reconnect(edge, 500);
                }
                self.controller.disconnected(edge, connection);
            }
            Event::ToController { edge, connection, said } => {
                if self.controller.up_since.is_some() && self.passes(edge) {
                    if matches!(said, Said::Hello(_)) {
                        self.supersede(edge, connection);
                    }
                    let told = self.controller.heard(edge, connection, said);
                    self.tell(told.into_iter().map(|told| (edge, told)).collect());
                }
            }
            Event::ToAgent { edge, connection, told } => self.told(edge, connection, told),
            Event::Outcome { edge, life, rejects } => {
                if self.agents[edge].up && self.agents[edge].life == life {
                    let wishes = self.agents[edge].outcome(self.now, rejects);
                    self.grant(edge, wishes);
                    if !self.passes(edge) {
                        self.break_soon(edge);
                    }
                }
            }
            Event::AgentTimer(edge) => {
                let due = self.agents[edge].deadline_ms().is_some_and(|at| at <= self.now);
                if self.agents[edge].up && due {
                    let wishes = self.agents[edge].timeout(self.now);
                    self.grant(edge, wishes);
                }
            }
        }
    }

    /// A newer stream ends the older one; a stream that its agent has left ends by itself.
    fn supersede(&mut self, edge: usize, connection: u64) {
        let own = self.agents[edge].connection.map(|(own, _)| own);
        let left = (own != Some(connection)).then_some(connection);
        let older = self.controller.connection(edge).filter(|older| *older != connection);
        for connection in left.into_iter().chain(older) {
            let at = self.now + self.rng.random_range(1..3_000);
            self.at(at, Event::Lost { edge, connection });
        }
    }

    /// Whether packets between this agent and the controller arrive.
    fn passes(&self, edge: usize) -> bool {
        let cut = self.agents[edge].content() == Some(Content::CutsOff);
        self.now >= self.parted_until[edge] && !cut
    }

    fn paths_up(&self) -> Vec<bool> {
        self.agents.iter().map(|agent| agent.content() != Some(Content::Lame)).collect()
    }

    fn break_soon(&mut self, edge: usize) {
        if let Some((connection, _)) = self.agents[edge].connection {
            let at = self.now + self.rng.random_range(1_000..30_000);
            self.at(at, Event::Lost { edge, connection });
        }
    }

    fn reconnect(&mut self, edge: usize, after: u64) {
        let at = self.now + after + self.rng.random_range(0..2_000);
        let life = self.agents[edge].life;
        self.at(at, Event::Connect { edge, life });
    }

    fn connect(&mut self, edge: usize, life: u64) {
        let agent = &self.agents[edge];
        if !agent.up || agent.life != life || agent.connection.is_some() {
            return;
        }
        if self.controller.up_since.is_none() || !self.passes(edge) {
            return self.reconnect(edge, 1_000);
        }
        self.connections += 1;
        self.agents[edge].connection = Some((self.connections, self.now));
        let hello = Said::Hello(self.agents[edge].hello());
        self.say(edge, hello);
    }

    fn say(&mut self, edge: usize, said: Said) {
        if let Some((connection, _)) = self.agents[edge].connection {
            let at = self.arrival(connection, false);
            self.at(at, Event::ToController { edge, connection, said });
        }
    }

    fn tell(&mut self, told: Vec<(usize, Told)>) {
        for (edge, told) in told {
            if let Told::Generation { number, content } = told {
                self.check_push(edge, number, content);
            }
            if let Some(connection) = self.controller.connection(edge) {
                let at = self.arrival(connection, true);
                self.at(at, Event::ToAgent { edge, connection, told });
            }
        }
    }

    /// In order on one connection, at any pace; connections overtake each other.
    fn arrival(&mut self, connection: u64, to_agent: bool) -> u64 {
        let slow = self.rng.random_bool(0.05);
        let delay =
            if slow { self.rng.random_range(500..8_000) } else { self.rng.random_range(1..80) };
        let last = self.busy_until.entry((connection, to_agent)).or_default();
        *last = (*last + 1).max(self.now + delay);
        *last
    }

    fn told(&mut self, edge: usize, connection: u64, told: Told) {
        let Some((own, opened)) = self.agents[edge].connection else { return };
        if own != connection || !self.agents[edge].up || !self.passes(edge) {
            return;
        }
        let wishes = match told {
            Told::Welcome { confirmed } => self.agents[edge].welcomed(opened, confirmed),
            Told::Generation { number, content } => self.agents[edge].offered(number, content),
        };
        self.grant(edge, wishes);
    }

    fn grant(&mut self, edge: usize, wishes: Vec<Wish>) {
        for wish in wishes {
            match wish {
                Wish::Say(said) => self.say(edge, said),
                Wish::Outcome { rejects } => {
                    let at = self.now + self.rng.random_range(5..1_500);
                    let life = self.agents[edge].life;
                    self.at(at, Event::Outcome { edge, life, rejects });
                }
                Wish::Reconnect => {
                    if let Some((connection, _)) = self.agents[edge].connection.take() {
                        let at = self.now + self.rng.random_range(1..3_000);
                        self.at(at, Event::Lost { edge, connection });
                    }
                    self.reconnect(edge, 1);
                }
            }
        }
        if let Some(at) = self.agents[edge].deadline_ms() {
            self.at(at.max(self.now), Event::AgentTimer(edge));
        }
    }

    /// A number stands for one content, and numbers only rise; what was taken back is not sent again.
    fn check_push(&mut self, edge: usize, number: u64, content: Content) {
        let (last, was) = self.pushed[edge];
        let seed = self.seed;
        assert!(number >= last, "seed {seed}: {number} after {last} to edge {edge}");
        assert!(number > last || content == was, "seed {seed}: {number} means two things");
        let rollout = self.controller.stored.rollout.as_ref();
        if rollout.is_some_and(|rollout| rollout.phase == Phase::RolledBack) {
            assert_eq!(content, Content::Old, "seed {seed}: edge {edge} gets it again");
        }
        self.pushed[edge] = (number, content);
    }

    /// What harms comes no further than to the canaries.
    fn check(&self) {
        let harmful = [Content::CutsOff, Content::Rejected, Content::Lame];
        for (edge, agent) in self.agents.iter().enumerate() {
            let harmed = agent.content().is_some_and(|content| harmful.contains(&content));
            let known = self.canaries.contains(&edge);
            assert!(!harmed || known, "seed {}: edge {edge} got it too", self.seed);
        }
    }

    fn check_end(&self) {
        let (seed, phase) = (self.seed, self.phase());
        let expected = if phase == Phase::Done { self.new } else { Content::Old };
        for (edge, agent) in self.agents.iter().enumerate() {
            let desired = self.controller.stored.desired[edge];
            assert_eq!(desired.content, expected, "seed {seed}: edge {edge} after {phase:?}");
            let confirmed = agent.disk.confirmed_id().map(crate::agent::number);
            let rejected = self.new == Content::Rejected && confirmed.is_none();
            assert!(
                confirmed == Some(desired.number) || rejected,
                "seed {seed}: edge {edge} has {confirmed:?} and should have {desired:?}"
            );
        }
    }
}
