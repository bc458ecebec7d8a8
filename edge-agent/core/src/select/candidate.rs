//! A candidate's record, and its rank.

use std::time::Duration;

use super::{CandidateSpec, ClassPolicy};
use crate::config::UplinkUse;
use crate::id::PathId;
use crate::policy;
use crate::sla::{PathHealth, SlaState};
use crate::time::Micros;

/// Flaps are counted in holds, of at least this.
const MIN_HOLD: Duration = Duration::from_secs(1);

/// The order of selection: the least is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    state: SlaState,
    /// Among paths that violate: how far.
    severity: u32,
    /// Failed lately, and has not met the SLA for its hold since.
    unproven: bool,
    /// Uplinks shared with the path that is to be left for a fault: what hurts that path may hurt this one too.
    shares: u8,
    standing: Standing,
    rtt_bucket: u32,
    path: PathId,
}

/// What the operator, the peer and the controller want; no measurement in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standing {
    pub(super) drained: bool,
    pub(super) usage: UplinkUse,
    pub(super) advised_against: bool,
    pub(super) not_peers_choice: bool,
    pub(super) preference: (u16, u16),
    pub(super) cost: u32,
}

#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) spec: CandidateSpec,
    pub(super) health: PathHealth,
    /// It has keys and an endpoint, and is not drained.
    pub(super) available: bool,
    /// Why it is not available, where somebody said; else empty.
    pub(super) why_not: &'static str,
    /// It works, and is to be left for good.
    pub(super) withdrawn: bool,
    /// Its local uplink has carrier.
    pub(super) carrier: bool,
    pub(super) advised_against: bool,
    pub(super) peers_choice: bool,
    /// Since when it meets the SLA.
    pub(super) meets_since: Option<Micros>,
    /// Since when it is faster than the present one, as `BETTER_RTT_*` say.
    pub(super) faster_since: Option<Micros>,
    /// It met the SLA once, and then did not.
    failed: bool,
    /// Carried the class before.
    pub(super) taken: bool,
    /// When it was last taken again.
    retaken: Option<Micros>,
    flaps: u32,
    last_flap: Micros,
}

impl Candidate {
    pub(super) fn new(spec: CandidateSpec, carrier: bool) -> Self {
        Candidate {
            spec,
            health: PathHealth::connecting(),
            available: false,
            why_not: "",
            withdrawn: false,
            carrier,
            advised_against: false,
            peers_choice: false,
            meets_since: None,
            faster_since: None,
            failed: false,
            taken: false,
            retaken: None,
            flaps: 0,
            last_flap: Micros(0),
        }
    }

    /// The same path under a new configuration.
    pub(super) fn with_spec(self, spec: CandidateSpec, carrier: bool) -> Self {
        Candidate { spec, carrier, ..self }
    }

    /// What it is worth: health, if it can be used at all.
    pub(super) fn state(&self) -> SlaState {
        if self.available && self.carrier { self.health.state } else { SlaState::Down }
    }

    pub(super) fn standing(&self, policy: &ClassPolicy) -> Standing {
        Standing {
            drained: self.spec.drained,
            usage: self.spec.usage,
            advised_against: self.advised_against,
            not_peers_choice: policy.follows_peer && !self.peers_choice,
            preference: self.spec.preference,
            cost: self.spec.cost,
        }
    }

    /// `shares`: of how many uplinks with a path that is to be left for a fault.
    pub(super) fn rank(&self, policy: &ClassPolicy, shares: u8, now: Micros) -> Rank {
        let state = self.state();
        Rank {
            state,
            severity: if state == SlaState::Violates { self.health.crossed.severity() } else { 0 },
            unproven: self.unproven(policy, now),
            shares,
            standing: self.standing(policy),
            rtt_bucket: rtt_bucket(self.health.figures.rtt_us),
            path: self.spec.path,
        }
    }

    /// Keeps the record in step with the state.
    pub(super) fn refresh(&mut self, policy: &ClassPolicy, now: Micros) {
        if self.state() == SlaState::Meets {
            self.meets_since.get_or_insert(now);
        } else if self.meets_since.take().is_some() && !self.withdrawn {
            self.failed = true;
            // A flap is forgiven for peace, not for being elsewhere.
            self.last_flap = self.last_flap.max(now);
        }
        let decay = policy.failback_hold.max(MIN_HOLD) * policy::FLAP_DECAY_HOLDS;
        while self.flaps > 0 && now.since(self.last_flap) >= decay {
            self.flaps -= 1;
            self.last_flap = self.last_flap + decay;
        }
    }

    /// It carries the class from now on.
    pub(super) fn take(&mut self, now: Micros) {
        if self.taken {
            self.retaken = Some(now);
        }
        self.taken = true;
    }

    /// It was left for a fault: soon after it had been taken again, that is a flap.
    pub(super) fn left_for_fault(&mut self, policy: &ClassPolicy, now: Micros) {
        let Some(retaken) = self.retaken else { return };
        if now.since(retaken) < policy.failback_hold.max(MIN_HOLD) * policy::FLAP_HOLDS {
            self.flaps = (self.flaps + 1).min(policy::FAILBACK_DOUBLINGS_MAX);
            self.last_flap = now;
        }
    }

    /// A path that shares an uplink with it was left for a fault: its proof begins anew.
    pub(super) fn doubt(&mut self, now: Micros) {
        if let Some(since) = &mut self.meets_since {
            *since = now;
        }
    }

    /// How many uplinks two paths share.
    pub(super) fn shares_with(&self, other: &CandidateSpec) -> u8 {
        u8::from(self.spec.local_uplink == other.local_uplink)
            + u8::from(self.spec.remote_uplink == other.remote_uplink)
    }

    pub(super) fn flaps(&self) -> u32 {
        self.flaps
    }

    /// How long it must meet the SLA before it is taken voluntarily.
    pub(super) fn hold(&self, policy: &ClassPolicy) -> Duration {
        let base = policy.failback_hold;
        let doubled = base.saturating_mul(1 << self.flaps.min(policy::FAILBACK_DOUBLINGS_MAX));
        doubled.min(policy::FAILBACK_HOLD_MAX.max(base))
    }

    /// When it has met the SLA for its hold, if it meets it.
    pub(super) fn proven_at(&self, policy: &ClassPolicy) -> Option<Micros> {
        self.meets_since.map(|since| since + self.hold(policy))
    }

    pub(super) fn unproven(&self, policy: &ClassPolicy, now: Micros) -> bool {
        self.failed && self.proven_at(policy).is_none_or(|at| now < at)
    }

    /// Its delay is lower by a margin that matters.
    pub(super) fn faster_than(&self, other: &Candidate) -> bool {
        let (ours, theirs) = (self.health.figures.rtt_us, other.health.figures.rtt_us);
        let least_us = policy::BETTER_RTT_MIN.as_micros() as u32;
        ours > 0
            && u64::from(ours) * 100 <= u64::from(theirs) * policy::BETTER_RTT_PERCENT
            && theirs.saturating_sub(ours) >= least_us
    }
}

/// Quarter steps: delays that people would call the same share a bucket. 0 is "not known", last.
fn rtt_bucket(rtt_us: u32) -> u32 {
    if rtt_us == 0 {
        return u32::MAX;
    }
    ((f64::from(rtt_us) / 1e3 + 4.0).ln() / 1.25f64.ln()) as u32
}
