use std::collections::{BTreeMap, BTreeSet};

use super::machine::BAD_FOR_MS;
use super::*;

fn policy() -> Policy {
    Policy { soak_ms: 20_000, ..Policy::default() }
}

fn member(site: &str, hub: bool, connected: bool) -> Member {
    Member { edge: format!("{site}-1"), site: site.into(), hub, connected }
}

/// In order, with one path up and one SLA met.
fn good() -> Sight {
    let sla = BTreeSet::from([(1, "voice".to_owned())]);
    Sight {
        connected: true,
        confirmed: true,
        fresh: true,
        paths: BTreeSet::from([1, 2]),
        paths_up: BTreeSet::from([1]),
        slas_met: sla.clone(),
        slas: sla,
        ..Sight::default()
    }
}

struct Run {
    rollout: Rollout,
    sights: BTreeMap<String, Sight>,
    now: u64,
    up_since: u64,
}

impl Run {
    /// Two waves of one edge each.
    fn new(policy: Policy) -> Self {
        let sights = BTreeMap::from([("a".to_owned(), good()), ("b".to_owned(), good())]);
        let waves = vec![vec!["a".to_owned()], vec!["b".to_owned()]];
        let (rollout, effects) = Rollout::new(policy, waves, &sights, 1_000_000);
        assert_eq!(effects, [Effect::Release(vec!["a".into()])]);
        let mut run = Self { rollout, sights, now: 1_000_000, up_since: 0 };
        run.see("a", |sight| sight.confirmed = false);
        run
    }

    fn see(&mut self, edge: &str, change: impl FnOnce(&mut Sight)) {
        change(self.sights.get_mut(edge).unwrap());
    }

    fn after(&mut self, ms: u64) -> Vec<Effect> {
        self.now += ms;
        self.rollout.step(&self.sights, self.now, self.up_since)
    }

    fn taken_back(&mut self, ms: u64) -> bool {
        matches!(self.after(ms).as_slice(), [Effect::RollBack { .. }])
    }
}

#[test]
fn waves_grow_and_hubs_come_last_one_by_one() {
    let mut members: Vec<Member> =
        (0..9).map(|n| member(&format!("s{n}"), false, n != 0)).collect();
    members.push(member("hq1", true, true));
    members.push(member("hq2", true, true));
    let sizes =
        |policy: &Policy| -> Vec<usize> { waves(&members, policy).iter().map(Vec::len).collect() };
    assert_eq!(sizes(&policy()), [1, 3, 5, 1, 1]);
    assert_eq!(waves(&members, &policy())[0], ["s1-1"], "the first one that is connected");
    assert_eq!(waves(&members, &policy())[4], ["hq2-1"]);
    let named = Policy { canary_sites: vec!["s7".into(), "hq1".into()], ..policy() };
    assert_eq!(waves(&members, &named)[0], ["hq1-1", "s7-1"]);
    assert_eq!(sizes(&named), [2, 6, 2, 1]);
    let unknown = Policy { canary_sites: vec!["nowhere".into()], ..policy() };
    assert_eq!(sizes(&unknown), [1, 3, 5, 1, 1]);
}

#[test]
fn what_confirms_and_stays_in_order_goes_on_to_the_end() {
    let mut run = Run::new(policy());
    assert_eq!(run.after(30_000), []);
    run.see("a", |sight| sight.confirmed = true);
    assert_eq!(run.after(1_000), []);
    assert_eq!(run.rollout.phase, Phase::Soaking);
    assert_eq!(run.after(19_999), []);
    assert_eq!(run.after(1), [Effect::Release(vec!["b".into()])]);
    assert_eq!(run.after(1), []);
    assert_eq!(run.after(20_000), [Effect::Finish]);
    assert!(!run.rollout.runs() && run.after(1_000_000).is_empty());
}

#[test]
fn each_thing_that_goes_wrong_takes_it_back_no_sooner_than_it_must() {
    let mut rejects = Run::new(policy());
    rejects.see("a", |sight| sight.rejected = true);
    assert!(rejects.taken_back(1));

    let mut reverts = Run::new(policy());
    reverts.see("a", |sight| sight.reverted = true);
    assert!(reverts.taken_back(1));

    let mut silent = Run::new(policy());
    assert!(!silent.taken_back(119_999) && silent.taken_back(1));

    type Harm = fn(&mut Sight);
    let harms: [(Harm, u64); 4] = [
        (|sight| sight.paths_up.clear(), BAD_FOR_MS),
        (|sight| sight.slas_met.clear(), BAD_FOR_MS),
        (|sight| sight.fresh = false, BAD_FOR_MS),
        (|sight| sight.connected = false, 120_000),
    ];
    for (harm, patience) in harms {
        let mut run = Run::new(policy());
        run.see("a", |sight| sight.confirmed = true);
        run.after(1_000);
        run.see("a", harm);
        run.after(0);
        assert!(!run.taken_back(patience - 1) && run.taken_back(1), "{patience}");
    }
}

#[test]
fn what_mends_itself_in_time_and_what_was_bad_before_is_not_held_against_it() {
    let mut run = Run::new(policy());
    run.see("a", |sight| sight.confirmed = true);
    run.after(1_000);
    run.see("a", |sight| sight.paths_up.clear());
    run.after(BAD_FOR_MS - 1);
    run.see("a", |sight| *sight = good());
    assert_eq!(run.after(1), []);
    // Path 2 was down before; a path that is no more and a class that is not told of are no loss.
    run.see("a", |sight| {
        sight.paths = BTreeSet::from([2]);
        sight.paths_up.clear();
        sight.slas.clear();
        sight.slas_met.clear();
    });
    assert_eq!(run.after(20_000), [Effect::Release(vec!["b".into()])]);
}

#[test]
fn an_edge_that_is_away_is_not_waited_for_unless_the_first_wave_proves_nothing_without_it() {
    let away = Sight::default();
    let sights = BTreeMap::from([("a".to_owned(), away.clone()), ("b".to_owned(), away)]);
    let waves = vec![vec!["a".to_owned()], vec!["b".to_owned()]];
    let (rollout, _) = Rollout::new(policy(), waves, &sights, 0);
    let mut run = Run { rollout, sights, now: 0, up_since: 0 };
    assert_eq!(run.after(10_000_000), []);
    assert_eq!(run.rollout.phase, Phase::Settling);
    run.see("a", |sight| *sight = good());
    run.after(1);
    assert_eq!(run.after(20_000), [Effect::Release(vec!["b".into()])]);
    run.after(1);
    assert_eq!(run.after(20_000), [Effect::Finish]);
}

#[test]
fn clocks_begin_anew_with_the_controller() {
    let mut run = Run::new(policy());
    run.up_since = run.now + 500_000;
    assert!(!run.taken_back(600_000));
    assert!(!run.taken_back(19_999) && run.taken_back(1));
}

#[test]
fn without_a_confirmation_in_time_it_is_taken_back() {
    let patient = Policy { confirm_within_ms: Some(60_000), ..policy() };
    for confirms in [false, true] {
        let mut run = Run::new(patient.clone());
        run.see("a", |sight| sight.confirmed = true);
        for _ in 0..2 {
            run.after(1);
            run.after(20_000);
        }
        assert_eq!(run.rollout.phase, Phase::AwaitingConfirmation);
        assert!(!run.taken_back(59_999));
        if confirms {
            assert_eq!(run.rollout.confirm(), [Effect::Finish]);
            assert!(run.after(1_000_000).is_empty());
        } else {
            assert!(run.taken_back(1));
        }
    }
}

#[test]
fn a_generation_is_offered_again_only_if_it_may_have_been_good() {
    let at = Offered {
        desired: 5,
        applied: Some(4),
        highest_seen: Some(4),
        sent: false,
        rejected: false,
        unconfirmed: false,
        staged: false,
        pushed: false,
    };
    let unconfirmed = Offered { unconfirmed: true, sent: true, ..at };
    for (at, expected) in [
        (at, Offer::Push),
        (Offered { sent: true, ..at }, Offer::Nothing),
        (Offered { applied: Some(5), ..at }, Offer::Nothing),
        (Offered { highest_seen: Some(9), ..at }, Offer::Rename { once: false }),
        (Offered { rejected: true, ..at }, Offer::Nothing),
        (unconfirmed, Offer::Rename { once: false }),
        (Offered { pushed: true, ..unconfirmed }, Offer::Rename { once: true }),
        (Offered { pushed: true, staged: true, ..unconfirmed }, Offer::Nothing),
        (Offered { staged: true, ..unconfirmed }, Offer::Rename { once: false }),
    ] {
        assert_eq!(offer(at), expected, "{at:?}");
    }
}
