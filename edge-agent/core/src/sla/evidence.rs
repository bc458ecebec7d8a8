//! Evidence for and against one limit.

use std::time::Duration;

use crate::config::Sensitivity;
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
    probes: f64,
    lost: f64,
    violated: bool,
    /// By a burst alone, so far.
    by_burst: bool,
    last_damage: Micros,
    /// What is enough for damage, and how long no loss must have been seen for mending.
    enough: f64,
    mended_time: Duration,
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
    pub(super) fn new(limit_ppm: u32, sensitivity: &Sensitivity) -> Self {
        // Above half, "four times the limit" would be no rate.
        let limit = (f64::from(limit_ppm) / 1e6).clamp(1e-6, 0.5);
        let damaged = (limit * policy::LOSS_DAMAGED_FACTOR).min(policy::LOSS_MAX_RATE);
        LossEvidence {
            damage_by: Weights::of(damaged, limit),
            mend_by: Weights::of(limit / 2.0, damaged),
            damage: 0.0,
            mend: 0.0,
            probes: 0.0,
            lost: 0.0,
            violated: false,
            by_burst: false,
            last_damage: Micros(0),
            enough: enough(sensitivity.loss_confidence_ppm),
            mended_time: or_default(sensitivity.loss_mended_ms, policy::LOSS_MENDED_TIME),
        }
    }

    pub(super) fn arrived(&mut self, count: f64, now: Micros) {
        self.probes += count;
        self.weigh(self.damage_by.arrived, self.mend_by.arrived, count, now);
    }

    pub(super) fn lost(&mut self, count: f64, now: Micros) {
        if count > 0.0 {
            self.probes += count;
            self.lost += count;
            self.last_damage = now;
            self.weigh(self.damage_by.lost, self.mend_by.lost, count, now);
        }
    }

    /// A probe counted by `lost` came after all.
    pub(super) fn undo_loss(&mut self, now: Micros) {
        self.probes = (self.probes - 1.0).max(0.0);
        self.lost = (self.lost - 1.0).max(0.0);
        self.weigh(-self.damage_by.lost, -self.mend_by.lost, 1.0, now);
        self.arrived(1.0, now);
    }

    /// A burst says so, whatever the rate.
    pub(super) fn damage_at_once(&mut self) {
        if !self.violated {
            self.damage = self.damage.max(self.enough);
            (self.violated, self.by_burst, self.mend) = (true, true, 0.0);
        }
    }

    /// What made the burst came after all.
    pub(super) fn burst_is_over(&mut self) {
        if self.by_burst {
            (self.violated, self.by_burst, self.damage) = (false, false, 0.0);
        }
    }

    pub(super) fn violated(&self) -> bool {
        self.violated
    }

    /// Loss since the damage began, in ppm.
    pub(super) fn value_ppm(&self) -> u32 {
        (self.lost * 1e6 / self.probes.max(1.0)).min(1e6) as u32
    }

    /// That the loss is above its limit, parts per million: both being as likely before.
    pub(super) fn confidence_ppm(&self) -> u32 {
        let evidence = if self.violated { self.damage.max(self.enough) } else { self.damage };
        (1e6 / (1.0 + (-evidence).exp())) as u32
    }

    fn weigh(&mut self, damage: f64, mend: f64, count: f64, now: Micros) {
        // Evidence beyond what decides is not kept: old damage must not hide mending, nor a long peace damage.
        self.damage = (self.damage + damage * count).clamp(0.0, self.enough + 3.0);
        if self.violated {
            // Losses that come on top of it make it more than a burst.
            self.by_burst &= damage <= 0.0;
            self.mend = (self.mend + mend * count).clamp(0.0, policy::LOSS_MENDED_EVIDENCE);
            let late = now.since(self.last_damage) >= self.mended_time;
            if self.mend >= policy::LOSS_MENDED_EVIDENCE && late {
                self.violated = false;
                self.damage = 0.0;
            }
        } else if self.damage >= self.enough {
            self.violated = true;
            self.mend = 0.0;
        }
        if self.damage <= 0.0 && !self.violated {
            (self.probes, self.lost) = (0.0, 0.0);
        }
    }
}

/// The log likelihood ratio that gives this confidence.
fn enough(confidence_ppm: u32) -> f64 {
    if confidence_ppm == 0 {
        return policy::LOSS_DAMAGE_EVIDENCE;
    }
    let confidence = (f64::from(confidence_ppm) / 1e6).clamp(0.6, 0.999_999);
    (confidence / (1.0 - confidence)).ln()
}

fn or_default(ms: u32, default: Duration) -> Duration {
    if ms == 0 { default } else { Duration::from_millis(ms.into()) }
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
    damage_time: Duration,
    mended_time: Duration,
}

impl DelayEvidence {
    /// `allowed_us` is above 0.
    pub(super) fn new(allowed_us: u32, sensitivity: &Sensitivity) -> Self {
        DelayEvidence {
            allowed_us,
            above_since: None,
            above: 0,
            below_since: None,
            violated: false,
            value_us: 0,
            damage_time: or_default(sensitivity.delay_damage_ms, policy::DELAY_DAMAGE_TIME),
            mended_time: or_default(sensitivity.delay_mended_ms, policy::DELAY_MENDED_TIME),
        }
    }

    /// The smoothed value, and the newest sample: one spike lifts the smoothed value for a second, and is no delay.
    pub(super) fn handle(&mut self, value_us: u32, sample_us: u32, now: Micros) {
        self.value_us = value_us;
        let mended_us = u64::from(self.allowed_us) * policy::DELAY_MENDED_PERCENT / 100;
        if value_us.min(sample_us) > self.allowed_us {
            self.above += 1;
            let since = *self.above_since.get_or_insert(now);
            if self.above >= policy::DELAY_DAMAGE_SAMPLES && now.since(since) >= self.damage_time {
                self.violated = true;
            }
        } else {
            (self.above, self.above_since) = (0, None);
        }
        if u64::from(value_us) <= mended_us {
            let since = *self.below_since.get_or_insert(now);
            if now.since(since) >= self.mended_time {
                self.violated = false;
            }
        } else {
            self.below_since = None;
        }
    }

    pub(super) fn violated(&self) -> bool {
        self.violated
    }

    /// Since when value and samples are above the limit, without a break.
    pub(super) fn above_since(&self) -> Option<Micros> {
        self.above_since
    }

    pub(super) fn value_us(&self) -> u32 {
        self.value_us
    }
}
