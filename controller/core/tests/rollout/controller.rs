//! The controller's part of the protocol: what it stores outlives it, what it has heard does not.

use std::collections::{BTreeMap, BTreeSet};

use hawser_controller_core::rollout::{
    Effect, Member, Offer, Offered, Policy, Rollout, Sight, offer, waves,
};

use crate::agent::{Hello, Said};
use crate::world::Content;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Desired {
    pub number: u64,
    pub content: Content,
    renamed: bool,
}

/// What is committed as one.
#[derive(Debug, Clone)]
pub struct Stored {
    pub desired: Vec<Desired>,
    pub rollout: Option<Rollout>,
    target: Content,
}

/// What is heard of one edge; gone with the process.
#[derive(Debug, Default)]
struct Live {
    connection: Option<u64>,
    applied: Option<u64>,
    confirmed: Option<u64>,
    highest_seen: Option<u64>,
    refused: BTreeMap<u64, bool>,
    sent: Option<u64>,
    /// Sent by this process, on whatever stream.
    pushed: BTreeSet<u64>,
}

/// A message to an agent.
#[derive(Debug, Clone, Copy)]
pub enum Told {
    Welcome { confirmed: Option<u64> },
    Generation { number: u64, content: Content },
}

pub struct Controller {
    pub up_since: Option<u64>,
    pub stored: Stored,
    live: Vec<Live>,
}

fn name(edge: usize) -> String {
    format!("edge-{edge}")
}

fn edge_of(name: &str) -> usize {
    name["edge-".len()..].parse().expect("a name of ours")
}

impl Controller {
    /// Every edge has an old generation to begin with.
    pub fn new(edges: usize) -> Self {
        let desired = Desired { number: 1, content: Content::Old, renamed: false };
        let stored = Stored { desired: vec![desired; edges], rollout: None, target: Content::Old };
        Self { up_since: None, stored, live: Vec::new() }
    }

    pub fn start(&mut self, now: u64) {
        self.up_since = Some(now);
        self.live = self.stored.desired.iter().map(|_| Live::default()).collect();
    }

    pub fn crash(&mut self) {
        self.up_since = None;
        self.live.clear();
    }

    pub fn connection(&self, edge: usize) -> Option<u64> {
        self.live.get(edge)?.connection
    }

    pub fn disconnected(&mut self, edge: usize, connection: u64) {
        if let Some(live) = self.live.get_mut(edge).filter(|l| l.connection == Some(connection)) {
            live.connection = None;
        }
    }

    /// Begins to roll out new content.
    pub fn apply(&mut self, target: Content, now: u64, up: &[bool]) -> Vec<(usize, Told)> {
        let members: Vec<Member> = (0..self.stored.desired.len())
            .map(|edge| Member {
                edge: name(edge),
                site: name(edge),
                hub: edge == 0,
                connected: self.live[edge].connection.is_some(),
            })
            .collect();
        let policy = Policy { soak_ms: 20_000, ..Policy::default() };
        let waves = waves(&members, &policy);
        let (rollout, effects) = Rollout::new(policy, waves, &self.sights(up), now);
        self.stored.target = target;
        self.stored.rollout = Some(rollout);
        self.perform(effects)
    }

    /// `up`: whose path works.
    pub fn step(&mut self, now: u64, up: &[bool]) -> Vec<(usize, Told)> {
        let (Some(up_since), Some(mut rollout)) = (self.up_since, self.stored.rollout.clone())
        else {
            return Vec::new();
        };
        let effects = rollout.step(&self.sights(up), now, up_since);
        self.stored.rollout = Some(rollout);
        self.perform(effects)
    }

    fn perform(&mut self, effects: Vec<Effect>) -> Vec<(usize, Told)> {
        let mut changed = Vec::new();
        for effect in effects {
            match effect {
                Effect::Release(names) => {
                    changed.extend(names.iter().map(|name| (edge_of(name), self.stored.target)));
                }
                Effect::RollBack { .. } => {
                    let rollout = self.stored.rollout.as_ref().expect("it runs");
                    let released = rollout.edges.keys().filter(|edge| rollout.has_released(edge));
                    changed.extend(released.map(|name| (edge_of(name), Content::Old)));
                }
                Effect::Finish => {}
            }
        }
        for (edge, content) in &changed {
            let number = self.stored.desired[*edge].number + 1;
            self.stored.desired[*edge] = Desired { number, content: *content, renamed: false };
        }
        changed.into_iter().filter_map(|(edge, _)| Some((edge, self.offer(edge)?))).collect()
    }

    fn sights(&self, up: &[bool]) -> BTreeMap<String, Sight> {
        let sight = |(edge, live): (usize, &Live)| {
            let desired = self.stored.desired[edge].number;
            let path = BTreeSet::from([edge as u32]);
            let connected = live.connection.is_some();
            let paths_up = if up[edge] { path.clone() } else { BTreeSet::new() };
            let sight = Sight {
                connected,
                confirmed: live.confirmed == Some(desired) && live.applied == Some(desired),
                rejected: live.refused.get(&desired) == Some(&true),
                reverted: live.refused.get(&desired) == Some(&false)
                    && live.pushed.contains(&desired),
                fresh: connected,
                paths: path,
                paths_up,
                ..Sight::default()
            };
            (name(edge), sight)
        };
        self.live.iter().enumerate().map(sight).collect()
    }

    pub fn heard(&mut self, edge: usize, connection: u64, said: Said) -> Vec<Told> {
        match said {
            Said::Hello(hello) => return self.greeted(edge, connection, hello),
            _ if self.live[edge].connection != Some(connection) => return Vec::new(),
            Said::Ack(number) => {
                let live = &mut self.live[edge];
                if live.sent == Some(number) {
                    live.highest_seen = live.highest_seen.max(Some(number));
                    live.applied = Some(number);
                }
                return Vec::new();
            }
            Said::Nack { number, rejected, faults } => {
                let desired = self.stored.desired[edge].number;
                let live = &mut self.live[edge];
                if number != desired && live.sent != Some(number) {
                    return Vec::new();
                }
                live.highest_seen = live.highest_seen.max(Some(number));
                live.refused.insert(number, rejected);
                if !rejected {
                    live.applied = live.confirmed;
                }
                let taken = ["GENERATION_OTHER_CONTENT", "GENERATION_OLDER"];
                if faults.iter().any(|fault| taken.contains(fault)) {
                    self.rename(edge, false);
                }
            }
        }
        self.offer(edge).into_iter().collect()
    }

    fn greeted(&mut self, edge: usize, connection: u64, hello: Hello) -> Vec<Told> {
        let desired = self.stored.desired[edge].number;
        let pushed = std::mem::take(&mut self.live[edge].pushed);
        let confirms = hello.applied.filter(|number| *number == desired);
        self.live[edge] = Live {
            connection: Some(connection),
            applied: hello.applied,
            confirmed: confirms.or(hello.confirmed),
            highest_seen: hello.highest_seen,
            refused: hello.refused.into_iter().collect(),
            sent: None,
            pushed,
        };
        let mut told = vec![Told::Welcome { confirmed: confirms }];
        told.extend(self.offer(edge));
        told
    }

    fn offer(&mut self, edge: usize) -> Option<Told> {
        loop {
            let desired = self.stored.desired[edge];
            let rollout = self.stored.rollout.as_ref();
            let staged = rollout.is_some_and(|r| r.runs() && r.has_released(&name(edge)));
            let live = &self.live[edge];
            live.connection?;
            let refusal = live.refused.get(&desired.number);
            let decided = offer(Offered {
                desired: desired.number,
                applied: live.applied,
                highest_seen: live.highest_seen,
                sent: live.sent == Some(desired.number),
                rejected: refusal == Some(&true),
                unconfirmed: refusal == Some(&false),
                staged,
                pushed: live.pushed.contains(&desired.number),
            });
            match decided {
                Offer::Nothing => return None,
                Offer::Rename { once } if !self.rename(edge, once) => return None,
                Offer::Rename { .. } => {}
                Offer::Push => {
                    let live = &mut self.live[edge];
                    live.sent = Some(desired.number);
                    live.pushed.insert(desired.number);
                    let (number, content) = (desired.number, desired.content);
                    return Some(Told::Generation { number, content });
                }
            }
        }
    }

    /// False: it had its other name already.
    fn rename(&mut self, edge: usize, once: bool) -> bool {
        let seen = self.live[edge].highest_seen.unwrap_or(0);
        let desired = &mut self.stored.desired[edge];
        if once && desired.renamed {
            return false;
        }
        desired.number = desired.number.max(seen) + 1;
        desired.renamed |= once;
        true
    }
}
