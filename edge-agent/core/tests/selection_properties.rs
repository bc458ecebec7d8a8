//! The invariants of selection, over generated inputs and over generated links.

mod sim;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hawser_edge_core::config::{BalanceBy, ClassMode, SlaLimits};
use hawser_edge_core::id::{ClassId, PathId, TunnelId, UplinkId};
use hawser_edge_core::policy;
use hawser_edge_core::quality::Figures;
use hawser_edge_core::select::{
    Advice, CandidateSpec, Cause, Choice, ClassPolicy, Decision, Selector,
};
use hawser_edge_core::sla::{Crossed, Crossings, Limit, PathHealth, SlaState};
use hawser_edge_core::time::Micros;
use proptest::prelude::*;
use sim::{PathSpec, World, ms};

const PATHS: u32 = 4;

/// A failing case is printed whole; it becomes a test of its own by hand. `make soak` asks for a multiple.
fn cases(cases: u32) -> ProptestConfig {
    let factor = std::env::var("HAWSER_SOAK").ok().and_then(|text| text.parse().ok());
    let cases = cases.saturating_mul(factor.unwrap_or(1));
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

#[derive(Debug, Clone)]
enum Input {
    Health { path: u32, state: u8, severity: u32, rtt_ms: u32 },
    Admin { path: u32, available: bool },
    Carrier { uplink: u32, up: bool },
    Advice { avoid: u32, for_s: u64 },
    Peer { path: u32 },
}

fn input() -> impl Strategy<Value = Input> {
    let path = 1..=PATHS;
    prop_oneof![
        8 => (path.clone(), 0u8..4, 0u32..6, 1u32..300).prop_map(|(path, state, severity, rtt_ms)| {
            Input::Health { path, state, severity, rtt_ms }
        }),
        1 => (path.clone(), any::<bool>()).prop_map(|(path, available)| {
            Input::Admin { path, available }
        }),
        1 => (0u32..2, any::<bool>()).prop_map(|(uplink, up)| Input::Carrier { uplink, up }),
        1 => (path.clone(), 0u64..2_000).prop_map(|(avoid, for_s)| Input::Advice { avoid, for_s }),
        1 => path.prop_map(|path| Input::Peer { path }),
    ]
}

fn health(state: u8, severity: u32, rtt_ms: u32) -> PathHealth {
    let state =
        [SlaState::Meets, SlaState::Violates, SlaState::Recovering, SlaState::Down][state as usize];
    let mut crossed = Crossings::default();
    if state == SlaState::Violates {
        let value = 10_000u32 << severity;
        crossed.insert(Crossed { limit: Limit::LossTx, value, allowed: 10_000, confidence_ppm: 0 });
    }
    let figures = Figures { rtt_us: rtt_ms * 1_000, ..Figures::default() };
    PathHealth { state, connecting: false, crossed, figures }
}

fn specs() -> Vec<CandidateSpec> {
    let spec = |path: u32| CandidateSpec {
        path: PathId(path),
        name: format!("path-{path}"),
        local_uplink: UplinkId(path % 2),
        remote_uplink: UplinkId(10 + path / 3),
        // Two of them are equal.
        preference: ((path as u16) / 2, 0),
        cost: 0,
        drained: path == 4,
        ..CandidateSpec::default()
    };
    (1..=PATHS).map(spec).collect()
}

fn class(hold_s: u64, drop: bool, follows_peer: bool) -> ClassPolicy {
    ClassPolicy {
        tunnel: TunnelId(1),
        class: ClassId(1),
        class_name: "default".into(),
        failback_hold: Duration::from_secs(hold_s),
        dwell: Duration::from_secs(5),
        drop_when_none_meets: drop,
        follows_peer,
        mode: ClassMode::Best,
    }
}

fn mode() -> impl Strategy<Value = ClassMode> {
    prop_oneof![
        Just(ClassMode::Best),
        Just(ClassMode::Balance(BalanceBy::Bandwidth)),
        Just(ClassMode::Duplicate),
    ]
}

/// The selector with a second account of what it was told.
struct Run {
    selector: Selector,
    health: BTreeMap<PathId, SlaState>,
    available: BTreeMap<PathId, bool>,
    carrier: BTreeMap<UplinkId, bool>,
    /// Answered once: they are not connecting any more.
    heard: BTreeSet<PathId>,
    now: Micros,
    log: String,
    decisions: Vec<Decision>,
}

impl Run {
    fn new(policy: ClassPolicy) -> Self {
        let paths = || (1..=PATHS).map(PathId);
        let mut run = Run {
            selector: Selector::new(policy, specs(), Micros(0)),
            health: paths().map(|p| (p, SlaState::Down)).collect(),
            available: paths().map(|p| (p, true)).collect(),
            carrier: BTreeMap::new(),
            heard: BTreeSet::new(),
            now: Micros(0),
            log: String::new(),
            decisions: Vec::new(),
        };
        paths().for_each(|p| run.selector.handle_path_admin(p, true, Micros(0)));
        run
    }

    fn state(&self, path: PathId) -> SlaState {
        let carrier = self.carrier.get(&UplinkId(path.0 % 2)).copied().unwrap_or(true);
        if self.available[&path] && carrier { self.health[&path] } else { SlaState::Down }
    }

    fn feed(&mut self, input: &Input) {
        let now = self.now;
        match *input {
            Input::Health { path, state, severity, rtt_ms } => {
                let health = health(state, severity, rtt_ms);
                self.health.insert(PathId(path), health.state);
                self.heard.insert(PathId(path));
                self.selector.handle_quality(PathId(path), &health, now);
            }
            Input::Admin { path, available } => {
                self.available.insert(PathId(path), available);
                self.selector.handle_path_admin(PathId(path), available, now);
            }
            Input::Carrier { uplink, up } => {
                self.carrier.insert(UplinkId(uplink), up);
                self.selector.handle_carrier(UplinkId(uplink), up, now);
            }
            Input::Advice { avoid, for_s } => {
                let until = now + Duration::from_secs(for_s);
                let advice = Advice { avoid: [PathId(avoid)].into(), until, reason: "r".into() };
                self.selector.handle_advice(Some(advice), now);
            }
            Input::Peer { path } => self.selector.handle_peer_choice(Some(PathId(path))),
        }
    }

    /// Polls until nothing more is decided, and holds each decision against the invariants.
    fn poll(&mut self) -> Result<(), TestCaseError> {
        for _ in 0..8 {
            let from = self.selector.selected();
            let Some(decision) = self.selector.poll(self.now) else { break };
            prop_assert_eq!(decision.from, from);
            if decision.cause == Cause::Members {
                prop_assert_eq!(decision.from, decision.to);
            } else {
                prop_assert_ne!(decision.from, decision.to);
            }
            if let (Some(from), Some(to)) = (from, decision.to) {
                prop_assert!(self.state(to) <= self.state(from), "to a worse state: {}", decision);
            }
            self.log += &decision.to_string();
            self.decisions.push(decision);
        }
        prop_assert_eq!(self.selector.poll(self.now), None, "it settles");
        let best = (1..=PATHS).map(|p| self.state(PathId(p))).min().unwrap();
        if let Some(current) = self.selector.selected() {
            let state = self.state(current);
            prop_assert!(state < SlaState::Recovering || best >= state, "stays on {state}");
        } else if !self.selector.policy().drop_when_none_meets {
            prop_assert_eq!(best, SlaState::Down, "carries nothing though a path works");
        }
        self.choice_is_sound()?;
        let deadline = self.selector.next_deadline();
        prop_assert!(deadline.is_none_or(|at| at > self.now), "{:?}", deadline);
        self.selector.explain(self.now);
        Ok(())
    }

    /// What carries is what is selected and what the mode adds to it, none of it worse.
    fn choice_is_sound(&self) -> Result<(), TestCaseError> {
        let choice = self.selector.choice();
        let current = self.selector.selected();
        if current.is_none() {
            return self.last_way_is_sound(&choice);
        }
        match &choice {
            Choice::Nothing => {}
            Choice::Path(path) => prop_assert_eq!(Some(*path), current),
            Choice::Both(first, second) => {
                prop_assert_eq!(Some(*first), current);
                let specs = specs();
                let [a, b] = [first, second].map(|p| &specs[p.0 as usize - 1]);
                prop_assert_ne!(a.local_uplink, b.local_uplink);
                prop_assert_ne!(a.remote_uplink, b.remote_uplink);
                prop_assert!(self.state(*second) <= SlaState::Violates);
            }
            Choice::Spread(paths) => {
                prop_assert!(paths.len() >= 2 && paths.is_sorted());
                prop_assert!(paths.iter().any(|&(path, _)| Some(path) == current));
                let meets = |&(path, weight): &(PathId, u32)| {
                    weight > 0 && self.state(path) == SlaState::Meets
                };
                prop_assert!(paths.iter().all(meets), "{:?}", paths);
            }
        }
        Ok(())
    }

    /// Where nothing works, only silence may speak against what carries.
    fn last_way_is_sound(&self, choice: &Choice) -> Result<(), TestCaseError> {
        let silent = |path: PathId| {
            let carrier = self.carrier.get(&UplinkId(path.0 % 2)).copied().unwrap_or(true);
            self.available[&path] && carrier && self.heard.contains(&path)
        };
        match choice {
            Choice::Path(path) => {
                prop_assert!(!self.selector.policy().drop_when_none_meets);
                prop_assert!(silent(*path), "{} can't carry anything", path);
            }
            _ => {
                prop_assert_eq!(choice, &Choice::Nothing);
                let none = !(1..=PATHS).map(PathId).any(silent);
                prop_assert!(none || self.selector.policy().drop_when_none_meets);
            }
        }
        Ok(())
    }

    /// Nothing comes in for a time: only deadlines.
    fn idle_until(&mut self, end: Micros) -> Result<(), TestCaseError> {
        for _ in 0..1_000 {
            match self.selector.next_deadline() {
                Some(at) if at <= end => {
                    self.now = at;
                    self.poll()?;
                }
                _ => break,
            }
        }
        self.now = end;
        self.poll()
    }
}

fn play(policy: ClassPolicy, inputs: &[(u64, Input)]) -> Result<Run, TestCaseError> {
    let mut run = Run::new(policy);
    for (step_ms, input) in inputs {
        let at = run.now + ms(*step_ms);
        run.idle_until(at)?;
        run.feed(input);
        run.poll()?;
    }
    Ok(run)
}

/// Voluntary moves within any stretch of time, but for those of the start, which cost no token.
fn voluntary_is_bounded(decisions: &[Decision]) -> Result<(), TestCaseError> {
    let Some(start) = decisions.first() else { return Ok(()) };
    let free = start.at + policy::START_GRACE;
    let times: Vec<Micros> =
        decisions.iter().filter(|d| d.cause.voluntary() && d.at >= free).map(|d| d.at).collect();
    for (index, first) in times.iter().enumerate() {
        for (count, last) in times[index..].iter().enumerate() {
            let refilled = last.since(*first).as_secs() / policy::MOVE_TOKEN_REFILL.as_secs();
            let allowed = u64::from(policy::MOVE_TOKENS) + refilled;
            prop_assert!((count as u64) < allowed, "{} moves, {} allowed", count + 1, allowed);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(5_000))]

    #[test]
    fn any_inputs_keep_the_invariants_and_give_the_same_log_twice(
        inputs in proptest::collection::vec((0u64..120_000, input()), 1..120),
        hold_s in 0u64..60,
        drop in any::<bool>(),
        follows in any::<bool>(),
        mode in mode(),
    ) {
        let policy = ClassPolicy { mode, ..class(hold_s, drop, follows) };
        let run = play(policy.clone(), &inputs)?;
        let again = play(policy, &inputs)?;
        prop_assert_eq!(&run.log, &again.log);
        if !follows {
            voluntary_is_bounded(&run.decisions)?;
        }
    }

    #[test]
    fn constant_input_ends_in_rest(
        inputs in proptest::collection::vec((0u64..60_000, input()), 1..60),
        hold_s in 0u64..60,
        drop in any::<bool>(),
        mode in mode(),
    ) {
        let policy = ClassPolicy { mode, ..class(hold_s, drop, false) };
        let mut run = play(policy, &inputs)?;
        // Advice ends within an hour, a hold within another, and each token takes ten minutes.
        let rest = run.now + Duration::from_secs(4 * 3_600);
        run.idle_until(rest)?;
        let decided = run.decisions.len();
        run.idle_until(rest + Duration::from_secs(30 * 24 * 3_600))?;
        prop_assert_eq!(run.decisions.len(), decided, "{}", run.log);
        prop_assert_eq!(run.selector.next_deadline(), None, "nothing is left to wait for");
    }
}

/// A behaviour of one path for a while.
#[derive(Debug, Clone)]
struct Phase {
    path: usize,
    delay_ms: u64,
    jitter_ms: u64,
    loss_percent: u8,
    bursts: bool,
    duplicates: bool,
    dead: [bool; 2],
    lasts_ms: u64,
}

fn phase() -> impl Strategy<Value = Phase> {
    (
        0usize..3,
        1u64..200,
        0u64..120,
        prop_oneof![3 => Just(0u8), 2 => 0u8..10, 1 => 10u8..100],
        any::<bool>(),
        any::<bool>(),
        prop_oneof![4 => Just([false; 2]), 1 => Just([true; 2]), 1 => any::<[bool; 2]>()],
        100u64..15_000,
    )
        .prop_map(
            |(path, delay_ms, jitter_ms, loss_percent, bursts, duplicates, dead, lasts_ms)| Phase {
                path,
                delay_ms,
                jitter_ms,
                loss_percent,
                bursts,
                duplicates,
                dead,
                lasts_ms,
            },
        )
}

fn simulate(seed: u64, phases: &[Phase]) -> World {
    let paths = [20, 35, 60].map(|rtt_ms| PathSpec { rtt_ms, preference: rtt_ms as u16 });
    let limits = SlaLimits {
        max_rtt_us: 150_000,
        max_jitter_us: 30_000,
        max_loss_ppm: 10_000,
        ..SlaLimits::default()
    };
    let mut world = World::new(&paths, limits, ms(3_000), seed);
    world.run_for(ms(3_000));
    for phase in phases {
        for (link, dead) in world.links[phase.path].iter_mut().zip(phase.dead) {
            link.delay = ms(phase.delay_ms);
            link.jitter = ms(phase.jitter_ms);
            link.duplicate = if phase.duplicates { 0.1 } else { 0.0 };
            link.blackhole = dead;
            let loss = f64::from(phase.loss_percent) / 100.0;
            // Bursts: rare, but everything is lost in them.
            (link.loss, link.to_bad) = if phase.bursts { (0.0, loss / 5.0) } else { (loss, 0.0) };
            (link.bad_loss, link.to_good) = (1.0, 0.25);
        }
        world.run_for(ms(phase.lasts_ms));
    }
    world
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn generated_links_keep_the_invariants(
        seed in any::<u64>(),
        phases in proptest::collection::vec(phase(), 1..12),
    ) {
        let world = simulate(seed, &phases);
        let log = |world: &World| -> Vec<String> {
            world.ends.iter().flat_map(|e| &e.decisions).map(|d| d.to_string()).collect()
        };
        prop_assert_eq!(log(&world), log(&simulate(seed, &phases)), "same seed, same log");
        for end in &world.ends {
            voluntary_is_bounded(&end.decisions)?;
            for decision in &end.decisions {
                let state = |path: Option<PathId>| {
                    decision.candidates.iter().find(|c| Some(c.path) == path).map(|c| c.state)
                };
                if let (Some(from), Some(to)) = (state(decision.from), state(decision.to)) {
                    prop_assert!(to <= from, "{}", decision);
                }
                let reasons = decision.candidates.iter().all(|c| c.chosen == c.refused_because.is_empty());
                prop_assert!(reasons, "{}", decision);
            }
        }
    }
}

/// What a soak found: a packet that arrives as one phase ends. Each as (path, delay, jitter, loss, bursts, duplicates, dead,
/// lasts).
#[test]
fn what_arrives_between_two_phases_is_taken_in() {
    type Row = (usize, u64, u64, u8, bool, bool, [bool; 2], u64);
    let rows: [Row; 7] = [
        (1, 134, 30, 0, false, true, [false, false], 12_117),
        (0, 68, 104, 0, false, false, [true, false], 1_206),
        (0, 165, 99, 4, false, true, [false, false], 6_374),
        (1, 70, 35, 0, false, false, [false, false], 12_352),
        (2, 107, 21, 0, false, false, [false, false], 12_055),
        (0, 68, 60, 0, false, false, [false, false], 9_504),
        (0, 1, 0, 0, false, false, [false, false], 100),
    ];
    let phases = rows.map(
        |(path, delay_ms, jitter_ms, loss_percent, bursts, duplicates, dead, lasts_ms)| Phase {
            path,
            delay_ms,
            jitter_ms,
            loss_percent,
            bursts,
            duplicates,
            dead,
            lasts_ms,
        },
    );
    simulate(1_090_297_804_756_357_438, &phases);
}
