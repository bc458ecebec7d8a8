//! What is measured, and how often.

use std::collections::BTreeMap;

/// A figure of the report that takes runs in a lab, or the simulation's figures together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Blackhole,
    CarrierLoss,
    OneWay,
    BrownoutBusy,
    BrownoutIdle,
    Jitter,
    FailBack,
    Flapping,
    Duplicate,
    Hub,
    Simulation,
}

impl What {
    /// In the order in which they are measured.
    pub const ALL: [Self; 11] = [
        Self::Blackhole,
        Self::CarrierLoss,
        Self::OneWay,
        Self::BrownoutBusy,
        Self::BrownoutIdle,
        Self::Jitter,
        Self::FailBack,
        Self::Flapping,
        Self::Duplicate,
        Self::Hub,
        Self::Simulation,
    ];

    /// As in the report.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Blackhole => "blackhole_gap_ms",
            Self::CarrierLoss => "carrier_loss_gap_ms",
            Self::OneWay => "one_way_blackhole_gap_ms",
            Self::BrownoutBusy => "brownout_busy_move_ms",
            Self::Jitter => "jitter_move_ms",
            Self::BrownoutIdle => "brownout_idle_move_ms",
            Self::FailBack => "failback_lost_packets",
            Self::Flapping => "flapping_moves_per_hour",
            Self::Duplicate => "duplicate_gap_ms",
            Self::Hub => "hub_failover_gap_ms",
            Self::Simulation => "simulation",
        }
    }

    /// Those whose names begin with this word.
    ///
    /// # Errors
    /// There is none.
    pub fn named(word: &str) -> Result<Vec<Self>, String> {
        let found = Self::ALL.into_iter().filter(|what| what.name().starts_with(word));
        let found: Vec<Self> = found.collect();
        if found.is_empty() {
            let known = Self::ALL.map(Self::name).join(", ");
            return Err(format!("there is no figure `{word}`; there are: {known}"));
        }
        Ok(found)
    }

    fn runs(self, quick: bool) -> usize {
        let (full, few) = match self {
            Self::Blackhole | Self::CarrierLoss | Self::OneWay => (200, 30),
            Self::BrownoutBusy | Self::Jitter | Self::BrownoutIdle => (30, 10),
            Self::FailBack | Self::Flapping | Self::Duplicate => (12, 10),
            // Of each of its four variants 30, or 2.
            Self::Hub => (120, 8),
            Self::Simulation => (1, 1),
        };
        if quick { few } else { full }
    }
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Order {
    /// Runs wanted, by figure; what is not in it is not measured.
    pub runs: BTreeMap<What, usize>,
    /// Sites that are broken side by side; twice as many where there is no traffic.
    pub branches: usize,
    /// Of the faults' times and the links' luck.
    pub seed: u64,
    /// How long a link flaps in one run.
    pub flap_s: u64,
    pub quick: bool,
}

impl Order {
    /// All of `only`, or of everything if that is empty.
    #[must_use]
    pub fn new(quick: bool, only: &[What], branches: usize, seed: u64) -> Self {
        let wanted = What::ALL.into_iter().filter(|what| only.is_empty() || only.contains(what));
        Self {
            runs: wanted.map(|what| (what, what.runs(quick))).collect(),
            branches,
            seed,
            flap_s: if quick { 40 } else { 120 },
            quick,
        }
    }

    /// Those of `these` that are wanted, in their order, with their runs.
    pub(super) fn of(&self, these: &[What]) -> Vec<(What, usize)> {
        let wanted = these.iter().filter_map(|what| Some((*what, *self.runs.get(what)?)));
        wanted.filter(|(_, runs)| *runs > 0).collect()
    }
}
