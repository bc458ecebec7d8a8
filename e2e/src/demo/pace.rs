//! How the story is told on this machine, and how inside the kernel lab.

use crate::fleet::{FleetError, FleetSpec};
use std::time::Duration;

/// What differs. What a run has healed within to be right does not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// None: the agents' default.
    driver: Option<&'static str>,
    /// Of everything that only waits for the next step.
    patience: u32,
    pub packets_per_s: u32,
    slow_processors: bool,
}

impl Pace {
    pub(super) fn usual() -> Self {
        Self { driver: None, patience: 1, packets_per_s: 200, slow_processors: false }
    }

    pub(super) fn in_kernel_lab() -> Self {
        Self { driver: Some("kernel"), patience: 10, packets_per_s: 50, slow_processors: true }
    }

    /// So long may it take there.
    pub(super) fn within(&self, usual: Duration) -> Duration {
        usual * self.patience
    }

    pub(super) fn spec(&self) -> Result<FleetSpec, FleetError> {
        let spec = FleetSpec::demo()?;
        let spec = if self.slow_processors { spec.for_slow_processors() } else { spec };
        let Some(driver) = self.driver else { return Ok(spec) };
        let edges: Vec<String> = spec.edges.iter().map(|place| place.edge.clone()).collect();
        Ok(edges.iter().fold(spec, |spec, edge| spec.with_driver(edge, driver)))
    }
}
