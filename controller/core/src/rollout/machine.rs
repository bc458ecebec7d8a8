//! The state machine: what is seen and the time go in, effects come out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::policy::Policy;

/// Paths down or an SLA lost for so long is the generation's fault, and no burst of the provider's.
pub const BAD_FOR_MS: u64 = 15_000;

/// What is seen of an edge now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    pub connected: bool,
    /// The generation it should have is confirmed.
    pub confirmed: bool,
    pub rejected: bool,
    /// It took the generation back, and the controller was there all the time.
    pub reverted: bool,
    /// What it measures is recent.
    pub fresh: bool,
    /// Paths of its configuration.
    pub paths: BTreeSet<u32>,
    pub paths_up: BTreeSet<u32>,
    /// Tunnel and SLA class: some path of the tunnel meets it.
    pub slas_met: BTreeSet<(u32, String)>,
    /// Tunnel and SLA class: it is told of.
    pub slas: BTreeSet<(u32, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    Waiting,
    Released,
    Confirmed,
    /// It was not connected when its wave was released: nobody waits for it.
    Away,
    Failed,
}

impl Standing {
    pub fn name(self) -> &'static str {
        match self {
            Standing::Waiting => "waiting",
            Standing::Released => "released",
            Standing::Confirmed => "confirmed",
            Standing::Away => "away",
            Standing::Failed => "failed",
        }
    }
}

/// How far one edge is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub wave: usize,
    pub standing: Standing,
    released_ms: u64,
    /// As it was before the release.
    before: Sight,
    /// Since when something is out of order.
    bad_since_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Settling,
    Soaking,
    AwaitingConfirmation,
    Done,
    RolledBack,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Settling => "settling",
            Phase::Soaking => "soaking",
            Phase::AwaitingConfirmation => "awaiting-confirmation",
            Phase::Done => "done",
            Phase::RolledBack => "rolled-back",
        }
    }
}

/// What the caller has to do, together with storing the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Offer these edges their new generation.
    Release(Vec<String>),
    /// Everybody goes back to what was before.
    RollBack { reason: String },
    /// Nothing holds the new revision back any more.
    Finish,
}

/// One revision on its way to every edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    pub policy: Policy,
    pub waves: usize,
    /// Of those released, the last.
    pub wave: usize,
    pub phase: Phase,
    since_ms: u64,
    pub edges: BTreeMap<String, Progress>,
    pub reason: Option<String>,
}

type Sights = BTreeMap<String, Sight>;

impl Rollout {
    /// Begins with the first wave.
    pub fn new(
        policy: Policy,
        waves: Vec<Vec<String>>,
        sights: &Sights,
        now_ms: u64,
    ) -> (Self, Vec<Effect>) {
        let mut edges = BTreeMap::new();
        for (wave, names) in waves.iter().enumerate() {
            for name in names {
                let progress = Progress {
                    wave,
                    standing: Standing::Waiting,
                    released_ms: 0,
                    before: Sight::default(),
                    bad_since_ms: None,
                };
                edges.insert(name.clone(), progress);
            }
        }
        let (waves, phase, reason) = (waves.len(), Phase::Settling, None);
        let mut rollout = Self { policy, waves, wave: 0, phase, since_ms: now_ms, edges, reason };
        let release = rollout.release(0, sights, now_ms);
        (rollout, vec![release])
    }

    /// It still goes on by itself.
    pub fn runs(&self) -> bool {
        !matches!(self.phase, Phase::Done | Phase::RolledBack)
    }

    /// This edge has the new generation offered to it.
    pub fn has_released(&self, edge: &str) -> bool {
        self.edges.get(edge).is_some_and(|progress| progress.standing != Standing::Waiting)
    }

    /// When the phase ends by the clock; none: not by the clock.
    pub fn until_ms(&self, up_since_ms: u64) -> Option<u64> {
        let since = self.since_ms.max(up_since_ms);
        match self.phase {
            Phase::Settling => Some(since + self.policy.settle_within_ms),
            Phase::Soaking => Some(since + self.policy.soak_ms),
            Phase::AwaitingConfirmation => self.policy.confirm_within_ms.map(|ms| since + ms),
            Phase::Done | Phase::RolledBack => None,
        }
    }

    /// Looks at everything anew. `up_since_ms`: since when this controller can see and be reached.
    pub fn step(&mut self, sights: &Sights, now_ms: u64, up_since_ms: u64) -> Vec<Effect> {
        if !self.runs() {
            return Vec::new();
        }
        if let Some(reason) = self.look(sights, now_ms, up_since_ms) {
            return self.roll_back(reason);
        }
        let over = self.until_ms(up_since_ms).is_some_and(|until| now_ms >= until);
        match self.phase {
            Phase::Settling if self.settled() => self.enter(Phase::Soaking, now_ms),
            Phase::Soaking if over && self.in_order() => return self.advance(sights, now_ms),
            Phase::AwaitingConfirmation if over => {
                return self.roll_back("it was not confirmed in time".to_owned());
            }
            _ => {}
        }
        Vec::new()
    }

    /// The operator is content. After the last wave nothing more is waited for; before it only the wait for the
    /// confirmation falls away.
    pub fn confirm(&mut self) -> Vec<Effect> {
        self.policy.confirm_within_ms = None;
        if self.phase == Phase::AwaitingConfirmation {
            self.phase = Phase::Done;
            return vec![Effect::Finish];
        }
        Vec::new()
    }

    /// The operator is not.
    pub fn abort(&mut self, reason: String) -> Vec<Effect> {
        if self.runs() { self.roll_back(reason) } else { Vec::new() }
    }

    fn roll_back(&mut self, reason: String) -> Vec<Effect> {
        self.phase = Phase::RolledBack;
        self.reason = Some(reason.clone());
        vec![Effect::RollBack { reason }]
    }

    fn enter(&mut self, phase: Phase, now_ms: u64) {
        self.phase = phase;
        self.since_ms = now_ms;
    }

    fn advance(&mut self, sights: &Sights, now_ms: u64) -> Vec<Effect> {
        if self.wave + 1 < self.waves {
            self.enter(Phase::Settling, now_ms);
            return vec![self.release(self.wave + 1, sights, now_ms)];
        }
        if self.policy.confirm_within_ms.is_some() {
            self.enter(Phase::AwaitingConfirmation, now_ms);
            return Vec::new();
        }
        self.phase = Phase::Done;
        vec![Effect::Finish]
    }

    fn release(&mut self, wave: usize, sights: &Sights, now_ms: u64) -> Effect {
        self.wave = wave;
        let mut names = Vec::new();
        for (name, progress) in self.edges.iter_mut().filter(|(_, p)| p.wave == wave) {
            let sight = sights.get(name).cloned().unwrap_or_default();
            progress.standing = if sight.connected { Standing::Released } else { Standing::Away };
            progress.released_ms = now_ms;
            progress.before = sight;
            names.push(name.clone());
        }
        Effect::Release(names)
    }

    /// Every edge that is waited for has confirmed; a first wave that nobody has confirmed proves nothing.
    fn settled(&self) -> bool {
        let of_wave: Vec<Standing> =
            self.edges.values().filter(|p| p.wave == self.wave).map(|p| p.standing).collect();
        let waiting = of_wave.contains(&Standing::Released);
        let proven = of_wave.contains(&Standing::Confirmed) || self.wave > 0;
        !waiting && proven
    }

    fn in_order(&self) -> bool {
        self.edges.values().all(|progress| progress.bad_since_ms.is_none())
    }

    /// Takes in what is seen; returns why it must be taken back.
    fn look(&mut self, sights: &Sights, now_ms: u64, up_since_ms: u64) -> Option<String> {
        let settle_within = self.policy.settle_within_ms;
        let nothing = Sight::default();
        for (name, progress) in &mut self.edges {
            if progress.standing == Standing::Waiting {
                continue;
            }
            let sight = sights.get(name).unwrap_or(&nothing);
            if let Some(why) = progress.look(sight, settle_within, now_ms, up_since_ms) {
                progress.standing = Standing::Failed;
                return Some(format!("{name} {why}"));
            }
        }
        None
    }
}

impl Progress {
    fn look(
        &mut self,
        sight: &Sight,
        settle_within_ms: u64,
        now_ms: u64,
        up_since_ms: u64,
    ) -> Option<String> {
        if sight.rejected {
            return Some("rejected it".to_owned());
        }
        if sight.reverted {
            return Some("lost the controller with it, and went back by itself".to_owned());
        }
        if sight.confirmed && sight.connected {
            self.standing = Standing::Confirmed;
        }
        let since = self.released_ms.max(up_since_ms);
        match self.standing {
            Standing::Released if now_ms >= since + settle_within_ms => {
                Some("did not confirm it in time".to_owned())
            }
            Standing::Confirmed => {
                let (why, patience_ms) = match self.out_of_order(sight) {
                    None => {
                        self.bad_since_ms = None;
                        return None;
                    }
                    // It may have to find its way back, as after any loss of the controller.
                    Some(why) if !sight.connected => (why, settle_within_ms),
                    Some(why) => (why, BAD_FOR_MS),
                };
                let since = self.bad_since_ms.get_or_insert(now_ms);
                let since = (*since).max(up_since_ms);
                (now_ms >= since + patience_ms).then_some(why)
            }
            _ => None,
        }
    }

    fn out_of_order(&self, sight: &Sight) -> Option<String> {
        if !sight.connected {
            return Some("went away with it".to_owned());
        }
        // What it does not tell is not held against it; it is, if it never tells again.
        if !sight.fresh {
            return self.before.fresh.then(|| "tells nothing any more".to_owned());
        }
        let down: Vec<String> = self
            .before
            .paths_up
            .iter()
            .filter(|path| sight.paths.contains(path) && !sight.paths_up.contains(path))
            .map(ToString::to_string)
            .collect();
        if !down.is_empty() {
            return Some(format!("lost paths that were up before: {}", down.join(", ")));
        }
        let lost = self
            .before
            .slas_met
            .iter()
            .find(|sla| sight.slas.contains(*sla) && !sight.slas_met.contains(*sla));
        lost.map(|(tunnel, sla)| {
            format!("meets the SLA {sla} on no path of tunnel {tunnel} any more")
        })
    }
}
