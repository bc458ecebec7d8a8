//! One subject's way from signs to a trouble, to its advice in waves, to its end.

use std::collections::{BTreeMap, BTreeSet};

use super::constants::*;
use super::evidence::Signs;
use super::{Millis, Subject, chance};
use crate::id::EdgeId;

/// What is usual for each subject, learned while nothing is wrong.
#[derive(Debug, Default)]
pub(super) struct Background {
    usual: BTreeMap<Subject, f64>,
    learned: Option<Millis>,
}

impl Background {
    /// The chance that a site suffers without a cause that it shares with others.
    pub fn of(&self, subject: &Subject, signs: &Signs) -> f64 {
        let usual = self.usual.get(subject).copied().unwrap_or(0.0);
        usual.max(signs.others).max(BACKGROUND_FLOOR)
    }

    /// What is in trouble, or under suspicion of it, teaches nothing.
    pub fn learn(
        &mut self,
        signs: &BTreeMap<Subject, Signs>,
        in_doubt: &BTreeSet<Subject>,
        now: Millis,
    ) {
        let elapsed_ms = self.learned.map_or(0, |at| now.since(at));
        self.learned = Some(now);
        let weight = (elapsed_ms as f64 / BACKGROUND_TIME_MS).min(1.0);
        self.usual.retain(|subject, _| signs.contains_key(subject) || in_doubt.contains(subject));
        for (subject, signs) in signs.iter().filter(|(subject, _)| !in_doubt.contains(*subject)) {
            let usual = self.usual.entry(subject.clone()).or_default();
            *usual += (signs.share() - *usual) * weight;
        }
    }
}

/// Signs that chance does not explain.
pub(super) fn alarming(signs: &Signs, background: f64) -> bool {
    signs.distinct
        && signs.bad >= MIN_SITES
        && signs.share() >= MIN_SHARE
        && chance::at_least(signs.bad, signs.of, background) < ALARM_CHANCE
}

fn calm(signs: &Signs, background: f64) -> bool {
    signs.share() < CALM_SHARE || chance::at_least(signs.bad, signs.of, background) > CALM_CHANCE
}

/// A suspicion, and what becomes of it.
#[derive(Debug)]
pub(super) struct Trouble {
    pub id: u64,
    pub since: Millis,
    /// It has lasted.
    pub found: bool,
    /// The signs are gone, and have been for long enough.
    pub over: bool,
    pub signs: Signs,
    background: f64,
    calm_since: Option<Millis>,
    /// Edges led away although they do not suffer themselves, wave by wave.
    waves: Vec<Vec<EdgeId>>,
    /// Edges that suffered at any time of it: they moved by themselves, and should not come back too soon.
    victims: BTreeSet<EdgeId>,
    others_at_start: f64,
    next_wave: Millis,
    /// A step back was made or a wave was held back since the last wave.
    pub held: bool,
}

/// What became of a trouble at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    None,
    Found,
    Over,
    Back,
    Gone,
}

impl Trouble {
    pub fn suspect(id: u64, signs: Signs, background: f64, now: Millis) -> Self {
        Trouble {
            id,
            since: now,
            found: false,
            over: false,
            background,
            calm_since: None,
            waves: Vec::new(),
            victims: BTreeSet::new(),
            others_at_start: signs.others,
            next_wave: now,
            held: false,
            signs,
        }
    }

    /// `alarming`: by today's background.
    pub fn look(&mut self, signs: Signs, alarming: bool, now: Millis) -> News {
        self.signs = signs;
        if !self.found {
            if !alarming {
                return News::Gone;
            }
            if now.since(self.since) < CONFIRM_MS {
                return News::None;
            }
            self.found = true;
            self.next_wave = Millis(now.0 + WAVE_EVERY_MS);
            return News::Found;
        }
        if self.over {
            if alarming {
                (self.over, self.calm_since) = (false, None);
                return News::Back;
            }
            return if self.advised().next().is_none() { News::Gone } else { News::None };
        }
        if !calm(&self.signs, self.background) {
            self.calm_since = None;
            return News::None;
        }
        let since = *self.calm_since.get_or_insert(now);
        if now.since(since) < CALM_MS {
            return News::None;
        }
        self.over = true;
        self.next_wave = now;
        News::Over
    }

    pub fn advised(&self) -> impl Iterator<Item = EdgeId> + '_ {
        self.victims.iter().chain(self.waves.iter().flatten()).copied()
    }

    /// Moves the waves on. `all`: every edge that may be advised at all.
    pub fn advance(&mut self, all: &BTreeSet<EdgeId>, now: Millis) {
        self.waves.iter_mut().for_each(|wave| wave.retain(|edge| all.contains(edge)));
        self.victims.retain(|edge| all.contains(edge));
        if self.over {
            self.lead_back(all.len(), now);
            return;
        }
        for edge in self.signs.victims.intersection(all) {
            if self.victims.insert(*edge) {
                self.waves.iter_mut().for_each(|wave| wave.retain(|other| other != edge));
            }
        }
        self.waves.retain(|wave| !wave.is_empty());
        let rise = self.signs.others - self.others_at_start;
        if rise > STEP_BACK_RISE {
            // At once, whenever a wave shows to be too much; then none for a while.
            if self.waves.pop().is_some() {
                self.next_wave = Millis(now.0 + STEP_BACK_MS);
                self.held = true;
            }
        } else if now >= self.next_wave && rise > HOLD_RISE {
            self.held = true;
        } else if now >= self.next_wave {
            self.held = false;
            let wave = self.next_of(all);
            if !wave.is_empty() {
                self.waves.push(wave);
                self.next_wave = Millis(now.0 + WAVE_EVERY_MS);
            }
        }
    }

    /// The next edges that do not suffer, mixed: neighbours often have neighbouring IDs.
    fn next_of(&self, all: &BTreeSet<EdgeId>) -> Vec<EdgeId> {
        let advised: BTreeSet<EdgeId> = self.advised().collect();
        let mut rest: Vec<EdgeId> = all.difference(&advised).copied().collect();
        rest.sort_by_key(|edge| (mixed(u64::from(edge.0) ^ self.id << 32), *edge));
        rest.truncate(wave_size(all.len()));
        rest
    }

    fn lead_back(&mut self, of: usize, now: Millis) {
        if now < self.next_wave {
            return;
        }
        self.next_wave = Millis(now.0 + WAVE_EVERY_MS);
        if self.waves.pop().is_some() {
            return;
        }
        for _ in 0..wave_size(of) {
            self.victims.pop_first();
        }
    }
}

fn wave_size(of: usize) -> usize {
    ((of as f64 * WAVE_SHARE).ceil() as usize).max(1)
}

/// A fixed mix of bits (the finaliser of SplitMix64).
fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
