//! An agent: the real generation machine, a disk, and one connection at a time.

use hawser_edge_core::config::Fault;
use hawser_edge_core::generation::{
    BootId, Effect, EpochProof, Generation, GenerationId, GenerationState, Generations, Offer,
    RefusedKind,
};
use hawser_edge_core::time::Micros;

use crate::world::Content;

/// What an agent says when its stream opens.
#[derive(Debug, Clone)]
pub struct Hello {
    pub applied: Option<u64>,
    pub confirmed: Option<u64>,
    pub highest_seen: Option<u64>,
    /// Number, and whether it was rejected; else it was not confirmed.
    pub refused: Vec<(u64, bool)>,
}

#[derive(Debug, Clone)]
pub enum Said {
    Hello(Hello),
    Ack(u64),
    Nack { number: u64, rejected: bool, faults: Vec<&'static str> },
}

/// What the world does for the agent.
#[derive(Debug, Clone)]
pub enum Wish {
    Say(Said),
    /// The outcome comes later.
    Outcome {
        rejects: bool,
    },
    Reconnect,
}

pub struct Agent {
    pub up: bool,
    /// Number and opening time of the connection.
    pub connection: Option<(u64, u64)>,
    pub disk: GenerationState,
    machine: Option<Generations>,
    /// Offered while another one was being applied: its turn comes afterwards.
    waiting: Option<(u64, Content)>,
    boot: u8,
    /// Outcomes of an earlier process are void.
    pub life: u64,
}

pub fn number(id: GenerationId) -> u64 {
    id.number
}

fn at(now_ms: u64) -> Micros {
    Micros::from_millis(now_ms)
}

impl Agent {
    pub fn new() -> Self {
        let disk = GenerationState::default();
        Self { up: false, connection: None, disk, machine: None, waiting: None, boot: 0, life: 0 }
    }

    pub fn start(&mut self, now_ms: u64, rebooted: bool) -> Vec<Wish> {
        self.up = true;
        self.life += 1;
        self.boot = self.boot.wrapping_add(u8::from(rebooted));
        let boot = BootId([self.boot; 16]);
        let (machine, effects) = Generations::resume(self.disk.clone(), boot, at(now_ms));
        self.machine = Some(machine);
        self.perform(effects)
    }

    pub fn crash(&mut self) {
        self.up = false;
        self.machine = None;
        self.waiting = None;
        self.connection = None;
    }

    /// The content that is in force.
    pub fn content(&self) -> Option<Content> {
        self.disk.applied.as_ref().map(|generation| Content::of(generation.bytes()))
    }

    pub fn hello(&self) -> Hello {
        let state = &self.disk;
        let refused = state.refused.iter();
        Hello {
            applied: state.applied_id().map(number),
            confirmed: state.confirmed_id().map(number),
            highest_seen: state.highest_seen.map(|seen| number(seen.id)),
            refused: refused
                .map(|(id, kind)| (number(id), kind == RefusedKind::Rejected))
                .collect(),
        }
    }

    pub fn offered(&mut self, number: u64, content: Content) -> Vec<Wish> {
        let id = GenerationId { epoch: 1, number };
        let generation = Generation::new(id, content.bytes());
        let (answer, effects) = self.machine().offer(generation, EpochProof::Unsigned);
        if answer == Offer::Busy {
            self.waiting = Some((number, content));
        }
        self.perform(effects)
    }

    pub fn welcomed(&mut self, opened_ms: u64, confirmed: Option<u64>) -> Vec<Wish> {
        // Without a name in it a Welcome confirms nothing here.
        let Some(number) = confirmed else { return Vec::new() };
        let id = GenerationId { epoch: 1, number };
        let effects = self.machine().confirmed_by_exchange(at(opened_ms), Some(id));
        self.perform(effects)
    }

    pub fn outcome(&mut self, now_ms: u64, rejects: bool) -> Vec<Wish> {
        let fault = Fault {
            code: "INTERFACE_MISSING",
            path: String::new(),
            message: String::new(),
            mend: String::new(),
        };
        let outcome = if rejects { Err(vec![fault]) } else { Ok(()) };
        let effects = self.machine().outcome(at(now_ms), outcome);
        let mut wishes = self.perform(effects);
        if !self.machine().is_busy()
            && let Some((number, content)) = self.waiting.take()
        {
            wishes.extend(self.offered(number, content));
        }
        wishes
    }

    pub fn deadline_ms(&self) -> Option<u64> {
        let deadline = self.machine.as_ref()?.poll_deadline()?;
        Some(deadline.0.div_ceil(1_000))
    }

    pub fn timeout(&mut self, now_ms: u64) -> Vec<Wish> {
        let effects = self.machine().handle_timeout(at(now_ms));
        self.perform(effects)
    }

    fn machine(&mut self) -> &mut Generations {
        self.machine.as_mut().expect("the agent is up")
    }

    fn perform(&mut self, effects: Vec<Effect>) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist(state) => {
                    state.check().expect("a possible state");
                    let before = self.disk.highest_seen.map(|seen| seen.id);
                    let after = state.highest_seen.map(|seen| seen.id);
                    assert!(after >= before, "what was seen is never forgotten");
                    self.disk = *state;
                }
                Effect::Apply { generation, .. } => {
                    let rejects = Content::of(generation.bytes()) == Content::Rejected;
                    wishes.push(Wish::Outcome { rejects });
                }
                Effect::Revert { .. } => wishes.push(Wish::Outcome { rejects: false }),
                Effect::Ack(id) => wishes.push(Wish::Say(Said::Ack(number(id)))),
                Effect::Nack { id, kind, faults } => wishes.push(Wish::Say(Said::Nack {
                    number: number(id),
                    rejected: kind == RefusedKind::Rejected,
                    faults: faults.iter().map(|fault| fault.code).collect(),
                })),
                Effect::OpenFreshConnection => wishes.push(Wish::Reconnect),
                Effect::Report(_) => {}
            }
        }
        wishes
    }
}
