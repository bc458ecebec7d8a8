use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::Fault;
use crate::time::Micros;

const BOOT: BootId = BootId([1; 16]);
const OTHER_BOOT: BootId = BootId([2; 16]);

fn id(epoch: u64, number: u64) -> GenerationId {
    GenerationId { epoch, number }
}

fn generation(epoch: u64, number: u64) -> Generation {
    Generation::new(id(epoch, number), format!("{epoch}.{number}").into_bytes())
}

fn faults() -> Vec<Fault> {
    vec![Fault {
        code: "INTERFACE_MISSING",
        path: "uplinks[0].interface".to_owned(),
        message: "there is no wan9".to_owned(),
        mend: "name one that exists".to_owned(),
    }]
}

fn at(seconds: u64) -> Micros {
    Micros(seconds * 1_000_000)
}

fn fresh() -> Generations {
    Generations::resume(GenerationState::default(), BOOT, at(0)).0
}

/// The effects without what they carry: for tables.
fn names(effects: &[Effect]) -> String {
    let name = |effect: &Effect| match effect {
        Effect::Persist(state) => {
            assert_eq!(state.check(), Ok(()));
            "persist".to_owned()
        }
        Effect::Apply { generation, reason } => format!("apply {} {reason:?}", generation.id()),
        Effect::Revert { to } => match to {
            Some(to) => format!("revert {}", to.id()),
            None => "revert none".to_owned(),
        },
        Effect::Ack(id) => format!("ack {id}"),
        Effect::Nack { id, kind, faults } => {
            let codes: Vec<_> = faults.iter().map(|f| f.code).collect();
            format!("nack {id} {kind:?} [{}]", codes.join(","))
        }
        Effect::OpenFreshConnection => "fresh".to_owned(),
        Effect::Report(faults) => format!("report {}", faults.len()),
    };
    effects.iter().map(name).collect::<Vec<_>>().join("; ")
}

/// 1.1 confirmed, 1.2 rejected, 1.3 given up unconfirmed: every kind of memory.
fn settled() -> Generations {
    let mut m = fresh();
    m.offer(generation(1, 1), EpochProof::Unsigned);
    m.outcome(at(1), Ok(()));
    m.confirmed_by_exchange(at(2), None);
    m.offer(generation(1, 2), EpochProof::Unsigned);
    m.outcome(at(3), Err(faults()));
    m.outcome(at(4), Ok(()));
    m.offer(generation(1, 3), EpochProof::Unsigned);
    m.outcome(at(5), Ok(()));
    m.handle_timeout(at(200));
    m.outcome(at(201), Ok(()));
    m
}

fn applying() -> Generations {
    let mut m = settled();
    m.offer(generation(1, 4), EpochProof::Unsigned);
    m
}

fn provisional() -> Generations {
    let mut m = applying();
    m.outcome(at(300), Ok(()));
    m
}

fn reverting() -> Generations {
    let mut m = applying();
    m.outcome(at(300), Err(faults()));
    m
}

/// What was confirmed met faults at boot, and waits to be tried again.
fn retrying() -> Generations {
    let (mut m, _) = Generations::resume(settled().state().clone(), BOOT, at(300));
    m.outcome(at(301), Err(faults()));
    m
}

enum Input {
    Offer(Generation, EpochProof),
    Outcome(Result<(), Vec<Fault>>),
    Exchange(u64, Option<GenerationId>),
    Time(u64),
}

fn feed(machine: &mut Generations, input: &Input, now: Micros) -> String {
    match input {
        Input::Offer(generation, proof) => names(&machine.offer(generation.clone(), *proof).1),
        Input::Outcome(outcome) => names(&machine.outcome(now, outcome.clone())),
        Input::Exchange(opened, named) => {
            names(&machine.confirmed_by_exchange(at(*opened), *named))
        }
        Input::Time(seconds) => names(&machine.handle_timeout(at(*seconds))),
    }
}

#[test]
fn what_was_before_is_remembered_until_all_peers_are_known_to_key_by_what_came_after() {
    let former = |m: &Generations| m.state().former_id();
    let mut m = fresh();
    m.offer(generation(1, 1), EpochProof::Unsigned);
    m.outcome(at(1), Ok(()));
    m.confirmed_by_exchange(at(2), None);
    assert_eq!(former(&m), None);
    m.offer(generation(1, 2), EpochProof::Unsigned);
    assert_eq!(names(&m.peers_settled(id(1, 1))), "", "another one is being applied");
    m.outcome(at(3), Ok(()));
    assert_eq!(former(&m), Some(id(1, 1)));
    m.confirmed_by_exchange(at(4), None);
    // The controller has confirmed it, the peers have not; nor does a start of the agent.
    let (mut m, _) = Generations::resume(m.state().clone(), OTHER_BOOT, at(0));
    m.outcome(at(1), Ok(()));
    assert_eq!(former(&m), Some(id(1, 1)));
    // One more: a peer that has not got so far keys by the oldest.
    m.offer(generation(1, 3), EpochProof::Unsigned);
    m.outcome(at(5), Ok(()));
    assert_eq!(former(&m), Some(id(1, 1)));
    assert_eq!(names(&m.peers_settled(id(1, 2))), "", "that is no longer applied");
    assert_eq!(names(&m.peers_settled(id(1, 3))), "persist");
    assert_eq!((former(&m), names(&m.peers_settled(id(1, 3)))), (None, String::new()));
}

#[test]
fn what_is_given_up_may_be_what_peers_key_by_and_what_is_in_force_again_is_not_former() {
    let m = provisional();
    assert_eq!(
        m.state().former_id(),
        Some(id(1, 3)),
        "1.3 was given up, and nobody has said that it is over"
    );
    let mut m = settled();
    m.peers_settled(id(1, 1));
    m.offer(generation(1, 4), EpochProof::Unsigned);
    m.outcome(at(300), Ok(()));
    assert_eq!(m.state().former_id(), Some(id(1, 1)));
    m.handle_timeout(at(500));
    m.outcome(at(501), Ok(()));
    assert_eq!((m.state().applied_id(), m.state().former_id()), (Some(id(1, 1)), Some(id(1, 4))));
    // Nothing was before the first.
    let mut m = fresh();
    m.offer(generation(1, 1), EpochProof::Unsigned);
    m.outcome(at(1), Ok(()));
    m.handle_timeout(at(200));
    m.outcome(at(201), Ok(()));
    assert_eq!((m.state().applied_id(), m.state().former_id()), (None, None));
}

#[test]
fn every_state_answers_every_input_as_the_table_says() {
    use EpochProof::{Unsigned, Verified};
    use Input::{Exchange, Offer, Outcome, Time};
    let other = Generation::new(id(1, 4), b"something else".to_vec());
    let other_old = Generation::new(id(1, 1), b"something else".to_vec());
    let inputs: [(&str, Input); 18] = [
        ("older, unknown", Offer(generation(0, 9), Unsigned)),
        ("confirmed", Offer(generation(1, 1), Unsigned)),
        ("confirmed, other content", Offer(other_old, Unsigned)),
        ("rejected", Offer(generation(1, 2), Unsigned)),
        ("given up", Offer(generation(1, 3), Unsigned)),
        ("1.4", Offer(generation(1, 4), Unsigned)),
        ("1.4, other content", Offer(other, Unsigned)),
        ("newer", Offer(generation(1, 5), Unsigned)),
        ("epoch, unsigned", Offer(generation(2, 1), Unsigned)),
        ("epoch, verified", Offer(generation(2, 1), Verified)),
        ("done", Outcome(Ok(()))),
        ("faults", Outcome(Err(faults()))),
        ("exchange, older connection", Exchange(300, None)),
        ("exchange, newer connection", Exchange(303, None)),
        ("exchange that names 1.4", Exchange(303, Some(id(1, 4)))),
        ("exchange that names another", Exchange(303, Some(id(1, 1)))),
        ("soon", Time(304)),
        ("late", Time(500)),
    ];
    const OLDER: &str = "nack 0.9 Rejected [GENERATION_OLDER]";
    const OTHER_1: &str = "nack 1.1 Rejected [GENERATION_OTHER_CONTENT]";
    const OTHER_4: &str = "nack 1.4 Rejected [GENERATION_OTHER_CONTENT]";
    const REJECTED: &str = "nack 1.2 Rejected [GENERATION_REJECTED_BEFORE]";
    const GIVEN_UP: &str = "nack 1.3 Unconfirmed [GENERATION_UNCONFIRMED_BEFORE]";
    const EPOCH: &str = "nack 2.1 Rejected [EPOCH_UNSIGNED]";
    const APPLY_4: &str = "persist; apply 1.4 Offered";
    const APPLY_5: &str = "persist; apply 1.5 Offered";
    const APPLY_EPOCH: &str = "persist; apply 2.1 Offered";
    const GIVE_UP_4: &str = "persist; nack 1.4 Unconfirmed []; revert 1.1";
    #[rustfmt::skip]
    let table: [(&str, Generations, [&str; 18]); 5] = [
        ("settled", settled(), [
            OLDER, "ack 1.1", OTHER_1, REJECTED, GIVEN_UP, APPLY_4, APPLY_4, APPLY_5, EPOCH,
            APPLY_EPOCH, "", "", "", "", "", "", "", "",
        ]),
        ("applying 1.4", applying(), [
            "", "", "", "", "", "", "", "", "", "",
            "persist; ack 1.4; fresh",
            "persist; nack 1.4 Rejected [INTERFACE_MISSING]; revert 1.1",
            "", "", "", "", "", "",
        ]),
        ("provisional 1.4", provisional(), [
            OLDER, "nack 1.1 Rejected [GENERATION_OLDER]", OTHER_1, REJECTED, GIVEN_UP, "ack 1.4",
            OTHER_4, APPLY_5, EPOCH, APPLY_EPOCH, "", "", "", "persist", "persist", "", "",
            GIVE_UP_4,
        ]),
        ("reverting from 1.4", reverting(), [
            "", "", "", "", "", "", "", "", "", "", "", "report 1", "", "", "", "", "", "",
        ]),
        ("retrying 1.1", retrying(), [
            OLDER, "ack 1.1", OTHER_1, REJECTED, GIVEN_UP, APPLY_4, APPLY_4, APPLY_5, EPOCH,
            APPLY_EPOCH, "", "", "", "", "", "", "", "apply 1.1 Retry",
        ]),
    ];
    for (state, machine, row) in table {
        for ((input_name, input), expected) in inputs.iter().zip(row) {
            let mut machine = machine.clone();
            let got = feed(&mut machine, input, at(302));
            assert_eq!(got, expected, "{state} ← {input_name}");
            assert_eq!(machine.state().check(), Ok(()), "{state} ← {input_name}");
        }
    }
}

#[test]
fn the_first_generation_ever_may_come_from_any_epoch() {
    let (offer, effects) = fresh().offer(generation(7, 3), EpochProof::Unsigned);
    assert_eq!((offer, names(&effects).as_str()), (Offer::Apply, "persist; apply 7.3 Offered"));
}

#[test]
fn only_what_was_never_confirmed_at_all_is_reverted_to_nothing() {
    let mut m = fresh();
    m.offer(generation(1, 1), EpochProof::Unsigned);
    m.outcome(at(1), Ok(()));
    assert_eq!(m.poll_deadline(), Some(at(1) + UNCONFIRMED_AFTER));
    let effects = m.handle_timeout(at(91));
    assert_eq!(names(&effects), "persist; nack 1.1 Unconfirmed []; revert none");
    assert_eq!(m.state().applied, None);
}

#[test]
fn after_a_restart_a_provisional_generation_has_only_the_time_that_is_left() {
    let state = provisional().state().clone();
    // (boot, now, expected): it was applied at 300 s.
    let table = [
        (BOOT, 310, "apply 1.4 Boot"),
        (BOOT, 389, "apply 1.4 Boot"),
        (BOOT, 390, "persist; nack 1.4 Unconfirmed []; revert 1.1"),
        (OTHER_BOOT, 1, "persist; nack 1.4 Unconfirmed []; revert 1.1"),
    ];
    for (boot, now, expected) in table {
        let (m, effects) = Generations::resume(state.clone(), boot, at(now));
        assert_eq!(names(&effects), expected, "{boot:?} at {now}");
        assert!(m.is_busy());
    }
    let (mut m, _) = Generations::resume(state, BOOT, at(350));
    assert_eq!(names(&m.confirmed_by_exchange(at(351), None)), "", "not in force yet");
    assert_eq!(names(&m.outcome(at(352), Ok(()))), "fresh");
    assert_eq!(m.poll_deadline(), Some(at(390)));
    assert_eq!(names(&m.confirmed_by_exchange(at(353), None)), "persist");
    assert_eq!(m.poll_deadline(), None);
}

#[test]
fn a_provisional_generation_that_does_not_come_back_after_a_restart_is_given_up() {
    let (mut m, _) = Generations::resume(provisional().state().clone(), BOOT, at(310));
    let effects = m.outcome(at(311), Err(faults()));
    assert_eq!(names(&effects), "persist; nack 1.4 Unconfirmed [INTERFACE_MISSING]; revert 1.1");
}

#[test]
fn what_is_in_force_and_meets_faults_is_tried_again_ever_more_slowly() {
    let (mut m, _) = Generations::resume(settled().state().clone(), BOOT, at(0));
    let mut now = at(1);
    for wait in [5, 10, 20, 40, 60, 60] {
        assert_eq!(names(&m.outcome(now, Err(faults()))), "report 1");
        let due = now + Duration::from_secs(wait);
        assert_eq!(m.poll_deadline(), Some(due));
        assert_eq!(names(&m.handle_timeout(due)), "apply 1.1 Retry");
        now = due;
    }
    assert_eq!(names(&m.outcome(now, Ok(()))), "");
    assert_eq!(m.poll_deadline(), None);
}

#[test]
fn a_generation_that_crashes_the_agent_is_rejected_in_the_end() {
    let mut state = settled().state().clone();
    for _ in 0..MAX_ATTEMPTS {
        let (mut m, _) = Generations::resume(state, BOOT, at(0));
        m.outcome(at(1), Ok(()));
        assert_eq!(m.offer(generation(1, 4), EpochProof::Unsigned).0, Offer::Apply);
        state = m.state().clone();
    }
    let (mut m, _) = Generations::resume(state, BOOT, at(0));
    m.outcome(at(1), Ok(()));
    let (offer, effects) = m.offer(generation(1, 4), EpochProof::Unsigned);
    assert_eq!(offer, Offer::Refuse(NotOffered::KeepsCrashing(id(1, 4))));
    assert_eq!(names(&effects), "persist; nack 1.4 Rejected [GENERATION_CRASHES_AGENT]");
    assert_eq!(m.offer(generation(1, 5), EpochProof::Unsigned).0, Offer::Apply);
}

#[test]
fn only_the_newest_refusals_are_remembered() {
    let mut refused = Refused::default();
    for number in 0..200 {
        refused.insert(id(1, number), RefusedKind::Rejected);
    }
    assert_eq!(refused.len(), MAX_REFUSED);
    assert_eq!(refused.iter().next().map(|(id, _)| id), Some(id(1, 200 - MAX_REFUSED as u64)));
}

#[test]
fn memories_that_nothing_can_lead_to_are_told() {
    let good = provisional().state().clone();
    type Spoil = fn(&mut GenerationState);
    let table: [(Spoil, IllegalState); 7] = [
        (|s| s.highest_seen = None, IllegalState::NewerThanSeen("applied")),
        (|s| s.applied = None, IllegalState::ConfirmedNotApplied),
        (|s| s.provisional = None, IllegalState::Provisional),
        (|s| s.confirmed = s.applied.clone(), IllegalState::Provisional),
        (|s| s.refused.insert(id(1, 4), RefusedKind::Rejected), IllegalState::RefusedAndApplied),
        (
            |s| std::mem::swap(&mut s.applied, &mut s.confirmed),
            IllegalState::ConfirmedNewerThanApplied,
        ),
        (
            |s| s.applied = Some(Generation::new(id(1, 4), b"else".to_vec()).into()),
            IllegalState::TwoContents,
        ),
    ];
    for (spoil, error) in table {
        let mut state = good.clone();
        spoil(&mut state);
        assert_eq!(state.check(), Err(error));
    }
}

/// One step of a random life.
#[derive(Debug, Clone)]
enum Step {
    Offer {
        epoch: u64,
        number: u64,
        variant: u8,
        verified: bool,
    },
    Outcome(bool),
    Exchange {
        age: u64,
    },
    Wait(u64),
    /// The agent is killed after so many of the effects that are still to be performed.
    Crash {
        performed: usize,
        reboot: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..3u64, 1..12u64, 0..8u8, any::<bool>()).prop_map(|(epoch, number, variant, v)| {
            Step::Offer { epoch, number, variant: variant / 7, verified: v }
        }),
        4 => prop::bool::weighted(0.7).prop_map(Step::Outcome),
        2 => (0..20u64).prop_map(|age| Step::Exchange { age }),
        2 => (1..100u64).prop_map(Step::Wait),
        1 => (0..4usize, any::<bool>())
            .prop_map(|(performed, reboot)| Step::Crash { performed, reboot }),
    ]
}

/// An agent whose disk is one state, and which performs effects in order.
struct Agent {
    machine: Generations,
    disk: GenerationState,
    queue: Vec<Effect>,
    now: Micros,
    boot: BootId,
    rejected: Vec<Generation>,
    applied_on: Vec<Generation>,
}

impl Agent {
    fn new() -> Self {
        Agent {
            machine: fresh(),
            disk: GenerationState::default(),
            queue: Vec::new(),
            now: at(0),
            boot: BOOT,
            rejected: Vec::new(),
            applied_on: Vec::new(),
        }
    }

    fn perform(&mut self, count: usize) -> Result<(), TestCaseError> {
        let count = count.min(self.queue.len());
        for effect in self.queue.drain(..count) {
            match effect {
                Effect::Persist(state) => {
                    prop_assert_eq!(state.check(), Ok(()));
                    let before = self.disk.highest_seen.map(|s| s.id);
                    let after = state.highest_seen.map(|s| s.id);
                    prop_assert!(after >= before, "highest_seen fell: {before:?} to {after:?}");
                    self.disk = *state;
                }
                Effect::Apply { generation, reason: ApplyReason::Offered } => {
                    let again = self.rejected.iter().any(|r| r.id() == generation.id());
                    prop_assert!(!again, "{} was rejected before", generation.id());
                    self.applied_on.push((*generation).clone());
                }
                // Outright refusals of what was never tried don't count.
                Effect::Nack { id, kind: RefusedKind::Rejected, .. }
                    if self.disk.refused.get(id) == Some(RefusedKind::Rejected) =>
                {
                    let tried = self.applied_on.iter().filter(|g| g.id() == id).cloned();
                    self.rejected.extend(tried);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.now = self.now + Duration::from_secs(1);
        let effects = match *step {
            Step::Offer { epoch, number, variant, verified } => {
                let bytes = format!("{epoch}.{number}.{variant}").into_bytes();
                let proof = if verified { EpochProof::Verified } else { EpochProof::Unsigned };
                self.machine.offer(Generation::new(id(epoch, number), bytes), proof).1
            }
            Step::Outcome(true) => self.machine.outcome(self.now, Ok(())),
            Step::Outcome(false) => self.machine.outcome(self.now, Err(faults())),
            Step::Exchange { age } => {
                let opened_at = self.now - Duration::from_secs(age);
                self.machine.confirmed_by_exchange(opened_at, None)
            }
            Step::Wait(seconds) => {
                self.now = self.now + Duration::from_secs(seconds);
                self.machine.handle_timeout(self.now)
            }
            Step::Crash { performed, reboot } => {
                self.perform(performed)?;
                self.queue.clear();
                if reboot {
                    self.boot.0[0] = self.boot.0[0].wrapping_add(1);
                    self.now = at(0);
                }
                let (machine, effects) =
                    Generations::resume(self.disk.clone(), self.boot, self.now);
                self.machine = machine;
                effects
            }
        };
        self.queue.extend(effects);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_life_with_crashes_breaks_the_rules(steps in prop::collection::vec(step(), 1..60)) {
        let mut agent = Agent::new();
        for (index, step) in steps.iter().enumerate() {
            agent.step(step)?;
            // A crash that follows finds effects that were not performed yet.
            if !matches!(steps.get(index + 1), Some(Step::Crash { .. })) {
                agent.perform(usize::MAX)?;
            }
            prop_assert_eq!(agent.machine.state().check(), Ok(()));
        }
    }

    #[test]
    fn whatever_happened_a_provisional_generation_ends_within_its_time(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        let mut agent = Agent::new();
        for step in &steps {
            agent.step(step)?;
            agent.perform(usize::MAX)?;
        }
        // The engine answers, then time passes without any exchange.
        while agent.machine.is_busy() {
            agent.machine.outcome(agent.now, Ok(()));
        }
        agent.machine.handle_timeout(agent.now + UNCONFIRMED_AFTER);
        let state = agent.machine.state();
        prop_assert!(state.provisional.is_none());
        prop_assert_eq!(state.applied_id(), state.confirmed_id());
    }
}
