//! Which controller over which uplink next, and when. Pure: randomness comes in as a number.

use std::time::Duration;

/// Wait in the first round over all controllers and uplinks.
pub const FIRST: Duration = Duration::from_millis(200);
/// Longest wait.
pub const LONGEST: Duration = Duration::from_secs(15);

/// The wait after `failures` attempts in a row that failed, of which `round` make one try of
/// everything: doubles with each round, between half of that and all of it by chance.
pub fn wait(failures: u32, round: usize, random: u32) -> Duration {
    let rounds = failures / u32::try_from(round.max(1)).unwrap_or(u32::MAX);
    let whole = FIRST.saturating_mul(1 << rounds.min(16)).min(LONGEST);
    whole / 2 + whole.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}

/// Goes through all pairs of a controller and an uplink; the uplink changes first, as it is what
/// fails more often.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rotation(usize);

impl Rotation {
    /// The pair to try now; `None` without any controller.
    pub fn pick<'a>(
        &self,
        controllers: &'a [String],
        uplinks: &'a [String],
    ) -> Option<(&'a str, Option<&'a str>)> {
        let ways = uplinks.len().max(1);
        let controller = controllers.get((self.0 / ways) % controllers.len().max(1))?;
        Some((controller, uplinks.get(self.0 % ways).map(String::as_str)))
    }

    /// That one failed.
    pub fn advance(&mut self) {
        self.0 = self.0.wrapping_add(1);
    }

    /// How many attempts try everything once.
    pub fn round(controllers: &[String], uplinks: &[String]) -> usize {
        controllers.len().max(1) * uplinks.len().max(1)
    }
}
