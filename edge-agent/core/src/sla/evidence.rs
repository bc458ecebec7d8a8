//! Evidence for and against one limit.

use crate::policy;
use crate::time::Micros;

/// Loss of one way against one limit: two one-sided CUSUM tests (Page 1954), one for damage, one for mending.
#[derive(Debug)]
pub(super) struct LossEvidence {
    /// Log likelihood ratios of one probe: damage / the limit, and mended / damage.
    damage_by: Weights,
    mend_by: Weights,
    damage: f64,
    mend: f64,
    /// Probes and losses since the evidence of damage was last nothing.
    probes: u32,
    lost: u32,
    violated: bool,
    last_damage: Micros,
}

#[derive(Debug, Clone, Copy)]
struct Weights {
    arrived: f64,
    lost: f64,
}

impl Weights {
    /// For rate `p` against rate `q`.
    fn of(p: f64, q: f64) -> Self {
        Weights { arrived: ((1.0 - p) / (1.0 - q)).ln(), lost: (p / q).ln() }
    }
}

impl LossEvidence {
    /// `limit_ppm` is above 0.
    pub(super) fn new(limit_ppm: u32) -> Self {
        // Above half, "four times the limit" would be no rate.
        let limit = (f64::from(limit_ppm) / 1e6).clamp(1e-6, 0.5);
        let damaged = (limit * policy::LOSS_DAMAGED_FACTOR).min(policy::LOSS_MAX_RATE);
        LossEvidence {
            damage_by: Weights::of(damaged, limit),
            mend_by: Weights::of(limit / 2.0, damaged),
            damage: 0.0,
            mend: 0.0,
            probes: 0,
            lost: 0,
            violated: false,
            last_damage: Micros(0),
        }
    }

    pub(super) fn arrived(&mut self, count: u32, now: Micros) {
        self.probes = self.probes.saturating_add(count);
        self.weigh(self.damage_by.arrived, self.mend_by.arrived, count, now);
    }

    pub(super) fn lost(&mut self, count: u32, now: Micros) {
        if count > 0 {
            self.probes = self.probes.saturating_add(count);
            self.lost = self.lost.saturating_add(count);
            self.last_damage = now;
            self.weigh(self.damage_by.lost, self.mend_by.lost, count, now);
        }
    }

    /// A probe counted by `lost` came after all.
    pub(super) fn undo_loss(&mut self, now: Micros) {
        self.probes = self.probes.saturating_sub(1);
        self.lost = self.lost.saturating_sub(1);
        self.weigh(-self.damage_by.lost, -self.mend_by.lost, 1, now);
        self.arrived(1, now);
    }

    pub(super) fn violated(&self) -> bool {
        self.violated
    }

    /// Loss since the damage began, in ppm.
    pub(super) fn value_ppm(&self) -> u32 {
        (u64::from(self.lost) * 1_000_000 / u64::from(self.probes.max(1))) as u32
    }

    fn weigh(&mut self, damage: f64, mend: f64, count: u32, now: Micros) {
        // Evidence beyond what decides is not kept: old damage must not hide mending, nor a long peace damage.
        self.damage = (self.damage + damage * f64::from(count))
            .clamp(0.0, policy::LOSS_DAMAGE_EVIDENCE + 3.0);
        if self.violated {
            self.mend =
                (self.mend + mend * f64::from(count)).clamp(0.0, policy::LOSS_MENDED_EVIDENCE);
            let late = now.since(self.last_damage) >= policy::LOSS_MENDED_TIME;
            if self.mend >= policy::LOSS_MENDED_EVIDENCE && late {
                self.violated = false;
                self.damage = 0.0;
            }
        } else if self.damage >= policy::LOSS_DAMAGE_EVIDENCE {
            self.violated = true;
            self.mend = 0.0;
        }
        if self.damage <= 0.0 && !self.violated {
            (self.probes, self.lost) = (0, 0);
        }
    }
}

/// A value that must stay beyond its limit for a while, either way.
#[derive(Debug)]
pub(super) struct DelayEvidence {
    allowed_us: u32,
    above_since: Option<Micros>,
    above: u32,
    below_since: Option<Micros>,
    violated: bool,
    value_us: u32,
}

impl DelayEvidence {
    /// `allowed_us` is above 0.
    pub(super) fn new(allowed_us: u32) -> Self {
        DelayEvidence {
            allowed_us,
            above_since: None,
            above: 0,
            below_since: None,
            violated: false,
            value_us: 0,
        }
    }

    pub(super) fn handle(&mut self, value_us: u32, now: Micros) {
        self.value_us = value_us;
        let mended_us = u64::from(self.allowed_us) * policy::DELAY_MENDED_PERCENT / 100;
        if value_us > self.allowed_us {
            self.above += 1;
            let since = *self.above_since.get_or_insert(now);
            if self.above >= policy::DELAY_DAMAGE_SAMPLES
                && now.since(since) >= policy::DELAY_DAMAGE_TIME
            {
                self.violated = true;
            }
        } else {
            (self.above, self.above_since) = (0, None);
        }
        if u64::from(value_us) <= mended_us {
            let since = *self.below_since.get_or_insert(now);
            if now.since(since) >= policy::DELAY_MENDED_TIME {
                self.violated = false;
            }
        } else {
            self.below_since = None;
        }
    }

    pub(super) fn violated(&self) -> bool {
        self.violated
    }

    pub(super) fn value_us(&self) -> u32 {
        self.value_us
    }
}
